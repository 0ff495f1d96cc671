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


class TaskLife:
    """From the first try of a task instance, or its first after a Clear, to the next Clear. Airflow raises
    ``max_tries`` at a Clear, and for no retry.

    :param context: the task's context.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        ti = context.get("ti")
        self.max_tries = getattr(ti, "max_tries", None)
        self.retries = getattr(context.get("task"), "retries", None)
        self._try_number = getattr(ti, "try_number", None)

    @property
    def is_retry(self) -> bool:
        """Whether this is not the first try, nor the first after a Clear: fewer than all retries are left."""
        if self.max_tries is None or self._try_number is None or self.retries is None:
            return False
        return bool(self.max_tries - (self._try_number - 1) < self.retries)
