"""A journal: what a run has sent, and what MoEngage has accepted of it, until the run's part is complete.

Before a request leaves, the journal has its elements as *sent*; after the answer, as *accepted* or *not accepted*.
If the process is killed in between, MoEngage may have either version, so the next run sends these users again.

The removal of a user is recorded in the same way, with the content :data:`~.records.REMOVED`. If users are to be
removed, the journal also has the IDs of those that were sent: another run may have to remove them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import IO

from airflow_provider_moengage.bulk.changed.folder import StateFolder
from airflow_provider_moengage.bulk.changed.lease import Lease
from airflow_provider_moengage.bulk.changed.part import sync
from airflow_provider_moengage.bulk.changed.records import (
    CHECKSUM_BYTES,
    RECORD_BYTES,
    checksum,
    unpacked,
)
from airflow_provider_moengage.bulk.changed.removed.ids import decoded, encoded
from airflow_provider_moengage.bulk.clock import StoppedError

SENT = b"s"
ACCEPTED = b"a"
NOT_ACCEPTED = b"n"
_IDS = b"i"

_HEAD_BYTES = 5


def block(kind: bytes, records: bytes) -> bytes:
    """Return a block of a journal.

    :param kind: :data:`SENT`, :data:`ACCEPTED` or :data:`NOT_ACCEPTED`.
    :param records: the elements' records.
    """
    return _with_checksum(kind, len(records) // RECORD_BYTES, records)


def ids_block(users: Sequence[str]) -> bytes:
    """Return a block with the IDs of users."""
    data = encoded(users)
    return _with_checksum(_IDS, len(data), data)


def _with_checksum(kind: bytes, count: int, content: bytes) -> bytes:
    data = kind + count.to_bytes(_HEAD_BYTES - 1, "big") + content
    return data + checksum(data)


def blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and records of each block. One that is not whole, because the process was killed, ends it."""
    return (found for found in _all_blocks(data) if found[0] != _IDS)


def ids(journals: Iterable[bytes]) -> Iterator[list[str]]:
    """Yield the IDs in journals, some at a time."""
    return (decoded(found) for data in journals for kind, found in _all_blocks(data) if kind == _IDS)


def _all_blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + _HEAD_BYTES <= len(data):
        kind, count = data[at : at + 1], int.from_bytes(data[at + 1 : at + _HEAD_BYTES], "big")
        end = at + _HEAD_BYTES + count * (1 if kind == _IDS else RECORD_BYTES)
        if data[end : end + CHECKSUM_BYTES] != checksum(data[at:end]):
            return
        yield kind, data[at + _HEAD_BYTES : end]
        at = end + CHECKSUM_BYTES


def unsettled(journals: Iterable[bytes]) -> dict[bytes, set[bytes]]:
    """Return what was sent without an answer: for each key, the contents that MoEngage may have.

    :param journals: their bytes, in the order in which they were written.
    """
    open_: dict[bytes, set[bytes]] = {}
    for data in journals:
        for kind, records in blocks(data):
            for key, content in unpacked(records):
                if kind == SENT:
                    open_.setdefault(key, set()).add(content)
                elif kind == ACCEPTED:  # a user's elements are sent one after the other
                    open_.pop(key, None)
                elif key in open_:
                    open_[key].discard(content)
                    if not open_[key]:
                        del open_[key]
    return open_


def accepted(journals: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the records of what was accepted, some at a time, in order."""
    for data in journals:
        for kind, records in blocks(data):
            if kind == ACCEPTED:
                yield records


class JournalWriter:
    """The journal that this try writes: one growing file on a disk, several files on an object store.

    :param name: returns the name of the file with a number.
    :param syncs: whether what is urgent has to survive a power failure too.
    """

    def __init__(
        self, folder: StateFolder, name: Callable[[int], str], lease: Lease | None, *, syncs: bool
    ) -> None:
        self._folder = folder
        self._name = name
        self._lease = lease
        self._syncs = syncs
        self._stream: IO[bytes] | None = None
        self._pending: list[bytes] = []
        self.names: list[str] = []
        self._is_closed = False

    def flush(self) -> None:
        """Write what is pending."""
        if not self._is_closed:
            self._flush(syncs=False)

    def write(self, block: bytes, *, is_urgent: bool) -> None:
        """Write a block; at once if it is urgent."""
        if self._is_closed:
            raise StoppedError
        self._pending.append(block)
        if is_urgent or self._folder.is_on_disk:
            self._flush(syncs=is_urgent and self._syncs)

    def close(self) -> None:
        """Write what is pending; nothing is written after that."""
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(Exception):
            self._flush(syncs=False)
        if self._stream is not None:
            self._stream.close()

    def _flush(self, *, syncs: bool) -> None:
        if not self._pending:
            return
        if self._lease is not None:
            self._lease.check()
        data = b"".join(self._pending)
        if self._stream is None:
            name = self._name(len(self.names))
            self._stream = self._folder.new_file(name)
            self.names.append(name)
        stream, self._stream = self._stream, None
        stream.write(data)  # if this is interrupted, the blocks go into another file
        stream.flush()
        if syncs:
            sync(stream)
        self._pending.clear()
        if self._folder.is_on_disk:
            self._stream = stream
        else:
            stream.close()
