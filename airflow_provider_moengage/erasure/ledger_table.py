"""A ledger in a table of any database. A second try that runs at the same time cannot add the same entry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from hashlib import sha256

from airflow_provider_moengage.erasure.ledger import Entry, Event, LedgerError, RunFacts, record_of
from airflow_provider_moengage.sources.sql_stream import DatabaseHook
from airflow_provider_moengage.tables.dialect import Kind
from airflow_provider_moengage.tables.sql_table import (
    SqlTable,
    TableColumn,
    TableLayout,
    connected,
    is_conflict,
)

LEDGER = TableLayout(
    (
        TableColumn("entry_id", Kind.NAME, is_key=True),
        TableColumn("dag_id", Kind.NAME),
        TableColumn("run_id", Kind.NAME),
        TableColumn("task_id", Kind.NAME),
        TableColumn("map_index", Kind.COUNT),
        TableColumn("try_number", Kind.COUNT),
        TableColumn("workspace_id", Kind.NAME),
        TableColumn("project_code", Kind.NAME),
        TableColumn("method", Kind.NAME),
        TableColumn("identity_type", Kind.NAME),
        TableColumn("identity", Kind.NAME),
        TableColumn("user_id", Kind.NAME),
        TableColumn("attempt", Kind.COUNT),
        TableColumn("event", Kind.NAME),
        TableColumn("recorded_at", Kind.TIME),
        TableColumn("status_code", Kind.COUNT),
        TableColumn("request_id", Kind.NAME),
    )
)

_COLUMNS = tuple(column.name for column in LEDGER.columns)
_READ = ("identity", "user_id", "attempt", "event")
_ATTEMPTS = 5
"""Attempts of a transaction that the database ends in favor of another one."""


class LedgerTable:
    """The entries of a run in a table, which is created if it is missing.

    :param hook: of any database.
    :param name: the table, with its schema if needed.
    """

    def __init__(self, hook: DatabaseHook, name: str, facts: RunFacts) -> None:
        self._hook = hook
        self._name = name
        self._facts = facts
        self._stack = ExitStack()
        self._table: SqlTable | None = None

    def open(self) -> None:
        """Connect, and create the table if it is missing.

        :raises TableError: if it cannot be used.
        """
        connection = self._stack.enter_context(connected(self._hook))
        table = SqlTable.opened(connection, self._name, LEDGER, lambda: None)
        if table.missing:
            raise LedgerError(f"it lacks {', '.join(table.missing)}; add the columns, or name another table")
        self._table = table

    def read(self) -> Iterable[Entry]:
        """Return the entries of the run."""
        rows = self._opened.select(_READ, self._facts.key, "recorded_at", 2**62)
        for identity, user_id, attempt, event in rows:
            yield Entry(str(identity), None if user_id is None else str(user_id), int(attempt), Event(event))

    def write(self, entries: Sequence[Entry]) -> None:
        """Add entries, in one transaction."""
        rows = [
            {
                **record_of(entry, self._facts),
                "entry_id": self._id_of(entry),
                "recorded_at": datetime.fromtimestamp(entry.at, UTC),
            }
            for entry in entries
        ]
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._opened.replace({}, rows, _COLUMNS, keep=True)
            except Exception as error:
                if attempt == _ATTEMPTS or not is_conflict(error):
                    raise
            else:
                return

    def close(self) -> None:
        """Disconnect."""
        self._table = None
        self._stack.close()

    @property
    def _opened(self) -> SqlTable:
        if self._table is None:
            raise LedgerError("it is closed")
        return self._table

    def _id_of(self, entry: Entry) -> str:
        """Return what identifies an entry. It is short: not every database has a key of so many columns."""
        parts = [*self._facts.key.values(), entry.identity, entry.user_id, entry.attempt, str(entry.event)]
        return sha256(repr(parts).encode()).hexdigest()
