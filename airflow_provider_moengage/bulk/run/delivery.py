"""The run itself: reads elements, checks them, packs them into requests, and sends them over several lanes.

The reader (the caller's thread) checks, encodes and packs. Each lane (a thread with a connection of its own) sends
one body after the other. All elements of a user go through the same lane, so they arrive in order. Queues are
bounded: memory does not grow with the source.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TypeVar
from zlib import crc32

from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.api.responses import Outcome
from airflow_provider_moengage.api.users.deletion import PER_MINUTE as DELETIONS_PER_MINUTE
from airflow_provider_moengage.bulk.batch import Batch, Elements
from airflow_provider_moengage.bulk.changed.removed.removals import Removals
from airflow_provider_moengage.bulk.changed.tracker import ChangeTracker
from airflow_provider_moengage.bulk.clock import StoppedError
from airflow_provider_moengage.bulk.elements.encoding import Encoder
from airflow_provider_moengage.bulk.elements.rules import WorkspaceRules
from airflow_provider_moengage.bulk.rate_limit.pacer import WINDOW, Limits, Pacer
from airflow_provider_moengage.bulk.report import DeliveryReport, counted
from airflow_provider_moengage.bulk.resume.checkpoint import Checkpoint
from airflow_provider_moengage.bulk.resume.fence import FencedError
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.resume.saved_run import SavedRun
from airflow_provider_moengage.bulk.run.context import RunContext
from airflow_provider_moengage.bulk.run.lane import DELETING_LANES, DELETION, Client, Job, Lane
from airflow_provider_moengage.bulk.run.lane_count import LaneScaler
from airflow_provider_moengage.bulk.run.packer import Packer, pack_together
from airflow_provider_moengage.bulk.run.progress import Progress
from airflow_provider_moengage.bulk.run.reader import Reader
from airflow_provider_moengage.bulk.run.sender import Sender
from airflow_provider_moengage.bulk.sources import Source, Stream
from airflow_provider_moengage.storage import StorageError, cause_of, shown

Packed = TypeVar("Packed", Elements, Batch)

_LAST_WAIT = 1.0
"""Seconds that lanes have to end once the run is over. One that still waits for an answer is abandoned."""

_TICK = 0.5
"""Seconds between looks at errors and the clock while the reader waits for a lane."""


class Delivery:
    """One run.

    :param context: clock, log, counters, options and pacer of the run.
    :param source: what to deliver.
    :param client: the workspace to send to.
    :param rejects: gets what cannot be sent.
    :param saved_run: what earlier tries left, and where this one stores what it has done; None stores nothing. A
        :class:`~airflow_provider_moengage.bulk.changed.tracker.ChangeTracker` also picks the elements to send.
    :param observe: called with the report so far and the used share of the limit: at the beginning, with each
        progress line, and at the end.
    :raises UnknownOutcomeError: if an earlier try may have sent what must not be sent twice.
    """

    def __init__(
        self,
        context: RunContext,
        source: Source,
        client: Client,
        rejects: Rejects,
        *,
        saved_run: SavedRun | ChangeTracker | None = None,
        observe: Callable[[DeliveryReport, float], None] | None = None,
    ) -> None:
        self._context = context
        self._source = source
        self._client = client
        self._rejects = rejects
        self._observe = observe
        self._log = context.log
        self._clock = context.clock
        self._options = context.options
        self._counters = context.counters
        self._limits = context.pacer.limits
        names = self._options.identifiers
        workspace = WorkspaceRules(None if names is None else frozenset(names))
        if isinstance(source, Stream):
            source = source.checked_as_read(self._options.validation != "off", workspace)
        self._changes = saved_run if isinstance(saved_run, ChangeTracker) else None
        self._checkpoint: Checkpoint | ChangeTracker
        if isinstance(saved_run, ChangeTracker):
            self._checkpoint = saved_run
        else:
            self._checkpoint = Checkpoint(
                source, context.counters, rejects, context.log, saved_run, at_most_once=context.is_at_most_once
            )
        self._encoder = Encoder()
        self._reader = Reader(context.options.validation, rejects, self._checkpoint, self._encoder, workspace)
        self._lane_scaler = LaneScaler(context.clock.monotonic, self._seconds_at_limit)
        self._sender = Sender(context, rejects, self._checkpoint, self._lane_scaler, context.requests.elements)
        self._request = context.requests.elements
        self._lanes: list[Lane] = []
        self._may_send_itself = (
            context.options.concurrency is None and saved_run is None and not context.is_at_most_once
        )
        self._sends_itself = False
        self._packers: list[Packer] = []
        self._failure: BaseException | None = None

    def run(self) -> DeliveryReport:
        """Deliver every element, in order for each user.

        :return: the report. ``accepted + rejected`` is the number of elements.
        :raises StorageError: if rejects cannot be written: before anything is sent, or on the way.
        :raises RejectsNotWrittenError: if rejects could not be written after everything was sent.
        :raises NotRemovedError: if users who have left were not removed, after everything was sent and stored.
        :raises ApiError: if MoEngage cannot be reached any more, or refuses the caller. Nothing is lost by that:
            another try sends what the checkpoint does not hold.
        """
        if not self._rejects.begin():
            self._log.warning("Rejects of an earlier try are missing; the rejects file will be incomplete")
        try:
            self._deliver_all()
        except BaseException as error:
            self._end_early(error)
            raise
        report = self._report()
        self._describe(report, "")
        self._check_not_replaced()
        try:
            self._close_rejects(is_complete=not self._options.dry_run)
            self._name_rejects_file()
        except StorageError as trouble:
            self._close("checkpoint", self._checkpoint.close)
            raise RejectsNotWrittenError(report, trouble) from None
        self._checkpoint.finish(report)
        if self._changes is not None and (why := self._changes.why_not_removed) is not None:
            raise NotRemovedError(report, why)
        return report

    def _check_not_replaced(self) -> None:
        """Check that this is still the latest try of the task: the rejects file belongs to the latest.

        :raises FencedError: if it is not.
        """
        try:
            self._checkpoint.check()
        except FencedError:
            self._rejects.abandon()
            raise

    def _end_early(self, error: BaseException) -> None:
        try:
            self._check_not_replaced()
            is_latest = True
        except FencedError:
            is_latest = False
        self._close("checkpoint", self._checkpoint.close)
        are_written = is_latest and self._close("rejects", partial(self._close_rejects, is_complete=False))
        name = error.kind.value if isinstance(error, ApiError) else type(error).__name__
        self._describe(self._report(), f"The run ended early ({name}); done so far: ")
        if are_written:
            self._name_rejects_file()

    def _close(self, what: str, act: Callable[[], None]) -> bool:
        try:
            act()
        except Exception as trouble:  # noqa: BLE001 (the error that ended the run is reported)
            self._log.warning("The %s could not be written (%s)", what, cause_of(trouble))
            return False
        return True

    def _name_rejects_file(self) -> None:
        if self._rejects.holds_lines:
            self._log.warning("The rejects file is %s", shown(self._rejects.path))

    def _close_rejects(self, *, is_complete: bool) -> None:
        for trouble in self._rejects.close(is_complete=is_complete):
            self._log.warning("%s; it is of no use any more: remove it yourself", trouble)
        if self._rejects.is_shared:
            self._log.warning(
                "Another task has written to the same rejects file meanwhile. The file holds the rejects of the"
                " task that ends last; for all of them, set rejects_path to a folder"
            )

    def _deliver_all(self) -> None:
        progress = Progress(self._log, self._clock, self, self._source.total, self._call_observer)
        self._call_observer()
        self._open_lanes(self._options.concurrency or 1)

        def between_chunks() -> None:
            self._check()
            progress.log_if_due()

        try:
            # An early end closes the source's cursor.
            with closing(self._reader.elements(between_chunks)) as chunks:
                for elements in chunks:
                    self._pack(elements, progress)
                    self._adapt(progress)
            self._drain(progress)
            self._send_leftovers(progress)
            if self._changes is not None:
                self._changes.settle()
                self._remove(self._changes, progress)
        finally:
            self._context.stopped.set()
            for lane in self._lanes:
                lane.end()
            for lane in self._lanes:
                lane.join(_LAST_WAIT / len(self._lanes))

    def _remove(self, changes: ChangeTracker, progress: Progress) -> None:
        """Remove the users whose rows have left the query. Everything was sent, so no later request is of them."""
        removals = changes.removals()
        if removals is None:
            return
        if removals.deletes:
            self._delete(removals, progress)
            return
        self._request = request = self._context.requests.removals
        self._packers = [self._packer() for _ in self._lanes]
        self._sender = Sender(self._context, removals, removals, self._lane_scaler, request)
        for batch in removals.batches():
            for number, some in self._by_lane(batch):
                for full in self._packers[number].add_lines(some):
                    self._hand_over(number, full, progress)
        self._send_leftovers(progress)

    def _delete(self, removals: Removals, progress: Progress) -> None:
        """Delete users, one a request, within the limit of deletions."""
        context = self._context
        limit = Limits(DELETIONS_PER_MINUTE, DELETIONS_PER_MINUTE)
        paced = replace(context, pacer=Pacer(limit, context.clock, context.stopped))
        self._sender = Sender(paced, removals, removals, self._lane_scaler, DELETION)
        if self._options.concurrency is None and len(self._lanes) < DELETING_LANES:
            self._add_lanes(DELETING_LANES, progress)
        for batch in removals.batches():
            for one in batch.each():
                self._hand_over(self._lane_of(one.users[0]), one, progress)
        self._drain(progress)

    def _send(self, client: Client, job: Job) -> None:
        self._sender.deliver(client, job)

    def _pack(self, elements: Elements, progress: Progress) -> None:
        if self._changes is None:
            for number, some in self._by_lane(elements):
                for full in self._packers[number].add(some):
                    self._hand_over(number, full, progress)
            return
        for number, changed in self._by_lane(self._reader.changed(elements)):
            for full in self._packers[number].add_lines(changed):
                self._hand_over(number, full, progress)

    def _open_lanes(self, number: int) -> None:
        while len(self._lanes) < number:
            self._lanes.append(Lane(self._send, self._client.fork(), self._fail))
        self._packers = [self._packer() for _ in self._lanes]

    def _packer(self) -> Packer:
        request = self._request
        return Packer(
            *self._most_per_request(),
            self._encoder,
            self._reader.refuse,
            request.envelope_bytes,
            request.largest_body,
        )

    def _most_per_request(self) -> tuple[int, int]:
        """Return how many users and events a request may have."""
        if self._request.is_unit:
            return sys.maxsize, sys.maxsize
        return self._limits.max_users_per_request, self._limits.max_events_per_request

    def _by_lane(self, elements: Packed) -> Iterable[tuple[int, Packed]]:
        """Split elements, in order, by the lane of each one's user."""
        if len(self._lanes) == 1:
            return [(0, elements)]
        places: list[list[int]] = [[] for _ in self._lanes]
        for at, user in enumerate(elements.users):
            places[self._lane_of(user)].append(at)
        return [(number, elements.pick(part)) for number, part in enumerate(places) if part]

    def _lane_of(self, user: str) -> int:
        return crc32(user.encode(errors="surrogatepass")) % len(self._lanes)

    def _adapt(self, progress: Progress) -> None:
        """Continue with as many lanes as are useful, or with none. A user's elements may then go through another
        lane, so everything that was handed over is delivered first.
        """
        if self._options.concurrency is not None:
            return
        lanes = 0 if self._sends_itself else len(self._lanes)
        useful = self._lane_scaler.useful_lanes(lanes)
        if useful == 0 and not self._may_send_itself:
            useful = 1
        if useful == lanes:
            return
        self._drain(progress)
        self._sends_itself = useful == 0
        if useful > len(self._lanes):
            self._add_lanes(useful, progress)

    def _add_lanes(self, number: int, progress: Progress) -> None:
        leftovers = [batch for packer in self._packers if (batch := packer.take()) is not None]
        self._open_lanes(number)
        for leftover in leftovers:
            for one in leftover.each():
                lane = self._lane_of(one.users[0])
                for full in self._packers[lane].add_lines(one):
                    self._hand_over(lane, full, progress)

    def _seconds_at_limit(self) -> float:
        counters, limits = self._counters, self._limits
        if self._request.is_unit:
            return WINDOW / limits.users_per_minute
        users = (counters.accepted - counters.kinds["event"]) / limits.users_per_minute
        minutes = max(users, counters.actions / limits.events_per_minute)
        return minutes * WINDOW / max(counters.requests, 1)

    def stop(self) -> None:
        """End the run at once: nothing more is sent, :meth:`run` raises, and lanes that wait stop waiting.

        A signal handler may call it: it takes no lock, which the interrupted thread might hold.
        """
        self._context.stop.make()

    @property
    def has_sent(self) -> bool:
        """Whether this run or an earlier try has sent anything."""
        return self._counters.requests > 0 and not self._options.dry_run

    @property
    def accepted(self) -> int:
        """Elements that MoEngage has accepted so far."""
        return self._counters.accepted

    @property
    def rejected(self) -> int:
        """Elements rejected so far."""
        return self._rejects.count

    @property
    def unchanged(self) -> int:
        """Elements that did not have to be sent so far."""
        return self._counters.unchanged

    @property
    def share_of_limit(self) -> float:
        """How much of the workspace's limit the last minute took, from 0 to 1."""
        return self._context.pacer.utilization()

    @property
    def throttled_seconds(self) -> float:
        """Seconds that the limits have made a lane wait so far."""
        return self._context.pacer.waited

    @property
    def seconds_left_to_wait(self) -> float:
        """Seconds until the limits let the next request go."""
        return self._context.pacer.seconds_left_to_wait

    def least_seconds(self, total: int) -> float:
        """Seconds that the limits make a run of that many elements take, if all are like those so far: the first
        minute's worth goes at once, and each further one a minute later.
        """
        counters = self._counters
        share = total / max(counters.accepted, 1)
        users = int((counters.accepted - counters.kinds["event"]) * share)
        if self._request.is_unit:
            users = int(counters.requests * share)
        events = int(counters.actions * share)
        limits = self._limits
        minutes = max((users - 1) // limits.users_per_minute, (events - 1) // limits.events_per_minute, 0)
        return minutes * WINDOW

    def _hand_over(self, number: int, batch: Batch, progress: Progress) -> None:
        lane = self._lanes[number]
        job = Job(batch)
        self._lane_scaler.record_made()
        if self._sends_itself:
            began_at = self._clock.monotonic()
            reply = self._sender.deliver_at_once(lane.client, batch)
            is_accepted = reply is not None and reply.outcome is Outcome.ACCEPTED
            # While a lane waits, the run can be stopped.
            self._sends_itself = is_accepted and self._clock.monotonic() - began_at < _TICK
            if is_accepted:
                self._check()
                progress.log_if_due()
                return
            job = Job(batch, reply)
        self._until(partial(lane.offer, job, _TICK), progress)

    def _drain(self, progress: Progress) -> None:
        for lane in self._lanes:
            self._until(partial(lane.idle, _TICK), progress)

    def _until(self, done: Callable[[], bool], progress: Progress) -> None:
        while True:
            is_done = done()
            self._check()
            progress.log_if_due()
            if is_done:
                return

    def _send_leftovers(self, progress: Progress) -> None:
        """Send what is left in the packers, in as few requests as possible. The lanes are idle, so order holds."""
        leftovers = [batch for packer in self._packers if (batch := packer.take()) is not None]
        request = self._request
        bodies = pack_together(leftovers, *self._most_per_request(), request.envelope_bytes, request.largest_body)
        for number, batch in enumerate(bodies):
            self._hand_over(number % len(self._lanes), batch, progress)
        self._drain(progress)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None and not isinstance(error, StoppedError):
            self._failure = error
        self._context.stopped.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._context.stop.is_made or self._context.stopped.is_set():
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
            unchanged=counters.unchanged,
            new=counters.new,
            changed=counters.changed,
            removed=counters.removed,
        )

    def _call_observer(self, report: DeliveryReport | None = None) -> None:
        if self._observe is not None:
            self._observe(report or self._report(), self.share_of_limit)

    @property
    def _fate(self) -> str:
        return "" if self._changes is None else f": {self._changes.fate}"

    def _describe(self, report: DeliveryReport, introduction: str) -> None:
        self._call_observer(report)
        self._log.info("%s%s", introduction, report.summary_with(self._fate))
        for code, count in report.warnings.items():
            names = self._reader.warned.of(code)
            about = f" ({names})" if names else ""
            self._log.warning(
                "%s with %s%s: MoEngage will alter or ignore part of it", counted(count, "element"), code, about
            )
        for sentence in self._rejects.describe():
            self._log.warning("%s", sentence)


class NotRemovedError(Exception):
    """Everything was sent and stored, but users whose rows have left the query were not removed.

    :param report: the report of the run.
    :param why: why, and what to do.
    """

    def __init__(self, report: DeliveryReport, why: str) -> None:
        super().__init__(why)
        self.report = report


class RejectsNotWrittenError(Exception):
    """Everything was sent, but the rejects could not be written.

    :param report: the report of the run.
    :param cause: the error that kept them from being written.
    """

    def __init__(self, report: DeliveryReport, cause: StorageError) -> None:
        super().__init__(f"the rejects could not be written ({cause.cause})")
        self.report = report
        self.cause = cause
