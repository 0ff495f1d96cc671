"""Trino, through its own client, which fetches the next page of the result when the previous one has been read.

Tested with the client's own mapper of types, description and rows. Not tested with a Trino server.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

from airflow_provider_moengage.sources.column_readers import read_duration, read_json, reject, year_month_text
from airflow_provider_moengage.sources.database import Database, Reader, SourceColumn, is_operational
from airflow_provider_moengage.sources.statement import Quoting

_FLOATS = "holds floating-point numbers, which do not round-trip exactly"
_NO_ORDER = "has no order"
_MICROSECONDS = 6
"""Fractional digits of a second in Python's datetime."""
_DEFAULT_DIGITS = 3
"""Fractional digits of a type that states none."""

_KEY_PROBLEMS = {
    "double": _FLOATS,
    "real": _FLOATS,
    "json": _NO_ORDER,
    "map": "holds maps",
    "row": "holds structs",
    "array": "holds lists",
    "interval day to second": "holds durations, which the client returns in another form",
    "interval year to month": "holds durations, which the client returns in another form",
    "time with time zone": "is bound with the zone's current UTC offset",
    "timestamp with time zone": "may be in a named zone, in which an hour can occur twice",
}
_KEY_ADVICE = {
    "timestamp with time zone": "CAST({name} AT TIME ZONE 'UTC' AS TIMESTAMP(6))",
    "double": "CAST({name} AS DECIMAL(38, 10))",
    "real": "CAST({name} AS DECIMAL(38, 10))",
    "json": "json_format({name})",
    "map": "json_format(CAST({name} AS JSON))",
    "row": "json_format(CAST({name} AS JSON))",
    "array": "json_format(CAST({name} AS JSON))",
}
_LOST = ("TrinoInternalError", "TrinoInsufficientResourcesError", "Http502Error", "Http503Error", "Http504Error")
"""Errors of a query that another one may not have: a worker has gone, or a coordinator restarts."""

_SKETCHES = ("hyperloglog", "p4hyperloglog", "qdigest", "tdigest", "setdigest")


def database_of(connection: Any) -> Database:  # noqa: ARG001 (one driver)
    """Return the class for Trino."""
    return _Trino()


class _Trino(Database):
    name = "Trino"
    quoting = Quoting()

    def prepare(self, connection: Any) -> None:
        """Set the session to UTC, unless the connection sets a zone. The client's default is the worker's zone."""
        from tzlocal import get_localzone_name

        with suppress(AttributeError):
            session = connection._client_session  # noqa: SLF001 (no public API)
            if session.timezone == get_localzone_name():
                session._timezone = "UTC"  # noqa: SLF001

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:  # noqa: ARG002 (it holds a page)
        """Yield a cursor that returns Python types, regardless of the connection's settings."""
        with closing(connection.cursor(legacy_primitive_types=False)) as cursor:
            yield cursor

    def fetch(self, cursor: Any, rows: int) -> Sequence[Sequence[Any]]:
        """Return the next rows.

        :raises ValueError: if the client cannot convert a value; the client's own message would quote it.
        """
        from trino.exceptions import TrinoDataError

        try:
            return super().fetch(cursor, rows)
        except TrinoDataError:
            raise ValueError("a value that the client cannot convert") from None

    def is_lost(self, error: BaseException) -> bool:
        """Return whether an error means that the query or its connection is lost."""
        return isinstance(error, OSError) or is_operational(error) or type(error).__name__ in _LOST

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns."""
        return tuple(_column(str(column[0]), str(column[1])) for column in cursor.description or ())


def base_type(declared: str) -> tuple[str, int]:
    """Return a type without its parameters, and its fractional digits: ``timestamp(9) with time zone``."""
    base, _, rest = declared.partition("(")
    inner, _, after = rest.rpartition(")")
    digits = int(inner) if inner.isdigit() else _DEFAULT_DIGITS
    return f"{base} {after.strip()}".strip() if base in ("time", "timestamp") else base, digits


def _column(name: str, declared: str) -> SourceColumn:
    type_name, digits = base_type(declared)
    problem = _KEY_PROBLEMS.get(type_name)
    if type_name in ("time", "timestamp") and digits > _MICROSECONDS:
        problem = "has more fractional digits than the client returns"
    advice = _KEY_ADVICE.get(type_name, "CAST({name} AS VARCHAR)")
    return SourceColumn(name, declared, _reader(name, type_name), problem, advice)


def _reader(name: str, type_name: str) -> Reader | None:
    if type_name in ("array", "map", "row"):
        return _read_nested
    if type_name in _SKETCHES:
        return reject(f"a sketch of type {type_name}; use a function such as cardinality({name})", name)
    return {
        "json": read_json,
        "interval day to second": read_duration,
        "interval year to month": _read_months,
    }.get(type_name)


def _read_months(value: Any) -> Any:
    return year_month_text(value.years, value.months)


def _read_nested(value: Any) -> Any:
    """Convert arrays, maps and rows to lists and objects. A row with unnamed fields becomes a list."""
    if isinstance(value, dict):
        return {key: _read_nested(item) for key, item in value.items()}
    if isinstance(value, tuple):
        names = value.__annotations__["names"]
        items = [_read_nested(item) for item in value]
        has_names = None not in names and len(set(names)) == len(names)
        return dict(zip(names, items, strict=True)) if has_names else items
    if isinstance(value, list):
        return [_read_nested(item) for item in value]
    if isinstance(value, dt.timedelta):
        return read_duration(value)
    return _read_months(value) if type(value).__name__ == "relativedelta" else value
