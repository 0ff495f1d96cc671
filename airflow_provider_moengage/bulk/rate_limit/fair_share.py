"""Shares a workspace's rate limit among several senders that do not communicate.

Airflow's workers do not know of each other, and MoEngage applies its limit to the workspace (API reference, "Rate
Limits"). Each sender knows what it has in the window and what ``x-ratelimit-remaining`` reports; the rest of the
limit is in use by others. While a sender sees no others, its share is the whole limit. Otherwise the share follows
additive increase, multiplicative decrease (AIMD):

- it grows by a fraction of the free room beyond the headroom;
- it shrinks in proportion to its size, and a large share shrinks faster;
- a 429 costs it a fifteenth, and it grows more slowly from then on, until ten minutes pass without another;
- a sender with more than half of the limit backs off until the others can double their share.

All senders see the same room, so their shares converge, however they began. The free room settles a little above
the headroom for any number of senders. The share bounds what is in the window, not the rate: capacity that returns
is spent again, so the others see every change at once and not a minute later. Capacity that returns together is
spent slightly spread out, so that senders that began together do not collide every minute.

Without the header only a 429 shows other senders, and the room is assumed to grow from one 429 to the next.

The constants are those with which 2 to 16 simulated senders, of 250 to 1,500 elements a request, became fair
within minutes with the fewest 429s. ``make bench-sharing`` measures them.
"""

from __future__ import annotations

import math

HEADROOM = 0.02
"""Part of the limit that stays free, so that a request finds room while others send."""

_DECREASE, _LARGEST_PART = 1 / 60, 0.65
"""Part of the limit that a share gives back per second, times the square of its own part of the limit (at most
the second). If that were one half, nine tenths would be as stable a share as one half, and a second sender would
wait."""

_INCREASE = 1 / 180
"""Part of the free room that a share takes per second, times the sender's eagerness."""

_EAGERNESS, _EAGERNESS_AFTER_429, _EAGER_AFTER = 4.0, 0.7, 600.0
"""A sender begins with the first, its most, so that one that joins others has its share soon. Each 429 multiplies
it by the second, down to 1, and so many seconds without a 429 undo one. Each of many senders knows the room only
as it was at its last response, some seconds ago; if all of them were eager, they would take the same room."""

_SETTLED_AFTER = 120.0
"""Seconds after the first sign of others in which no 429 changes the eagerness: the window is still full."""

_INCREASE_IF_LARGE, _LARGE = 40 / 60, 1 / 16
"""Part of the free room that a large share takes per second: the first, times its part of the limit (at most one
half), times the sum of that part and the second. Otherwise two or three large shares, which shrink fast, would
leave much of it unused."""

_MAX_ROOM = 0.15
"""Largest part of the limit that counts as room: right after a burst leaves the window, much seems free."""

_DECREASE_AFTER_429, _DECREASE_WITHOUT_HEADER = 0.93, 0.9
"""Factor that a 429 applies to a share, with the header and without it."""

_MINIMUM = 0.01
"""Part of the limit that a share always keeps."""

_BURST = 1.5
"""How much faster than evenly over the window a share may be spent."""

_CATCH_UP = 0.2
"""Seconds of delay that later requests may catch up."""

_TOLERANCE = 0.001
"""A larger missing part of the limit means another sender; a smaller one is a difference in counting."""

_GROWTH = (1.1, 0.005)
"""Others need more of the limit if they have this many times what they had a minute ago, plus this part of it."""

_ALONE_AFTER = 60.0
"""Seconds without a sign of others after which they are gone: everything they sent has left the window."""

_STALE_AFTER = 120.0
"""Seconds without a request after which what was learned is out of date."""

_REPEATED_WITHIN = 120.0
"""Seconds within which a second 429 without the header means other senders. A single one may have any cause."""

_INCREASE_WITHOUT_HEADER, _ROOM_WITHOUT_HEADER = 1 / 60, 0.004
"""Part of the free room that a share takes per second, and part of the limit assumed to be free a minute after a
429, without the header. After two minutes it is four times that."""

_STARVED_AFTER, _STARVED_BELOW = 300.0, 0.05
"""A sender is starved if it delivered at most this part of a minute's limit in this many seconds: the others do
not back off."""

_RECOVERY, _RECOVERY_SIZE = 600.0, 1 / 8
"""A starved sender stops yielding for this many seconds, up to this part of the limit: only a 429 holds it."""

_MAX_STEP = 2.0
"""Most seconds of growth in one step: knowledge of the room is not older."""


class FairShare:
    """One sender's share of one budget. It has no clock: the caller passes the time, in seconds.

    :param limit: what the workspace may send in the window.
    """

    def __init__(self, limit: int) -> None:
        self.size = float(limit)
        """The most that the sender may have in the window."""
        self.opens_at = -math.inf
        """When its next request may go."""
        self.is_alone = True
        """Whether no other sender is known, so the share is the whole limit."""
        self._limit = limit
        self._has_no_header = False
        self._trusts_header = False
        self._others = 0.0
        self._others_before = 0.0
        self._compared_at = -math.inf
        self._room = float(limit)
        self._last_reported: float | None = None
        self._moment = 0.0
        self._is_held_back = False
        self._eagerness = _EAGERNESS
        self._eagerness_changed_at = 0.0
        self._shared_since = 0.0
        self._throttled_at = -math.inf
        self._alone_since: float | None = None
        self._counting_since = 0.0
        self._sent = 0
        self._recovers_until: float | None = None

    def room_expected(self, own: int) -> float:
        """Return what the server is expected to report as remaining.

        :param own: what the server may count for this sender.
        """
        return self._limit - own - self._others

    def advance(self, now: float, used: int, wanted: int) -> None:
        """Let time pass: the share shrinks, and grows if it is what held the sender back.

        A request often comes just when room for it has left the window. So it counts whether the share held the
        sender back when it was last asked, too.

        :param used: what the sender has in the window.
        :param wanted: the size of the next request.
        """
        passed, self._moment = now - self._moment, now
        if self.is_alone or passed <= 0:
            return
        if passed >= _STALE_AFTER:
            self._take_all()
            return
        self._watch_starvation(now, used)
        if self._is_recovering(now):
            return
        held_back, self._is_held_back = self._is_held_back, used + wanted > self.size
        part = self.size / self._limit
        if self._has_no_header:
            pace = _INCREASE_WITHOUT_HEADER
            room = _ROOM_WITHOUT_HEADER * self._limit * ((now - self._throttled_at) / 60) ** 2
        else:
            half = min(part, 0.5)
            self._resize(self.size - _DECREASE * min(part, _LARGEST_PART) ** 2 * self._limit * passed)
            pace = max(_INCREASE * self._eagerness_at(now), _INCREASE_IF_LARGE * half * (half + _LARGE))
            room = self._room - HEADROOM * self._limit
        if room > 0 and (held_back or used + wanted > self.size):
            room = min(room, _MAX_ROOM * self._limit)
            self._resize(self.size + pace * room * min(passed, _MAX_STEP))
        if self._has_no_header and self.size >= self._limit:
            self._take_all()

    def spend(self, amount: int, now: float) -> None:
        """Count a request that is sent."""
        self._room -= amount
        self._sent += amount
        if not self.is_alone and not self._is_recovering(now):
            evenly = 60 * amount / self.size
            self.opens_at = max(self.opens_at, now - _CATCH_UP) + evenly / _BURST

    def record_success(self, reported: int, own: int, amount: int, in_flight: int, now: float) -> None:
        """Learn from a success.

        :param reported: what the server reports as remaining; an impossible number is clamped.
        :param own: what the server may count for this sender, including this request.
        :param amount: the size of this request.
        :param in_flight: what the server has not counted yet.
        """
        remaining = self._clamped(reported)
        if not self._is_trusted(remaining, amount):
            return
        self._room = remaining - in_flight
        self._observe(remaining, own, now)
        if not self.is_alone and not self._is_recovering(now):
            self._fit_to(remaining, own, amount)

    def believe_limit(self, limit: int) -> bool:
        """Take over the limit that the server reports; return whether its header can be believed."""
        if self._trusts_header:
            self._limit = limit
            self.size = min(self.size, float(limit)) if not self.is_alone else float(limit)
        return self._trusts_header

    def observe_at_least(self, reported: int) -> None:
        """Learn that at least this much remains."""
        self._room = max(self._room, self._clamped(reported))

    def record_throttled(self, reported: int | None, own: int, amount: int, now: float, *, is_new: bool) -> None:
        """Learn from a 429.

        :param reported: what the server reports as remaining, or None.
        :param own: what the server may count for this sender.
        :param amount: the size of the request.
        :param is_new: whether it was sent after the last 429 was known.
        """
        self._sent -= amount
        remaining = None if reported is None else self._clamped(reported)
        if not self._is_trusted(remaining, amount):
            self._record_throttled_without_header(own, now, is_new=is_new)
            return
        if remaining is None:
            remaining = self._clamped(self._room)
        if remaining >= amount:  # the 429 was for another budget
            return
        self._room = 0.0
        self._alone_since = None
        self._share_since(now)
        self._observe(remaining, own, now)
        if not self._is_recovering(now):
            self._fit_to(0, own, amount)
            if is_new:
                self._resize(self.size * _DECREASE_AFTER_429)
                if now - self._shared_since >= _SETTLED_AFTER:
                    self._eagerness = max(self._eagerness * _EAGERNESS_AFTER_429, 1.0)
                    self._eagerness_changed_at = now

    def _record_throttled_without_header(self, own: int, now: float, *, is_new: bool) -> None:
        if not is_new:
            return
        if self.is_alone and now - self._throttled_at <= _REPEATED_WITHIN:
            self._share_since(now)
            self._has_no_header = True
        self._throttled_at = now
        if not self.is_alone and not self._is_recovering(now):
            self._resize(min(self.size, own) * _DECREASE_WITHOUT_HEADER)

    def _is_trusted(self, remaining: float | None, amount: int) -> bool:
        """Return whether the header counts what the sender counts, which is not documented.

        A header that counts requests falls by a few between two responses, one that counts elements by hundreds.
        """
        if not self._trusts_header and remaining is not None:
            last, self._last_reported = self._last_reported, remaining
            self._trusts_header = last is not None and last - remaining >= max(amount / 2, self._limit / 1_000)
        return self._trusts_header

    def _observe(self, remaining: float, own: int, now: float) -> None:
        self._has_no_header = False
        self._others = max(self._limit - remaining - own, 0)
        if now - self._compared_at >= _ALONE_AFTER:
            self._others_before, self._compared_at = self._others, now
        if self._others > _TOLERANCE * self._limit:
            self._alone_since = None
            self._share_since(now)
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= _ALONE_AFTER:
            self._take_all()

    def _fit_to(self, remaining: float, own: int, amount: int) -> None:
        """Fit the share to what remains. If that is short, or others need more, let them double their share, up to
        half of the limit.
        """
        times, more = _GROWTH
        others_grow = self._others > times * self._others_before + more * self._limit
        if others_grow or remaining < HEADROOM * self._limit:
            self._resize(min(self.size, max(self._limit / 2, self._limit - 2 * self._others)))
        self._resize(min(self.size, own + max(remaining, 0.9 * amount)))

    def _eagerness_at(self, now: float) -> float:
        if now - self._eagerness_changed_at >= _EAGER_AFTER:
            self._eagerness = min(self._eagerness / _EAGERNESS_AFTER_429, _EAGERNESS)
            self._eagerness_changed_at = now
        return self._eagerness

    def _watch_starvation(self, now: float, used: int) -> None:
        if self._recovers_until is not None:
            if now >= self._recovers_until:
                self._recovers_until = None
                self._resize(used)
                self._count_progress_from(now)
        elif now - self._counting_since >= _STARVED_AFTER:
            if self._sent <= _STARVED_BELOW * self._limit:
                self._recovers_until = now + _RECOVERY
                self.size = self._limit * _RECOVERY_SIZE
                self.opens_at = now
            self._count_progress_from(now)

    def _count_progress_from(self, now: float) -> None:
        self._counting_since = now
        self._sent = 0

    def _is_recovering(self, now: float) -> bool:
        return self._recovers_until is not None and now < self._recovers_until

    def _share_since(self, now: float) -> None:
        if self.is_alone:
            self.is_alone = False
            self._moment = self._shared_since = now
            self._count_progress_from(now)

    def _take_all(self) -> None:
        self.is_alone = True
        self._has_no_header = False
        self._others = 0.0
        self._alone_since = self._recovers_until = None
        self.size = float(self._limit)
        self.opens_at = -math.inf

    def _resize(self, size: float) -> None:
        self.size = min(max(size, _MINIMUM * self._limit), self._limit)

    def _clamped(self, remaining: float) -> float:
        return min(max(remaining, 0), self._limit)
