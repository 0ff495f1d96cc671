"""Sends the requests of an erasure: one for each user, within the limit, each recorded before and after.

MoEngage API reference, "Delete User": 5,000 requests a minute per workspace. A second deletion of a user is
harmless, so one whose outcome is unknown is sent again while the query returns the user. For OpenGDPR neither is
documented: such a request is never repeated if it may have been processed, and one lane sends them, so that a kill
leaves at most one unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from airflow_provider_moengage.api.responses import Reply
from airflow_provider_moengage.api.users.deletion import PER_MINUTE, delete_body
from airflow_provider_moengage.api.users.erasure import erasure_body
from airflow_provider_moengage.bulk.batch import Batch
from airflow_provider_moengage.bulk.clock import Clock, Log, StoppedError, StopRequest
from airflow_provider_moengage.bulk.elements.weight import weight
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.rate_limit.pacer import WINDOW, Limits
from airflow_provider_moengage.bulk.run.context import RunContext
from airflow_provider_moengage.bulk.run.lane import DELETING_LANES, Client, Job, Lane, Request
from airflow_provider_moengage.bulk.run.lane_count import LaneScaler
from airflow_provider_moengage.bulk.run.sender import Sender
from airflow_provider_moengage.erasure.ledger import Ledger
from airflow_provider_moengage.erasure.record import Erasure, ErasureRecord

MethodName = Literal["delete", "opengdpr"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)

_TICK = 0.5
"""Seconds between looks at errors and the clock while a lane has no room."""

_LAST_WAIT = 3.0
"""Seconds that lanes have to record the responses of requests in flight when the run ends early. Airflow 3 ends a
process five seconds after SIGTERM."""

_PROGRESS_INTERVAL = 10.0
_USER = weight("customer", 0)


@dataclass(frozen=True, slots=True)
class Method:
    """How users are erased.

    :param name: one of :data:`METHODS`.
    :param identity_type: what identifies them.
    """

    name: str
    identity_type: str

    @property
    def may_repeat(self) -> bool:
        """Whether a request that may have been processed may be sent again."""
        return self.name == "delete"

    def body(self, identity: str, now: float) -> bytes:
        """Return the body of a request."""
        if self.name == "delete":
            return delete_body(identity)
        return erasure_body(self.identity_type, identity, now)

    def send(self, client: Client, body: bytes) -> Reply:
        """Send a body."""
        return client.delete_user(body) if self.name == "delete" else client.request_erasure(body)


class ErasureRun:
    """The requests of one try.

    :param method: how users are erased.
    :param log: gets progress: counts only.
    :param stop: a request to end the run; nothing is sent once it is made.
    :param clock: None: the machine's time.
    """

    def __init__(self, method: Method, log: Log, stop: StopRequest, clock: Clock | None = None) -> None:
        self._method = method
        self._log = log
        options = DeliveryOptions(delivery="at_least_once" if method.may_repeat else "at_most_once")
        limits = Limits(PER_MINUTE, PER_MINUTE)
        self._context = RunContext.create(options, limits, log, clock, stop)
        self._lanes: list[Lane] = []
        self._failure: BaseException | None = None
        self._logged_at = self._context.clock.monotonic()
        self._total = 0

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._context.counters.requests

    @property
    def throttled_seconds(self) -> float:
        """Seconds that the limit has made lanes wait so far."""
        return self._context.pacer.waited

    def now(self) -> float:
        """Return the time, in UTC epoch seconds."""
        return self._context.clock.time()

    def recording(self, ledger: Ledger, erasures: Sequence[Erasure]) -> ErasureRecord:
        """Return the record of this run.

        :param erasures: what is asked for.
        """
        return ErasureRecord(ledger, erasures, self._context.counters, self._context.clock.time)

    def send(self, client: Client, erasures: Sequence[Erasure], record: ErasureRecord) -> None:
        """Ask for all of them; returns when each one has an outcome.

        :raises ApiError: if MoEngage cannot be reached any more, or refuses the caller.
        :raises StoppedError: if the run was stopped.
        :raises Exception: that of the ledger.
        """
        context = self._context
        self._total = len(erasures)
        scaler = LaneScaler(context.clock.monotonic, lambda: WINDOW / PER_MINUTE)
        request = Request(lambda batch: batch.parts[0], record.noting(self._method.send), is_unit=True)
        sender = Sender(context, record, record, scaler, request)
        number = min(DELETING_LANES if self._method.may_repeat else 1, len(erasures))
        self._lanes = [Lane(sender.deliver, client.fork(), self._fail) for _ in range(number)]
        try:
            for at, batch in enumerate(self._batches(erasures)):
                self._until(partial(self._lanes[at % number].offer, Job(batch), _TICK), record)
            for lane in self._lanes:
                self._until(partial(lane.idle, _TICK), record)
        finally:
            context.stopped.set()
            for lane in self._lanes:
                lane.end()
            for lane in self._lanes:
                lane.join(_LAST_WAIT / number)

    def _batches(self, erasures: Sequence[Erasure]) -> Iterator[Batch]:
        for position, erasure in enumerate(erasures):
            body = self._method.body(erasure.identity, self._context.clock.time())
            yield Batch([body], [position], [_USER], [erasure.identity])

    def _fail(self, error: BaseException) -> None:
        if self._failure is None and not isinstance(error, StoppedError):
            self._failure = error
        self._context.stopped.set()

    def _until(self, done: Callable[[], bool], record: ErasureRecord) -> None:
        while True:
            is_done = done()
            if self._failure is not None:
                raise self._failure
            if self._context.stop.is_made:
                raise StoppedError
            self._log_progress(record)
            if is_done:
                return

    def _log_progress(self, record: ErasureRecord) -> None:
        now = self._context.clock.monotonic()
        if now - self._logged_at >= _PROGRESS_INTERVAL:
            self._logged_at = now
            self._log.info("%d of %d requests have an outcome", sum(record.counts.values()), self._total)
