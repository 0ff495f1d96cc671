"""The records of a sync's state: for each user, a digest of who it is and a digest of what was sent.

A record has 24 bytes: blake2b-16 of salt, kind and identity, then blake2b-8 of salt and encoded element. With 8
bytes, a change goes unnoticed once in 1.8e19 changes. The salt differs between states, so records of two syncs
cannot be joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from struct import iter_unpack

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
    """Return records as bytes."""
    return b"".join([part for record in zip(keys, contents, strict=True) for part in record])


def unpacked(records: bytes) -> Iterable[tuple[bytes, bytes]]:
    """Return key and content of each record."""
    return iter_unpack(f"{KEY_BYTES}s{CONTENT_BYTES}s", records)
