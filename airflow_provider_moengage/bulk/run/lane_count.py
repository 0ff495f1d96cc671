"""How many lanes are useful: as many requests at a time as keep this process, or the rate limit, busy."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

MOST_LANES_BY_ITSELF = 16
"""Lanes that a run opens unless ``concurrency`` is set. With 50 ms for each answer they carry 300 requests a
second, more than one process can fill.
"""

_ENOUGH_ANSWERS = 2
"""Answers to wait for before a decision. The slowest one does not count: it may be slow by chance, and the very
first one includes the time that connecting takes."""

_FOR_A_START = 4
"""Lanes that are allowed whatever the workspace's limit, because a minute's worth may all go at its start."""

_BUSY = 0.8
_NOT_BUSY = 0.5
"""CPU utilisation of the process: above the first, add no lanes; below the second, do."""


class LaneScaler:
    """Decides how many lanes a run uses. The lanes record what requests take.

    Its lock is a leaf: no other lock is taken while it is held.

    :param monotonic: returns the time, in seconds.
    :param seconds_at_limit: returns how many seconds apart the limits allow requests, on average.
    :param cpu_seconds: returns the CPU time of the process so far.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        seconds_at_limit: Callable[[], float],
        cpu_seconds: Callable[[], float] = time.process_time,
    ) -> None:
        self._monotonic = monotonic
        self._cpu_seconds = cpu_seconds
        self._seconds_at_limit = seconds_at_limit
        self._lock = threading.RLock()
        self._slowest = 0.0
        self._begin()

    def record_made(self) -> None:
        """Record that the reader has made a request. It is ahead of the lanes: their queues fill first."""
        with self._lock:
            self._made += 1

    def record_answer(self, seconds: float) -> None:
        """Record how long MoEngage took to accept a request."""
        with self._lock:
            self._answered += 1
            self._waited += seconds
            self._slowest = max(self._slowest, seconds)

    def record_done(self, seconds: float) -> None:
        """Record that the request is done, and how long it took to store that."""
        with self._lock:
            self._done += 1
            self._stored += seconds

    def useful_lanes(self, lanes: int) -> int:
        """Return how many lanes to use from now on; 0: the reader should send by itself.

        While one lane waits for its answer, others can use the process. Lanes are useful until the process is
        never idle, or until the limit is used up. If one lane already keeps the process busy, more threads would
        only compete for it. Open lanes are never closed.
        """
        with self._lock:
            elapsed = self._monotonic() - self._started_at
            done = self._done
            if done < max(_ENOUGH_ANSWERS, lanes) or elapsed <= 0:
                return lanes
            seconds = (self._waited - self._slowest) / max(self._answered - 1, 1) + self._stored / done
            computed = max(self._cpu_seconds() - self._cpu_at_start, 1e-4)
            computing = computed / max(self._made, done)
            self._begin()
        busy = computed / elapsed
        if lanes <= 1 and busy >= (_BUSY if lanes else _NOT_BUSY):
            return 0
        at_limit = max(_FOR_A_START, math.ceil(2 * seconds / max(self._seconds_at_limit(), 1e-6)))
        busy_with_done = computing * done / elapsed
        wanted = min(at_limit, 1 + math.ceil(seconds / computing), math.ceil(max(lanes, 1) / busy_with_done))
        return max(min(wanted, MOST_LANES_BY_ITSELF), 1) if wanted >= 1.5 * lanes else lanes

    def _begin(self) -> None:
        self._made = self._answered = self._done = 0
        self._waited = 0.0
        self._slowest = 0.0
        self._stored = 0.0
        self._started_at = self._monotonic()
        self._cpu_at_start = self._cpu_seconds()
