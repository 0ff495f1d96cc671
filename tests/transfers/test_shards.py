"""Shards of a query on a real SQLite and PostgreSQL: of equal size, with each row in exactly one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_moengage.bulk.mapping import EventMapping
from airflow_provider_moengage.sources.sql_key import KeyColumns, KeyRange
from airflow_provider_moengage.sources.sql_keyset import stream_range
from airflow_provider_moengage.sources.sql_stream import database_hook
from airflow_provider_moengage.transfers.shards import plan_shards
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from devtools.postgres import postgres_server
from tests.sources.test_sql_stream import url

OPEN = {"after": None, "up_to": None}
TABLE = "CREATE TABLE orders (shop varchar(9), number int, day date)"
ORDERS = [
    (shop, number * number % 101, f"2026-01-{1 + number % 28:02}")
    for shop in ("d'Or", "north%", "été")
    for number in range(50)
]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with postgres_server() as port:
        with psycopg.connect(url(port)) as connection:
            connection.execute(TABLE)
            connection.cursor().executemany("INSERT INTO orders VALUES (%s, %s, %s)", ORDERS)
        yield port


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_SQLITE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with closing(sqlite3.connect(path)) as database:
        with database:
            database.execute(TABLE)
            database.executemany("INSERT INTO orders VALUES (?, ?, ?)", ORDERS)
        yield database


@pytest.fixture(params=["sqlite", "postgres"])
def conn_id(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "postgres":
        monkeypatch.setenv("AIRFLOW_CONN_POSTGRES", url(request.getfixturevalue("port")))
    else:
        request.getfixturevalue("sqlite")
    return str(request.param)


KEY = ["shop", "number", "day"]
QUERY: dict[str, Any] = {"sql": "SELECT day, number, shop FROM orders", "key_columns": KEY}


def rows_in(conn_id: str, key_range: dict[str, Any], sql: str = QUERY["sql"], parameters: Any = None) -> list[Any]:
    bounds = KeyRange.from_dict(json.loads(json.dumps(key_range)))
    with stream_range(
        database_hook(conn_id), sql, parameters, KeyColumns(KEY), bounds, fetch_size=1_000
    ) as result:
        return [tuple(row) for row in result.rows]


@pytest.mark.parametrize("shards", [2, 7, 150])
def test_shards_have_equal_size_and_together_all_rows_in_order(conn_id: str, shards: int) -> None:
    ranges = plan_shards(conn_id=conn_id, shards=shards, **QUERY)

    parts = [rows_in(conn_id, one) for one in ranges]
    assert len(parts) == shards
    assert {len(part) for part in parts} <= {150 // shards, -(-150 // shards)}
    assert list(chain.from_iterable(parts)) == rows_in(conn_id, OPEN)


def test_a_range_begins_where_the_previous_ends_and_the_outer_ones_are_open(conn_id: str) -> None:
    first, second, last = plan_shards(conn_id=conn_id, shards=3, **QUERY)

    assert first["after"] is None
    assert first["up_to"] == second["after"]
    assert second["up_to"] == last["after"]
    assert last["up_to"] is None
    assert first["up_to"][:2] == ["d'Or", max(number for _, number, _ in ORDERS)]


def test_rows_added_later_are_in_exactly_one_range_too(sqlite: sqlite3.Connection) -> None:
    ranges = plan_shards(conn_id="sqlite", shards=4, **QUERY)

    with sqlite:
        sqlite.execute("INSERT INTO orders VALUES ('', 0, ''), ('north%', 3, ''), ('žoo', 1, '')")

    parts = [rows_in("sqlite", one) for one in ranges]
    assert sum(map(len, parts)) == 153
    assert ("", 1, "žoo") in parts[-1]
    assert ("", 0, "") in parts[0]


@pytest.mark.parametrize(("rows", "ranges"), [(0, 1), (1, 1), (2, 2), (3, 3), (150, 5)])
def test_there_are_no_more_ranges_than_rows(conn_id: str, rows: int, ranges: int) -> None:
    mark = "?" if conn_id == "sqlite" else "%s"
    sql = f"SELECT * FROM orders ORDER BY shop LIMIT {mark} -- a comment;"

    planned = plan_shards(conn_id=conn_id, sql=sql, key_columns=KEY, shards=5, parameters=[rows])

    assert len(planned) == ranges
    assert (planned == [OPEN]) is (ranges == 1)
    assert sum(len(rows_in(conn_id, one, sql, [rows])) for one in planned) == rows


def test_the_number_of_shards_may_be_rendered_text(sqlite: sqlite3.Connection) -> None:
    assert len(plan_shards(conn_id="sqlite", shards="3", **QUERY)) == 3  # type: ignore[arg-type]


def test_one_shard_is_all_rows(conn_id: str) -> None:
    assert plan_shards(conn_id=conn_id, shards=1, **QUERY) == [OPEN]


def test_keys_that_are_null_are_refused_by_column(sqlite: sqlite3.Connection) -> None:
    with sqlite:
        sqlite.execute("INSERT INTO orders VALUES ('a', NULL, ''), ('b', NULL, '')")

    with pytest.raises(ValueError, match=r"^key_columns: column 'number' is NULL in 2 of 152 rows of the query; "):
        plan_shards(conn_id="sqlite", shards=1, **QUERY)


def test_equal_keys_at_the_bounds_are_refused(sqlite: sqlite3.Connection) -> None:
    with pytest.raises(ValueError, match=r"^key_columns: rows of the query have the same shop; add a column"):
        plan_shards(conn_id="sqlite", sql="SELECT * FROM orders", key_columns="shop", shards=9)


def test_a_key_that_cannot_be_stored_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES", url(port))
    sql = "SELECT n * interval '1 day' AS age FROM generate_series(1, 4) n"

    with pytest.raises(
        ValueError, match=r"^key_columns: column 'age' of type interval cannot .*CAST\(age AS text\)"
    ):
        plan_shards(conn_id="postgres", sql=sql, key_columns="age", shards=2)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("conn_id", ""),
        ("conn_id", None),
        ("sql", " "),
        ("sql", ["SELECT 1"]),
        ("key_columns", []),
        ("key_columns", "a b"),
        ("shards", 0),
        ("shards", 1_001),
        ("shards", "many"),
    ],
)
def test_an_argument_that_is_wrong_is_named(argument: str, value: Any) -> None:
    arguments = {"conn_id": "nowhere", "shards": 2, **QUERY, argument: value}

    with pytest.raises(ValueError, match=f"^{argument}.*: "):
        plan_shards(**arguments)


def test_as_a_task_it_gives_a_mapped_operator_its_ranges(sqlite: sqlite3.Connection) -> None:
    with DAG("orders", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        ranges = task(plan_shards)(conn_id="sqlite", shards=2, **QUERY)
        SqlToMoEngageOperator.partial(
            task_id="send", conn_id="sqlite", mapping=EventMapping(action="Order", time="day"), **QUERY
        ).expand(key_range=ranges)

    plan: Any = dag.get_task("plan_shards")
    planned = plan.execute({"params": {}})

    assert dag.get_task("send").upstream_task_ids == {"plan_shards"}
    assert [len(rows_in("sqlite", one)) for one in planned] == [75, 75]
