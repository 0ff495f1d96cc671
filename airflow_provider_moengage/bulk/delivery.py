"""The run itself: elements are read, made ready, packed and sent over several lanes at once.

The reader (the caller's thread) checks, encodes and packs; each lane (a thread with a connection of its own)
sends one body after the other. A user's elements all go through one lane, so they arrive in order. Queues are
bounded: memory does not grow with the source.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sized
from functools import partial
from zlib import crc32

from airflow_provider_moengage.bulk.clock import Clock, SystemClock
from airflow_provider_moengage.bulk.lanes import Client, Lane
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.pacing import WINDOW, Limits, Pacer, StoppedError
from airflow_provider_moengage.bulk.packing import Batch, Packer, pack_together
from airflow_provider_moengage.bulk.progress import Log, Progress
from airflow_provider_moengage.bulk.reading import Reader
from airflow_provider_moengage.bulk.rejects import Rejects
from airflow_provider_moengage.bulk.report import DeliveryReport, counted
from airflow_provider_moengage.bulk.sending import Sender

_LAST_WAIT = 1.0
"""Seconds that lanes have to end once the run is over. One that still waits for an answer is left behind."""

_TICK = 0.5
"""Seconds between looks at errors and the clock while the reader waits for a lane."""


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
        self._reader = Reader(options.validation, rejects)
        self._sender = Sender(
            self._pacer,
            rejects,
            log,
            self._clock,
            self._stopped,
            max_rejects=options.max_rejects,
            dry_run=options.dry_run,
        )
        self._failure: BaseException | None = None
        self._is_told_to_stop = False

    def run(self, elements: Iterable[object]) -> DeliveryReport:
        """Deliver every element, in order for each user.

        :param elements: elements in the API's form; read once, in the caller's thread.
        :return: the figures. ``accepted + rejected`` is the number of elements.
        :raises OSError: where rejects could not be written, before anything is sent.
        :raises RejectsNotWrittenError: where they could not be written after all was sent.
        :raises ApiError: where MoEngage cannot be reached any more, or refuses the caller. Nothing is lost by
            that: the whole source is to be sent again.
        """
        started = self._clock.monotonic()
        self._rejects.begin()
        try:
            self._deliver_all(elements)
        except BaseException as error:
            try:
                self._rejects.close(is_complete=False)
            except Exception as trouble:
                self._log.warning("The rejects could not be written (%s)", type(trouble).__name__)
            name = type(error).__name__
            self._describe(self._report(started), f"The run ended early ({name}); what was done until then: ")
            raise
        report = self._report(started)
        self._describe(report, "")
        try:
            self._rejects.close(is_complete=not self._options.dry_run)
        except Exception as trouble:
            raise RejectsNotWrittenError(report, type(trouble).__name__) from trouble
        return report

    def _deliver_all(self, elements: Iterable[object]) -> None:
        total = len(elements) if isinstance(elements, Sized) else None
        progress = Progress(self._log, self._clock, self, total)
        lanes = [
            Lane(self._sender.deliver, self._client.fork(), self._fail) for _ in range(self._options.concurrency)
        ]
        packers = [Packer(self._limits.most_users_a_request, self._limits.most_events_a_request) for _ in lanes]
        try:
            for line, user in self._reader.lines(elements, self._check):
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

    def stop(self) -> None:
        """End the run at once: :meth:`run` raises, and lanes that wait stop waiting.

        A signal handler may call it: it takes no lock, which the interrupted thread might hold.
        """
        self._is_told_to_stop = True

    @property
    def accepted(self) -> int:
        """Elements taken by MoEngage so far."""
        return self._sender.tally.accepted

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

    def least_seconds(self, total: int) -> float:
        """Seconds that the limits make a run of so many elements take, if they are like those so far: the first
        minute's worth goes at once, and every further one a minute later.
        """
        tally = self._sender.tally
        share = total / max(tally.accepted, 1)
        users = int((tally.accepted - tally.kinds["event"]) * share)
        events = int(tally.actions * share)
        limits = self._limits
        minutes = max((users - 1) // limits.users_per_minute, (events - 1) // limits.events_per_minute, 0)
        return minutes * WINDOW

    def _hand_over(self, lane: Lane, batch: Batch, progress: Progress) -> None:
        self._until(partial(lane.offer, batch, _TICK), progress)

    def _drain(self, lanes: list[Lane], progress: Progress) -> None:
        for lane in lanes:
            self._until(partial(lane.idle, _TICK), progress)

    def _until(self, done: Callable[[], bool], progress: Progress) -> None:
        while True:
            is_done = done()
            self._check()
            progress.tell()
            if is_done:
                return

    def _send_leftovers(self, lanes: list[Lane], packers: list[Packer], progress: Progress) -> None:
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
        if self._is_told_to_stop or self._stopped.is_set():
            raise StoppedError

    def _report(self, started: float) -> DeliveryReport:
        tally = self._sender.tally
        return DeliveryReport(
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
            elapsed_seconds=round(self._clock.monotonic() - started, 3),
            warnings=dict(sorted(self._reader.warnings.items())),
            rejects=dict(sorted(self._rejects.by_code.items())),
            rejects_path=self._rejects.path if self._rejects.count else None,
        )

    def _describe(self, report: DeliveryReport, introduction: str) -> None:
        self._log.info("%s%s", introduction, report.summary)
        for code, count in report.warnings.items():
            self._log.warning(
                "%s with %s: MoEngage will alter or ignore part of it", counted(count, "element"), code
            )
        for sentence in self._rejects.describe():
            self._log.warning("%s", sentence)


class RejectsNotWrittenError(Exception):
    """Everything was sent, and the rejects could not be written.

    :param report: the figures of the run.
    :param cause: name of what kept them from being written.
    """

    def __init__(self, report: DeliveryReport, cause: str) -> None:
        super().__init__(f"the rejects could not be written ({cause})")
        self.report = report
        self.cause = cause
