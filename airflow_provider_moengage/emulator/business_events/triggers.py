"""``POST /v1.0/business_event/trigger`` and ``POST /v5/business-events/triggers``.

MoEngage API reference, "Trigger Business Event" and "Trigger Business Event (V5)". Neither recognizes
a repeated trigger: each accepted one fires.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_moengage.emulator.business_events.access import (
    REQUEST_ID_HEADER,
    is_authorized,
    too_large,
)
from airflow_provider_moengage.emulator.business_events.answers import (
    Trace,
    Violation,
    v1_failure,
    v1_nothing_attached,
    v1_refusal,
    v1_success,
    v1_unauthorized,
    v5_failure,
    v5_outcome,
    v5_refusal,
    v5_unauthorized,
)
from airflow_provider_moengage.emulator.business_events.definitions import BusinessEvent, json_type
from airflow_provider_moengage.emulator.business_events.firings import Firing, Version
from airflow_provider_moengage.emulator.business_events.state import BusinessEventState
from airflow_provider_moengage.emulator.family import Context, Result
from airflow_provider_moengage.emulator.http import Call, basic_credentials, is_json, read_json
from airflow_provider_moengage.emulator.limits import throttle_headers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_moengage.emulator.business_events.definitions import Catalog
    from airflow_provider_moengage.emulator.http import Answer

_V1_FIELDS = ("event_name", "event_attributes", "triggered_by")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def trigger_v1(state: BusinessEventState, call: Call, now: float) -> Result:
    """Start all campaigns and flows of an event, or none."""
    refused = _check_v1(state.context, call)
    if refused is not None:
        return Result(refused, "refused")
    read = _read(_fields(call.body), state.catalog, "v1")
    if not isinstance(read, _Trigger):
        return Result(v1_refusal(read), "refused")
    event = read.event
    if not event.campaigns and not event.flows:
        return Result(v1_nothing_attached(), "refused")
    settings, quotas = state.context.settings, state.quotas
    budgets = (
        (quotas.v1_triggers, 1, settings.v1_trigger_quota),
        (quotas.v1_flows, len(event.flows), settings.v1_flow_quota),
    )
    opens_at = max(quota.opens_at(windows, units, now) for quota, units, windows in budgets if units)
    if opens_at > now:
        return Result(v1_failure(429, throttle_headers(opens_at, settings, now)), "throttled")
    for quota, units, windows in budgets:
        quota.spend(units, windows, now)
    _log(state, _firing(state, read, now, event.campaigns, event.flows, project_code=call.project_code))
    return Result(v1_success(), "accepted")


def trigger_v5(state: BusinessEventState, call: Call, now: float) -> Result:
    """Start the campaigns and flows of an event, as many as the quotas allow."""
    settings, quotas = state.context.settings, state.quotas
    trace = Trace.of(call.headers.get(REQUEST_ID_HEADER))
    refused = _check_v5(state.context, call, trace)
    if refused is not None:
        return Result(refused, "refused")
    fields = _fields(call.body)
    if type(fields) is dict and type(fields.get("moe_request_id")) is str:
        trace = Trace.of(call.headers.get(REQUEST_ID_HEADER), fields["moe_request_id"])
    read = _read(fields, state.catalog, "v5")
    if not isinstance(read, _Trigger):
        return Result(v5_refusal(read, trace, settings.v5_details), "refused")
    event = read.event
    budgets = (
        (quotas.v5_campaigns, event.campaigns, settings.v5_campaign_quota),
        (quotas.v5_flows, event.flows, settings.v5_flow_quota),
    )
    if settings.v5_over_quota == "429":
        opens_at = max(
            (quota.opens_at(windows, len(ids), now) for quota, ids, windows in budgets if ids), default=now
        )
        if opens_at > now:
            headers = throttle_headers(opens_at, settings, now)
            return Result(v5_failure(429, trace, headers), "throttled")
    campaigns, flows = (ids[: quota.room(windows, now)] for quota, ids, windows in budgets)
    quotas.v5_campaigns.spend(len(campaigns), settings.v5_campaign_quota, now)
    quotas.v5_flows.spend(len(flows), settings.v5_flow_quota, now)
    firing = _firing(state, read, now, campaigns, flows, trace, project_code=call.project_code)
    if not campaigns and not flows:
        return Result(v5_outcome(firing, trace), "refused", reason="the quota is used up: nothing was started")
    _log(state, firing)
    return Result(v5_outcome(firing, trace, is_failure=settings.v5_failures_name_started), "accepted")


@dataclass(frozen=True, slots=True)
class _Trigger:
    """A valid request body: the event that it names, and its fields."""

    event: BusinessEvent
    attributes: dict[str, Any]
    triggered_by: str | None


def _check_v1(context: Context, call: Call) -> Answer | None:
    if not is_authorized(context, call):
        login = basic_credentials(call.headers)
        if login is None:
            return v1_unauthorized("Authorization")
        known = login[0] == context.credentials.workspace_id
        return v1_unauthorized("APP_SECRET_KEY" if known else "APP_ID")
    if not is_json(call.headers):
        return v1_failure(415)
    return v1_failure(413) if too_large(context, call) else None


def _check_v5(context: Context, call: Call, trace: Trace) -> Answer | None:
    if not is_authorized(context, call):
        return v5_unauthorized(trace, missing=basic_credentials(call.headers) is None)
    if not is_json(call.headers):
        return v5_failure(415, trace)
    return v5_failure(413, trace) if too_large(context, call) else None


def _fields(body: bytes) -> Any:
    """Return the decoded body, or a `Violation` if it is not JSON."""
    try:
        return read_json(body)
    except msgspec.DecodeError:
        return Violation("body", "body")


def _read(fields: Any, catalog: Catalog, version: Version) -> _Trigger | list[Violation]:
    """Return the trigger of a body, or all violations: of its fields first, then of its event."""
    if isinstance(fields, Violation):
        return [fields]
    if type(fields) is not dict:
        return [Violation("type", "body", "object", json_type(fields))]
    wrong = [*_wrong_fields(fields, version)]
    if wrong:
        return wrong
    event = catalog.find(fields["event_name"])
    if event is None:
        return [Violation("event", "event_name")]
    attributes = fields.get("event_attributes", {})
    wrong = [*_wrong_attributes(event, attributes)]
    return wrong or _Trigger(event, attributes, fields.get("triggered_by"))


def _wrong_fields(fields: dict[str, Any], version: Version) -> Iterator[Violation]:
    required = {"event_name", "event_attributes" if version == "v1" else "triggered_by"}
    types = {"event_name": "string", "event_attributes": "object", "triggered_by": "string"}
    if version == "v5":
        types["moe_request_id"] = "string"
    for name, expected in types.items():
        value = fields.get(name)
        if value is None and (name in required or (name == "event_attributes" and name in fields)):
            yield Violation("missing", name)
        elif value is not None and json_type(value) != expected:
            yield Violation("type", name, expected, json_type(value))
        elif name == "triggered_by" and value is not None and not _ADDRESS.fullmatch(value):
            yield Violation("email", name, got=value)
        elif name == "moe_request_id" and value is not None and not _is_uuid(value):
            yield Violation("uuid", name, got=value)
    if version == "v1":
        yield from (Violation("unknown_field", name) for name in fields if name not in _V1_FIELDS)


def _wrong_attributes(event: BusinessEvent, attributes: dict[str, Any]) -> Iterator[Violation]:
    if event.attributes is None:
        return
    unknown = [name for name in attributes if name not in event.attributes]
    yield from (Violation("attribute", name) for name in unknown)
    for name, value in attributes.items():
        if name not in unknown:
            expected = event.expected(name, value)
            if expected is not None:
                yield Violation("attribute_type", name, expected, json_type(value))


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _firing(  # noqa: PLR0913 (what a firing records)
    state: BusinessEventState,
    trigger: _Trigger,
    now: float,
    campaigns: tuple[str, ...],
    flows: tuple[str, ...],
    trace: Trace | None = None,
    *,
    project_code: str | None,
) -> Firing:
    return Firing(
        number=state.firings.next_number,
        received_at=now,
        version="v1" if trace is None else "v5",
        event_name=trigger.event.name,
        event_attributes=trigger.attributes,
        triggered_by=trigger.triggered_by,
        request_id=trace.response_id if trace else None,
        campaign_ids=campaigns,
        flow_ids=flows,
        skipped_campaign_ids=trigger.event.campaigns[len(campaigns) :],
        skipped_flow_ids=trigger.event.flows[len(flows) :],
        project_code=project_code,
    )


def _log(state: BusinessEventState, firing: Firing) -> None:
    state.firings.append(firing, state.context.settings.keep_firings)
