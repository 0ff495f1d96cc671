"""A set of digests of fixed size that may report one that was never added, and never misses one that was."""

from __future__ import annotations

from collections.abc import Iterator
from struct import unpack

_BITS = 1 << 25
"""4 MB. With a million digests, 0.02 % of the others are reported."""


class BloomFilter:
    """Digests that were added. It takes its memory when the first one is."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, digest: bytes) -> None:
        """Add a digest of 16 bytes or more."""
        if not self._bits:
            self._bits = bytearray(_BITS >> 3)
        for place in _places(digest):
            self._bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, digest: bytes) -> bool:
        bits = self._bits
        return bool(bits) and all(bits[place >> 3] & (1 << (place & 7)) for place in _places(digest))


def _places(digest: bytes) -> Iterator[int]:
    return (place % _BITS for place in unpack("4I", digest[:16]))
