"""What a run reads, and how what is left of it is named for the next try.

A source gives its elements numbers. Whoever reads it again later has to find the same element under the same
name: a list and files are read by number, the rows of a query by their key. A stream of which neither can be
said is read from its start.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any, Protocol

import msgspec

from airflow_provider_moengage.bulk.elements.fast_path import Form, ready_elements


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some elements of a source, one after the other.

    :param positions: their numbers in the source, from 0.
    :param given: what they are made of: themselves, or rows.
    :param form: makes elements of it.
    :param marks: what the source needs to name them: the key of each one's row. None where the number is enough.
    :param is_reread: an earlier try has read them as well, so they may be done.
    """

    positions: Sequence[int]
    given: Sequence[Any]
    form: Form = ready_elements
    marks: Sequence[Any] | None = None
    is_reread: bool = False

    def pick(self, places: Sequence[int]) -> Chunk:
        """Return those at some places; for a chunk whose form makes one element of each that is given."""
        return Chunk(
            [self.positions[at] for at in places],
            [self.given[at] for at in places],
            self.form,
            None if self.marks is None else [self.marks[at] for at in places],
            self.is_reread,
        )


@dataclass(slots=True)
class Left:
    """What an earlier try has left of a source.

    :param last: number and mark of the last element that it had sent.
    :param open: names of the elements before it that are not done.
    :param sent: names of those whose request was on its way when the try ended.
    :param first: number and mark of the first element that is open, as far as it was read; None where it is one of
        an earlier try's that was not read again yet.
    """

    last: tuple[int, Any]
    open: set[Any] = field(default_factory=set)
    sent: set[Any] = field(default_factory=set)
    first: tuple[int, Any] | None = None


class Source(Protocol):
    """Elements, in their order."""

    @property
    def total(self) -> int | None:
        """How many there are, where that is known."""

    @property
    def is_resumable(self) -> bool:
        """Whether another try finds the same elements under the same names."""

    @property
    def why_not(self) -> str:
        """Why it is not resumable, in half a sentence."""

    def chunks(self, bookmark: Mapping[str, Any] | None, size: Callable[[], int]) -> Generator[Chunk]:
        """Read it: all of it, or what :meth:`left` says of a bookmark and all after that.

        :param size: says how many to give at once, at the most.
        """

    def left(self, bookmark: Mapping[str, Any]) -> Left:
        """Read a bookmark."""

    def name(self, position: int, mark: Any) -> Any:
        """What an element is called in a bookmark."""

    def bookmark(self, left: Left) -> dict[str, Any]:
        """Return what is left, JSON-ready."""


class Stream:
    """Elements that are read once; another reading may give others.

    :param elements: an iterable.
    :param why_not: why it cannot be resumed.
    """

    is_resumable = False

    def __init__(self, elements: Iterable[object], why_not: str = "its elements have no names") -> None:
        self.elements = elements
        self.why_not = why_not

    @property
    def total(self) -> int | None:
        """How many there are, where that is known."""
        return len(self.elements) if isinstance(self.elements, Sized) else None

    def chunks(
        self,
        bookmark: Mapping[str, Any] | None,  # noqa: ARG002 (it has none)
        size: Callable[[], int],
    ) -> Generator[Chunk]:
        """Read it from its start, whatever the bookmark says."""
        return _numbered(iter(self.elements), 0, size)

    def left(self, bookmark: Mapping[str, Any]) -> Left:
        """Read a bookmark."""
        return Left((bookmark["last"], None))

    def name(self, position: int, mark: Any) -> Any:  # noqa: ARG002 (it has none)
        """What an element is called."""
        return position

    def bookmark(self, left: Left) -> dict[str, Any]:
        """Return that something was sent."""
        return {"last": left.last[0]}


class Numbered(Stream):
    """Elements that another reading gives in the same order: a list, or files that have not changed."""

    is_resumable = True

    def chunks(self, bookmark: Mapping[str, Any] | None, size: Callable[[], int]) -> Generator[Chunk]:
        """Read it; the numbers tell what is done."""
        again = 0 if bookmark is None else bookmark["last"] + 1
        elements = iter(self.elements)
        for chunk in _numbered(islice(elements, again), 0, size):
            yield Chunk(chunk.positions, chunk.given, is_reread=True)
        yield from _numbered(elements, again, size)

    def left(self, bookmark: Mapping[str, Any]) -> Left:
        """Read a bookmark."""
        opened, sent = (set(_unpacked(bookmark[name])) for name in ("open", "sent"))
        return Left((bookmark["last"], None), opened, sent)

    def bookmark(self, left: Left) -> dict[str, Any]:
        """Return the numbers that are left, JSON-ready."""
        return {"last": left.last[0], "open": _packed(left.open), "sent": _packed(left.sent)}


def _numbered(elements: Iterator[object], first: int, size: Callable[[], int]) -> Generator[Chunk]:
    while given := list(islice(elements, size())):
        yield Chunk(range(first, first + len(given)), given)
        first += len(given)


def _packed(numbers: Collection[int]) -> str:
    """Numbers as text: the gaps between them, for these are small and many are alike."""
    if not numbers:
        return ""
    ordered = sorted(numbers)
    gaps = [ordered[0], *(later - earlier for earlier, later in pairwise(ordered))]
    return base64.b85encode(zlib.compress(msgspec.msgpack.encode(gaps))).decode()


def _unpacked(text: str) -> Iterator[int]:
    number = 0
    for gap in msgspec.msgpack.decode(zlib.decompress(base64.b85decode(text))) if text else ():
        number += gap
        yield number
