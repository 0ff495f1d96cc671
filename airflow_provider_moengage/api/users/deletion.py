"""The deletion of a user: its request, and what each response means.

MoEngage API reference, "Delete User" (``POST /v1/customer/delete?app_id={workspace_id}``): one user a request,
5,000 requests a minute. A 200 means that MoEngage has accepted it; the profile is deleted within 24 hours, and
cannot be restored. A 400 of the type ``Not Found`` means that there is no such user.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.received.values import Received
from airflow_provider_moengage.api.responses import CONTRADICTION, WRAPPERS, Outcome, Reply, read_reply

PATH = "/v1/customer/delete"

PER_MINUTE = 5_000
"""Requests per minute and workspace (MoEngage API reference, "Delete User")."""

_GONE = "Not Found"


def delete_body(customer_id: str) -> bytes:
    """Return the body of a request that deletes a user."""
    return msgspec.json.encode({"identity_type": "customer_id", "identity_value": customer_id})


def read_delete_reply(
    status_code: int, headers: Mapping[str, str], body: bytes, *, scrub: Scrub, now: float
) -> Reply:
    """Read a response. A user who does not exist is deleted already: accepted, with the type ``Not Found``.

    Only MoEngage's own failure of this type says so. The status 404 is of another server, or of another path, and
    proxies and gateways write ``Not Found`` in other places, such as ``message`` or ``title``.

    :param now: UTC epoch seconds, to convert times in headers into seconds to wait.
    """
    reply = read_reply(status_code, headers, body, scrub=scrub, now=now)
    if reply.error_type != _GONE:
        return reply
    if reply.outcome is Outcome.ACCEPTED:
        return replace(reply, outcome=Outcome.UNKNOWN, message=CONTRADICTION)
    is_wrapper = status_code == 200 or status_code in WRAPPERS
    if reply.outcome is Outcome.UNEXPECTED and is_wrapper and _is_own(Received.body(body, scrub)):
        return replace(reply, outcome=Outcome.ACCEPTED)
    return reply


def is_gone(reply: Reply) -> bool:
    """Return whether MoEngage had no such user."""
    return reply.outcome is Outcome.ACCEPTED and reply.error_type == _GONE


def _is_own(content: Received) -> bool:
    """Return whether a failure has MoEngage's form, with the type where MoEngage has it."""
    return content["status"].equals("fail") and content["error"]["type"].equals(_GONE)
