"""DuckDB, which runs in this process and returns rows as they are fetched."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.column_readers import read_json
from airflow_provider_moengage.sources.database import NO_QUERY, Database, Reader, SourceColumn
from airflow_provider_moengage.sources.statement import Quoting

_INFINITE_DAYS = frozenset((dt.date.max, dt.date.min))
_INFINITE_TIMESTAMPS = frozenset((dt.datetime.max, dt.datetime.min))
"""The driver returns the limits of Python's calendar for infinite dates and timestamps."""

_CHANGING = frozenset(
    (
        *(
            "ALTER",
            "ANALYZE",
            "ATTACH",
            "COPY",
            "COPY_DATABASE",
            "CREATE",
            "CREATE_FUNC",
            "DELETE",
            "DETACH",
            "DROP",
        ),
        *("EXPORT", "EXTENSION", "INSERT", "LOAD", "MERGE_INTO", "SET", "TRANSACTION", "UPDATE", "VACUUM"),
    )
)
"""Statements that are not queries, by ``duckdb.StatementType``."""

_FLOATS = ("FLOAT", "DOUBLE")
_KEY_PROBLEMS = {
    "ENUM": "sorts by index but compares as text",
    "FLOAT": "holds floating-point numbers, which do not round-trip exactly",
    "DOUBLE": "holds floating-point numbers, which do not round-trip exactly",
    "INTERVAL": "holds durations, which the driver returns in another form",
    "BIT": "sorts as bits but compares as text",
    "JSON": "compares as text, including its whitespace",
    "TIMESTAMP_NS": "holds nanoseconds, which the driver rounds",
    "TIME_NS": "holds nanoseconds, which the driver rounds",
    "TIME WITH TIME ZONE": "sorts equal times by their zone",
    "UHUGEINT": "holds numbers that the driver cannot bind",
    "GEOMETRY": "does not compare with the value that the driver returns",
    "STRUCT": "holds structs",
    "MAP": "holds maps",
    "UNION": "holds values of several types",
    "VARIANT": "holds values of several types",
    "LIST": "holds lists",
}

_ABOUT_PARAMETERS = (
    "Invalid Input Error: Values were not",
    "Invalid Input Error: Parameter",
    "Invalid Input Error: parameters are not",
)


def database_of(connection: Any) -> Database:  # noqa: ARG001 (one driver)
    """Return the class for DuckDB."""
    return _DuckDB()


class _DuckDB(Database):
    name = "DuckDB"
    renamed_column = re.compile(r"(.+)_\d+")
    quoting = Quoting(nested_comments=True, dollar_strings=True)
    most_rows_at_once = 1_000  # larger batches save no round trip, and small ones fit the CPU cache

    def check(self, connection: Any, statement: str, *, as_table: bool) -> None:
        """Check that a statement is a query: any other statement would be committed at once.

        :raises ValueError: if it is not, or if it cannot have the keys of a range as parameters.
        """
        kinds = {parsed.type.name for parsed in connection.extract_statements(statement)}
        if kinds & _CHANGING:
            raise ValueError(NO_QUERY)
        if as_table and "MULTI" in kinds:
            raise ValueError(
                "sql: with key_columns a PIVOT has to list its values: PIVOT ... ON column IN ('a', 'b')"
            )

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:  # noqa: ARG002 (it fetches a vector)
        """Yield a cursor, which has its own session: in UTC, or in the time zone that the connection sets."""
        with closing(connection.cursor()) as cursor:
            zone = _zone_of(connection) or "UTC"
            cursor.execute(f"SET TimeZone = {_literal(zone)}")
            yield cursor

    @contextmanager
    def transaction(self, connection: Any) -> Iterator[Any]:
        """Yield a cursor for statements that are committed together: without BEGIN, each is committed at once."""
        with self.cursor(connection, 1) as cursor:
            cursor.execute("BEGIN TRANSACTION")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                with suppress(Exception):  # a failed COMMIT has ended it already
                    cursor.execute("ROLLBACK")
                raise

    def is_lost(self, error: BaseException) -> bool:  # noqa: ARG002 (no error does)
        """Return False: the database is in this process."""
        return False

    def may_quote_a_value(self, error: BaseException, *, is_fetching: bool) -> bool:
        """Return whether a message may quote a value: DuckDB reads the first rows when it executes a query."""
        return super().may_quote_a_value(error, is_fetching=is_fetching) or (
            type(error).__name__ in ("InvalidInputException", "InvalidTypeException")
            and not str(error).startswith(_ABOUT_PARAMETERS)
        )

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002
        """Describe the columns.

        :raises ValueError: if the driver is too old to report column types.
        """
        return tuple(_column(str(described[0]), described[1]) for described in cursor.description or ())


def _zone_of(connection: Any) -> str | None:
    """Return the time zone that a connection or its database sets; None if it has this machine's."""
    import duckdb

    zone, scope = _zone_and_scope(connection)
    if scope != "LOCAL":
        with closing(duckdb.connect(":memory:")) as unchanged:
            if _zone_and_scope(unchanged)[0] == zone:
                return None
    return zone


def _zone_and_scope(connection: Any) -> tuple[str, str]:
    query = "SELECT value, scope FROM duckdb_settings() WHERE name = 'TimeZone'"
    zone, scope = connection.execute(query).fetchone()
    return str(zone), str(scope)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _column(name: str, declared: Any) -> SourceColumn:
    """Describe a column from its type, which DuckDB writes as in ``STRUCT(a INTEGER)[]``."""
    if not hasattr(declared, "id"):
        raise ValueError("this version of duckdb does not describe column types; expected duckdb 1.4 or later")
    written = str(declared)
    type_name = "LIST" if written.endswith("]") else written.partition("(")[0]
    return SourceColumn(
        name,
        type_name,
        read=_reader(name, declared),
        key_problem=_KEY_PROBLEMS.get(type_name),
        key_advice="CAST({name} AS DECIMAL(38, 10))" if type_name in _FLOATS else "CAST({name} AS VARCHAR)",
        equivocal=_INFINITE_DAYS if type_name == "DATE" else frozenset(),
    )


def _reader(name: str, declared: Any) -> Reader | None:
    """Return the reader of a type's values, including those inside lists and structs."""
    type_name = str(declared)
    kind = "json" if type_name == "JSON" else declared.id
    if kind in ("interval", "geometry"):
        unreadable = _unreadable(name, type_name.partition("(")[0])
        return lambda _: unreadable
    if kind in ("list", "array"):
        return _reader_of_items(_reader(name, declared.children[0][1]))
    if kind == "map":
        return _reader_of_fields({}, _reader(name, declared.children[1][1]))
    if kind == "struct":
        readers = {field: _reader(name, child) for field, child in declared.children}
        return _reader_of_fields({field: read for field, read in readers.items() if read is not None}, None)
    if kind.startswith("timestamp"):
        return _read_timestamp
    read_any = _reader_of_any(name)
    return {"json": read_json, "date": _read_day, "union": read_any, "variant": read_any}.get(kind)


def _reader_of_any(name: str) -> Reader:
    """Return the reader of a type whose values have types of their own, which only the driver's values show."""
    interval = _unreadable(name, "INTERVAL")

    def read(value: Any) -> Any:
        if isinstance(value, dt.datetime):
            return _read_timestamp(value)
        if isinstance(value, dt.timedelta):
            return interval
        if isinstance(value, list | tuple):
            return [read(item) for item in value]
        if isinstance(value, dict):
            return {field: read(item) for field, item in value.items()}
        return value

    return read


def _unreadable(name: str, type_name: str) -> Unreadable:
    return Unreadable(f"a value of type {type_name}; use CAST({name} AS VARCHAR) in the query", name)


def _reader_of_items(read: Reader | None) -> Reader | None:
    if read is None:
        return None
    return lambda items: [None if item is None else read(item) for item in items]


def _reader_of_fields(readers: dict[str, Reader], other: Reader | None) -> Reader | None:
    """Return the reader of an object's fields.

    :param readers: by field, for fields that need their own.
    :param other: the reader of every other field.
    """
    if not readers and other is None:
        return None

    def read(fields: Any) -> dict[Any, Any]:
        made = {}
        for field, value in fields.items():
            make = readers.get(field, other)
            made[field] = value if value is None or make is None else make(value)
        return made

    return read


def _read_timestamp(value: Any) -> Any:
    if not isinstance(value, dt.datetime):  # the driver returned text
        return Unreadable("a timestamp outside the years 1 to 9999")
    return Unreadable("an infinite timestamp") if value.replace(tzinfo=None) in _INFINITE_TIMESTAMPS else value


def _read_day(value: Any) -> Any:
    if not isinstance(value, dt.date):
        return Unreadable("a date outside the years 1 to 9999")
    return value  # including 9999-12-31: infinite, or the usual date for "until further notice"
