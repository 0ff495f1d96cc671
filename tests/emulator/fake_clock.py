"""A clock for the emulator that a test moves."""

from __future__ import annotations


class FakeClock:
    """The emulator's clock, which moves only when a test sets ``now``."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.now = start

    def __call__(self) -> float:
        return self.now
