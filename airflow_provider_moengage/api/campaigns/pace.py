"""The pace of requests to an endpoint with a limit of requests a minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW = 60.0
"""Seconds in which MoEngage counts requests ("Rate Limits")."""

_MARGIN = 0.05
"""Seconds: a timer may fire early."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The time, which tests replace.

    :param now: UTC epoch seconds.
    :param monotonic: seconds since any start; never goes back.
    :param pause: waits for a number of seconds; it may raise to end the wait.
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


class Pace:
    """Keeps the requests of one sender within a number a minute. Not thread-safe.

    MoEngage counts a request when it arrives, which is before its response: a request is counted here from its
    response on, so that no delay of the network makes two of them fall into one window.

    :param per_minute: requests in any 60 seconds, or users if the limit counts these.
    """

    def __init__(self, per_minute: int, timing: Timing) -> None:
        self._per_minute = per_minute
        self._timing = timing
        self._answered: deque[tuple[float, int]] = deque()
        self._sum = 0

    def wait(self, units: int = 1) -> None:
        """Wait until a request may be sent.

        :param units: what it counts for: 1, or its users.
        """
        while self._answered and self._sum + units > self._per_minute:
            left = self._answered[0][0] + WINDOW + _MARGIN - self._timing.monotonic()
            if left > 0:
                self._timing.pause(left)
            self._sum -= self._answered.popleft()[1]

    def answered(self, units: int = 1) -> None:
        """Count a request whose response has come, or will not come."""
        self._answered.append((self._timing.monotonic(), units))
        self._sum += units
