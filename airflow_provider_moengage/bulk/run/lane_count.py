"""How many lanes are useful: as many requests at once as it takes to keep this process, or the limit, busy."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

MOST_LANES_BY_ITSELF = 16
"""Lanes that a run opens without being told. At 50 ms an answer they carry 300 requests a second, more than one
process can fill.
"""

_ENOUGH_ANSWERS = 4
"""Answers to wait for before the next look: one by itself may be slow by chance."""

_FOR_A_START = 4
"""Lanes that the workspace's limit is no reason against: what a minute allows may all go at its start."""


_BUSY = 0.8
_NOT_BUSY = 0.5
"""Parts of its time that a process computes: from the first on lanes are of no use, below the second they are."""


class LaneScaler:
    """Says how many lanes are of use to a run. What requests take is told by the lanes.

    :param monotonic: the time, in seconds.
    :param cpu_seconds: what the process has computed so far.
    :param seconds_at_limit: returns how many seconds the limits allow one request after the other, on average.
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
        self._begin()

    def waited(self, seconds: float) -> None:
        """Book how long MoEngage took to accept a request."""
        with self._lock:
            self._seconds += seconds

    def accepted(self, seconds: float) -> None:
        """Book that it is done, and how long it took to store that."""
        with self._lock:
            self._seconds += seconds
            self._answers += 1

    def useful(self, lanes: int) -> int:
        """Return how many lanes to go on with; 0 where the reader had better send by itself.

        While one lane waits for its answer, others can use the process: so many that it is never idle are enough,
        and more than the limit can use are of no use. Where the process is not idle with one, the threads only
        stand in each other's way. Of several none is closed.
        """
        with self._lock:
            elapsed = self._monotonic() - self._started
            if self._answers < max(_ENOUGH_ANSWERS, lanes) or elapsed <= 0:
                return lanes
            seconds = self._seconds / self._answers
            computed = max(self._cpu_seconds() - self._cpu_at_start, 1e-4)
            computing = computed / self._answers
            self._begin()
        busy = computed / elapsed
        if lanes <= 1 and busy >= (_BUSY if lanes else _NOT_BUSY):
            return 0
        at_limit = max(_FOR_A_START, math.ceil(2 * seconds / max(self._seconds_at_limit(), 1e-6)))
        wanted = min(
            MOST_LANES_BY_ITSELF, at_limit, 1 + math.ceil(seconds / computing), math.ceil(max(lanes, 1) / busy)
        )
        return max(wanted, 1) if wanted >= 1.5 * lanes else lanes

    def _begin(self) -> None:
        self._answers = 0
        self._seconds = 0.0
        self._started = self._monotonic()
        self._cpu_at_start = self._cpu_seconds()
