"""What a run has done of its source, kept so that another try goes on from there.

Everything up to the last element that was sent is done, but for what is open. That is bounded by what the lanes
hold, so the state is small however long the run is. A lane that has an answer returns to work when the state with
it is stored, so a try that is killed leaves in doubt only the requests that are on their way: at most one a lane.
Lanes that wait for the store share a write.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

from airflow_provider_moengage.bulk.pacing import StoppedError
from airflow_provider_moengage.bulk.packing import Line
from airflow_provider_moengage.bulk.progress import Log
from airflow_provider_moengage.bulk.rejects import Rejects
from airflow_provider_moengage.bulk.report import DeliveryReport, counted
from airflow_provider_moengage.bulk.sources import Item, Left, Source
from airflow_provider_moengage.bulk.tally import Tally

_VERSION = 1
_RUNNING, _COMPLETE = "running", "complete"

_MANY_REJECTS = 1_000
"""Rejects after which the reader sees to it that they are booked."""


class Store(Protocol):
    """Where a state outlives the process."""

    def load(self) -> dict[str, Any] | None:
        """Return what an earlier try has left: None for nothing, empty where it cannot be read."""

    def save(self, state: dict[str, Any]) -> None:
        """Replace it. Returns when it is stored: a process that is killed meanwhile leaves the old or the new."""


class InDoubtError(Exception):
    """An earlier try may have sent what this one would send, and that must not be sent twice."""


class NotStoredError(Exception):
    """The state could not be stored, and without it nothing may be sent. Its text is the name of the cause."""


class Memory:
    """What earlier tries of the same task have left in a store.

    :param store: where it is.
    :param fingerprint: of the inputs; with others the run starts afresh.
    :param life: what is the same for all tries until somebody clears the task, JSON-ready.
    """

    def __init__(self, store: Store, fingerprint: str, life: Any = None) -> None:
        self._store = store
        self._stamp = {"version": _VERSION, "fingerprint": fingerprint, "life": life}
        self._state = store.load()

    @property
    def report(self) -> DeliveryReport | None:
        """What an earlier try in this life of the task has ended with: there is nothing left to do."""
        state = self._state
        if not state or state.get("status") != _COMPLETE:
            return None
        return DeliveryReport(**state["report"]) if self.is_same_life and self._is_same_input(state) else None

    @property
    def unfinished(self) -> dict[str, Any] | None:
        """The state of a run of the same inputs that has not ended."""
        state = self._state
        if not state or state.get("status") != _RUNNING:
            return None
        return state if self._is_same_input(state) else None

    @property
    def is_same_life(self) -> bool:
        """Whether nobody has cleared the task since."""
        return bool(self._state) and self._state is not None and self._state.get("life") == self._stamp["life"]

    @property
    def is_unreadable(self) -> bool:
        """Whether something is there that cannot be read."""
        return self._state == {}

    @property
    def rejects_path(self) -> str | None:
        """Where the unfinished run has put its rejects."""
        path = (self.unfinished or {}).get("rejects_path")
        return None if path is None else str(path)

    def save(self, state: Mapping[str, Any], *, is_complete: bool = False) -> None:
        """Replace what is there."""
        self._store.save({**self._stamp, "status": _COMPLETE if is_complete else _RUNNING, **state})

    def _is_same_input(self, state: Mapping[str, Any]) -> bool:
        return all(state.get(name) == self._stamp[name] for name in ("version", "fingerprint"))


class Checkpoint:
    """What a run has done of its source. Shared by reader and lanes.

    :param source: what is read.
    :param tally: figures of what is done; kept with it.
    :param rejects: what was rejected; an element is done once its reject is as safe as the state.
    :param log: told how the run begins, and where the state cannot be kept.
    :param memory: None keeps nothing.
    :param at_most_once: what may have arrived is not sent again, so each request is announced before it goes.
    :raises InDoubtError: where that cannot be kept, for an earlier try has left no names.
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

    def items(self) -> Generator[Item]:
        """Read the source, from where an earlier try has ended. What it gives goes to :meth:`take_up`."""
        return self._source.items(self._bookmark if self.is_resumed else None)

    def take_up(self, items: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
        """Book what was read.

        :return: what is to be sent, and what an earlier try has sent with an unknown outcome and may not go again.
        """
        if self._memory is None:
            return items, ()
        in_doubt: list[Item] = []
        with self._changed:
            if self.is_resumed:
                items = self._not_done(items, in_doubt)
            self._read.update([(item.position, item.mark) for item in items])
        if self._rejects.unsettled >= _MANY_REJECTS:  # where nothing else is sent, nothing else stores
            self._rejects.flush()
            with self._changed:
                self._settle_rejects()
        return items, in_doubt

    def announce(self, lines: Sequence[Line]) -> None:
        """Say that a request is about to go; returns when it may.

        :raises StoppedError: where the run has ended meanwhile.
        :raises NotStoredError: where that could not be stored: for the first request, and at most once for each.
        """
        is_noted = self._at_most_once and self._source.is_resumable
        if self._memory is None or not (is_noted or self._is_new):
            return
        with self._changed:
            if self._at_most_once:
                self._sent.update([line.position for line in lines])
            self._note_last(lines)
        self._store()
        if self._is_closed:
            raise StoppedError

    def withdraw(self, lines: Sequence[Line]) -> None:
        """Say that a request was surely not processed."""
        if self._at_most_once and self._memory is not None:
            with self._changed:
                self._sent.difference_update([line.position for line in lines])
                self._changes += 1

    def accept(self, lines: Sequence[Line]) -> None:
        """Book what MoEngage has accepted; returns when it is stored."""
        with self._changed:
            self._tally.take(lines)
            if self._memory is None:
                return
            self._note_last(lines)
            for line in lines:
                self._read.pop(line.position, None)
            self._sent.difference_update([line.position for line in lines])
        if self._source.is_resumable:
            self._store()

    def close(self) -> None:
        """Store what there is, for another try. Nothing is stored after that."""
        with self._changed:
            self._changes += 1
        if self._last is not None:
            self._store(is_last=True)
        self._is_closed = True

    def finish(self, report: DeliveryReport) -> None:
        """Store that nothing is left. Nothing is stored after that."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._is_storing)
        if self._memory is None:
            return
        try:
            self._memory.save({"report": report.to_dict()}, is_complete=True)
        except Exception as error:  # to fail now would send everything again
            self._log.warning(
                "That all is delivered could not be stored (%s): a Clear of this task may send nothing",
                type(error).__name__,
            )

    def _go_on(self, memory: Memory) -> None:
        state = memory.unfinished
        if memory.is_unreadable:
            if self._at_most_once:
                raise InDoubtError("what an earlier try has left cannot be read")
            self._log.warning("What an earlier try has left cannot be read: everything is sent anew")
        if state is None:
            return
        if self._at_most_once and not state["at_most_once"] and memory.is_same_life:
            raise InDoubtError("an earlier try ran with delivery='at_least_once', which notes no requests")
        figures = state["figures"]
        done = f"{counted(figures['accepted'], 'element')} were accepted and {figures['rejected']:,} rejected"
        if not self._source.is_resumable:
            if self._at_most_once and memory.is_same_life:
                raise InDoubtError(f"an earlier try has sent some of it, and {self._source.why_not}")
            self._log.warning(
                "An earlier try has ended early%s. This one cannot go on from there, for %s: everything is sent"
                " anew. Users are the same afterwards; events that had arrived will be there twice",
                f", when {done}" if figures["accepted"] else "",
                self._source.why_not,
            )
            return
        self._bookmark = state["bookmark"]
        left = self._source.left(self._bookmark)
        self._before, self._last = left, left.last
        self._tally.restore(figures)
        self._rejects.restore(figures["rejected"], figures["rejects"], state["rejects_bytes"])
        self._is_new = False
        self.is_resumed = True
        self._log.info(
            "Going on where an earlier try has ended: %s; %s before that point are still open",
            done,
            counted(len(left.open) + len(left.sent), "element"),
        )

    def _not_done(self, items: Sequence[Item], in_doubt: list[Item]) -> list[Item]:
        before, kept = self._before, []
        for item in items:
            if item.is_reread:
                name = self._source.name(item.position, item.mark)
                if name in before.sent:
                    before.sent.discard(name)
                    if self._at_most_once:
                        in_doubt.append(item)
                        self._sent.add(item.position)
                        self._read[item.position] = item.mark
                        continue
                elif name in before.open:
                    before.open.discard(name)
                else:
                    continue
            elif before.open or before.sent:
                self._forget_the_missing()
            kept.append(item)
        return kept

    def _forget_the_missing(self) -> None:
        before = self._before
        self._log.warning(
            "%s that an earlier try had read and not delivered are in the source no more",
            counted(len(before.open) + len(before.sent), "element"),
        )
        before.open.clear()
        before.sent.clear()

    def _note_last(self, lines: Sequence[Line]) -> None:
        last = max([line.position for line in lines])
        if self._last is None or last > self._last[0]:
            self._last = (last, self._read.get(last))
        self._changes += 1

    def _settle_rejects(self) -> None:
        """Book the rejects that are as safe now as the state will be."""
        for position, codes in self._rejects.settle():
            mark = self._read.pop(position, None)
            self._sent.discard(position)
            self._tally.settle_reject(codes)
            if self._last is not None and position > self._last[0]:
                self._last = (position, mark)

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
            self._rejects.flush(is_last=is_last)
            with self._changed:
                self._settle_rejects()
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
        last = self._last[0]
        name = self._source.name
        opened = [(position, mark) for position, mark in self._read.items() if position <= last]
        left = Left(
            self._last,
            self._before.open | {name(*each) for each in opened if each[0] not in self._sent},
            self._before.sent | {name(*each) for each in opened if each[0] in self._sent},
            opened[0] if opened else None,
        )
        return {
            "bookmark": self._source.bookmark(left),
            "figures": self._tally.to_dict(),
            "rejects_path": self._rejects.path,
            "rejects_bytes": self._rejects.settled_bytes,
            "at_most_once": self._at_most_once,
        }

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
