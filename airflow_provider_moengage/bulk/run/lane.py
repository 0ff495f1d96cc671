"""Lanes: threads that each send one batch after the other, so that what goes through one stays in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Protocol

from airflow_provider_moengage.api.responses import Reply
from airflow_provider_moengage.bulk.batch import Batch

_BATCHES_AHEAD = 2
"""Batches that may wait for each lane."""


class Client(Protocol):
    """What a lane needs of MoEngage's API."""

    def bulk_import(self, body: bytes) -> Reply:
        """Send one body."""

    def fork(self) -> Client:
        """Return another client, for another thread."""

    def close(self) -> None:
        """Give its connections back."""


class Lane:
    """A thread that sends batches one after the other, over a connection of its own.

    :param deliver: sends one batch over a client, until nothing of it is left.
    :param client: the lane's own.
    :param fail: told what ended the thread before its time.
    """

    def __init__(
        self,
        deliver: Callable[[Client, Batch], None],
        client: Client,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._deliver = deliver
        self.client = client
        self._fail = fail
        # Simple queues, for the reader may be interrupted by a signal's exception at any moment: no lock of theirs
        # stays taken, and ending a lane never waits.
        self._inbox: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._undone = 0
        for _ in range(_BATCHES_AHEAD):
            self._room.put(None)
        self._thread: threading.Thread | None = None

    def offer(self, batch: Batch, timeout: float) -> bool:
        """Hand over a batch, or say that there is no room yet. The first one starts the thread."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="moengage-lane", daemon=True)
            thread.start()
            self._thread = thread
        try:
            self._room.get(timeout=timeout)
        except queue.Empty:
            return False
        self._undone += 1
        self._inbox.put(batch)
        return True

    def idle(self, timeout: float) -> bool:
        """Wait until everything handed over is done, or until nothing was for so long."""
        while self._undone:
            try:
                self._done.get(timeout=timeout)
            except queue.Empty:
                return False
            self._undone -= 1
        return True

    def end(self) -> None:
        """Let the thread end: when what was handed over is done, or else at once where the run is stopped."""
        self._inbox.put(None)

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, or for so long."""
        if self._thread is None:
            self.client.close()
        else:
            self._thread.join(timeout)

    def _work(self) -> None:
        try:
            while (batch := self._inbox.get()) is not None:
                self._room.put(None)
                self._deliver(self.client, batch)
                self._done.put(None)
        except BaseException as error:
            self._fail(error)
        finally:
            self.client.close()
