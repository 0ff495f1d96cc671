"""The run itself: elements are read, made ready, packed and sent over several lanes at once.

The reader (the caller's thread) checks, encodes and packs; each lane (a thread with a connection of its own)
sends one body after the other. A user's elements all go through one lane, so they arrive in order. Queues are
bounded: memory does not grow with the source.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from zlib import crc32

from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.bulk.batch import Batch, Elements
from airflow_provider_moengage.bulk.clock import Clock, Log, StoppedError, SystemClock
from airflow_provider_moengage.bulk.elements.encoding import Encoder
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.rate_limit.pacer import WINDOW, Limits, Pacer
from airflow_provider_moengage.bulk.report import DeliveryReport, counted
from airflow_provider_moengage.bulk.resume.checkpoint import Checkpoint
from airflow_provider_moengage.bulk.resume.counters import Counters
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.resume.saved_run import SavedRun
from airflow_provider_moengage.bulk.run.lane import Client, Lane
from airflow_provider_moengage.bulk.run.lane_count import LaneScaler
from airflow_provider_moengage.bulk.run.packer import Packer, pack_together
from airflow_provider_moengage.bulk.run.progress import Progress
from airflow_provider_moengage.bulk.run.reader import Reader
from airflow_provider_moengage.bulk.run.sender import Sender
from airflow_provider_moengage.bulk.sources import Source

_LAST_WAIT = 1.0
"""Seconds that lanes have to end once the run is over. One that still waits for an answer is left behind."""

_TICK = 0.5
"""Seconds between looks at errors and the clock while the reader waits for a lane."""


class Delivery:
    """One run.

    :param source: what to deliver.
    :param client: the workspace to send to.
    :param options: how.
    :param limits: the workspace's limits.
    :param rejects: where what cannot go is put.
    :param log: gets progress lines; counts, codes and positions only.
    :param memory: what earlier tries have left, and where this one leaves what it has done; None keeps nothing.
    :param clock: time; another one for tests.
    :param observe: told the figures, and the share of the limit that is used: at the beginning, with each progress
        line, and at the end.
    :raises UnknownOutcomeError: where an earlier try may have sent what must not go twice.
    """

    def __init__(
        self,
        source: Source,
        client: Client,
        options: DeliveryOptions,
        limits: Limits,
        rejects: Rejects,
        log: Log,
        *,
        memory: SavedRun | None = None,
        clock: Clock | None = None,
        observe: Callable[[DeliveryReport, float], None] | None = None,
    ) -> None:
        self._source = source
        self._client = client
        self._options = options
        self._limits = limits
        self._rejects = rejects
        self._log = log
        self._clock = clock or SystemClock()
        self._observe = observe
        self._stopped = threading.Event()
        self._pacer = Pacer(limits, self._clock, self._stopped)
        started = self._clock.monotonic()
        self._counters = Counters(lambda: self._clock.monotonic() - started, lambda: self._pacer.waited)
        at_most_once = options.delivery == "at_most_once"
        self._checkpoint = Checkpoint(source, self._counters, rejects, log, memory, at_most_once=at_most_once)
        self._encoder = Encoder()
        self._reader = Reader(options.validation, rejects, self._checkpoint, self._encoder)
        self._width = LaneScaler(self._clock.monotonic, self._seconds_at_limit)
        self._sender = Sender(
            self._pacer,
            rejects,
            self._checkpoint,
            self._counters,
            self._width,
            log,
            self._clock,
            self._stopped,
            max_rejects=options.max_rejects,
            at_most_once=at_most_once,
            dry_run=options.dry_run,
        )
        self._lanes: list[Lane] = []
        self._may_send_itself = options.concurrency is None and memory is None and not at_most_once
        self._sends_itself = False
        self._packers: list[Packer] = []
        self._failure: BaseException | None = None
        self._is_told_to_stop = False

    def run(self) -> DeliveryReport:
        """Deliver every element, in order for each user.

        :return: the figures. ``accepted + rejected`` is the number of elements.
        :raises OSError: where rejects could not be written, before anything is sent.
        :raises RejectsNotWrittenError: where they could not be written after all was sent.
        :raises ApiError: where MoEngage cannot be reached any more, or refuses the caller. Nothing is lost by
            that: what the checkpoint does not hold is to be sent again.
        """
        if not self._rejects.begin():
            self._log.warning("Rejects of an earlier try are not there any more: the file will not have them all")
        try:
            self._deliver_all()
        except BaseException as error:
            self._end_early(error)
            raise
        report = self._report()
        self._describe(report, "")
        try:
            self._rejects.close(is_complete=not self._options.dry_run)
        except Exception as trouble:
            self._checkpoint.close()
            raise RejectsNotWrittenError(report, type(trouble).__name__) from trouble
        self._checkpoint.finish(report)
        return report

    def _end_early(self, error: BaseException) -> None:
        for what, act in (
            ("checkpoint", self._checkpoint.close),
            ("rejects", partial(self._rejects.close, is_complete=False)),
        ):
            try:
                act()
            except Exception as trouble:
                self._log.warning("The %s could not be written (%s)", what, type(trouble).__name__)
        name = error.kind.value if isinstance(error, ApiError) else type(error).__name__
        self._describe(self._report(), f"The run ended early ({name}); what was done until then: ")

    def _deliver_all(self) -> None:
        progress = Progress(self._log, self._clock, self, self._source.total, self._tell_observer)
        self._tell_observer()
        self._open_lanes(self._options.concurrency or 1)

        def between_chunks() -> None:
            self._check()
            progress.tell()

        try:
            # An early end closes the source's cursor.
            with closing(self._reader.elements(between_chunks)) as chunks:
                for elements in chunks:
                    for number, some in self._by_lane(elements):
                        for full in self._packers[number].add(some):
                            self._hand_over(number, full, progress)
                    self._adapt(progress)
            self._drain(progress)
            self._send_leftovers(progress)
        finally:
            self._stopped.set()
            for lane in self._lanes:
                lane.end()
            for lane in self._lanes:
                lane.join(_LAST_WAIT / len(self._lanes))

    def _open_lanes(self, number: int) -> None:
        limits = self._limits
        while len(self._lanes) < number:
            self._lanes.append(Lane(self._sender.deliver, self._client.fork(), self._fail))
        self._packers = [
            Packer(limits.most_users_a_request, limits.most_events_a_request, self._encoder, self._reader.refuse)
            for _ in self._lanes
        ]

    def _by_lane(self, elements: Elements) -> Iterable[tuple[int, Elements]]:
        """Part elements, in order, by the lane of each one's user."""
        if len(self._lanes) == 1:
            return [(0, elements)]
        places: list[list[int]] = [[] for _ in self._lanes]
        for at, user in enumerate(elements.users):
            places[self._lane_of(user)].append(at)
        return [(number, elements.pick(part)) for number, part in enumerate(places) if part]

    def _lane_of(self, user: str) -> int:
        return crc32(user.encode(errors="surrogatepass")) % len(self._lanes)

    def _adapt(self, progress: Progress) -> None:
        """Go on with as many lanes as are of use, or none. Before a user's elements take another way, all that was
        handed over is delivered.
        """
        if self._options.concurrency is not None:
            return
        lanes = 0 if self._sends_itself else len(self._lanes)
        useful = self._width.useful(lanes)
        if useful == 0 and not self._may_send_itself:
            useful = 1
        if useful == lanes:
            return
        self._drain(progress)
        self._sends_itself = useful == 0
        if useful > len(self._lanes):
            self._widen(useful, progress)

    def _widen(self, number: int, progress: Progress) -> None:
        leftovers = [batch for packer in self._packers if (batch := packer.take()) is not None]
        self._open_lanes(number)
        for leftover in leftovers:
            for one in leftover.each():
                lane = self._lane_of(one.users[0])
                for full in self._packers[lane].add_encoded(one):
                    self._hand_over(lane, full, progress)

    def _seconds_at_limit(self) -> float:
        counters, limits = self._counters, self._limits
        users = (counters.accepted - counters.kinds["event"]) / limits.users_per_minute
        minutes = max(users, counters.actions / limits.events_per_minute)
        return minutes * WINDOW / max(counters.requests, 1)

    def stop(self) -> None:
        """End the run at once: :meth:`run` raises, and lanes that wait stop waiting.

        A signal handler may call it: it takes no lock, which the interrupted thread might hold.
        """
        self._is_told_to_stop = True

    @property
    def accepted(self) -> int:
        """Elements taken by MoEngage so far."""
        return self._counters.accepted

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
        counters = self._counters
        share = total / max(counters.accepted, 1)
        users = int((counters.accepted - counters.kinds["event"]) * share)
        events = int(counters.actions * share)
        limits = self._limits
        minutes = max((users - 1) // limits.users_per_minute, (events - 1) // limits.events_per_minute, 0)
        return minutes * WINDOW

    def _hand_over(self, number: int, batch: Batch, progress: Progress) -> None:
        lane = self._lanes[number]
        if self._sends_itself:
            begun_at = self._clock.monotonic()
            is_delivered = self._sender.deliver_at_once(lane.client, batch)
            # While a lane waits, the run can be stopped.
            self._sends_itself = is_delivered and self._clock.monotonic() - begun_at < _TICK
            if is_delivered:
                self._check()
                progress.tell()
                return
        self._until(partial(lane.offer, batch, _TICK), progress)

    def _drain(self, progress: Progress) -> None:
        for lane in self._lanes:
            self._until(partial(lane.idle, _TICK), progress)

    def _until(self, done: Callable[[], bool], progress: Progress) -> None:
        while True:
            is_done = done()
            self._check()
            progress.tell()
            if is_done:
                return

    def _send_leftovers(self, progress: Progress) -> None:
        """Send what is left in the packers, in as few requests as hold it. The lanes are idle, so order holds."""
        leftovers = [batch for packer in self._packers if (batch := packer.take()) is not None]
        bodies = pack_together(leftovers, self._limits.most_users_a_request, self._limits.most_events_a_request)
        for number, batch in enumerate(bodies):
            self._hand_over(number % len(self._lanes), batch, progress)
        self._drain(progress)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None and not isinstance(error, StoppedError):
            self._failure = error
        self._stopped.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._is_told_to_stop or self._stopped.is_set():
            raise StoppedError

    def _report(self) -> DeliveryReport:
        counters = self._counters
        return DeliveryReport(
            dry_run=self._options.dry_run,
            accepted=counters.accepted,
            rejected=self._rejects.count,
            customers=counters.kinds["customer"],
            events=counters.kinds["event"],
            devices=counters.kinds["device"],
            actions=counters.actions,
            requests=counters.requests,
            bytes=counters.bytes,
            retries=counters.retries,
            throttled_seconds=round(counters.throttled_seconds, 3),
            elapsed_seconds=round(counters.elapsed_seconds, 3),
            warnings=dict(sorted(counters.warnings.items())),
            rejects=dict(sorted(self._rejects.by_code.items())),
            rejects_path=self._rejects.path if self._rejects.holds_lines else None,
            resumed=self._checkpoint.is_resumed,
        )

    def _tell_observer(self, report: DeliveryReport | None = None) -> None:
        if self._observe is not None:
            self._observe(report or self._report(), self.share_of_limit)

    def _describe(self, report: DeliveryReport, introduction: str) -> None:
        self._tell_observer(report)
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
