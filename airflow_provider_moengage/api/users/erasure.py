"""A request to erase a user by OpenGDPR: its body, and what each response means.

MoEngage API reference, "OpenGDPR" (``POST /v1/opengdpr_requests/{workspace_id}``): a user by ID, email address or
mobile number. An address or number that several users share erases all of them. The response has the ID of the
request. Neither a rate limit nor what a second request for the same user does is documented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal, get_args

import msgspec

from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.received.values import Received
from airflow_provider_moengage.api.responses import ACCEPTED, Outcome, Reply, contradicts_itself
from airflow_provider_moengage.api.users.deletion import read_delete_reply

PATH = "/v1/opengdpr_requests"

IdentityType = Literal["ID", "email", "mobile"]
IDENTITY_TYPES: tuple[IdentityType, ...] = get_args(IdentityType)
"""What identifies users, as the API spells it."""

_STATUSES = ("accepted", "pending", "in_progress", "completed")
"""Statuses of a request that was taken, besides ``success`` (OpenGDPR specification, "request_status")."""


def erasure_body(identity_type: str, identity: str, submitted_at: float) -> bytes:
    """Return the body of a request that erases a user.

    :param identity_type: one of :data:`IDENTITY_TYPES`.
    :param submitted_at: UTC epoch seconds.
    """
    moment = datetime.fromtimestamp(int(submitted_at), UTC)
    return msgspec.json.encode(
        {
            "request_type": "erasure",
            "submitted_time": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            "identities": [{"identity_type": identity_type, "identity_value": identity}],
            "api_version": "1.0",
        }
    )


def identities_in(body: bytes) -> list[str]:
    """Return the identities in a body."""
    return [each["identity_value"] for each in msgspec.json.decode(body)["identities"]]


def read_erasure_reply(
    status_code: int, headers: Mapping[str, str], body: bytes, *, scrub: Scrub, now: float
) -> Reply:
    """Read a response. One with the ID of a request is accepted, also if it does not say ``success``, unless it
    reports an error: then whether the request was taken is not known.

    :param now: UTC epoch seconds, to convert times in headers into seconds to wait.
    """
    reply = read_delete_reply(status_code, headers, body, scrub=scrub, now=now)
    if reply.outcome not in (Outcome.ACCEPTED, Outcome.UNKNOWN) or reply.error_type is not None:
        return reply
    content = Received.body(body, scrub)
    request_id = content["request_id"].request_id()
    if request_id is None or status_code not in ACCEPTED or contradicts_itself(content, also=_STATUSES):
        return reply
    return replace(reply, outcome=Outcome.ACCEPTED, request_id=request_id)
