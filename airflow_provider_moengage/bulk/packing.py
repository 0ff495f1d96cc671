"""Bodies that are as full as MoEngage allows, measured to the byte.

MoEngage API reference, "Bulk Import": at most 100 kB a request, envelope included.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from airflow_provider_moengage.bulk.rules import LARGEST_BODY

_PREFIX = b'{"type":"transition","elements":['
_SUFFIX = b"]}"
_ENVELOPE = len(_PREFIX) + len(_SUFFIX)

LARGEST_ELEMENT = LARGEST_BODY - _ENVELOPE
"""Bytes that one element may take at the most: a body that holds it alone."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """One encoded element on its way."""

    position: int
    """Its number in the source, from 0."""
    data: bytes
    kind: str
    actions: int
    warnings: tuple[str, ...] = ()
    """Codes of what MoEngage will cut, ignore or alter."""

    @property
    def users(self) -> int:
        """What it takes of the budget of users."""
        return 0 if self.kind == "event" else 1


class Batch(msgspec.Struct, frozen=True):
    """Elements that go out in one request."""

    lines: list[Line]

    @property
    def body(self) -> bytes:
        """The request's body."""
        return _PREFIX + b",".join([line.data for line in self.lines]) + _SUFFIX

    @property
    def users(self) -> int:
        """What it takes of the budget of users."""
        return sum(line.users for line in self.lines)

    @property
    def events(self) -> int:
        """What it takes of the budget of events: one an action."""
        return sum(line.actions for line in self.lines)

    def halves(self) -> tuple[Batch, Batch]:
        """Cut it in two, in order."""
        middle = len(self.lines) // 2
        return Batch(self.lines[:middle]), Batch(self.lines[middle:])


class Packer:
    """Fills one body after the other, in order.

    :param most_users: users that one body may hold: no more than a minute's budget, or it could never go.
    :param most_events: the same for events.
    """

    def __init__(self, most_users: int, most_events: int) -> None:
        self._most_users = most_users
        self._most_events = most_events
        self._begin()

    def add(self, line: Line) -> Batch | None:
        """Take a line; return the batch that it did not fit into any more, if it is full now."""
        full = None
        users = line.users
        size = len(line.data) + 1  # its comma; the first has none
        if self._lines and (
            self._size + size > LARGEST_BODY
            or self._users + users > self._most_users
            or self._events + line.actions > self._most_events
        ):
            full = self.take()
        self._lines.append(line)
        self._size += size
        self._users += users
        self._events += line.actions
        return full

    def take(self) -> Batch | None:
        """Return what is there, or None, and begin anew."""
        batch = Batch(self._lines) if self._lines else None
        self._begin()
        return batch

    def _begin(self) -> None:
        self._lines: list[Line] = []
        self._size = _ENVELOPE - 1
        self._users = 0
        self._events = 0


def pack_together(leftovers: Iterable[Batch], most_users: int, most_events: int) -> list[Batch]:
    """Put the last, half-empty batches of several lanes into as few bodies as hold them, in the source's order.

    A user's elements are in one leftover only, so none is split and their order stays.
    """
    bodies: list[list[Line]] = []
    for leftover in leftovers:
        together = Batch([*bodies[-1], *leftover.lines]) if bodies else leftover
        if bodies and (
            len(together.body) <= LARGEST_BODY and together.users <= most_users and together.events <= most_events
        ):
            bodies[-1] = together.lines
        else:
            bodies.append(leftover.lines)
    return [Batch(sorted(lines, key=lambda line: line.position)) for lines in bodies]
