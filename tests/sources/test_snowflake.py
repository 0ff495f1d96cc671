"""Snowflake: the connector's own description and converters, and whole syncs on fakesnow."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.sources import database
from airflow_provider_moengage.sources.sql_key import KeyColumns, KeyRange
from airflow_provider_moengage.sources.sql_keyset import stream_range
from airflow_provider_moengage.sources.sql_stream import database_hook, stream_query
from airflow_provider_moengage.sources.statement import one_statement
from airflow_provider_moengage.transfers.shards import plan_shards
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage
from tests.killable_worker import Worker
from tests.task import Task

fakesnow = pytest.importorskip("fakesnow", reason="fakesnow is not installed: make cloud-databases")
pytest.importorskip("airflow.providers.snowflake", reason="the Snowflake provider is not installed")


@pytest.fixture
def warehouse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from snowflake import connector

    monkeypatch.setitem(database._MODULES, "fakesnow", "snowflake")
    extra = {"account": "an-account", "database": "shop", "warehouse": "small", "region": ""}
    connection = {"conn_type": "snowflake", "login": "u", "password": "p", "schema": "public", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    with fakesnow.patch(nop_regexes=["SHOW PARAMETERS", "ALTER SESSION SET TIMEZONE"]):
        with connector.connect(database="shop", schema="public") as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE users (user_id VARCHAR, email VARCHAR, n NUMBER(10, 0), v VARIANT)")
            cursor.execute(
                "INSERT INTO users SELECT 'u-' || seq4(), 'a@b.c', seq4(), PARSE_JSON('{\"user_id\": \"u-77\"}')"
                " FROM TABLE(GENERATOR(ROWCOUNT => 500))"
            )
        yield connector


def sync(sql: str, key_columns: list[str] | None = None, **options: Any) -> SqlToMoEngageOperator:
    return SqlToMoEngageOperator(
        task_id="sync", conn_id="warehouse", sql=sql, mapping=CustomerMapping(), key_columns=key_columns, **options
    )


def columns_of(*rowtype: dict[str, Any]) -> tuple[database.SourceColumn, ...]:
    """Describe columns by what Snowflake's server sends."""
    from snowflake.connector.cursor import ResultMetadata

    from airflow_provider_moengage.sources.databases import snowflake

    class Cursor:
        def __init__(self) -> None:
            empty = {"length": None, "precision": None, "scale": None, "nullable": True}
            self.description = [ResultMetadata.from_column({**empty, **column}) for column in rowtype]

    return snowflake.database_of(None).columns(Cursor(), None)


def test_names_that_snowflake_makes_upper_case_arrive_as_people_write_them(
    connected: MoEngage, warehouse: Any
) -> None:
    sync('SELECT user_id, email, n AS Orders, 1 AS "Loyal Since" FROM users WHERE n = 7').execute(Task().context)

    [element] = connected.arrived
    assert element["customer_id"] == "u-7"
    assert element["attributes"] == {"email": "a@b.c", "orders": 7, "Loyal Since": 1}


def test_an_id_out_of_a_variant_has_no_quotes(connected: MoEngage, warehouse: Any) -> None:
    sync("SELECT v:user_id AS user_id, v AS details FROM users LIMIT 1").execute(Task().context)

    [element] = connected.arrived
    assert element["customer_id"] == "u-77"
    assert element["attributes"] == {"details": {"user_id": "u-77"}}


def test_every_row_arrives_by_key_and_again_after_one(connected: MoEngage, warehouse: Any) -> None:
    sql = "SELECT user_id, email FROM users // all of them\n; -- end"
    sync(sql, ["user_id"]).execute(Task().context)

    assert len({element["customer_id"] for element in connected.arrived}) == 500
    hook, columns = database_hook("warehouse"), KeyColumns(["user_id"])
    with stream_range(hook, sql, None, columns, KeyRange(after=("u-90",)), fetch_size=100) as result:
        assert [row[0] for row in result.rows] == [f"u-{n}" for n in range(91, 100)]


def test_a_killed_run_resumes_by_key_and_every_row_arrives(
    in_small_batches: MoEngage, worker: Worker, warehouse: Any
) -> None:
    task, sql = Task(), "SELECT user_id, email, n FROM users"
    assert worker.is_killed(lambda: sync(sql, ["n", "user_id"]).execute(task.context), after=9)
    task.retry()

    report = sync(sql, ["n", "user_id"]).execute(task.context)

    assert {element["customer_id"] for element in in_small_batches.arrived} == {f"u-{n}" for n in range(500)}
    assert report["resumed"]
    assert report["accepted"] == 500


def test_shards_cover_every_row(warehouse: Any) -> None:
    sql = "SELECT user_id, n FROM users"
    ranges = plan_shards(conn_id="warehouse", sql=sql, key_columns="n", shards=3)
    rows: list[int] = []
    for each in ranges:
        with stream_range(
            database_hook("warehouse"), sql, None, KeyColumns("n"), KeyRange.from_dict(each), fetch_size=99
        ) as result:
            rows += [row[1] for row in result.rows]

    assert sorted(rows) == list(range(500))


@pytest.mark.parametrize(
    ("type_name", "scale", "text", "right"),
    [
        ("VARIANT", None, '"u-77"', "u-77"),
        ("VARIANT", None, "null", None),
        ("VARIANT", None, "12", 12),
        ("ARRAY", None, '["a", 1]', ["a", 1]),
        ("ARRAY", None, "[undefined]", Unreadable("text that is not JSON")),
        ("OBJECT", None, '{"a": {"b": true}}', {"a": {"b": True}}),
        ("FIXED", 0, "12345678901234567890", 12345678901234567890),
        ("FIXED", 2, "1.50", Decimal("1.50")),
        ("REAL", None, "1.5", 1.5),
        ("BOOLEAN", None, "1", True),
        ("TEXT", None, "çé", "çé"),
        ("DATE", None, "20455", dt.date(2026, 1, 2)),
        ("TIME", 9, "34200.000000000", dt.time(9, 30)),
        ("TIMESTAMP_NTZ", 9, "1767323045.500000000", dt.datetime(2026, 1, 2, 3, 4, 5, 500_000)),
        ("TIMESTAMP_LTZ", 9, "1767323045.000000000", dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
        ("TIMESTAMP_TZ", 9, "1767323045.000000000 1770", dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
        ("INTERVAL_DAY_TIME", 0, "93784000000000", "1 02:03:04"),
    ],
)
def test_what_the_connector_makes_of_a_value_is_read_by_its_type(
    type_name: str, scale: int | None, text: str, right: Any
) -> None:
    from snowflake.connector.converter import SnowflakeConverter

    [column] = columns_of({"name": "X", "type": type_name, "scale": scale})
    convert = SnowflakeConverter().to_python_method(type_name, {"scale": scale})
    value = convert(text) if convert else text

    assert (column.read(value) if column.read else value) == right


@pytest.mark.parametrize(
    ("type_name", "scale", "advice"),
    [
        ("VARIANT", None, "CAST({name} AS VARCHAR)"),
        ("REAL", None, "CAST({name} AS NUMBER(38, 10))"),
        ("TIMESTAMP_NTZ", 9, "CAST({name} AS TIMESTAMP_NTZ(6))"),
        ("TIMESTAMP_TZ", 9, "CAST({name} AS TIMESTAMP_TZ(6))"),
        ("TIME", 9, "CAST({name} AS TIME(6))"),
        ("GEOGRAPHY", None, "CAST({name} AS VARCHAR)"),
    ],
)
def test_a_column_that_cannot_be_a_key_is_refused_with_a_cast(
    type_name: str, scale: int | None, advice: str
) -> None:
    [column] = columns_of({"name": "K", "type": type_name, "scale": scale})

    assert column.key_problem
    assert column.key_advice == advice


@pytest.mark.parametrize(("type_name", "scale"), [("FIXED", 0), ("FIXED", 5), ("TEXT", None), ("TIMESTAMP_TZ", 6)])
def test_other_columns_can_be_keys(type_name: str, scale: int | None) -> None:
    [column] = columns_of({"name": "K", "type": type_name, "scale": scale})

    assert column.key_problem is None


def test_a_name_that_is_there_in_both_cases_stays() -> None:
    text = {"type": "TEXT"}

    names = [column.name for column in columns_of(*({"name": name, **text} for name in ("EMAIL", "email", "ID")))]

    assert names == ["EMAIL", "email", "id"]


def test_the_session_is_utc_unless_the_connection_sets_a_zone() -> None:
    from airflow_provider_moengage.sources.databases import snowflake

    class Connection:
        level = "ACCOUNT"

        def __init__(self) -> None:
            self.executed: list[str] = []

        def cursor(self, kind: Any) -> Any:
            return self

        def execute(self, sql: str) -> Any:
            self.executed.append(sql)
            return self

        def fetchall(self) -> list[tuple[str, ...]]:
            return [("TIMEZONE", "Asia/Kolkata", "America/Los_Angeles", self.level, "", "STRING")]

        def close(self) -> None: ...

    by_account, by_session = Connection(), Connection()
    by_session.level = "SESSION"
    for connection in (by_account, by_session):
        snowflake.database_of(connection).prepare(connection)

    assert by_account.executed[1:] == ["ALTER SESSION SET TIMEZONE = 'UTC'"]
    assert by_session.executed[1:] == []


@pytest.mark.parametrize("text", ["$$ a ; b $$", "'it\\'s ; so'", "1 // ; no\n"])
def test_a_semicolon_in_a_string_or_comment_ends_no_statement(text: str) -> None:
    from airflow_provider_moengage.sources.databases import snowflake

    sql = f"SELECT {text} AS x"

    assert one_statement(sql + "; // end", snowflake.database_of(None).quoting) == sql


def test_names_and_types_that_fakesnow_describes(warehouse: Any) -> None:
    with stream_query(database_hook("warehouse"), "SELECT user_id, n, v FROM users", fetch_size=10) as result:
        described = [(column.name, column.type_name) for column in result.described]

    assert described == [("user_id", "TEXT"), ("n", "FIXED"), ("v", "VARIANT")]
