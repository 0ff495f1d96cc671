"""Who may come in at the business event endpoints, and with how much.

MoEngage API reference, "Getting your credentials": business events have a key of their own, unless a key is scoped
to them and the Data APIs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_moengage.emulator.http import Call, basic_credentials

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.workspace import Workspace

REQUEST_ID_HEADER = "x-moe-request-id"


def covers_business_events(workspace: Workspace, call: Call) -> bool:
    """Tell whether the request's key is one for business events."""
    credentials = workspace.credentials
    keys = {credentials.campaign_api_key}
    if workspace.settings.one_key:
        keys.add(credentials.data_api_key)
    login = basic_credentials(call.headers)
    return login is not None and login[0] == credentials.workspace_id and login[1] in keys


def too_large(workspace: Workspace, call: Call) -> bool:
    """Tell whether the body passes what the API as a whole takes."""
    limit = workspace.settings.hard_body_limit
    return limit is not None and call.size > limit
