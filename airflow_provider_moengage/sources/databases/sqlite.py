"""SQLite, which runs in this process. Each value has its own type, regardless of the column's declared type."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.database import Database

_SKIPPED_AT_ONCE = 1_000

_STEPS_BETWEEN_LOOKS = 10_000
"""Steps of SQLite's virtual machine between looks at the clock: some 0.1 ms."""


def database_of(connection: Any) -> Database:  # noqa: ARG001 (one driver)
    """Return the class for SQLite."""
    return _SQLite()


class _SQLite(Database):
    name = "SQLite"
    renamed_column = re.compile(r"(.+):\d+")
    renames_in_subqueries = True  # SELECT USER_ID names the column as its table does, in a subquery as the query
    most_rows_at_once = 1_000  # larger batches save no round trip, and small ones fit the CPU cache

    def limit_time(self, connection: Any, seconds: float) -> bool:
        """Interrupt queries after some time from now."""
        end = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() >= end, _STEPS_BETWEEN_LOOKS)
        return True

    @contextmanager
    def cursor(self, connection: Any, fetch_size: int) -> Iterator[Any]:
        """Yield a cursor that survives text that is not UTF-8."""
        if not connection.in_transaction:
            connection.execute("BEGIN")  # so that reading again returns the same rows
        with closing(connection.cursor()) as cursor:
            with suppress(AttributeError):  # a hook may wrap its connection
                cursor.arraysize = fetch_size
            yield _Cursor(cursor)

    def is_lost(self, error: BaseException) -> bool:  # noqa: ARG002 (no error does)
        """Return False: the database is a file."""
        return False


class _Cursor:
    """A cursor that turns text that is not UTF-8 into :class:`Unreadable`.

    The driver fails on such text, with an error that quotes it. Checking each text costs a tenth of a microsecond,
    so the cursor reads without checks first. On the first error it runs the query again with checks.
    """

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self._query: tuple[Any, ...] = ()
        self._rows_returned = 0
        self._has_checks = False

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
            self._restart_with_checks(error)

    def fetchmany(self, rows: int) -> Sequence[Any]:
        """Return the next rows."""
        try:
            fetched: Sequence[Any] = self._cursor.fetchmany(rows)
        except sqlite3.OperationalError as error:
            self._restart_with_checks(error)
            fetched = self._cursor.fetchmany(rows)
        self._rows_returned += len(fetched)
        return fetched

    def _restart_with_checks(self, error: sqlite3.OperationalError) -> None:
        if self._has_checks or "decode" not in str(error):
            raise error
        self._has_checks = True
        self._cursor.connection.text_factory = _text
        self._cursor.execute(*self._query)
        to_skip = self._rows_returned
        while to_skip:
            to_skip -= len(self._cursor.fetchmany(min(to_skip, _SKIPPED_AT_ONCE)))


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Unreadable("text that is not UTF-8")
