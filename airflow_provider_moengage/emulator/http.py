"""An API request and its answer, independent of the web framework."""

from __future__ import annotations

import base64
import binascii
import hashlib
import uuid
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Call:
    """An API request.

    :param query: the URL's parameters.
    :param workspace_id: the workspace named in the path or the query, if any.
    :param headers: case-insensitive.
    :param body: the body, truncated at the workspace's hard limit.
    :param size: bytes of the whole body.
    :param import_id: the file import named in the path, if any.
    """

    path: str
    query: Mapping[str, str]
    workspace_id: str | None
    headers: Mapping[str, str]
    body: bytes
    size: int
    import_id: str | None = None

    @property
    def project_code(self) -> str | None:
        """The project of a portfolio that the request names, in its query (bulk import) or in a header."""
        return self.query.get("project_code") or self.headers.get("moe-project-code") or None


def basic_credentials(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Return login and password of a basic ``Authorization`` header, ``None`` if there is no valid one."""
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        login, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (login, password) if colon else None


def is_json(headers: Mapping[str, str]) -> bool:
    """Return whether the request declares a JSON body."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json"


def read_json(body: bytes | str, kind: Any = Any) -> Any:
    """Return the value of a JSON text.

    :param kind: the type that it must have.
    :raises msgspec.DecodeError: if it is not JSON, or nested so deep that it cannot be read.
    :raises msgspec.ValidationError: if it is of another type.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError("JSON is malformed: not UTF-8") from error
    except RecursionError:
        raise msgspec.DecodeError("JSON is nested too deep") from None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and headers of an answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"


def json_answer(status: int, payload: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer whose body is ``payload`` as JSON."""
    return Answer(status, msgspec.json.encode(payload), headers or {})


def with_headers(answer: Answer, headers: Mapping[str, str] | None) -> Answer:
    """Return the answer with more headers."""
    return replace(answer, headers={**answer.headers, **(headers or {})})


def failure(
    status: int,
    message: str,
    error_type: str,
    *,
    attribute: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return the Data API's failure body (MoEngage API reference, Bulk Import, responses)."""
    error = {"message": message, "type": error_type, "request_id": new_request_id()}
    if attribute is not None:
        error = {"attribute": attribute, **error}
    return json_answer(status, {"status": "fail", "error": error}, headers)


def new_request_id() -> str:
    """Return a new request id, eight characters as MoEngage's examples show."""
    return uuid.uuid4().hex[:8]


def object_id(seed: str) -> str:
    """Return an id in MoEngage's format, the same for the same seed."""
    return hashlib.sha256(seed.encode()).hexdigest()[:24]


def timed_object_id(seed: str, epoch: float) -> str:
    """Return an ObjectId as MongoDB makes it: the first eight digits are the second in which it was made."""
    return f"{int(epoch) % 2**32:08x}{object_id(seed)[:16]}"


def phrase(status: int) -> str:
    """Return the reason phrase of an HTTP status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
