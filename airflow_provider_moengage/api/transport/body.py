"""Reads the body of a response, up to a bound: packed, on the wire, and unpacked."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests

MOST_BYTES = 4 * 1024 * 1024
"""Bytes of a response, on the wire and unpacked. The largest documented responses are pages of 50 files or imports
(MoEngage API reference, "File Imports"): 80 kB for each, a hundred times what they take."""

ACCEPT_ENCODING = "gzip, deflate"
"""The compressions to ask for: those that can be unpacked up to a bound with nothing but Python."""

_PIECE = 65_536

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_RAW_DEFLATE = -15


class BodyError(Exception):
    """A body that cannot be used. The message says why, without any of it."""


def read_body(response: requests.Response) -> bytes:
    """Return the body of a response that was not read yet.

    :raises BodyError: if it is too large, or compressed in a form that was not asked for.
    """
    packing = _packing(response.headers.get("Content-Encoding"))
    pieces = []
    size = 0
    while piece := response.raw.read(_PIECE, decode_content=False):
        size += len(piece)
        if size > MOST_BYTES:
            raise BodyError(TOO_LARGE)
        pieces.append(piece)
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return body if packing is None or not body else _unpacked(body, _WINDOW_BITS[packing])


def _packing(said: str | None) -> str | None:
    if said is None:
        return None
    names = [name for each in said.split(",") if (name := each.strip().lower()) not in ("", "identity")]
    if not names:
        return None
    if len(names) > 1 or names[0] not in _WINDOW_BITS:
        raise BodyError(NOT_ASKED_FOR)
    return names[0]


def _unpacked(body: bytes, window_bits: int) -> bytes:
    unpacker = zlib.decompressobj(window_bits)
    try:
        unpacked = unpacker.decompress(body, MOST_BYTES + 1)
    except zlib.error:
        if window_bits != _WINDOW_BITS["deflate"]:
            raise BodyError(DAMAGED) from None
        return _unpacked(body, _RAW_DEFLATE)  # what some servers call deflate
    if len(unpacked) > MOST_BYTES:
        raise BodyError(TOO_LARGE)
    if not unpacker.eof or unpacker.unused_data:
        raise BodyError(DAMAGED)
    return unpacked


TOO_LARGE = "the response is larger than 4 MB"
NOT_ASKED_FOR = "the response is compressed in a form that the request does not accept"
DAMAGED = "the response could not be decompressed"
