"""A day in a table, on every database and driver that runs here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.api.campaigns.models import Campaign, CampaignStats
from airflow_provider_moengage.campaign_stats.dialect import Dialect
from airflow_provider_moengage.campaign_stats.rows import DayRows, Scope
from airflow_provider_moengage.campaign_stats.table import StatsTable
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.sources.sql_stream import database_hook
from tests.sources.warehouses import Servers, Warehouse, postgresql_url

DAY, NEXT_DAY = date(2026, 11, 1), date(2026, 11, 2)
SALE = Campaign("c1", 'Sale 20 % off, "çé🦊"', "EMAIL", "ACTIVE", "ONE_TIME")

Rows = Callable[..., DayRows]
Select = Callable[[str], list[tuple[Any, ...]]]

_numbers = count(1)


@pytest.fixture
def rows_of(tmp_path: Path) -> Iterator[Rows]:
    """Makes the rows of a day: one for each campaign."""
    made: list[DayRows] = []

    def rows_of(day: date, *campaign_ids: str, scope: Scope | None = None, **metrics: float) -> DayRows:
        rows = DayRows(tmp_path / f"rows-{len(made)}", day, scope or Scope("WS", "", "VIEW_THROUGH", "TOTAL"))
        made.append(rows)
        for each in campaign_ids:
            record = CampaignStats(each, 1, "ANDROID", "all_locales", "A", day, day, metrics)
            rows.add((record,), SALE if each == "c1" else None)
        return rows

    yield rows_of
    for rows in made:
        rows.close()


@pytest.fixture
def select(warehouse: Warehouse) -> Select:
    def select(sql: str) -> list[tuple[Any, ...]]:
        with closing(warehouse.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            return [tuple(map(_plain, row)) for row in cursor.fetchall()]

    return select


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value


@pytest.fixture
def table(warehouse: Warehouse) -> Iterator[str]:
    name = f"stats_{next(_numbers)}"
    yield name
    warehouse.run(f"DROP TABLE IF EXISTS {name}")


def stats_table(name: str, **options: Any) -> StatsTable:
    return StatsTable(database_hook("warehouse"), name, **options)


def test_a_day_is_replaced_and_other_days_stay(table: str, rows_of: Rows, select: Select) -> None:
    stats = stats_table(table)
    stats.replace(rows_of(DAY, "c1", "c2", performance_sent=12, performance_ctr=1.5))
    stats.replace(rows_of(NEXT_DAY, "c1", "c2", performance_sent=13))

    stats.replace(rows_of(DAY, "c1", performance_sent=14))

    columns = "day, campaign_id, campaign_name, channel, performance_sent, performance_ctr"
    assert select(f"SELECT {columns} FROM {table} ORDER BY day, campaign_id") == [
        ("2026-11-01", "c1", SALE.name, "EMAIL", 14, None),
        ("2026-11-02", "c1", SALE.name, "EMAIL", 13, None),
        ("2026-11-02", "c2", None, None, 13, None),
    ]


def test_a_metric_that_is_new_becomes_a_column(table: str, rows_of: Rows, select: Select) -> None:
    stats = stats_table(table)
    stats.replace(rows_of(DAY, "c1", performance_sent=1))
    stats.replace(rows_of(NEXT_DAY, "c1", performance_sent=2, **{"goal_goal_1_cvr": 33.3, "a" * 63: 2**53}))

    assert stats.new_columns == ["a" * 63, "goal_goal_1_cvr"]
    assert select(f"SELECT performance_sent, goal_goal_1_cvr, {'a' * 63} FROM {table} ORDER BY day") == [
        (1, None, None),
        (2, 33.3, 2**53),
    ]


def test_only_the_rows_of_the_scope_are_replaced(table: str, rows_of: Rows, select: Select) -> None:
    scopes = [
        Scope("WS", "", "VIEW_THROUGH", "TOTAL"),
        Scope("WS", "", "VIEW_THROUGH", "UNIQUE"),
        Scope("WS", "", "IN_SESSION", "TOTAL"),
        Scope("WS", "shop", "VIEW_THROUGH", "TOTAL"),
        Scope("OTHER", "", "VIEW_THROUGH", "TOTAL"),
    ]
    stats = stats_table(table)
    for _ in range(2):
        for scope in scopes:
            stats.replace(rows_of(DAY, "c1", "c2", scope=scope, performance_sent=1))
    stats.replace(rows_of(DAY, scope=Scope("WS", "", "VIEW_THROUGH", "TOTAL", ("c1", "c3"))))

    assert select(f"SELECT count(*), count(DISTINCT id) FROM {table}") == [(9, 9)]


def test_a_failure_before_the_commit_leaves_the_day_as_it_was(table: str, rows_of: Rows, select: Select) -> None:
    def fail() -> None:
        raise MoEngageError("The task was killed")

    stats_table(table).replace(rows_of(DAY, "c1", performance_sent=1))
    with pytest.raises(MoEngageError, match="killed"):
        stats_table(table, before_commit=fail).replace(rows_of(DAY, "c2", performance_sent=2))

    assert select(f"SELECT campaign_id, performance_sent FROM {table}") == [("c1", 1)]


def test_more_rows_than_one_insert_has_are_written(table: str, rows_of: Rows, select: Select) -> None:
    ids = [f"c{number}" for number in range(1_200)]
    stats_table(table).replace(rows_of(DAY, *ids, performance_sent=1))

    assert select(f"SELECT count(*), count(DISTINCT id) FROM {table}") == [(1_200, 1_200)]


def test_a_row_that_another_try_has_inserted_is_not_doubled(
    table: str, rows_of: Rows, select: Select, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = stats_table(table)
    stats.replace(rows_of(DAY, "c1", performance_sent=1))
    monkeypatch.setattr(StatsTable, "_delete", lambda *_: None)

    with pytest.raises(MoEngageError, match="2026-11-01 could not be written"):
        stats.replace(rows_of(DAY, "c1", performance_sent=2))

    assert select(f"SELECT performance_sent FROM {table}") == [(1,)]


def test_identifiers_are_quoted(warehouse: Warehouse, rows_of: Rows) -> None:
    with closing(warehouse.connect()) as connection:
        dialect = Dialect(database_hook("warehouse"), connection)
    name = f'Odd % name {next(_numbers)}; DROP TABLE "x" -- `y`'
    stats = stats_table(name)
    stats.replace(rows_of(DAY, "c1", performance_sent=1))
    stats.replace(rows_of(DAY, "c1", performance_sent=1, performance_read=2))

    quoted = dialect.table(name).replace("%%", "%")
    with closing(warehouse.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT performance_sent, performance_read FROM {quoted}")
        assert [tuple(row) for row in cursor.fetchall()] == [(1, 2)]
    warehouse.run(f"DROP TABLE {quoted}")


def test_a_column_that_another_task_adds_meanwhile_is_no_error(
    table: str, rows_of: Rows, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    if warehouse.database == "DuckDB":
        pytest.skip("one process has the file open")
    stats = stats_table(table)
    stats.replace(rows_of(DAY, "c1", performance_sent=1))
    columns = StatsTable._columns
    found: list[list[str] | None] = []

    def late(self: StatsTable, session: Any) -> list[str] | None:
        found.append(columns(self, session))
        if len(found) == 1:
            warehouse.run(f"ALTER TABLE {table} ADD COLUMN performance_read FLOAT")
        return found[-1]

    monkeypatch.setattr(StatsTable, "_columns", late)

    stats.replace(rows_of(DAY, "c1", performance_sent=1, performance_read=2))


def test_airflows_own_hook_of_postgresql_gives_the_dialect(
    servers: Servers, rows_of: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    url = postgresql_url(servers.port("PostgreSQL"))
    settings = psycopg2.extensions.parse_dsn(url)
    connection = {
        "conn_type": "postgres",
        "host": settings["host"],
        "port": int(settings["port"]),
        "login": settings["user"],
        "password": settings.get("password", ""),
        "schema": settings["dbname"],
    }
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    with closing(psycopg2.connect(url)) as made:
        made.cursor().execute("CREATE SCHEMA IF NOT EXISTS analytics")
        made.commit()
    for _ in range(2):
        stats_table("analytics.campaign_stats").replace(rows_of(DAY, "c1", performance_sent=1))

    with closing(psycopg2.connect(url)) as made:
        cursor = made.cursor()
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'campaign_stats'"
        )
        kinds = dict(cursor.fetchall())
        cursor.execute("SELECT count(*) FROM analytics.campaign_stats")
        assert cursor.fetchall() == [(1,)]
    assert (kinds["day"], kinds["performance_sent"], kinds["campaign_id"]) == (
        "date",
        "double precision",
        "character varying",
    )
