"""The records of a sync's state: for each user, a digest of who it is and a digest of what was sent.

A record has 24 bytes: blake2b-16 of salt, kind and identity, then blake2b-8 of salt and encoded element. With 8
bytes, a change goes unnoticed once in 1e15 changes: a content is compared with some thousand others. The salt
differs between states, so records of two syncs cannot be joined.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from hashlib import blake2b
from struct import Struct, iter_unpack

KEY_BYTES = 16
CONTENT_BYTES = 8
RECORD_BYTES = KEY_BYTES + CONTENT_BYTES

BLOCK_RECORDS = 1_024
"""Records that share a checksum: 24 kB."""

CHECKSUM_BYTES = 8

UNKNOWN = bytes(CONTENT_BYTES)
"""The content of a user of whom MoEngage may have several versions: equal to no element's."""

REMOVED = b"\xff" * CONTENT_BYTES
"""The content of a user who was removed because no row had the user any more."""


class Digests:
    """Makes the digests of one state.

    :param salt: of the state.
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    def keys(self, kind: str, identities: Iterable[str]) -> list[bytes]:
        """Return the digests of users or devices of a kind."""
        seed = blake2b(self._salt + kind.encode() + b"\0", digest_size=KEY_BYTES)
        return _digests(seed, [identity.encode(errors="surrogatepass") for identity in identities])

    def contents(self, lines: Iterable[bytes]) -> list[bytes]:
        """Return the digests of encoded elements."""
        return _digests(blake2b(self._salt, digest_size=CONTENT_BYTES), lines)


def _digests(seed: blake2b, parts: Iterable[bytes]) -> list[bytes]:
    """Return the digest of each part after what was hashed already: a copy costs less than a new hash."""
    copy = seed.copy
    found: list[bytes] = []
    for part in parts:
        digest = copy()
        digest.update(part)
        found.append(digest.digest())
    return found


def checksum(data: bytes) -> bytes:
    """Return the checksum of a block."""
    return blake2b(data, digest_size=CHECKSUM_BYTES).digest()


def packed(keys: Sequence[bytes], contents: Sequence[bytes]) -> bytes:
    """Return records as bytes.

    :raises ValueError: if there are more of the one than of the other.
    """
    parts = [b""] * (len(keys) + len(contents))
    parts[::2], parts[1::2] = keys, contents
    return b"".join(parts)


def unpacked(records: bytes) -> Iterable[tuple[bytes, bytes]]:
    """Return key and content of each record."""
    return iter_unpack(f"{KEY_BYTES}s{CONTENT_BYTES}s", records)


def columns(records: bytes) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Return the keys and the contents of records."""
    if len(records) == _BLOCK.size:
        values = _BLOCK.unpack(records)
        return values[::2], values[1::2]
    pairs = list(unpacked(records))
    return [key for key, _ in pairs], [content for _, content in pairs]


_BLOCK = Struct(f"{KEY_BYTES}s{CONTENT_BYTES}s" * BLOCK_RECORDS)


def without(records: bytes, keys: Container[bytes]) -> bytes:
    """Return records without those of some keys."""
    kept = [record for record in unpacked(records) if record[0] not in keys]
    return packed([key for key, _ in kept], [content for _, content in kept])
