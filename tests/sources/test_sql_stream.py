"""Streaming from a real PostgreSQL: drivers' types arrive as MoEngage reads them, and memory stays flat."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import psycopg2
import pytest
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.sources.sql_stream import stream_query
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from devtools.postgres import postgres_server
from tests.delivering import MoEngage


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with postgres_server() as port:
        yield port


def url(port: int, driver: str = "postgresql") -> str:
    return f"{driver}://postgres@127.0.0.1:{port}/postgres"


WAYS: dict[str, Any] = {
    "PostgresHook": lambda port: BaseHook.get_hook("pg"),
    "psycopg 2": lambda port: SimpleNamespace(get_conn=lambda: psycopg2.connect(url(port))),
    "psycopg 3": lambda port: SimpleNamespace(get_conn=lambda: psycopg.connect(url(port))),
}


@pytest.fixture(params=WAYS)
def hook(request: pytest.FixtureRequest, port: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW_CONN_PG", url(port))
    return WAYS[request.param](port)


@pytest.mark.parametrize("parameters", [{"least": 3}, None], ids=["parameters", "none"])
def test_columns_and_rows_come_in_order(hook: Any, parameters: Any) -> None:
    condition = "n >= %(least)s" if parameters else "n >= 3"

    with stream_query(
        hook, f"SELECT n, 'x' AS letter FROM generate_series(1, 10) n WHERE {condition};", parameters, fetch_size=4
    ) as stream:
        assert stream.columns == ("n", "letter")
        assert [tuple(row) for row in stream.rows] == [(n, "x") for n in range(3, 11)]


def test_a_percent_sign_without_parameters_is_one(hook: Any) -> None:
    sql = "SELECT n FROM generate_series(1, 20) n WHERE n::text LIKE '1%' AND n % 2 = 0"

    with stream_query(hook, sql, fetch_size=4) as stream:
        assert [row[0] for row in stream.rows] == [10, 12, 14, 16, 18]


def test_a_statement_without_rows_is_an_error(hook: Any) -> None:
    errors = (ValueError, psycopg.Error, psycopg2.Error)

    with pytest.raises(errors), stream_query(hook, "CREATE TABLE should_not_be (n int)", fetch_size=4):
        pass


def test_a_result_that_is_left_early_leaves_no_connection(hook: Any, port: int) -> None:
    def leave_early() -> None:
        with stream_query(hook, "SELECT n FROM generate_series(1, 100000) n", fetch_size=10) as stream:
            next(iter(stream.rows))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        leave_early()

    # The server's process for a connection that was closed takes a moment to end.
    others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state <> 'idle'"
    with psycopg.connect(url(port), autocommit=True) as connection:
        deadline = time.monotonic() + 20
        while connection.execute(others).fetchone() != (1,):
            assert time.monotonic() < deadline


def test_what_postgresql_returns_arrives_as_moengage_reads_it(
    connected: MoEngage, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", url(port))
    sql = """
        SELECT 42::bigint AS user_id, 10.50::numeric AS price, 12345678901234567890.12::numeric AS exact,
               '2026-01-02 03:04:05.678+02'::timestamptz AS seen, '2026-01-02 03:04:05'::timestamp AS naive,
               DATE '2026-01-02' AS day, TRUE AS active, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS session,
               ARRAY['a', 'b'] AS tags, '{"k": [1, null]}'::jsonb AS profile, 'text'::bytea AS raw, 'çé🦊' AS name
    """
    operator = SqlToMoEngageOperator(task_id="t", sql=sql, conn_id="pg", mapping=CustomerMapping())

    context: Any = {"ti": SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)}
    operator.execute(context)

    [element] = connected.arrived
    assert element["customer_id"] == "42"
    assert element["attributes"] == {
        "price": 10.5,
        "exact": 1.2345678901234567e19,
        "seen": "2026-01-02T01:04:05.678000Z",
        "naive": "2026-01-02T03:04:05Z",
        "day": "2026-01-02",
        "active": True,
        "session": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "tags": ["a", "b"],
        "profile": {"k": [1, None]},
        "raw": "text",
        "name": "çé🦊",
    }


MEMORY = """
import json, resource, sys
import psycopg, psycopg2
from types import SimpleNamespace
from airflow_provider_moengage.sources.sql_stream import stream_query
way, url = sys.argv[1:]
hooks = {
    "psycopg 2": SimpleNamespace(get_conn=lambda: psycopg2.connect(url)),
    "psycopg 3": SimpleNamespace(get_conn=lambda: psycopg.connect(url)),
}
peaks = []
for rows in (10_000, 300_000):
    with stream_query(
        hooks[way], f"SELECT n, repeat('x', 300) FROM generate_series(1, {rows}) n", fetch_size=1_000
    ) as stream:
        assert sum(1 for _ in stream.rows) == rows
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(json.dumps(peaks))
"""


@pytest.mark.parametrize("way", ["psycopg 2", "psycopg 3"])
def test_memory_does_not_grow_with_the_result(port: int, way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, way, url(port)], capture_output=True, text=True, check=True
    )
    few, many = json.loads(done.stdout.splitlines()[-1])

    # 300,000 rows are some 100 MB; what a chunk takes is far below 10 MB.
    assert many - few < 10_000_000
