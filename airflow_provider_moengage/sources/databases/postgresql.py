"""PostgreSQL, through psycopg2 and psycopg 3.

PostgreSQL's drivers fetch a whole result unless the cursor has a name. For values outside Python's calendar,
psycopg2 returns a wrong value (``infinity`` becomes the end of the year 9999, ``24:00`` becomes midnight), and
psycopg 3 fails. So this module reads dates and timestamps itself, which is also faster than psycopg2's conversion;
with psycopg 3 only where that fails. Times, intervals and ranges stay text as the database writes them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.database import Database, Reader, SourceColumn
from airflow_provider_moengage.sources.statement import Quoting

# OIDs of types: PostgreSQL's pg_type.dat.
_DATE, _DATE_ARRAY = (1082,), (1182,)
_TIMESTAMPS, _TIMESTAMP_ARRAYS = (1114, 1184), (1115, 1185)
_AS_TEXT = (1083, 1266, 1186, 3904, 3906, 3908, 3910, 3912, 3926, 4451, 4532, 4533, 4534, 4535, 4536)
"""time, timetz, interval, the ranges and the multiranges."""
_TEXT_ARRAYS = (1183, 1270, 1187, 3905, 3907, 3909, 3911, 3913, 3927)
"""Arrays of time, timetz, interval and the ranges."""
_BOX_ARRAY = 1020
"""The only array type whose items are separated by semicolons."""
_VECTORS = ("int2vector", "oidvector")
"""Categorized as arrays, but written without braces."""
_NETWORK_TYPES = (650, 869)
"""cidr and inet, which psycopg 3 would convert to Python objects."""

_SESSION = """
SELECT set_config(name, CASE name WHEN 'TimeZone' THEN 'UTC' ELSE '0' END, true) FROM pg_catalog.pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')
OR (name = 'TimeZone' AND source NOT IN ('client', 'session'))
"""
"""For this transaction: UTC, unless the connection sets a zone, and no timeouts while reading is slow."""

_TYPES = """
SELECT t.oid, t.typname, CASE t.typcategory WHEN 'A' THEN e.typtype ELSE t.typtype END, t.typcategory, t.typelem,
    t.typtype = 'e' AND EXISTS (SELECT 1 FROM pg_catalog.pg_type d WHERE d.typbasetype = t.oid)
FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem WHERE t.oid IN ({})
"""

_LOST = frozenset(("25P03", "25P04", "57P01", "57P02", "57P03", "57P05"))
"""The server ended the session: after an idle timeout, on an administrator's command, in a crash or at startup."""
_CONNECTION_ERRORS = "08"
"""Class of error codes (PostgreSQL's manual, "Error codes")."""

_FLOAT_PROBLEM = "holds floating-point numbers, which do not round-trip exactly"
_KEY_PROBLEMS = {
    "float4": _FLOAT_PROBLEM,
    "float8": _FLOAT_PROBLEM,
    "interval": "has several representations of the same duration",
    "json": "has no order",
    "jsonb": "sorts by the kind of value",
    **dict.fromkeys(
        ("box", "circle", "jsonpath", "line", "lseg", "path", "point", "polygon", "xml"), "has no order"
    ),
    **dict.fromkeys(
        (
            *("regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper", "regoperator"),
            *("regproc", "regprocedure", "regrole", "regtype"),
        ),
        "sorts as a number but is read as a name",
    ),
}
_KEY_ADVICE = {"float4": "CAST({name} AS numeric)", "float8": "CAST({name} AS numeric)"}


@dataclass(frozen=True, slots=True)
class _Type:
    """A type, as ``pg_type`` describes it."""

    name: str
    kind: str
    """``typtype``; for an array, the ``typtype`` of its elements."""
    category: str
    element: int
    has_domain: bool = False
    """Whether there is a domain of this enum. A column of the domain is described as one of the enum, but
    PostgreSQL has no comparisons for it."""

    @property
    def is_array(self) -> bool:
        return self.category == "A" and self.name not in _VECTORS

    @property
    def is_composite(self) -> bool:
        return self.kind == "c" or self.name == "record"


_UNKNOWN_TYPE = _Type("", "b", "X", 0)


def database_of(connection: Any) -> Database:
    """Return what is special about a connection's driver."""
    return _Psycopg2() if _is_psycopg2(connection) else _Psycopg3()


class _PostgreSQL(Database):
    name = "PostgreSQL"
    lost_connection_setting = "idle_in_transaction_session_timeout"
    quoting = Quoting(nested_comments=True, dollar_strings=True)

    def prepare(self, connection: Any) -> None:
        """Set the time zone and the timeouts for the transaction that the named cursor needs."""
        connection.autocommit = False
        try:
            with closing(_plain_cursor(connection)) as cursor:
                cursor.execute(_SESSION)
        except Exception as error:
            if not _is_database_error(error):
                raise
            connection.rollback()  # a PostgreSQL-compatible database without set_config or pg_settings

    def limit_time(self, connection: Any, seconds: float) -> bool:
        """Set the timeout of the transaction's statements, which a pooler forgets with the transaction."""
        with closing(_plain_cursor(connection)) as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {max(round(seconds * 1_000), 1)}")
        return True

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:
        """Describe the columns. Their types are looked up in the database, because users can define types."""
        described = [(str(column[0]), int(column[1])) for column in cursor.description or ()]
        types = _types(connection, {oid for _, oid in described})
        self._register(cursor, types)
        return tuple(self._column(name, oid, types.get(oid, _UNKNOWN_TYPE)) for name, oid in described)

    def is_lost(self, error: BaseException) -> bool:
        """Return whether an error means that the connection is lost, by its code if the server sent one."""
        code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if code is not None:
            return str(code) in _LOST or str(code).startswith(_CONNECTION_ERRORS)
        return any(kind.__name__ in ("OperationalError", "InterfaceError") for kind in type(error).__mro__)

    def _register(self, cursor: Any, types: Mapping[int, _Type]) -> None:
        """Register types with a cursor that its driver does not know."""

    def _column(self, name: str, oid: int, kind: _Type) -> SourceColumn:
        read = None
        problem = _KEY_PROBLEMS.get(kind.name)
        if kind.is_composite:
            composite = Unreadable(f"a composite value; use to_jsonb({name}) in the query", name)
            read, problem = (lambda _: composite), "holds composite values"
        elif kind.is_array:
            read, problem = self._array_reader(oid), "holds arrays"
        advice = _KEY_ADVICE.get(kind.name, "CAST({name} AS text)")
        return SourceColumn(name, kind.name, read, problem, advice, may_not_compare=kind.has_domain)

    def _array_reader(self, oid: int) -> Reader | None:  # noqa: ARG002 (psycopg2 needs it)
        return None


class _Psycopg2(_PostgreSQL):
    is_described_late = True

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:
        from psycopg2 import extensions

        # The connection may be set to return dicts.
        with closing(connection.cursor("moengage", cursor_factory=extensions.cursor)) as cursor:
            cursor.itersize = fetch_size
            for caster in _psycopg2_casters():
                extensions.register_type(caster, cursor)
            yield cursor

    def _array_reader(self, oid: int) -> Reader | None:
        from psycopg2 import extensions

        if oid in extensions.string_types or oid in (*_DATE_ARRAY, *_TIMESTAMP_ARRAYS, *_TEXT_ARRAYS):
            return None  # the driver returns a list
        if oid == _BOX_ARRAY:
            return lambda value: value[1:-1].split(";")
        parse = extensions.new_array_type((oid,), "moengage_array", extensions.UNICODE)
        return lambda value: parse(value, None)


class _Psycopg3(_PostgreSQL):
    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:
        from psycopg.rows import tuple_row
        from psycopg.types.string import TextLoader

        with closing(connection.cursor("moengage", row_factory=tuple_row)) as cursor:
            cursor.itersize = fetch_size
            loaders = {**_psycopg3_loaders(), **_psycopg3_own_loaders(connection)}
            loaders.update(dict.fromkeys((*_AS_TEXT, *_NETWORK_TYPES), TextLoader))
            for oid, loader in loaders.items():
                cursor.adapters.register_loader(oid, loader)
            yield cursor

    def fetch(self, cursor: Any, rows: int) -> Sequence[Sequence[Any]]:
        """Return the next rows. If the driver cannot read a date or timestamp of them, this module does."""
        from psycopg import DataError
        from psycopg.adapt import Transformer

        before = cursor.pgresult
        try:
            return super().fetch(cursor, rows)
        except DataError as error:
            received = cursor.pgresult
            if error.sqlstate is not None or received is before or not received.ntuples:
                raise  # the server's error: it sent no rows
        for oid, loader in _psycopg3_loaders().items():
            cursor.adapters.register_loader(oid, loader)  # a newer psycopg uses them for the next rows, too
        reading = Transformer(cursor)
        reading.set_pgresult(received)
        found: Sequence[Sequence[Any]] = reading.load_rows(0, received.ntuples, tuple)
        return found

    def _register(self, cursor: Any, types: Mapping[int, _Type]) -> None:
        from psycopg.types import TypeInfo

        for oid, kind in types.items():
            if kind.is_array and cursor.adapters.types.get(oid) is None:
                TypeInfo(kind.name.removeprefix("_"), kind.element, oid).register(cursor)


def _types(connection: Any, oids: Collection[int]) -> dict[int, _Type]:
    if not oids:
        return {}
    with closing(_plain_cursor(connection)) as cursor:
        cursor.execute(_TYPES.format(", ".join(map(str, sorted(oids)))))
        return {int(oid): _Type(*described) for oid, *described in cursor.fetchall()}


def _is_psycopg2(connection: Any) -> bool:
    return any(kind.__module__.partition(".")[0] == "psycopg2" for kind in type(connection).__mro__)


def _plain_cursor(connection: Any) -> Any:
    """Return a cursor that returns tuples, regardless of the connection's settings."""
    if _is_psycopg2(connection):
        from psycopg2.extensions import cursor

        return connection.cursor(cursor_factory=cursor)
    from psycopg.rows import tuple_row

    return connection.cursor(row_factory=tuple_row)


def _is_database_error(error: BaseException) -> bool:
    return any(kind.__name__ == "DatabaseError" for kind in type(error).__mro__)


def _out_of_calendar(what: str, text: str) -> Unreadable:
    if text.lstrip("-") == "infinity":
        return Unreadable(f"an infinite {what}")
    return Unreadable(f"a {what} outside the years 1 to 9999")


@cache
def _psycopg2_casters() -> Sequence[Any]:
    from psycopg2.extensions import UNICODE, new_array_type, new_type

    # Everything in one function: a call more costs as much as the conversion itself.
    def read_date(text: Any, _: Any, read: Any = dt.date.fromisoformat) -> Any:
        try:
            return read(text)
        except ValueError:
            return _out_of_calendar("date", text)
        except TypeError:  # NULL
            return None

    def read_timestamp(text: Any, _: Any, read: Any = dt.datetime.fromisoformat) -> Any:
        try:
            return read(text)
        except ValueError:
            return _out_of_calendar("timestamp", text)
        except TypeError:  # NULL
            return None

    date = new_type(_DATE, "moengage_date", read_date)
    timestamp = new_type(_TIMESTAMPS, "moengage_timestamp", read_timestamp)
    return (
        date,
        timestamp,
        new_type(_AS_TEXT, "moengage_text", UNICODE),
        new_array_type(_DATE_ARRAY, "moengage_dates", date),
        new_array_type(_TIMESTAMP_ARRAYS, "moengage_timestamps", timestamp),
        new_array_type(_TEXT_ARRAYS, "moengage_texts", UNICODE),
    )


@cache
def _psycopg3_loaders() -> Mapping[int, Any]:
    """Return this module's psycopg 3 loaders, by type."""
    from psycopg.adapt import Loader

    def load_date(_: Any, data: Any, read: Any = dt.date.fromisoformat, text: Any = str) -> Any:
        try:
            return read(text(data, "ascii"))
        except ValueError:
            return _out_of_calendar("date", text(data, "ascii"))

    def load_timestamp(_: Any, data: Any, read: Any = dt.datetime.fromisoformat, text: Any = str) -> Any:
        try:
            return read(text(data, "ascii"))
        except ValueError:
            return _out_of_calendar("timestamp", text(data, "ascii"))

    DateLoader = type("DateLoader", (Loader,), {"load": load_date})  # noqa: N806 (a class)
    TimestampLoader = type("TimestampLoader", (Loader,), {"load": load_timestamp})  # noqa: N806
    return {**dict.fromkeys(_DATE, DateLoader), **dict.fromkeys(_TIMESTAMPS, TimestampLoader)}


def _psycopg3_own_loaders(connection: Any) -> Mapping[int, Any]:
    """Return psycopg 3's own loaders that read all that Python's calendar holds like this module's, only faster.

    There are none if it is not compiled. They fail at what is outside Python's calendar. In a zone other than UTC,
    the one for ``timestamptz`` needs Python's data of that zone, and returns the same moment by another clock if
    there is none.
    """
    from psycopg import pq
    from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader

    session = connection.info.parameter_status
    if pq.__impl__ == "python" or not (session("DateStyle") or "").startswith("ISO"):
        return {}
    timestamp, timestamptz = _TIMESTAMPS
    loaders = {**dict.fromkeys(_DATE, DateLoader), timestamp: TimestampLoader}
    return {**loaders, timestamptz: TimestamptzLoader} if session("TimeZone") == "UTC" else loaders
