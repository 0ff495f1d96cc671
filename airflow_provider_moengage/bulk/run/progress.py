"""The progress lines of a run: counts and rates only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from airflow_provider_moengage.bulk.clock import Clock, Log, time_of_day

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

    @property
    def seconds_left_to_wait(self) -> float:
        """Seconds until the limits let the next request go; 0 if none waits for them."""

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
        line = f"{done:,}{of_total} elements done"
        if rate or counts.seconds_left_to_wait < _WORTH_A_TIME:
            line += f", {rate:,.0f} a second"
        line += f", {counts.share_of_limit:.0%} of the limit used{self._waiting()}"
        if counts.rejected:
            line += f", {counts.rejected:,} rejected"
        overall = (done - self._done_at_start) / (now - self._started_at)
        if self._total is not None and overall > 0:
            by_rate = max(self._total - done, 0) / overall
            by_limit = counts.least_seconds(self._total) - (now - self._started_at)
            line += f", about {duration(max(by_rate, by_limit))} left"
        self._log.info("%s", line)
        self._also()
        self._last_at, self._done_at_last = now, done

    def _waiting(self) -> str:
        waited, left = self._counts.throttled_seconds, self._counts.seconds_left_to_wait
        until = f"until {time_of_day(self._clock, left)}" if left >= _WORTH_A_TIME else ""
        if waited < _WORTH_A_NUMBER:
            return f", waiting for it {until}" if until else ""
        return f", {waited:.0f} s waiting for it" + (f" (now {until})" if until else "")


_WORTH_A_NUMBER = 0.5
"""Least seconds of waiting so far that are shown: what is not 0 s when it is rounded."""

_WORTH_A_TIME = 2.0
"""Least seconds left to wait of which the end is shown. Others are over when the line is read."""


def duration(seconds: float) -> str:
    """Return a duration as exactly as an estimate can be: 45 s, 12 min, 1 h 20 min, 15 h."""
    step = next(step for below, step in _STEPS if seconds < below)
    rounded = round(seconds / step) * step
    if rounded <= _SHOWN_IN_SECONDS:
        return f"{rounded} s"
    hours, minutes = divmod(rounded // 60, 60)
    return " ".join([f"{hours:,} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes))


_SHOWN_IN_SECONDS = 90
"""Seconds up to which a duration is not in minutes."""

_STEPS = (
    (_SHOWN_IN_SECONDS, 5),
    (20 * 60, 60),
    (60 * 60, 5 * 60),
    (10 * 60 * 60, 10 * 60),
    (float("inf"), 60 * 60),
)
"""Durations are rounded to a multiple of the step, in seconds, of the first row whose limit they are below."""


def _done(counts: Counts) -> int:
    return counts.accepted + counts.rejected + counts.unchanged
