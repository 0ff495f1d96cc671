"""Streams the rows of a query in chunks, so that memory does not grow with the result.

Airflow's DbApiHook cannot stream: ``get_records`` and similar methods hold the whole result. This module reads
rows through the hook's own connection, with its settings (TLS, character set, init command), and a streaming
cursor (:mod:`~airflow_provider_moengage.sources.database`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Protocol, cast

from airflow_provider_moengage.arguments import whole
from airflow_provider_moengage.bulk.mapping import Typed
from airflow_provider_moengage.sources.database import (
    NO_QUERY,
    Database,
    SourceColumn,
    database_of,
    reader_of_rows,
)
from airflow_provider_moengage.sources.statement import check_is_query, one_statement

Parameters = Any
"""What the driver accepts: a sequence or a mapping, for the driver's own placeholder style."""

MakeQuery = Callable[[Any, str], tuple[str, Parameters]]
"""Returns a query and its parameters for a driver's connection; the second argument is the user's statement."""

MOST_ROWS_FETCHED = 100_000
"""Upper limit of ``fetch_size``, in rows."""

_READ_AT_ONCE = 1_000

Rows = Sequence[Sequence[Any]]


class DatabaseHook(Protocol):
    """The part of Airflow's DbApiHook that every database hook has."""

    def get_conn(self) -> Any:
        """Return a driver connection."""


class LostConnectionError(ConnectionError):
    """The database or a proxy ended the connection while rows were read.

    :param what: what was run or read.
    :param name: the driver's exception.
    """

    def __init__(self, database: Database, what: str, name: str) -> None:
        setting = database.lost_connection_setting
        self.advice = f"raise {setting} in the database" if setting else "check the database and what is between"
        super().__init__(f"{database.name} ended the connection when it read {what} ({name}); {self.advice}")


class UnlimitedTimeError(Exception):
    """The database cannot end a query after some time by itself."""


class UnreadableRowError(ValueError):
    """The driver or the database cannot convert a value in a row."""


@dataclass(frozen=True, slots=True)
class RowStream:
    """A query's result.

    :param described: its columns, in the order of the row's values.
    :param rows: one tuple per row, as the driver returns it; can be read once.
    :param database: the database that the rows come from.
    """

    described: tuple[SourceColumn, ...]
    rows: Iterator[Sequence[Any]]
    database: Database

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.described)

    def reader(self, typed: Typed | None = None) -> Callable[[Rows], Rows] | None:
        """Return a function that converts rows before they are sent; None if they are sent unchanged.

        :param typed: columns to convert to a type; the converted values are appended to each row.
        """
        return reader_of_rows(self.described, typed)

    def read(self, typed: Typed | None = None) -> Iterator[Sequence[Any]]:
        """Return an iterator of the converted rows."""
        reader = self.reader(typed)
        return self.rows if reader is None else chain.from_iterable(self._converted(reader))

    def _converted(self, reader: Callable[[Rows], Rows]) -> Iterator[Rows]:
        while rows := list(islice(self.rows, _READ_AT_ONCE)):
            yield reader(rows)


def database_hook(conn_id: str) -> DatabaseHook:
    """Return the hook of a connection.

    :raises ValueError: if the connection is not to a database.
    """
    from airflow.providers.common.compat.sdk import BaseHook

    hook = BaseHook.get_hook(conn_id)
    if not callable(getattr(hook, "get_records", None)):
        raise ValueError(
            f"conn_id {conn_id!r}: expected a database connection, but its hook is {type(hook).__name__}"
        )
    return cast("DatabaseHook", hook)


def has_typed_columns(hook: DatabaseHook) -> bool:
    """Return whether all values of a column have its type. In SQLite 1 and '1' are two keys of one column."""
    return getattr(hook, "conn_type", None) != "sqlite"


def rows_at_once(fetch_size: Any) -> int:
    """Return a fetch size, which may be text from a rendered template.

    :raises ValueError: naming the argument.
    """
    return whole("fetch_size", fetch_size, 1, MOST_ROWS_FETCHED)


def stream_query(
    hook: DatabaseHook,
    sql: str,
    parameters: Parameters = None,
    *,
    fetch_size: int,
    wrap: Callable[[str], str] | None = None,
    most_seconds: float | None = None,
) -> AbstractContextManager[RowStream]:
    """Run a query and stream its rows.

    :param hook: any DbApiHook.
    :param sql: one statement that returns rows.
    :param parameters: in the form that the driver accepts.
    :param fetch_size: rows to hold in memory at once.
    :param wrap: converts the user's statement to the one that is run.
    :param most_seconds: the database ends the query after that time, with an error of its driver.
    :raises ValueError: if there is more than one statement, or it is not a SELECT.
    :raises UnlimitedTimeError: if ``most_seconds`` is set, and the database cannot end a query by itself.
    """

    def make_query(_: Any, statement: str) -> tuple[str, Parameters]:
        return (wrap(statement) if wrap else statement), parameters

    return stream_made_query(
        hook, sql, make_query, fetch_size=fetch_size, as_table=wrap is not None, most_seconds=most_seconds
    )


@contextmanager
def stream_made_query(
    hook: DatabaseHook,
    sql: str,
    make_query: MakeQuery,
    *,
    fetch_size: int,
    as_table: bool = True,
    most_seconds: float | None = None,
) -> Iterator[RowStream]:
    """Like :func:`stream_query`, for a query that depends on the driver.

    :param sql: the user's query; ``make_query`` receives its statement without comments or a semicolon after it.
    :param as_table: ``make_query`` uses the statement as a subquery.
    :param most_seconds: the database ends the query after that time, with an error of its driver.
    :raises UnlimitedTimeError: if it cannot.
    """
    with ExitStack() as stack:
        connection = hook.get_conn()
        database = database_of(connection)
        stack.callback(database.close, connection)
        statement = one_statement(sql, database.quoting)
        check_is_query(statement, database.quoting)
        if as_table:
            statement = database.table(statement)
        at_once = min(fetch_size, database.most_rows_at_once or fetch_size)
        database.check(connection, statement, as_table=as_table)
        database.prepare(connection)
        if most_seconds is not None and not database.limit_time(connection, most_seconds):
            raise UnlimitedTimeError
        with database.cursor(connection, fetch_size) as cursor:
            with _reported(database, "the query"):
                _execute(cursor, *make_query(connection, statement))
            first = _fetch(database, cursor, at_once, 0) if database.is_described_late else None
            described = database.columns(cursor, connection)
            if not described:
                raise ValueError(NO_QUERY)
            yield RowStream(described, _fetched(database, cursor, at_once, first), database)


def _fetched(database: Database, cursor: Any, at_once: int, first: Rows | None) -> Iterator[Sequence[Any]]:
    def chunks() -> Iterator[Rows]:
        read = 0
        chunk = first
        if chunk is None:
            chunk = _fetch(database, cursor, at_once, read)
        while chunk:
            yield chunk
            read += len(chunk)
            chunk = _fetch(database, cursor, at_once, read)

    return chain.from_iterable(chunks())


def _fetch(database: Database, cursor: Any, at_once: int, read: int) -> Rows:
    """Return the next rows.

    :param read: number of rows read before.
    """
    with _reported(database, f"one of the next {at_once:,} rows, after {read:,} of the query,", is_fetching=True):
        return database.fetch(cursor, at_once)


@contextmanager
def _reported(database: Database, what: str, *, is_fetching: bool = False) -> Iterator[None]:
    """Report an error of the database.

    :param what: what was run or read, for the message.
    :param is_fetching: the query itself was accepted, so the error is about rows.
    :raises LostConnectionError: if the connection is lost.
    :raises UnreadableRowError: if a value cannot be read. Omits the driver's message, which may quote the value.
    """
    try:
        yield
    except Exception as error:
        name = type(error).__name__
        if is_fetching and database.is_lost(error):  # many drivers raise the same for an error in the query
            raise LostConnectionError(database, what, name) from error
        if database.may_quote_a_value(error, is_fetching=is_fetching):
            raise UnreadableRowError(
                f"sql: {what} has a value that cannot be read ({name}). The driver's message is omitted because it"
                f" may quote the value; run the query in {database.name} to see it, and convert the column in the"
                " query"
            ) from None
        raise


def _execute(cursor: Any, sql: str, parameters: Parameters) -> None:
    if parameters is None:
        cursor.execute(sql)  # without parameters, the driver does not interpret % in the query
    else:
        cursor.execute(sql, tuple(parameters) if isinstance(parameters, list) else parameters)
