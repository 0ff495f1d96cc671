"""Elements on their way to a request: ready to be encoded, and encoded as a body.

MoEngage API reference, "Bulk Import": a body is ``{"type": "transition", "elements": [...]}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from airflow_provider_moengage.bulk.elements.weight import Weight

_PREFIX = b'{"type":"transition","elements":['
_SUFFIX = b"]}"
ENVELOPE_BYTES = len(_PREFIX) + len(_SUFFIX)
"""Bytes of a body around its elements."""

_RAW = msgspec.json.Decoder(list[msgspec.Raw])


class Elements(msgspec.Struct, frozen=True, gc=False):
    """Elements that are ready to be encoded, as lists of the same length."""

    elements: Sequence[Any]
    positions: Sequence[int]
    """Their numbers in the source, from 0."""
    weights: Sequence[Weight]
    users: Sequence[str]
    """A key of each one's user: equal for equal users, and used for nothing else."""

    def __getitem__(self, part: slice) -> Elements:
        return Elements(self.elements[part], self.positions[part], self.weights[part], self.users[part])

    def __len__(self) -> int:
        return len(self.positions)

    def pick(self, places: Sequence[int]) -> Elements:
        """Return those at some indexes."""
        return Elements(
            [self.elements[at] for at in places],
            [self.positions[at] for at in places],
            [self.weights[at] for at in places],
            [self.users[at] for at in places],
        )


class Batch:
    """The elements of one request.

    :param parts: the elements as JSON; a part may hold several, with commas between.
    :param positions: their numbers in the source.
    :param weights: what they count for.
    :param users: a key of each one's user.
    """

    __slots__ = ("parts", "positions", "users", "weights")

    def __init__(
        self, parts: Sequence[bytes], positions: Sequence[int], weights: Sequence[Weight], users: Sequence[str]
    ) -> None:
        self.parts = parts
        self.positions = positions
        self.weights = weights
        self.users = users

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def body(self) -> bytes:
        """The body of the request."""
        return _PREFIX + b",".join(self.parts) + _SUFFIX

    @property
    def lines(self) -> list[bytes]:
        """Each element as JSON."""
        if len(self.parts) == len(self.positions):
            return list(self.parts)
        return [bytes(raw) for raw in _RAW.decode(b"[" + b",".join(self.parts) + b"]")]

    def part(self, part: slice) -> Batch:
        """Return a slice of them."""
        return Batch(self.lines[part], self.positions[part], self.weights[part], self.users[part])

    def pick(self, places: Sequence[int]) -> Batch:
        """Return those at some indexes."""
        lines = self.lines
        return Batch(
            [lines[at] for at in places],
            [self.positions[at] for at in places],
            [self.weights[at] for at in places],
            [self.users[at] for at in places],
        )

    def each(self) -> Iterator[Batch]:
        """Yield each element as a batch of its own."""
        apart = self.part(slice(None))
        for at in range(len(self)):
            yield apart.part(slice(at, at + 1))
