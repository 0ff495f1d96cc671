"""Oracle Database, through python-oracledb in its thin and thick modes.

The driver returns NUMBER as a float, which loses digits, and each CLOB as a locator that costs a round trip; an
output type handler requests decimals and text instead. The driver drops the zone of TIMESTAMP WITH TIME ZONE, so
such a column is rejected rather than sent with the wrong time.

Tested with the driver's own types and the text of queries. Not tested with an Oracle Database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from typing import Any

from airflow_provider_moengage.sources.column_readers import (
    read_duration,
    read_json,
    reject,
    year_month_text,
)
from airflow_provider_moengage.sources.database import Database, Reader, SourceColumn, folded
from airflow_provider_moengage.sources.statement import Quoting

_FLOATS = "holds floating-point numbers, which do not round-trip exactly"
_TIMESTAMPS = "holds timestamps, whose fractional seconds or zone the driver does not bind"
_TIMESTAMP_TEXT = "TO_CHAR({name}, 'YYYY-MM-DD HH24:MI:SS.FF9')"
_UTC_TEXT = "TO_CHAR(SYS_EXTRACT_UTC({name}), 'YYYY-MM-DD HH24:MI:SS.FF9')"
_TEXT = "TO_CHAR({name})"
_KEYS = {
    "BINARY_FLOAT": (_FLOATS, "CAST({name} AS NUMBER(38, 10))"),
    "BINARY_DOUBLE": (_FLOATS, "CAST({name} AS NUMBER(38, 10))"),
    "TIMESTAMP": (_TIMESTAMPS, _TIMESTAMP_TEXT),
    "TIMESTAMP_TZ": (_TIMESTAMPS, _UTC_TEXT),
    "TIMESTAMP_LTZ": (_TIMESTAMPS, _UTC_TEXT),
    "INTERVAL_DS": ("holds durations, which the driver returns in another form", _TEXT),
    "INTERVAL_YM": ("holds durations, which the driver returns in another form", _TEXT),
    **dict.fromkeys(("CLOB", "NCLOB", "BLOB", "BFILE", "LONG", "LONG_RAW", "XMLTYPE"), ("has no order", _TEXT)),
    "JSON": ("has no order", "JSON_SERIALIZE({name})"),
    "VECTOR": ("has no order", _TEXT),
    "OBJECT": ("holds objects", _TEXT),
}
"""By type: why it cannot be a key, and what to use instead."""

_REJECTED = {
    "TIMESTAMP_TZ": "a TIMESTAMP WITH TIME ZONE, whose zone the driver drops; use SYS_EXTRACT_UTC({}) in the"
    " query",
    "BFILE": "a BFILE; use TO_BLOB({}) in the query",
    "OBJECT": "an object; select its attributes, or use JSON_OBJECT({}) in the query",
    "CURSOR": "a cursor; replace {} by a subquery with JSON_ARRAYAGG",
}


def database_of(connection: Any) -> Database:  # noqa: ARG001 (one driver)
    """Return the class for Oracle Database."""
    return _Oracle()


class _Oracle(Database):
    name = "Oracle Database"
    lost_connection_setting = "IDLE_TIME of the user's profile"
    quoting = Quoting(q_strings=True)

    def prepare(self, connection: Any) -> None:
        """Set the session to UTC: an Airflow connection cannot set a zone, and thick mode uses the worker's."""
        with closing(connection.cursor()) as cursor:
            cursor.execute("ALTER SESSION SET TIME_ZONE = '+00:00'")

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:
        """Yield a cursor that fetches ``fetch_size`` rows per round trip."""
        with closing(connection.cursor()) as cursor:
            cursor.arraysize = fetch_size
            cursor.prefetchrows = fetch_size
            cursor.outputtypehandler = variable_of
            yield cursor

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns."""
        described = list(cursor.description or ())
        names = folded([str(column[0]) for column in described])
        return tuple(
            _column(name, _type_name(column[1]), is_json=bool(getattr(column, "is_json", False)))
            for name, column in zip(names, described, strict=True)
        )

    def is_lost(self, error: BaseException) -> bool:
        """Return whether an error means that the connection is lost."""
        return any(getattr(part, "isrecoverable", False) for part in error.args) or super().is_lost(error)


def variable_of(cursor: Any, column: Any) -> Any:
    """Return the variable to fetch a column into, or None for the driver's default: an output type handler.

    :param column: the column's description.
    """
    import oracledb

    kind, scale = column[1], column[5]
    if kind is oracledb.DB_TYPE_NUMBER and scale != 0:
        return cursor.var(Decimal, arraysize=cursor.arraysize)
    as_text = {
        oracledb.DB_TYPE_CLOB: oracledb.DB_TYPE_LONG,
        oracledb.DB_TYPE_NCLOB: oracledb.DB_TYPE_LONG_NVARCHAR,
        oracledb.DB_TYPE_BLOB: oracledb.DB_TYPE_LONG_RAW,
    }.get(kind)
    return None if as_text is None else cursor.var(as_text, arraysize=cursor.arraysize)


def _type_name(kind: Any) -> str:
    return str(getattr(kind, "name", kind)).removeprefix("DB_TYPE_")


def _column(name: str, type_name: str, *, is_json: bool) -> SourceColumn:
    problem, advice = _KEYS.get(type_name, (None, _TEXT))
    return SourceColumn(name, type_name, _reader(name, type_name, is_json=is_json), problem, advice)


def _reader(name: str, type_name: str, *, is_json: bool) -> Reader | None:
    if type_name in _REJECTED:
        return reject(_REJECTED[type_name].format(name), name)
    if is_json or type_name == "JSON":
        return read_json
    return {"NUMBER": _read_number, "INTERVAL_DS": read_duration, "INTERVAL_YM": _read_months}.get(type_name)


def _read_number(value: Any) -> Any:
    """Return a NUMBER, as an integer if it is whole, because ids are often declared as NUMBER without a scale."""
    if isinstance(value, Decimal) and value.is_finite():
        with suppress(ArithmeticError):
            whole = int(value)
            return whole if whole == value else value
    return value


def _read_months(value: Any) -> Any:
    years, months = getattr(value, "years", None), getattr(value, "months", None)
    return value if years is None or months is None else year_month_text(years, months)
