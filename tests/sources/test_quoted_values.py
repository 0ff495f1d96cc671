"""Errors of databases quote values of rows; ours do not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import psycopg2
import pytest

from airflow_provider_moengage.sources.sql_stream import UnreadableRowError, stream_query
from devtools.postgres import postgres_server

SECRET = "ann@private.example"

CHECK = """
CREATE FUNCTION checked(t text) RETURNS int LANGUAGE plpgsql
AS $$BEGIN IF t LIKE '%@%' THEN RAISE EXCEPTION 'bad mail %', t; END IF; RETURN 1; END$$
"""


def read(hook: Any, sql: str) -> list[Any]:
    with stream_query(hook, sql, fetch_size=100) as result:
        return list(result.rows)


@pytest.fixture(scope="module")
def port() -> Any:
    with postgres_server() as port:
        with psycopg.connect(host="127.0.0.1", port=port, user="postgres") as connection:
            connection.execute("CREATE TABLE people (n int, mail text)")
            connection.execute("INSERT INTO people SELECT n, 'x' FROM generate_series(1, 500) n")
            connection.execute("INSERT INTO people VALUES (501, %s)", [SECRET])
            connection.execute(CHECK)
        yield port


@pytest.mark.parametrize("driver", [psycopg2, psycopg])
@pytest.mark.parametrize(
    "expression", ["mail::int", "mail::date", "checked(mail)", "mail::regclass", "current_setting(mail)"]
)
def test_postgresqls_message_is_left_out(port: int, driver: Any, expression: str) -> None:
    hook = SimpleNamespace(get_conn=lambda: driver.connect(host="127.0.0.1", port=port, user="postgres"))

    with pytest.raises(UnreadableRowError) as error:
        read(hook, f"SELECT n, {expression} AS v FROM people WHERE n > 500")

    assert SECRET not in str(error.value)
    assert error.value.__suppress_context__


@pytest.mark.parametrize("driver", [psycopg2, psycopg])
def test_a_mistake_in_the_query_is_shown(port: int, driver: Any) -> None:
    hook = SimpleNamespace(get_conn=lambda: driver.connect(host="127.0.0.1", port=port, user="postgres"))

    with pytest.raises(driver.Error, match="no_such_column"):
        read(hook, "SELECT no_such_column FROM people")


@pytest.mark.parametrize(
    "expression",
    ["v::INT", "v::DATE", "v::UUID", "strptime(v, '%Y')", "json_extract('{' || v, '$.a')", "(n * n * n)::TINYINT"],
)
def test_duckdbs_message_is_left_out(tmp_path: Path, expression: str) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed: make databases")
    path = str(tmp_path / "warehouse.duckdb")
    with duckdb.connect(path) as connection:
        connection.execute(f"CREATE TABLE people AS SELECT 1200 AS n, '{SECRET}' AS v")

    with pytest.raises(UnreadableRowError) as error:
        read(SimpleNamespace(get_conn=lambda: duckdb.connect(path)), f"SELECT n, {expression} AS w FROM people")

    assert SECRET not in str(error.value)
    assert "1728000000" not in str(error.value)


def test_a_mistake_in_a_query_of_duckdb_is_shown() -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed: make databases")

    with pytest.raises(duckdb.Error, match="no_such_column"):
        read(SimpleNamespace(get_conn=duckdb.connect), "SELECT no_such_column FROM range(3)")
