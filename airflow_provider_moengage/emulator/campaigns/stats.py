"""``POST /core-services/v1/campaign-stats``: the statistics of campaigns over a window of days.

MoEngage API reference, "Get Campaign Stats": at most ten campaigns a page, ten ids a request, 30 days between
start and end, and 100 requests a minute. Campaigns that did not run in the window are not in the answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_moengage.emulator.business_events.access import is_authorized, too_large
from airflow_provider_moengage.emulator.campaigns.counts import CONVERTED, stats_of
from airflow_provider_moengage.emulator.campaigns.definitions import read_day
from airflow_provider_moengage.emulator.family import Result
from airflow_provider_moengage.emulator.http import (
    Answer,
    Call,
    basic_credentials,
    is_json,
    json_answer,
    new_request_id,
    phrase,
    read_json,
)
from airflow_provider_moengage.emulator.limits import limit_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_moengage.emulator.campaigns.state import CampaignState

LARGEST_PAGE = 10
MOST_IDS = 10
LONGEST_WINDOW = 30
METRIC_TYPES = ("TOTAL", "UNIQUE")

_TITLES = {
    400: ("Invalid Field Value", "Some of the field values are invalid"),
    401: ("Authentication required", "Invalid identity information found."),
    403: ("Forbidden Request", None),
    429: ("Rate Limits Exceeded", "The number of requests per minute has exceeded the rate limit."),
    500: (
        "Server Error",
        "An unexpected error was encountered while processing this request. Please contact MoEngage Team",
    ),
}


class _WrongFieldError(Exception):
    """A request that is refused with a 400."""


@dataclass(frozen=True, slots=True)
class _Query:
    request_id: str
    start: date
    end: date
    attribution: str
    metric_type: str
    ids: tuple[str, ...] | None
    offset: int
    limit: int


def campaign_stats(state: CampaignState, call: Call, now: float) -> Result:
    """Answer a page of statistics, if the key and the quota allow."""
    refused = _check_access(state, call)
    if refused is not None:
        return Result(refused, "refused")
    settings, quota = state.context.settings, state.quotas.stats
    windows = settings.campaign_stats_quota
    if quota.opens_at(windows, 1, now) > now:
        headers = limit_headers(quota.reading(windows, now), settings, now, refused=True)
        return Result(stats_failure(429, headers), "throttled")
    quota.spend(1, windows, now)
    headers = limit_headers(quota.reading(windows, now), settings, now, refused=False)
    if not is_json(call.headers):
        return Result(stats_failure(415, headers), "refused")
    try:
        query = _read(call.body)
    except _WrongFieldError as wrong:
        answer = _error(400, _TITLES[400][0], str(wrong), headers)
        return Result(answer, "refused", reason=str(wrong))
    state.stats_pages += 1
    return Result(replace(_page(state, query), headers=headers), "answered")


def stats_failure(status: int, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the failure with a status, in the documented format."""
    title, description = _TITLES.get(status, (phrase(status), phrase(status)))
    return _error(status, title, description, headers)


def _check_access(state: CampaignState, call: Call) -> Answer | None:
    if not is_authorized(state.context, call):
        return stats_failure(401)
    app_key = call.headers.get("moe-appkey")
    login = basic_credentials(call.headers)
    if login is None or app_key != login[0]:
        said = f"app_key - Some of the field values are invalid: app_key : {app_key}"
        return _error(400, _TITLES[400][0], said)
    return stats_failure(413) if too_large(state.context, call) else None


def _page(state: CampaignState, query: _Query) -> Answer:
    wanted = state.catalog if query.ids is None else state.catalog.of(query.ids)
    ran = [campaign for campaign in wanted if campaign.has_run(query.start, query.end)]
    shown = ran[query.offset : query.offset + query.limit]
    body = {
        "response_id": query.request_id,
        "total_campaigns": len(ran),
        "current_page": query.offset // query.limit + 1,
        "total_pages": math.ceil(len(ran) / query.limit),
        "data": {
            campaign.id: stats_of(
                campaign, campaign.days(query.start, query.end), query.attribution, query.metric_type
            )
            for campaign in shown
        },
    }
    return json_answer(200, body)


def _read(body: bytes) -> _Query:
    try:
        fields = read_json(body)
    except msgspec.DecodeError:
        raise _WrongFieldError("body - Malformed JSON") from None
    if type(fields) is not dict:
        raise _WrongFieldError("body - expected an object")
    start, end = _day(fields, "start_date"), _day(fields, "end_date")
    if end < start or (end - start).days > LONGEST_WINDOW:
        raise _wrong("end_date", f"{end}; at most {LONGEST_WINDOW} days after start_date")
    return _Query(
        _text(fields, "request_id"),
        start,
        end,
        _choice(fields, "attribution_type", tuple(CONVERTED)),
        _choice(fields, "metric_type", METRIC_TYPES),
        _ids(fields),
        _whole(fields, "offset", 0, 0, None),
        _whole(fields, "limit", LARGEST_PAGE, 1, LARGEST_PAGE),
    )


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str or not value:
        raise _wrong(name, value)
    return value


def _day(fields: dict[str, Any], name: str) -> date:
    day = read_day(fields.get(name))
    if day is None:
        raise _wrong(name, fields.get(name))
    return day


def _choice(fields: dict[str, Any], name: str, known: tuple[str, ...]) -> str:
    value = _text(fields, name)
    if value not in known:
        raise _wrong(name, value)
    return value


def _ids(fields: dict[str, Any]) -> tuple[str, ...] | None:
    ids = fields.get("campaign_ids")
    if ids is None:
        return None
    if type(ids) is not list or len(ids) > MOST_IDS or not all(type(each) is str for each in ids):
        raise _wrong("campaign_ids", f"at most {MOST_IDS} texts")
    return tuple(ids)


def _whole(fields: dict[str, Any], name: str, default: int, least: int, most: int | None) -> int:
    value = fields.get(name, default)
    if type(value) is not int or value < least or (most is not None and value > most):
        raise _wrong(name, value)
    return value


def _wrong(name: str, value: Any) -> _WrongFieldError:
    return _WrongFieldError(f"{name} - Some of the field values are invalid: {name} : {value}")


def _error(status: int, title: str, description: str | None, headers: Mapping[str, str] | None = None) -> Answer:
    return json_answer(status, {"title": title, "description": description, "code": new_request_id()}, headers)
