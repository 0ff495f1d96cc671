"""The run itself: elements are read, made ready, packed and sent over several lanes at once.

The reader (the caller's thread) checks, encodes and packs; each lane (a thread with a connection of its own)
sends one body after the other. A user's elements all go through one lane, so they arrive in order. Queues are
bounded: memory does not grow with the source.

MoEngage API reference, "Bulk Import": a refused body names no element, so it is halved until what MoEngage
refuses is alone; of ten thousand elements with one bad, that costs some twenty requests.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from itertools import islice
from typing import Protocol
from zlib import crc32

import msgspec
import tenacity

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.responses import Outcome, Reply, refusal
from airflow_provider_moengage.bulk.clock import Clock, SystemClock
from airflow_provider_moengage.bulk.elements import Finding, Prepared, prepare
from airflow_provider_moengage.bulk.encoding import encode_lines
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.pacing import Limits, Pacer, StoppedError
from airflow_provider_moengage.bulk.packing import LARGEST_ELEMENT, Batch, Line, Packer, pack_together
from airflow_provider_moengage.bulk.progress import Log, Progress
from airflow_provider_moengage.bulk.rejects import Rejects
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.bulk.rules import Code

ATTEMPTS = 12
"""Times a request is sent before the run is given up, 429 not counted. With the waits between them that is
three to four minutes on average, more than the five attempts that MoEngage asks for at the least."""

LONGEST_WAIT = 60.0
"""Seconds between two attempts at the most. They start at up to 2 s ("every 2 seconds") and double."""

HOPELESS_AFTER = 200
"""Elements refused one by one, with nothing accepted before, after which the fault is not in the elements."""

_NOT_JSON = (ValueError, TypeError, OverflowError, RecursionError)
"""What msgspec raises: half a surrogate pair and an int of thousands of digits are ValueErrors."""

_CHUNK = 1_000
"""Elements that are encoded together."""

_BATCHES_AHEAD = 2
"""Batches that may wait for each lane."""

_LAST_WAIT = 1.0
"""Seconds that lanes have to end once the run is over. One that still waits for an answer is left behind."""

_TICK = 0.5
"""Seconds between looks at errors and the clock while the reader waits for a lane."""

_PASSING = {
    Outcome.NOT_SENT: "no connection",
    Outcome.SERVER_ERROR: "a server error",
    Outcome.UNKNOWN: "no answer that says what became of it",
}


class Client(Protocol):
    """What the delivery needs of MoEngage's API."""

    def bulk_import(self, body: bytes) -> Reply:
        """Send one body."""

    def fork(self) -> Client:
        """Return another client, for another thread."""

    def close(self) -> None:
        """Give its connections back."""


class Delivery:
    """One run.

    :param client: the workspace to send to.
    :param options: how.
    :param limits: the workspace's limits.
    :param rejects: where what cannot go is put.
    :param log: gets progress lines; counts, codes and positions only.
    :param clock: time; another one for tests.
    """

    def __init__(
        self,
        client: Client,
        options: DeliveryOptions,
        limits: Limits,
        rejects: Rejects,
        log: Log,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._options = options
        self._limits = limits
        self._rejects = rejects
        self._log = log
        self._clock = clock or SystemClock()
        self._stopped = threading.Event()
        self._pacer = Pacer(limits, self._clock, self._stopped)
        self._tally = _Tally()
        self._warnings: Counter[str] = Counter()
        self._failure: BaseException | None = None

    def run(self, elements: Iterable[object]) -> DeliveryReport:
        """Deliver every element, in order for each user.

        :param elements: elements in the API's form; read once, in the caller's thread.
        :return: the figures. ``accepted + rejected`` is the number of elements.
        :raises ApiError: where MoEngage cannot be reached any more, or refuses the caller. Nothing is lost by
            that: the whole source is to be sent again.
        """
        started = self._clock.monotonic()
        total = len(elements) if isinstance(elements, Sized) else None
        progress = Progress(self._log, self._clock, self, total)
        lanes = [_Lane(self._deliver, self._client.fork(), self._fail) for _ in range(self._options.concurrency)]
        packers = [Packer(self._limits.most_users_a_request, self._limits.most_events_a_request) for _ in lanes]
        try:
            for line, user in self._lines(elements):
                number = crc32(user.encode(errors="surrogatepass")) % len(lanes)
                if (full := packers[number].add(line)) is not None:
                    self._hand_over(lanes[number], full, progress)
            self._drain(lanes, progress)
            self._send_leftovers(lanes, packers, progress)
        finally:
            self._stopped.set()
            for lane in lanes:
                lane.end()
            for lane in lanes:
                lane.join(_LAST_WAIT / len(lanes))
            self._rejects.close()
        return self._report(self._clock.monotonic() - started)

    def stop(self) -> None:
        """End the run at once: lanes that wait stop waiting, and :meth:`run` raises."""
        self._stopped.set()

    @property
    def accepted(self) -> int:
        """Elements taken by MoEngage so far."""
        return self._tally.accepted

    @property
    def rejected(self) -> int:
        """Elements rejected so far."""
        return self._rejects.count

    @property
    def share_of_limit(self) -> float:
        """How much of the workspace's limit the last minute took, from 0 to 1."""
        return self._pacer.share_used()

    @property
    def throttled_seconds(self) -> float:
        """Seconds the limits held a lane back so far."""
        return self._pacer.waited

    # Reading: from elements to lines, in the caller's thread.

    def _lines(self, elements: Iterable[object]) -> Iterator[tuple[Line, str]]:
        """Yield what can be sent, and whose it is; the rest goes to the rejects."""
        rules_apply = self._options.validation != "off"
        source = iter(elements)
        position = 0
        while chunk := list(islice(source, _CHUNK)):
            good: list[tuple[int, Prepared]] = []
            for position, element in enumerate(chunk, position):  # noqa: B020 (goes on counting)
                prepared = prepare(element, rules_apply=rules_apply)
                if not prepared.findings or self._passes(prepared):
                    good.append((position, prepared))
                else:
                    self._rejects.add(position, element, prepared.findings)
            position += 1
            for (at, prepared), data in self._encoded(good):
                if len(data) > LARGEST_ELEMENT:
                    message = f"{len(data):,} bytes; one element may have {LARGEST_ELEMENT:,}"
                    finding = Finding(Code.ELEMENT_TOO_LARGE, message)
                    self._rejects.add(at, prepared.element, [finding])
                else:
                    yield Line(at, data, prepared.kind, prepared.actions), prepared.user

    def _passes(self, prepared: Prepared) -> bool:
        if self._options.validation == "strict" or not all(finding.is_warning for finding in prepared.findings):
            return False
        self._warnings.update({str(finding.code) for finding in prepared.findings})
        return True

    def _encoded(self, good: list[tuple[int, Prepared]]) -> Iterator[tuple[tuple[int, Prepared], bytes]]:
        try:
            lines = encode_lines([prepared.element for _, prepared in good])
        except _NOT_JSON:
            pass
        else:
            yield from zip(good, lines, strict=True)
            return
        for at, prepared in good:  # one of them cannot be encoded: find it
            try:
                [data] = encode_lines([prepared.element])
            except _NOT_JSON as error:
                finding = Finding(Code.VALUE_NOT_ENCODABLE, f"cannot be written as JSON ({type(error).__name__})")
                self._rejects.add(at, prepared.element, [finding])
            else:
                yield (at, prepared), data

    # Handing over, in the caller's thread.

    def _hand_over(self, lane: _Lane, batch: Batch, progress: Progress) -> None:
        self._until(lambda: lane.offer(batch, _TICK), progress)

    def _drain(self, lanes: list[_Lane], progress: Progress) -> None:
        for lane in lanes:
            self._until(lambda lane=lane: lane.idle(_TICK), progress)  # type: ignore[misc]

    def _until(self, done: Callable[[], bool], progress: Progress) -> None:
        while True:
            is_done = done()
            self._check()
            progress.tell()
            if is_done:
                return

    def _send_leftovers(self, lanes: list[_Lane], packers: list[Packer], progress: Progress) -> None:
        """Send what is left in the packers, in as few requests as hold it. The lanes are idle, so order holds."""
        leftovers = [batch for packer in packers if (batch := packer.take()) is not None]
        bodies = pack_together(leftovers, self._limits.most_users_a_request, self._limits.most_events_a_request)
        for number, batch in enumerate(bodies):
            self._hand_over(lanes[number % len(lanes)], batch, progress)
        self._drain(lanes, progress)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None and not isinstance(error, StoppedError):
            self._failure = error
        self._stopped.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._stopped.is_set():
            raise StoppedError

    # Sending, in a lane's thread.

    def _deliver(self, client: Client, batch: Batch) -> None:
        """Send a batch until every line of it is accepted or rejected."""
        if self._options.dry_run:
            self._tally.sent(len(batch.body))
            self._tally.take(batch)
            return
        reply = self._settled_reply(client, batch)
        if reply.outcome is Outcome.ACCEPTED:
            self._tally.take(batch)
        elif len(batch.lines) > 1:
            for half in batch.halves():
                self._deliver(client, half)
        else:
            self._reject(batch.lines[0], reply)

    def _settled_reply(self, client: Client, batch: Batch) -> Reply:
        """Send a batch until MoEngage has either taken or refused it."""
        body, users, events = batch.body, batch.users, batch.events

        def send() -> Reply:
            while True:
                sent_at = self._pacer.spend(users, events)
                self._tally.sent(len(body))
                reply = client.bulk_import(body)
                self._pacer.settle(users, events, reply, sent_at)
                if reply.outcome is not Outcome.THROTTLED:
                    return reply
                self._tally.repeat()

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda reply: reply.outcome in _PASSING),
            wait=tenacity.wait_random_exponential(multiplier=2, max=LONGEST_WAIT),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            sleep=self._sleep,
            before_sleep=self._tell_retry,
            retry_error_callback=_give_up,
        )
        reply: Reply = attempts(send)
        if reply.outcome in (Outcome.DENIED, Outcome.UNEXPECTED):
            raise refusal(reply)
        return reply

    def _sleep(self, seconds: float) -> None:
        if self._clock.wait(self._stopped, seconds):
            raise StoppedError
        self._tally.repeat()

    def _tell_retry(self, state: tenacity.RetryCallState) -> None:
        if state.outcome is None or state.next_action is None:
            return
        reply: Reply = state.outcome.result()
        status = f" (HTTP {reply.status_code})" if reply.status_code else ""
        self._log.warning(
            "Request failed for now: %s%s. Attempt %d of %d follows in %.1f s",
            _PASSING[reply.outcome],
            status,
            state.attempt_number + 1,
            ATTEMPTS,
            state.next_action.sleep,
        )

    def _reject(self, line: Line, reply: Reply) -> None:
        if reply.outcome is Outcome.TOO_LARGE:
            finding = Finding(Code.ELEMENT_TOO_LARGE, f"MoEngage answered {reply.status_code}: too large")
        else:
            words = ": ".join(filter(None, (reply.error_type, reply.message))) or "no reason given"
            request = f" (request id {reply.request_id})" if reply.request_id else ""
            finding = Finding(Code.REFUSED_BY_SERVER, f"MoEngage refused it: {words}{request}")
        self._rejects.add(line.position, msgspec.json.decode(line.data), [finding])
        if self._tally.refused_alone() >= HOPELESS_AFTER:
            raise ApiError(
                ErrorKind.REQUEST,
                f"MoEngage refused {HOPELESS_AFTER} elements one by one and accepted none: the fault is hardly in"
                " the elements; the messages in the rejects file say what MoEngage dislikes",
                status_code=reply.status_code,
                request_id=reply.request_id,
            )

    def _report(self, elapsed: float) -> DeliveryReport:
        tally = self._tally
        report = DeliveryReport(
            dry_run=self._options.dry_run,
            accepted=tally.accepted,
            rejected=self._rejects.count,
            customers=tally.kinds["customer"],
            events=tally.kinds["event"],
            devices=tally.kinds["device"],
            actions=tally.actions,
            requests=tally.requests,
            bytes=tally.bytes,
            retries=tally.retries,
            throttled_seconds=round(self._pacer.waited, 3),
            elapsed_seconds=round(elapsed, 3),
            warnings=dict(sorted(self._warnings.items())),
            rejects=dict(sorted(self._rejects.by_code.items())),
            rejects_path=self._rejects.path if self._rejects.count else None,
        )
        self._log.info("%s", report.summary)
        for code, count in report.warnings.items():
            self._log.warning(
                "%s elements with %s: MoEngage will alter or ignore part of them", f"{count:,}", code
            )
        for sentence in self._rejects.describe():
            self._log.warning("%s", sentence)
        return report


class _Tally:
    """What the lanes have done so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.accepted = 0
        self.kinds: Counter[str] = Counter()
        self.actions = 0
        self.requests = 0
        self.bytes = 0
        self.retries = 0
        self._refused_alone = 0

    def sent(self, size: int) -> None:
        with self._lock:
            self.requests += 1
            self.bytes += size

    def repeat(self) -> None:
        with self._lock:
            self.retries += 1

    def take(self, batch: Batch) -> None:
        with self._lock:
            self.accepted += len(batch.lines)
            self.kinds.update([line.kind for line in batch.lines])
            self.actions += batch.events

    def refused_alone(self) -> int:
        """Count a lone element that was refused; return how many were, 0 once anything was accepted."""
        with self._lock:
            self._refused_alone += 1
            return 0 if self.accepted else self._refused_alone


class _Lane:
    """A thread that sends batches one after the other, over a connection of its own."""

    def __init__(
        self,
        deliver: Callable[[Client, Batch], None],
        client: Client,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._deliver = deliver
        self._client = client
        self._fail = fail
        self._inbox: queue.Queue[Batch | None] = queue.Queue(_BATCHES_AHEAD)
        self._thread: threading.Thread | None = None

    def offer(self, batch: Batch, timeout: float) -> bool:
        """Hand over a batch, or say that there is no room yet. The first one starts the thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="moengage-lane", daemon=True)
            self._thread.start()
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
            self._client.close()
        else:
            self._thread.join(timeout)

    def _work(self) -> None:
        try:
            while (batch := self._inbox.get()) is not None:
                self._deliver(self._client, batch)
                self._inbox.task_done()
        except BaseException as error:
            self._fail(error)
        finally:
            self._client.close()


def _give_up(state: tenacity.RetryCallState) -> Reply:
    assert state.outcome is not None
    reply: Reply = state.outcome.result()
    status = (
        f" (HTTP {reply.status_code})" if reply.status_code else f" ({reply.message})" if reply.message else ""
    )
    raise ApiError(
        ErrorKind.SERVER,
        f"MoEngage could not take a request in {ATTEMPTS} attempts; the last one ended in"
        f" {_PASSING[reply.outcome]}{status}",
        status_code=reply.status_code,
        request_id=reply.request_id,
        retry_after=reply.retry_after,
    )
