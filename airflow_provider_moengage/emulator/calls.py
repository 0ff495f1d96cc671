"""One API request as the endpoints see it: read in full, independent of the web framework."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Call:
    """An API request.

    :param query: the URL's parameters.
    :param workspace_id: the workspace that path or query names; ``None`` where the endpoint's URL names none.
    :param headers: case-insensitive.
    :param body: the body, cut off where it passes the workspace's hard limit.
    :param size: bytes of the whole body.
    :param import_id: the file import that the path names.
    """

    path: str
    query: Mapping[str, str]
    workspace_id: str | None
    headers: Mapping[str, str]
    body: bytes
    size: int
    import_id: str | None = None


def basic_credentials(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Return login and password of a basic ``Authorization`` header, ``None`` without a readable one."""
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        login, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (login, password) if colon else None


def is_json(headers: Mapping[str, str]) -> bool:
    """Tell whether the request says that its body is JSON."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json"
