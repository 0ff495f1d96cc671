"""What all parts of a run use: the time, which tests replace, the log, and the error that stops a run."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol


class Clock(Protocol):
    """The time, as a run uses it."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; never decreases."""

    def time(self) -> float:
        """Return the UTC epoch time in seconds."""

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        """Wait for ``seconds``, or until ``stopped`` is set; return whether it is set."""


class SystemClock:
    """The machine's time."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; never decreases."""
        return time.monotonic()

    def time(self) -> float:
        """Return the UTC epoch time in seconds."""
        return time.time()

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        """Wait for ``seconds``, or until ``stopped`` is set; return whether it is set."""
        return stopped.wait(seconds)


class StoppedError(Exception):
    """The run is being stopped; all waiting ends."""


class Log(Protocol):
    """A logger of Python or Airflow."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Log progress."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Log something that may need attention."""
