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


class Width:
    """Says when a run could use more lanes. The time that requests take is told by the lanes.

    :param seconds_at_limit: returns how many seconds the limits allow one request after the other, on average.
    :param cpu_seconds: what the process has computed so far.
    """

    def __init__(
        self, seconds_at_limit: Callable[[], float], cpu_seconds: Callable[[], float] = time.process_time
    ) -> None:
        self._seconds_at_limit = seconds_at_limit
        self._cpu_seconds = cpu_seconds
        self._lock = threading.Lock()
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
        """Return how many lanes to go on with: no fewer than there are.

        While one lane waits for its answer, others can use the process; so many that it is never idle are enough.
        More than the limit can use are of no use, either.
        """
        with self._lock:
            if self._answers < max(_ENOUGH_ANSWERS, lanes):
                return lanes
            seconds = self._seconds / self._answers
            computing = (self._cpu_seconds() - self._cpu_at_start) / self._answers
            self._begin()
        at_limit = max(_FOR_A_START, math.ceil(2 * seconds / max(self._seconds_at_limit(), 1e-6)))
        wanted = min(MOST_LANES_BY_ITSELF, at_limit, math.ceil(seconds / max(computing, 1e-4)))
        return wanted if wanted >= 1.5 * lanes else lanes

    def _begin(self) -> None:
        self._answers = 0
        self._seconds = 0.0
        self._cpu_at_start = self._cpu_seconds()
