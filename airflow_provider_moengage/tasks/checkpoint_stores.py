"""Stores the checkpoint of a bulk task in a file, or in Airflow's state store (3.3 and later)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from airflow_provider_moengage.bulk.resume.fence import Fence
from airflow_provider_moengage.bulk.resume.saved_run import SavedRun, Store
from airflow_provider_moengage.storage import file_to_write, named, remove_leftovers, write_whole
from airflow_provider_moengage.tasks.files import checkpoint_path_of_task
from airflow_provider_moengage.tasks.state import ClearEpoch, TaskState

_KEY = "moengage_checkpoint"

LARGEST_VALUE = 48_000
"""Characters per value of the state store: Airflow warns above 64 kB ("max_value_storage_bytes")."""


def saved_run_of_task(
    context: Mapping[str, Any], checkpoint_path: str | None, fingerprint: Callable[[], str]
) -> SavedRun | None:
    """Return what earlier tries of a task stored; None if there is no place to store it.

    :param checkpoint_path: URI of a folder; None: the state store, if this Airflow has one.
    :param fingerprint: computes the fingerprint of the inputs; not called if there is no place to store it.
    :raises StorageError: if it cannot be read, or nothing can be stored.
    """
    store: Store
    fence: Fence
    if checkpoint_path is not None:
        path = checkpoint_path_of_task(checkpoint_path, context)
        fence, store = Fence(FileStore(f"{path}.fence")), FileStore(path)
    elif TaskState(context, _KEY).is_kept:
        fence, store = Fence(_Value(TaskState(context, f"{_KEY}.fence"))), StateStore(context)
    else:
        return None
    epoch = ClearEpoch(context)
    epochs = (epoch.max_tries, epoch.retries)
    return SavedRun(store, fingerprint(), epochs, is_retry=epoch.is_retry, fence=fence)


class _Value:
    """A small document in one value of the state store."""

    def __init__(self, state: TaskState) -> None:
        self._state = state

    def load(self) -> dict[str, Any] | None:
        with _state_store("read"):
            return self._state.get()

    def save(self, state: dict[str, Any]) -> None:
        with _state_store("written"):
            self._state.set(state)


class FileStore:
    """Stores a checkpoint in a file, which is always replaced as a whole. Creating a store removes what a killed
    try has left of a replacement.

    :param path: its URI.
    :raises StorageError: if its folder cannot be created.
    """

    def __init__(self, path: str) -> None:
        self._file = file_to_write(path, "checkpoint_path")
        remove_leftovers(self._file)

    def load(self) -> dict[str, Any] | None:
        """Return the checkpoint; None if there is none.

        :raises StorageError: if the file cannot be read.
        """
        with named("checkpoint_path", self._file, "read"):
            try:
                with self._file.open("rb") as file:
                    return _read(file.read())
            except FileNotFoundError:
                return None

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint.

        :raises StorageError: if the file cannot be written.
        """
        with named("checkpoint_path", self._file, "written"):
            write_whole(self._file, json.dumps(state).encode())


class StateStore:
    """Stores a checkpoint in Airflow's state store. A large one takes several values and a head that lists them,
    which is written last. Values that no head lists are removed, because they may contain keys of rows: when a
    small checkpoint replaces a large one, and by the next try if this one is killed before it has done so.

    :param context: the task's context.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = context
        self._head = TaskState(context, _KEY)
        self._slot = 0
        self._is_large = False

    def load(self) -> dict[str, Any] | None:
        """Return the checkpoint; None if there is none.

        :raises StorageError: if the store fails.
        """
        with _state_store("read"):
            return self._load()

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint.

        :raises StorageError: if the store fails.
        """
        with _state_store("written"):
            self._save(state)

    def _load(self) -> dict[str, Any] | None:
        head = self._head.get()
        if not head or "values" not in head:
            self._remove(0, 1)
            return head
        self._slot = head["shelf"]
        self._remove(1 - self._slot)
        self._is_large = True
        parts = [self._value(self._slot, number).get() for number in range(head["values"])]
        return _read("".join([part.get("text", "") if part else "" for part in parts]))

    def _save(self, state: dict[str, Any]) -> None:
        text = json.dumps(state)
        if len(text) <= LARGEST_VALUE:
            self._head.set(state)
            if self._is_large:
                self._is_large = False
                self._remove(0, 1)
            return
        slot = 1 - self._slot  # the values of the current slot stay intact until the head lists the other slot
        parts = [text[start : start + LARGEST_VALUE] for start in range(0, len(text), LARGEST_VALUE)]
        for number, part in enumerate(parts):
            self._value(slot, number).set({"text": part})
        self._head.set({"values": len(parts), "shelf": slot})
        self._slot = slot
        self._is_large = True

    def _remove(self, *slots: int) -> None:
        for slot in slots:
            number = 0
            while (value := self._value(slot, number)).get() is not None:
                value.forget()
                number += 1

    def _value(self, slot: int, number: int) -> TaskState:
        return TaskState(self._context, f"{_KEY}.{slot}.{number}")


def _state_store(done: str) -> AbstractContextManager[None]:
    return named("Airflow's state store, key", _KEY, done)


def _read(text: str | bytes) -> dict[str, Any]:
    """Return a checkpoint from its JSON; empty if it is not one."""
    try:
        state = json.loads(text)
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}
