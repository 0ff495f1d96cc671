"""Stores the state of a run: one write at a time, and one write for all threads that wait (group commit)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from airflow_provider_moengage.bulk.clock import Log
from airflow_provider_moengage.bulk.resume.fence import FencedError
from airflow_provider_moengage.storage import StorageError, cause_of


class NotStoredError(Exception):
    """The state could not be stored, and nothing may be sent without it. The text is the cause."""


class Writer:
    """Stores snapshots of a run's state.

    :attr:`lock` is the only lock of a checkpoint. It guards the ledger, and makes a snapshot of ledger and
    counters consistent. It is taken before ``Counters`` and ``Pacer`` take theirs, never while one of them is
    held. No I/O happens under it: a store may take seconds, and the other lanes continue meanwhile.

    :param save: stores a state; returns when it is stored.
    :param prepare: called before each snapshot, without the lock; its argument is True for the last one. If its
        storage fails, the state is stored all the same, and then the error is raised.
    :param snapshot: returns the state; called with the lock held.
    :param log: gets a warning when the store fails.
    :param is_required: a failure to store raises. Otherwise it raises only for the first state of a run.
    """

    def __init__(
        self,
        save: Callable[[dict[str, Any]], None],
        prepare: Callable[[bool], None],
        snapshot: Callable[[], dict[str, Any]],
        log: Log,
        *,
        is_required: bool,
    ) -> None:
        self.lock = threading.Condition()
        self.has_stored = False
        """Whether the store holds a state of this run."""
        self._save_state = save
        self._prepare = prepare
        self._snapshot = snapshot
        self._log = log
        self._is_required = is_required
        self._changes = 0
        self._stored_changes = 0
        self._is_storing = False
        self._is_failing = False
        self.is_closed = False

    def note_change(self) -> None:
        """Record that the stored state is outdated. Called with the lock held."""
        self._changes += 1

    def flush(self, *, is_last: bool = False) -> None:
        """Return when a state with all changes so far is stored, by this thread or another one.

        :raises NotStoredError: if it could not be stored and nothing may be sent without it.
        :raises StorageError: if ``prepare`` has raised it.
        :raises FencedError: if a later try of the task has taken over; ``prepare`` may find out, too.
        """
        with self.lock:
            wanted = self._changes
            while self._is_storing and self._stored_changes < wanted:
                self.lock.wait()
            if self.is_closed or self._stored_changes >= wanted:
                return
            self._is_storing = True
        stored = self._stored_changes
        failed: StorageError | None = None
        try:
            try:
                self._prepare(is_last)
            except StorageError as error:
                failed = error
            except FencedError:
                self.is_closed = True
                raise
            with self.lock:
                changes, state = self._changes, self._snapshot()
            self._save(state)
            self.has_stored = True
            stored = changes
        finally:
            with self.lock:
                self._is_storing = False
                self._stored_changes = stored
                self.lock.notify_all()
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Return when no write is running; none starts after that."""
        with self.lock:
            self.is_closed = True
            self.lock.wait_for(lambda: not self._is_storing)

    def _save(self, state: dict[str, Any]) -> None:
        try:
            self._save_state(state)
        except FencedError:
            self.is_closed = True  # what the later try stores must stay
            raise
        except Exception as error:  # noqa: BLE001 (each storage has errors of its own)
            if self._is_required or not self.has_stored:
                raise NotStoredError(cause_of(error)) from None
            if not self._is_failing:
                self._log.warning(
                    "The checkpoint could not be stored (%s). If this try ends early, the next one will resend"
                    " what was accepted since the last checkpoint",
                    cause_of(error),
                )
            self._is_failing = True
        else:
            self._is_failing = False
