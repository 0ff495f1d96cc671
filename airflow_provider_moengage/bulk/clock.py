"""Time, as the pipeline sees it: one place to inject another one."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol


class Clock(Protocol):
    """What the pipeline asks of time."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    def time(self) -> float:
        """UTC epoch seconds."""

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        """Let ``seconds`` pass, or less where ``stopped`` is set before; say whether it is."""


class SystemClock:
    """The machine's own time."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()

    def time(self) -> float:
        """UTC epoch seconds."""
        return time.time()

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        """Let ``seconds`` pass, or less where ``stopped`` is set before; say whether it is."""
        return stopped.wait(seconds)


class StoppedError(Exception):
    """The run is being stopped; whoever waits stops waiting."""


class Log(Protocol):
    """Where lines go: a logger of Python's or of Airflow's."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Write a line that all is well."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Write a line that something may need a look."""
