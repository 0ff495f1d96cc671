"""Sending a batch until every element of it is accepted or rejected, whatever the network and MoEngage do.

MoEngage API reference, "Bulk Import": a refused body names no element, so it is halved until what MoEngage
refuses is alone; of ten thousand elements with one bad, that costs some twenty requests.
"""

from __future__ import annotations

import random
import re
import threading

import msgspec
import tenacity

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.responses import Outcome, Reply, refusal
from airflow_provider_moengage.bulk.batch import Batch
from airflow_provider_moengage.bulk.clock import Clock, Log, StoppedError
from airflow_provider_moengage.bulk.elements.checks import Finding
from airflow_provider_moengage.bulk.elements.rules import Code
from airflow_provider_moengage.bulk.elements.weight import budgets
from airflow_provider_moengage.bulk.rate_limit.pacer import Pacer
from airflow_provider_moengage.bulk.report import counted
from airflow_provider_moengage.bulk.resume.checkpoint import Checkpoint
from airflow_provider_moengage.bulk.resume.counters import Counters
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.run.lane import Client
from airflow_provider_moengage.bulk.run.lane_count import LaneScaler

ATTEMPTS = 12
"""Times a request is sent before the run is given up, 429 not counted. With the waits between them that is
three to four minutes on average, more than the five attempts that MoEngage asks for at the least."""

LONGEST_WAIT = 60.0
"""Seconds between two attempts at the most. They start at up to 2 s ("every 2 seconds") and double."""

HOPELESS_AFTER = 200
"""Elements refused one by one, and none accepted meanwhile, after which the fault is not in the elements. Judged
when a whole batch is settled, for the good ones of it may come last, and past ``max_rejects`` only."""

LONGEST_HINT = 600.0
"""Seconds that a server error's ``Retry-After`` is obeyed for at the most."""

_WORTH_A_LINE = 5.0
"""Seconds of a pause that MoEngage has not answered 429 for."""

_PASSING = {
    Outcome.NOT_SENT: "no connection",
    Outcome.SERVER_ERROR: "a server error",
    Outcome.UNKNOWN: "no answer that says what became of it",
}
"""Passes by itself, so the request is sent again."""

_SURELY_NOT_PROCESSED = {Outcome.NOT_SENT: _PASSING[Outcome.NOT_SENT]}
"""What of it may be sent again where nothing may arrive twice."""

_MAYBE_PROCESSED = (Outcome.ACCEPTED, Outcome.SERVER_ERROR, Outcome.UNKNOWN)


class Sender:
    """What the lanes of a run do with their batches. Shared by all of them.

    :param pacer: says when a request may go.
    :param rejects: gets what MoEngage refuses.
    :param checkpoint: told of each request before it goes, and of what was accepted.
    :param counters: counts.
    :param width: told how long requests take.
    :param log: gets a line for each repeat.
    :param clock: time.
    :param stopped: set when the run is to end.
    :param max_rejects: rejects that the caller allows.
    :param at_most_once: reject what may have arrived; else it is sent again.
    :param dry_run: count, and send nothing.
    """

    def __init__(
        self,
        pacer: Pacer,
        rejects: Rejects,
        checkpoint: Checkpoint,
        counters: Counters,
        width: LaneScaler,
        log: Log,
        clock: Clock,
        stopped: threading.Event,
        *,
        max_rejects: float,
        at_most_once: bool,
        dry_run: bool,
    ) -> None:
        self._pacer = pacer
        self._rejects = rejects
        self._checkpoint = checkpoint
        self._counters = counters
        self._width = width
        self._log = log
        self._clock = clock
        self._stopped = stopped
        self._max_rejects = max_rejects
        self._dry_run = dry_run
        self._answered: dict[Batch, Reply] = {}
        self._passing = _SURELY_NOT_PROCESSED if at_most_once else _PASSING

    def deliver(self, client: Client, batch: Batch) -> None:
        """Send a batch until every line of it is accepted or rejected.

        :raises ApiError: where no batch will be accepted any more.
        :raises StoppedError: where the run is stopped.
        """
        if self._dry_run:
            self._counters.count_request(len(batch.body))
            self._checkpoint.accept(batch)
            return
        self._settle(client, batch)
        refused = self._counters.refused_in_a_row
        if refused >= HOPELESS_AFTER and refused > self._max_rejects:
            raise ApiError(
                ErrorKind.REQUEST,
                f"MoEngage refused {refused:,} elements one by one and accepted none"
                f" meanwhile ({self._counters.last_refusal}): the fault is hardly in the elements",
            )

    def deliver_at_once(self, client: Client, batch: Batch) -> bool:
        """Send a batch, once, where the limits let it go now.

        :return: whether MoEngage has accepted it. Where not, :meth:`deliver` goes on from its answer.
        """
        users, events = budgets(batch.weights)
        sent_at = None if self._dry_run else self._pacer.spend_at_once(users, events)
        if sent_at is None:
            return False
        reply = self._send_once(client, batch, batch.body, sent_at)
        self._pacer.settle(users, events, reply, sent_at)
        if reply.outcome is Outcome.ACCEPTED:
            self._tell_hold(reply)
            self._accept(batch)
            return True
        self._answered[batch] = reply
        return False

    def _settle(self, client: Client, batch: Batch) -> None:
        reply = self._settled_reply(client, batch)
        if reply.outcome is Outcome.ACCEPTED:
            self._accept(batch)
        elif reply.outcome in _PASSING:
            self._give_up_on(batch, reply)
        elif len(batch) > 1:
            middle = len(batch) // 2
            self._settle(client, batch.part(slice(None, middle)))
            self._settle(client, batch.part(slice(middle, None)))
        else:
            self._reject(batch, reply)

    def _settled_reply(self, client: Client, batch: Batch) -> Reply:
        """Send a batch until MoEngage has either taken or refused it, or may have."""
        body, (users, events) = batch.body, budgets(batch.weights)

        def send() -> Reply:
            while True:
                reply = self._answered.pop(batch, None)
                if reply is None:
                    sent_at = self._pacer.spend(users, events)
                    reply = self._send_once(client, batch, body, sent_at)
                    self._pacer.settle(users, events, reply, sent_at)
                self._tell_hold(reply)
                if reply.outcome is not Outcome.THROTTLED:
                    return reply
                self._counters.count_retry()

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda reply: reply.outcome in self._passing),
            wait=_wait,
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            sleep=self._sleep,
            before_sleep=self._tell_retry,
            retry_error_callback=_give_up,
        )
        reply: Reply = attempts(send)
        if reply.outcome in (Outcome.DENIED, Outcome.UNEXPECTED):
            raise refusal(reply)
        return reply

    def _send_once(self, client: Client, batch: Batch, body: bytes, sent_at: float) -> Reply:
        self._checkpoint.announce(batch)
        self._counters.count_request(len(body))
        reply = client.bulk_import(body)
        if reply.outcome is Outcome.ACCEPTED:
            self._width.waited(self._clock.monotonic() - sent_at)
        if reply.outcome not in _MAYBE_PROCESSED:
            self._checkpoint.withdraw(batch)
        return reply

    def _tell_hold(self, reply: Reply) -> None:
        wait = self._pacer.new_hold()
        if wait is not None and (reply.outcome is Outcome.THROTTLED or wait >= _WORTH_A_LINE):
            why = (
                "answered 429" if reply.outcome is Outcome.THROTTLED else "says that nothing is left of the limit"
            )
            self._log.info("MoEngage %s: nothing is sent for %.0f s", why, wait)

    def _accept(self, batch: Batch) -> None:
        answered_at = self._clock.monotonic()
        self._checkpoint.accept(batch)
        self._width.accepted(self._clock.monotonic() - answered_at)

    def _sleep(self, seconds: float) -> None:
        if self._clock.wait(self._stopped, seconds):
            raise StoppedError
        self._counters.count_retry()

    def _tell_retry(self, state: tenacity.RetryCallState) -> None:
        if state.outcome is None or state.next_action is None:
            return
        reply: Reply = state.outcome.result()
        self._log.warning(
            "Request failed for now: %s%s. Attempt %d of %d follows in %.1f s",
            _PASSING[reply.outcome],
            _details(reply),
            state.attempt_number + 1,
            ATTEMPTS,
            state.next_action.sleep,
        )

    def _give_up_on(self, batch: Batch, reply: Reply) -> None:
        """Reject what may have arrived, and slow down: while MoEngage fails, the next would go the same way."""
        words = f"MoEngage may have taken it: {_PASSING[reply.outcome]}{_details(reply)}"
        finding = Finding(Code.OUTCOME_UNKNOWN, f"{words}; with delivery='at_most_once' it is not sent again")
        for position, line in zip(batch.positions, batch.lines, strict=True):
            self._rejects.add(position, msgspec.json.decode(line), [finding])
        in_a_row = self._counters.count_unknown()
        if in_a_row >= ATTEMPTS:
            raise _server_error(f"It is not known what became of the last {in_a_row} requests", reply)
        wait = random.uniform(0.5, 1.0) * min(2.0**in_a_row, LONGEST_WAIT)  # noqa: S311 (spreads lanes)
        self._log.warning(
            "%s rejected as %s (%s%s). The next request follows in %.1f s",
            counted(len(batch), "element"),
            Code.OUTCOME_UNKNOWN,
            _PASSING[reply.outcome],
            _details(reply),
            wait,
        )
        if self._clock.wait(self._stopped, wait):
            raise StoppedError

    def _reject(self, batch: Batch, reply: Reply) -> None:
        if reply.outcome is Outcome.TOO_LARGE:
            finding = Finding(Code.ELEMENT_TOO_LARGE, f"MoEngage answered {reply.status_code}: too large")
        else:
            words = ": ".join(filter(None, (reply.error_type, reply.message))) or "no reason given"
            request = f" (request id {reply.request_id})" if reply.request_id else ""
            finding = Finding(Code.REFUSED_BY_SERVER, f"MoEngage refused it: {words}{request}")
        self._rejects.add(batch.positions[0], msgspec.json.decode(batch.lines[0]), [finding])
        self._counters.count_refused(_name_of(reply))


def _name_of(reply: Reply) -> str:
    """MoEngage's name for a refusal, where it is no more than a name: a message might quote an element."""
    name = reply.error_type or ""
    return name if re.fullmatch(r"[A-Za-z ]{1,40}", name) else f"HTTP {reply.status_code}"


_backoff = tenacity.wait_random_exponential(multiplier=2, max=LONGEST_WAIT)


def _wait(state: tenacity.RetryCallState) -> float:
    """Back off, and for no less than the server asks."""
    reply: Reply | None = state.outcome.result() if state.outcome is not None else None
    hint = reply.retry_after if reply is not None and reply.outcome is Outcome.SERVER_ERROR else None
    return max(_backoff(state), min(hint or 0.0, LONGEST_HINT))


def _details(reply: Reply) -> str:
    """What is known of a failure; without a status, the message is the client's own."""
    if reply.status_code is None:
        return f" ({reply.message})" if reply.message else ""
    if reply.status_code < 300:
        return f" (HTTP {reply.status_code}, but no answer of MoEngage's API: check host and data center)"
    return f" (HTTP {reply.status_code})"


def _give_up(state: tenacity.RetryCallState) -> Reply:
    assert state.outcome is not None
    reply: Reply = state.outcome.result()
    raise _server_error(f"MoEngage could not take a request in {ATTEMPTS} attempts", reply)


def _server_error(what: str, reply: Reply) -> ApiError:
    return ApiError(
        ErrorKind.SERVER,
        f"{what}; the last one ended in {_PASSING[reply.outcome]}{_details(reply)}",
        status_code=reply.status_code,
        request_id=reply.request_id,
        retry_after=reply.retry_after,
    )
