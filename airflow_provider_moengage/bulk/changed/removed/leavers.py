"""The users that no row had, in files on the local disk: memory does not grow with how many they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

import msgspec

from airflow_provider_moengage.bulk.changed.lookup.index import DiskIndex
from airflow_provider_moengage.bulk.changed.records import packed
from airflow_provider_moengage.scratch import ScratchFolder
from airflow_provider_moengage.storage import in_temporary_folder

_AT_ONCE = 1_024
_LENGTH_BYTES = 4


class Leaver(NamedTuple):
    """A user who has left.

    :param key: digest of the user.
    :param content: what MoEngage has of the user.
    :param user: the ID.
    """

    key: bytes
    content: bytes
    user: str


class Leavers:
    """Users who have left, with their IDs as far as these are known.

    :param records: key and content of each.
    :param ids: IDs of users, some at a time; any, in any order, also repeatedly.
    :param keys_of: returns the keys of IDs.
    """

    def __init__(
        self,
        records: Iterable[tuple[bytes, bytes]],
        ids: Iterable[Sequence[str]],
        keys_of: Callable[[Sequence[str]], list[bytes]],
    ) -> None:
        self.count = self.identified = 0
        self._index: DiskIndex | None = None
        remaining = iter(records)
        first = next(remaining, None)
        if first is None:
            return
        self._folder = ScratchFolder()
        self._file = self._folder.path / "ids"
        self._index = index = DiskIndex(_in_blocks(chain([first], remaining)))
        self.count = index.count
        try:
            self.identified = self._identify(ids, keys_of, index)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Leaver]:
        """Yield those whose IDs are known.

        :raises StorageError: if the disk fails.
        """
        if not self.identified:
            return
        with in_temporary_folder(), self._file.open("rb") as file:
            while length := file.read(_LENGTH_BYTES):
                data = file.read(int.from_bytes(length, "big"))
                yield from msgspec.msgpack.decode(data, type=list[Leaver])

    def without_id(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and content of the others."""
        return iter(()) if self._index is None else self._index.unseen()

    def close(self) -> None:
        """Remove the files from the disk."""
        if self._index is not None:
            self._index.close()
            self._folder.close()

    def _identify(
        self,
        ids: Iterable[Sequence[str]],
        keys_of: Callable[[Sequence[str]], list[bytes]],
        index: DiskIndex,
    ) -> int:
        """Write those whose IDs are among these to the file; return how many they are."""
        found = 0
        with self._file.open("wb") as file:
            for some in ids:
                keys = keys_of(some)
                contents = index.take(keys)
                known = [
                    Leaver(key, content, user)
                    for key, content, user in zip(keys, contents, some, strict=True)
                    if content is not None
                ]
                for at in range(0, len(known), _AT_ONCE):
                    data = msgspec.msgpack.encode(known[at : at + _AT_ONCE])
                    file.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
                found += len(known)
                if found == self.count:
                    break
        return found


def _in_blocks(records: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    remaining = iter(records)
    while some := list(islice(remaining, _AT_ONCE)):
        yield packed([key for key, _ in some], [content for _, content in some])
