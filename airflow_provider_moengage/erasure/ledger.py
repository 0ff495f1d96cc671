"""The ledger of an erasure: what was asked for, when, and what MoEngage answered. It is only ever added to.

It is the proof, and it is what a retry resumes from: an entry is written before each request and after its
response. After a kill, only the requests that were in flight have an entry without an outcome.

All lanes of a run write to it. One thread, which owns the connection or the file, writes whatever is pending at
once, so that a slow database does not slow down the lanes one by one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from airflow_provider_moengage.results.recorder import TaskRun
from airflow_provider_moengage.storage import StorageError
from airflow_provider_moengage.tables.sql_table import TableError, name_of


class Event(StrEnum):
    """What an entry says. The values are public: people query ledgers."""

    ASKED = "asked"
    """A request is about to be sent."""
    ACCEPTED = "accepted"
    NOT_FOUND = "not_found"
    """MoEngage has no such user, or not any more."""
    REFUSED = "refused"
    NOT_PROCESSED = "not_processed"
    """The request was certainly not processed: no connection, or the rate limit."""
    UNKNOWN = "unknown"
    """The request may have been processed, and must not be repeated."""
    GONE = "gone"
    """Get User has not found the user: the erasure is proved."""


NO_PROJECT = "-"
"""In the column of the project: the portfolio as a whole, or a workspace without projects. An empty text would be
NULL in Oracle."""

DONE = frozenset({Event.ACCEPTED, Event.NOT_FOUND})
_CERTAIN = frozenset({*DONE, Event.REFUSED, Event.NOT_PROCESSED})


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, of one user or, without IDs, of one identity.

    :param identity: what identified the user in the request.
    :param user_id: the user's ID, if it is known.
    :param attempt: number of the request for this identity, from 1.
    :param at: UTC epoch seconds.
    :param status_code: HTTP status of the response.
    :param request_id: MoEngage's ID of the request.
    """

    identity: str
    user_id: str | None
    attempt: int
    event: Event
    at: float = 0.0
    status_code: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What all entries of a run have in common.

    :param run: the try of the task.
    :param project_code: the project of a portfolio; None: the portfolio as a whole.
    """

    run: TaskRun
    workspace_id: str
    method: str
    identity_type: str
    project_code: str | None = None

    @property
    def key(self) -> dict[str, Any]:
        """What a try's entries and those of the tries before it have in common.

        An entry of another workspace, project, method or kind of identity is about another person, or another
        request: a retry with other arguments neither continues it nor counts it as done.
        """
        return {
            **self.run.key,
            "workspace_id": self.workspace_id,
            "project_code": self.project_code or NO_PROJECT,
            "method": self.method,
            "identity_type": self.identity_type,
        }


class LedgerError(Exception):
    """A ledger cannot be used. The message has no value and no text of the database."""


class LedgerStore(Protocol):
    """Where entries are. Used by one thread only, and only between ``open`` and ``close``."""

    def open(self) -> None:
        """Open it, and create it if it is missing.

        :raises Exception: of any kind.
        """

    def read(self) -> Iterable[Entry]:
        """Return the entries of the task's run, of all of its tries."""

    def write(self, entries: Sequence[Entry]) -> None:
        """Add entries; returns when they are stored."""

    def close(self) -> None:
        """Close it."""


class Ledger:
    """The ledger of a run, for all threads of this process.

    :param store: where its entries are.
    """

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="moengage-ledger")
        self._lock = threading.Lock()
        self._pending: list[Entry] = []
        self._failure: BaseException | None = None

    def open(self) -> History:
        """Open it, and return what earlier tries have left."""
        return self._thread.submit(self._open).result()

    def write(self, entries: Iterable[Entry]) -> None:
        """Add entries; returns when they are stored.

        :raises LedgerError: if they cannot be stored; then it takes no more.
        :raises StorageError: the same, of a file.
        """
        with self._lock:
            self._pending += entries
        self._thread.submit(self._flush).result()

    def close(self) -> None:
        """Close it, after what is pending was written."""
        try:
            self._thread.submit(self._store.close).result()
        finally:
            self._thread.shutdown(wait=False)

    def _open(self) -> History:
        with _named():
            self._store.open()
            return History.of(self._store.read())

    def _flush(self) -> None:
        if self._failure is not None:
            raise self._failure
        with self._lock:
            entries, self._pending = self._pending, []
        if entries:
            try:
                with _named():
                    self._store.write(entries)
            except BaseException as error:
                self._failure = error
                raise


@contextmanager
def _named() -> Iterator[None]:
    """Raise a :class:`LedgerError` for each error of a database."""
    try:
        yield
    except (LedgerError, StorageError):
        raise
    except TableError as error:
        raise LedgerError(str(error)) from None
    except Exception as error:  # noqa: BLE001 (every driver has its own)
        is_duplicate = any(kind.__name__ == "IntegrityError" for kind in type(error).__mro__)
        why = "; another try of this task may be adding the same entries" if is_duplicate else ""
        raise LedgerError(f"the database refused it ({name_of(error)}){why}") from None


@dataclass(slots=True)
class _Identity:
    attempts: dict[int, set[Event]] = field(default_factory=dict)
    users: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)


class History:
    """What a run has asked for so far."""

    def __init__(self) -> None:
        self._identities: dict[str, _Identity] = {}

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> History:
        """Return the history that entries tell, in any order."""
        history = cls()
        for entry in entries:
            known = history._identities.setdefault(entry.identity, _Identity())
            known.attempts.setdefault(entry.attempt, set()).add(entry.event)
            if entry.user_id is not None:
                known.users.add(entry.user_id)
                if entry.event is Event.GONE:
                    known.gone.add(entry.user_id)
        return history

    def attempts(self, identity: str) -> int:
        """Return how often it was asked for."""
        known = self._identities.get(identity)
        return 0 if known is None else max(known.attempts)

    def is_done(self, identity: str) -> bool:
        """Return whether MoEngage has accepted its erasure, or has no such users."""
        known = self._identities.get(identity)
        if known is None:
            return False
        is_proved = bool(known.users) and known.users <= known.gone
        return is_proved or any(events & DONE for events in known.attempts.values())

    def is_unknown(self, identity: str) -> bool:
        """Return whether a request for it may have been processed, without an answer that says so."""
        known = self._identities.get(identity)
        if known is None or self.is_done(identity):
            return False
        return any(not events & _CERTAIN for events in known.attempts.values())

    def unknown(self) -> dict[str, frozenset[str]]:
        """Return the identities of which :meth:`is_unknown` is true, with the IDs of their users."""
        return {
            identity: frozenset(known.users)
            for identity, known in self._identities.items()
            if self.is_unknown(identity)
        }

    def everybody(self) -> set[str]:
        """Return all identities that were asked for."""
        return set(self._identities)

    @property
    def user_count(self) -> int:
        """The number of users; one with several identities counts once for each."""
        return sum(len(known.users) for known in self._identities.values())

    @property
    def has_unknown_users(self) -> bool:
        """Whether the IDs of some users are not known."""
        return any(not known.users for known in self._identities.values())

    def unproved(self) -> Iterator[Entry]:
        """Yield an entry of each user who is not known to be gone, of the last attempt."""
        for identity, known in self._identities.items():
            for user in sorted(known.users - known.gone):
                yield Entry(identity, user, max(known.attempts), Event.ASKED)


def record_of(entry: Entry, facts: RunFacts) -> dict[str, Any]:
    """Return the columns of an entry, without its time and what identifies it."""
    return {
        **facts.key,
        "try_number": facts.run.try_number,
        "identity": entry.identity,
        "user_id": entry.user_id,
        "attempt": entry.attempt,
        "event": str(entry.event),
        "status_code": entry.status_code,
        "request_id": entry.request_id,
    }
