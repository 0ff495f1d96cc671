"""The IDs of the users of a state, in a file of their own: the state itself has only digests.

Only syncs with another ``on_removed`` than ``"keep"`` have this file. Nobody is removed because an ID is in it: an
ID is used if its digest is that of a user who has left.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import IO

import msgspec

from airflow_provider_moengage.bulk.changed.part import DamagedError, sync
from airflow_provider_moengage.bulk.changed.records import CHECKSUM_BYTES, checksum

_MAGIC = b"moengage-ids-1\n"
_LENGTH_BYTES = 4
_BLOCK_IDS = 4_096
"""IDs that are compressed together."""


class IdsWriter:
    """Writes IDs.

    :param stream: a new file.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._pending: list[str] = []
        stream.write(_MAGIC)

    def add(self, ids: Sequence[str]) -> None:
        """Add IDs."""
        self._pending += ids
        if len(self._pending) >= _BLOCK_IDS:
            self._write_block()

    def close(self) -> None:
        """Return when all IDs are on the disk."""
        self._write_block()
        sync(self._stream)
        self._stream.close()

    def _write_block(self) -> None:
        if self._pending:
            data = encoded(self._pending)
            self._stream.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data + checksum(data))
            self._pending = []


def read_ids(stream: IO[bytes]) -> Iterator[list[str]]:
    """Yield IDs, some at a time.

    :raises DamagedError: at a block that is not as it was written.
    """
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise DamagedError("the file of IDs has no header")
    while length := stream.read(_LENGTH_BYTES):
        data = stream.read(int.from_bytes(length, "big"))
        if stream.read(CHECKSUM_BYTES) != checksum(data):
            raise DamagedError("a block of IDs is damaged")
        yield decoded(data)


def encoded(ids: Sequence[str]) -> bytes:
    """Return IDs as bytes."""
    return zlib.compress(msgspec.msgpack.encode([one.encode(errors="surrogatepass") for one in ids]), 1)


def decoded(data: bytes) -> list[str]:
    """Return the IDs that were encoded."""
    ids = msgspec.msgpack.decode(zlib.decompress(data), type=list[bytes])
    return [one.decode(errors="surrogatepass") for one in ids]
