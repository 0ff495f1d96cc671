"""ClickHouse in this process: clickhouse-connect with its chdb backend."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.sources.sql_key import KeyColumns, KeyRange, check_key_types
from airflow_provider_moengage.sources.sql_keyset import check_order, null_key_exists, stream_range
from airflow_provider_moengage.sources.sql_stream import stream_query
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage
from tests.killable_worker import Worker
from tests.task import Task

dbapi = pytest.importorskip("clickhouse_connect.dbapi.connection", reason="make cloud-databases installs it")
pytest.importorskip("chdb", reason="make cloud-databases installs it")


class Hook:
    """Gives the driver's own connection, over chdb."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get_conn(self) -> Any:
        connection = dbapi.Connection.__new__(dbapi.Connection)
        connection.client = self._client
        connection.close = lambda: None
        return connection


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    import clickhouse_connect

    client = clickhouse_connect.get_client(interface="chdb")
    yield Hook(client)
    client.close()


@pytest.mark.parametrize(
    ("expression", "right"),
    [
        ("'u-1'", "u-1"),
        ("NULL", None),
        ("toInt64(1234567890123456789)", 1234567890123456789),
        ("toUInt64(18446744073709551615)", 18446744073709551615),
        ("1.5::Float64", 1.5),
        ("toDecimal64(1.5, 2)", Decimal("1.50")),
        ("true", True),
        ("toDate('2026-01-02')", dt.date(2026, 1, 2)),
        ("toDateTime64('2026-01-02 03:04:05.5', 3, 'UTC')", dt.datetime(2026, 1, 2, 3, 4, 5, 500_000)),
        ("['a', 'b']", ["a", "b"]),
        ("map('a', 1)", {"a": 1}),
        ("(1, 'x')::Tuple(a Int32, b String)", {"a": 1, "b": "x"}),
        ("(1, 'x')", [1, "x"]),
        ("[(1, 'x')::Tuple(a Int32, b String)]", [{"a": 1, "b": "x"}]),
        ("'gold'::Enum8('gold' = 1, 'zinc' = 2)", "gold"),
        ("toLowCardinality('a')", "a"),
        ("'çé🦊'", "çé🦊"),
    ],
)
def test_a_value_arrives_by_its_type(hook: Hook, expression: str, right: Any) -> None:
    with stream_query(hook, f"SELECT {expression} AS c; -- end", fetch_size=10) as result:
        [(value,)] = result.read()

    assert (value.replace(tzinfo=None) if isinstance(value, dt.datetime) else value) == right


@pytest.mark.parametrize(
    "expression",
    [
        "1.5",
        "'a'::Enum8('a' = 1)",
        "['a']",
        "map('a', 1)",
        "generateUUIDv4()",
        "toDateTime64('2026-01-02 03:04:05.123456789', 9)",
        "toDateTime64('2026-01-02 03:04:05.5', 3, 'UTC')",
        "toNullable(1.5)",
        "toIPv4('1.2.3.4')",
    ],
)
def test_a_column_that_cannot_be_a_key_is_refused(hook: Hook, expression: str) -> None:
    with (
        stream_query(hook, f"SELECT {expression} AS k", fetch_size=10) as result,
        pytest.raises(ValueError, match=r"^key_columns: column 'k' of type .* cannot be a key in ClickHouse"),
    ):
        check_key_types(result.described, "ClickHouse")


@pytest.mark.parametrize(
    ("key", "after", "left"),
    [
        ("number", 990, 9),
        ("concat('it''s ', leftPad(toString(number), 4, '0'))", "it's 0990", 9),
        ("toDate('2020-01-01') + number", dt.date(2020, 1, 1) + dt.timedelta(990), 9),
        ("toDateTime('2026-01-02 03:00:00', 'UTC') + number", dt.datetime(2026, 1, 2, 3, 16, 30), 9),
        ("toString(toDateTime64(number, 3, 'UTC') + 0.5)", "1970-01-01 00:16:30.500", 9),
        ("toDecimal64(number, 2)", Decimal("990.00"), 9),
    ],
)
def test_rows_after_a_key(hook: Hook, key: str, after: Any, left: int) -> None:
    sql, columns = (
        f"SELECT {key} AS k FROM numbers(1000) WHERE '5%' LIKE '%\\%' AND number % 1 = 0",
        KeyColumns("k"),
    )

    with stream_range(hook, sql, None, columns, KeyRange(after=(after,)), fetch_size=100) as result:
        assert len(list(result.rows)) == left
    check_order(hook, sql, None, columns, [(after,)])
    assert not null_key_exists(hook, sql, None, columns)


def test_blocks_are_read_as_they_come_and_without_rows_there_are_columns(hook: Hook) -> None:
    with stream_query(hook, "SELECT number AS n FROM numbers(200000)", fetch_size=100) as result:
        assert sum(row[0] for row in result.rows) == 199_999 * 100_000
    with stream_query(
        hook, "SELECT number AS n FROM numbers(5) WHERE n > 9 AND '%' = '%'", fetch_size=9
    ) as result:
        assert result.columns == ("n",)
        assert list(result.rows) == []


def test_a_killed_run_resumes_by_key_and_every_row_arrives(
    in_small_batches: MoEngage, worker: Worker, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_moengage.transfers.sql_to_moengage.database_hook", lambda _: hook)

    def sync() -> SqlToMoEngageOperator:
        sql = "SELECT concat('u-', toString(number)) AS user_id, intDiv(number, 7) AS n FROM numbers(2000)"
        return SqlToMoEngageOperator(
            task_id="sync", conn_id="warehouse", sql=sql, mapping=CustomerMapping(), key_columns=["n", "user_id"]
        )

    task = Task()
    assert worker.is_killed(lambda: sync().execute(task.context), after=20)
    task.retry()

    report = sync().execute(task.context)

    assert {element["customer_id"] for element in in_small_batches.arrived} == {f"u-{n}" for n in range(2_000)}
    assert report["resumed"]
