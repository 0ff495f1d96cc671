"""Lanes: threads that each send one batch after the other, so that elements within a lane stay in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

from airflow_provider_moengage.api.responses import Reply
from airflow_provider_moengage.api.users.cohorts import LARGEST_BODY as LARGEST_COHORT_BODY
from airflow_provider_moengage.api.users.cohorts import Cohort
from airflow_provider_moengage.bulk.batch import ENVELOPE_BYTES, Batch
from airflow_provider_moengage.bulk.elements.rules import LARGEST_BODY
from airflow_provider_moengage.bulk.elements.weight import budgets

_BATCHES_AHEAD = 2
"""Batches that may wait for each lane."""


class Client(Protocol):
    """The part of MoEngage's API that a lane needs."""

    def bulk_import(self, body: bytes) -> Reply:
        """Send one body."""

    def delete_user(self, body: bytes) -> Reply:
        """Send the deletion of one user."""

    def request_erasure(self, body: bytes) -> Reply:
        """Send a request to erase a user by OpenGDPR."""

    def sync_cohort(self, body: bytes) -> Reply:
        """Add members to a segment, or remove some."""

    def fork(self) -> Client:
        """Return another client, for another thread."""

    def close(self) -> None:
        """Close its connections."""


class Request(NamedTuple):
    """How a batch is sent.

    :param envelope_bytes: bytes of a body around its elements.
    :param largest_body: bytes.
    :param is_unit: whether the limit counts requests, not what is in them.
    """

    body: Callable[[Batch], bytes]
    send: Callable[[Client, bytes], Reply]
    envelope_bytes: int = ENVELOPE_BYTES
    largest_body: int = LARGEST_BODY
    is_unit: bool = False

    def cost(self, batch: Batch) -> tuple[int, int]:
        """Return what a batch takes of the two limits."""
        return (1, 0) if self.is_unit else budgets(batch.weights)


BULK_IMPORT = Request(lambda batch: batch.body, lambda client, body: client.bulk_import(body))
DELETION = Request(lambda batch: batch.parts[0], lambda client, body: client.delete_user(body))
"""For a batch of one user."""

DELETING_LANES = 16
"""Lanes that delete users. 5,000 requests a minute of 100 ms each need nine lanes, and twelve with two writes of a
ledger each; some requests take longer."""


class Requests(NamedTuple):
    """The requests of a run: for its elements, and for users who have left."""

    elements: Request = BULK_IMPORT
    removals: Request = BULK_IMPORT


BULK = Requests()


def cohort_request(cohort: Cohort, action: str) -> Request:
    """Return the request that adds members to a segment, or removes them.

    :param action: ``add_members`` or ``remove_members``.
    """
    before, after = cohort.envelope(action)
    return Request(
        lambda batch: before + b",".join(batch.parts) + after,
        lambda client, body: client.sync_cohort(body),
        len(before) + len(after),
        LARGEST_COHORT_BODY,
        is_unit=True,
    )


class Job(NamedTuple):
    """What a lane is asked to do."""

    batch: Batch
    reply: Reply | None = None
    """MoEngage's answer if the reader has sent the batch already, and it was not accepted."""


class Lane:
    """A thread that sends batches one after the other, over a connection of its own.

    It has no lock: reader and thread talk over simple queues. A signal handler may raise in the reader at any
    moment, so nothing may stay locked, and ending a lane must never wait.

    :param deliver: sends a job's batch over a client, until each element is accepted or rejected.
    :param client: the lane's own.
    :param fail: called with the error that has ended the thread.
    """

    def __init__(
        self,
        deliver: Callable[[Client, Job], None],
        client: Client,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._deliver = deliver
        self.client = client
        self._fail = fail
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._undone = 0
        for _ in range(_BATCHES_AHEAD):
            self._room.put(None)
        self._thread: threading.Thread | None = None

    def offer(self, job: Job, timeout: float) -> bool:
        """Hand over a job; return False if there is no room yet. The first one starts the thread."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="moengage-lane", daemon=True)
            thread.start()
            self._thread = thread
        try:
            self._room.get(timeout=timeout)
        except queue.Empty:
            return False
        self._undone += 1
        self._inbox.put(job)
        return True

    def idle(self, timeout: float) -> bool:
        """Wait until all jobs are done; return False if none was done within the timeout."""
        while self._undone:
            try:
                self._done.get(timeout=timeout)
            except queue.Empty:
                return False
            self._undone -= 1
        return True

    def end(self) -> None:
        """Let the thread end: after its jobs, or at once if the run is stopped."""
        self._inbox.put(None)

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, at most for the timeout."""
        if self._thread is None:
            self.client.close()
        else:
            self._thread.join(timeout)

    def _work(self) -> None:
        try:
            while (job := self._inbox.get()) is not None:
                self._room.put(None)
                self._deliver(self.client, job)
                self._done.put(None)
        except BaseException as error:  # noqa: BLE001 (the reader's thread raises it)
            self._fail(error)
        finally:
            self.client.close()
