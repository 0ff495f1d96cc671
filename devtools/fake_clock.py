"""A clock that advances only when a caller waits."""

from __future__ import annotations

import threading


class FakeClock:
    """A clock for a run: waiting returns at once and moves it forward. Threads may share it."""

    start = 1_750_000_000.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = self.start

    def monotonic(self) -> float:
        with self._lock:
            return self._now

    time = monotonic

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        with self._lock:
            target = self._now + seconds
        with self._lock:
            self._now = max(self._now, target)
        return stopped.is_set()
