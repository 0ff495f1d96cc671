"""A part: the records of a whole run, in the order of its rows, in one file that is written once.

A file is a header, blocks of records with a checksum each, and a footer with what differs from the blocks. The
footer is written when the run has ended, and says how many records there are: a part without one counts as none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import IO

import msgspec

from airflow_provider_moengage.bulk.changed.records import (
    BLOCK_RECORDS,
    CHECKSUM_BYTES,
    RECORD_BYTES,
    checksum,
    columns,
    packed,
    unpacked,
)

_MAGIC = b"moengage-changes-1\n"
_TAIL_BYTES = 8 + CHECKSUM_BYTES
_BLOCK_BYTES = BLOCK_RECORDS * RECORD_BYTES


class Footer(msgspec.Struct):
    """What differs from the blocks.

    :param records: how many records the blocks have.
    :param exceptions: keys whose element was not accepted: what MoEngage has of them, or None if nothing.
    """

    records: int
    exceptions: dict[bytes, bytes | None]


class DamagedError(Exception):
    """A file of the state is not as it was written."""


class PartWriter:
    """Writes a part.

    :param stream: a new file.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._pending: list[bytes] = []
        self._waiting = 0
        self.records = 0
        stream.write(_MAGIC)

    def add(self, records: bytes) -> None:
        """Add records, in the order of the rows."""
        self._pending.append(records)
        self._waiting += len(records)
        self.records += len(records) // RECORD_BYTES
        if self._waiting >= _BLOCK_BYTES:
            self._write_blocks(_BLOCK_BYTES)

    def close(self, exceptions: Mapping[bytes, bytes | None]) -> None:
        """Write the footer; returns when the part is on the disk."""
        self._write_blocks(RECORD_BYTES)
        footer = msgspec.msgpack.encode(Footer(self.records, dict(exceptions)))
        self._stream.write(footer + len(footer).to_bytes(8, "big") + checksum(footer))
        sync(self._stream)
        self._stream.close()

    def _write_blocks(self, least: int) -> None:
        data = b"".join(self._pending)
        at = 0
        while len(data) - at >= least:
            block = data[at : at + _BLOCK_BYTES]
            self._stream.write(block + checksum(block))
            at += len(block)
        self._pending, self._waiting = [data[at:]], len(data) - at


def sync(stream: IO[bytes]) -> None:
    """Return when what was written is on the disk; a file of an object store appears when it is closed."""
    stream.flush()
    try:
        number = stream.fileno()
    except (OSError, AttributeError):
        return
    os.fsync(number)


class Part:
    """Reads a part.

    :param stream: the file, which can seek.
    :raises DamagedError: if its footer is missing or not as it was written.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        size = stream.seek(0, os.SEEK_END)
        self._footer_at, self.footer = self._read_footer(size)
        stream.seek(0)
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise DamagedError("the part has no header")
        blocks = -(-self.footer.records // BLOCK_RECORDS)
        if len(_MAGIC) + self.footer.records * RECORD_BYTES + blocks * CHECKSUM_BYTES != self._footer_at:
            raise DamagedError("the part has another number of records")

    def blocks(self) -> Iterator[bytes]:
        """Yield the records as they are in the blocks, without what the footer says.

        :raises DamagedError: at a block that is not as it was written.
        """
        self._stream.seek(len(_MAGIC))
        left = self.footer.records
        while left:
            data = self._stream.read(min(left, BLOCK_RECORDS) * RECORD_BYTES)
            if checksum(data) != self._stream.read(CHECKSUM_BYTES):
                raise DamagedError("a block of the part is damaged")
            yield data
            left -= len(data) // RECORD_BYTES

    def accepted(self) -> Iterator[bytes]:
        """Yield the records of what MoEngage has.

        :raises DamagedError: at a block that is not as it was written.
        """
        exceptions = self.footer.exceptions
        for data in self.blocks():
            if not exceptions or exceptions.keys().isdisjoint(columns(data)[0]):
                yield data
                continue
            accepted = [
                (key, now) for key, content in unpacked(data) if (now := exceptions.get(key, content)) is not None
            ]
            yield packed([key for key, _ in accepted], [content for _, content in accepted])

    def _read_footer(self, size: int) -> tuple[int, Footer]:
        stream = self._stream
        if size < len(_MAGIC) + _TAIL_BYTES:
            raise DamagedError("the part has no footer")
        stream.seek(size - _TAIL_BYTES)
        tail = stream.read(_TAIL_BYTES)
        length = int.from_bytes(tail[:8], "big")
        at = size - _TAIL_BYTES - length
        if at < len(_MAGIC):
            raise DamagedError("the part has no footer")
        stream.seek(at)
        data = stream.read(length)
        if checksum(data) != tail[8:]:
            raise DamagedError("the footer of the part is damaged")
        try:
            return at, msgspec.msgpack.decode(data, type=Footer)
        except msgspec.MsgspecError:
            raise DamagedError("the footer of the part is damaged") from None
