"""Bodies that are as full as MoEngage allows, measured to the byte.

MoEngage API reference, "Bulk Import": at most 100 kB a request, envelope included. Elements are encoded together,
one a line, and a body ends at the last line break that it has room for. So no element is encoded twice. What sets
an attribute that an earlier element of the body unsets begins another body.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

from airflow_provider_moengage.bulk.batch import ENVELOPE_BYTES, Batch, Elements
from airflow_provider_moengage.bulk.elements.encoding import ENCODING_ERRORS, Encoder
from airflow_provider_moengage.bulk.elements.rules import LARGEST_BODY
from airflow_provider_moengage.bulk.elements.weight import Weight, budgets
from airflow_provider_moengage.bulk.run.unset_first import UnsetFirst

LARGEST_ELEMENT = LARGEST_BODY - ENVELOPE_BYTES
"""Bytes of the largest element that can be sent: alone in a body."""

_TOGETHER = 64
_BYTES_TOGETHER = 25_000
"""Largest number of elements, and roughly of bytes, that are encoded at once. More are slower, and if one of them
cannot be encoded, each is tried alone."""


def encoded(
    given: Elements, encoder: Encoder, reject: Callable[[Elements, Exception], None]
) -> Generator[tuple[Elements, bytes]]:
    """Yield elements with their JSON, each followed by a line break, and reject those that cannot be encoded.

    All in the given order: the caller may reject what is yielded before the next one is looked at.

    :param reject: called with an element that cannot be encoded, and the error.
    """
    step = encoder.count_for(_BYTES_TOGETHER, most=_TOGETHER)
    for start in range(0, len(given), step):
        some = given[start : start + step]
        try:
            data = encoder.lines(some.elements)
        except ENCODING_ERRORS as error:
            if len(some) == 1:
                reject(some, error)
            else:
                for at in range(len(some)):
                    yield from encoded(some[at : at + 1], encoder, reject)
            continue
        yield some, data


class Packer:
    """Fills one body after the other, in order.

    :param most_users: users that one body may hold. More than a minute's budget could never be sent.
    :param most_events: the same for events.
    :param encoder: shared by all packers of a run.
    :param reject: called with the position of an element that cannot be sent, the element, and the reason: its
        size in bytes, or the error that encoding it has raised.
    :param envelope_bytes: bytes of a body around its elements.
    :param largest_body: bytes.
    """

    def __init__(
        self,
        most_users: int,
        most_events: int,
        encoder: Encoder,
        reject: Callable[[int, Any, int | Exception], None],
        envelope_bytes: int = ENVELOPE_BYTES,
        largest_body: int = LARGEST_BODY,
    ) -> None:
        self._most_users = most_users
        self._most_events = most_events
        self._encoder = encoder
        self._reject = reject
        self._envelope_bytes = envelope_bytes
        self._largest_body = largest_body
        self._begin()

    def add(self, given: Elements) -> Iterator[Batch]:
        """Take elements; yield each body that is full. The rest goes into the next one."""
        for some, data in encoded(given, self._encoder, self._reject_one):
            yield from self._cut(some, data)

    def add_lines(self, batch: Batch) -> Iterator[Batch]:
        """Take elements that are encoded already, one in each part; otherwise like :meth:`add`."""
        for start in range(0, len(batch), _TOGETHER):
            some = batch.part(slice(start, start + _TOGETHER))
            lines = Elements(some.parts, some.positions, some.weights, some.users)
            yield from self._cut(lines, b"\n".join(some.parts) + b"\n")

    def _add_one(self, batch: Batch) -> Iterator[Batch]:
        [line], [one] = batch.parts, batch.weights
        if not self._has_room(len(line), one.users, one.actions) and (full := self.take()):
            yield full
        self._append(line, batch, one.users, one.actions)

    def take(self) -> Batch | None:
        """Return the body so far, or None if it is empty, and begin another one."""
        batch = Batch(self._parts, self._positions, self._weights, self._user_keys) if self._parts else None
        self._begin()
        return batch

    def _cut(self, given: Elements, data: bytes) -> Iterator[Batch]:
        """Put elements, at least one, into bodies.

        :param data: their JSON, each followed by a line break.
        """
        places = self._unset_first.places(given)
        if not places:
            yield from self._fill(given, data)
            return
        lines = data.split(b"\n")
        start = 0
        for at in places:
            if start < at:
                yield from self._fill(given[start:at], b"\n".join(lines[start:at]) + b"\n")
            user, weight = given.users[at], given.weights[at]
            if self._unset_first.forbids(user, weight, lines[at]) and (full := self.take()):
                yield full
            yield from self._fill(given[at : at + 1], lines[at] + b"\n")
            if len(lines[at]) <= LARGEST_ELEMENT:
                self._unset_first.add(user, weight, lines[at])
            start = at + 1
        if start < len(given):
            yield from self._fill(given[start:], b"\n".join(lines[start:]))

    def _fill(self, given: Elements, data: bytes) -> Iterator[Batch]:
        users, events = budgets(given.weights)
        if self._has_room(len(data) - 1, users, events):
            self._append(data[:-1].replace(b"\n", b","), given, users, events)
            return
        start = at = 0
        while at < len(given):
            end = data.rfind(b"\n", start, start + self._largest_body - self._size)
            if end < 0:  # not even the next one has room
                end = data.index(b"\n", start)
                one = given[at : at + 1]
                if end - start <= LARGEST_ELEMENT:
                    yield from self._add_one(Batch((data[start:end],), one.positions, one.weights, one.users))
                else:
                    self._reject(one.positions[0], one.elements[0], end - start)
                start, at = end + 1, at + 1
                continue
            number = data.count(b"\n", start, end) + 1
            some = given[at : at + number]
            users, events = budgets(some.weights)
            if self._has_room(end - start, users, events):
                self._append(data[start:end].replace(b"\n", b","), some, users, events)
            else:  # there is room, but the limits are low
                yield from self._add_each(some, data[start:end].split(b"\n"))
            start, at = end + 1, at + number

    def _add_each(self, some: Elements, lines: Sequence[bytes]) -> Iterator[Batch]:
        for at, line in enumerate(lines):
            one = some[at : at + 1]
            yield from self._add_one(Batch((line,), one.positions, one.weights, one.users))

    def _reject_one(self, one: Elements, error: Exception) -> None:
        self._reject(one.positions[0], one.elements[0], error)

    def _has_room(self, size: int, users: int, events: int) -> bool:
        return (
            self._size + 1 + size <= self._largest_body
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
        self._size = self._envelope_bytes - 1  # each part counts a comma, and the first has none
        self._users = 0
        self._events = 0
        self._unset_first = UnsetFirst()


def pack_together(
    leftovers: Iterable[Batch],
    most_users: int,
    most_events: int,
    envelope_bytes: int = ENVELOPE_BYTES,
    largest_body: int = LARGEST_BODY,
) -> list[Batch]:
    """Put the last, partly filled batches of several lanes into as few bodies as possible, in the source's order.

    All elements of a user are in the same batch, so their order stays.
    """
    bodies: list[list[Batch]] = []
    size = users = events = 0
    for leftover in leftovers:
        more = (sum(map(len, leftover.parts)) + len(leftover.parts), *budgets(leftover.weights))
        fits = (
            bodies
            and envelope_bytes - 1 + size + more[0] <= largest_body
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
