"""What is special about a kind of database: its session, its cursor, its types.

Airflow's DbApiHook hides which database it speaks to. What a column holds, how rows are streamed, and which
columns can serve as a key differs from one to the next. Each kind that needs something of its own is a module in
:mod:`~airflow_provider_moengage.sources.databases`; this class is what holds for every other one.
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
"""Makes of a driver's value, not None, the one that is sent; an
:class:`~airflow_provider_moengage.bulk.elements.encoding.Unreadable` rejects the row."""


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of a query's result, as the driver describes it.

    :param name: the column's name.
    :param type_name: the database's name of its type, for messages; empty if the driver does not say.
    :param read: makes of a value what is sent; None: the value is sent as the driver gives it.
    :param key_problem: why the column cannot be a key, in half a sentence: "sorts by index and compares as text".
    :param key_advice: what can be one instead, with ``{name}`` for the column: "CAST({name} AS CHAR)".
    :param equivocal: values that the driver gives for several values of the database; they cannot be in a key.
    """

    name: str
    type_name: str = ""
    read: Reader | None = None
    key_problem: str | None = None
    key_advice: str = "CAST({name} AS VARCHAR)"
    equivocal: frozenset[Any] = frozenset()


class Database:
    """Any database whose driver sends rows as they are fetched."""

    name = "the database"

    lost_connection_setting: str | None = None
    """The database's setting that ends a session that waits too long, for messages."""

    most_rows_at_once: int | None = None
    """Rows that are fetched together at most, whatever ``fetch_size`` says."""

    doubles_percent = True
    """Whether its driver, if its placeholders begin with a %, takes ``%%`` for any other one."""

    quoting = Quoting()
    """How its SQL marks strings and comments."""

    renamed_column: re.Pattern[str] | None = None
    """What the second column of a name is called when a query is read as a table; its group is the name. None: the
    name stays, or it is an error."""

    is_described_late = False
    """Whether the columns are known only when the first rows are there."""

    def prepare(self, connection: Any) -> None:
        """Set up a session: moments in UTC, and patience while MoEngage's limit holds the rows back."""

    def check(self, connection: Any, statement: str) -> None:
        """Check that a statement is a query, if its driver would run another one and commit it.

        :raises ValueError: if it is not.
        """

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:
        """Yield a cursor that holds no more than ``fetch_size`` rows."""
        with closing(connection.cursor()) as cursor:
            with suppress(AttributeError):  # not every driver's cursor takes it
                cursor.arraysize = fetch_size
            yield cursor

    def fetch(self, cursor: Any, rows: int) -> Sequence[Sequence[Any]]:
        """Return the next rows, none at the end."""
        fetched: Sequence[Sequence[Any]] = cursor.fetchmany(rows)
        return fetched

    def table(self, sql: str) -> str:
        """Return a statement in a form that the database can read as a table.

        :raises ValueError: if it cannot, saying what to change.
        """
        return sql

    def close(self, connection: Any) -> None:
        """Close a connection, unless its hook returns the same one again."""
        connection.close()

    def columns(self, cursor: Any, connection: Any) -> tuple[SourceColumn, ...]:  # noqa: ARG002 (some need it)
        """Describe the columns of a cursor's result; none if the statement returns no rows."""
        return tuple(SourceColumn(str(described[0])) for described in cursor.description or ())

    def may_be_renamed(self, columns: Sequence[str]) -> bool:
        """Return whether a query that was read as a table may have several columns of one name."""
        if self.renamed_column is None:
            return False
        names = {name.lower() for name in columns}
        found = map(self.renamed_column.fullmatch, columns)
        return any(match is not None and match[1].lower() in names for match in found)

    def is_lost(self, error: BaseException) -> bool:
        """Return whether an error says that the connection is gone, so that another one may go on."""
        return type(error).__name__ in ("OperationalError", "InterfaceError")


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
"""Module or package of a driver's connection class, and the module of ours that knows it."""


def _parents(module: str) -> Iterator[str]:
    """Yield a module's name and those of the packages around it."""
    while module:
        yield module
        module = module.rpartition(".")[0]


def database_of(connection: Any) -> Database:
    """Return what is special about the database of a connection.

    :param connection: of any driver of the Python database API; a class derived from the driver's own counts as
        the driver's.
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
    return any(kind.__name__ == "OperationalError" for kind in type(error).__mro__)


def folded(names: Sequence[str]) -> list[str]:
    """Return names as people write them, if the database writes names that are not quoted in upper case.

    A name that is already there in lower case stays in upper case.
    """
    given = set(names)
    return [name.lower() if name == name.upper() and name.lower() not in given else name for name in names]


def reader_of_rows(
    columns: Sequence[SourceColumn], typed: Typed | None = None
) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    """Return what makes of rows those that are sent; None if rows are sent as the driver gives them.

    :param typed: columns to read as a type; their values follow the query's own.
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
