"""``GET /v5/business-events`` and ``POST /v5/business-events/search``: the defined events and their schemas.

MoEngage API reference, "List Business Events" and "Search Business Events (V5)".
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
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
from airflow_provider_moengage.emulator.business_events.state import BusinessEventState
from airflow_provider_moengage.emulator.family import Result
from airflow_provider_moengage.emulator.http import Call, is_json, read_json, with_headers
from airflow_provider_moengage.emulator.limits import throttle_headers

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.business_events.definitions import Defined
    from airflow_provider_moengage.emulator.http import Answer
    from airflow_provider_moengage.emulator.limits import Quota
    from airflow_provider_moengage.emulator.settings import Windows

PAGE = 20
CREATED_BY = "emulator@example.com"


def list_business_events(state: BusinessEventState, call: Call, now: float) -> Result:
    """List all events, or the one of a name or an id."""
    budget = (state.quotas.lists, state.context.settings.list_quota)
    return _answer(state, call, now, budget, _query_of_url)


def search_business_events(state: BusinessEventState, call: Call, now: float) -> Result:
    """List all events, or those of several names or ids."""
    budget = (state.quotas.searches, state.context.settings.search_quota)
    return _answer(state, call, now, budget, _query_of_body)


class _BadParameter(Exception):  # noqa: N818 - an answer, not an error
    """A list request that is refused."""

    def __init__(self, message: str, target: str, code: str = "INVALID_VALUE", said: str | None = None) -> None:
        super().__init__(message, target, code, said)
        self.message = message
        self.target = target
        self.violation = (code, said or message)


@dataclass(frozen=True, slots=True)
class _Query:
    """What a request asks for; ``None``: no filter."""

    names: frozenset[str] | None
    ids: frozenset[str] | None
    limit: int
    after_id: str | None

    def matches(self, defined: Defined) -> bool:
        by_name = self.names is None or defined.event.name in self.names
        return by_name and (self.ids is None or defined.event.id in self.ids)


def _answer(
    state: BusinessEventState,
    call: Call,
    now: float,
    budget: tuple[Quota, Windows],
    read: Callable[[Call], _Query],
) -> Result:
    settings = state.context.settings
    trace = Trace.of(call.headers.get(REQUEST_ID_HEADER))
    if not is_authorized(state.context, call):
        return Result(v5_unauthorized_to_read(trace), "refused")
    if too_large(state.context, call):
        return Result(v5_failure(413, trace), "refused")
    quota, windows = budget
    opens_at = quota.opens_at(windows, 1, now)
    if opens_at > now:
        message = f"Workspace rate limit exceeded. Retry after {math.ceil(opens_at - now)} seconds."
        headers = throttle_headers(opens_at, settings, now)
        return Result(with_headers(v5_error(429, "RATE_LIMIT_EXCEEDED", message, trace), headers), "throttled")
    quota.spend(1, windows, now)
    try:
        query = read(call)
        page = _page(state, query)
    except _BadParameter as bad:
        answer = v5_bad_parameter(bad.message, bad.target, bad.violation, trace, settings.v5_details)
        return Result(answer, "refused")
    return Result(_page_answer(state, query, page, trace), "answered")


def _query_of_url(call: Call) -> _Query:
    name, event_id = call.query.get("name"), call.query.get("id")
    if name is not None and event_id is not None:
        raise _BadParameter(
            "Use either 'name' or 'id', not both.",
            "id",
            "INVALID_PARAMETER_COMBINATION",
            "The 'id' parameter cannot be combined with 'name'.",
        )
    limit = call.query.get("limit", str(PAGE))
    return _Query(
        None if name is None else frozenset([name]),
        None if event_id is None else frozenset([event_id]),
        _limit(int(limit) if limit.isdecimal() else limit),
        _read_cursor(call.query.get("cursor")),
    )


def _query_of_body(call: Call) -> _Query:
    if not call.body:
        return _Query(None, None, PAGE, None)
    if not is_json(call.headers):
        raise _BadParameter("Content-Type should be application/json.", "Content-Type")
    try:
        fields = read_json(call.body)
    except msgspec.DecodeError:
        raise _BadParameter("Malformed JSON", "body") from None
    if type(fields) is not dict:
        raise _BadParameter("Expected an object.", "body", "INVALID_TYPE")
    filters = fields.get("filters", {})
    if type(filters) is not dict:
        raise _BadParameter("Expected an object.", "filters", "INVALID_TYPE")
    names, ids = _texts(filters, "names"), _texts(filters, "ids")
    if names is not None and ids is not None:
        raise _BadParameter(
            "Use either 'names' or 'ids', not both.",
            "filters.ids",
            "INVALID_PARAMETER_COMBINATION",
            "The 'ids' filter cannot be combined with 'names'.",
        )
    return _Query(names, ids, _limit(fields.get("limit", PAGE)), _read_cursor(fields.get("cursor")))


def _texts(filters: dict[str, Any], name: str) -> frozenset[str] | None:
    wanted = filters.get(name)
    if wanted is None:
        return None
    if type(wanted) is not list or not all(type(text) is str for text in wanted):
        raise _BadParameter("Expected an array of strings.", f"filters.{name}", "INVALID_TYPE")
    return frozenset(wanted)


def _limit(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= PAGE:
        raise _BadParameter(f"Expected a whole number from 1 to {PAGE}.", "limit")
    return value


def _page(state: BusinessEventState, query: _Query) -> list[Defined]:
    """Return the events of a page, and the one after it if there is one."""
    wanted = [defined for defined in state.catalog if query.matches(defined)]
    start = 0
    if query.after_id is not None:
        known = [defined.event.id for defined in wanted]
        if query.after_id not in known:
            raise _BadParameter("Invalid cursor.", "cursor")
        start = known.index(query.after_id) + 1
    return wanted[start : start + query.limit + 1]


def _page_answer(state: BusinessEventState, query: _Query, page: list[Defined], trace: Trace) -> Answer:
    shown = page[: query.limit]
    pagination: dict[str, Any] = {"has_more": len(page) > query.limit}
    if pagination["has_more"]:
        pagination["next_cursor"] = _cursor(shown[-1].event.id)
    data = [_shown(state, defined) for defined in shown]
    return v5_answer("business-events", {"data": data, "pagination": pagination}, trace)


def _shown(state: BusinessEventState, defined: Defined) -> dict[str, Any]:
    event = defined.event
    fired, campaigns, last = state.firings.of_event(event.name)
    shown = {
        "id": event.id,
        "name": event.name,
        "attributes": [{"name": name, "data_type": kind} for name, kind in (event.attributes or {}).items()],
        "campaign_count": campaigns,
        "trigger_count": fired,
        "created_by": CREATED_BY,
        "created_at": _moment(defined.created_at),
    }
    return shown if last is None else {**shown, "last_triggered_at": _moment(last)}


def _moment(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cursor(last_id: str) -> str:
    return base64.b64encode(msgspec.json.encode({"last_id": last_id})).decode()


def _read_cursor(cursor: Any) -> str | None:
    if cursor is None:
        return None
    try:
        last_id = msgspec.json.decode(base64.b64decode(cursor, validate=True), type=dict[str, str])["last_id"]
    except (TypeError, ValueError, KeyError, binascii.Error, msgspec.DecodeError):
        raise _BadParameter("Invalid cursor.", "cursor") from None
    return last_id
