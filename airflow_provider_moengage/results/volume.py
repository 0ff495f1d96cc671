"""Compares the number of rows that a query returns with what is expected, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from airflow_provider_moengage.bulk.changed.folder import StateFolder
from airflow_provider_moengage.bulk.changed.part import DamagedError
from airflow_provider_moengage.bulk.clock import Log
from airflow_provider_moengage.bulk.expect import Expect
from airflow_provider_moengage.bulk.report import counted
from airflow_provider_moengage.bulk.results import ResultsTable
from airflow_provider_moengage.exceptions import MoEngageVolumeError
from airflow_provider_moengage.results.columns import RUNS
from airflow_provider_moengage.results.recorder import SUCCESS, TaskRun
from airflow_provider_moengage.sources.sql_stream import database_hook
from airflow_provider_moengage.tables.sql_table import SqlTable, TableError, connected, name_of

_RUNS_COMPARED = 5
_ROWS_READ = 50
"""Successful runs that are read. This run, and runs without a number of rows, do not count."""

Earlier = Callable[[], Sequence[int]]
"""Returns the number of rows of earlier runs, the last one first."""


def check_volume(expect: Expect, count: Callable[[], int], earlier: Earlier, log: Log) -> None:
    """Check the number of rows.

    :param count: returns how many rows the query returns now.
    :raises MoEngageVolumeError: if it is not as expected; nothing was sent.
    """
    least, most_change = expect.least_rows, expect.most_change
    if least is None and most_change is None:
        return
    rows = count()
    if least is not None and rows < least:
        raise MoEngageVolumeError(
            f"expect: the query returns {counted(rows, 'row')}, fewer than least_rows={least}. This try has sent"
            " nothing; a retry counts again"
        )
    if most_change is None:
        log.info("expect: the query returns %s", counted(rows, "row"))
        return
    compared = earlier()[:_RUNS_COMPARED]
    usual = median(compared) if compared else 0
    if not usual:
        log.info(
            "expect: the query returns %s; there is no earlier run with rows to compare that with, so this run"
            " passes",
            counted(rows, "row"),
        )
        return
    change = (rows - usual) / usual
    usually = f"{counted(len(compared), 'successful run')} before it had {usual:,.0f} (median)"
    if abs(change) > most_change:
        raise MoEngageVolumeError(
            f"expect: the query returns {counted(rows, 'row')}, and the {usually}: a change of {change:+.0%},"
            f" more than most_change={most_change:g} allows. This try has sent nothing. If the number is right,"
            " run the task once with most_change=None"
        )
    log.info("expect: the query returns %s; the %s", counted(rows, "row"), usually)


def rows_in_table(option: ResultsTable, context: Mapping[str, Any], *, is_dry_run: bool) -> list[int]:
    """Return the number of rows of earlier runs of the same task, from the table of runs.

    :param context: the task's context.
    :param is_dry_run: the table need not be there. Any other run has created it.
    :raises MoEngageVolumeError: if the table cannot be read.
    """
    run = TaskRun.of(context)
    key = {"dag_id": run.dag_id, "task_id": run.task_id, "map_index": run.map_index, "state": SUCCESS}
    columns = ("run_id", "source_rows")
    try:
        with connected(database_hook(option.conn_id)) as connection:
            table = SqlTable.opened(connection, option.runs, RUNS, None)
            found = table.select(columns, key, "ended_at", _ROWS_READ)
    except Exception as error:  # noqa: BLE001 (every driver has its own)
        if is_dry_run:
            return []
        raise _not_comparable(
            f"table {option.runs} of connection {option.conn_id!r} could not be read"
            f" ({error if isinstance(error, TableError) else name_of(error)})"
        ) from None
    return [int(rows) for run_id, rows in found if run_id != run.run_id and rows is not None]


def rows_in_state(path: Any, run: str) -> list[int]:
    """Return the number of rows of earlier runs, from the state of a sync of changed rows.

    :param path: the state's folder.
    :param run: the run that compares, as the state names it.
    :raises MoEngageVolumeError: if the state cannot be read, or is damaged.
    """
    folder = StateFolder(path)
    try:
        newest = folder.newest()
    except DamagedError:
        raise _not_comparable(f"the state in {folder} is damaged") from None
    except Exception as error:  # noqa: BLE001 (every storage has its own)
        raise _not_comparable(f"the state in {folder} could not be read ({type(error).__name__})") from None
    found = {} if newest is None else newest.rows
    return [rows for of_run, rows in reversed(found.items()) if of_run != run]


def _not_comparable(why: str) -> MoEngageVolumeError:
    return MoEngageVolumeError(
        f"expect: {why}, so the number of rows cannot be compared. This try has sent nothing. To send without the"
        " comparison, run the task once with most_change=None"
    )
