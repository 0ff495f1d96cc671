"""What a run has done of its source, kept so that another try goes on from there.

Everything up to the last element that was sent is done, but for what is open. That is bounded by what the lanes
hold, so the state is small however long the run is. A lane that has an answer returns to work when the state with
it is stored, so a try that is killed leaves in doubt only the requests that are on their way: at most one a lane.
Lanes that wait for the store share a write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import repeat
from typing import Any

from airflow_provider_moengage.bulk.batch import Batch
from airflow_provider_moengage.bulk.clock import Log, StoppedError
from airflow_provider_moengage.bulk.report import DeliveryReport, counted
from airflow_provider_moengage.bulk.resume.counters import Tally
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.resume.saved_run import InDoubtError, Memory
from airflow_provider_moengage.bulk.sources import Chunk, Left, Source

_MANY_REJECTS = 1_000
"""Rejects after which the reader sees to it that they are booked."""


class NotStoredError(Exception):
    """The state could not be stored, and without it nothing may be sent. Its text is the name of the cause."""


class Checkpoint:
    """What a run has done of its source. Shared by reader and lanes.

    :param source: what is read.
    :param tally: figures of what is done; kept with it.
    :param rejects: what was rejected; an element is done once its reject is as safe as the state.
    :param log: told how the run begins, and where the state cannot be kept.
    :param memory: None keeps nothing.
    :param at_most_once: what may have arrived is not sent again, so each request is announced before it goes.
    :raises InDoubtError: where that cannot be kept.
    """

    def __init__(
        self,
        source: Source,
        tally: Tally,
        rejects: Rejects,
        log: Log,
        memory: Memory | None,
        *,
        at_most_once: bool = False,
    ) -> None:
        self._source = source
        self._tally = tally
        self._rejects = rejects
        self._log = log
        self._memory = memory
        self._at_most_once = at_most_once
        self._changed = threading.Condition()
        self._read: dict[int, Any] = {}
        """Mark of each element that was read and is not done, in the order of reading."""
        self._reread: set[int] = set()
        """Those of them that an earlier try had read as well, whatever their number is now."""
        self._names: dict[int, Any] = {}
        self._sent: set[int] = set()
        self._last: tuple[int, Any] | None = None
        self._before = Left((-1, None))
        self._bookmark: Mapping[str, Any] | None = None
        self._is_new = True
        self._changes = 0
        self._stored = 0
        self._is_storing = False
        self._is_closed = False
        self._is_failing = False
        self.is_resumed = False
        if memory is not None:
            rejects.track()
            self._go_on(memory)

    def chunks(self, size: Callable[[], int]) -> Generator[Chunk]:
        """Read the source, from where an earlier try has ended. What it gives goes to :meth:`take_up`.

        :param size: says how many elements to give at once, at the most.
        """
        return self._source.chunks(self._bookmark if self.is_resumed else None, size)

    def take_up(self, chunk: Chunk) -> tuple[Chunk, Chunk | None]:
        """Book what was read.

        :return: what is to be sent, and what an earlier try has sent with an unknown outcome and may not go again.
        """
        if self._memory is None:
            return chunk, None
        in_doubt = None
        with self._changed:
            if chunk.is_reread:
                chunk, in_doubt = self._not_done(chunk)
            else:
                if self._before.open or self._before.sent:
                    self._forget_the_missing()
                self._read.update(zip(chunk.positions, chunk.marks or repeat(None), strict=False))
        if self._rejects.waiting >= _MANY_REJECTS:  # where nothing else is sent, nothing else stores
            self._settle(self._rejects.settle())
        return chunk, in_doubt

    def announce(self, batch: Batch) -> None:
        """Say that a request is about to go; returns when it may.

        :raises StoppedError: where the run has ended meanwhile.
        :raises NotStoredError: where that could not be stored: for the first request, and at most once for each.
        """
        is_noted = self._at_most_once and self._source.is_resumable
        if self._memory is None or not (is_noted or self._is_new):
            return
        with self._changed:
            if self._at_most_once:
                self._sent.update(batch.positions)
            self._note_last(batch)
        self._store()
        if self._is_closed:
            raise StoppedError

    def withdraw(self, batch: Batch) -> None:
        """Say that a request was surely not processed."""
        if self._at_most_once and self._memory is not None:
            with self._changed:
                self._sent.difference_update(batch.positions)
                self._changes += 1

    def accept(self, batch: Batch) -> None:
        """Book what MoEngage has accepted; returns when it is stored."""
        with self._changed:
            self._tally.take(batch.weights)
            if self._memory is None:
                return
            self._note_last(batch)
            for position in batch.positions:
                self._forget(position)
        if self._source.is_resumable:
            self._store()

    def close(self) -> None:
        """Store what there is, for another try. Nothing is stored after that."""
        with self._changed:
            self._changes += 1
        if not self._is_new:
            self._store(is_last=True)
        self._close()

    def finish(self, report: DeliveryReport) -> None:
        """Store that nothing is left. Nothing is stored after that."""
        self._close()
        if self._memory is None:
            return
        try:
            self._memory.save({"report": report.to_dict()}, is_complete=True)
        except Exception as error:  # to fail now would send everything again
            self._log.warning(
                "That all is delivered could not be stored (%s): a Clear of this task may send nothing",
                type(error).__name__,
            )

    def _close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._is_storing)

    def _go_on(self, memory: Memory) -> None:
        source, state = self._source, memory.unfinished
        why_afresh = memory.why_afresh(source.is_resumable, source.why_not, at_most_once=self._at_most_once)
        if why_afresh is not None:
            if self._at_most_once and memory.must_not_repeat:
                raise InDoubtError(f"an earlier try may have sent some of it, and {why_afresh}")
            self._log.warning(
                "An earlier try has ended%s. This one cannot go on from there, for %s: everything is sent anew."
                " Users are the same afterwards; events that had arrived will be there twice",
                "" if state is None else f" early, when {_done(state['figures'])}",
                why_afresh,
            )
            return
        if state is None:
            return
        self._bookmark = state["bookmark"]
        left = source.left(self._bookmark)
        self._before, self._last = left, left.last
        figures = state["figures"]
        self._tally.restore(figures)
        self._rejects.restore(figures["rejected"], figures["rejects"], state["rejects_bytes"])
        self._is_new = False
        self.is_resumed = True
        self._log.info(
            "Going on where an earlier try has ended: %s; %s before that point are still open",
            _done(figures),
            counted(len(left.open) + len(left.sent), "element"),
        )

    def _not_done(self, chunk: Chunk) -> tuple[Chunk, Chunk]:
        """Leave out what is done. What is open passes from the bookmark's names to what was read, and at no moment
        is in neither: the exception of a signal may come between any two lines.
        """
        before = self._before
        kept: list[int] = []
        in_doubt: list[int] = []
        names: dict[int, Any] = {}
        for at, (position, mark) in enumerate(zip(chunk.positions, chunk.marks or repeat(None), strict=False)):
            name = self._source.name(position, mark)
            is_sent = name in before.sent
            if is_sent or name in before.open:
                (in_doubt if is_sent and self._at_most_once else kept).append(at)
                names[position] = name
        to_send, doubtful = chunk.pick(kept), chunk.pick(in_doubt)
        self._names.update(names)
        self._reread.update(names)
        self._sent.update(doubtful.positions)
        for part in (doubtful, to_send):
            self._read.update(zip(part.positions, part.marks or repeat(None), strict=False))
        before.open.difference_update(names.values())
        before.sent.difference_update(names.values())
        return to_send, doubtful

    def _forget_the_missing(self) -> None:
        before = self._before
        self._log.warning(
            "%s that an earlier try had read and not delivered are in the source no more",
            counted(len(before.open) + len(before.sent), "element"),
        )
        before.open.clear()
        before.sent.clear()

    def _note_last(self, batch: Batch) -> None:
        self._changes += 1
        positions: Sequence[int] = batch.positions
        if self._reread:
            positions = [position for position in positions if position not in self._reread]
        last = max(positions, default=-1)
        if last >= 0:
            self._move_last(last)

    def _move_last(self, position: int) -> None:
        if self._last is None or position > self._last[0]:
            self._last = (position, self._read.get(position))

    def _forget(self, position: int) -> None:
        """An element is done."""
        self._read.pop(position, None)
        self._names.pop(position, None)
        self._reread.discard(position)
        self._sent.discard(position)

    def _settle(self, rejects: Sequence[tuple[int, list[str]]]) -> None:
        """Book rejects that are as safe now as the state will be."""
        with self._changed:
            for position, codes in rejects:
                if position not in self._reread:
                    self._move_last(position)
                self._forget(position)
                self._tally.settle_reject(codes)

    def _store(self, *, is_last: bool = False) -> None:
        """Store the state as it is now, or wait until somebody else has."""
        if self._memory is None:
            return
        with self._changed:
            wanted = self._changes
            while self._is_storing and self._stored < wanted:
                self._changed.wait()
            if self._is_closed or self._stored >= wanted:
                return
            self._is_storing = True
        stored = self._stored
        try:
            self._settle(self._rejects.settle(is_last=is_last))
            with self._changed:
                changes, state = self._changes, self._state()
            self._save(self._memory, state)
            self._is_new = False
            stored = changes
        finally:
            with self._changed:
                self._is_storing = False
                self._stored = stored
                self._changed.notify_all()

    def _state(self) -> dict[str, Any]:
        assert self._last is not None
        last, before, reread = self._last[0], self._before, self._reread
        left = Left(self._last, set(before.open), set(before.sent))
        for position, mark in self._read.items():
            if position <= last or position in reread:
                if left.first is None or position < left.first[0]:
                    left.first = (position, mark)
                (left.sent if position in self._sent else left.open).add(self._name(position, mark))
        return {
            "bookmark": self._source.bookmark(left),
            "figures": self._tally.to_dict(),
            "rejects_path": self._rejects.path,
            "rejects_bytes": self._rejects.settled_bytes,
            "at_most_once": self._at_most_once,
        }

    def _name(self, position: int, mark: Any) -> Any:
        name = self._names.get(position)
        if name is None:
            name = self._names[position] = self._source.name(position, mark)
        return name

    def _save(self, memory: Memory, state: dict[str, Any]) -> None:
        try:
            memory.save(state)
        except Exception as error:
            if self._at_most_once or self._is_new:
                raise NotStoredError(type(error).__name__) from error
            if not self._is_failing:
                self._log.warning(
                    "The checkpoint could not be stored (%s): should this try end early, the next one will send"
                    " again what was accepted since the last one",
                    type(error).__name__,
                )
            self._is_failing = True
        else:
            self._is_failing = False


def _done(figures: Mapping[str, Any]) -> str:
    return f"{counted(figures['accepted'], 'element')} were accepted and {figures['rejected']:,} rejected"
