"""Death of a process, played inside one: from a chosen moment on nothing reaches MoEngage, the store or a file."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

from airflow_provider_moengage.api.responses import Reply
from airflow_provider_moengage.bulk.elements.checks import Finding
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.run.lane import Client


class KilledError(BaseException):
    """What every thread of a dead process gets."""


class Doom:
    """Strikes after so many moments. A moment is just before or after a request or a write of the state.

    :param moments: how many pass by; None for a long life.
    """

    def __init__(self, moments: int | None = None) -> None:
        self._left = moments
        self._lock = threading.Lock()
        self.is_dead = False

    def moment(self) -> None:
        with self._lock:
            if self._left is not None and not self.is_dead:
                self._left -= 1
                self.is_dead = self._left < 0
            if self.is_dead:
                raise KilledError


class DoomedClient:
    """A client of a process that will die."""

    def __init__(self, client: Client, doom: Doom) -> None:
        self._client = client
        self._doom = doom

    def bulk_import(self, body: bytes) -> Reply:
        self._doom.moment()
        reply = self._client.bulk_import(body)
        self._doom.moment()
        return reply

    def fork(self) -> DoomedClient:
        return DoomedClient(self._client.fork(), self._doom)

    def close(self) -> None:
        self._client.close()


class DoomedStore:
    """A store that outlives the processes that write to it."""

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None
        self.doom = Doom()
        self.writes = 0
        self.largest = 0

    def load(self) -> dict[str, Any] | None:
        return self.state

    def save(self, state: dict[str, Any]) -> None:
        self.doom.moment()
        text = json.dumps(state)
        self.state = json.loads(text)
        self.writes += 1
        self.largest = max(self.largest, len(text))
        self.doom.moment()


class DoomedRejects(Rejects):
    """Rejects that a dead process can neither flush nor publish."""

    doom = Doom()

    def add(self, position: int, element: object, findings: Sequence[Finding]) -> None:
        if self.doom.is_dead:
            raise KilledError
        super().add(position, element, findings)

    def bury(self) -> None:
        """Write what is in the buffer now, and not over what the next try writes."""
        if self._collected is not None and self._collected.stream is not None:
            self._collected.stream.close()

    def flush(self, *, is_last: bool = False) -> list[tuple[int, list[str]]]:
        self.doom.moment()
        return super().flush(is_last=is_last)

    def close(self, *, is_complete: bool = True) -> None:
        self.doom.moment()
        super().close(is_complete=is_complete)
        self.doom.moment()
