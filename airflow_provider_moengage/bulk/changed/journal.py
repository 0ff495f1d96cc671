"""A journal: what a run has sent, and what MoEngage has accepted of it, until the run's part is complete.

Before a request leaves, the journal has its elements as *sent*; after the answer, as *accepted* or *not accepted*.
If the process is killed in between, MoEngage may have either version, so the next run sends these users again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from airflow_provider_moengage.bulk.changed.records import (
    CHECKSUM_BYTES,
    RECORD_BYTES,
    checksum,
    unpacked,
)

SENT = b"s"
ACCEPTED = b"a"
NOT_ACCEPTED = b"n"

_HEAD_BYTES = 5


def block(kind: bytes, records: bytes) -> bytes:
    """Return a block of a journal.

    :param kind: :data:`SENT`, :data:`ACCEPTED` or :data:`NOT_ACCEPTED`.
    :param records: the elements' records.
    """
    data = kind + (len(records) // RECORD_BYTES).to_bytes(_HEAD_BYTES - 1, "big") + records
    return data + checksum(data)


def blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and records of each block. One that is not whole, because the process was killed, ends it."""
    at = 0
    while at + _HEAD_BYTES <= len(data):
        end = at + _HEAD_BYTES + int.from_bytes(data[at + 1 : at + _HEAD_BYTES], "big") * RECORD_BYTES
        if data[end : end + CHECKSUM_BYTES] != checksum(data[at:end]):
            return
        yield data[at : at + 1], data[at + _HEAD_BYTES : end]
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
