"""The part of a budget that one of several senders takes, found without any word between them.

Airflow's workers do not know of each other, and MoEngage gives its limit to the workspace (API reference, "Rate
Limits"). What each worker does know is what it has in the window itself, and ``x-ratelimit-remaining``: what is
missing between the two and the limit is in the hands of others. While nobody else is seen, the share is the whole
limit. Else it follows one rule, additive increase and multiplicative decrease:

- it grows by a part of the room that is free beyond a reserve;
- it gives way in proportion to its size, and a large one more than that;
- a 429 costs it a tenth;
- whoever has more than half leaves those who want more twice what they have.

All see the same room, so all come to the same size, whatever each had at first. The room settles a little above
the reserve, however many they are. The share bounds what is in the window, not the pace: what comes back is spent
again, so whatever changes shows to the others at once and not a minute later. What comes back together is sent a
little apart, so that senders that began together do not meet every minute.

Without the header only a 429 tells, and the room is supposed to grow from one to the next.

The numbers are those with which 2 to 16 simulated senders, of 250 to 1,500 elements a request, were fair within
minutes and were refused least. ``make bench-sharing`` measures them.
"""

from __future__ import annotations

import math

HEADROOM = 0.02
"""Part of the limit that is left free, so that a request finds room although others send meanwhile."""

_DECREASE = 1 / 60
"""Part of the limit that a share gives back a second: this, times the square of its own part of the limit, which
counts as a half at the most."""

_INCREASE = 1 / 60
"""Part of the free room that a share takes a second."""

_INCREASE_IF_LARGE, _LARGE = 40 / 60, 1 / 16
"""The same for a large one: the first, times its own part of the limit (a half at the most), times the sum of that
part and the second. Two or three large ones, who give way fast, would else leave much unused."""

_MAX_ROOM = 0.15
"""Part of the limit that counts as room at the most: right after a burst has left the window, much seems free."""

_DECREASE_AFTER_429 = 0.9
"""What a 429 leaves of a share."""

_MINIMUM = 0.01
"""Part of the limit that a share keeps, whatever happens."""

_BURST = 1.5
"""How much faster than evenly over the window a share may be spent."""

_CATCH_UP = 0.2
"""Seconds by which a request may be late without those after it being late, too."""

_TOLERANCE = 0.001
"""Part of the limit beyond which what is missing is another sender, and not a difference in counting."""

_GROWTH = (1.1, 0.005)
"""Others that have so many times what they had a minute before, and this part of the limit, want more of it."""

_ALONE_AFTER = 60.0
"""Seconds without a trace of others after which they have gone: all they sent has left the window."""

_STALE_AFTER = 120.0
"""Seconds without a wish to send after which nothing is known any more."""

_REPEATED_WITHIN = 120.0
"""Seconds within which a second 429 without the header is taken for other senders. One may have any reason."""

_ROOM_WITHOUT_HEADER = 0.004
"""Part of the limit that is supposed to be free a minute after a 429, without the header. After two minutes it is
four times that."""

_STARVED_AFTER, _STARVED_BELOW = 300.0, 0.05
"""Whoever got no more than this part of a minute's limit through in so many seconds takes it that others give way
to nobody."""

_RECOVERY, _RECOVERY_SIZE = 600.0, 1 / 8
"""For so many seconds it then does without modesty, up to this part of the limit: only 429 holds it, as it holds
them."""

_MAX_STEP = 2.0
"""Seconds of growth at once at the most: what is known of the room is not older."""


class FairShare:
    """One sender's part of one budget. It knows no clock: moments are the caller's, in seconds.

    :param limit: what the workspace may send in the window.
    """

    def __init__(self, limit: int) -> None:
        self.size = float(limit)
        """The most that the sender may have in the window."""
        self.opens_at = -math.inf
        """The moment from which its next request may go."""
        self.is_alone = True
        """Whether there is nobody to share with."""
        self._limit = limit
        self._has_no_header = False
        self._trusts_header = False
        self._others = 0.0
        self._others_before = 0.0
        self._compared_at = -math.inf
        self._room = float(limit)
        self._last_reported: float | None = None
        self._moment = 0.0
        self._throttled_at = -math.inf
        self._alone_since: float | None = None
        self._counting_since = 0.0
        self._sent = 0
        self._recovers_until: float | None = None

    def room_expected(self, own: int) -> float:
        """What the server is expected to call free.

        :param own: what the server may count as the sender's.
        """
        return self._limit - own - self._others

    def advance(self, now: float, used: int, wanted: int) -> None:
        """Let time pass: the share gives way, and grows where it is what holds the sender back.

        :param used: what the sender has in the window.
        :param wanted: the request that is to go.
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
        part = self.size / self._limit
        if self._has_no_header:
            pace = _INCREASE
            room = _ROOM_WITHOUT_HEADER * self._limit * ((now - self._throttled_at) / 60) ** 2
        else:
            half = min(part, 0.5)
            self._resize(self.size - _DECREASE * half**2 * self._limit * passed)
            pace = max(_INCREASE, _INCREASE_IF_LARGE * half * (half + _LARGE))
            room = self._room - HEADROOM * self._limit
        if room > 0 and used + wanted > self.size:
            room = min(room, _MAX_ROOM * self._limit)
            self._resize(self.size + pace * room * min(passed, _MAX_STEP))
        if self._has_no_header and self.size >= self._limit:
            self._take_all()

    def spend(self, amount: int, now: float) -> None:
        """Count a request that goes."""
        self._room -= amount
        self._sent += amount
        if not self.is_alone and not self._is_recovering(now):
            evenly = 60 * amount / self.size
            self.opens_at = max(self.opens_at, now - _CATCH_UP) + evenly / _BURST

    def record_success(self, reported: int, own: int, amount: int, in_flight: int, now: float) -> None:
        """Learn from a success.

        :param reported: what the server says is left. What cannot be is cut to what can.
        :param own: what the server may count as the sender's, this request included.
        :param amount: this request.
        :param in_flight: what the server has not counted yet.
        """
        remaining = self._clamped(reported)
        if not self._is_trusted(remaining, amount):
            return
        self._room = remaining - in_flight
        self._observe(remaining, own, now)
        if not self.is_alone and not self._is_recovering(now):
            self._fit_to(remaining, own, amount)

    def observe_at_least(self, reported: int) -> None:
        """Learn that no less than this is left."""
        self._room = max(self._room, self._clamped(reported))

    def record_throttled(self, reported: int | None, own: int, amount: int, now: float, *, is_new: bool) -> None:
        """Learn from a 429.

        :param reported: what the server says is left, where it does.
        :param own: what the server may count as the sender's.
        :param amount: the request.
        :param is_new: it was sent after the last 429 was known.
        """
        self._sent -= amount
        remaining = None if reported is None else self._clamped(reported)
        if not self._is_trusted(remaining, amount):
            self._record_throttled_without_header(own, now, is_new=is_new)
            return
        if remaining is None:
            remaining = self._clamped(self._room)
        if remaining >= amount:  # then it was not for this budget
            return
        self._room = 0.0
        self._alone_since = None
        self._share_since(now)
        self._observe(remaining, own, now)
        if not self._is_recovering(now):
            self._fit_to(0, own, amount)
            if is_new:
                self._resize(self.size * _DECREASE_AFTER_429)

    def _record_throttled_without_header(self, own: int, now: float, *, is_new: bool) -> None:
        if not is_new:
            return
        if self.is_alone and now - self._throttled_at <= _REPEATED_WITHIN:
            self._share_since(now)
            self._has_no_header = True
        self._throttled_at = now
        if not self.is_alone and not self._is_recovering(now):
            self._resize(min(self.size, own) * _DECREASE_AFTER_429)

    def _is_trusted(self, remaining: float | None, amount: int) -> bool:
        """Whether the header counts what the sender counts, which the documents do not say. One that counts
        requests falls by a few between two answers, one that counts elements by hundreds.
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
        """Plan for no more than there is. Where it is short, or others want more, leave them twice what they have,
        up to half of all.
        """
        times, more = _GROWTH
        others_grow = self._others > times * self._others_before + more * self._limit
        if others_grow or remaining < HEADROOM * self._limit:
            self._resize(min(self.size, max(self._limit / 2, self._limit - 2 * self._others)))
        self._resize(min(self.size, own + max(remaining, 0.9 * amount)))

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
            self._moment = now
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
