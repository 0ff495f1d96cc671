"""Writes a run's row, and its rejects, whatever becomes of the run. Nothing that goes wrong here fails a task."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_moengage.bulk.clock import Log
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.bulk.results import ResultsTable
from airflow_provider_moengage.bulk.resume.reject_spool import RejectSpool
from airflow_provider_moengage.results.columns import CODES, COUNTS, REJECTS, RUNS, SECONDS
from airflow_provider_moengage.results.recorded_operator import Recorded
from airflow_provider_moengage.sources.sql_stream import database_hook
from airflow_provider_moengage.tables.sql_table import (
    SqlTable,
    TableConnection,
    TableError,
    TableLayout,
    connected,
    is_conflict,
    name_of,
)

RUNNING, SUCCESS, FAILED, SKIPPED = "running", "success", "failed", "skipped"

_ATTEMPTS = 5
"""Attempts of a transaction that the database ends in favor of another one."""


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One try of a task in a Dag run.

    :param map_index: -1 unless the task is mapped, as in Airflow.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int | None

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> TaskRun:
        """Return the try of a task's context."""
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        return cls(ti.dag_id, ti.run_id, ti.task_id, map_index, getattr(ti, "try_number", None))

    @property
    def key(self) -> dict[str, Any]:
        """What identifies the run in a table: all of its tries have the same."""
        return {name: getattr(self, name) for name in RUNS.key}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of a run when it ends.

    :param report: its counts; None if it ended before anything was read.
    :param error: the exception that ended it.
    :param facts: other columns.
    """

    report: DeliveryReport | None
    error: BaseException | None
    facts: Mapping[str, Any]


def record(
    operator: Recorded, option: ResultsTable, context: Mapping[str, Any], execute: Callable[[], Any]
) -> Any:
    """Run an operator, and write what becomes of the run, however it ends."""
    recorder = RunRecorder(option, TaskRun.of(context), operator.log)
    spool = None
    if option.rejects is not None:
        spool = RejectSpool(operator.key_columns_of_rejects, with_elements=option.with_elements)
    operator.reject_spool = spool
    recorder.begin(operator.facts_of_run(), is_retry=operator.may_resume(context))
    error: BaseException | None = None
    try:
        return execute()
    except BaseException as raised:
        error = raised
        raise
    finally:
        outcome = Outcome(operator.report_of_run, error, operator.facts_of_run())
        try:
            recorder.end(outcome, spool)
        finally:
            if spool is not None:
                spool.close()


class RunRecorder:
    """Writes the results of one try.

    :param option: where.
    :param run: the try.
    :param log: gets what cannot be written, without values and without the database's text.
    :param now: returns the time.
    """

    def __init__(
        self,
        option: ResultsTable,
        run: TaskRun,
        log: Log,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._option = option
        self._run = run
        self._log = log
        self._now = now
        self._started_at = now()
        self._has_said_what_is_missing: set[str] = set()

    def begin(self, facts: Mapping[str, Any], *, is_retry: bool) -> None:
        """Write that the run has begun. What earlier tries have counted stays until this one has counts.

        :param is_retry: an earlier try may be resumed; otherwise its rejects are removed.
        """
        row = {**self._row(RUNNING), **facts, "error": None, "ended_at": None}
        steps: dict[str, Callable[[TableConnection], None]] = {
            self._option.runs: lambda connection: self._put(connection, row)
        }
        table = self._option.rejects
        if table is not None and not is_retry:
            steps[table] = lambda connection: self._table(connection, table, REJECTS).replace(self._run.key)
        self._write(steps)

    def end(self, outcome: Outcome, spool: RejectSpool | None) -> None:
        """Write what has become of the run."""
        error, report = outcome.error, outcome.report
        row = {**self._row(_state_of(error)), **outcome.facts, "ended_at": self._now()}
        row["error"] = None if error is None else type(error).__name__
        if report is not None:
            row |= _counts(report)
        steps: dict[str, Callable[[TableConnection], None]] = {
            self._option.runs: lambda connection: self._put(connection, row)
        }
        table = self._option.rejects
        if table is not None and spool is not None and report is not None:
            rejected = report.rejected
            steps[table] = lambda connection: self._replace_rejects(connection, table, spool, rejected)
        self._write(steps)

    def _row(self, state: str) -> dict[str, Any]:
        run = self._run
        return {**run.key, "try_number": run.try_number, "state": state, "started_at": self._started_at}

    def _put(self, connection: TableConnection, row: Mapping[str, Any]) -> None:
        self._table(connection, self._option.runs, RUNS).put(row)

    def _replace_rejects(self, connection: TableConnection, name: str, spool: RejectSpool, rejected: int) -> None:
        table = self._table(connection, name, REJECTS)
        has_all = spool.count >= rejected  # otherwise this try has resumed, and earlier ones wrote the others
        columns = [column.name for column in REJECTS.columns]
        table.replace(self._run.key, self._reject_rows(spool), columns, keep=not has_all)
        written = table.count(self._run.key)
        if written < rejected:
            self._log.warning(
                "%d of %d rejects are not in table %s: an earlier try was killed before it could write them, or"
                " the worker's disk is full. The rejects file has them, if rejects_path is set",
                rejected - written,
                rejected,
                name,
            )

    def _reject_rows(self, spool: RejectSpool) -> Iterator[dict[str, Any]]:
        run = {**self._run.key, "try_number": self._run.try_number, "written_at": self._now()}
        for reject in spool.rejects():
            yield {
                **run,
                "position": reject.position,
                "row_key": reject.key,
                "codes": ", ".join(reject.codes),
                "messages": "\n".join(reject.messages),
                "element": reject.element,
            }

    def _table(self, connection: TableConnection, name: str, layout: TableLayout) -> SqlTable:
        def log_created() -> None:
            self._log.info("Created table %s in connection %r", name, self._option.conn_id)

        table = SqlTable.opened(connection, name, layout, log_created)
        if table.missing and name not in self._has_said_what_is_missing:
            self._has_said_what_is_missing.add(name)
            self._log.warning(
                "Table %s has no column %s, so that is not written. Add the columns, or drop the table: the next"
                " run creates it",
                name,
                ", ".join(table.missing),
            )
        return table

    def _write(self, steps: Mapping[str, Callable[[TableConnection], None]]) -> None:
        try:
            with connected(database_hook(self._option.conn_id)) as connection:
                for name, step in steps.items():
                    self._try(name, connection, step)
        except Exception as error:  # noqa: BLE001 (no error of results may fail the task)
            self._log_not_written(" and ".join(steps), error)

    def _try(self, name: str, connection: TableConnection, step: Callable[[TableConnection], None]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                step(connection)
            except Exception as error:  # noqa: BLE001 (one table may fail without the other)
                if attempt < _ATTEMPTS and is_conflict(error):
                    continue
                self._log_not_written(name, error)
            return

    def _log_not_written(self, name: str, error: Exception) -> None:
        self._log.warning(
            "The results of this run could not be written to table %s of connection %r (%s). The task is not"
            " affected",
            name,
            self._option.conn_id,
            error if isinstance(error, TableError) else name_of(error),
        )


def _state_of(error: BaseException | None) -> str:
    from airflow.providers.common.compat.sdk import AirflowSkipException

    if error is None:
        return SUCCESS
    return SKIPPED if isinstance(error, AirflowSkipException) else FAILED


def _counts(report: DeliveryReport) -> dict[str, Any]:
    return {
        **{name: getattr(report, name) for name in (*COUNTS, *SECONDS)},
        **{name: json.dumps(getattr(report, name)) for name in CODES},
        "new_elements": report.new,
        "rejects_path": report.rejects_path,
        "resumed": report.resumed,
    }
