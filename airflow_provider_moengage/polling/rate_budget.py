"""Client-side rate limit (AIMD) for the endpoints of file imports, which leaves room for other callers.

MoEngage API reference, "Rate Limits": run history and import details take 50 requests a minute each, from all of
a workspace's callers together.
"""

from __future__ import annotations

import random
from collections.abc import Callable

BURST = 0.1
"""Share of a minute's requests that may be sent at once. The rest is spread evenly, so that no sixty seconds
exceed the bound, and a burst delays nobody for a minute."""

LEAST_SHARE = 0.1
RECOVERY = 0.01
"""Multiplicative decrease and additive increase: a 429 halves the rate, down to a tenth; each response adds a
hundredth of the bound. Two triggerers with a bound of 40 each settle within the workspace's 50."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 60.0
"""Seconds without requests after a 429 that reports no time: doubled for each one that follows."""


class Budget:
    """The requests of one endpoint of one workspace, as one process spends them. Not thread-safe.

    :param per_minute: requests in any sixty seconds, 1 or more.
    :param time: seconds; never goes back.
    """

    def __init__(self, per_minute: float, time: Callable[[], float]) -> None:
        most = float(int(per_minute))
        self._most = max(1.0, most * BURST)
        # A full bucket plus what a minute refills is less than the bound plus one request.
        self._per_second = (most - self._most + 1.0) / 60.0
        self._time = time
        self._tokens = self._most
        self._filled_at = time()
        self._share = 1.0
        self._closed_until = self._filled_at
        self._refusals = 0
        self._jitter = random.Random()  # noqa: S311 (jitter)

    @property
    def share(self) -> float:
        """The share of the bound in use at present, from 0.1 to 1."""
        return self._share

    def ready_in(self) -> float:
        """Return the seconds until a request may be sent; 0 for now."""
        now = self._time()
        if now < self._closed_until:
            return self._closed_until - now
        self._fill(now)
        return 0.0 if self._tokens >= 1.0 else (1.0 - self._tokens) / (self._per_second * self._share)

    def spend(self) -> None:
        """Count a request that is sent now."""
        self._fill(self._time())
        self._tokens -= 1.0

    def answered(self) -> None:
        """Count a response that is not a 429."""
        self._refusals = 0
        self._share = min(1.0, self._share + RECOVERY)

    def refused(self, retry_after: float | None) -> float:
        """Count a 429, and return the seconds until the next request.

        :param retry_after: seconds, if the server reports them.
        """
        pause = min(FIRST_PAUSE * 2.0**self._refusals, LONGEST_PAUSE) if retry_after is None else retry_after
        pause *= self._jitter.uniform(1.0, 1.25)  # so that callers refused together do not retry together
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
