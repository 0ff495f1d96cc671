"""The lines that tell whoever reads the log how a run is doing. Counts and rates only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from airflow_provider_moengage.bulk.clock import Clock, Log

INTERVAL = 10.0
"""Seconds between progress lines."""


class Figures(Protocol):
    """What a progress line is made of."""

    @property
    def accepted(self) -> int:
        """Elements taken by MoEngage so far."""

    @property
    def rejected(self) -> int:
        """Elements rejected so far."""

    @property
    def share_of_limit(self) -> float:
        """How much of the workspace's limit the last minute took, from 0 to 1."""

    @property
    def throttled_seconds(self) -> float:
        """Seconds the limits held a lane back so far."""

    def least_seconds(self, total: int) -> float:
        """Seconds that the limits make a run of so many elements take from its start, however fast it is."""


class Progress:
    """Writes a line every 10 seconds, whenever it is asked to.

    :param total: elements in the source, where that is known.
    :param also: called with each line.
    """

    def __init__(
        self,
        log: Log,
        clock: Clock,
        figures: Figures,
        total: int | None,
        also: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log
        self._clock = clock
        self._figures = figures
        self._total = total
        self._also = also
        self._started = self._last = clock.monotonic()
        self._done_at_start = self._done_then = figures.accepted + figures.rejected  # by earlier tries

    def tell(self) -> None:
        """Write a line if one is due."""
        now = self._clock.monotonic()
        elapsed = now - self._last
        if elapsed < INTERVAL:
            return
        figures = self._figures
        done = figures.accepted + figures.rejected
        rate = (done - self._done_then) / elapsed
        of_total = f" of {self._total:,}" if self._total is not None else ""
        line = (
            f"{done:,}{of_total} elements done, {rate:,.0f} a second, {figures.share_of_limit:.0%} of the limit"
            f" used, {figures.throttled_seconds:.0f} s held back by it, {figures.rejected:,} rejected"
        )
        overall = (done - self._done_at_start) / (now - self._started)
        if self._total is not None and overall > 0:
            by_rate = max(self._total - done, 0) / overall
            by_limit = figures.least_seconds(self._total) - (now - self._started)
            line += f", about {max(by_rate, by_limit):,.0f} s left"
        self._log.info("%s", line)
        self._also()
        self._last, self._done_then = now, done
