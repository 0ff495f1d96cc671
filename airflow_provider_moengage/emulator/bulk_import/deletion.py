"""``POST /v1/customer/delete`` (MoEngage API reference, Delete User): the profile is gone 24 hours later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from airflow_provider_moengage.emulator.http import Answer, failure, json_answer, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/v1/customer/delete"

HARD_DELETE_SECONDS = 86_400
"""From an accepted deletion until the profile is gone."""


class Deletion(msgspec.Struct, frozen=True):
    """Body of a deletion."""

    identity_type: Literal["customer_id", "moengage_id"]
    identity_value: str


def read_deletion(body: bytes) -> Deletion | Answer:
    """Return the deletion that a body asks for, or the failure."""
    try:
        given: Any = read_json(body)
    except msgspec.DecodeError:
        return failure(400, "Malformed JSON", "Malformed JSON")
    if type(given) is not dict:
        return failure(400, "expected object", "TypeError")
    for name in ("identity_type", "identity_value"):
        if not given.get(name):
            return failure(400, f"{name} not found in the payload", "MissingAttributeError", attribute=name)
    try:
        return msgspec.convert(given, Deletion)
    except msgspec.ValidationError:
        return failure(400, "identity_type should be customer_id/moengage_id", "ValueError")


class Deletions:
    """The accepted deletions of a workspace."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        """IDs of the users, in the order of the requests."""
        self.requested: list[tuple[str, str]] = []
        """Type and value of each identity of an OpenGDPR request, in their order."""
        self._pending: dict[str, float] = {}

    def add(self, user: str, now: float) -> None:
        """Accept the deletion of a user."""
        self.accepted.append(user)
        self._pending.setdefault(user, now + HARD_DELETE_SECONDS)

    def carry_out(self, users: set[str], now: float) -> list[str]:
        """Take out the users whose profiles are gone by now, also if they were sent again; return them."""
        gone = [user for user, at in self._pending.items() if at <= now]
        for user in gone:
            del self._pending[user]
            users.discard(user)
        return gone


def throttled(headers: Mapping[str, str]) -> Answer:
    """Return the 429 of this endpoint, which has a form of its own."""
    body = {
        "status": "fail",
        "title": "Rate limit exceeded",
        "description": "The limit of deletions for this minute is spent",
    }
    return json_answer(429, body, headers)


def not_found() -> Answer:
    """Return the failure for a user who does not exist, or not any more."""
    return failure(400, "User not found", "Not Found")


def accepted() -> Answer:
    """Return the answer to a deletion that was accepted."""
    return json_answer(200, {"status": "success", "message": "The user will be deleted within 24 hours."})
