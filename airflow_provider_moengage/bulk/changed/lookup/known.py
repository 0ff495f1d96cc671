"""What MoEngage last accepted of each user, compared in the order of the rows.

A sync reads its rows in about the same order each time, so the state is stored in that order and read along with
them: a window of records is in memory, and most rows find theirs in it. A row that did not change finds it by its
content, which says who it is of, so only the others need a digest of the user. If more than half of a chunk finds
none, or the records of such rows come later, the order differs, and the rest of the state becomes a
:class:`~.index.DiskIndex`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from airflow_provider_moengage.bulk.changed.lookup.index import MOST_AGAIN, DiskIndex
from airflow_provider_moengage.bulk.changed.records import RECORD_BYTES, columns, packed, unpacked, without

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

    def __init__(self, blocks: Iterator[bytes], *, window: int = WINDOW, most_waiting: int = MOST_WAITING) -> None:
        self._blocks = blocks
        self._window = window
        self._most_waiting = most_waiting
        self._has_ended = False
        self._ahead: deque[_Block] = deque()
        self._stale: dict[bytes, bytes] = {}
        """Contents by key of records that the rows have passed: their rows have left, or come later. They do not
        count as ahead, or a state with many removed users would fill the window."""
        self._hits: list[int] = []
        """How many rows of this chunk have found their records in each block."""
        self._index: DiskIndex | None = None
        self._missed: set[bytes] = set()
        self._moved = 0
        self._unsure: set[bytes] | None = set()
        """Keys that were not found: unknown, or asked for before. None: too many."""

    def keys(self, contents: Sequence[bytes]) -> list[bytes | None]:
        """Return the keys of the next records that have these contents; None for contents that none of them has.

        To be called before :meth:`contents`. A content has 8 bytes and is compared with some thousand records, so
        by chance it is another user's once in 1e15 rows that changed.
        """
        found: list[bytes | None] = [None] * len(contents)
        if self._index is not None:
            return found
        self._begin(len(contents))
        places: Sequence[int] = range(len(contents))
        looked_through = 0
        for number, block in enumerate(self._ahead):
            looked_through += len(block)
            if len(places) == len(contents):
                found = block.take_keys(contents)
            else:
                for at, key in zip(places, block.take_keys([contents[at] for at in places]), strict=True):
                    found[at] = key
            missing = [at for at in places if found[at] is None]
            self._hits[number] += len(places) - len(missing)
            places = missing
            if not missing or looked_through >= len(contents) + self._window // 16:
                break
        return found

    def contents(self, keys: Sequence[bytes], chunk: int | None = None) -> list[bytes | None]:
        """Return what MoEngage has of each key; None for keys that it does not have, as far as this can tell.

        A row that has moved further than the window may get None as well: it is sent once more, which is harmless.

        :param chunk: how many rows the chunk has, if :meth:`keys` has found some of them.
        """
        if chunk is None:
            self._begin(len(keys))
        found = self._contents(keys, chunk or len(keys))
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

    @property
    def is_indexed(self) -> bool:
        """Whether the order of the rows is another one: a record may then be found repeatedly."""
        return self._index is not None

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

    def _contents(self, keys: Sequence[bytes], chunk: int) -> list[bytes | None]:
        if self._index is not None:
            return self._index.look_up(keys)
        pop = self._stale.pop
        found: list[bytes | None] = [pop(key, None) for key in keys]
        missing = [at for at, content in enumerate(found) if content is None]
        for number, block in enumerate(self._ahead):
            if not missing:
                break
            self._hits[number] += len(missing)
            for at, content in zip(missing, block.take_contents([keys[at] for at in missing]), strict=True):
                found[at] = content
            missing = [at for at in missing if found[at] is None]
            self._hits[number] -= len(missing)
        if not missing or self._has_ended:
            return found
        if (
            len(missing) * 2 > chunk
            or self._moved > _MOST_MOVED
            or len(self._missed) + len(missing) > _MOST_MISSED
        ):
            index = self._build_index()
            for at, content in zip(missing, index.look_up([keys[at] for at in missing]), strict=True):
                found[at] = content
        else:
            self._missed.update(keys[at] for at in missing)
        return found

    def _begin(self, chunk: int) -> None:
        """Begin a chunk of rows: let go of the blocks that the last one has passed, and read others. If too many
        records wait for rows that do not come, index all of them.
        """
        if self._index is not None:
            return
        later = total = sum(self._hits)
        for hit in self._hits[:-1]:
            later -= hit
            if later * 2 <= total:
                break
            self._stale.update(self._ahead.popleft())
        if len(self._stale) > self._most_waiting and not self._has_ended:
            self._build_index()
            return
        self._read_ahead(chunk)
        self._hits = [0] * len(self._ahead)

    def _read_ahead(self, chunk: int) -> None:
        ahead = sum(map(len, self._ahead))
        while ahead < self._window + chunk:
            records = next(self._blocks, None)
            if records is None:
                self._has_ended = True
                return
            if self._missed and (moved := self._missed.intersection(columns(records)[0])):
                self._moved += len(moved)
                records = without(records, moved)
            self._ahead.append(_Block(records))
            ahead += len(records) // RECORD_BYTES

    def _rest(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self._stale.items()
        for block in self._ahead:
            yield from block
        for records in self._blocks:
            yield from unpacked(records)

    def _build_index(self) -> DiskIndex:
        def records() -> Iterator[bytes]:
            yield packed(list(self._stale), list(self._stale.values()))
            self._stale.clear()
            for block in self._ahead:
                waiting = dict(block)
                yield packed(list(waiting), list(waiting.values()))
            self._ahead.clear()
            yield from self._blocks

        self._index = DiskIndex(records(), is_unique=True)
        self._has_ended = True
        return self._index


class _Block:
    """Some records, to be found by content or by key, each once.

    :param records: the records, without repeated keys.
    """

    def __init__(self, records: bytes) -> None:
        self._records = records
        self._contents: dict[bytes, bytes] | None = None
        """Contents by key; with ``_keys``, also of records that were found."""
        self._keys: dict[bytes, bytes] | None = None
        """Keys by content. None until one is needed, as ``_contents``."""
        self._alike: dict[bytes, bytes] = {}
        """Contents by key of the records that ``_keys`` has no room for: another one has the same content."""

    def __len__(self) -> int:
        if self._keys is not None:
            return len(self._keys) + len(self._alike)
        return len(self._records) // RECORD_BYTES if self._contents is None else len(self._contents)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and content of those that were not found yet."""
        if self._keys is None:
            yield from unpacked(self._records) if self._contents is None else self._contents.items()
            return
        for content, key in self._keys.items():
            yield key, content
        yield from self._alike.items()

    def take_keys(self, contents: Sequence[bytes]) -> list[bytes | None]:
        """Return the key of each content; None if it has none that was not found yet."""
        if self._keys is None:
            self._keys = self._by_content()
        pop = self._keys.pop
        return [pop(content, None) for content in contents]

    def take_contents(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the content of each key; None if it has none that was not found yet."""
        if self._contents is None:
            self._contents = (
                dict(unpacked(self._records))
                if self._keys is None
                else dict(zip(self._keys.values(), self._keys, strict=True))
            )
        if self._keys is None:
            pop = self._contents.pop
            return [pop(key, None) for key in keys]
        found: list[bytes | None] = []
        for key in keys:
            content = self._contents.get(key)
            if content is not None and self._keys.get(content) == key:
                del self._keys[content]
                found.append(content)
            else:
                found.append(self._alike.pop(key, None))
        return found

    def _by_content(self) -> dict[bytes, bytes]:
        if self._contents is None:
            keys, contents = columns(self._records)
        else:
            keys, contents = list(self._contents), list(self._contents.values())
        by_content = dict(zip(contents, keys, strict=True))
        if len(by_content) < len(keys):  # several of whom it is unknown what MoEngage has
            self._alike = {
                key: content for key, content in zip(keys, contents, strict=True) if by_content[content] != key
            }
        return by_content
