"""``POST /v1/transition/{workspace_id}`` (MoEngage API reference, Bulk Import)."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_moengage.emulator.bulk_import.elements import Refusal, read_envelope, take_in
from airflow_provider_moengage.emulator.http import (
    Answer,
    Call,
    basic_credentials,
    failure,
    is_json,
    json_answer,
    new_request_id,
)
from airflow_provider_moengage.emulator.limits import limit_headers
from airflow_provider_moengage.emulator.workspace import Ruling, Workspace

_ACCEPTED = "Your request has been accepted and will be processed soon."


def bulk_import(workspace: Workspace, call: Call, now: float) -> Ruling:
    """Take in the elements of a bulk request, all or none."""
    stopped = _at_the_door(workspace, call)
    if stopped is not None:
        return _ruling_without_elements(workspace, stopped, now)
    settings = workspace.settings
    try:
        elements = read_envelope(call.body)
        intake = take_in(elements, settings.identifiers)
    except Refusal as refusal:
        return _refused(workspace, refusal, now)
    fault = workspace.plan.poison(elements)
    if fault is not None:
        poisoned = Refusal("TypeError", "expected string", "customer_id")
        return replace(_refused(workspace, poisoned, now), fault=fault)
    decision = workspace.limits.admit(intake.users, intake.actions, settings, now)
    headers = limit_headers(decision.tightest, settings, now, refused=not decision.admitted)
    if not decision.admitted:
        answer = failure(
            429, "The workspace's limit for this minute is spent", "Rate Limits Exceeded", headers=headers
        )
        return Ruling(answer, "throttled", intake)
    success = {"status": "success", "message": _ACCEPTED, "request_id": new_request_id()}
    return Ruling(json_answer(200, success, headers), "accepted", intake)


def _at_the_door(workspace: Workspace, call: Call) -> Answer | None:
    """Return the failure of a request that is refused before its body is read."""
    settings, credentials = workspace.settings, workspace.credentials
    if (
        call.workspace_id != credentials.workspace_id
        or basic_credentials(call.headers) != (credentials.workspace_id, credentials.data_api_key)
    ):  # fmt: skip
        return failure(401, "Workspace id and Data API key do not match", "Authentication Required")
    if call.headers.get("moe-appkey", call.workspace_id) != call.workspace_id:
        return failure(409, "MOE-APPKEY differs from the workspace id in the URL", "Authentication Mismatch")
    if not is_json(call.headers):
        return failure(415, "Content-Type should be application/json", "Unsupported Media Type")
    if settings.hard_body_limit is not None and call.size > settings.hard_body_limit:
        return failure(settings.hard_body_limit_status, "Payload too large", "Payload too large")
    if settings.body_limit is not None and call.size > settings.body_limit:
        return failure(settings.body_limit_status, "Payload too large", "Payload too large")
    return None


def _refused(workspace: Workspace, refusal: Refusal, now: float) -> Ruling:
    status = 200 if workspace.settings.failures_as_200 else 400
    answer = failure(status, refusal.message, refusal.error_type, attribute=refusal.attribute)
    return _ruling_without_elements(workspace, answer, now)


def _ruling_without_elements(workspace: Workspace, answer: Answer, now: float) -> Ruling:
    reading = workspace.limits.tightest(workspace.settings, now)
    headers = limit_headers(reading, workspace.settings, now, refused=False)
    return Ruling(replace(answer, headers=headers), "refused")
