"""A set of digests in little memory: it may report one that was never added, and misses none that was."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from struct import iter_unpack

_EXACT = 16_000
"""Digests that are kept as they are, in about 2 MB; look-ups are then several times faster."""

_BITS = 1 << 25
"""4 MB. With a million digests, 0.02 % of the others are reported."""


class BloomFilter:
    """Digests of 16 bytes that were added."""

    def __init__(self) -> None:
        self._exact: set[bytes] = set()
        self._bits = bytearray()

    def add(self, digests: Collection[bytes]) -> None:
        """Add digests."""
        if not self._bits:
            self._exact.update(digests)
            if len(self._exact) <= _EXACT:
                return
            self._bits = bytearray(_BITS >> 3)
            digests, self._exact = self._exact, set()
        bits, mask = self._bits, _BITS - 1
        for places in iter_unpack("4I", b"".join(digests)):
            for place in places:
                bits[(place & mask) >> 3] |= 1 << (place & 7)

    def among(self, digests: Sequence[bytes]) -> set[bytes]:
        """Return those that were added, and perhaps others."""
        bits, mask = self._bits, _BITS - 1
        if not bits:
            return self._exact.intersection(digests) if self._exact else set()
        places = iter_unpack("4I", b"".join(digests))
        return {
            digest
            for digest, (a, b, c, d) in zip(digests, places, strict=True)
            if bits[(a & mask) >> 3] & (1 << (a & 7))
            and bits[(b & mask) >> 3] & (1 << (b & 7))
            and bits[(c & mask) >> 3] & (1 << (c & 7))
            and bits[(d & mask) >> 3] & (1 << (d & 7))
        }
