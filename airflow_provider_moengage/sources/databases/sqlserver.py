"""SQL Server, through pymssql and pyodbc.

Both drivers read rows from the network as they are fetched. Neither describes a column's type fully: pymssql
distinguishes five kinds of types, and pyodbc reports the Python type. SQL Server does not accept every SELECT as a
subquery.

Tested with the drivers' own type codes and the text of queries. Not tested with a SQL Server. If pyodbc connects
to another database, the generic class applies.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from itertools import pairwise
from typing import Any

from airflow_provider_moengage.sources.database import Database, SourceColumn
from airflow_provider_moengage.sources.statement import Quoting, outer_words

_MILLISECONDS = 3
"""Fractional digits of a DATETIME; a DATETIME2 has up to 7, one more than Python's datetime."""
_MICROSECONDS = 6

_FLOATS = "holds floating-point numbers, which do not round-trip exactly"
_AS_TEXT = "CONVERT(VARCHAR(36), {name}, 121)"
_DATETIMEOFFSET = -155
"""ODBC's code of the type, which pyodbc does not know."""


def database_of(connection: Any) -> Database:
    """Return the class for a connection's driver and database."""
    if any(kind.__module__.partition(".")[0] == "pymssql" for kind in type(connection).__mro__):
        return _PyMSSQL()
    from pyodbc import SQL_DBMS_NAME

    name = str(connection.getinfo(SQL_DBMS_NAME))
    return _PyODBC() if name.startswith("Microsoft SQL Server") else Database()


class _SQLServer(Database):
    name = "SQL Server"
    quoting = Quoting(nested_comments=True, bracket_names=True)

    def table(self, sql: str) -> str:
        """Return a statement that SQL Server accepts as a subquery: an ORDER BY needs ``OFFSET 0 ROWS``.

        :raises ValueError: if it begins with WITH, or has FOR XML, FOR JSON or OPTION.
        """
        words = outer_words(sql, self.quoting)
        if words[:1] == ["WITH"]:
            raise ValueError(
                "sql: with key_columns, SQL Server cannot run a query that begins with WITH; create a view of the"
                " query, or write each common table expression as a subquery after FROM"
            )
        pairs = {f"{first} {second}" for first, second in pairwise(words)}
        clause = next((each for each in ("FOR XML", "FOR JSON", "FOR BROWSE") if each in pairs), None)
        if clause or "OPTION" in words:
            raise ValueError(
                f"sql: with key_columns, SQL Server cannot run a query with {clause or 'OPTION'}; remove it"
            )
        is_ordered = "ORDER" in words and "TOP" not in words and "OFFSET" not in words
        return f"{sql}\nOFFSET 0 ROWS" if is_ordered else sql


class _PyMSSQL(_SQLServer):
    doubles_percent = False

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:
        """Yield a cursor that returns tuples, regardless of the connection's settings."""
        with closing(connection.cursor(as_dict=False)) as cursor:
            cursor.arraysize = fetch_size
            yield cursor

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns as far as the driver describes them."""
        import pymssql

        unknown = "may have more fractional digits than the driver returns"
        kinds = {
            pymssql.STRING.value: ("text", None),
            pymssql.NUMBER.value: ("a number", None),
            pymssql.DECIMAL.value: ("DECIMAL", None),
            pymssql.DATETIME.value: ("DATETIME", "has fractions of a millisecond, which the driver does not bind"),
        }
        return tuple(
            SourceColumn(str(name), *_of_kind(*kinds.get(code, ("date, time, UUID or binary", unknown))))
            for name, code, *_ in cursor.description or ()
        )


def _of_kind(type_name: str, problem: str | None) -> tuple[str, None, str | None, str]:
    return type_name, None, problem, _AS_TEXT


class _PyODBC(_SQLServer):
    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:
        """Yield a cursor that can read DATETIMEOFFSET."""
        connection.add_output_converter(_DATETIMEOFFSET, read_datetimeoffset)
        with closing(connection.cursor()) as cursor:
            with suppress(AttributeError):
                cursor.arraysize = fetch_size
            yield cursor

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns: pyodbc reports the Python type and, for timestamps, the fractional digits."""
        return tuple(
            _column(str(name), kind, scale) for name, kind, _, _, _, scale, *_ in cursor.description or ()
        )


def _column(name: str, kind: type, scale: int | None) -> SourceColumn:
    type_name = {Decimal: "DECIMAL", dt.datetime: "DATETIME or DATETIME2"}.get(kind, kind.__name__)
    if kind is float:
        return SourceColumn(name, "FLOAT", None, _FLOATS, "CAST({name} AS DECIMAL(38, 10))")
    problem = None
    if kind in (dt.datetime, dt.time) and (scale or 0) > _MICROSECONDS:
        problem = "has more fractional digits than the driver returns"
    elif kind is dt.datetime and scale == _MILLISECONDS:
        problem = "has fractions of a millisecond, which the driver rounds"
    return SourceColumn(name, type_name, None, problem, _AS_TEXT)


def read_datetimeoffset(data: bytes) -> dt.datetime:
    """Return the datetime in ODBC's structure ``SQL_SS_TIMESTAMPOFFSET_STRUCT``."""
    year, month, day, hour, minute, second, nanoseconds, hours, minutes = struct.unpack("<6hI2h", data)
    zone = dt.timezone(dt.timedelta(hours=hours, minutes=minutes))
    return dt.datetime(year, month, day, hour, minute, second, nanoseconds // 1_000, zone)
