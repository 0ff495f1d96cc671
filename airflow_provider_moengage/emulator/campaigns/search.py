"""``POST /v5/campaigns/search``: the campaigns of a workspace.

MoEngage API reference, "Search Campaigns (V5)": at most 15 campaigns a page; the answer has no total, and the last
page is one with fewer than ``limit``. Drafts are returned only if the status is asked for. A request with an
``Idempotency-Key`` that was used before gets the answer of that time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_moengage.emulator.business_events.access import (
    REQUEST_ID_HEADER,
    is_authorized,
    too_large,
)
from airflow_provider_moengage.emulator.business_events.answers import (
    Trace,
    v5_answer,
    v5_bad_parameter,
    v5_error,
    v5_failure,
    v5_unauthorized_to_read,
)
from airflow_provider_moengage.emulator.family import Result
from airflow_provider_moengage.emulator.http import Answer, Call, is_json, read_json, with_headers
from airflow_provider_moengage.emulator.limits import throttle_headers

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.campaigns.definitions import Campaign
    from airflow_provider_moengage.emulator.campaigns.state import CampaignState

LARGEST_PAGE = 15
_LISTS = ("ids", "channels", "status", "campaign_delivery_type")


class _WrongFieldError(Exception):
    """A request that is refused with a 400."""

    def __init__(self, target: str, message: str) -> None:
        super().__init__(target, message)
        self.target, self.message = target, message


def search_campaigns(state: CampaignState, call: Call, now: float) -> Result:
    """Answer a page of campaigns, if the key and the quota allow."""
    settings = state.context.settings
    trace = Trace.of(call.headers.get(REQUEST_ID_HEADER))
    if not is_authorized(state.context, call):
        return Result(v5_unauthorized_to_read(trace), "refused")
    if too_large(state.context, call):
        return Result(v5_failure(413, trace), "refused")
    quota, windows = state.quotas.searches, settings.campaign_search_quota
    opens_at = quota.opens_at(windows, 1, now)
    if opens_at > now:
        message = f"Workspace rate limit exceeded. Retry after {math.ceil(opens_at - now)} seconds."
        headers = throttle_headers(opens_at, settings, now)
        return Result(with_headers(v5_error(429, "RATE_LIMIT_EXCEEDED", message, trace), headers), "throttled")
    quota.spend(1, windows, now)
    key = call.headers.get("idempotency-key")
    replayed = state.replays.find(key)
    if replayed is not None:
        return Result(replayed, "answered")
    try:
        answer = _page(state, _read(call), trace)
    except _WrongFieldError as wrong:
        violation = ("INVALID_VALUE", wrong.message)
        refusal = v5_bad_parameter(wrong.message, wrong.target, violation, trace, settings.v5_details)
        return Result(refusal, "refused")
    state.replays.add(key, answer)
    return Result(answer, "answered")


def _page(state: CampaignState, fields: dict[str, Any], trace: Trace) -> Answer:
    limit = _whole(fields, "limit", LARGEST_PAGE, LARGEST_PAGE)
    page = _whole(fields, "page", 1, None)
    with_children = fields.get("include_child_campaigns", False)
    if type(with_children) is not bool:
        raise _WrongFieldError("include_child_campaigns", "Expected a boolean.")
    wanted = _filters(fields)
    known = state.catalog.of(wanted["ids"]) if "ids" in wanted else state.catalog
    found = [
        campaign for campaign in known if (with_children or not campaign.is_child) and _matches(campaign, wanted)
    ]
    shown = found[(page - 1) * limit : page * limit]
    return v5_answer("campaigns", {"data": {"campaigns": [_shown(campaign) for campaign in shown]}}, trace)


def _matches(campaign: Campaign, wanted: dict[str, Any]) -> bool:
    values = {
        "channels": campaign.channel,
        "status": campaign.status,
        "campaign_delivery_type": campaign.delivery_type,
    }
    if campaign.status == "DRAFT" and "DRAFT" not in wanted.get("status", ()):
        return False
    name = wanted.get("name", "")
    return name in campaign.name and all(
        value in wanted[field] for field, value in values.items() if field in wanted
    )


def _shown(campaign: Campaign) -> dict[str, Any]:
    return {
        "id": campaign.id,
        "channel": campaign.channel,
        "status": campaign.status,
        "campaign_delivery_type": campaign.delivery_type,
        "basic_details": {"name": campaign.name, "tags": []},
    }


def _read(call: Call) -> dict[str, Any]:
    if not call.body:
        return {}
    if not is_json(call.headers):
        raise _WrongFieldError("Content-Type", "Content-Type should be application/json.")
    try:
        fields = read_json(call.body)
    except msgspec.DecodeError:
        raise _WrongFieldError("body", "Malformed JSON") from None
    if type(fields) is not dict:
        raise _WrongFieldError("body", "Expected an object.")
    return fields


def _filters(fields: dict[str, Any]) -> dict[str, Any]:
    wanted = fields.get("campaign_fields", {})
    if type(wanted) is not dict:
        raise _WrongFieldError("campaign_fields", "Expected an object.")
    for name in _LISTS:
        values = wanted.get(name, [])
        if type(values) is not list or not all(type(value) is str for value in values):
            raise _WrongFieldError(f"campaign_fields.{name}", "Expected an array of strings.")
    if type(wanted.get("name", "")) is not str:
        raise _WrongFieldError("campaign_fields.name", "Expected a string.")
    return wanted


def _whole(fields: dict[str, Any], name: str, default: int, most: int | None) -> int:
    value = fields.get(name, default)
    if type(value) is not int or value < 1 or (most is not None and value > most):
        raise _WrongFieldError(name, "Expected a whole number from 1" + (f" to {most}." if most else "."))
    return value
