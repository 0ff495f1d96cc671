"""The body of ``POST /v1/integrations/cohortsync`` (MoEngage API reference, "Cohort Sync")."""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_moengage.emulator.http import Answer, failure, read_json

PATH = "/v1/integrations/cohortsync"
ACTIONS = ("add_members", "remove_members")


class Sync(msgspec.Struct, frozen=True):
    """What a body asks for."""

    action: str
    cohort_id: str
    cohort_name: str
    description: str
    members: tuple[str, ...]


def read_sync(body: bytes) -> Sync | Answer:  # noqa: PLR0911 - one return per failure
    """Return what a body asks for, or the failure. A body is taken as a whole, or not at all."""
    try:
        given: Any = read_json(body)
    except msgspec.DecodeError:
        return failure(400, "Malformed JSON", "Malformed JSON")
    if type(given) is not dict:
        return failure(400, "expected object", "TypeError")
    parameters = given.get("parameters")
    if type(parameters) is not dict:
        return _missing("parameters")
    for name, value in (
        *((name, given.get(name)) for name in ("action", "partner")),
        *((name, parameters.get(name)) for name in ("cohort_id", "cohort_name")),
    ):
        if not value:
            return _missing(name)
        if type(value) is not str:
            return failure(400, "expected string", "TypeError", attribute=name)
    if given["action"] not in ACTIONS:
        return failure(400, "action should be add_members/remove_members", "AttributeError", attribute="action")
    description = parameters.get("cohort_description", "")
    if type(description) is not str:
        return failure(400, "expected string", "TypeError", attribute="cohort_description")
    members = _members(parameters.get("members"))
    if isinstance(members, Answer):
        return members
    return Sync(given["action"], parameters["cohort_id"], parameters["cohort_name"], description, members)


def _members(given: Any) -> tuple[str, ...] | Answer:
    if type(given) is not list or not given:
        return failure(400, "members cannot be empty array", "MissingAttributeError", attribute="members")
    members: list[str] = []
    for member in given:
        uid = member.get("uid") if type(member) is dict else None
        if uid is None or uid == "":
            return _missing("uid")
        if type(uid) is not str:
            return failure(400, "expected string", "TypeError", attribute="uid")
        members.append(uid)
    return tuple(members)


def _missing(name: str) -> Answer:
    return failure(400, f"{name} not found in the payload", "MissingAttributeError", attribute=name)
