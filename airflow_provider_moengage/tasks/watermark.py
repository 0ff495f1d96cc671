"""The window of time whose rows an incremental sync sends.

Windows are half-open, and each begins where the last good one has ended. The state of an asset remembers that
moment, the watermark (Airflow 3.3 and later). In a backfill, and on an earlier Airflow, the window is the run's
own data interval. The first try of a task fixes its window, so that retries, and a Clear of an old run, send the
same rows.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_moengage.arguments import in_utc
from airflow_provider_moengage.exceptions import MoEngageRejectsError
from airflow_provider_moengage.tasks.state import TaskState

_KEY = "moengage_window"
_BACKFILL = "backfill"
_WITH_INTERVALS = "schedule=CronDataIntervalTimetable(...)"


@dataclass(frozen=True, slots=True)
class Window:
    """What is from ``since`` on and before ``until``, both in UTC."""

    since: datetime
    until: datetime

    @property
    def is_empty(self) -> bool:
        """Whether no moment is in it."""
        return self.since >= self.until

    def __str__(self) -> str:
        return f"from {self.since} to {self.until}"


@dataclass(frozen=True, slots=True)
class Run:
    """What Airflow says of a run.

    :param run_id: its name.
    :param is_backfill: whether a backfill has made it, or has taken it over.
    :param interval: its data interval, None where it has none, or an empty one.
    :param run_after: the moment from which on it may run; None before Airflow 3.
    :param dag_start: the Dag's ``start_date``.
    """

    run_id: str
    is_backfill: bool = False
    interval: Window | None = None
    run_after: datetime | None = None
    dag_start: datetime | None = None

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Run:
        """Read a task's context."""
        run = context["dag_run"]
        start, end = (context.get(f"data_interval_{side}") for side in ("start", "end"))
        interval = None if start is None or end is None else Window(_in_utc(start), _in_utc(end))
        run_after, dag_start = getattr(run, "run_after", None), context["dag"].start_date
        return cls(
            run.run_id,
            run.run_type == _BACKFILL,
            None if interval is None or interval.is_empty else interval,
            None if run_after is None else _in_utc(run_after),
            None if dag_start is None else _in_utc(dag_start),
        )


def window_without_watermark(run: Run) -> Window:
    """Return the window of a backfill, or of any run where Airflow keeps no watermark: its data interval.

    :raises ValueError: saying what to do where it has none.
    """
    if run.interval is not None:
        return run.interval
    if run.is_backfill:
        raise ValueError(
            f"watermark: the backfill run {run.run_id} has no data interval, so there is nothing for it to send."
            f" Give the Dag {_WITH_INTERVALS}, whose runs have one"
        )
    raise ValueError(
        f"watermark: run {run.run_id} has no data interval, and Airflow before 3.3 keeps no watermark."
        f" Give the Dag {_WITH_INTERVALS}, and a run that you trigger a logical date"
    )


def window_after(watermark: datetime | None, run: Run) -> Window:
    """Return the window of a run where Airflow keeps watermarks: from there to the run's own moment.

    It is empty where the watermark is past that moment already.

    :param watermark: where the last good run has ended; None before the first.
    :raises ValueError: where the first run is not told where to begin.
    """
    interval = run.interval
    until = run.run_after if interval is None else interval.until
    since = watermark or (run.dag_start if interval is None else interval.since)
    if since is None or until is None:
        raise ValueError(
            f"watermark: {run.run_id} is the first run and has no data interval, so it is not known where to"
            " begin. Give the Dag a start_date"
        )
    return Window(since, until)


class TaskWindow:
    """The window of a task, and the watermark that it moves.

    :param asset: its state holds the watermark.
    :param context: the task's context.
    :param log: told what the window is, and where the watermark goes.
    :raises ValueError: where there is no window, saying what to do.
    """

    def __init__(self, asset: Any, context: Mapping[str, Any], log: Any) -> None:
        run = Run.of(context)
        self._log = log
        self._watermark: Watermark | None = None
        if run.is_backfill or not TaskState(context, _KEY).is_kept:
            self.window = window_without_watermark(run)
            return
        self._watermark = Watermark(asset, context)
        try:
            self.window = self._fixed(run, context)
        except ImportError:  # `airflow tasks render` runs no task, and no store is open to it
            self.window = window_after(None, run)

    def in_templates(self, context: Mapping[str, Any]) -> Any:
        """Return a context whose templates know `since` and `until`."""
        copied: Any = copy.copy(context)
        copied.update(since=self.window.since, until=self.window.until)
        return copied

    @contextmanager
    def moving_the_watermark(self, *, is_dry_run: bool, at_most_once: bool) -> Iterator[None]:
        """Move the watermark to the window's end when everything in it is sent.

        That is so where rejects fail the task, too: else each later run would send again what MoEngage has taken,
        for as long as one row is bad.

        :param is_dry_run: leave it where it is.
        :param at_most_once: move it first: what a run that fails has sent is no other run's to send again.
        """
        if self.window.is_empty:
            self._log.info(
                "Nothing to send: the watermark is at %s, past this run's end at %s. To send an old interval"
                " again, backfill it",
                self.window.since,
                self.window.until,
            )
        else:
            self._log.info("Sending the rows %s", self.window)
        if at_most_once:
            self._move(is_dry_run=is_dry_run)
        try:
            yield
        except MoEngageRejectsError:
            self._move(is_dry_run=is_dry_run)
            raise
        self._move(is_dry_run=is_dry_run)

    def _fixed(self, run: Run, context: Mapping[str, Any]) -> Window:
        assert self._watermark is not None
        kept = TaskState(context, _KEY)
        if moments := kept.get():
            return Window(_in_utc(moments["since"]), _in_utc(moments["until"]))
        watermark = self._watermark.read()
        window = window_after(watermark, run)
        if watermark is None:  # a run that fails leaves its rows to the next one, and the first is no exception
            self._watermark.write(window.since)
        kept.set({"since": window.since.isoformat(), "until": window.until.isoformat()})
        return window

    def _move(self, *, is_dry_run: bool) -> None:
        if self._watermark is None or is_dry_run:
            return
        before = self._watermark.read()
        if before is None or before < self.window.until:
            self._watermark.write(self.window.until)
            self._log.info("The watermark is at %s now", self.window.until)


class Watermark:
    """A moment in the state of an asset, under a key of the task's own.

    :param asset: one of the task's inlets or outlets.
    :param context: the task's context.
    :raises ValueError: where it is none of them.
    """

    def __init__(self, asset: Any, context: Mapping[str, Any]) -> None:
        ti = context["ti"]
        index = "" if ti.map_index is None or ti.map_index < 0 else f":{ti.map_index}"
        self._key = f"moengage:{ti.dag_id}:{ti.task_id}{index}"
        try:
            self._state = context["asset_state_store"][asset]
        except KeyError:  # a mapped task's own __init__ comes too late to add it
            raise ValueError(
                "watermark: a task may see the state of its inlets and outlets only, and a mapped task has to name"
                " them: .partial(watermark=asset, inlets=[asset])"
            ) from None

    def read(self) -> datetime | None:
        """Return where the last good run has ended; None before the first.

        :raises ValueError: where something else is there.
        """
        value = self._state.get(self._key, None)
        try:
            return None if value is None else _in_utc(str(value))
        except ValueError:
            raise ValueError(
                f"watermark: the asset's state {self._key!r} is {value!r}: expected a moment, such as"
                " '2026-01-01T00:00:00+00:00'"
            ) from None

    def write(self, moment: datetime) -> None:
        """Replace it."""
        self._state.set(self._key, moment.isoformat())


def check_watermark(asset: object, sql: object, parameters: object, key_range: object) -> None:
    """Check the argument by itself, and with those that it does not go with.

    :raises ValueError: naming what is wrong.
    """
    from airflow.providers.common.compat.sdk import Asset

    if not isinstance(asset, Asset):
        raise ValueError(f"watermark {asset!r}: expected an Asset")
    if key_range is not None:
        raise ValueError("watermark: expected without key_range, which is another one in each run")
    check_moments(sql, parameters)


def check_moments(sql: object, parameters: object) -> None:
    """Check that a query takes both moments, where that can be seen. What another task returns cannot take them.

    :raises ValueError: naming those that it does not take.
    """
    if isinstance(sql, str) and sql.endswith(".sql"):
        return
    given = f"{sql} {parameters!r}"
    missing = [name for name in ("since", "until") if not re.search(rf"{{[{{%][^}}]*\b{name}\b", given)]
    if missing:
        names = " and ".join(f"{{{{ {name} }}}}" for name in missing)
        raise ValueError(
            f"watermark: expected {names} in sql or parameters, such as"
            " WHERE updated_at >= '{{ since }}' AND updated_at < '{{ until }}'"
        )


def _in_utc(moment: datetime | str) -> datetime:
    """Return a moment as a plain datetime in UTC, which is what one without a zone is in."""
    text = moment if isinstance(moment, str) else moment.isoformat()
    return in_utc(datetime.fromisoformat(text))
