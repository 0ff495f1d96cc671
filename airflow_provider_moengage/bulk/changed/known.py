"""What MoEngage last accepted of each user, compared in the order of the rows.

A sync reads its rows in about the same order each time, so the state is stored in that order and read along with
them: a window of records is in memory, and most rows find theirs in it. Where more than half of a chunk does not,
or the records of such rows come later, the order differs, and the rest of the state becomes a
:class:`~.index.DiskIndex`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airflow_provider_moengage.bulk.changed.index import MOST_AGAIN, DiskIndex
from airflow_provider_moengage.bulk.changed.records import packed

WINDOW = 16_384
"""Records that are read ahead of the rows: as far as a row may have moved and still be found in memory."""

MOST_WAITING = 200_000
"""Records in memory without a row, before the rest is indexed: about 40 MB."""

_MOST_MISSED = 250_000
"""Keys that were not found while the state was not read to its end, before the rest is indexed: 25 MB."""

_MOST_UNSURE = 40_000
"""Keys that may have been asked for several times and are remembered: about 4 MB."""

_MOST_MOVED = 16
"""Of them, those whose records came later, before the rest is indexed: their rows were sent needlessly."""


class Known:
    """The records of a state. Ask for each chunk of rows once, in the order of the rows.

    :param blocks: the records in the order of the last run, some at a time; no key is repeated.
    :param window: see :data:`WINDOW`.
    :param most_waiting: see :data:`MOST_WAITING`.
    """

    def __init__(
        self, blocks: Iterator[dict[bytes, bytes]], *, window: int = WINDOW, most_waiting: int = MOST_WAITING
    ) -> None:
        self._blocks = blocks
        self._window = window
        self._most_waiting = most_waiting
        self._has_ended = False
        self._ahead: dict[bytes, bytes] = {}
        self._stale: dict[bytes, bytes] = {}
        """Records that were ahead for a whole window: their rows have left, or moved further than that. They do
        not count as ahead, or a state with many removed users would fill the window."""
        self._read_since = 0
        self._ahead_then: list[bytes] = []
        self._index: DiskIndex | None = None
        self._missed: set[bytes] = set()
        self._moved = 0
        self._unsure: set[bytes] | None = set()
        """Keys that were not found: unknown, or asked for before. None: too many."""

    def contents(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what MoEngage has of each key; None for keys that it does not have, as far as this can tell.

        A row that has moved further than the window may get None as well: it is sent once more, which is harmless.
        """
        found = self._contents(keys)
        if self._unsure is not None and None in found:
            self._unsure.update([key for key, content in zip(keys, found, strict=True) if content is None])
            if len(self._unsure) > _MOST_UNSURE:
                self._unsure = None
        return found

    def maybe_repeated(self) -> set[bytes] | None:
        """Return the keys that may have been asked for several times; None: any."""
        if self._unsure is None or self._index is None:
            return self._unsure
        again = self._index.seen_again
        return self._unsure | again if len(again) <= MOST_AGAIN else None

    def _contents(self, keys: Sequence[bytes]) -> list[bytes | None]:
        if self._index is not None:
            return self._index.look_up(keys)
        while len(self._ahead) < self._window + len(keys) and not self._has_ended:
            self._read()
        pop, stale = self._ahead.pop, self._stale
        found: list[bytes | None] = [pop(key, None) for key in keys]
        misses = found.count(None)
        if misses and stale:
            pairs = zip(keys, found, strict=True)
            found = [stale.pop(key, None) if content is None else content for key, content in pairs]
            misses = found.count(None)
        if not misses or self._has_ended:
            return found
        missing = [at for at, content in enumerate(found) if content is None]
        if (
            misses * 2 > len(keys)
            or self._moved > _MOST_MOVED
            or len(self._missed) + misses > _MOST_MISSED
            or len(self._ahead) + len(self._stale) > self._most_waiting + self._window
        ):
            index = self._build_index()
            for at, content in zip(missing, index.look_up([keys[at] for at in missing]), strict=True):
                found[at] = content
        else:
            self._missed.update(keys[at] for at in missing)
        return found

    def unseen(self) -> Iterator[tuple[bytes, bytes]]:
        """Return key and content of the users that no row had. Call it when all rows were read."""
        missed = self._missed
        records = self._rest() if self._index is None else self._index.unseen()
        return (record for record in records if record[0] not in missed)

    def close(self) -> None:
        """Remove the index from the disk."""
        index, self._index = self._index, None
        if index is not None:
            index.close()

    def _read(self) -> None:
        block = next(self._blocks, None)
        if block is None:
            self._has_ended = True
            return
        if self._missed and (moved := self._missed.intersection(block)):
            self._moved += len(moved)
            block = {key: content for key, content in block.items() if key not in moved}
        self._ahead.update(block)
        self._read_since += len(block)
        if self._read_since >= self._window:
            pop = self._ahead.pop
            for key in self._ahead_then:
                if (content := pop(key, None)) is not None:
                    self._stale[key] = content
            self._ahead_then, self._read_since = list(self._ahead), 0

    def _rest(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self._stale.items()
        yield from self._ahead.items()
        for block in self._blocks:
            yield from block.items()

    def _build_index(self) -> DiskIndex:
        def records() -> Iterator[bytes]:
            for waiting in (self._stale, self._ahead):
                yield packed(list(waiting), list(waiting.values()))
                waiting.clear()
            for block in self._blocks:
                yield packed(list(block), list(block.values()))

        self._index = DiskIndex(records())
        self._has_ended = True
        self._ahead_then.clear()
        return self._index
