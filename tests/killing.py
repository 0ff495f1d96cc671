"""Kills a process inside a test: from a chosen point on, nothing reaches MoEngage, the store or a file.

A kill point is just before or just after a request, or a write of the state or of rejects.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_provider_moengage.api.responses import Reply
from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.run.lane import Client
from airflow_provider_moengage.storage import StorageError


class KilledError(BaseException):
    """Raised in every thread of a killed process."""


class KillSwitch:
    """Kills the process at its n-th kill point.

    :param points: kill points that pass before; None: it is never killed.
    """

    def __init__(self, points: int | None = None) -> None:
        self._left = points
        self._lock = threading.Lock()
        self._idle = threading.Condition()
        self._requests = 0
        self.is_killed = False

    def point(self) -> None:
        """Pass a kill point."""
        with self._lock:
            if self._left is not None and not self.is_killed:
                self._left -= 1
                self.is_killed = self._left < 0
            if self.is_killed:
                raise KilledError

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request while it is in flight."""
        with self._idle:
            self._requests += 1
        try:
            yield
        finally:
            with self._idle:
                self._requests -= 1
                self._idle.notify_all()

    def wait_for_requests(self) -> None:
        """Wait until MoEngage has what was in flight at the kill. Later it would mix with the next try's requests,
        and each user's order would be lost.
        """
        with self._idle:
            self._idle.wait_for(lambda: not self._requests, timeout=10.0)


class KillableClient:
    """A client of a process that may be killed."""

    def __init__(self, client: Client, switch: KillSwitch) -> None:
        self._client = client
        self._switch = switch

    def bulk_import(self, body: bytes) -> Reply:
        with self._switch.request():  # before the point: a thread must not pass it and send after the wait
            self._switch.point()
            reply = self._client.bulk_import(body)
        self._switch.point()
        return reply

    def delete_user(self, body: bytes) -> Reply:
        with self._switch.request():
            self._switch.point()
            reply = self._client.delete_user(body)
        self._switch.point()
        return reply

    def request_erasure(self, body: bytes) -> Reply:
        with self._switch.request():
            self._switch.point()
            reply = self._client.request_erasure(body)
        self._switch.point()
        return reply

    def sync_cohort(self, body: bytes) -> Reply:
        with self._switch.request():
            self._switch.point()
            reply = self._client.sync_cohort(body)
        self._switch.point()
        return reply

    def fork(self) -> KillableClient:
        return KillableClient(self._client.fork(), self._switch)

    def close(self) -> None:
        self._client.close()


class KillableStore:
    """A store that outlives the processes that write to it."""

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None
        self.switch = KillSwitch()
        self.writes = 0
        self.largest = 0

    def load(self) -> dict[str, Any] | None:
        return self.state

    def save(self, state: dict[str, Any]) -> None:
        self.switch.point()
        text = json.dumps(state)
        self.state = json.loads(text)
        self.writes += 1
        self.largest = max(self.largest, len(text))
        self.switch.point()


class KillableRejects(Rejects):
    """Rejects that a killed process can neither flush nor publish."""

    switch = KillSwitch()

    def add(self, position: int, element: object, findings: Sequence[Finding]) -> None:
        if self.switch.is_killed:
            raise KilledError
        super().add(position, element, findings)

    def close_stream(self) -> None:
        """Write what is buffered now, before the next try writes."""
        if self._collected is not None and self._collected.stream is not None:
            self._collected.stream.close()

    def flush(self, **how: Any) -> list[tuple[int, list[str]]]:
        self.switch.point()
        return super().flush(**how)

    def close(self, *, is_complete: bool = True) -> list[StorageError]:
        self.switch.point()
        useless = super().close(is_complete=is_complete)
        self.switch.point()
        return useless
