"""A task instance as an operator sees it over several tries, without a scheduler."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any


class Store(dict[str, Any]):
    """Airflow's task state store as a task sees it. Values pass through JSON."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.pop(key, None)


class Baton(Store):
    """A store whose operations two threads, a and b, do in a given order."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order = list(order)
        self.turn = threading.Condition()

    def step(self, work: Callable[[], Any]) -> Any:
        """Do some work when it is this thread's turn, as one step."""
        name = threading.current_thread().name
        with self.turn:
            self.turn.wait_for(lambda: name not in self.order or self.order[0] == name, timeout=10)
            try:
                return work()
            finally:
                if self.order and self.order[0] == name:
                    self.order.pop(0)
                self.turn.notify_all()

    def get(self, key: str, default: Any = None) -> Any:
        return self.step(lambda: dict.get(self, key, default))

    def set(self, key: str, value: Any) -> None:
        self.step(lambda: Store.set(self, key, value))

    def leave(self) -> None:
        """Let the other thread go on."""
        with self.turn:
            self.order = [name for name in self.order if name != threading.current_thread().name]
            self.turn.notify_all()


class Task:
    """A task instance over several tries. A Clear raises ``max_tries``, as Airflow does.

    :param has_store: whether it has a state store, as in Airflow 3.3 and later.
    """

    def __init__(self, *, has_store: bool = True, retries: int = 3, began: datetime | None = None) -> None:
        self.store = Store() if has_store else None
        self.max_tries = self.retries = retries
        self.try_number = 1
        self.start_date = datetime.now(UTC)
        self.began = began or self.start_date - timedelta(seconds=1)
        self.first_reschedule: datetime | None = None
        self.xcom: dict[str, Any] = {}
        self.map_index = -1
        self.run_id = "a_run"

    def retry(self) -> None:
        self.try_number += 1

    def clear(self) -> None:
        self.max_tries = self.try_number + self.retries
        self.try_number += 1

    @property
    def context(self) -> Any:
        ti = SimpleNamespace(
            max_tries=self.max_tries,
            try_number=self.try_number,
            start_date=self.start_date,
            dag_id="a_dag",
            task_id="a_task",
            run_id=self.run_id,
            map_index=self.map_index,
            xcom_push=lambda key, value: self.xcom.update({key: value}),
            get_first_reschedule_date=lambda context: self.first_reschedule,
        )
        context: dict[str, Any] = {
            "ti": ti,
            "task": SimpleNamespace(retries=self.retries),
            "dag_run": SimpleNamespace(start_date=self.began),
            "ds": "2026-01-01",
            "params": {"title": "Dune"},
        }
        if self.store is not None:
            context["task_state_store"] = self.store
        return context
