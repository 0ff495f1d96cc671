"""Where a bulk task keeps what it has done: in a file, or in Airflow's state store (3.3 and later)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_moengage.bulk.resume.saved_run import SavedRun, Store
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.storage import file_to_write, write_whole
from airflow_provider_moengage.tasks.files import checkpoint_path_of_task
from airflow_provider_moengage.tasks.state import TaskLife, TaskState

_KEY = "moengage_checkpoint"

LARGEST_VALUE = 48_000
"""Characters that one value of the state store gets: Airflow warns from 64 kB on ("max_value_storage_bytes")."""


def memory_of_task(
    context: Mapping[str, Any], checkpoint_path: str | None, fingerprint: Callable[[], str]
) -> SavedRun | None:
    """Return what earlier tries of a task have left; None where nothing can be kept.

    :param checkpoint_path: URI of a folder; None: the state store, where Airflow has one.
    :param fingerprint: makes the inputs' fingerprint, where it is needed.
    """
    store: Store
    if checkpoint_path is not None:
        store = InFile(checkpoint_path_of_task(checkpoint_path, context))
    elif TaskState(context, _KEY).is_kept:
        store = InStateStore(context)
    else:
        return None
    life = TaskLife(context)
    return SavedRun(store, fingerprint(), (life.max_tries, life.retries), is_retry=life.is_retry)


class InFile:
    """A state in a file: replaced as a whole, on a disk and on an object store.

    :param path: its URI.
    """

    def __init__(self, path: str) -> None:
        self._file = file_to_write(path)

    def load(self) -> dict[str, Any] | None:
        """Return what is there.

        :raises MoEngageError: where it is not known what is there.
        """
        try:
            with self._file.open("rb") as file:
                return _read(file.read())
        except FileNotFoundError:
            return None
        except Exception as error:
            name = type(error).__name__
            raise MoEngageError(
                f"The checkpoint {self._file} could not be read ({name}); nothing was sent"
            ) from error

    def save(self, state: dict[str, Any]) -> None:
        """Replace it."""
        write_whole(self._file, json.dumps(state).encode())


class InStateStore:
    """A state in Airflow's state store. A large one takes several values: the one that names them is written last.

    :param context: the task's context.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = context
        self._head = TaskState(context, _KEY)
        self._shelf = 0

    def load(self) -> dict[str, Any] | None:
        """Return what is there."""
        head = self._head.get()
        if not head or "values" not in head:
            return head
        self._shelf = head["shelf"]
        parts = [self._value(self._shelf, number).get() for number in range(head["values"])]
        return _read("".join([part.get("text", "") if part else "" for part in parts]))

    def save(self, state: dict[str, Any]) -> None:
        """Replace it."""
        text = json.dumps(state)
        if len(text) <= LARGEST_VALUE:
            self._head.set(state)
            return
        shelf = 1 - self._shelf  # this one's values stay whole until the head points to the other
        parts = [text[start : start + LARGEST_VALUE] for start in range(0, len(text), LARGEST_VALUE)]
        for number, part in enumerate(parts):
            self._value(shelf, number).set({"text": part})
        self._head.set({"values": len(parts), "shelf": shelf})
        self._shelf = shelf

    def _value(self, shelf: int, number: int) -> TaskState:
        return TaskState(self._context, f"{_KEY}.{shelf}.{number}")


def _read(text: str | bytes) -> dict[str, Any]:
    """Read a state; empty where it is none."""
    try:
        state = json.loads(text)
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}
