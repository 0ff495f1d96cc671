"""The progress lines of a run: counts and rates only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from airflow_provider_moengage.bulk.clock import Clock, Log

INTERVAL = 10.0
"""Seconds between progress lines."""


class Counts(Protocol):
    """What a progress line shows."""

    @property
    def accepted(self) -> int:
        """Elements that MoEngage has accepted so far."""

    @property
    def rejected(self) -> int:
        """Elements rejected so far."""

    @property
    def unchanged(self) -> int:
        """Elements that did not have to be sent so far."""

    @property
    def share_of_limit(self) -> float:
        """How much of the workspace's limit the last minute took, from 0 to 1."""

    @property
    def throttled_seconds(self) -> float:
        """Seconds that the limit has made a lane wait so far."""

    def least_seconds(self, total: int) -> float:
        """Seconds that the limits make a run of that many elements take from its start, however fast it is."""


class Progress:
    """Writes a line every 10 seconds.

    :param total: elements in the source, if that is known.
    :param also: called with each line.
    """

    def __init__(
        self,
        log: Log,
        clock: Clock,
        counts: Counts,
        total: int | None,
        also: Callable[[], None] = lambda: None,
    ) -> None:
        self._log = log
        self._clock = clock
        self._counts = counts
        self._total = total
        self._also = also
        self._started_at = self._last_at = clock.monotonic()
        self._done_at_start = self._done_at_last = _done(counts)  # by earlier tries

    def log_if_due(self) -> None:
        """Write a line if 10 seconds have passed since the last one."""
        now = self._clock.monotonic()
        elapsed = now - self._last_at
        if elapsed < INTERVAL:
            return
        counts = self._counts
        done = _done(counts)
        rate = (done - self._done_at_last) / elapsed
        of_total = f" of {self._total:,}" if self._total is not None else ""
        line = (
            f"{done:,}{of_total} elements done, {rate:,.0f} a second, {counts.share_of_limit:.0%} of the limit"
            f" used, {counts.throttled_seconds:.0f} s waiting for it, {counts.rejected:,} rejected"
        )
        overall = (done - self._done_at_start) / (now - self._started_at)
        if self._total is not None and overall > 0:
            by_rate = max(self._total - done, 0) / overall
            by_limit = counts.least_seconds(self._total) - (now - self._started_at)
            line += f", about {max(by_rate, by_limit):,.0f} s left"
        self._log.info("%s", line)
        self._also()
        self._last_at, self._done_at_last = now, done


def _done(counts: Counts) -> int:
    return counts.accepted + counts.rejected + counts.unchanged
