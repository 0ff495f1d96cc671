"""Client-side rate limit (AIMD) for the endpoints of file imports, which leaves room for other callers.

MoEngage API reference, "Rate Limits": run history and import details take 50 requests a minute each, from all of
a workspace's callers together.
"""

from __future__ import annotations

import random
from collections.abc import Callable

BURST = 0.1
"""Share of a minute's requests that may go at once. The rest flows evenly, so that any sixty seconds hold no more
than the bound, and nobody waits for a minute because of somebody's burst."""

LEAST_SHARE = 0.1
RECOVERY = 0.01
"""Multiplicative decrease and additive increase: a 429 halves the pace, down to a tenth; each answer gives a
hundredth of the whole back. Two triggerers with a bound of 40 each settle within the workspace's 50."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds to ask nothing after a 429 that does not say how long: doubled for each one that follows."""


class Budget:
    """The requests of one endpoint of one workspace, as one process spends them. Not for several threads.

    :param per_minute: requests in any sixty seconds, 1 or more.
    :param time: seconds; never goes back.
    """

    def __init__(self, per_minute: float, time: Callable[[], float]) -> None:
        most = float(int(per_minute))
        self._most = max(1.0, most * BURST)
        # So many at once, and one each time it is earned: fewer than one more than the bound in any sixty seconds.
        self._per_second = (most - self._most + 1.0) / 60.0
        self._time = time
        self._tokens = self._most
        self._filled_at = time()
        self._share = 1.0
        self._closed_until = self._filled_at
        self._refusals = 0
        self._jitter = random.Random()  # noqa: S311 - to spread load, not to hide anything

    @property
    def share(self) -> float:
        """How much of the bound is used at present, from 0.1 to 1."""
        return self._share

    def ready_in(self) -> float:
        """Return the seconds until a request may go; 0 for now."""
        now = self._time()
        if now < self._closed_until:
            return self._closed_until - now
        self._fill(now)
        return 0.0 if self._tokens >= 1.0 else (1.0 - self._tokens) / (self._per_second * self._share)

    def spend(self) -> None:
        """Count a request that goes now."""
        self._fill(self._time())
        self._tokens -= 1.0

    def answered(self) -> None:
        """Count an answer that was no 429."""
        self._refusals = 0
        self._share = min(1.0, self._share + RECOVERY)

    def refused(self, retry_after: float | None) -> float:
        """Count a 429, and return the seconds until the next request.

        :param retry_after: seconds, where the server says so.
        """
        pause = min(FIRST_PAUSE * 2.0**self._refusals, LONGEST_PAUSE) if retry_after is None else retry_after
        pause *= self._jitter.uniform(1.0, 1.25)  # so that those who were refused together do not return together
        self._refusals += 1
        self._share = max(LEAST_SHARE, self._share / 2.0)
        self._fill(self._time())
        self._tokens = min(self._tokens, 1.0)
        self._closed_until = self._filled_at + pause
        return pause

    def _fill(self, now: float) -> None:
        earned = max(0.0, now - self._filled_at) * self._per_second * self._share
        self._tokens = min(self._most, self._tokens + earned)
        self._filled_at = now
