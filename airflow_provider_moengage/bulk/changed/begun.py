"""Which run of a sync has begun last: a shard of an earlier run must neither send nor remove anything any more.

Each run leaves a mark in the state when it begins, numbered without gaps. A shard that is cleared makes a new mark
of the same run: what its other shards have read before the Clear does not count any more.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from airflow_provider_moengage.bulk.changed.folder import StateFolder, begun_name
from airflow_provider_moengage.bulk.changed.lease import InUseError
from airflow_provider_moengage.bulk.changed.records import checksum

_REMEMBERED = 100
"""Earlier runs that a mark names. One that is older counts as new; what it has read before does not count."""


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """The mark of a run that has begun.

    :param number: of the mark: 1, 2, 3, ...
    :param run: digest of the run.
    :param name: of the run, for messages.
    :param moment: when it was due, ISO 8601 in UTC; None if that is unknown.
    :param clear: how often the Dag run had been cleared.
    :param is_cleared: whether a shard that was cleared has made it, in place of an earlier mark of the run.
    :param earlier: digests of the runs before it, the latest last.
    """

    number: int
    run: str
    name: str
    moment: str | None
    clear: int = 0
    is_cleared: bool = False
    earlier: list[str] = []


class _Stored(msgspec.Struct):
    mark: str
    checksum: str


def run_digest(name: str, *, is_sharded: bool) -> str:
    """Return a digest of a run. A run that reads all rows in one task is another one than its shards."""
    return blake2b(f"{is_sharded}\0{name}".encode(), digest_size=8).hexdigest()


def is_due_before(run: Begun, other: Begun) -> bool:
    """Return whether a run was due before another one, as far as known."""
    return run.moment is not None and other.moment is not None and run.moment < other.moment


def newest_begun(folder: StateFolder) -> Begun | None:
    """Return the mark of the run that has begun last; None if there is none.

    One that cannot be read is of an unknown run.
    """
    number = max(folder.begun(), default=0)
    if not number:
        return None
    try:
        stored = msgspec.json.decode(folder.read(begun_name(number)), type=_Stored)
        if stored.checksum == checksum(stored.mark.encode()).hex():
            return msgspec.json.decode(stored.mark, type=Begun)
    except msgspec.MsgspecError:
        pass
    return Begun(number=number, run="", name="an unknown run", moment=None)


def begin(folder: StateFolder, run: Begun, before: Begun | None, token: str) -> Begun:
    """Mark a run as the one that has begun last. Call it by a task that holds a lease.

    :param run: the run, with any number.
    :param before: the newest mark.
    :param token: of the try.
    :return: the mark.
    :raises InUseError: if another run has begun meanwhile.
    """
    earlier: list[str] = []
    if before is not None:
        earlier = [one for one in [*before.earlier, before.run] if one != run.run][-_REMEMBERED:]
    number = 1 + (0 if before is None else before.number)
    mark = msgspec.structs.replace(run, number=number, earlier=earlier)
    text = msgspec.json.encode(mark).decode()
    stored = _Stored(text, checksum(text.encode()).hex())
    folder.create(begun_name(number), msgspec.json.encode(stored), token)
    # Another shard of the same run may have made it.
    found = newest_begun(folder)
    if found is None or (found.run, found.clear) != (run.run, run.clear) or found.number != number:
        raise InUseError("another run" if found is None else found.name)
    return found
