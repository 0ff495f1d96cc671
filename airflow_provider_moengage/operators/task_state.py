"""What one try of a task leaves for the next: Airflow's state store where there is one (3.3 and later)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ABSENT: Any = object()


class TaskState:
    """A value that survives retries, lost workers and a person's Clear, under one key.

    Before Airflow 3.3 there is no store: then nothing is remembered, and :attr:`is_kept` says so.

    :param context: the task's context.
    :param key: what the value is called.
    """

    def __init__(self, context: Mapping[str, Any], key: str) -> None:
        self._store = context["task_state_store"] if "task_state_store" in context else None  # noqa: SIM401
        self._key = key

    @property
    def is_kept(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    def get(self) -> dict[str, Any] | None:
        """Return what an earlier try has left: None for nothing, empty where it cannot be read any more."""
        value = self._store.get(self._key, _ABSENT) if self._store is not None else _ABSENT
        if value is _ABSENT:
            return None
        return value if isinstance(value, dict) else {}

    def set(self, value: dict[str, Any]) -> None:
        """Leave a JSON-ready value. Returns when it is stored."""
        if self._store is not None:
            self._store.set(self._key, value)

    def forget(self) -> None:
        """Leave nothing."""
        if self._store is not None:
            self._store.delete(self._key)
