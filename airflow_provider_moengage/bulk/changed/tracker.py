"""Picks the elements that changed, and records what becomes of them: the checkpoint of a sync of changed rows.

A try reads the source from its start. What an earlier try has had accepted is not sent again, unless the row has
changed since.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import compress
from operator import ne
from typing import Any, cast

from airflow_provider_moengage.api.users.cohorts import member_line
from airflow_provider_moengage.bulk.batch import Batch, Elements
from airflow_provider_moengage.bulk.changed.lookup.accepted import Before
from airflow_provider_moengage.bulk.changed.lookup.bloom import BloomFilter
from airflow_provider_moengage.bulk.changed.records import UNKNOWN, packed
from airflow_provider_moengage.bulk.changed.removed.guards import Left, Removal, objection
from airflow_provider_moengage.bulk.changed.removed.removals import Removals, unset_line
from airflow_provider_moengage.bulk.changed.state import SyncState
from airflow_provider_moengage.bulk.changed.sync_run import RowsRead
from airflow_provider_moengage.bulk.clock import Log
from airflow_provider_moengage.bulk.elements.checks import NO_ID
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.report import DeliveryReport, counted
from airflow_provider_moengage.bulk.resume.counters import Counters
from airflow_provider_moengage.bulk.resume.writer import NotStoredError
from airflow_provider_moengage.bulk.sources import Chunk, Source

_FATES = {
    "unset": ("attributes unset", "attributes would be unset"),
    "delete": ("deletion accepted by MoEngage", "would be deleted"),
    "leave": ("removed from the segment", "would be removed from the segment"),
}
"""What becomes of those who have left, by the removal's action: in a run, and in a dry run."""


class ChangeTracker:
    """Compares the elements of a run with the state of its sync. Reader and lanes share it.

    It has the methods of :class:`~airflow_provider_moengage.bulk.resume.checkpoint.Checkpoint`.

    :param source: what is read.
    :param counters: counts of what is done.
    :param log: gets a line about what was found.
    :param state: the opened state.
    :param options: how elements are delivered. With ``at_most_once``, what an earlier try may have sent is not
        sent again.
    :param may_repeat: whether a user may be in several rows: not if users are the key of the query.
    """

    def __init__(
        self,
        source: Source,
        counters: Counters,
        log: Log,
        state: SyncState,
        options: DeliveryOptions,
        *,
        may_repeat: bool,
    ) -> None:
        self._source = source
        self._counters = counters
        self._log = log
        self._state = state
        self._options = options
        self._at_most_once = options.delivery == "at_most_once"
        self._may_repeat = may_repeat
        self._lock = threading.Lock()
        self._pending: dict[int, tuple[bytes, bytes, bytes | None]] = {}
        """Elements that are to be accepted, by position: key, content, and what MoEngage had."""
        self._in_flight: set[int] = set()
        self._unsettled: set[int] = set()
        """Those in flight once more although the outcome of an earlier request is unknown. A refusal, or a request
        that was not sent, says nothing about the earlier one."""
        self._rejected: list[tuple[bytes, str]] = []
        """Keys and identities of rows that were rejected before they were compared."""
        self._exceptions: dict[bytes, bytes | None] = {}
        self._repeated: dict[bytes, bytes] = {}
        self._lately: Callable[[], Iterable[tuple[bytes, bytes]]] = tuple
        """Returns keys and contents of the last chunk of rows."""
        self._sent = BloomFilter()
        self._has_read_any = False
        self._has_read_all = False
        self._has_unidentified = False
        self._objection: str | None = None
        self._removals: Removals | None = None
        self.is_resumed = state.has_earlier_try

    def chunks(self, size: Callable[[], int]) -> Generator[Chunk]:
        """Read the source from its start."""
        yield from self._source.chunks(None, size)
        self._has_read_all = True

    def take_up(self, chunk: Chunk) -> tuple[Chunk, Chunk | None]:
        """Return all of it: :meth:`changed` decides what is sent."""
        return chunk, None

    def note_rejected(self, kind: str, user: str, element: Any) -> None:
        """Record that a row is there although its element was rejected before it was compared.

        :param user: a key of the user.
        :param element: to see whether it says who the user is.
        """
        self._has_read_any = True
        needed = ("customer_id", "device_id") if kind == "device" else ("customer_id",)
        if all(_is_readable(element, name) for name in needed):
            identity = identity_of(kind, user, element)
            self._rejected.append((self._state.digests.keys(kind, [identity])[0], identity))
        else:
            self._has_unidentified = True

    def changed(self, elements: Elements, lines: Sequence[bytes], reject: Callable[[int, Any], None]) -> Batch:
        """Return those that have to be sent.

        :param lines: the elements as JSON.
        :param reject: called with position and line of an element that an earlier try has sent with an unknown
            outcome, and that must not be sent again.
        """
        state = self._state
        contents = state.digests.contents(lines)
        users = state.unchanged(contents)
        others = [at for at, key in enumerate(users) if key is None]
        keys = self._keys_of_all(elements, users, others)
        known: list[bytes | None] = list(contents) if len(others) < len(contents) else []
        for at in others if known else ():
            known[at] = None
        before = self._accepted_before(keys, known)
        found, mine = before.by_runs, before.by_tries
        state.record(keys, contents, self._ids(elements))
        maybe_new: set[int] = set()
        if self._may_repeat and None in found:
            maybe_new = {at for at, content in enumerate(found) if content is None}
        places = self._places(keys, contents, before, others)
        self._has_read_any = True
        to_send: list[int] = []
        for at in places:
            key, content = keys[at], contents[at]
            if self._at_most_once and content in state.attempted.get(key, ()):
                self._exceptions[key] = UNKNOWN
                reject(elements.positions[at], lines[at])
                continue
            is_new = found[at] is None or (found[at] == UNKNOWN and at in maybe_new)  # the filter is not exact
            self._counters.count_compared(new=is_new, changed=not is_new)
            if mine[at] == content:
                self._counters.count_accepted([elements.weights[at]])
                continue
            to_send.append(at)
            self._pending[elements.positions[at]] = (key, content, mine[at] or found[at])
        self._counters.count_compared(unchanged=len(keys) - len(places))
        return Batch(
            [lines[at] for at in to_send],
            [elements.positions[at] for at in to_send],
            [elements.weights[at] for at in to_send],
            [elements.users[at] for at in to_send],
        )

    def _places(
        self, keys: Sequence[bytes], contents: Sequence[bytes], before: Before, others: Sequence[int]
    ) -> Sequence[int]:
        """Return the places of the rows that have to be sent, or were sent by an earlier try.

        :param before: what MoEngage has of them; corrected where an earlier row or try has sent something else.
        :param others: the places of the rows that are not as in the last run.
        """
        state, found, mine = self._state, before.by_runs, before.by_tries
        if before.is_first and state.is_of_one_run:
            places = [at for at in others if contents[at] != found[at]]
            self._lately = partial(zip, keys, contents, strict=True)
            if self._may_repeat:
                self._sent.add([keys[at] for at in places])
        else:
            if self._may_repeat or state.repeated:
                self._find_repeated(keys, contents, found, mine)
            for at in [at for at, key in enumerate(keys) if key in state.attempted] if state.attempted else ():
                found[at], mine[at] = UNKNOWN, None
            places = _differing(contents, found, mine)
        return range(len(keys)) if state.sends_all else places

    def announce(self, batch: Batch) -> None:
        """Record that a request is about to be sent; returns when it may be.

        :raises FencedError: if another try has taken over.
        """
        with self._lock:
            self._unsettled.update(self._in_flight.intersection(batch.positions))
            self._in_flight.update(batch.positions)
        self._state.note_sent(self._records(batch.positions), batch.users)

    def withdraw(self, batch: Batch) -> None:
        """Record that a request was certainly not processed."""
        with self._lock:
            settled = [position for position in batch.positions if not self._may_have_arrived(position)]
        self._state.note_not_accepted(self._records(settled))
        with self._lock:
            self._in_flight.difference_update(settled)

    def accept(self, batch: Batch) -> None:
        """Record what MoEngage has accepted."""
        self._state.note_accepted(self._records(batch.positions))
        with self._lock:
            self._in_flight.difference_update(batch.positions)
            self._unsettled.difference_update(batch.positions)
            for position in batch.positions:
                self._pending.pop(position, None)
            self._counters.count_accepted(batch.weights)

    def settle(self) -> None:
        """Find the users whose rows have left, once everything was sent."""
        if self._rejected:
            self._accepted_before([])
        with self._lock:
            for position, (key, _, before) in self._pending.items():
                is_unknown = position in self._in_flight or (self._may_repeat and before is not None)
                self._exceptions[key] = UNKNOWN if is_unknown else before
            self._pending.clear()
        read = RowsRead(
            self._has_read_any, self._has_read_all, self._source.was_interrupted, self._has_unidentified
        )
        whole = self._state.join(read, self._exceptions)
        if whole is None:
            return
        if self._state.removal is not None:
            self._find_leavers(self._state.removal, whole)
        elif not whole.any:
            self._log.warning("The query returned no rows; nobody counts as no longer in it")
        elif whole.unidentified:
            self._log.warning("The ID of a row could not be read; nobody counts as no longer in the query")
        elif whole.whole and self._state.shows_removed:
            self._counters.removed = self._state.drop_unseen()

    def removals(self) -> Removals | None:
        """Return what is to be done about those who have left; None: nothing."""
        return self._removals

    @property
    def fate(self) -> str:
        """What becomes of those who have left, in words for a log."""
        removal = self._state.removal
        if removal is None:
            return "stay in MoEngage"
        done, planned = _FATES[removal.action]
        return planned if self._options.dry_run else done

    @property
    def why_not_removed(self) -> str | None:
        """Why some who have left were not removed, and what to do; None if there are none."""
        return self._objection or (None if self._removals is None else self._removals.problem)

    def _find_leavers(self, removal: Removal, read: RowsRead) -> None:
        """Find out who has left, and whether they may be removed."""
        state = self._state
        left, known = state.leavers()
        why = state.why_nobody_has_left
        if why is None and not read.whole:
            why = "the rows were not read to their end"
        if why is None and read.interrupted:
            why = "the connection to the database was lost meanwhile, so a row may have been missed"
        if why is not None:
            self._log.info("Nobody is removed in this run because %s", why)
            return
        if not state.has_ids:
            state.forget_unidentified()
            self._log.info(
                "Nobody is removed in this run because the last one stored no IDs. Users who have left until now"
                " stay in MoEngage: %s",
                f"{left.count - left.identified:,}",
            )
            return
        self._objection = objection(
            Left(
                count=left.count + state.removed_before,
                known=known,
                without_id=left.count - left.identified,
                is_empty=not read.any,
                has_unreadable_ids=read.unidentified,
            ),
            removal,
        )
        if self._objection is not None:
            return
        self._counters.count_removed(state.removed_before)
        if not left.count:
            return
        if removal.action in ("delete", "leave"):
            line_of = None if removal.action == "delete" else member_line
            self._removals = Removals(left, state, self._counters, line_of, at_most_once=self._at_most_once)
            return
        attributes = list(dict.fromkeys(removal.attributes()))
        if not attributes:
            self._objection = (
                f"The mapping has no attributes to unset, so nobody was removed: {counted(left.count, 'user')}"
                " would be. Name them in CustomerMapping.attributes"
            )
            return
        self._removals = Removals(
            left, state, self._counters, unset_line(attributes), at_most_once=self._at_most_once
        )

    def close(self) -> None:
        """Keep what was accepted, for another try. Nothing is stored after that."""
        self._state.close()

    def check(self) -> None:
        """Check that this is still the latest try of the task.

        :raises FencedError: if a later one has taken over.
        """
        with suppress(NotStoredError):  # what cannot be read says nothing
            self._state.check_fence()

    def finish(self, report: DeliveryReport) -> None:
        """Make what this run found the state of the sync.

        :raises StateError: if another run has done so meanwhile.
        :raises NotStoredError: if the storage failed. What was accepted is in the journal.
        """
        if self._removals is not None:
            self._state.forget_removed(self._removals.not_removed)
        try:
            read = report.accepted + report.rejected + report.unchanged
            succeeds = self.why_not_removed is None and self._options.allows(report.rejected, read)
            repeated = self._state.commit(
                self._exceptions, read if succeeds else None, may_repeat=self._may_repeat
            )
        finally:
            self._state.close()
        if repeated:
            self._log.warning(
                "The query has several rows of %s: the last row of each counts. Rows that differ are sent in each"
                " run; make the query return one row per user",
                counted(repeated, "user"),
            )

    def _ids(self, elements: Elements) -> Sequence[str]:
        """Return the IDs of users that are stored because the users may have to be removed."""
        if self._state.removal is None:
            return ()
        pairs = zip(elements.elements, elements.users, strict=True)
        ids = [user for element, user in pairs if _is_readable(element, "customer_id")]
        self._has_unidentified |= len(ids) < len(elements)
        return ids

    def _keys(self, elements: Elements) -> list[bytes]:
        """Return the digest of who each element is of."""
        digests, weights = self._state.digests, elements.weights
        kind = weights[0].kind if weights else ""
        is_one_kind = weights.count(weights[0]) == len(weights) if weights else True
        if kind != "device" and (is_one_kind or all(weight.kind == kind for weight in weights)):
            return digests.keys(kind, elements.users)
        return [
            digests.keys(weight.kind, [identity_of(weight.kind, user, element)])[0]
            for weight, user, element in zip(weights, elements.users, elements.elements, strict=True)
        ]

    def _keys_of_all(
        self, elements: Elements, known: Sequence[bytes | None], others: Sequence[int]
    ) -> list[bytes]:
        """Return the digest of who each element is of.

        :param known: those that are known already.
        :param others: the places of the others.
        """
        if len(others) == len(known):
            return self._keys(elements)
        keys = cast("list[bytes]", list(known))
        for at, key in zip(others, self._keys(elements.pick(others)) if others else (), strict=True):
            keys[at] = key
        return keys

    def _accepted_before(self, keys: list[bytes], known: Sequence[bytes | None] = ()) -> Before:
        """Return what MoEngage has of each key, and store what it has of the rows that were rejected before.

        :param known: contents that are as in the last run.
        """
        rejected, self._rejected = dict(self._rejected), []
        state = self._state
        found, mine, is_first = state.accepted_before([*keys, *rejected], known)
        sent = self._sent.among(list(rejected))
        kept: dict[bytes, bytes] = {}
        for key, by_runs, by_tries in zip(rejected, found[len(keys) :], mine[len(keys) :], strict=True):
            repeated = state.repeated.pop(key, None)
            before = by_tries or by_runs or repeated
            if key in state.attempted or key in sent:  # an earlier row of this user has been sent
                before = UNKNOWN
            if before is not None:
                kept[key] = before
        state.record(list(kept), list(kept.values()), [rejected[key] for key in kept])
        return Before(found[: len(keys)], mine[: len(keys)], is_first)

    def _find_repeated(
        self,
        keys: Sequence[bytes],
        contents: Sequence[bytes],
        found: list[bytes | None],
        mine: list[bytes | None],
    ) -> None:
        """Correct what MoEngage has of users that an earlier row of this run had, too."""
        state = self._state
        here = dict(zip(keys, contents, strict=True))
        lately, self._lately = dict(self._lately()), here.items
        sent = self._sent.among(keys)
        earlier: Sequence[Mapping[bytes, bytes]] = (lately, self._repeated, state.repeated)
        if not sent and len(here) == len(keys) and all(here.keys().isdisjoint(rows) for rows in earlier):
            self._sent.add([keys[at] for at in _differing(contents, found, mine)])
            return
        here = {}
        added: set[bytes] = set()
        for at, (key, content) in enumerate(zip(keys, contents, strict=True)):
            for rows in (here, lately, self._repeated):
                if key in rows:
                    found[at], mine[at] = rows[key], None
                    break
            else:
                if key in state.repeated:
                    last = state.repeated.pop(key)
                    self._repeated[key] = content
                    found[at] = last if found[at] is None else found[at]
                elif key in sent:
                    found[at], mine[at] = UNKNOWN, None
            here[key] = content
            if key in self._repeated:
                self._repeated[key] = content
            if content != found[at] or mine[at] is not None:
                added.add(key)
        self._sent.add(added)

    def _may_have_arrived(self, position: int) -> bool:
        """Return whether an earlier request of this run or another one may have been processed."""
        pending = self._pending.get(position)
        return position in self._unsettled or (pending is not None and pending[2] == UNKNOWN)

    def _records(self, positions: Sequence[int]) -> bytes:
        with self._lock:
            pending = [self._pending[position] for position in positions if position in self._pending]
        return packed([key for key, _, _ in pending], [content for _, content, _ in pending])


def _differing(
    contents: Sequence[bytes], found: Sequence[bytes | None], mine: Sequence[bytes | None]
) -> list[int]:
    """Return the places of what MoEngage does not have as it is, or an earlier try has sent."""
    if mine.count(None) == len(mine):
        return list(compress(range(len(contents)), map(ne, contents, found)))
    return [at for at, content in enumerate(contents) if content != found[at] or mine[at] is not None]


def _is_readable(element: Any, name: str) -> bool:
    """Return whether an element has this ID as the source has it."""
    value = element.get(name) if isinstance(element, dict) else getattr(element, name, None)
    return isinstance(value, str) and value != NO_ID


def identity_of(kind: str, user: str, element: Any) -> str:
    """Return who an element is of: a user, or one of its devices."""
    return f"{user}\0{element.get('device_id')}" if kind == "device" else user
