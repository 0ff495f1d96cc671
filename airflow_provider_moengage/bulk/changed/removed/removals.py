"""Removes users who have left the query, when everything else was sent, and records what became of each."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from airflow_provider_moengage.api.users.deletion import delete_body
from airflow_provider_moengage.bulk.batch import Batch
from airflow_provider_moengage.bulk.changed.records import REMOVED, UNKNOWN, packed
from airflow_provider_moengage.bulk.changed.removed.leavers import Leaver, Leavers
from airflow_provider_moengage.bulk.changed.state import SyncState
from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.rules import Code
from airflow_provider_moengage.bulk.elements.weight import weight
from airflow_provider_moengage.bulk.report import counted
from airflow_provider_moengage.bulk.resume.counters import Counters

_AT_ONCE = 1_000
_DELETED_AT_ONCE = 100
"""Deletions that are recorded together before the first of them is sent: on an object store, a record is a file.
After a kill, all of them may have been made."""
_CUSTOMER = weight("customer", 0)


class Removals:
    """The removals of a run. For the sender that makes them, this is the checkpoint, and gets what is refused.

    :param left: the users who have left.
    :param state: records each removal before its request is sent, and what was accepted.
    :param counters: counts of what is done.
    :param line_of: returns what is sent for a user, as JSON; None: a deletion.
    :param at_most_once: a removal that an earlier try may have made is not made again.
    """

    def __init__(
        self,
        left: Leavers,
        state: SyncState,
        counters: Counters,
        line_of: Callable[[str], bytes] | None,
        *,
        at_most_once: bool,
    ) -> None:
        self._left = left
        self._state = state
        self._counters = counters
        self._line_of = line_of or delete_body
        self.deletes = line_of is None
        self._at_once = _DELETED_AT_ONCE if self.deletes else _AT_ONCE
        self._announces_all = self.deletes and not at_most_once
        self._at_most_once = at_most_once
        self._to_keep = "" if state.removal is None else state.removal.to_keep
        self._lock = threading.Lock()
        self._announcing = threading.Lock()
        self._announced: set[int] = set()
        self._pending: dict[int, Leaver] = {}
        self._in_flight: set[int] = set()
        self._unsettled: set[int] = set()
        self._refused: Counter[str] = Counter()
        self._unknown = 0
        self.not_removed: dict[bytes, bytes] = {}
        """What MoEngage has of those who could not be removed, by key."""

    def batches(self) -> Iterator[Batch]:
        """Yield what is to be sent, encoded, one part for each user."""
        leavers, position = iter(self._left), 0
        while some := list(islice(leavers, self._at_once)):
            with self._lock:
                again = [leaver for leaver in some if not self._may_be_done(leaver)]
                positions = range(position, position + len(again))
                self._pending.update(zip(positions, again, strict=True))
            position += len(again)
            yield Batch(
                [self._line_of(leaver.user) for leaver in again],
                positions,
                [_CUSTOMER] * len(again),
                [leaver.user for leaver in again],
            )

    def announce(self, batch: Batch) -> None:
        """Record that a request is about to be sent; returns when it may be.

        :raises FencedError: if another try has taken over.
        """
        with self._announcing:  # no lane may send what another one is still recording
            with self._lock:
                self._unsettled.update(self._in_flight.intersection(batch.positions))
                self._in_flight.update(batch.positions)
                due = set(self._pending) if self._announces_all else set(batch.positions)
                due -= self._announced
                self._announced |= due
                leavers = [self._pending[position] for position in sorted(due)]
            if leavers:
                keys = [leaver.key for leaver in leavers]
                users = [leaver.user for leaver in leavers]
                self._state.note_sent(packed(keys, [REMOVED] * len(keys)), users)
        if not leavers:
            self._state.check_fence()

    def withdraw(self, batch: Batch) -> None:
        """Record that a request was certainly not processed."""
        with self._lock:
            settled = [position for position in batch.positions if not self._may_have_arrived(position)]
        self._state.note_not_accepted(self._records(settled))
        with self._lock:
            self._in_flight.difference_update(settled)
            self._announced.difference_update(settled)

    def accept(self, batch: Batch) -> None:
        """Record that these users were removed."""
        self._state.note_accepted(self._records(batch.positions))
        with self._lock:
            self._settle(batch.positions)
            self._counters.count_removed(len(batch.positions))

    def add(self, position: int, element: object, findings: Sequence[Finding]) -> None:  # noqa: ARG002 (rejects)
        """Record that a user was not removed: MoEngage refused it, or the outcome is unknown."""
        codes = [str(finding.code) for finding in findings]
        with self._lock:
            leaver = self._pending[position]
            is_unknown = Code.OUTCOME_UNKNOWN in codes
            may_be_gone = is_unknown or self._may_have_arrived(position)
            self.not_removed[leaver.key] = UNKNOWN if may_be_gone else leaver.content
            self._unknown += is_unknown
            self._refused.update([] if is_unknown else codes)
            self._settle([position])

    @property
    def problem(self) -> str | None:
        """Why some were not removed, and what to do; None if all were."""
        if not self.not_removed:
            return None
        codes = [f"{count:,} {code}" for code, count in sorted(self._refused.items())]
        if self._unknown:
            codes.append(f"{self._unknown:,} {Code.OUTCOME_UNKNOWN}")
        return (
            f"{counted(len(self.not_removed), 'user')} could not be removed ({', '.join(codes)}). The next run"
            f" tries again; {self._to_keep}"
        )

    def _may_be_done(self, leaver: Leaver) -> bool:
        """Return whether an earlier try may have removed a user, and must not do it twice."""
        if not self._at_most_once or REMOVED not in self._state.attempted.get(leaver.key, ()):
            return False
        self.not_removed[leaver.key] = UNKNOWN
        self._unknown += 1
        return True

    def _settle(self, positions: Sequence[int]) -> None:
        self._in_flight.difference_update(positions)
        self._unsettled.difference_update(positions)
        self._announced.difference_update(positions)
        for position in positions:
            self._pending.pop(position, None)

    def _may_have_arrived(self, position: int) -> bool:
        """Return whether an earlier request of this run or another one may have been processed."""
        leaver = self._pending.get(position)
        return position in self._unsettled or (leaver is not None and leaver.content == UNKNOWN)

    def _records(self, positions: Sequence[int]) -> bytes:
        with self._lock:
            keys = [self._pending[position].key for position in positions if position in self._pending]
        return packed(keys, [REMOVED] * len(keys))


def unset_line(attributes: Sequence[str]) -> Callable[[str], bytes]:
    """Return what makes the element that takes attributes off a user. It creates no user who does not exist.

    MoEngage API reference, "Bulk Import", "Unsetting Attributes".
    """
    rest: dict[str, Any] = {
        "attributes": {},
        "update_existing_only": True,
        "unset_attributes": [{"type": "equals", "attr": name, "case_sensitive": True} for name in attributes],
    }

    def line_of(user: str) -> bytes:
        return msgspec.json.encode({"type": "customer", "customer_id": user, **rest})

    return line_of
