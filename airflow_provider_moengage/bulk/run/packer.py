"""Bodies that are as full as MoEngage allows, measured to the byte.

MoEngage API reference, "Bulk Import": at most 100 kB a request, envelope included. Elements are encoded a few at a
time, straight into the body that has room for them. Only at the end of a body are they encoded one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from airflow_provider_moengage.bulk.batch import ENVELOPE_BYTES, Batch, Elements
from airflow_provider_moengage.bulk.elements.encoding import ENCODING_ERRORS, Encoder
from airflow_provider_moengage.bulk.elements.rules import LARGEST_BODY
from airflow_provider_moengage.bulk.elements.weight import Weight, budgets

LARGEST_ELEMENT = LARGEST_BODY - ENVELOPE_BYTES
"""Bytes of the largest element that can be sent: alone in a body."""

_TOGETHER = 32
_BYTES_TOGETHER = 12_000
"""Largest number of elements, and roughly of bytes, that are encoded at once. More would save nothing, and the
last ones of a body are encoded twice."""


class Packer:
    """Fills one body after the other, in order.

    :param most_users: users that one body may hold. More than a minute's budget could never be sent.
    :param most_events: the same for events.
    :param encoder: shared by all packers of a run.
    :param reject: called with the position of an element that cannot be sent, the element, and the reason: its
        size in bytes, or the error that encoding it has raised.
    """

    def __init__(
        self,
        most_users: int,
        most_events: int,
        encoder: Encoder,
        reject: Callable[[int, Any, int | Exception], None],
    ) -> None:
        self._most_users = most_users
        self._most_events = most_events
        self._encoder = encoder
        self._reject = reject
        self._begin()

    def add(self, given: Elements) -> Iterator[Batch]:
        """Take elements; yield each body that is full. The rest goes into the next one."""
        step = self._encoder.count_for(_BYTES_TOGETHER, most=_TOGETHER)
        for start in range(0, len(given), step):
            some = given[start : start + step]
            try:
                data = self._encoder.together(some.elements)
            except ENCODING_ERRORS:
                yield from self._add_each(some)
                continue
            users, events = budgets(some.weights)
            if self._has_room(len(data), users, events):
                self._append(data, some, users, events)
            else:
                yield from self._add_each(some)

    def add_lines(self, batch: Batch) -> Iterator[Batch]:
        """Take elements that are encoded already, one in each part; otherwise like :meth:`add`."""
        step = self._encoder.count_for(_BYTES_TOGETHER, most=_TOGETHER)
        for start in range(0, len(batch), step):
            some = batch.part(slice(start, start + step))
            data = b",".join(some.parts)
            users, events = budgets(some.weights)
            if self._has_room(len(data), users, events):
                self._append(data, some, users, events)
            else:
                for one in some.each():
                    yield from self.add_encoded(one)

    def add_encoded(self, batch: Batch) -> Iterator[Batch]:
        """Take one element that is encoded already; otherwise like :meth:`add`."""
        [line], [one] = batch.parts, batch.weights
        if not self._has_room(len(line), one.users, one.actions) and (full := self.take()):
            yield full
        self._append(line, batch, one.users, one.actions)

    def take(self) -> Batch | None:
        """Return the body so far, or None if it is empty, and begin another one."""
        batch = Batch(self._parts, self._positions, self._weights, self._user_keys) if self._parts else None
        self._begin()
        return batch

    def _add_each(self, some: Elements) -> Iterator[Batch]:
        for at, line in enumerate(self._lines(some)):
            if line is not None and len(line) <= LARGEST_ELEMENT:
                one = some[at : at + 1]
                yield from self.add_encoded(Batch((line,), one.positions, one.weights, one.users))
            elif line is not None:
                self._reject(some.positions[at], some.elements[at], len(line))

    def _lines(self, some: Elements) -> Sequence[bytes | None]:
        """Return each element as JSON, and None for those that cannot be encoded."""
        try:
            return self._encoder.each(some.elements)
        except ENCODING_ERRORS as error:
            if len(some) == 1:
                self._reject(some.positions[0], some.elements[0], error)
                return [None]
        return [line for at in range(len(some)) for line in self._lines(some[at : at + 1])]

    def _has_room(self, size: int, users: int, events: int) -> bool:
        return (
            self._size + 1 + size <= LARGEST_BODY
            and self._users + users <= self._most_users
            and self._events + events <= self._most_events
        )

    def _append(self, data: bytes, some: Elements | Batch, users: int, events: int) -> None:
        self._parts.append(data)
        self._positions.extend(some.positions)
        self._weights.extend(some.weights)
        self._user_keys.extend(some.users)
        self._size += 1 + len(data)
        self._users += users
        self._events += events

    def _begin(self) -> None:
        self._parts: list[bytes] = []
        self._positions: list[int] = []
        self._weights: list[Weight] = []
        self._user_keys: list[str] = []
        self._size = ENVELOPE_BYTES - 1  # each part counts a comma, and the first has none
        self._users = 0
        self._events = 0


def pack_together(leftovers: Iterable[Batch], most_users: int, most_events: int) -> list[Batch]:
    """Put the last, partly filled batches of several lanes into as few bodies as possible, in the source's order.

    All elements of a user are in the same batch, so their order stays.
    """
    bodies: list[list[Batch]] = []
    size = users = events = 0
    for leftover in leftovers:
        more = (sum(map(len, leftover.parts)) + len(leftover.parts), *budgets(leftover.weights))
        fits = (
            bodies
            and ENVELOPE_BYTES - 1 + size + more[0] <= LARGEST_BODY
            and users + more[1] <= most_users
            and events + more[2] <= most_events
        )
        if fits:
            bodies[-1].append(leftover)
            size, users, events = size + more[0], users + more[1], events + more[2]
        else:
            bodies.append([leftover])
            size, users, events = more
    return [_in_order(body) for body in bodies]


def _in_order(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    elements = sorted(
        (
            element
            for batch in batches
            for element in zip(batch.positions, batch.lines, batch.weights, batch.users, strict=True)
        ),
        key=lambda element: element[0],
    )
    positions, lines, weights, users = zip(*elements, strict=True)
    return Batch(lines, positions, weights, users)
