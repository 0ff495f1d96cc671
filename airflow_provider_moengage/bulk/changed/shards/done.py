"""What a shard leaves when it begins, and when it has read all of its rows and sent them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import msgspec

from airflow_provider_moengage.bulk.changed.folder import StateFolder, done_name
from airflow_provider_moengage.bulk.changed.records import checksum

_DIGEST_BYTES = 16


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A shard that has begun, and whether it is done.

    :param token: of the try.
    :param tries: digest of the tries: another one after a Clear.
    :param begun: number of the mark of its run. After a Clear, the run has another mark.
    :param is_done: whether it has read all of its rows and sent them. Until then, what follows says nothing.
    :param after: digest of the key after which its rows begin; None: they begin with the first one.
    :param up_to: digest of the key up to which its rows go; None: they go to the last one.
    :param mapping: fingerprint of the mappings.
    :param encoding: version of how elements are encoded.
    :param sends_all: whether it has sent all users, whatever MoEngage had.
    :param part: name of its part.
    :param ids: name of the file with the IDs of its users; None if it kept none.
    :param any_rows: whether there were any.
    :param interrupted: whether the connection to the database was lost meanwhile.
    :param unidentified: whether the ID of a row could not be read.
    """

    token: str
    tries: str
    begun: int
    is_done: bool
    after: str | None
    up_to: str | None
    mapping: str
    encoding: int
    sends_all: bool
    part: str
    ids: str | None
    any_rows: bool
    interrupted: bool
    unidentified: bool


def bound(salt: bytes, key: str | None) -> str | None:
    """Return a digest of a bound of a range; None if there is no bound."""
    return None if key is None else blake2b(salt + key.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def write_done(folder: StateFolder, name: str, done: Done) -> None:
    """Store that a shard has begun, or that it is done."""
    content = msgspec.json.encode(done)
    folder.write_document(name, {"done": content.decode(), "checksum": checksum(content).hex()})


def name_of_done(generation: int, run: str, number: int) -> str:
    """Return the name of the file that says whether a shard is done.

    :param generation: the one that the run has read.
    :param run: digest of the run.
    :param number: of the shard.
    """
    return done_name(generation, run, str(number))


def read_done(folder: StateFolder, generation: int, run: str) -> list[Done]:
    """Return the shards of a run that have begun. A file that is not as it was written counts as none."""
    found = (read_one(folder, name) for name in folder.done(generation, run))
    return [done for done in found if done is not None]


def read_one(folder: StateFolder, name: str) -> Done | None:
    """Return what a shard has left; None if there is nothing, or it is not as it was written."""
    content = folder.read_document(name) or {}
    try:
        data = content["done"].encode()
        return msgspec.json.decode(data, type=Done) if checksum(data).hex() == content["checksum"] else None
    except (KeyError, AttributeError, json.JSONDecodeError, msgspec.MsgspecError):
        return None


def chain(done: Iterable[Done]) -> Sequence[Done] | None:
    """Return the shards that together have read all rows, in the order of these; None if some are missing.

    Each begins where the one before it ends; the first one begins with the first row, and the last one ends with
    the last row.
    """
    by_start: dict[str | None, list[Done]] = {}
    for one in done:
        by_start.setdefault(one.after, []).append(one)

    pending: list[tuple[str | None, list[Done]]] = [(None, [])]
    while pending:
        after, before = pending.pop()
        for one in by_start.get(after, ()):
            if one.up_to is None:
                return [*before, one]
            if one not in before:
                pending.append((one.up_to, [*before, one]))
    return None
