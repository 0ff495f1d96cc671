"""Finds records in any order: a hash table in a file on the local disk, with one small read for a look-up.

Memory grows by a byte and a half for each record; up to a million of them are held in memory as well.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from struct import iter_unpack, unpack

from airflow_provider_moengage.bulk.changed.records import (
    KEY_BYTES,
    RECORD_BYTES,
    UNKNOWN,
    packed,
    unpacked,
)
from airflow_provider_moengage.scratch import ScratchFolder

_BUCKETS = 128
"""Files into which records are divided before each is sorted: 40,000 records with 5 million users."""
_MOST_WAITING = 65_536
"""Records that wait in memory to be written to those files: about 4 MB."""
MOST_AGAIN = 40_000
"""Keys that are remembered because they were looked up again: about 4 MB."""

MOST_HELD = 1_000_000
"""Records that are held in memory as well: 24 MB. No file is read to look them up."""

_RECORDS_PER_SLOT = 8
_READ = 1_024 * RECORD_BYTES


class DiskIndex:
    """An index of records. If a key is in several records, the last one counts.

    :param records: records as bytes, any number at a time.
    :param is_unique: whether no key is in several records.
    """

    def __init__(self, records: Iterable[bytes], *, is_unique: bool = False) -> None:
        self._is_unique = is_unique
        self._folder = ScratchFolder()
        path = self._folder.path / "records"
        buckets = _Buckets(self._folder.path, records)
        slots = max(buckets.count // _RECORDS_PER_SLOT, 1)
        bits = max(8, (slots - 1).bit_length())
        self._shift = 32 - bits
        self._starts = array("I", [0]) * ((1 << bits) + 1)
        self.count = self._write(path, buckets)
        self._file = os.open(path, os.O_RDONLY)
        self._held = path.read_bytes() if self.count <= MOST_HELD else b""
        self._seen = bytearray(self.count)
        self.seen_again: set[bytes] = set()
        """Keys that were looked up several times; with more than :data:`MOST_AGAIN`, not all of them."""

    def _write(self, path: Path, buckets: _Buckets) -> int:
        """Write the records in the order of their keys, without repetition; return how many there are."""
        starts, shift = self._starts, self._shift
        written = slot = 0
        with path.open("wb") as file:
            for data in buckets:
                some = data if self._is_unique else _last_of_each(data)
                records = sorted([one for (one,) in iter_unpack(f"{RECORD_BYTES}s", some)])
                if not records:
                    continue
                file.write(b"".join(records))
                first_of_slots = range(slot + 1, (int.from_bytes(records[-1][:4]) >> shift) + 1)
                at = 0
                for slot in first_of_slots:
                    at = bisect_left(records, (slot << shift).to_bytes(4), at)
                    starts[slot] = written + at
                written += len(records)
        for rest in range(slot + 1, len(starts)):
            starts[rest] = written
        return written

    def look_up(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the content of each key, and None for those that are not in the index; remember them as seen."""
        starts, shift, file, seen, read = self._starts, self._shift, self._file, self._seen, os.pread
        held = self._held
        found: list[bytes | None] = []
        heads = unpack(f">{len(keys)}I", b"".join([key[:4] for key in keys]))
        for key, head in zip(keys, heads, strict=True):
            slot = head >> shift
            first, after = starts[slot] * RECORD_BYTES, starts[slot + 1] * RECORD_BYTES
            if held:
                data, first_in_data, end = held, first, after
            else:
                data, first_in_data, end = read(file, after - first, first), 0, after - first
            at = data.find(key, first_in_data, end)
            while at > 0 and at % RECORD_BYTES:
                at = data.find(key, at + 1, end)
            if at < 0:
                found.append(None)
                continue
            number = (first - first_in_data + at) // RECORD_BYTES
            if not seen[number]:
                seen[number] = 1
            elif len(self.seen_again) <= MOST_AGAIN:
                self.seen_again.add(key)
            found.append(data[at + KEY_BYTES : at + RECORD_BYTES])
        return found

    def take(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the content of each key like :meth:`look_up`, but None for those that were found before."""
        taken: list[bytes | None] = []
        for key in keys:
            number, content = self._find(key)
            if content is None or self._seen[number]:
                taken.append(None)
            else:
                self._seen[number] = 1
                taken.append(content)
        return taken

    def _find(self, key: bytes) -> tuple[int, bytes | None]:
        slot = int.from_bytes(key[:4]) >> self._shift
        first = self._starts[slot]
        data = os.pread(self._file, (self._starts[slot + 1] - first) * RECORD_BYTES, first * RECORD_BYTES)
        for number, (found, content) in enumerate(unpacked(data), first):
            if found == key:
                return number, content
        return 0, None

    def unseen(self) -> Iterator[tuple[bytes, bytes]]:
        """Return key and content of the records that were not looked up."""
        seen, together = self._seen, _READ // RECORD_BYTES
        for first in range(0, self.count, together):
            if 0 not in seen[first : first + together]:
                continue
            data = os.pread(self._file, _READ, first * RECORD_BYTES)
            for number, record in enumerate(unpacked(data), first):
                if not seen[number]:
                    yield record

    def close(self) -> None:
        """Remove it from the disk."""
        os.close(self._file)
        self._folder.close()


def _last_of_each(records: bytes) -> bytes:
    """Return the last record of each key."""
    last = dict(unpacked(records))
    return packed(list(last), list(last.values()))


class _Buckets:
    """Records by the first byte of their keys: files that are small enough to sort in memory.

    :param folder: for the files.
    """

    def __init__(self, folder: Path, records: Iterable[bytes]) -> None:
        self.count = 0
        self._paths = [folder / str(number) for number in range(_BUCKETS)]
        self._waiting: list[list[bytes]] = [[] for _ in self._paths]
        add = [self._waiting[first * _BUCKETS >> 8].append for first in range(256)]
        written = 0
        for data in records:
            for (record,) in iter_unpack(f"{RECORD_BYTES}s", data):
                add[record[0]](record)
            self.count += len(data) // RECORD_BYTES
            if self.count - written >= _MOST_WAITING:
                self._flush()
                written = self.count
        self._flush()

    def _flush(self) -> None:
        for path, waiting in zip(self._paths, self._waiting, strict=True):
            with path.open("ab") as file:
                file.write(b"".join(waiting))
            waiting.clear()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the records of each bucket, in order, and remove its file."""
        for path in self._paths:
            yield path.read_bytes()
            path.unlink()


def repeated_keys(records: Iterable[bytes], *, is_ordered: bool = True) -> dict[bytes, bytes]:
    """Return the keys that are in several records, each with the content of the last one.

    :param is_ordered: whether the last one is known; otherwise, contents that differ count as unknown.
    """
    found: dict[bytes, bytes] = {}
    with ScratchFolder() as folder:
        for data in _Buckets(folder, records):
            last = dict(unpacked(data))
            if len(last) * RECORD_BYTES < len(data):
                counts = Counter(key for key, _ in unpacked(data))
                found.update((key, last[key]) for key, count in counts.items() if count > 1)
                if not is_ordered:
                    found.update((key, UNKNOWN) for key, content in unpacked(data) if content != last[key])
    return found
