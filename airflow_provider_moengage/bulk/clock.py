"""What all parts of a run use: the time, which tests replace, the log, and what stops a run."""

from __future__ import annotations

import datetime as dt
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


def time_of_day(clock: Clock, seconds: float) -> str:
    """Return the time in some seconds from now, for a log line: ``14:03:20 UTC``."""
    moment = dt.datetime.fromtimestamp(clock.time() + seconds, dt.UTC)
    return f"{moment:%H:%M:%S} UTC"


class StopRequest:
    """A request to end a run. A signal handler may make it, so it takes no lock that a thread might hold."""

    is_made = False

    def make(self) -> None:
        """Ask the run to end, whether it has begun or not."""
        self.is_made = True


class StoppedError(Exception):
    """The run is being stopped; all waiting ends."""


class Log(Protocol):
    """A logger of Python or Airflow."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Log progress."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Log something that may need attention."""
