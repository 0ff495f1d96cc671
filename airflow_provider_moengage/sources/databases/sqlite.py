"""SQLite: it runs in this process; each value has a type of its own, whatever its column says."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.database import Database

_SKIPPED_AT_ONCE = 1_000


def database_of(connection: Any) -> Database:  # noqa: ARG001 (one driver)
    """Return what is special about SQLite."""
    return _SQLite()


class _SQLite(Database):
    name = "SQLite"
    renamed_column = re.compile(r"(.+):\d+")
    most_rows_at_once = 1_000  # there is no way to the server to save, and fewer stay in the processor's cache

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:
        """Yield a cursor that survives text that is not UTF-8."""
        if not connection.in_transaction:
            connection.execute("BEGIN")  # what is read a second time is the same
        with closing(connection.cursor()) as cursor:
            with suppress(AttributeError):  # a hook may wrap its connection
                cursor.arraysize = fetch_size
            yield _Cursor(cursor)


class _Cursor:
    """A cursor that turns text that is not UTF-8 into :class:`Unreadable`.

    The driver fails over such text, with an error that quotes it. To look at each text costs a tenth of a
    microsecond, so the query is only run again, and read carefully, once that has happened.
    """

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self._query: tuple[Any, ...] = ()
        self._given = 0
        self._is_careful = False

    @property
    def description(self) -> Any:
        """The columns of the result."""
        return self._cursor.description

    def execute(self, *query: Any) -> None:
        """Run a query."""
        self._query = query
        try:
            self._cursor.execute(*query)
        except sqlite3.OperationalError as error:
            self._begin_again(error)

    def fetchmany(self, rows: int) -> Sequence[Any]:
        """Return the next rows."""
        try:
            fetched: Sequence[Any] = self._cursor.fetchmany(rows)
        except sqlite3.OperationalError as error:
            self._begin_again(error)
            fetched = self._cursor.fetchmany(rows)
        self._given += len(fetched)
        return fetched

    def _begin_again(self, error: sqlite3.OperationalError) -> None:
        if self._is_careful or "decode" not in str(error):
            raise error
        self._is_careful = True
        self._cursor.connection.text_factory = _text
        self._cursor.execute(*self._query)
        left = self._given
        while left:
            left -= len(self._cursor.fetchmany(min(left, _SKIPPED_AT_ONCE)))


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Unreadable("text that is not UTF-8")
