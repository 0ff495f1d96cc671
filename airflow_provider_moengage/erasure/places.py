"""Where a ledger is: a table of a database, or a file on a disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow_provider_moengage.erasure.ledger import Ledger, LedgerError, LedgerStore, RunFacts
from airflow_provider_moengage.erasure.ledger_file import LedgerFile
from airflow_provider_moengage.erasure.ledger_table import LedgerTable
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.hooks.errors import storage_failure
from airflow_provider_moengage.sources.sql_stream import database_hook
from airflow_provider_moengage.storage import StorageError


@dataclass(frozen=True, slots=True)
class LedgerPlace:
    """A table of a connection, or the path of a file."""

    conn_id: str | None = None
    table: str | None = None
    path: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> LedgerPlace:
        """Return the place that :meth:`to_dict` returned."""
        return cls(given.get("conn_id"), given.get("table"), given.get("path"))

    def to_dict(self) -> dict[str, str]:
        """Return it for an XCom."""
        given = {"conn_id": self.conn_id, "table": self.table, "path": self.path}
        return {name: value for name, value in given.items() if value is not None}

    def __str__(self) -> str:
        if self.path is not None:
            return f"ledger_path {self.path!r}"
        return f"ledger_table {self.table!r} of connection {self.conn_id!r}"

    def ledger(self, facts: RunFacts) -> Ledger:
        """Return the ledger of a run, which is to be opened.

        :raises ValueError: if the connection is not to a database.
        """
        store: LedgerStore
        if self.path is not None:
            store = LedgerFile(self.path, facts)
        else:
            store = LedgerTable(database_hook(str(self.conn_id)), str(self.table), facts)
        return Ledger(store)

    @contextmanager
    def failures(self, so_far: Callable[[], str]) -> Iterator[None]:
        """Raise the provider's exception for an error of the ledger.

        :param so_far: returns what was done and what was not, as the end of a sentence.
        """
        try:
            yield
        except LedgerError as error:
            raise MoEngageError(f"{self}: {error}; {so_far()}") from None
        except StorageError as error:
            raise storage_failure(error, so_far()) from None
