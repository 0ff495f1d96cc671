"""Streams the rows of a query, so that memory does not grow with the result.

Airflow's DbApiHook cannot stream: ``get_records`` and its variants hold the whole result. How a driver streams is
its own matter, and :data:`STRATEGIES` lists the drivers that are read in a way of their own. Any other driver is
read through SQLAlchemy if its dialect knows server-side cursors (MySQL and others), and through a plain cursor if
not (Snowflake, BigQuery, ...), which fetches rows as they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Protocol, cast

from airflow_provider_moengage.arguments import whole

Parameters = Any
"""What the driver takes: a sequence or a mapping, in the driver's own style of placeholders."""

MakeQuery = Callable[[Any], tuple[str, Parameters]]
"""Returns a query and its parameters for a driver: for its connection or, through SQLAlchemy, its module."""

MOST_ROWS_FETCHED = 100_000
"""Rows that may be held at once."""

_ROWS_IN_PROCESS = 1_000
"""Rows fetched at a time from a database in this process: no network to wait for, and the processor's cache is
used better."""


class DatabaseHook(Protocol):
    """The part of Airflow's DbApiHook that every hook of a database has."""

    def get_conn(self) -> Any:
        """Return a connection of the driver."""


@dataclass(frozen=True, slots=True)
class RowStream:
    """The result of a query.

    :param columns: names, in the order of a row's values.
    :param rows: one sequence per row; can be read once.
    """

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]


Strategy = Callable[[Any, MakeQuery, int], AbstractContextManager[RowStream]]
"""Runs a query on a driver's connection and streams its rows: (connection, make_query, fetch_size)."""


def database_hook(conn_id: str) -> DatabaseHook:
    """Return the hook of a connection.

    :raises ValueError: if the connection is not to a database.
    """
    from airflow.providers.common.compat.sdk import BaseHook

    hook = BaseHook.get_hook(conn_id)
    if not callable(getattr(hook, "get_records", None)):
        raise ValueError(f"conn_id {conn_id!r}: expected a database, its hook is {type(hook).__name__}")
    return cast("DatabaseHook", hook)


def rows_at_once(fetch_size: Any) -> int:
    """Return how many rows to hold, or the number in a rendered template.

    :raises ValueError: naming the argument.
    """
    return whole("fetch_size", fetch_size, 1, MOST_ROWS_FETCHED)


def stream_query(
    hook: DatabaseHook, sql: str, parameters: Parameters = None, *, fetch_size: int
) -> AbstractContextManager[RowStream]:
    """Run a query and stream its rows.

    :param hook: any DbApiHook.
    :param sql: one statement that returns rows.
    :param parameters: as the driver takes them.
    :param fetch_size: rows that are held at once.
    :raises ValueError: if the statement returns no rows (it is not a SELECT).
    """
    return stream_made_query(hook, lambda _: (statement(sql), parameters), fetch_size=fetch_size)


def statement(sql: str) -> str:
    """Return a statement without the semicolons that may end it in a file."""
    return sql.strip().rstrip("; \t\r\n")


@contextmanager
def stream_made_query(hook: DatabaseHook, make_query: MakeQuery, *, fetch_size: int) -> Iterator[RowStream]:
    """Run a query that depends on the driver and stream its rows, like :func:`stream_query`."""
    with closing(hook.get_conn()) as connection:
        driver = type(connection).__module__.partition(".")[0]
        strategy = STRATEGIES.get(driver)
        if strategy is None and not _has_server_side_cursors(hook):
            strategy = plain_cursor
        if strategy is not None:
            with strategy(connection, make_query, fetch_size) as stream:
                yield stream
            return
    with _through_sqlalchemy(hook, make_query, fetch_size) as stream:
        yield stream


@contextmanager
def plain_cursor(connection: Any, make_query: MakeQuery, fetch_size: int) -> Iterator[RowStream]:
    """Stream from a cursor that fetches rows as they are read."""
    with closing(connection.cursor()) as cursor:
        with suppress(AttributeError):  # DuckDB's cursors have none
            cursor.arraysize = fetch_size
        _execute(cursor, *make_query(connection))
        yield RowStream(_columns(cursor.description), _fetched(cursor, fetch_size))


@contextmanager
def _cursor_in_process(connection: Any, make_query: MakeQuery, fetch_size: int) -> Iterator[RowStream]:
    """Stream from a database that runs in this process."""
    with plain_cursor(connection, make_query, min(fetch_size, _ROWS_IN_PROCESS)) as stream:
        yield stream


@contextmanager
def _named_cursor(
    connection: Any, make_query: MakeQuery, fetch_size: int, *, open_cursor: Callable[[Any], Any]
) -> Iterator[RowStream]:
    """Stream from PostgreSQL, which sends the whole result at once unless the cursor has a name."""
    with closing(open_cursor(connection)) as cursor:
        cursor.itersize = fetch_size
        _execute(cursor, *make_query(connection))
        first = cursor.fetchmany(fetch_size)  # psycopg2 knows the columns only after the first fetch
        yield RowStream(_columns(cursor.description), _fetched(cursor, fetch_size, first))


def _psycopg2_cursor(connection: Any) -> Any:
    from psycopg2.extensions import cursor

    return connection.cursor("moengage", cursor_factory=cursor)  # the connection's default may return dicts


def _psycopg_cursor(connection: Any) -> Any:
    from psycopg.rows import tuple_row

    return connection.cursor("moengage", row_factory=tuple_row)


STRATEGIES: dict[str, Strategy] = {
    "psycopg2": partial(_named_cursor, open_cursor=_psycopg2_cursor),
    "psycopg": partial(_named_cursor, open_cursor=_psycopg_cursor),
    "sqlite3": _cursor_in_process,
    "duckdb": _cursor_in_process,
}
"""By the top-level package of the connection's class."""


def _has_server_side_cursors(hook: DatabaseHook) -> bool:
    """Return whether SQLAlchemy knows server-side cursors of the hook's database, if it knows the database."""
    try:
        engine = cast("Any", hook).get_sqlalchemy_engine()
    except Exception:  # each hook fails in its own way without a dialect
        return False
    try:
        return bool(engine.dialect.supports_server_side_cursors)
    finally:
        engine.dispose()


@contextmanager
def _through_sqlalchemy(hook: DatabaseHook, make_query: MakeQuery, fetch_size: int) -> Iterator[RowStream]:
    engine = cast("Any", hook).get_sqlalchemy_engine()
    engine.hide_parameters = True  # in its errors
    try:
        sql, parameters = make_query(engine.dialect.dbapi)
        with engine.connect() as plain:
            connection = plain.execution_options(
                stream_results=True,
                max_row_buffer=fetch_size,
                no_parameters=parameters is None,  # otherwise a % in the query has to be doubled
            )
            result = connection.exec_driver_sql(sql, _for_driver(parameters))
            if not result.returns_rows:
                raise _no_rows()
            with closing(result):
                yield RowStream(tuple(map(str, result.keys())), _fetched(result, fetch_size))
    finally:
        engine.dispose()


def _fetched(cursor: Any, fetch_size: int, first: Sequence[Any] | None = None) -> Iterator[Sequence[Any]]:
    def chunks() -> Iterator[Sequence[Any]]:
        chunk = cursor.fetchmany(fetch_size) if first is None else first
        while chunk:
            yield chunk
            chunk = cursor.fetchmany(fetch_size)

    return chain.from_iterable(chunks())


def _execute(cursor: Any, sql: str, parameters: Parameters) -> None:
    if parameters is None:
        cursor.execute(sql)  # without parameters a % in the query stays a %
    else:
        cursor.execute(sql, _for_driver(parameters))


def _for_driver(parameters: Parameters) -> Parameters:
    return tuple(parameters) if isinstance(parameters, list) else parameters


def _columns(description: Sequence[Sequence[Any]] | None) -> tuple[str, ...]:
    if not description:
        raise _no_rows()
    return tuple(str(column[0]) for column in description)


def _no_rows() -> ValueError:
    return ValueError("sql: the statement returns no rows; expected one SELECT")
