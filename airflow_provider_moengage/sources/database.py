"""How databases differ: their sessions, cursors and types.

Airflow's DbApiHook hides which database it is connected to. What a column holds, how rows are streamed, and which
columns can serve as a key differ between databases. Each database that needs special handling has a module in
:mod:`~airflow_provider_moengage.sources.databases`; :class:`Database` covers all others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from airflow_provider_moengage.bulk import typed_values
from airflow_provider_moengage.bulk.mapping import Typed
from airflow_provider_moengage.sources.statement import Quoting

NO_QUERY = "sql: the statement returns no rows; expected one SELECT"

Reader = Callable[[Any], Any]
"""Converts a driver's value (never None) to the value that is sent. An
:class:`~airflow_provider_moengage.bulk.elements.encoding.Unreadable` rejects the row."""


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of a query's result, as the driver describes it.

    :param name: the column's name.
    :param type_name: the database's name for its type, for messages; empty if the driver does not report it.
    :param read: converts a value before it is sent; None: the driver's value is sent unchanged.
    :param key_problem: why the column cannot be a key, to follow "it": "sorts by index but compares as text".
    :param key_advice: an expression that can be a key, with ``{name}`` for the column: "CAST({name} AS CHAR)".
    :param equivocal: values that the driver returns for several different database values; not allowed in a key.
    :param may_not_compare: whether only a query shows if the column can be compared, which a key needs.
    """

    name: str
    type_name: str = ""
    read: Reader | None = None
    key_problem: str | None = None
    key_advice: str = "CAST({name} AS VARCHAR)"
    equivocal: frozenset[Any] = frozenset()
    may_not_compare: bool = False


class Database:
    """Any database whose driver sends rows as they are fetched."""

    name = "the database"

    lost_connection_setting: str | None = None
    """The database's setting that ends a session that is idle for too long, for messages."""

    most_rows_at_once: int | None = None
    """Upper limit for ``fetch_size``, in rows."""

    doubles_percent = True
    """If the driver's placeholders begin with %: whether any other % must be written as ``%%``."""

    quoting = Quoting()
    """How the database's SQL marks strings and comments."""

    renamed_column: re.Pattern[str] | None = None
    """Matches the name that the database gives a second column of the same name when the query is a subquery; the
    group is the original name. None: the database keeps the name or raises an error."""

    renames_in_subqueries = False
    """Whether a column can have another name when the query is a subquery."""

    is_described_late = False
    """Whether the columns are known only after the first rows have been fetched."""

    def prepare(self, connection: Any) -> None:
        """Set up a session: UTC, and no timeouts while MoEngage's rate limit slows down reading."""

    def limit_time(self, connection: Any, seconds: float) -> bool:  # noqa: ARG002 (subclasses need it)
        """Make the database end each of the session's queries after some time; return whether it can."""
        return False

    def check(self, connection: Any, statement: str, *, as_table: bool) -> None:
        """Check that a statement is a query that can be run, as far as only the driver can tell.

        :param as_table: it is going to be a subquery, and to have parameters.
        :raises ValueError: if it is not.
        """

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:
        """Yield a cursor that holds no more than ``fetch_size`` rows."""
        with closing(connection.cursor()) as cursor:
            with suppress(AttributeError):  # not every driver's cursor accepts it
                cursor.arraysize = fetch_size
            yield cursor

    @contextmanager
    def transaction(self, connection: Any) -> Iterator[Any]:
        """Yield a cursor for statements that are committed together, or not at all."""
        with closing(connection.cursor()) as cursor:
            try:
                yield cursor
                connection.commit()
            except BaseException:
                with suppress(Exception):  # the error that ended it is reported; some databases have no rollback
                    connection.rollback()
                raise

    def fetch(self, cursor: Any, rows: int) -> Sequence[Sequence[Any]]:
        """Return the next rows; empty at the end."""
        fetched: Sequence[Sequence[Any]] = cursor.fetchmany(rows)
        return fetched

    def table(self, sql: str) -> str:
        """Return a statement in a form that the database accepts as a subquery.

        :raises ValueError: if there is no such form; the message says what to change.
        """
        return sql

    def close(self, connection: Any) -> None:
        """Close a connection, unless its hook reuses it."""
        connection.close()

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002 (subclasses need it)
        """Describe the columns of a cursor's result; none if the statement returns no rows."""
        return tuple(SourceColumn(str(described[0])) for described in cursor.description or ())

    def may_be_renamed(self, columns: Sequence[str]) -> bool:
        """Return whether a query that ran as a subquery may have several columns with the same name."""
        if self.renamed_column is None:
            return False
        names = {name.lower() for name in columns}
        found = map(self.renamed_column.fullmatch, columns)
        return any(match is not None and match[1].lower() in names for match in found)

    def is_lost(self, error: BaseException) -> bool:
        """Return whether an error means that the connection is lost, so that a new one can continue."""
        return bool(_kinds(error) & {"OperationalError", "InterfaceError"})

    def may_quote_a_value(self, error: BaseException, *, is_fetching: bool) -> bool:
        """Return whether the message of an error may quote a value of a row.

        :param is_fetching: the query was accepted, so the error is about rows.
        """
        kinds = _kinds(error)
        if kinds & {"DataError", "UnicodeError", "OverflowError"} or type(error) in (ValueError, TypeError):
            return True
        return is_fetching and "DatabaseError" in kinds and not kinds & {"OperationalError", "InterfaceError"}


def _kinds(error: BaseException) -> set[str]:
    """Return the names of an error's classes: each driver has its own, named by the database API (PEP 249)."""
    return {kind.__name__ for kind in type(error).__mro__}


_MODULES = {
    "airflow.providers.clickhousedb": "clickhouse",
    "airflow.providers.google.cloud.hooks.bigquery": "bigquery",
    "clickhouse_connect": "clickhouse",
    "clickhouse_driver": "clickhouse",
    "databricks": "databricks",
    "_duckdb": "duckdb",
    "duckdb": "duckdb",
    "mysql": "mysql",
    "MySQLdb": "mysql",
    "oracledb": "oracle",
    "psycopg": "postgresql",
    "psycopg2": "postgresql",
    "pymssql": "sqlserver",
    "pymysql": "mysql",
    "pyodbc": "sqlserver",
    "redshift_connector": "redshift",
    "snowflake": "snowflake",
    "sqlite3": "sqlite",
    "trino": "trino",
}
"""Maps the module or package of a driver's connection class to the module that handles it."""


def _parents(module: str) -> Iterator[str]:
    """Yield the names of a module and of its parent packages."""
    while module:
        yield module
        module = module.rpartition(".")[0]


def database_of(connection: Any) -> Database:
    """Return the :class:`Database` for a driver's connection.

    :param connection: a connection of any DB-API driver; subclasses of the driver's connection class are
        recognized.
    """
    for kind in type(connection).__mro__:
        module = next((_MODULES[name] for name in _parents(kind.__module__) if name in _MODULES), None)
        if module is not None:
            databases = import_module(f"airflow_provider_moengage.sources.databases.{module}")
            database: Database = databases.database_of(connection)
            return database
    return Database()


def is_operational(error: BaseException) -> bool:
    """Return whether an error is an OperationalError of a driver, or one derived from it."""
    return "OperationalError" in _kinds(error)


def folded(names: Sequence[str]) -> list[str]:
    """Return names in lower case, for databases that store unquoted names in upper case.

    A name that also occurs in lower case stays in upper case.
    """
    given = set(names)
    return [name.lower() if name == name.upper() and name.lower() not in given else name for name in names]


def reader_of_rows(
    columns: Sequence[SourceColumn], typed: Typed | None = None
) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    """Return a function that converts rows before they are sent; None if the driver's rows are sent unchanged.

    :param typed: columns to convert to a type; the converted values are appended to each row.
    """
    readers = [(at, column.read) for at, column in enumerate(columns) if column.read is not None]
    added = [(at, typed_values.reader(columns[at].name, type_name)) for at, type_name in typed or {}]
    if not (readers or added):
        return None

    def read(rows: Sequence[Any]) -> Sequence[Any]:
        if not rows:
            return rows
        given: list[Sequence[Any]] = list(zip(*rows, strict=True))
        by_column = list(given)
        for at, make in readers:
            by_column[at] = _made(make, given[at])
        by_column += [_made(make, given[at]) for at, make in added]
        return list(zip(*by_column, strict=True))

    return read


def _made(make: Reader, values: Sequence[Any]) -> list[Any]:
    return [None if value is None else make(value) for value in values]
