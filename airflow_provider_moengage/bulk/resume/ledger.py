"""Which elements of a source are open: read, and neither accepted nor rejected yet.

Pure bookkeeping: no lock and no I/O. Callers make one call at a time; :class:`.checkpoint.Checkpoint` holds the
writer's lock around each call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

from airflow_provider_moengage.bulk.sources import Chunk, Remaining, Source


class Ledger:
    """The open elements of a run.

    Everything up to the last element that was sent is done, except the open elements. Their number is bounded by
    what the lanes hold, so the ledger stays small however long the run is.

    :param source: what is read; it makes the tokens that identify an element in another try.
    :param at_most_once: elements that an earlier try had in flight must not be sent again.
    """

    def __init__(self, source: Source, *, at_most_once: bool) -> None:
        self._source = source
        self._at_most_once = at_most_once
        self._open: dict[int, Any] = {}
        """Key of each open element by its position, in the order of reading."""
        self._reread: set[int] = set()
        """Open elements that an earlier try had read too. Their positions may have changed since."""
        self._tokens: dict[int, Any] = {}
        self._in_flight: set[int] = set()
        self._last: tuple[int, Any] | None = None
        self._unread = Remaining((-1, None))
        """What an earlier try left and this one has not read again yet."""

    @property
    def unread(self) -> int:
        """Open elements of an earlier try that were not read again yet."""
        return len(self._unread.open) + len(self._unread.in_flight)

    def restore(self, remaining: Remaining) -> None:
        """Continue with what an earlier try left."""
        self._unread, self._last = remaining, remaining.last

    def add(self, chunk: Chunk) -> None:
        """Record elements that no earlier try has read."""
        self._open.update(_keyed(chunk))

    def add_reread(self, chunk: Chunk) -> tuple[Chunk, Chunk]:
        """Record elements that an earlier try has read too.

        An open element moves from the earlier try's tokens to this try's positions. It is in one of them at any
        time, because a signal handler may raise between any two lines.

        :return: the elements to send, and those that were in flight when the earlier try ended and must not be
            sent again. All others are done.
        """
        unread = self._unread
        to_send_at: list[int] = []
        unknown_at: list[int] = []
        tokens: dict[int, Any] = {}
        for at, (position, key) in enumerate(_keyed(chunk)):
            token = self._source.token(position, key)
            was_in_flight = token in unread.in_flight
            if was_in_flight or token in unread.open:
                (unknown_at if was_in_flight and self._at_most_once else to_send_at).append(at)
                tokens[position] = token
        to_send, unknown = chunk.pick(to_send_at), chunk.pick(unknown_at)
        self._tokens.update(tokens)
        self._reread.update(tokens)
        self._in_flight.update(unknown.positions)
        for part in (unknown, to_send):
            self._open.update(_keyed(part))
        unread.open.difference_update(tokens.values())
        unread.in_flight.difference_update(tokens.values())
        return to_send, unknown

    def drop_unread(self) -> int:
        """Forget open elements of an earlier try that are no longer in the source; return how many."""
        dropped = self.unread
        self._unread.open.clear()
        self._unread.in_flight.clear()
        return dropped

    def mark_in_flight(self, positions: Iterable[int]) -> None:
        """Record that a request with these elements may leave."""
        self._in_flight.update(positions)

    def clear_in_flight(self, positions: Iterable[int]) -> None:
        """Record that the request with these elements was certainly not processed."""
        self._in_flight.difference_update(positions)

    def advance(self, positions: Sequence[int]) -> None:
        """Move the last element that was sent, unless all of these were read by an earlier try."""
        if self._reread:
            positions = [position for position in positions if position not in self._reread]
        last = max(positions, default=-1)
        if last >= 0 and (self._last is None or last > self._last[0]):
            self._last = (last, self._open.get(last))

    def close(self, positions: Iterable[int]) -> None:
        """Record that elements are done."""
        for position in positions:
            self._open.pop(position, None)
            self._tokens.pop(position, None)
            self._reread.discard(position)
            self._in_flight.discard(position)

    def bookmark(self) -> dict[str, Any]:
        """Return what another try needs to continue, JSON-ready."""
        if self._last is None:
            raise RuntimeError("a ledger has no bookmark before an element was sent or rejected")
        last, reread = self._last[0], self._reread
        remaining = Remaining(self._last, set(self._unread.open), set(self._unread.in_flight))
        for position, key in self._open.items():
            if position <= last or position in reread:
                if remaining.first is None or position < remaining.first[0]:
                    remaining.first = (position, key)
                tokens = remaining.in_flight if position in self._in_flight else remaining.open
                tokens.add(self._token(position, key))
        return self._source.bookmark(remaining)

    def _token(self, position: int, key: Any) -> Any:
        token = self._tokens.get(position)
        if token is None:
            token = self._tokens[position] = self._source.token(position, key)
        return token


def _keyed(chunk: Chunk) -> Iterable[tuple[int, Any]]:
    return zip(chunk.positions, chunk.keys or repeat(None), strict=False)
