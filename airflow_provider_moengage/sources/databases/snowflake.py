"""Snowflake, through its own connector.

The connector returns VARIANT, ARRAY, OBJECT and MAP as JSON text, and downloads the result in batches while it is
read. Of the timestamp types, only TIMESTAMP_NTZ is returned without a zone.

Tested with the connector's own description and converters, and with complete syncs on fakesnow. Not tested with a
Snowflake account.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from airflow_provider_moengage.sources.column_readers import read_duration, read_json
from airflow_provider_moengage.sources.database import Database, Reader, SourceColumn, folded
from airflow_provider_moengage.sources.statement import Quoting

_MICROSECONDS = 6
"""Fractional digits of a second in Python's datetime."""

_SESSION_ZONE = "SHOW PARAMETERS LIKE 'TIMEZONE' IN SESSION"
_LEVEL = 3
"""Index of the column that reports where a parameter was set: ``SESSION`` if the connection sets it."""

_SEVERAL_TYPES = "holds values of several types"
_KEY_PROBLEMS = {
    "REAL": "holds floating-point numbers, which do not round-trip exactly",
    "DECFLOAT": "has several representations of the same number",
    "VARIANT": _SEVERAL_TYPES,
    "OBJECT": "holds objects",
    "MAP": "holds maps",
    "ARRAY": "holds lists",
    "VECTOR": "holds lists",
    "GEOGRAPHY": "has no order",
    "GEOMETRY": "has no order",
    "FILE": "has no order",
    "INTERVAL_YEAR_MONTH": "holds durations, which the driver returns in another form",
    "INTERVAL_DAY_TIME": "holds durations, which the driver returns in another form",
}
_KEY_ADVICE = {"REAL": "CAST({name} AS NUMBER(38, 10))", "DECFLOAT": "CAST({name} AS NUMBER(38, 10))"}
_READERS: dict[str, Reader] = {
    **dict.fromkeys(("VARIANT", "OBJECT", "ARRAY", "MAP", "VECTOR"), read_json),
    "INTERVAL_DAY_TIME": read_duration,
}


def database_of(connection: Any) -> Database:  # noqa: ARG001 (one driver)
    """Return the class for Snowflake."""
    return _Snowflake()


class _Snowflake(Database):
    name = "Snowflake"
    lost_connection_setting = "CLIENT_SESSION_KEEP_ALIVE"
    quoting = Quoting(backslash_escapes=True, dollar_strings=True, slash_comments=True)

    def prepare(self, connection: Any) -> None:
        """Set the session to UTC, unless the connection sets a time zone. Snowflake's default is Los Angeles."""
        with closing(_tuple_cursor(connection)) as cursor:
            with suppress(Exception):
                if any(row[_LEVEL] == "SESSION" for row in cursor.execute(_SESSION_ZONE).fetchall()):
                    return
            cursor.execute("ALTER SESSION SET TIMEZONE = 'UTC'")

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:
        """Yield a cursor that returns tuples, regardless of the connection's settings."""
        with closing(_tuple_cursor(connection)) as cursor:
            cursor.arraysize = fetch_size
            yield cursor

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns."""
        from snowflake.connector.constants import FIELD_ID_TO_NAME

        described = list(cursor.description or ())
        names = folded([column[0] for column in described])
        return tuple(
            _column(name, FIELD_ID_TO_NAME.get(column[1], ""), column[5])
            for name, column in zip(names, described, strict=True)
        )


def _tuple_cursor(connection: Any) -> Any:
    from snowflake.connector.cursor import SnowflakeCursor

    return connection.cursor(SnowflakeCursor)


def _column(name: str, type_name: str, scale: int | None) -> SourceColumn:
    problem = _KEY_PROBLEMS.get(type_name)
    advice = _KEY_ADVICE.get(type_name, "CAST({name} AS VARCHAR)")
    if type_name.startswith("TIME") and (scale or 0) > _MICROSECONDS:
        problem = "has more fractional digits than the driver returns"
        advice = f"CAST({{name}} AS {type_name}({_MICROSECONDS}))"
    return SourceColumn(name, type_name, _READERS.get(type_name), problem, advice)
