"""Amazon Redshift, through redshift_connector. Airflow's PostgresHook reads Redshift as PostgreSQL.

The driver reads a whole result when it executes a query, so rows are fetched through a server-side cursor. The
cluster limits its size ("Cursor constraints" in Redshift's reference of DECLARE).

Tested with the driver's own converters, type OIDs and cursor class, without a server. Not tested with a Redshift
cluster.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.column_readers import (
    read_duration,
    read_json,
    reject,
    year_month_text,
)
from airflow_provider_moengage.sources.database import Database, Reader, SourceColumn
from airflow_provider_moengage.sources.statement import Quoting

_FLOATS = "holds floating-point numbers, which do not round-trip exactly"
_DURATIONS = "holds durations, which the driver returns in another form"
_KEY_PROBLEMS = {
    "REAL": _FLOATS,
    "FLOAT": _FLOATS,
    "SUPER": "holds values of several types",
    "INTERVAL": _DURATIONS,
    "INTERVALY2M": _DURATIONS,
    "INTERVALD2S": _DURATIONS,
    "TIMETZ": "is bound as TIME",
    "GEOMETRY": "has no order",
    "GEOMETRYHEX": "has no order",
    "GEOGRAPHY": "has no order",
}
_KEY_ADVICE = {
    "REAL": "CAST({name} AS DECIMAL(38, 10))",
    "FLOAT": "CAST({name} AS DECIMAL(38, 10))",
    "SUPER": "JSON_SERIALIZE({name})",
}


def database_of(connection: Any) -> Database:  # noqa: ARG001 (one driver)
    """Return the class for Redshift."""
    return _Redshift()


class _Redshift(Database):
    name = "Redshift"
    quoting = Quoting(nested_comments=True, dollar_strings=True)
    is_described_late = True
    doubles_percent = False
    """In a string the driver leaves ``%%`` as it is. Outside of strings it refuses a single %; MOD(a, b) works."""

    def prepare(self, connection: Any) -> None:
        """Set the session to UTC, and open the transaction that the server-side cursor needs."""
        connection.autocommit = False
        with closing(connection.cursor()) as cursor:
            cursor.execute("SET timezone TO 'UTC'")

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:  # noqa: ARG002 (it holds what it fetches)
        """Yield a server-side cursor."""
        with closing(connection.cursor()) as cursor:
            yield _ServerCursor(cursor)

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns, once rows have been fetched."""
        return tuple(_column(_text(column[0]), int(column[1])) for column in cursor.description or ())


class _ServerCursor:
    """Declares a server-side cursor for a query, and fetches from it.

    :param cursor: the driver's cursor.
    """

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    @property
    def description(self) -> Any:
        """The columns of the last fetch."""
        return self._cursor.description

    def execute(self, sql: str, *parameters: Any) -> None:
        """Run a query."""
        self._cursor.execute(f"DECLARE moengage CURSOR FOR {sql}", *parameters)

    def fetchmany(self, rows: int) -> Sequence[Any]:
        """Return the next rows; empty at the end."""
        self._cursor.execute(f"FETCH FORWARD {int(rows)} FROM moengage")
        fetched: Sequence[Any] = self._cursor.fetchall()
        return fetched


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes | bytearray) else str(name)


def _column(name: str, oid: int) -> SourceColumn:
    from redshift_connector.utils.oids import RedshiftOID

    kinds: dict[int, str] = {int(kind): kind.name for kind in RedshiftOID}
    type_name = kinds.get(oid, "")
    is_array = type_name.endswith("_ARRAY")
    problem = "holds lists" if is_array else _KEY_PROBLEMS.get(type_name)
    advice = _KEY_ADVICE.get(type_name, "CAST({name} AS VARCHAR)")
    return SourceColumn(name, type_name, _reader(name, type_name), problem, advice)


def _reader(name: str, type_name: str) -> Reader | None:
    if type_name in ("GEOMETRY", "GEOMETRYHEX", "GEOGRAPHY"):
        return reject(f"a {type_name[:8]}; use ST_AsText({name}) in the query", name)
    return _READERS.get(type_name)


def _read_calendar(value: Any) -> Any:
    """Return a date or timestamp. For an infinite one, the driver returns a limit of Python's calendar."""
    plain = value.replace(tzinfo=None) if isinstance(value, dt.datetime) else value
    if plain in (dt.datetime.max, dt.datetime.min, dt.date.max, dt.date.min):
        return Unreadable("a date or timestamp that is infinite or outside the years 1 to 9999")
    return value


def _read_interval(value: Any) -> Any:
    """Return an interval, which the driver returns as a timedelta, or as months and microseconds."""
    if isinstance(value, dt.timedelta):
        return read_duration(value)
    months = getattr(value, "months", 0) or 0
    rest = dt.timedelta(days=getattr(value, "days", 0) or 0, microseconds=getattr(value, "microseconds", 0) or 0)
    parts = [year_month_text(0, months)] if months else []
    return " ".join([*parts, *([read_duration(rest)] if rest or not months else [])])


_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("SUPER", "JSON", "JSONB"), read_json),
    **dict.fromkeys(("DATE", "TIMESTAMP", "TIMESTAMPTZ"), _read_calendar),
    **dict.fromkeys(("INTERVAL", "INTERVALY2M", "INTERVALD2S"), _read_interval),
}
