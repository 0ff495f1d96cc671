"""The checkpoint of a run: records what is done, so that another try resumes there.

A lane that has an answer returns to work when the state with that answer is stored. A try that is killed therefore
leaves only the requests in flight with an unknown outcome: at most one for each lane.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from typing import Any

from airflow_provider_moengage.bulk.batch import Batch
from airflow_provider_moengage.bulk.clock import Log, StoppedError
from airflow_provider_moengage.bulk.report import DeliveryReport, counted
from airflow_provider_moengage.bulk.resume.counters import Counters
from airflow_provider_moengage.bulk.resume.ledger import Ledger
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.resume.saved_run import SavedRun, UnknownOutcomeError
from airflow_provider_moengage.bulk.resume.writer import NotStoredError, Writer
from airflow_provider_moengage.bulk.sources import Chunk, Source
from airflow_provider_moengage.storage import StorageError, cause_of

_MANY_REJECTS = 1_000
"""Pending rejects after which the reader itself flushes them."""


class Checkpoint:
    """What a run has done. Reader and lanes share it.

    It connects the :class:`~.ledger.Ledger` (what is open), the :class:`~.writer.Writer` (when the state is
    stored) and the :class:`~.saved_run.SavedRun` (what an earlier try left).

    :param source: what is read.
    :param counters: counts of what is done; stored with it.
    :param rejects: the rejects; a rejected element is done once its reject is stored as safely as the state.
    :param log: gets a line about a resumed run, and a warning if the state cannot be stored.
    :param saved_run: what earlier tries left; None: nothing is stored.
    :param at_most_once: each request is recorded before it is sent, so that no later try sends it again.
    :raises UnknownOutcomeError: if an earlier try may have sent what must not be sent twice.
    """

    def __init__(
        self,
        source: Source,
        counters: Counters,
        rejects: Rejects,
        log: Log,
        saved_run: SavedRun | None,
        *,
        at_most_once: bool = False,
    ) -> None:
        self._source = source
        self._counters = counters
        self._rejects = rejects
        self._log = log
        self._saved_run = saved_run
        self._at_most_once = at_most_once
        self._ledger = Ledger(source, at_most_once=at_most_once)
        self._writer: Writer | None = None
        self._bookmark: Mapping[str, Any] | None = None
        self.is_resumed = False
        if saved_run is not None:
            rejects.track()
            self._writer = Writer(
                saved_run.save, self._flush_rejects, self._snapshot, log, is_required=at_most_once
            )
            self._resume(saved_run)

    def chunks(self, size: Callable[[], int]) -> Generator[Chunk]:
        """Read the source, from where an earlier try ended. Each chunk goes to :meth:`take_up`.

        :param size: returns the largest number of elements for the next chunk.
        """
        return self._source.chunks(self._bookmark if self.is_resumed else None, size)

    def take_up(self, chunk: Chunk) -> tuple[Chunk, Chunk | None]:
        """Record what was read.

        :return: the elements to send, and those that an earlier try sent with an unknown outcome and that must
            not be sent again.
        """
        writer = self._writer
        if writer is None:
            return chunk, None
        unknown: Chunk | None = None
        missing = 0
        with writer.lock:
            if chunk.is_reread:
                chunk, unknown = self._ledger.add_reread(chunk)
            else:
                missing = self._ledger.drop_unread()
                self._ledger.add(chunk)
        if missing:
            self._log.warning(
                "%s that an earlier try had read but not delivered are no longer in the source",
                counted(missing, "element"),
            )
        if self._rejects.pending >= _MANY_REJECTS:  # without requests, nothing else flushes them
            self._flush_rejects()
        return chunk, unknown

    def announce(self, batch: Batch) -> None:
        """Record that a request is about to be sent; returns when it may be.

        :raises StoppedError: if the run has ended meanwhile.
        :raises NotStoredError: if that could not be stored: for the first request, and with at most once for each.
        :raises StorageError: if rejects could not be written.
        """
        writer = self._writer
        if writer is None:
            return
        is_recorded = self._at_most_once and self._source.is_resumable
        if writer.has_stored and not is_recorded:
            return
        with writer.lock:
            if self._at_most_once:
                self._ledger.mark_in_flight(batch.positions)
            self._ledger.advance(batch.positions)
            writer.note_change()
        try:
            writer.flush()
        except (NotStoredError, StorageError):
            self.withdraw(batch)  # it is not sent
            raise
        if writer.is_closed:
            raise StoppedError

    def withdraw(self, batch: Batch) -> None:
        """Record that a request was certainly not processed."""
        writer = self._writer
        if self._at_most_once and writer is not None:
            with writer.lock:
                self._ledger.clear_in_flight(batch.positions)
                writer.note_change()

    def accept(self, batch: Batch) -> None:
        """Record what MoEngage has accepted; returns when it is stored."""
        writer = self._writer
        if writer is None:
            self._counters.count_accepted(batch.weights)
            return
        with writer.lock:
            self._counters.count_accepted(batch.weights)
            self._ledger.advance(batch.positions)
            writer.note_change()
            self._ledger.close(batch.positions)
        if self._source.is_resumable:
            writer.flush()

    def close(self) -> None:
        """Store the state for another try. Nothing is stored after that."""
        writer = self._writer
        if writer is None:
            return
        with writer.lock:
            writer.note_change()
        try:
            if writer.has_stored:
                with suppress(StorageError):  # of the rejects, which stay open; closing them reports it
                    writer.flush(is_last=True)
        finally:
            writer.close()

    def check(self) -> None:
        """Check that this is still the latest try of the task.

        :raises FencedError: if a later one has taken over.
        """
        if self._saved_run is not None:
            self._saved_run.check()

    def finish(self, report: DeliveryReport) -> None:
        """Store that everything is done. Nothing is stored after that."""
        if self._writer is None or self._saved_run is None:
            return
        self._writer.close()
        try:
            self._saved_run.save({"report": report.to_dict()}, is_complete=True)
        except Exception as error:  # noqa: BLE001 (a failure now would send everything again)
            self._log.warning(
                "Everything was delivered, but that could not be recorded (%s); after a Clear, this task may send"
                " nothing",
                cause_of(error),
            )

    def _resume(self, saved_run: SavedRun) -> None:
        source, state = self._source, saved_run.unfinished
        obstacle = saved_run.obstacle(
            is_resumable=source.is_resumable, why_not=source.why_not, at_most_once=self._at_most_once
        )
        if obstacle is not None:
            if self._at_most_once and saved_run.must_not_repeat:
                raise UnknownOutcomeError(f"an earlier try may have sent some of it, and {obstacle}")
            self._log.warning(
                "An earlier try ended%s. This try cannot resume because %s; sending everything again. Users that"
                " had arrived are only updated; events that had arrived will be duplicated",
                "" if state is None else f" early ({_done(state['figures'])})",
                obstacle,
            )
            return
        if state is None:
            return
        self._bookmark = state["bookmark"]
        self._ledger.restore(source.remaining(self._bookmark))
        counts = state["figures"]
        self._counters.restore(counts)
        self._rejects.restore(counts["rejected"], counts["rejects"], state["rejects_bytes"])
        if self._writer is not None:
            self._writer.has_stored = True
        self.is_resumed = True
        self._log.info(
            "Resuming from an earlier try: %s; %s before that point are not delivered yet",
            _done(counts),
            counted(self._ledger.unread, "element"),
        )

    def _flush_rejects(self, is_last: bool = False) -> None:
        """Make rejects as safe as the state will be, then count them as done."""
        writer, saved_run = self._writer, self._saved_run
        if writer is None or saved_run is None:
            return
        flushed = self._rejects.flush(is_last=is_last, before_upload=saved_run.check)
        with writer.lock:
            for position, codes in flushed:
                self._ledger.advance([position])
                self._ledger.close([position])
                self._counters.count_stored_reject(codes)

    def _snapshot(self) -> dict[str, Any]:
        return {
            "bookmark": self._ledger.bookmark(),
            "figures": self._counters.to_dict(),
            "rejects_path": self._rejects.path,
            "rejects_bytes": self._rejects.flushed_bytes,
            "at_most_once": self._at_most_once,
        }


def _done(counts: Mapping[str, Any]) -> str:
    return f"{counted(counts['accepted'], 'element')} were accepted and {counts['rejected']:,} rejected"
