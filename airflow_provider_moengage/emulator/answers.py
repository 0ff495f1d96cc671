"""Answers of the MoEngage API, before they become HTTP responses."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and headers of one answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"


def json_answer(status: int, payload: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer whose body is ``payload`` as JSON."""
    return Answer(status, msgspec.json.encode(payload), headers or {})


def failure(
    status: int,
    message: str,
    error_type: str,
    *,
    attribute: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return MoEngage's failure body (MoEngage API reference, Bulk Import, responses)."""
    error = {"message": message, "type": error_type, "request_id": new_request_id()}
    if attribute is not None:
        error = {"attribute": attribute, **error}
    return json_answer(status, {"status": "fail", "error": error}, headers)


def new_request_id() -> str:
    """Return a fresh request id, eight characters as MoEngage's examples show."""
    return uuid.uuid4().hex[:8]


def phrase(status: int) -> str:
    """Return the words that go with an HTTP status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
