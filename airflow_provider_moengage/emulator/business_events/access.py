"""Authentication and size checks of the business event endpoints.

MoEngage API reference, "Getting your credentials": business events have a key of their own, unless a key is scoped
to them and the Data APIs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_moengage.emulator.http import Call, basic_credentials

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.family import Context

REQUEST_ID_HEADER = "x-moe-request-id"


def is_authorized(context: Context, call: Call) -> bool:
    """Return whether the request carries a key for business events."""
    credentials = context.credentials
    keys = {credentials.campaign_api_key}
    if context.settings.one_key:
        keys.add(credentials.data_api_key)
    login = basic_credentials(call.headers)
    return login is not None and login[0] == credentials.workspace_id and login[1] in keys


def too_large(context: Context, call: Call) -> bool:
    """Return whether the body exceeds the limit of the whole API."""
    limit = context.settings.hard_body_limit
    return limit is not None and call.size > limit
