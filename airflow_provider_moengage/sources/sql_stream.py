"""Rows of a query, one chunk at a time: whatever the database, memory does not grow with the result.

Airflow's DbApiHook has no way to stream: ``get_records`` and its kin hold the whole result. What streams depends
on the driver. PostgreSQL's sends everything at once unless the cursor has a name; where SQLAlchemy knows how to
ask a driver for a server-side cursor (MySQL and others), it is asked; every other driver (SQLite, DuckDB,
Snowflake, BigQuery, ...) sends rows as they are fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from airflow_provider_moengage.arguments import whole

Parameters = Any
"""What the driver takes: a sequence or a mapping, in the driver's own style of placeholders."""

MakeQuery = Callable[[Any], tuple[str, Parameters]]
"""Returns a text and its parameters for a driver: for its connection or, through SQLAlchemy, its module."""


_IN_PROCESS = {"sqlite3", "duckdb"}
_ROWS_IN_PROCESS = 1_000
"""Where a database is in this process there is no way to save, and fewer rows stay in the processor's cache."""

MOST_ROWS_FETCHED = 100_000
"""Rows that may be held at once."""


@dataclass(frozen=True, slots=True)
class RowStream:
    """A query's result.

    :param columns: names, in the rows' order.
    :param rows: one tuple a row; read once.
    """

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]


def database_hook(conn_id: str) -> Any:
    """Return the hook of a connection.

    :raises ValueError: where it is no database's.
    """
    from airflow.providers.common.compat.sdk import BaseHook

    hook = BaseHook.get_hook(conn_id)
    if not callable(getattr(hook, "get_records", None)):
        raise ValueError(f"conn_id {conn_id!r}: expected a database, its hook is {type(hook).__name__}")
    return hook


def rows_at_once(fetch_size: Any) -> int:
    """Return how many rows to hold, which may be the text that a template has rendered to.

    :raises ValueError: naming the argument.
    """
    return whole("fetch_size", fetch_size, 1, MOST_ROWS_FETCHED)


def stream_query(
    hook: Any, sql: str, parameters: Parameters = None, *, fetch_size: int
) -> AbstractContextManager[RowStream]:
    """Run a query and stream its rows.

    :param hook: any DbApiHook.
    :param sql: one statement that returns rows.
    :param parameters: as the driver takes them.
    :param fetch_size: rows that are held at once.
    :raises ValueError: where the statement returns no rows (no SELECT).
    """
    return stream_made_query(hook, lambda _: (statement(sql), parameters), fetch_size=fetch_size)


def statement(sql: str) -> str:
    """Return a statement without what may end it in a file."""
    return sql.strip().rstrip("; \t\r\n")


@contextmanager
def stream_made_query(hook: Any, make_query: MakeQuery, *, fetch_size: int) -> Iterator[RowStream]:
    """Run a query that depends on the driver, and stream its rows; otherwise as :func:`stream_query`."""
    with closing(hook.get_conn()) as connection:
        driver = type(connection).__module__.partition(".")[0]
        if driver in _NAMED_CURSORS:
            with closing(_NAMED_CURSORS[driver](connection)) as cursor:
                cursor.itersize = fetch_size
                _execute(cursor, *make_query(connection))
                first = cursor.fetchmany(fetch_size)  # before it, psycopg2 knows no columns
                yield RowStream(_columns(cursor.description), _fetched(cursor, fetch_size, first))
            return
        if not _has_server_side_cursors(hook):
            with closing(connection.cursor()) as cursor:
                with suppress(AttributeError):  # DuckDB's cursors have none
                    cursor.arraysize = fetch_size
                _execute(cursor, *make_query(connection))
                at_a_time = min(fetch_size, _ROWS_IN_PROCESS) if driver in _IN_PROCESS else fetch_size
                yield RowStream(_columns(cursor.description), _fetched(cursor, at_a_time))
            return
    with _through_sqlalchemy(hook, make_query, fetch_size) as stream:
        yield stream


def _psycopg2_cursor(connection: Any) -> Any:
    from psycopg2.extensions import cursor

    return connection.cursor("moengage", cursor_factory=cursor)  # the connection may be set to give dicts


def _psycopg_cursor(connection: Any) -> Any:
    from psycopg.rows import tuple_row

    return connection.cursor("moengage", row_factory=tuple_row)


_NAMED_CURSORS: dict[str, Callable[[Any], Any]] = {"psycopg2": _psycopg2_cursor, "psycopg": _psycopg_cursor}


@contextmanager
def _through_sqlalchemy(hook: Any, make_query: MakeQuery, fetch_size: int) -> Iterator[RowStream]:
    engine = hook.get_sqlalchemy_engine()
    engine.hide_parameters = True  # in its errors
    try:
        sql, parameters = make_query(engine.dialect.dbapi)
        with engine.connect() as connection:
            connection = connection.execution_options(
                stream_results=True,
                max_row_buffer=fetch_size,
                no_parameters=parameters is None,  # else a % in the text has to be doubled
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
        cursor.execute(sql)  # without parameters a % in the text is a %
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


def _has_server_side_cursors(hook: Any) -> bool:
    """Ask SQLAlchemy; a hook that it cannot serve has a driver that it cannot know."""
    try:
        engine = hook.get_sqlalchemy_engine()
    except Exception:
        return False
    try:
        return bool(engine.dialect.supports_server_side_cursors)
    finally:
        engine.dispose()
