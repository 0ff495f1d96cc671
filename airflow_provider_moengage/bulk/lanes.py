"""Lanes: threads that each send one batch after the other, so that what goes through one stays in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from airflow_provider_moengage.api.responses import Reply
from airflow_provider_moengage.bulk.packing import Batch

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
        self._inbox: queue.Queue[Batch | None] = queue.Queue(_BATCHES_AHEAD)
        self._thread: threading.Thread | None = None

    def offer(self, batch: Batch, timeout: float) -> bool:
        """Hand over a batch, or say that there is no room yet. The first one starts the thread."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="moengage-lane", daemon=True)
            thread.start()
            self._thread = thread
        try:
            self._inbox.put(batch, timeout=timeout)
        except queue.Full:
            return False
        return True

    def idle(self, timeout: float) -> bool:
        """Wait until everything handed over is done, or for so long."""
        inbox = self._inbox
        with inbox.all_tasks_done:
            return inbox.all_tasks_done.wait_for(lambda: not inbox.unfinished_tasks, timeout)

    def end(self) -> None:
        """Let the thread end: at once when it waits, else with the answer that it waits for."""
        while True:
            try:
                self._inbox.put_nowait(None)
            except queue.Full:
                with suppress(queue.Empty):
                    self._inbox.get_nowait()
            else:
                return

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, or for so long."""
        if self._thread is None:
            self.client.close()
        else:
            self._thread.join(timeout)

    def _work(self) -> None:
        try:
            while (batch := self._inbox.get()) is not None:
                self._deliver(self.client, batch)
                self._inbox.task_done()
        except BaseException as error:
            self._fail(error)
        finally:
            self.client.close()
