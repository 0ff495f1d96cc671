"""``POST /v1/integrations/authentication`` (MoEngage API reference, Test connection)."""

from __future__ import annotations

import msgspec

from airflow_provider_moengage.emulator.family import Context, Endpoint, Family, Result
from airflow_provider_moengage.emulator.http import (
    Answer,
    Call,
    basic_credentials,
    failure,
    is_json,
    json_answer,
    read_json,
)

APP_NAME = "MoEngage emulator"


class Probe(msgspec.Struct, frozen=True):
    """Body of a connection test; ``source`` is the name of the calling tool."""

    app_id: str
    app_secret: str
    source: str
    region: str


class ConnectionTest(Family):
    """Checks the workspace id and the Data API key; changes nothing."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.endpoints = (Endpoint("/v1/integrations/authentication", "Connection test", self._authenticate),)

    def reset(self) -> None:
        """Do nothing: a connection test leaves nothing behind."""

    def _authenticate(self, call: Call, _now: float) -> Result:
        refused = _refused(self._context, call)
        if refused is None:
            return Result(json_answer(200, {"status": "success", "app_name": APP_NAME}), "answered")
        if self._context.settings.test_connection_errors_as_200:
            error = msgspec.json.decode(refused.body)["error"]
            return Result(json_answer(200, {"status": "error", "error": error}), "refused")
        return Result(refused, "refused")


def _refused(context: Context, call: Call) -> Answer | None:  # noqa: PLR0911 - one return per failure
    credentials = context.credentials
    pair = (credentials.workspace_id, credentials.data_api_key)
    if basic_credentials(call.headers) != pair:
        return failure(401, "Workspace id and Data API key do not match", "Authentication Required")
    app_key = call.headers.get("moe-appkey")
    if app_key is None:
        return failure(400, "MOE-APPKEY is missing", "Missing header value", attribute="MOE-APPKEY")
    if app_key != credentials.workspace_id:
        return failure(409, "MOE-APPKEY differs from the login", "Authentication Mismatch")
    if not is_json(call.headers):
        return failure(415, "Content-Type should be application/json", "Unsupported Media Type")
    try:
        probe = read_json(call.body, Probe)
    except msgspec.ValidationError as error:
        return failure(400, str(error), "ParamsRequired")
    except msgspec.DecodeError:
        return failure(400, "Malformed JSON", "Malformed JSON")
    if (probe.app_id, probe.app_secret) != pair:
        return failure(401, "app_id and app_secret do not match", "Authentication Required")
    return None
