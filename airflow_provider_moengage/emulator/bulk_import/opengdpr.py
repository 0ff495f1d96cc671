"""``POST /v1/opengdpr_requests/{workspace_id}`` (MoEngage API reference, OpenGDPR): erased as by a deletion.

Everybody who has the address or number is erased. Neither a limit nor what becomes of an identity that nobody has
is documented: there is no limit by default, and such a request is accepted.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from airflow_provider_moengage.emulator.http import Answer, failure, json_answer, new_request_id, read_json

PATH = "/v1/opengdpr_requests"

ATTRIBUTES = {"email": "u_em", "mobile": "u_mb"}
"""The user attribute of each type of identity but the ID."""


class Identity(msgspec.Struct, frozen=True):
    """A user, or several who share an address or a number."""

    identity_type: Literal["ID", "email", "mobile"]
    identity_value: str


class Erasure(msgspec.Struct, frozen=True):
    """Body of a request."""

    request_type: Literal["erasure"]
    submitted_time: str
    identities: list[Identity]
    api_version: str


def read_erasure(body: bytes) -> Erasure | Answer:
    """Return the erasure that a body asks for, or the failure."""
    try:
        given: Any = read_json(body)
    except msgspec.DecodeError:
        return failure(400, "Malformed JSON", "Malformed JSON")
    try:
        erasure = msgspec.convert(given, Erasure)
    except msgspec.ValidationError:
        return failure(400, "expected an erasure with its identities", "ValueError", attribute="identities")
    if not erasure.identities or not all(each.identity_value for each in erasure.identities):
        return failure(400, "identities not found in the payload", "MissingAttributeError", attribute="identities")
    return erasure


def accepted() -> Answer:
    """Return the answer to a request that was accepted."""
    return json_answer(200, {"request_id": new_request_id()})
