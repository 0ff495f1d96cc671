"""The bodies of control requests: JSON of bounded size and depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_moengage.emulator.http import is_json, read_json

if TYPE_CHECKING:
    from starlette.requests import Request

LARGEST_BODY = 1_000_000
"""Bytes: more than enough for a fault with a body, or an import with hundreds of files."""

DEEPEST = 20
"""Levels of lists and objects."""


class BodyError(Exception):
    """A body that the control API does not take, with the status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_payload(request: Request) -> Any:
    """Return the JSON value of a body; None without a body.

    :raises BodyError: 415 if the body is not declared as JSON, 413 if it is too large, 400 if it is not JSON or
        too deep.
    """
    body = await _read(request)
    if (body or "content-type" in request.headers) and not is_json(request.headers):
        raise BodyError(415, "Content-Type: expected application/json")
    if not body:
        return None
    try:
        payload = read_json(body)
    except msgspec.DecodeError as error:
        raise BodyError(400, f"body: {error}") from error
    if _is_deeper(payload, DEEPEST):
        raise BodyError(400, f"body: expected at most {DEEPEST} levels of lists and objects")
    return payload


async def _read(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= LARGEST_BODY:
            chunks.append(chunk)
    if size > LARGEST_BODY:
        raise BodyError(413, f"body: {size:,} bytes; expected at most {LARGEST_BODY:,}")
    return b"".join(chunks)


def _is_deeper(payload: Any, most: int) -> bool:
    level = [payload]
    for _ in range(most):
        level = [item for value in level for item in _items(value)]
        if not level:
            return False
    return any(isinstance(value, dict | list) for value in level)


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
