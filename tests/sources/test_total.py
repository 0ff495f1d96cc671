"""SqlToMoEngageOperator(show_total=...): the total in the progress lines, and what must not come of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_moengage.bulk.expect import Expect
from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.bulk.run import progress
from airflow_provider_moengage.sources import sql_stream
from airflow_provider_moengage.sources.sql_keyset import count_rows_quickly
from airflow_provider_moengage.sources.sql_stream import database_hook
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage
from tests.sources.warehouses import Warehouse
from tests.task import Task


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The counting queries that were sent to the database."""
    sent: list[str] = []
    execute = sql_stream._execute

    def recorded(cursor: Any, sql: str, parameters: Any) -> None:
        if "COUNT(*)" in sql:
            sent.append(sql)
        execute(cursor, sql, parameters)

    monkeypatch.setattr(sql_stream, "_execute", recorded)
    return sent


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Returns what was logged: some versions of Airflow print it."""
    caplog.set_level("INFO")

    def read() -> str:
        captured = capsys.readouterr()
        return caplog.text + captured.out + captured.err

    return read


@pytest.fixture
def users(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    numbers = f"({warehouse.numbers_to(30)}) numbers"
    warehouse.run(
        "DROP TABLE IF EXISTS users",
        "CREATE TABLE users (user_id VARCHAR(20), n INTEGER)",
        f"INSERT INTO users SELECT {warehouse.text_of('n + 1000')}, n FROM {numbers}",
    )
    return warehouse


def sync(**options: Any) -> SqlToMoEngageOperator:
    given = {"sql": "SELECT user_id, n FROM users", "mapping": CustomerMapping(), **options}
    return SqlToMoEngageOperator(task_id="sync", conn_id="warehouse", **given)


def test_a_sync_shows_its_total_if_the_database_can_end_the_count(
    connected: MoEngage, users: Warehouse, log: Callable[[], str], counts: list[str]
) -> None:
    assert sync().execute(Task().context)["accepted"] == 30

    said = log()
    is_counted = users.database != "DuckDB"
    assert (" of 30 elements done" in said) == is_counted
    assert len(counts) == is_counted


def test_a_count_that_takes_too_long_is_ended_by_the_database(warehouse: Warehouse, counts: list[str]) -> None:
    numbers = f"({warehouse.numbers_to(100_000)})"
    endless = f"SELECT a.n FROM {numbers} a, {numbers} b WHERE a.n + b.n > 0"  # noqa: S608 (numbers)

    assert count_rows_quickly(database_hook("warehouse"), endless, None, 0.05) is None
    assert len(counts) == (warehouse.database != "DuckDB")


def test_a_count_that_fails_says_nothing_and_the_sync_reports_the_query(
    connected: MoEngage, users: Warehouse, log: Callable[[], str]
) -> None:
    hook = database_hook("warehouse")
    log()

    assert count_rows_quickly(hook, "SELECT nothing FROM users", None) is None
    lines = [line for line in log().splitlines() if "Retrieving connection" not in line]  # Airflow 2
    assert not lines  # nor "Opening DuckDB database", because no connection is opened for nothing

    with pytest.raises(Exception, match="nothing"):
        sync(sql="SELECT nothing FROM users").execute(Task().context)


only_sqlite = pytest.mark.parametrize("warehouse", ["SQLite, sqlite3"], indirect=True)


@only_sqlite
@pytest.mark.parametrize("options", [{"show_total": False}, {"key_columns": ["n"], "key_range": {"after": [3]}}])
def test_without_a_total_nothing_is_counted(
    connected: MoEngage, users: Warehouse, log: Callable[[], str], counts: list[str], options: Any
) -> None:
    sync(**options).execute(Task().context)

    said = log()
    assert "elements done" in said
    assert " of 30 elements" not in said
    assert not [sql for sql in counts if "NULL" not in sql]


@only_sqlite
def test_what_expect_has_counted_is_not_counted_again(
    connected: MoEngage, users: Warehouse, log: Callable[[], str], counts: list[str]
) -> None:
    sync(expect=Expect(least_rows=1, most_change=None)).execute(Task().context)

    assert " of 30 elements done" in log()
    assert len(counts) == 1


@only_sqlite
def test_the_total_counts_the_elements_of_each_row(
    connected: MoEngage, users: Warehouse, log: Callable[[], str]
) -> None:
    event = EventMapping(action="Counted", time="at", attributes=["n"])
    sql = "SELECT user_id, n, CURRENT_TIMESTAMP AS at FROM users"

    report = sync(sql=sql, mapping=[CustomerMapping(), event], key_columns=["n"]).execute(Task().context)

    assert report["accepted"] == 60
    assert " of 60 elements done" in log()


@only_sqlite
def test_show_total_is_true_or_false(users: Warehouse) -> None:
    with pytest.raises(ValueError, match="show_total"):
        sync(show_total="maybe")
