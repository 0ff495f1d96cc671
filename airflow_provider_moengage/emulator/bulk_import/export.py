"""``POST /v1/customers/export`` (MoEngage API reference, Get User): the profiles of at most 20 users.

It has to be enabled for a workspace. The reference does not say how an answer names a user who was not found, so
both forms that it could mean are served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from airflow_provider_moengage.emulator.http import Answer, failure, json_answer, read_json

PATH = "/v1/customers/export"
MOST_USERS = 20

NotFoundForm = Literal["objects", "ids"]


class Identifier(msgspec.Struct, frozen=True):
    """A user who is asked for."""

    identifier_type: Literal["customer_id", "moengage_id"]
    identifier: str


class _Data(msgspec.Struct, frozen=True):
    identifiers: list[Identifier]
    user_fields_to_export: list[str] | None = None


class Export(msgspec.Struct, frozen=True):
    """Body of a request."""

    data: _Data


def read_export(body: bytes) -> Export | Answer:
    """Return what a body asks for, or the failure."""
    try:
        given: Any = read_json(body)
    except msgspec.DecodeError:
        return failure(400, "Malformed JSON", "Malformed JSON")
    data = given.get("data") if type(given) is dict else None
    if type(data) is not dict or not data.get("identifiers"):
        return _missing("identifiers" if type(data) is dict else "data")
    try:
        export = msgspec.convert(given, Export)
    except msgspec.ValidationError:
        return failure(400, "identifier_type should be customer_id/moengage_id", "ValueError")
    if not all(each.identifier for each in export.data.identifiers):
        return _missing("identifier")
    if len(export.data.identifiers) > MOST_USERS:
        return failure(400, f"At most {MOST_USERS} users can be exported by a request", "LimitBreached")
    return export


def exported(
    export: Export,
    attributes_of: Callable[[str], Mapping[str, Any] | None],
    form: NotFoundForm,
    headers: Mapping[str, str],
) -> Answer:
    """Return the answer to a request.

    :param attributes_of: returns a user's attributes; None: there is no such user.
    """
    fields = export.data.user_fields_to_export
    users, missing = [], []
    for each in export.data.identifiers:
        attributes = attributes_of(each.identifier) if each.identifier_type == "customer_id" else None
        if attributes is None:
            missing.append(each)
        else:
            users.append({"user_attributes": _selected(attributes, fields)})
    not_found: Sequence[Any] = missing if form == "objects" else [each.identifier for each in missing]
    return json_answer(200, {"status": "success", "data": {"users": users, "users_not_found": not_found}}, headers)


def _missing(name: str) -> Answer:
    return failure(400, f"{name} not found in the payload", "MissingAttributeError", attribute=name)


def _selected(attributes: Mapping[str, Any], fields: Sequence[str] | None) -> Mapping[str, Any]:
    if fields is None:
        return attributes
    return {name: attributes[name] for name in fields if name in attributes}
