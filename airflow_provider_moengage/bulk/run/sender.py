"""Sends a batch until each of its elements is accepted or rejected, whatever the network and MoEngage do.

MoEngage API reference, "Bulk Import": the answer to a refused body names no element. The body is halved until the
elements that MoEngage refuses are alone: one bad element among ten thousand costs some twenty requests.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.received.values import sentence
from airflow_provider_moengage.api.responses import Outcome, Reply, refusal
from airflow_provider_moengage.bulk.batch import Batch
from airflow_provider_moengage.bulk.clock import StoppedError, time_of_day
from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.rules import Code
from airflow_provider_moengage.bulk.report import counted
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.run.context import RunContext
from airflow_provider_moengage.bulk.run.lane import BULK_IMPORT, Client, Job, Request
from airflow_provider_moengage.bulk.run.lane_count import LaneScaler

if TYPE_CHECKING:
    import tenacity

ATTEMPTS = 12
"""Times that a request is sent before the run fails, 429 not counted. With the waits between them that is three to
four minutes on average; MoEngage asks for at least five attempts."""

LONGEST_WAIT = 60.0
"""Longest time between two attempts, in seconds. They start at up to 2 s ("every 2 seconds") and double."""

HOPELESS_AFTER = 200
"""Elements refused one by one, with none accepted meanwhile, after which the elements are probably not the cause.
This is checked only after a whole batch, because its good elements may come last, and only beyond
``max_rejects``."""

MOST_UNCLEAR = 10
"""Elements refused one by one with an error that is not documented, with none accepted meanwhile, after which the
run fails instead of rejecting them: out of an outage must come no rejects, and one element must not stop a run."""

LONGEST_HINT = 600.0
"""Longest ``Retry-After`` of a server error that is obeyed, in seconds."""

_WORTH_A_LINE = 5.0
"""Seconds of a pause that is logged although MoEngage has not answered 429."""

_TEMPORARY = {
    Outcome.NOT_SENT: "no connection",
    Outcome.SERVER_ERROR: "a server error",
    Outcome.UNKNOWN: "no conclusive response",
}
"""Failures that pass by themselves, so the request is sent again."""

_CERTAINLY_NOT_PROCESSED = frozenset([Outcome.NOT_SENT])
"""Those of them that are sent again even with at most once."""

_MAYBE_PROCESSED = (Outcome.ACCEPTED, Outcome.SERVER_ERROR, Outcome.UNKNOWN)


class Record(Protocol):
    """What records the requests of a run."""

    def announce(self, batch: Batch) -> None:
        """Record that a request is about to be sent; returns when it may be."""

    def withdraw(self, batch: Batch) -> None:
        """Record that a request was certainly not processed."""

    def accept(self, batch: Batch) -> None:
        """Record that MoEngage has accepted a request."""


class Refusals(Protocol):
    """What gets the elements that MoEngage has not accepted."""

    def add(self, position: int, element: object, findings: Sequence[Finding]) -> None:
        """Add one, with the reasons."""


class Sender:
    """What the lanes of a run do with their batches. All of them share it.

    :param rejects: gets what MoEngage refuses.
    :param checkpoint: records each request before it is sent, and what was accepted.
    :param lane_scaler: records how long requests take.
    :param request: how a batch is sent.
    """

    def __init__(
        self,
        context: RunContext,
        rejects: Refusals,
        checkpoint: Record,
        lane_scaler: LaneScaler,
        request: Request = BULK_IMPORT,
    ) -> None:
        self._request = request
        self._clock = context.clock
        self._stopped = context.stopped
        self._stop = context.stop
        self._log = context.log
        self._counters = context.counters
        self._pacer = context.pacer
        self._max_rejects = context.options.max_rejects
        self._dry_run = context.options.dry_run
        self._retried = _CERTAINLY_NOT_PROCESSED if context.is_at_most_once else frozenset(_TEMPORARY)
        self._rejects = rejects
        self._spool = rejects.spool if isinstance(rejects, Rejects) else None
        self._checkpoint = checkpoint
        self._lane_scaler = lane_scaler

    def deliver(self, client: Client, job: Job) -> None:
        """Send a batch until each of its elements is accepted or rejected.

        :param job: the batch, and the answer to its first request if it was sent already.
        :raises ApiError: if MoEngage will not accept any further batch either.
        :raises StoppedError: if the run is stopped.
        """
        if self._dry_run:
            self._counters.count_request(len(self._request.body(job.batch)))
            self._checkpoint.accept(job.batch)
            return
        unclear: list[tuple[Batch, Reply]] = []
        self._deliver(client, job, unclear)
        self._reject_all(unclear)
        refused = self._counters.refused_in_a_row
        if refused >= HOPELESS_AFTER and refused > self._max_rejects:
            raise ApiError(
                ErrorKind.REQUEST,
                f"MoEngage refused {refused:,} elements one by one and accepted none meanwhile"
                f" ({self._counters.last_refusal}); the elements are probably not the cause",
            )

    def deliver_at_once(self, client: Client, batch: Batch) -> Reply | None:
        """Send a batch once, if the limits allow that now.

        :return: the answer; None if the batch was not sent. Unless it was accepted, :meth:`deliver` continues.
        """
        users, events = self._request.cost(batch)
        sent_at = None if self._dry_run else self._pacer.spend_at_once(users, events)
        if sent_at is None:
            return None
        reply = self._send_once(client, batch, self._request.body(batch), sent_at)
        self._pacer.record_reply(users, events, reply, sent_at)
        if reply.outcome is Outcome.ACCEPTED:
            self._log_hold(reply)
            self._accept(batch)
        return reply

    def _deliver(self, client: Client, job: Job, unclear: list[tuple[Batch, Reply]]) -> None:
        """Send a batch, and its halves if it is refused.

        :param unclear: gets lone elements whose error is not documented. They become rejects when MoEngage accepts
            others: then the errors were about them.
        """
        batch = job.batch
        reply = self._final_reply(client, job)
        if reply.outcome is Outcome.ACCEPTED:
            self._accept(batch)
            self._reject_all(unclear)
        elif reply.outcome in _TEMPORARY:
            self._reject_unknown(batch, reply)
        elif len(batch) > 1:
            middle = len(batch) // 2
            self._deliver(client, Job(batch.part(slice(None, middle))), unclear)
            self._deliver(client, Job(batch.part(slice(middle, None))), unclear)
        elif reply.outcome is Outcome.UNCLEAR:
            unclear.append((batch, reply))
            self._check_unclear(reply)
        else:
            self._reject(batch, reply)

    def _final_reply(self, client: Client, job: Job) -> Reply:
        """Send a batch until MoEngage has either accepted or refused it, or may have."""
        batch, earlier = job
        body, (users, events) = self._request.body(batch), self._request.cost(batch)

        def send() -> Reply:
            nonlocal earlier
            while True:
                reply, earlier = earlier, None
                if reply is None:
                    sent_at = self._pacer.spend(users, events)
                    reply = self._send_once(client, batch, body, sent_at)
                    self._pacer.record_reply(users, events, reply, sent_at)
                self._log_hold(reply)
                if reply.outcome is not Outcome.THROTTLED:
                    return reply
                self._counters.count_retry()

        import tenacity  # here, because Dag files import this module

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda reply: reply.outcome in self._retried),
            wait=_wait(tenacity.wait_random_exponential(multiplier=2, max=LONGEST_WAIT)),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            sleep=self._sleep,
            before_sleep=self._log_retry,
            retry_error_callback=_give_up,
        )
        reply: Reply = attempts(send)
        if reply.outcome in (Outcome.DENIED, Outcome.UNEXPECTED):
            raise refusal(reply)
        return reply

    def _send_once(self, client: Client, batch: Batch, body: bytes, sent_at: float) -> Reply:
        self._checkpoint.announce(batch)
        if self._stop.is_made:  # the reader, which ends the run, may still wait for the source
            self._checkpoint.withdraw(batch)
            raise StoppedError
        self._counters.count_request(len(body))
        reply = self._request.send(client, body)
        if reply.outcome is Outcome.ACCEPTED:
            self._lane_scaler.record_answer(self._clock.monotonic() - sent_at)
        if reply.outcome not in _MAYBE_PROCESSED:
            self._checkpoint.withdraw(batch)
        return reply

    def _log_hold(self, reply: Reply) -> None:
        wait = self._pacer.new_hold()
        if wait is not None and (reply.outcome is Outcome.THROTTLED or wait >= _WORTH_A_LINE):
            why = "answered 429" if reply.outcome is Outcome.THROTTLED else "reports that the limit is used up"
            until = time_of_day(self._clock, wait)
            self._log.info("MoEngage %s; sending nothing until %s (%.0f s)", why, until, wait)

    def _accept(self, batch: Batch) -> None:
        answered_at = self._clock.monotonic()
        self._checkpoint.accept(batch)
        if self._spool is not None:
            self._spool.forget_keys(batch.positions)
        self._lane_scaler.record_done(self._clock.monotonic() - answered_at)

    def _sleep(self, seconds: float) -> None:
        if self._clock.wait(self._stopped, seconds):
            raise StoppedError
        self._counters.count_retry()

    def _log_retry(self, state: tenacity.RetryCallState) -> None:
        if state.outcome is None or state.next_action is None:
            return
        reply: Reply = state.outcome.result()
        self._log.warning(
            "Request failed: %s%s. Attempt %d of %d follows in %.1f s",
            _TEMPORARY[reply.outcome],
            _details(reply),
            state.attempt_number + 1,
            ATTEMPTS,
            state.next_action.sleep,
        )

    def _reject_unknown(self, batch: Batch, reply: Reply) -> None:
        """Reject what may have been accepted, and slow down: the next batch would probably fail too."""
        words = f"MoEngage may have accepted it: {_TEMPORARY[reply.outcome]}{_details(reply)}"
        finding = Finding(Code.OUTCOME_UNKNOWN, f"{words}; with delivery='at_most_once' it is not sent again")
        for position, line in zip(batch.positions, batch.lines, strict=True):
            self._rejects.add(position, msgspec.json.decode(line), [finding])
        in_a_row = self._counters.count_unknown()
        if in_a_row >= ATTEMPTS:
            raise _server_error(f"The outcome of the last {in_a_row} requests is unknown", reply)
        wait = random.uniform(0.5, 1.0) * min(2.0**in_a_row, LONGEST_WAIT)  # noqa: S311 (spreads lanes)
        self._log.warning(
            "%s rejected as %s (%s%s). The next request follows in %.1f s",
            counted(len(batch), "element"),
            Code.OUTCOME_UNKNOWN,
            _TEMPORARY[reply.outcome],
            _details(reply),
            wait,
        )
        if self._clock.wait(self._stopped, wait):
            raise StoppedError

    def _check_unclear(self, reply: Reply) -> None:
        in_a_row = self._counters.count_unclear()
        if in_a_row >= MOST_UNCLEAR:
            raise ApiError(
                ErrorKind.SERVER,
                f"MoEngage refused {in_a_row} elements one by one with an error that is not documented (HTTP"
                f" {reply.status_code}) and accepted none meanwhile; the elements are probably not the cause",
                status_code=reply.status_code,
                request_id=reply.request_id,
                retry_after=reply.retry_after,
            )

    def _reject_all(self, unclear: list[tuple[Batch, Reply]]) -> None:
        for batch, reply in unclear:
            self._reject(batch, reply)
        unclear.clear()

    def _reject(self, batch: Batch, reply: Reply) -> None:
        if reply.outcome is Outcome.TOO_LARGE:
            finding = Finding(Code.ELEMENT_TOO_LARGE, f"MoEngage answered {reply.status_code}: too large")
        else:
            public = None if self._spool is None else _refusal(reply, may_quote_values=False)
            finding = Finding(Code.REFUSED_BY_SERVER, _refusal(reply, may_quote_values=True), public)
        self._rejects.add(batch.positions[0], msgspec.json.decode(batch.lines[0]), [finding])
        self._counters.count_refused(_name_of(reply))


def _refusal(reply: Reply, *, may_quote_values: bool) -> str:
    words = sentence(reply.said, between=": ", may_quote_values=may_quote_values) or "no reason given"
    request = f" (request id {reply.request_id})" if reply.request_id else ""
    return f"MoEngage refused it: {words}{request}"


def _name_of(reply: Reply) -> str:
    return reply.error_type or f"HTTP {reply.status_code}"


def _wait(backoff: tenacity.wait.wait_base) -> Callable[[tenacity.RetryCallState], float]:
    """Back off, and at least for as long as the server asks."""

    def wait(state: tenacity.RetryCallState) -> float:
        reply: Reply | None = state.outcome.result() if state.outcome is not None else None
        hint = reply.retry_after if reply is not None and reply.outcome is Outcome.SERVER_ERROR else None
        return max(backoff(state), min(hint or 0.0, LONGEST_HINT))

    return wait


def _details(reply: Reply) -> str:
    """Return what is known of a failure. A message is the client's own."""
    if reply.status_code is None:
        return f" ({reply.message})" if reply.message else ""
    if reply.message is not None:
        return f" (HTTP {reply.status_code}: {reply.message})"
    if reply.error_type is not None and reply.status_code < 500:
        return f" (HTTP {reply.status_code}: {reply.error_type})"
    if reply.status_code < 300:
        return f" (HTTP {reply.status_code}, but not from MoEngage's API: check host and data center)"
    return f" (HTTP {reply.status_code})"


def _give_up(state: tenacity.RetryCallState) -> Reply:
    if state.outcome is None:
        raise RuntimeError("no attempt was made")
    reply: Reply = state.outcome.result()
    raise _server_error(f"MoEngage did not accept a request in {ATTEMPTS} attempts", reply)


def _server_error(what: str, reply: Reply) -> ApiError:
    return ApiError(
        ErrorKind.SERVER,
        f"{what}; the last one ended with {_TEMPORARY[reply.outcome]}{_details(reply)}",
        status_code=reply.status_code,
        request_id=reply.request_id,
        retry_after=reply.retry_after,
    )
