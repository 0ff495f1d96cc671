"""A clock that runs faster than real time."""

from __future__ import annotations

import time


class AcceleratedClock:
    """A clock that starts at the current time and runs ``speed`` times as fast.

    ``Emulator(clock=AcceleratedClock(60))``: an hour of the emulator takes a minute.

    :raises ValueError: if ``speed`` is not above 0.
    """

    def __init__(self, speed: float) -> None:
        if not speed > 0:
            raise ValueError(f"speed {speed!r}: expected a number above 0")
        self._speed = speed
        self._began, self._ticked = time.time(), time.monotonic()

    def __call__(self) -> float:
        """Return its time in epoch seconds."""
        return self._began + (time.monotonic() - self._ticked) * self._speed
