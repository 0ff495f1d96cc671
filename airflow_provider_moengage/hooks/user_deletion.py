"""Deletes one user for the hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_moengage.api.responses import Outcome, Reply, refusal
from airflow_provider_moengage.api.users.deletion import delete_body, is_gone
from airflow_provider_moengage.exceptions import MoEngageRequestError, MoEngageServerError
from airflow_provider_moengage.hooks.errors import translated

if TYPE_CHECKING:
    from airflow_provider_moengage.api.client import MoEngageClient


def delete(client: MoEngageClient, conn_id: str, customer_id: str) -> bool:
    """Send one request; return whether MoEngage had the user.

    :raises MoEngageError: see :meth:`MoEngageHook.delete_user`.
    """
    reply = client.delete_user(delete_body(customer_id))
    if reply.outcome is Outcome.ACCEPTED:
        return not is_gone(reply)
    if reply.outcome in (Outcome.REFUSED, Outcome.UNCLEAR, Outcome.TOO_LARGE):
        raise MoEngageRequestError(
            f"Connection {conn_id!r}: MoEngage refused to delete a user ({_what(reply)}); nobody was deleted",
            status_code=reply.status_code,
            request_id=reply.request_id,
        )
    if reply.outcome in (Outcome.UNKNOWN, Outcome.SERVER_ERROR):
        raise MoEngageServerError(
            f"Connection {conn_id!r}: it is not known whether MoEngage has deleted the user ({_what(reply)}); a"
            " second deletion is harmless",
            status_code=reply.status_code,
            request_id=reply.request_id,
            retry_after=reply.retry_after,
        )
    raise translated(refusal(reply), conn_id, "nobody was deleted")


def _what(reply: Reply) -> str:
    if reply.status_code is None:
        return reply.message or "no response"
    return f"HTTP {reply.status_code}" + (f": {reply.error_type}" if reply.error_type else "")
