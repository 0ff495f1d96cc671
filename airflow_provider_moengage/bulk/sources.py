"""What a run reads, and how the rest of it is identified for the next try.

A source numbers its elements. Another reading must find the same element under the same token: elements of a list
or of files are identified by number, rows of a query by their key. A stream without either is read from its start.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any, Protocol

import msgspec

from airflow_provider_moengage.bulk.elements.encoding import Encoder
from airflow_provider_moengage.bulk.elements.fast_path import PreparedElements, Preparer, prepare_elements
from airflow_provider_moengage.bulk.elements.rules import DOCUMENTED, WorkspaceRules


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive elements of a source.

    :param positions: their numbers in the source, from 0.
    :param given: what they are made of: the elements themselves, or rows.
    :param preparer: turns it into checked elements.
    :param keys: what the source makes their tokens of: the key of each one's row. None if the number is enough.
    :param is_reread: an earlier try has read them too, so they may be done.
    """

    positions: Sequence[int]
    given: Sequence[Any]
    preparer: Preparer = prepare_elements
    keys: Sequence[Any] | None = None
    is_reread: bool = False

    def pick(self, places: Sequence[int]) -> Chunk:
        """Return those at some indexes. Only for a chunk with one element for each item of ``given``."""
        return Chunk(
            [self.positions[at] for at in places],
            [self.given[at] for at in places],
            self.preparer,
            None if self.keys is None else [self.keys[at] for at in places],
            self.is_reread,
        )


@dataclass(slots=True)
class Remaining:
    """What an earlier try has left of a source.

    :param last: position and key of the last element that was sent.
    :param open: tokens of the elements before it that are not done.
    :param in_flight: tokens of those whose request was in flight when the try ended.
    :param first: position and key of the first open element that this try has read; None if there is none, or if
        only elements are open that an earlier try had read and this one has not read again.
    """

    last: tuple[int, Any]
    open: set[Any] = field(default_factory=set)
    in_flight: set[Any] = field(default_factory=set)
    first: tuple[int, Any] | None = None


class Source(Protocol):
    """Elements, in their order."""

    @property
    def total(self) -> int | None:
        """How many there are, if that is known."""

    @property
    def is_resumable(self) -> bool:
        """Whether another try finds the same elements under the same tokens."""

    @property
    def why_not(self) -> str:
        """Why it is not resumable: a clause that follows "because"."""

    @property
    def was_interrupted(self) -> bool:
        """Whether it was read in several parts, which may be of different moments."""

    def chunks(self, bookmark: Mapping[str, Any] | None, size: Callable[[], int]) -> Generator[Chunk]:
        """Read all of it, or what remains after a bookmark.

        :param size: returns the largest number of elements for the next chunk.
        """

    def remaining(self, bookmark: Mapping[str, Any]) -> Remaining:
        """Read a bookmark."""

    def token(self, position: int, key: Any) -> Any:
        """Return what identifies an element in a bookmark."""

    def bookmark(self, remaining: Remaining) -> dict[str, Any]:
        """Return what remains, JSON-ready."""


class Stream:
    """Elements that are read once; another reading may give others.

    :param elements: an iterable.
    :param why_not: why it cannot be resumed: a clause that follows "because".
    """

    is_resumable = False
    was_interrupted = False

    def __init__(
        self, elements: Iterable[object], why_not: str = "another reading may give other elements"
    ) -> None:
        self.elements = elements
        self.why_not = why_not

    @property
    def total(self) -> int | None:
        """How many there are, if that is known."""
        return len(self.elements) if isinstance(self.elements, Sized) else None

    def chunks(
        self,
        bookmark: Mapping[str, Any] | None,  # noqa: ARG002 (it has none)
        size: Callable[[], int],
    ) -> Generator[Chunk]:
        """Read it from its start, whatever the bookmark."""
        return _numbered(iter(self.elements), 0, size)

    def checked_as_read(self, rules_apply: bool, workspace: WorkspaceRules) -> Stream:
        """Return the same elements; those of a generator are checked and encoded one by one, as they are read.

        A generator may change an object that it has yielded, or yield it again. Nobody changes those of a list.
        """
        if isinstance(self.elements, list | tuple):
            return self
        return _CheckedAsRead(self, rules_apply, workspace)

    def remaining(self, bookmark: Mapping[str, Any]) -> Remaining:
        """Read a bookmark."""
        return Remaining((bookmark["last"], None))

    def token(self, position: int, key: Any) -> Any:  # noqa: ARG002 (it has none)
        """Return the position."""
        return position

    def bookmark(self, remaining: Remaining) -> dict[str, Any]:
        """Return that something was sent."""
        return {"last": remaining.last[0]}


class _CheckedAsRead(Stream):
    def __init__(self, stream: Stream, rules_apply: bool, workspace: WorkspaceRules) -> None:
        super().__init__(stream.elements, stream.why_not)
        self._rules_apply = rules_apply
        self._workspace = workspace

    def chunks(
        self,
        bookmark: Mapping[str, Any] | None,  # noqa: ARG002 (it has none)
        size: Callable[[], int],
    ) -> Generator[Chunk]:
        elements, encoder, first = iter(self.elements), Encoder(), 0
        while True:
            some = islice(elements, size())
            ready = prepare_elements(some, self._rules_apply, self._workspace, encoder)
            if not ready.elements:
                return
            yield Chunk(range(first, first + len(ready.elements)), ready.elements, _AlreadyPrepared(ready))
            first += len(ready.elements)


@dataclass(frozen=True, slots=True)
class _AlreadyPrepared:
    """The preparer of elements that were checked as they were read."""

    ready: PreparedElements

    def __call__(
        self,
        given: Sequence[Any],  # noqa: ARG002
        rules_apply: bool,  # noqa: ARG002
        workspace: WorkspaceRules = DOCUMENTED,  # noqa: ARG002
        /,
    ) -> PreparedElements:
        return self.ready


class Numbered(Stream):
    """Elements that another reading gives in the same order: a list, or files that have not changed."""

    is_resumable = True

    def checked_as_read(self, rules_apply: bool, workspace: WorkspaceRules) -> Stream:  # noqa: ARG002
        """Return itself: the elements of a list or of files do not change while they are read."""
        return self

    def chunks(self, bookmark: Mapping[str, Any] | None, size: Callable[[], int]) -> Generator[Chunk]:
        """Read it. Up to the bookmark's last element, an earlier try has read it too."""
        again = 0 if bookmark is None else bookmark["last"] + 1
        elements = iter(self.elements)
        for chunk in _numbered(islice(elements, again), 0, size):
            yield Chunk(chunk.positions, chunk.given, is_reread=True)
        yield from _numbered(elements, again, size)

    def remaining(self, bookmark: Mapping[str, Any]) -> Remaining:
        """Read a bookmark."""
        opened, in_flight = (set(_unpacked(bookmark[name])) for name in ("open", "sent"))
        return Remaining((bookmark["last"], None), opened, in_flight)

    def bookmark(self, remaining: Remaining) -> dict[str, Any]:
        """Return the positions that remain, JSON-ready."""
        return {
            "last": remaining.last[0],
            "open": _packed(remaining.open),
            "sent": _packed(remaining.in_flight),
        }


def _numbered(elements: Iterator[object], first: int, size: Callable[[], int]) -> Generator[Chunk]:
    while given := list(islice(elements, size())):
        yield Chunk(range(first, first + len(given)), given)
        first += len(given)


def _packed(numbers: Collection[int]) -> str:
    """Numbers as text: the gaps between them, which are small and often equal."""
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
