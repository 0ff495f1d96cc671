"""SqlToMoEngageOperator(expect=...): a run whose query returns other numbers of rows than usual sends nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage.bulk.changes import ChangedOnly
from airflow_provider_moengage.bulk.expect import Expect
from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.bulk.results import ResultsTable
from airflow_provider_moengage.exceptions import MoEngageRejectsError, MoEngageRemovalError, MoEngageVolumeError
from airflow_provider_moengage.sources.sql_keyset import count_rows
from airflow_provider_moengage.sources.sql_stream import database_hook
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage
from tests.sources.warehouses import Warehouse

SQL = "SELECT user_id FROM users WHERE n < {rows} -- all of them"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE users (n INTEGER, user_id TEXT)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO users VALUES (?, ?)", [(n, f"user-{n}") for n in range(1_000)])
        connection.execute("COMMIT")
        yield connection


class Sync:
    """Runs of one task, one after the other."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, rows: int, *, clears: bool = False, **options: Any) -> dict[str, Any]:
        self.runs += not clears
        given = {
            "mapping": CustomerMapping(attributes=[]),
            "results": ResultsTable("warehouse"),
            "expect": Expect(),
            **options,
        }
        sql = given.pop("sql", SQL).format(rows=rows)
        operator = SqlToMoEngageOperator(task_id="sync", conn_id="warehouse", sql=sql, **given)
        run_id = f"run {self.runs}"
        ti = SimpleNamespace(dag_id="dag", run_id=run_id, task_id="sync", map_index=-1, try_number=1)
        context: Any = {
            "ti": ti,
            "params": {"change": None, "least": 900},
            "dag": SimpleNamespace(start_date=None),
            "dag_run": SimpleNamespace(
                run_id=run_id, run_type="scheduled", logical_date=datetime(2026, 1, self.runs, tzinfo=UTC)
            ),
        }
        operator.render_template_fields(context)
        return operator.execute(context)


@pytest.fixture
def sync(connected: MoEngage, database: sqlite3.Connection) -> Sync:
    return Sync()


def test_the_first_run_passes_and_says_so(sync: Sync, logged: Callable[[], str]) -> None:
    assert sync.run(100)["accepted"] == 100

    assert "returns 100 rows; there is no earlier run with rows to compare that with" in logged()


@pytest.mark.parametrize("rows", [49, 0, 151])
def test_a_run_with_far_fewer_or_more_rows_sends_nothing(
    sync: Sync, connected: MoEngage, database: sqlite3.Connection, rows: int
) -> None:
    sync.run(100)
    with pytest.raises(MoEngageVolumeError, match=r"more than most_change=0\.5 allows\. This try has"):
        sync.run(rows)

    assert len(connected.arrived) == 100
    states = database.execute("SELECT state, error FROM moengage_sync_runs ORDER BY run_id").fetchall()
    assert states == [("success", None), ("failed", "MoEngageVolumeError")]


@pytest.mark.parametrize("rows", [50, 150])
def test_a_run_within_the_change_is_sent(sync: Sync, rows: int) -> None:
    sync.run(100)

    assert sync.run(rows)["accepted"] == rows


def test_the_median_of_the_last_five_successful_runs_counts(sync: Sync, logged: Callable[[], str]) -> None:
    for rows in (900, 100, 110, 120, 400, 115):
        sync.run(rows, expect=None)
    with pytest.raises(MoEngageVolumeError, match="5 successful runs before it had 115"):
        sync.run(57)
    assert sync.run(58)["accepted"] == 58  # the failed run does not count


def test_the_same_run_is_not_compared_with_itself(sync: Sync) -> None:
    sync.run(100)

    assert sync.run(900, clears=True, dry_run=True)["accepted"] == 900
    assert sync.run(900, clears=True)["accepted"] == 900


def test_a_failed_run_is_not_usual(sync: Sync) -> None:
    sync.run(100)
    with pytest.raises(MoEngageRejectsError):
        sync.run(140, mapping=EventMapping(action="A", time="user_id", attributes=[]))

    assert sync.run(55)["accepted"] == 55


def test_least_rows_needs_no_history(sync: Sync, connected: MoEngage) -> None:
    expect = Expect(least_rows=10, most_change=None)
    with pytest.raises(MoEngageVolumeError, match=r"returns 9 rows, fewer than least_rows=10\. This try"):
        sync.run(9, expect=expect, results=None)
    assert connected.arrived == []
    assert sync.run(10, expect=expect, results=None)["accepted"] == 10


def test_rows_are_counted_not_elements(sync: Sync) -> None:
    mapping = [CustomerMapping(attributes=[]), EventMapping(action="A", time="user_id", attributes=[])]
    sync.run(100, mapping=mapping, max_rejects=1_000)

    assert sync.run(100)["accepted"] == 100


def test_options_are_templates_and_none_turns_the_comparison_off(sync: Sync) -> None:
    sync.run(100)
    expect = Expect(least_rows="{{ params.least }}", most_change="{{ params.change }}")
    assert sync.run(950, expect=expect)["accepted"] == 950
    with pytest.raises(MoEngageVolumeError, match="least_rows=900"):
        sync.run(899, expect=expect)


def test_without_results_the_state_of_changed_only_is_compared(
    sync: Sync, tmp_path: Path, connected: MoEngage
) -> None:
    options: dict[str, Any] = {"results": None, "changed_only": ChangedOnly(path=str(tmp_path / "changes"))}
    options["key_columns"] = ["user_id"]
    sync.run(100, **options)
    with pytest.raises(MoEngageVolumeError, match="1 successful run before it had 100"):
        sync.run(151, **options)
    assert sync.run(120, **options)["accepted"] == 20


def test_without_results_failed_runs_and_users_who_have_left_do_not_count(sync: Sync, tmp_path: Path) -> None:
    options: dict[str, Any] = {"results": None, "changed_only": ChangedOnly(path=str(tmp_path / "changes"))}
    sync.run(100, **options)
    sync.run(60, **options)
    sync.run(150, **options, clears=True)  # not compared with itself
    refused = ChangedOnly(path=str(tmp_path / "changes"), on_removed="unset", max_removed=0)
    mapping = CustomerMapping(attributes=["n"])
    query = {"mapping": mapping, "expect": None}
    sql = "SELECT user_id, n FROM users WHERE n < {rows}"
    sync.run(200, **{**options, **query, "changed_only": refused}, sql=sql)
    with pytest.raises(MoEngageRemovalError):
        sync.run(20, **{**options, **query, "changed_only": refused}, sql=sql)
    with pytest.raises(MoEngageRejectsError):
        sync.run(
            500,
            **{**options, "expect": None},
            sql="SELECT nullif(user_id, 'user-0') AS user_id FROM users WHERE n < {rows}",
        )

    with pytest.raises(MoEngageVolumeError, match=r"3 successful runs before it had 150 \(median\)"):
        sync.run(20, **options)


def test_a_state_that_is_damaged_is_not_passed_over(sync: Sync, tmp_path: Path, connected: MoEngage) -> None:
    options: dict[str, Any] = {"results": None, "changed_only": ChangedOnly(path=str(tmp_path / "changes"))}
    options["key_columns"] = ["user_id"]
    sync.run(100, **options)
    [file] = (tmp_path / "changes").rglob("manifest-00000002.json")
    file.write_text("{}")
    for is_dry_run in (True, False):
        with pytest.raises(MoEngageVolumeError, match=r"the state in .* is damaged, so the number of rows cannot"):
            sync.run(2, dry_run=is_dry_run, **options)
    assert len(connected.arrived) == 100

    assert sync.run(2, expect=Expect(most_change=None), **options)["accepted"] == 2
    assert sync.run(2, **options)["unchanged"] == 2


def test_a_dry_run_checks_too_and_creates_no_table(sync: Sync, database: sqlite3.Connection) -> None:
    assert sync.run(100, dry_run=True)["accepted"] == 100
    assert database.execute("SELECT name FROM sqlite_master WHERE name LIKE 'moengage%'").fetchall() == []
    sync.run(100)
    with pytest.raises(MoEngageVolumeError):
        sync.run(10, dry_run=True)


def test_runs_that_cannot_be_read_are_not_passed_over(
    sync: Sync, database: sqlite3.Connection, connected: MoEngage
) -> None:
    database.execute("CREATE TABLE moengage_sync_runs (dag_id, run_id, task_id, map_index)")
    with pytest.raises(
        MoEngageVolumeError, match=r"could not be read \(it lacks source_rows, state, ended_at\), so the number"
    ):
        sync.run(100)
    assert connected.arrived == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"least_rows": -1}, "expect.least_rows -1: expected a whole number"),
        ({"least_rows": "many"}, "expect.least_rows 'many'"),
        ({"most_change": 0}, "expect.most_change 0: expected a fraction above 0"),
        ({"most_change": "half"}, "expect.most_change 'half'"),
    ],
)
def test_an_option_that_is_wrong_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Expect(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"expect": 1_000}, r"expect: expected Expect\(...\), not int"),
        (
            {"results": None},
            "expect.most_change: compares with earlier runs, so it requires results or changed_only",
        ),
        ({"key_columns": ["user_id"], "key_range": {"after": None}}, "expect: cannot be combined with key_range"),
    ],
)
def test_other_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sync().run(1, **options)


def test_each_database_counts(warehouse: Warehouse) -> None:
    warehouse.run("DROP TABLE IF EXISTS counted", "CREATE TABLE counted (n INTEGER)")
    assert count_rows(database_hook("warehouse"), "SELECT n FROM counted; -- none", None) == 0
    warehouse.run("INSERT INTO counted VALUES (1), (2), (3)")
    sql = f"SELECT n FROM counted WHERE n < {warehouse.placeholder} /* some */"
    assert count_rows(database_hook("warehouse"), sql, [3]) == 2
