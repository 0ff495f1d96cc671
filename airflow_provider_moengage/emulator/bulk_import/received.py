"""The elements that a workspace accepted, in order of arrival.

They are stored as request bodies and decoded when accessed: this takes a tenth of the memory, and no garbage
collection while requests arrive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import msgspec


class ReceivedElement(NamedTuple):
    """An accepted element, the number of its request (from 1), and its place in it (from 0)."""

    request: int
    position: int
    element: dict[str, Any]


class SentElement(NamedTuple):
    """A `ReceivedElement` with the element as it was sent: as raw JSON, and as text."""

    request: int
    position: int
    element: msgspec.Raw
    text: str


class _Sent(msgspec.Struct):
    elements: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Batch:
    """The body of an accepted request."""

    request: int
    elements: int
    body: bytes


class ReceivedElements(Sequence[ReceivedElement]):
    """A snapshot of the elements kept, oldest first.

    :param batches: the bodies with these elements.
    :param start: elements of the first batch that are no longer kept.
    :param first_number: number of the oldest element kept; the first accepted element is number 1.
    """

    def __init__(self, batches: Sequence[Batch], start: int, first_number: int) -> None:
        self._batches = batches
        self._start = start
        self._length = sum(batch.elements for batch in batches) - start
        self.first_number = first_number

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[ReceivedElement]:
        return self._between(0, self._length)

    @overload
    def __getitem__(self, index: int) -> ReceivedElement: ...
    @overload
    def __getitem__(self, index: slice) -> list[ReceivedElement]: ...
    def __getitem__(self, index: int | slice) -> ReceivedElement | list[ReceivedElement]:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._length)
            if step != 1:
                return list(self)[index]
            return list(self._between(start, stop))
        place = range(self._length)[index]
        return next(self._between(place, place + 1))

    def _between(self, start: int, stop: int) -> Iterator[ReceivedElement]:
        before = -self._start
        for batch in self._batches:
            first, last = max(start - before, 0), min(stop - before, batch.elements)
            if before >= stop:
                return
            if first < last:
                elements = msgspec.json.decode(batch.body)["elements"]
                for index in range(first, last):
                    yield ReceivedElement(batch.request, index, elements[index])
            before += batch.elements


class ElementLog:
    """Keeps the bodies with the last elements."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._held = 0
        self._accepted = 0

    def append(self, batch: Batch, keep: int | None) -> None:
        """Add an accepted body, and delete those not needed for the last ``keep`` elements."""
        self._accepted += batch.elements
        self._batches.append(batch)
        self._held += batch.elements
        self.trim(keep)

    def trim(self, keep: int | None) -> None:
        """Delete the bodies not needed for the last ``keep`` elements."""
        while keep is not None and self._batches and self._held - self._batches[0].elements >= keep:
            self._held -= self._batches.popleft().elements

    def last(self, count: int) -> list[SentElement]:
        """Return the last ``count`` elements, oldest first; decodes only the bodies with these elements."""
        found: list[SentElement] = []
        for batch in reversed(self._batches):
            if count <= len(found):
                break
            elements = msgspec.json.decode(batch.body, type=_Sent).elements
            first = max(batch.elements - (count - len(found)), 0)
            found[:0] = [
                SentElement(batch.request, place, elements[place], bytes(elements[place]).decode())
                for place in range(first, len(elements))
            ]
        return found

    def snapshot(self, keep: int | None) -> ReceivedElements:
        """Return the last ``keep`` elements."""
        start = 0 if keep is None else max(self._held - keep, 0)
        return ReceivedElements(tuple(self._batches), start, self._accepted - self._held + start + 1)
