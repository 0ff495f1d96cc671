"""MySQL and MariaDB, through mysqlclient, MySQL Connector/Python and PyMySQL.

Rows are read through the hook's own connection, with its TLS, character set and init command. Only the cursor
class differs, because the drivers' default cursor holds the whole result.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.column_readers import read_json, read_time, reject
from airflow_provider_moengage.sources.database import Database, Reader, SourceColumn
from airflow_provider_moengage.sources.statement import Quoting, outer_words

_NET_WRITE_TIMEOUT = 31_536_000
"""Seconds that the server waits for the client to read rows (default 60). A year is the largest value that every
platform accepts (MariaDB's reference, "net_write_timeout")."""

_FLAG_BINARY, _FLAG_ENUM, _FLAG_SET = 128, 256, 2048
_TINY, _FLOAT, _DOUBLE, _TIMESTAMP, _TIME, _BIT, _JSON, _STRING, _GEOMETRY = 1, 4, 5, 7, 11, 16, 245, 254, 255
_DATE, _DATETIME = 10, 12
"""Types of the client protocol, ``enum_field_types``."""

_TYPE_NAMES = {
    _FLOAT: "FLOAT",
    _DOUBLE: "DOUBLE",
    _DATE: "DATE",
    _DATETIME: "DATETIME",
    _TIMESTAMP: "TIMESTAMP",
    _TIME: "TIME",
    _BIT: "BIT",
    _JSON: "JSON",
    _GEOMETRY: "GEOMETRY",
}

_KEY_PROBLEMS = {
    "ENUM": "sorts by index but compares as text",
    "SET": "sorts by index but compares as text",
    "BIT": "sorts as a number but compares as text",
    "FLOAT": "holds floating-point numbers, which do not round-trip exactly",
    "DOUBLE": "holds floating-point numbers, which do not round-trip exactly",
    "TIME": "holds durations, which the driver returns in another form",
    "JSON": "sorts by the kind of value but compares as text",
    "GEOMETRY": "has no order",
}
_KEY_ADVICE = {
    "BIT": "CAST({name} AS UNSIGNED)",
    "FLOAT": "CAST({name} AS DECIMAL(30, 10))",
    "DOUBLE": "CAST({name} AS DECIMAL(30, 10))",
}


_NOT_IN_SUBQUERIES = frozenset(("HIGH_PRIORITY", "SQL_CACHE", "SQL_CALC_FOUND_ROWS", "SQL_NO_CACHE"))


def database_of(connection: Any) -> Database:
    """Return the class for a connection's driver."""
    drivers = {kind.__module__.partition(".")[0] for kind in type(connection).__mro__}
    if "mysql" in drivers:
        return _Connector()
    return _PyMySQL() if "pymysql" in drivers else _MySQLClient()


class _MySQL(Database):
    name = "MySQL or MariaDB"
    lost_connection_setting = "net_write_timeout"
    quoting = Quoting(backslash_escapes=True, hash_comments=True, dashes_need_space=True)

    def __init__(self) -> None:
        self._zone: dt.tzinfo | None = dt.UTC

    def table(self, sql: str) -> str:
        """Return the statement.

        :raises ValueError: if it has a word that MySQL accepts only outside of subqueries.
        """
        for word in outer_words(sql, self.quoting):
            if word in _NOT_IN_SUBQUERIES:
                raise ValueError(f"sql: {word} is not possible with key_columns; remove it")
        return sql

    def prepare(self, connection: Any) -> None:
        """Set the session to UTC, unless the connection sets a zone, and make the server wait for slow readers."""
        with closing(connection.cursor()) as cursor:
            cursor.execute("SELECT @@session.time_zone AS session_zone, @@global.time_zone AS global_zone")
            [row] = cursor.fetchall()
            session, everywhere = row.values() if isinstance(row, dict) else row
            if session == everywhere:
                cursor.execute("SET SESSION time_zone = '+00:00'")
                session = "+00:00"
            cursor.execute(f"SET SESSION net_write_timeout = {_NET_WRITE_TIMEOUT}")
        self._zone = _zone(session)

    def limit_time(self, connection: Any, seconds: float) -> bool:
        """Set the session's timeout, which MySQL counts in milliseconds and MariaDB in seconds."""
        with closing(connection.cursor()) as cursor:
            cursor.execute("SELECT VERSION() AS version")
            [row] = cursor.fetchall()
            [version] = row.values() if isinstance(row, dict) else row
            if "mariadb" in str(version).lower():
                cursor.execute(f"SET SESSION max_statement_time = {seconds:.3f}")
            else:
                cursor.execute(f"SET SESSION max_execution_time = {max(round(seconds * 1_000), 1)}")
        return True

    def _column(self, name: str, code: int, flags: int, size: int | None) -> SourceColumn:
        type_name = _TYPE_NAMES.get(code, "")
        if flags & _FLAG_ENUM:
            type_name = "ENUM"
        elif flags & _FLAG_SET:
            type_name = "SET"
        problem = _KEY_PROBLEMS.get(type_name)
        if type_name == "TIMESTAMP" and self._zone is not dt.UTC:
            problem = "holds timestamps in the session's time zone, in which an hour can occur twice"
        advice = _KEY_ADVICE.get(type_name, "CAST({name} AS CHAR)")
        return SourceColumn(name, type_name, self._reader(name, type_name, code, size), problem, advice)

    def _reader(self, name: str, type_name: str, code: int, size: int | None) -> Reader | None:
        if type_name == "GEOMETRY":
            return reject(f"a geometry; use ST_AsText({name}) in the query", name)
        if type_name == "TIMESTAMP" and self._zone is not dt.UTC:
            return _timestamp_reader(name, self._zone)
        if type_name in ("DATE", "DATETIME", "TIMESTAMP"):
            return _day_reader(name)
        if type_name == "BIT":
            return _read_boolean if size == 1 else _read_bits
        if code == _TINY and size == 1:
            return _read_boolean
        return {"SET": _read_set, "TIME": read_time, "JSON": read_json}.get(type_name)


class _MySQLClient(_MySQL):
    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:  # noqa: ARG002 (it holds one row)
        from MySQLdb.cursors import SSCursor

        # Not closed: closing would read all remaining rows. The connection is closed instead.
        yield connection.cursor(SSCursor)

    def prepare(self, connection: Any) -> None:
        """Set up the session. The driver's own converters would return None for a date such as ``2026-02-00``."""
        super().prepare(connection)
        for code in (_DATE, _DATETIME, _TIMESTAMP):
            connection.converter[code] = _day_or_text

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns: mysqlclient reports the lengths in the description, and the flags separately."""
        flags = getattr(cursor, "description_flags", None) or ()
        return tuple(
            self._column(str(described[0]), described[1], flag, described[3])
            for described, flag in zip(cursor.description or (), flags, strict=True)
        )

    def is_lost(self, error: BaseException) -> bool:
        return super().is_lost(error) and bool(error.args) and error.args[0] in _LOST


class _PyMySQL(_MySQL):
    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:  # noqa: ARG002 (it holds one row)
        from pymysql.cursors import SSCursor

        cursor = connection.cursor(SSCursor)
        try:
            yield cursor
        finally:  # not closed, for the same reason; garbage collection would close it
            cursor.connection = None
            if (result := getattr(cursor, "_result", None)) is not None:
                result.unbuffered_active = False

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns: PyMySQL keeps flags and lengths in its result."""
        fields = getattr(getattr(cursor, "_result", None), "fields", None) or ()
        return tuple(self._column(field.name, field.type_code, field.flags, field.length) for field in fields)

    def is_lost(self, error: BaseException) -> bool:
        return super().is_lost(error) and bool(error.args) and error.args[0] in _LOST


class _Connector(_MySQL):
    doubles_percent = False

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:  # noqa: ARG002 (it holds one row)
        # Not closed, for the same reason; closing with unread rows would raise.
        yield connection.cursor(buffered=False, raw=False, dictionary=False)

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:
        """Describe the columns: MySQL Connector/Python reports flags but no lengths.

        The driver's own converters would return None for a date such as ``2026-02-00``.
        """
        described = cursor.description or ()
        if any(column[1] in (_DATE, _DATETIME, _TIMESTAMP) for column in described):
            from mysql.connector.conversion import MySQLConverter

            connection.converter_class = _converter_class(connection.converter_class or MySQLConverter)
        return tuple(self._column(str(column[0]), column[1], column[7], None) for column in described)

    def is_lost(self, error: BaseException) -> bool:
        return super().is_lost(error) and getattr(error, "errno", None) in _LOST


_LOST = {1159, 1160, 1161, 1927, 2006, 2013, 2055}
"""Server and client errors that mean that the connection is lost."""


def _zone(name: Any) -> dt.tzinfo | None:
    """Return a session's time zone; None if only the server knows it (``SYSTEM``)."""
    text = name.decode() if isinstance(name, bytes | bytearray) else str(name)
    if text in ("+00:00", "UTC"):
        return dt.UTC
    with suppress(ValueError):
        return dt.datetime.strptime(text, "%z").tzinfo
    with suppress(Exception):
        return ZoneInfo(text)
    return None


def _read_boolean(value: Any) -> Any:
    number = _read_bits(value)
    return bool(number) if number in (0, 1) else _NOT_A_BOOLEAN


_NOT_A_BOOLEAN = Unreadable(
    "a number other than 0 and 1 in a TINYINT(1); add 0 to it in the query to send the number"
)


def _day_or_text(value: Any, *_: Any) -> Any:
    """Return a date or a datetime; its text if the calendar does not have it (``2026-02-00``)."""
    text = value if isinstance(value, str) else bytes(value).decode()
    try:
        return dt.date.fromisoformat(text) if len(text) == len("2026-01-31") else dt.datetime.fromisoformat(text)
    except ValueError:
        return text


@cache
def _converter_class(kind: type) -> type:
    """Return a MySQL Connector/Python converter class that keeps dates that the calendar does not have."""
    names = ("_date_to_python", "_newdate_to_python", "_datetime_to_python", "_timestamp_to_python")
    return type("MoEngageConverter", (kind,), dict.fromkeys(names, staticmethod(_day_or_text)))


def _not_in_calendar(name: str) -> Unreadable:
    return Unreadable(
        f"a date that is not in the calendar; if it is a zero date that means none, use NULLIF({name}, 0) in the"
        " query",
        name,
    )


def _day_reader(name: str) -> Reader:
    """Return the reader of a DATE or DATETIME, or of a TIMESTAMP in UTC."""
    not_in_calendar = _not_in_calendar(name)
    return lambda value: value if isinstance(value, dt.date) else not_in_calendar


def _timestamp_reader(name: str, zone: dt.tzinfo | None) -> Reader:
    """Return the reader of a TIMESTAMP.

    :param zone: the session's time zone; None if it is unknown.
    """
    advice = "set time_zone = '+00:00'"
    unknown = Unreadable(f"a TIMESTAMP, but the session's time zone is unknown; {advice}", name)
    twice = Unreadable(f"a TIMESTAMP in an hour that the session's time zone has twice; {advice}", name)
    not_in_calendar = _not_in_calendar(name)

    def read(value: Any) -> Any:
        if not isinstance(value, dt.datetime):
            return not_in_calendar
        if zone is None:
            return unknown
        moment = value.replace(tzinfo=zone)
        return moment if moment.utcoffset() == moment.replace(fold=1).utcoffset() else twice

    return read


def _read_bits(value: Any) -> int:
    return int.from_bytes(value, "big") if isinstance(value, bytes | bytearray) else int(value)


def _read_set(value: Any) -> list[str]:
    if isinstance(value, str):
        return sorted(value.split(",")) if value else []
    return sorted(value)
