"""The state that one try of a task leaves for the next, in Airflow's state store (3.3 and later)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ABSENT: Any = object()


class TaskState:
    """A value that survives retries, lost workers and a Clear, under one key.

    Before Airflow 3.3 there is no store: then nothing is stored, and :attr:`is_kept` is false.

    :param context: the task's context.
    :param key: the name of the value.
    """

    def __init__(self, context: Mapping[str, Any], key: str) -> None:
        self._store = context["task_state_store"] if "task_state_store" in context else None  # noqa: SIM401
        self._key = key

    @property
    def is_kept(self) -> bool:
        """Whether there is a store."""
        return self._store is not None

    def get(self) -> dict[str, Any] | None:
        """Return the value of an earlier try: None if there is none, empty if it is not readable."""
        value = self._store.get(self._key, _ABSENT) if self._store is not None else _ABSENT
        if value is _ABSENT:
            return None
        return value if isinstance(value, dict) else {}

    def set(self, value: dict[str, Any]) -> None:
        """Store a JSON-ready value. Returns once it is stored."""
        if self._store is not None:
            self._store.set(self._key, value)

    def forget(self) -> None:
        """Delete the value."""
        if self._store is not None:
            self._store.delete(self._key)


class ClearEpoch:
    """The tries of a task instance between two Clears. Airflow raises ``max_tries`` on a Clear but not on a retry.

    :param context: the task's context.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        ti = context.get("ti")
        self.max_tries = getattr(ti, "max_tries", None)
        self.retries = getattr(context.get("task"), "retries", None)
        self._try_number = getattr(ti, "try_number", None)

    @property
    def is_cleared(self) -> bool:
        """Whether the task instance was cleared after it had run: it may try more often than at first."""
        if self.max_tries is None or self.retries is None:
            return False
        return bool(self.max_tries > self.retries)

    @property
    def is_retry(self) -> bool:
        """Whether this is neither the first try nor the first after a Clear: some retries are already used."""
        if self.max_tries is None or self._try_number is None or self.retries is None:
            return False
        return bool(self.max_tries - (self._try_number - 1) < self.retries)
