"""The answers of the business event endpoints. Those of v1 and v5 have different formats.

MoEngage API reference, "Trigger Business Event" (v1, now called legacy), "Trigger Business Event (V5)" and "List
Business Events". Texts are from MoEngage's examples if there is one; other refusals follow the same
format.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_moengage.emulator.http import Answer, json_answer, phrase, with_headers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_moengage.emulator.business_events.firings import Firing
    from airflow_provider_moengage.emulator.settings import DetailForm

TRIGGERED = "The business event has been triggered"
_NO_EVENT = "Business event does not exists"
_WRONG_ATTRIBUTE = "Wrong business event attribute passed in api request"
_NO_CAMPAIGN = "No active campaign found for business event name"
_V1_UNEXPECTED = "An unexpected error was encountered while processing this request. Please contact MoEngage Team"
_NO_CREDENTIALS = "Workspace ID and API key are missing from the Authorization header."

ViolationKind = Literal[
    "body", "missing", "type", "unknown_field", "email", "uuid", "event", "attribute", "attribute_type"
]


@dataclass(frozen=True, slots=True)
class Violation:
    """One error in a trigger.

    :param target: the field or the attribute.
    :param expected: the type it should have.
    :param got: the type it has, or the wrong text.
    """

    kind: ViolationKind
    target: str
    expected: str = ""
    got: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """The ids of a v5 answer: in its body, and in the header ``X-MOE-Request-Id``."""

    response_id: str
    header: str

    @classmethod
    def of(cls, header: str | None, body: str | None = None) -> Trace:
        """Return the ids that the request asks for: its ``moe_request_id`` overrides its header."""
        response_id = body or header or uuid.uuid4().hex[:12]
        return cls(response_id, header or response_id)


def v1_success() -> Answer:
    """Return the answer to a v1 trigger that fired."""
    return json_answer(200, {"message": TRIGGERED})


def v1_not_triggered() -> Answer:
    """Return v1's 200 that is no success."""
    return json_answer(200, {"success": False, "message": "The business event was not triggered"})


def v1_refusal(violations: Sequence[Violation]) -> Answer:
    """Return v1's answer to an invalid trigger."""
    return _v1_error(400, _V1_MESSAGES.get(violations[0].kind, "Bad request"), [*map(_v1_detail, violations)])


def v1_nothing_attached() -> Answer:
    """Return v1's answer to a trigger of an event without active campaigns and flows."""
    return _v1_error(400, _NO_CAMPAIGN, [_detail("InvalidValue", "event_name", _NO_CAMPAIGN)])


def v1_unauthorized(target: Literal["Authorization", "APP_ID", "APP_SECRET_KEY"]) -> Answer:
    """Return v1's 401; its message contains an object, or a list of objects."""
    message: Any = [_detail("InvalidValue", target, f"Invalid {target} is provided.")]
    if target == "Authorization":
        message = _detail("MissingValue", target, "APP_ID and APP_SECRET_KEY is missing in Authorization Header.")
    return _v1_error(401, "Authentication required", [_detail("InvalidValue", target, message)])


def v1_failure(status: int, headers: Mapping[str, str] | None = None) -> Answer:
    """Return v1's failure with a status, in the documented format if there is one; a 200 is no success."""
    if status == 200:
        return with_headers(v1_not_triggered(), headers)
    if status == 429:
        data = {
            "code": 429,
            "title": "rate limiter exception",
            "description": "Exceeded rate limit for this app",
        }
        return json_answer(429, {"status": "error", "data": data}, headers)
    if status >= 500:
        message = _V1_UNEXPECTED if status == 500 else phrase(status)
        return json_answer(status, {"title": phrase(status), "message": message}, headers)
    return _v1_error(status, phrase(status), [], headers)


def v5_outcome(firing: Firing, trace: Trace, *, is_failure: bool = False) -> Answer:
    """Return v5's 200, which may report a failure; the message is then the same.

    :param is_failure: report a failure even if campaigns or flows were started.
    """
    triggered = len(firing.campaign_ids) + len(firing.flow_ids)
    failed = len(firing.skipped_campaign_ids) + len(firing.skipped_flow_ids)
    status = "SUCCESS" if not failed else "PARTIAL_SUCCESS"
    if not triggered or is_failure:
        status = "FAILURE"
    data = {
        "triggered_status": status,
        "message": TRIGGERED,
        "summary": {"total": triggered + failed, "triggered": triggered, "failed": failed},
        "triggered_campaign_ids": firing.campaign_ids,
        "failed_campaign_ids": firing.skipped_campaign_ids,
        "triggered_flow_ids": firing.flow_ids,
        "failed_flow_ids": firing.skipped_flow_ids,
    }
    return v5_answer("business-event", {"data": data}, trace)


def v5_answer(kind: str, payload: Mapping[str, Any], trace: Trace) -> Answer:
    """Return a 200 in v5's envelope."""
    body = {"response_id": trace.response_id, "type": kind, **payload}
    return json_answer(200, body, {"X-MOE-Request-Id": trace.header})


def v5_refusal(violations: Sequence[Violation], trace: Trace, form: DetailForm) -> Answer:
    """Return v5's answer to an invalid trigger."""
    first = violations[0]
    details = [_v5_detail(*_v5_violation(violation), form) for violation in violations]
    if first.kind == "body":
        return v5_error(400, "INVALID_REQUEST", "Malformed JSON", trace, "body", details)
    message = {"event": _NO_EVENT, "attribute": _WRONG_ATTRIBUTE}.get(
        first.kind, "One or more fields failed validation."
    )
    return v5_error(400, "VALIDATION_FAILED", message, trace, _v5_target(first), details)


def v5_bad_parameter(
    message: str, target: str, violation: tuple[str, str], trace: Trace, form: DetailForm
) -> Answer:
    """Return v5's answer to an invalid list request; ``violation`` is a code and a message."""
    code, detail = violation
    return v5_error(400, "INVALID_REQUEST", message, trace, target, [_v5_detail(code, target, detail, form)])


def v5_unauthorized(trace: Trace, *, missing: bool) -> Answer:
    """Return the 401 of v5's trigger."""
    message = _NO_CREDENTIALS if missing else "Workspace ID or API key is invalid."
    return v5_error(401, "AUTHENTICATION_REQUIRED", message, trace)


def v5_unauthorized_to_read(trace: Trace) -> Answer:
    """Return the 401 of v5's list and search, which has a code of its own."""
    message = "Missing or invalid authentication credentials."
    return v5_error(401, "UNAUTHORIZED", message, trace, "Authorization")


def v5_failure(status: int, trace: Trace, headers: Mapping[str, str] | None = None) -> Answer:
    """Return v5's failure with a status, in the documented format if there is one."""
    code, message = _V5_FAILURES.get(status, ("INTERNAL_ERROR" if status >= 500 else "INVALID_REQUEST", ""))
    target = "Authorization" if status == 403 else None
    return with_headers(v5_error(status, code, message or phrase(status), trace, target), headers)


def v5_error(
    status: int,
    code: str,
    message: str,
    trace: Trace,
    target: str | None = None,
    details: Sequence[Mapping[str, str]] = (),
) -> Answer:
    """Return an error in v5's envelope, with ``target`` and ``details`` if there are any."""
    error: dict[str, Any] = {"code": code, "message": message}
    if target is not None:
        error["target"] = target
    if details:
        error["details"] = details
    body = {"response_id": trace.response_id, "error": error}
    return json_answer(status, body, {"X-MOE-Request-Id": trace.header})


_V1_MESSAGES: Mapping[ViolationKind, str] = {
    "event": _NO_EVENT,
    # MoEngage's example of a wrong address has this message; only its details name the address.
    "email": _NO_EVENT,
    "attribute": _WRONG_ATTRIBUTE,
}

_V5_FAILURES = {
    401: ("AUTHENTICATION_REQUIRED", _NO_CREDENTIALS),
    403: ("FORBIDDEN", "This API key does not have the scope required to trigger business events."),
    429: ("RATE_LIMIT_EXCEEDED", "Exceeded rate limit for this workspace."),
    500: (
        "INTERNAL_ERROR",
        "An unexpected error occurred while processing the request. Retry the request, and quote `response_id` "
        "if you contact MoEngage Support.",
    ),
}


def _v1_error(
    status: int, message: str, details: Sequence[Mapping[str, Any]], headers: Mapping[str, str] | None = None
) -> Answer:
    code = "401 Authentication error" if status == 401 else f"{status} {phrase(status)}"
    error = {"code": code, "message": message, "details": details, "request_id": uuid.uuid4().hex[:24]}
    return json_answer(status, {"error": error}, headers)


def _v1_detail(violation: Violation) -> dict[str, Any]:  # noqa: PLR0911 - one return per kind
    target = violation.target
    match violation.kind:
        case "missing":
            return _detail("MissingValue", target, f"{target} - Field is required but value is None : None")
        case "email":
            return _detail("MissingValue", target, f"{target} - Invalid email address : {violation.got!r}")
        case "event":
            return _detail("InvalidValue", target, "Business event does not exist")
        case "attribute":
            return _detail("InvalidValue", target, _WRONG_ATTRIBUTE)
        case "attribute_type":
            wrong = f"[{target!r}] - Wrong Attribute data type is passed : {violation.got!r}"
            return _detail("MissingValue", [target], wrong)
        case "unknown_field":
            schema = "document schema for class BusinessEventTriggerRequest"
            return _detail("InvalidValue", target, f"Additional fields are not allowed {schema}:{target}")
        case "body":
            return _detail("InvalidValue", target, "Malformed JSON")
        case _:
            return _detail("InvalidValue", target, f"{target} - expected {violation.expected}")


def _v5_violation(violation: Violation) -> tuple[str, str, str]:  # noqa: PLR0911 - one return per kind
    """Return the code, the target and the message of a violation."""
    target = _v5_target(violation)
    match violation.kind:
        case "missing":
            return "MISSING_VALUE", target, f"{target} is required."
        case "email":
            return "INVALID_VALUE", target, "Expected an email address."
        case "uuid":
            return "INVALID_VALUE", target, "Expected a UUID."
        case "event":
            return "INVALID_VALUE", target, _NO_EVENT
        case "attribute":
            return "INVALID_VALUE", target, _WRONG_ATTRIBUTE
        case "body":
            return "INVALID_VALUE", target, "Malformed JSON"
        case _:
            return "INVALID_TYPE", target, f"Expected {violation.expected}, got {violation.got}."


def _v5_target(violation: Violation) -> str:
    of_attribute = violation.kind in ("attribute", "attribute_type")
    return f"event_attributes.{violation.target}" if of_attribute else violation.target


def _v5_detail(code: str, target: str, message: str, form: DetailForm) -> dict[str, str]:
    if form == "field":
        return {"field": target, "issue": code, "message": message}
    return {"code": code, "target": target, "message": message}


def _detail(code: str, target: str | list[str], message: Any) -> dict[str, Any]:
    return {"code": code, "target": target, "message": message}
