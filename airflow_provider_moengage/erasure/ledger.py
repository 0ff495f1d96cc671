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
class _Asked:
    """The entries of one user of an identity: the events of each attempt."""

    attempts: dict[int, set[Event]] = field(default_factory=dict)

    @property
    def is_gone(self) -> bool:
        return any(Event.GONE in events for events in self.attempts.values())

    @property
    def is_done(self) -> bool:
        return self.is_gone or any(events & DONE for events in self.attempts.values())

    @property
    def is_unknown(self) -> bool:
        return not self.is_done and any(not events & _CERTAIN for events in self.attempts.values())


class History:
    """What a run has asked for so far, of each user. None stands for the users of an identity without IDs."""

    def __init__(self) -> None:
        self._identities: dict[str, dict[str | None, _Asked]] = {}

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> History:
        """Return the history that entries tell, in any order."""
        history = cls()
        for entry in entries:
            users = history._identities.setdefault(entry.identity, {})
            asked = users.setdefault(entry.user_id, _Asked())
            asked.attempts.setdefault(entry.attempt, set()).add(entry.event)
        return history

    def attempts(self, identity: str) -> int:
        """Return how often it was asked for."""
        users = self._identities.get(identity, {})
        return max((max(asked.attempts) for asked in users.values()), default=0)

    def to_ask(self, identity: str, users: frozenset[str]) -> frozenset[str] | None:
        """Return for whom an identity is to be asked for: those of its users who are not done.

        MoEngage erases the users whom it knows by an address when it gets the request. A user whom an earlier
        request does not name may not have been one of them.

        :param users: as far as they are known. Empty: it is done if any request for it is.
        :return: None: it is done.
        """
        known = self._identities.get(identity, {})
        if not users:
            is_done = any(asked.is_done for asked in known.values())
            return None if is_done else users
        return frozenset(user for user in users if user not in known or not known[user].is_done) or None

    def is_unknown(self, identity: str) -> bool:
        """Return whether a request for it may have been processed, without an answer that says so."""
        return any(asked.is_unknown for asked in self._identities.get(identity, {}).values())

    def unknown(self) -> list[str]:
        """Return the identities of which :meth:`is_unknown` is true."""
        return [identity for identity in self._identities if self.is_unknown(identity)]

    def unnamed(self, identity: str, users: frozenset[str]) -> list[str]:
        """Return those of an identity's users who have no entry."""
        return sorted(users - self._identities.get(identity, {}).keys())

    def everybody(self) -> set[str]:
        """Return all identities that were asked for."""
        return set(self._identities)

    def users(self) -> set[str]:
        """Return the IDs of all users, each once."""
        return {user for known in self._identities.values() for user in known if user is not None}

    @property
    def has_unknown_users(self) -> bool:
        """Whether the IDs of some users are not known."""
        return any(known.keys() == {None} for known in self._identities.values())

    def to_prove(self) -> dict[str, list[Entry]]:
        """Return whom to look for: an entry of each identity of whose user it is not known that they are gone.

        If that is nobody, it is everybody, without entries: an earlier proof is complete, and users may have come
        back since.
        """
        return self._unproved() or {user: [] for user in sorted(self.users())}

    def _unproved(self) -> dict[str, list[Entry]]:
        entries: dict[str, list[Entry]] = {}
        for identity, known in self._identities.items():
            for user, asked in known.items():
                if user is not None and not asked.is_gone:
                    entry = Entry(identity, user, max(asked.attempts), Event.ASKED)
                    entries.setdefault(user, []).append(entry)
        return entries


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
