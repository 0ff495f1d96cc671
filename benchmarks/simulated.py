"""A simulated clock for the pacer: whoever has to wait asks again later."""

from __future__ import annotations

import threading

WINDOW = 60.0
"""Seconds."""


class Later(Exception):  # noqa: N818 (a signal, not an error)
    """Raised instead of waiting: the lane must ask again after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class SimulatedClock:
    """The pipeline's clock. Time stands still until the simulation advances it."""

    now = 0.0

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self.now

    time = monotonic

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        """Let the lane ask again later."""
        del stopped
        raise Later(seconds)
