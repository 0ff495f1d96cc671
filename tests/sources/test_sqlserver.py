"""SQL Server: what can be a subquery, and the drivers' own descriptions."""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_moengage.sources.database import Database
from airflow_provider_moengage.sources.databases import sqlserver
from airflow_provider_moengage.sources.sql_key import KeyColumns, KeyRange
from airflow_provider_moengage.sources.sql_keyset import ranged_query


class Cursor:
    def __init__(self, *described: Any) -> None:
        self.description = described


@pytest.mark.parametrize(
    ("sql", "read"),
    [
        ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a\nOFFSET 0 ROWS"),
        ("SELECT TOP 5 a FROM t ORDER BY a", "SELECT TOP 5 a FROM t ORDER BY a"),
        ("SELECT a FROM t ORDER BY a OFFSET 5 ROWS", "SELECT a FROM t ORDER BY a OFFSET 5 ROWS"),
        ("SELECT a, RANK() OVER (ORDER BY a) r FROM t", "SELECT a, RANK() OVER (ORDER BY a) r FROM t"),
        ("SELECT [order by] FROM t -- ORDER BY\n WHERE b = 'ORDER'", None),
        ("SELECT a FROM t WITH (NOLOCK)", None),
        ("SELECT a FROM t FOR SYSTEM_TIME AS OF '2026-01-01'", None),
    ],
)
def test_a_query_is_read_as_a_table(sql: str, read: str | None) -> None:
    assert sqlserver._PyMSSQL().table(sql) == (read or sql)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("WITH a AS (SELECT 1 AS b) SELECT b FROM a", "begins with WITH"),
        ("-- users\nwith a AS (SELECT 1 AS b) SELECT b FROM a", "begins with WITH"),
        ("SELECT a FROM t FOR JSON PATH", "FOR JSON"),
        ("SELECT a FROM t OPTION (RECOMPILE)", "OPTION"),
    ],
)
def test_a_query_that_cannot_be_a_subquery_is_refused_with_what_to_change(sql: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^sql: with key_columns, SQL Server cannot run a query.*{message}"):
        sqlserver._PyMSSQL().table(sql)


def test_pymssql_describes_kinds_of_types() -> None:
    pymssql = pytest.importorskip("pymssql", reason="make cloud-databases installs it")
    kinds = (pymssql.STRING, pymssql.NUMBER, pymssql.DECIMAL, pymssql.DATETIME, pymssql.BINARY)
    described = [(f"c{at}", kind.value, None, None, None, None, None) for at, kind in enumerate(kinds)]

    columns = sqlserver._PyMSSQL().columns(Cursor(*described), None)

    assert [column.key_problem is None for column in columns] == [True, True, True, False, False]


def test_a_percent_in_a_query_reaches_the_server_as_it_is() -> None:
    _mssql = pytest.importorskip("pymssql._mssql", reason="make cloud-databases installs it")
    sql = "SELECT a FROM t WHERE b LIKE '100%' AND c % 2 = 1"
    doubled = sqlserver._PyMSSQL().doubles_percent
    query, values = ranged_query(
        sql, KeyColumns("a"), KeyRange(after=(1,)), None, "pyformat", doubles_percent=doubled
    )

    assert sql in _mssql.substitute_params(query, values).decode()


@pytest.mark.parametrize(
    ("kind", "scale", "is_key"),
    [
        (str, None, True),
        (int, None, True),
        (Decimal, 2, True),
        (dt.date, None, True),
        (float, None, False),
        (dt.datetime, 0, True),
        (dt.datetime, 3, False),
        (dt.datetime, 6, True),
        (dt.datetime, 7, False),
    ],
)
def test_pyodbc_describes_pythons_types(kind: type, scale: int | None, is_key: bool) -> None:
    [column] = sqlserver._PyODBC().columns(Cursor(("c", kind, None, None, None, scale, True)), None)

    assert (column.key_problem is None) is is_key


def test_a_datetimeoffset_of_pyodbc_keeps_its_zone() -> None:
    data = struct.pack("<6hI2h", 2026, 1, 2, 8, 34, 5, 500_000_000, 5, 30)

    moment = sqlserver.read_datetimeoffset(data)

    assert moment == dt.datetime(2026, 1, 2, 3, 4, 5, 500_000, dt.UTC)


def test_another_database_through_pyodbc_is_read_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    pyodbc = pytest.importorskip("pyodbc", reason="it needs unixODBC", exc_type=ImportError)

    class Connection:
        name = "SQLite"

        def getinfo(self, kind: int) -> str:
            assert kind == pyodbc.SQL_DBMS_NAME
            return self.name

    connection = Connection()
    assert type(sqlserver.database_of(connection)) is Database
    connection.name = "Microsoft SQL Server"
    assert isinstance(sqlserver.database_of(connection), sqlserver._PyODBC)
