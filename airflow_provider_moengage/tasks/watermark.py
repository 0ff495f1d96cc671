"""The time window whose rows an incremental sync sends.

Windows are half-open, and each begins where the last successful one ended. That moment, the watermark, is stored
in the state of an asset (Airflow 3.3 and later). In a backfill, and on an earlier Airflow, the window is the run's
own data interval. The first try of a task fixes its window, so that retries and a Clear of an old run send the
same rows.
"""

from __future__ import annotations

import copy
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from airflow_provider_moengage.arguments import in_utc
from airflow_provider_moengage.bulk.clock import Log
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.tasks.state import ClearEpoch, TaskState

_KEY = "moengage_window"
_BACKFILL = "backfill"

LONGEST_KEY = 512
"""Characters of a key in the state of an asset; Dag and task IDs have up to 250 each."""

_READABLE = 100

_MOVES = 5
"""Attempts to move a watermark while other runs move it, too. Two runs need at most three each."""

_WITH_INTERVALS = "schedule=CronDataIntervalTimetable(...)"


@dataclass(frozen=True, slots=True)
class Window:
    """The time from ``since``, included, to ``until``, excluded, both in UTC."""

    since: datetime
    until: datetime

    @property
    def is_empty(self) -> bool:
        """Whether the window contains no time."""
        return self.since >= self.until

    def __str__(self) -> str:
        return f"from {self.since} to {self.until}"


@dataclass(frozen=True, slots=True)
class Run:
    """What the window of a Dag run depends on.

    :param run_id: its name.
    :param is_backfill: whether a backfill created it or took it over.
    :param interval: its data interval; None if it has none or an empty one.
    :param run_after: the earliest time it may run; None before Airflow 3.
    :param dag_start: the Dag's ``start_date``.
    """

    run_id: str
    is_backfill: bool = False
    interval: Window | None = None
    run_after: datetime | None = None
    dag_start: datetime | None = None

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> Run:
        """Return the run of a task's context."""
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
    """Return the window of a backfill, or of any run on an Airflow without watermarks: its data interval.

    :raises ValueError: if the run has no data interval, with what to do.
    """
    if run.interval is not None:
        return run.interval
    if run.is_backfill:
        raise ValueError(
            f"watermark: backfill run {run.run_id} has no data interval, so it has nothing to send. Give the Dag"
            f" {_WITH_INTERVALS}, whose runs have one"
        )
    raise ValueError(
        f"watermark: run {run.run_id} has no data interval, and Airflow before 3.3 stores no watermark. Give the"
        f" Dag {_WITH_INTERVALS}, and a manually triggered run a logical date"
    )


def window_after(watermark: datetime | None, run: Run) -> Window:
    """Return the window of a run from the watermark to the end of its data interval, or to ``run_after``.

    The window is empty if the watermark is already past that.

    :param watermark: where the last successful run ended; None before the first.
    :raises ValueError: if the start of the first run is unknown.
    """
    interval = run.interval
    until = run.run_after if interval is None else interval.until
    since = watermark or (run.dag_start if interval is None else interval.since)
    if since is None or until is None:
        raise ValueError(
            f"watermark: {run.run_id} is the first run and has no data interval, so its start is unknown. Give the"
            " Dag a start_date"
        )
    return Window(since, until)


class TaskWindow:
    """The window of a task, and the watermark that it moves.

    :param asset: its state stores the watermark.
    :param context: the task's context.
    :raises ValueError: if the task has no window, with what to do.
    """

    def __init__(self, asset: Any, context: Mapping[str, Any], log: Log) -> None:
        run = Run.of(context)
        self._log = log
        self._fixed = TaskState(context, _KEY)
        epoch = ClearEpoch(context)
        self._may_be_taken = epoch.max_tries == epoch.retries  # a Clear sends a window again on purpose
        self._watermark: Watermark | None = None
        self._is_development = _is_development_run() and not _moves_in_development()
        if run.is_backfill or not TaskState(context, _KEY).is_kept:
            self.window = window_without_watermark(run)
            return
        self._watermark = Watermark(asset, context)
        try:
            self.window = (
                window_after(self._watermark.read(), run)
                if self._is_development
                else _fixed_window(self._watermark, run, context)
            )
        except ImportError:  # `airflow tasks render` runs no task and cannot open the store
            self.window = window_after(None, run)

    def in_templates(self, context: Mapping[str, Any]) -> Any:
        """Return a copy of the context with `since` and `until` for templates."""
        copied: Any = copy.copy(context)
        copied.update(since=self.window.since, until=self.window.until)
        return copied

    @contextmanager
    def moving_the_watermark(self, *, is_dry_run: bool, at_most_once: bool) -> Iterator[None]:
        """Move the watermark to the end of the window once everything in it is sent.

        It moves even if rejects fail the task: otherwise, as long as one row is bad, each later run would send
        again what MoEngage has accepted.

        :param is_dry_run: do not move it.
        :param at_most_once: move it before sending, so that no other run sends again what a failed run has sent.
        """
        if self.window.is_empty:
            self._log.info(
                "Nothing to send: the watermark is at %s, past the end of this run at %s. To send an old interval"
                " again, backfill it",
                self.window.since,
                self.window.until,
            )
        else:
            self._log.info("Sending the rows %s", self.window)
        if at_most_once:
            self._take(is_dry_run=is_dry_run)
        try:
            yield
        except MoEngageError as error:
            if error.is_delivered:
                self._move(is_dry_run=is_dry_run)
            raise
        self._move(is_dry_run=is_dry_run)

    def _move(self, *, is_dry_run: bool) -> None:
        if self._watermark is None or is_dry_run:
            return
        if self._is_development:
            self._log.info(
                "This is a development run, so the watermark stays where it is. To move it, set [moengage]"
                " development_runs_move_watermark"
            )
            return
        if self._watermark.advance(self.window.until):
            self._log.info("The watermark is now at %s", self.window.until)
        if self._watermark.is_contested:
            self._log.warning(
                "Several runs of this task moved the watermark at the same time, so it may be too early: then the"
                " next run sends rows again. Set max_active_runs=1"
            )

    def _take(self, *, is_dry_run: bool) -> None:
        """Move the watermark before the rows are sent, unless another run has taken them.

        :raises MoEngageError: if one has.
        """
        if self._watermark is None or is_dry_run or self._is_development or self.window.is_empty:
            self._move(is_dry_run=is_dry_run)
            return
        fixed = self._fixed.get() or {}
        last = self._watermark.read()
        if self._may_be_taken and "is_taken" not in fixed and last is not None and last > self.window.since:
            self._fixed.forget()
            raise MoEngageError(
                f"Another run of this task has moved the watermark from {self.window.since} to {last} since this"
                " one began, and sends these rows. Nothing was sent; a retry sends what is new since then"
            )
        self._move(is_dry_run=is_dry_run)
        self._fixed.set({**fixed, "is_taken": True})


def _is_development_run() -> bool:
    """Return whether this is ``airflow dags test``, ``airflow tasks test`` or ``dag.test()``. They run the task in
    their own process, but use the deployment's database.

    Airflow reports it only by the kind of connection between task and supervisor. ``dag.test(use_executor=True)``
    runs on workers and cannot be told from a real run.
    """
    try:
        from airflow.sdk.execution_time import task_runner
    except ImportError:  # Airflow 2, which stores no watermark
        return False
    comms = getattr(task_runner, "SUPERVISOR_COMMS", None)
    return type(comms).__name__ == "InProcessSupervisorComms"


def _moves_in_development() -> bool:
    from airflow.providers.common.compat.sdk import conf

    return bool(conf.getboolean("moengage", "development_runs_move_watermark", fallback=False))


def _fixed_window(watermark: Watermark, run: Run, context: Mapping[str, Any]) -> Window:
    """Return the window that the first try of the task has fixed, or fix it."""
    stored = TaskState(context, _KEY)
    if window := stored.get():
        return Window(_in_utc(window["since"]), _in_utc(window["until"]))
    last = watermark.read()
    fixed = window_after(last, run)
    if last is None:  # if the first run fails, the next one has to send its rows too
        watermark.write(fixed.since)
    stored.set({"since": fixed.since.isoformat(), "until": fixed.until.isoformat()})
    return fixed


class Watermark:
    """A time in the state of an asset, under a key of the task's own.

    :param asset: one of the task's inlets or outlets.
    :param context: the task's context.
    :raises ValueError: if the asset is not among them.
    """

    def __init__(self, asset: Any, context: Mapping[str, Any]) -> None:
        ti = context["ti"]
        self._key = watermark_key(ti.dag_id, ti.task_id, ti.map_index)
        self._move_key = _move_key(self._key)
        self._token = secrets.token_hex(8)
        self.is_contested = False
        """Whether so many runs have moved it at once that it may be before the moment of one of them."""
        try:
            self._state = context["asset_state_store"][asset]
        except KeyError:  # for a mapped task, __init__ runs too late to add it
            raise ValueError(
                "watermark: a task can access only the state of its inlets and outlets; a mapped task has to"
                " list them: .partial(watermark=asset, inlets=[asset])"
            ) from None

    def read(self) -> datetime | None:
        """Return where the last successful run ended; None before the first.

        :raises ValueError: if the stored value is not a time.
        """
        value = self._state.get(self._key, None)
        try:
            return None if value is None else _in_utc(str(value))
        except ValueError:
            raise ValueError(
                f"watermark: the asset's state {self._key!r} is {value!r}: expected a time such as"
                " '2026-01-01T00:00:00+00:00'"
            ) from None

    def write(self, moment: datetime) -> None:
        """Store a new watermark."""
        self._state.set(self._key, moment.isoformat())

    def advance(self, moment: datetime) -> bool:
        """Move the watermark to ``moment`` unless it is already past it; return whether it was moved.

        Airflow's store cannot compare and set: between this run's look and its write, another one may move it past
        ``moment``. So each run announces its move first, and looks afterwards whether another run has announced
        one since. If one has, this run repeats its move, to the later of the two moments, as the other one has
        sent everything up to there. Of two runs, the last write is then always that of the later moment.
        """
        is_moved = False
        for _ in range(_MOVES):
            self._state.set(self._move_key, {"until": moment.isoformat(), "token": self._token})
            before = self.read()
            if before is None or before < moment:
                self.write(moment)
                is_moved = True
            other = self._announced_by_another()
            if other is None or other == moment:
                return is_moved
            moment = max(moment, other)
        self.is_contested = True
        return is_moved

    def _announced_by_another(self) -> datetime | None:
        """Return the moment to which another run moves it; None if this run has announced its move last."""
        move = self._state.get(self._move_key, None)
        if not isinstance(move, dict) or move.get("token") == self._token:
            return None
        return _in_utc(str(move["until"]))


def watermark_key(dag_id: str, task_id: str, map_index: int | None) -> str:
    """Return the name of a task's watermark in the asset's state.

    :param map_index: None or -1 if the task is not mapped.
    """
    index = "" if map_index is None or map_index < 0 else f":{map_index}"
    key = f"moengage:{dag_id}:{task_id}{index}"
    if len(key) <= LONGEST_KEY:
        return key
    digest = sha256(f"{dag_id}\0{task_id}".encode()).hexdigest()
    return f"moengage:{dag_id[:_READABLE]}:{task_id[:_READABLE]}:{digest}{index}"


def _move_key(key: str) -> str:
    """Return the name under which a run announces that it moves the watermark of this name."""
    name = f"{key}:move"
    return name if len(name) <= LONGEST_KEY else f"moengage:{sha256(key.encode()).hexdigest()}:move"


def check_watermark(asset: object, sql: object, parameters: object, key_range: object) -> None:
    """Check ``watermark``, alone and together with the other arguments.

    :raises ValueError: naming what is wrong.
    """
    from airflow.providers.common.compat.sdk import Asset

    if not isinstance(asset, Asset):
        raise ValueError(f"watermark {asset!r}: expected an Asset")
    if key_range is not None:
        raise ValueError("watermark: cannot be combined with key_range, which differs in each run")
    check_moments(sql, parameters)


def check_moments(sql: object, parameters: object) -> None:
    """Check that a query uses both ends of the window, unless it is in a file. What another task returns cannot.

    :raises ValueError: naming those that it does not use.
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
    """Return a time as a datetime in UTC; a time without a zone is UTC already."""
    text = moment if isinstance(moment, str) else moment.isoformat()
    return in_utc(datetime.fromisoformat(text))
