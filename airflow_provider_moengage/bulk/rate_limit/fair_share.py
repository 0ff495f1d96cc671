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

RESERVE = 0.02
"""Part of the limit that is left free, so that a request finds room although others send meanwhile."""

_GIVES_WAY = 1 / 60
"""Part of the limit that a share gives back a second: this, times the square of its own part of the limit, which
counts as a half at the most."""

_TAKES = 1 / 60
"""Part of the free room that a share takes a second."""

_TAKES_IF_LARGE, _LARGE = 40 / 60, 1 / 16
"""The same for a large one: the first, times its own part of the limit (a half at the most), times the sum of that
part and the second. Two or three large ones, who give way fast, would else leave much unused."""

_MOST_ROOM = 0.15
"""Part of the limit that counts as room at the most: right after a burst has left the window, much seems free."""

_AFTER_429 = 0.9
"""What a 429 leaves of a share."""

_LEAST = 0.01
"""Part of the limit that a share keeps, whatever happens."""

_SPREAD = 1.5
"""How much faster than evenly over the window a share may be spent."""

_CATCHES_UP = 0.2
"""Seconds by which a request may be late without those after it being late, too."""

_SEEN = 0.001
"""Part of the limit beyond which what is missing is another sender, and not a difference in counting."""

_GROWTH = (1.1, 0.005)
"""Others that have so many times what they had a minute before, and this part of the limit, want more of it."""

_GONE_AFTER = 60.0
"""Seconds without a trace of others after which they have gone: all they sent has left the window."""

_STALE_AFTER = 120.0
"""Seconds without a wish to send after which nothing is known any more."""

_MAY_RECUR = 120.0
"""Seconds within which a second 429 without the header is taken for other senders. One may have any reason."""

_BLIND_ROOM = 0.004
"""Part of the limit that is supposed to be free a minute after a 429, without the header. After two minutes it is
four times that."""

_PATIENCE, _TOO_LITTLE = 300.0, 0.05
"""Whoever got no more than this part of a minute's limit through in so many seconds takes it that others give way
to nobody."""

_PUSH, _PUSHES_TO = 600.0, 1 / 8
"""For so many seconds it then does without modesty, up to this part of the limit: only 429 holds it, as it holds
them."""

_LONGEST_STEP = 2.0
"""Seconds of growth at once at the most: what is known of the room is not older."""


class Share:
    """One sender's part of one budget. It knows no clock: moments are the caller's, in seconds.

    :param limit: what the workspace may send in the window.
    """

    def __init__(self, limit: int) -> None:
        self.size = float(limit)
        """The most that the sender may have in the window."""
        self.opens_at = -math.inf
        """The moment from which its next request may go."""
        self.is_whole = True
        """Whether there is nobody to share with."""
        self._limit = limit
        self._is_blind = False
        self._is_trusted = False
        self._others = 0.0
        self._others_before = 0.0
        self._compared_at = -math.inf
        self._room = float(limit)
        self._last_said: float | None = None
        self._moment = 0.0
        self._refused_at = -math.inf
        self._alone_since: float | None = None
        self._patient_since = 0.0
        self._sent = 0
        self._pushes_until: float | None = None

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
        if self.is_whole or passed <= 0:
            return
        if passed >= _STALE_AFTER:
            self._take_whole()
            return
        self._watch_patience(now, used)
        if self._is_pushing(now):
            return
        part = self.size / self._limit
        if self._is_blind:
            pace = _TAKES
            room = _BLIND_ROOM * self._limit * ((now - self._refused_at) / 60) ** 2
        else:
            half = min(part, 0.5)
            self._resize(self.size - _GIVES_WAY * half**2 * self._limit * passed)
            pace = max(_TAKES, _TAKES_IF_LARGE * half * (half + _LARGE))
            room = self._room - RESERVE * self._limit
        if room > 0 and used + wanted > self.size:
            room = min(room, _MOST_ROOM * self._limit)
            self._resize(self.size + pace * room * min(passed, _LONGEST_STEP))
        if self._is_blind and self.size >= self._limit:
            self._take_whole()

    def spend(self, amount: int, now: float) -> None:
        """Count a request that goes."""
        self._room -= amount
        self._sent += amount
        if not self.is_whole and not self._is_pushing(now):
            evenly = 60 * amount / self.size
            self.opens_at = max(self.opens_at, now - _CATCHES_UP) + evenly / _SPREAD

    def told(self, said: int, own: int, amount: int, on_the_way: int, now: float) -> None:
        """Learn from a success.

        :param said: what the server says is left. What cannot be is cut to what can.
        :param own: what the server may count as the sender's, this request included.
        :param amount: this request.
        :param on_the_way: what the server has not counted yet.
        """
        remaining = self._possible(said)
        if not self._trusts(remaining, amount):
            return
        self._room = remaining - on_the_way
        self._see(remaining, own, now)
        if not self.is_whole and not self._is_pushing(now):
            self._keep_within(remaining, own, amount)

    def told_at_least(self, said: int) -> None:
        """Learn that no less than this is left."""
        self._room = max(self._room, self._possible(said))

    def refused(self, said: int | None, own: int, amount: int, now: float, *, is_news: bool) -> None:
        """Learn from a 429.

        :param said: what the server says is left, where it does.
        :param own: what the server may count as the sender's.
        :param amount: the request.
        :param is_news: it was sent after the last 429 was known.
        """
        self._sent -= amount
        remaining = None if said is None else self._possible(said)
        if not self._trusts(remaining, amount):
            self._refused_blindly(own, now, is_news=is_news)
            return
        if remaining is None:
            remaining = self._possible(self._room)
        if remaining >= amount:  # then it was not for this budget
            return
        self._room = 0.0
        self._alone_since = None
        self._share_from(now)
        self._see(remaining, own, now)
        if not self._is_pushing(now):
            self._keep_within(0, own, amount)
            if is_news:
                self._resize(self.size * _AFTER_429)

    def _refused_blindly(self, own: int, now: float, *, is_news: bool) -> None:
        if not is_news:
            return
        if self.is_whole and now - self._refused_at <= _MAY_RECUR:
            self._share_from(now)
            self._is_blind = True
        self._refused_at = now
        if not self.is_whole and not self._is_pushing(now):
            self._resize(min(self.size, own) * _AFTER_429)

    def _trusts(self, remaining: float | None, amount: int) -> bool:
        """Whether the header counts what the sender counts, which the documents do not say. One that counts
        requests falls by a few between two answers, one that counts elements by hundreds.
        """
        if not self._is_trusted and remaining is not None:
            last, self._last_said = self._last_said, remaining
            self._is_trusted = last is not None and last - remaining >= max(amount / 2, self._limit / 1_000)
        return self._is_trusted

    def _see(self, remaining: float, own: int, now: float) -> None:
        self._is_blind = False
        self._others = max(self._limit - remaining - own, 0)
        if now - self._compared_at >= _GONE_AFTER:
            self._others_before, self._compared_at = self._others, now
        if self._others > _SEEN * self._limit:
            self._alone_since = None
            self._share_from(now)
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= _GONE_AFTER:
            self._take_whole()

    def _keep_within(self, remaining: float, own: int, amount: int) -> None:
        """Plan for no more than there is. Where it is short, or others want more, leave them twice what they have,
        up to half of all.
        """
        times, more = _GROWTH
        others_grow = self._others > times * self._others_before + more * self._limit
        if others_grow or remaining < RESERVE * self._limit:
            self._resize(min(self.size, max(self._limit / 2, self._limit - 2 * self._others)))
        self._resize(min(self.size, own + max(remaining, 0.9 * amount)))

    def _watch_patience(self, now: float, used: int) -> None:
        if self._pushes_until is not None:
            if now >= self._pushes_until:
                self._pushes_until = None
                self._resize(used)
                self._be_patient_from(now)
        elif now - self._patient_since >= _PATIENCE:
            if self._sent <= _TOO_LITTLE * self._limit:
                self._pushes_until = now + _PUSH
                self.size = self._limit * _PUSHES_TO
                self.opens_at = now
            self._be_patient_from(now)

    def _be_patient_from(self, now: float) -> None:
        self._patient_since = now
        self._sent = 0

    def _is_pushing(self, now: float) -> bool:
        return self._pushes_until is not None and now < self._pushes_until

    def _share_from(self, now: float) -> None:
        if self.is_whole:
            self.is_whole = False
            self._moment = now
            self._be_patient_from(now)

    def _take_whole(self) -> None:
        self.is_whole = True
        self._is_blind = False
        self._others = 0.0
        self._alone_since = self._pushes_until = None
        self.size = float(self._limit)
        self.opens_at = -math.inf

    def _resize(self, size: float) -> None:
        self.size = min(max(size, _LEAST * self._limit), self._limit)

    def _possible(self, remaining: float) -> float:
        return min(max(remaining, 0), self._limit)
