"""DuckDB: it runs in this process, and sends rows as they are fetched."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import msgspec

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.database import Database, Reader, SourceColumn
from airflow_provider_moengage.sources.statement import Quoting

_FLOATS = ("FLOAT", "DOUBLE")
_KEY_PROBLEMS = {
    "ENUM": "sorts by the number of its value and compares as text",
    "FLOAT": "holds floating-point numbers, which do not come back exactly",
    "DOUBLE": "holds floating-point numbers, which do not come back exactly",
    "INTERVAL": "holds durations, which the driver gives back in another form",
    "BIT": "sorts as bits and compares as text",
    "JSON": "compares as text, whose spaces count",
    "TIMESTAMP_NS": "holds nanoseconds, which the driver rounds",
    "TIME_NS": "holds nanoseconds, which the driver rounds",
    "STRUCT": "holds structures",
    "MAP": "holds maps",
    "UNION": "holds values of several types",
    "VARIANT": "holds values of several types",
    "LIST": "holds lists",
}


def database_of(connection: Any) -> Database:  # noqa: ARG001 (one driver)
    """Return what is special about DuckDB."""
    return _DuckDB()


class _DuckDB(Database):
    name = "DuckDB"
    quoting = Quoting(nested_comments=True, dollar_strings=True)
    most_rows_at_once = 1_000  # there is no way to the server to save, and fewer stay in the processor's cache

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:  # noqa: ARG002 (it fetches a vector)
        """Yield a cursor, which is a session of its own, in UTC unless the connection is set to a zone."""
        with closing(connection.cursor()) as cursor:
            zones = "SELECT current_setting('TimeZone')"
            of_connection = connection.execute(zones).fetchone()[0]
            if of_connection == cursor.execute(zones).fetchone()[0]:
                cursor.execute("SET TimeZone = 'UTC'")
            yield cursor

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns."""
        return tuple(_column(str(described[0]), str(described[1])) for described in cursor.description or ())


def _column(name: str, declared: str) -> SourceColumn:
    """Describe a column of a type as DuckDB writes it: ``STRUCT(a INTEGER)[]``."""
    type_name = "LIST" if declared.endswith("]") else declared.partition("(")[0]
    advice = "CAST({name} AS DECIMAL(38, 10))" if type_name in _FLOATS else "CAST({name} AS VARCHAR)"
    return SourceColumn(name, type_name, _reader(name, type_name), _KEY_PROBLEMS.get(type_name), advice)


def _reader(name: str, type_name: str) -> Reader | None:
    if type_name == "INTERVAL":
        interval = Unreadable(f"an INTERVAL; CAST({name} AS VARCHAR) in the query makes it text", name)
        return lambda _: interval
    if type_name.startswith("TIMESTAMP"):
        return _read_moment
    return _read_json if type_name == "JSON" else None


def _read_moment(value: Any) -> Any:
    """Return a moment. DuckDB's driver gives the ends of Python's calendar for infinite ones."""
    plain = value.replace(tzinfo=None)
    if plain in (dt.datetime.max, dt.datetime.min):
        return Unreadable("a moment that is infinite")
    return value


def _read_json(value: Any) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return Unreadable("text that is not JSON")
