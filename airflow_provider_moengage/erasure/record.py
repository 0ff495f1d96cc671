"""Records in the ledger what becomes of each request, while the requests are sent."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airflow_provider_moengage.api.responses import Outcome, Reply
from airflow_provider_moengage.api.users.deletion import is_gone
from airflow_provider_moengage.bulk.batch import Batch
from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.rules import Code
from airflow_provider_moengage.bulk.resume.counters import Counters
from airflow_provider_moengage.bulk.run.lane import Client
from airflow_provider_moengage.erasure.ledger import Entry, Event, Ledger

_REFUSALS = (Outcome.REFUSED, Outcome.UNCLEAR, Outcome.TOO_LARGE)


@dataclass(frozen=True, slots=True)
class Erasure:
    """What one request erases.

    :param users: IDs, as far as they are known.
    :param attempts: how often it was asked for before.
    """

    identity: str
    users: frozenset[str]
    attempts: int = 0


class ErasureRecord:
    """The record of a try. For the sender, this is the checkpoint, and gets what is refused.

    :param ledger: is written before each request, and after its response.
    :param erasures: what is to be asked for; a position is an index of it.
    :param counters: are told that requests were accepted.
    :param now: returns the time, in UTC epoch seconds.
    """

    def __init__(
        self, ledger: Ledger, erasures: Sequence[Erasure], counters: Counters, now: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._erasures = erasures
        self._counters = counters
        self._now = now
        self._lock = threading.Lock()
        self._attempts = [erasure.attempts for erasure in erasures]
        self._replies: dict[bytes, Reply] = {}
        self.counts: Counter[Event] = Counter()
        """How many requests ended with each outcome in this try."""

    def noting(self, send: Callable[[Client, bytes], Reply]) -> Callable[[Client, bytes], Reply]:
        """Return what sends a body and notes the response, which the ledger gets."""

        def sent(client: Client, body: bytes) -> Reply:
            reply = send(client, body)
            with self._lock:
                self._replies[body] = reply
            return reply

        return sent

    def announce(self, batch: Batch) -> None:
        """Record that a request is about to be sent; returns when it may be."""
        [position] = batch.positions
        self._attempts[position] += 1
        self._write(position, Event.ASKED, None)

    def withdraw(self, batch: Batch) -> None:
        """Record that a request was certainly not processed, or refused."""
        reply = self._reply_to(batch)
        is_refused = reply is not None and reply.outcome in _REFUSALS
        self._write(batch.positions[0], Event.REFUSED if is_refused else Event.NOT_PROCESSED, reply)

    def accept(self, batch: Batch) -> None:
        """Record that MoEngage has accepted a request, or has no such user."""
        reply = self._reply_to(batch)
        event = Event.NOT_FOUND if reply is not None and is_gone(reply) else Event.ACCEPTED
        self._write(batch.positions[0], event, reply)
        self._count(event)
        self._counters.count_removed(1)

    def add(self, position: int, element: object, findings: Sequence[Finding]) -> None:  # noqa: ARG002 (rejects)
        """Record that a user was not erased: MoEngage refused it, or the outcome is unknown."""
        is_unknown = any(finding.code == Code.OUTCOME_UNKNOWN for finding in findings)
        if is_unknown:
            self._write(position, Event.UNKNOWN, None)
        self._count(Event.UNKNOWN if is_unknown else Event.REFUSED)

    def _count(self, event: Event) -> None:
        with self._lock:
            self.counts[event] += 1

    def _reply_to(self, batch: Batch) -> Reply | None:
        with self._lock:
            return self._replies.pop(batch.parts[0], None)

    def _write(self, position: int, event: Event, reply: Reply | None) -> None:
        erasure = self._erasures[position]
        users: Sequence[str | None] = sorted(erasure.users) or [None]
        at, attempt = self._now(), self._attempts[position]
        status = None if reply is None else reply.status_code
        request_id = None if reply is None else reply.request_id
        self._ledger.write(Entry(erasure.identity, user, attempt, event, at, status, request_id) for user in users)
