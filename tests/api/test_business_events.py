"""Reading the response to a trigger: its outcome, and its message without the values of the request."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from airflow_provider_moengage.api.business_events import (
    TriggerReply,
    TriggerRequest,
    read_trigger_reply,
)
from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.trigger_outcomes import TriggerOutcome

REQUEST = TriggerRequest(
    "New movie",
    {"title": "Dune", "at": "2026-01-02T03:04:05Z", "who": "Zoë", "n": 7},
    triggered_by="ann@example.com",
)


def read(status: int, body: Any, version: Any = "v1", headers: dict[str, str] | None = None) -> TriggerReply:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    request = replace(REQUEST, api_version=version)
    return read_trigger_reply(
        status, headers or {}, raw, request=request, scrub=Scrub(["a-campaign-key"]), now=1_750_000_000.0
    )


TRIGGERED = {"message": "The business event has been triggered"}

V1: list[tuple[int, Any, TriggerOutcome]] = [
    (200, TRIGGERED, TriggerOutcome.TRIGGERED),
    (200, {**TRIGGERED, "status": "Success"}, TriggerOutcome.TRIGGERED),
    (200, {"message": "Business event triggered successfully."}, TriggerOutcome.TRIGGERED),
    (200, {"message": "The business event was triggered"}, TriggerOutcome.TRIGGERED),
    (200, {**TRIGGERED, "error": None}, TriggerOutcome.TRIGGERED),
    (200, {"message": "Service temporarily unavailable"}, TriggerOutcome.UNKNOWN),
    (200, {"message": None}, TriggerOutcome.UNKNOWN),
    (200, {**TRIGGERED, "error": {"message": "x"}}, TriggerOutcome.UNKNOWN),
    (200, {**TRIGGERED, "status": "fail"}, TriggerOutcome.UNKNOWN),
    (200, b"<html>", TriggerOutcome.UNKNOWN),
    (200, b"", TriggerOutcome.UNKNOWN),
    (202, TRIGGERED, TriggerOutcome.UNKNOWN),
    (204, b"", TriggerOutcome.UNKNOWN),
    (301, b"", TriggerOutcome.REFUSED),
    (302, b"", TriggerOutcome.UNKNOWN),
    (303, b"", TriggerOutcome.UNKNOWN),
    (308, b"", TriggerOutcome.REFUSED),
    (400, b"", TriggerOutcome.REFUSED),
    (401, b"", TriggerOutcome.DENIED),
    (403, b"", TriggerOutcome.DENIED),
    (404, b"", TriggerOutcome.REFUSED),
    (408, b"", TriggerOutcome.UNKNOWN),
    (408, {"error": {"type": "Rate Limit Exceeded", "message": "x"}}, TriggerOutcome.UNKNOWN),
    (302, {"error": {"type": "Rate Limit Exceeded", "message": "x"}}, TriggerOutcome.UNKNOWN),
    (425, b"", TriggerOutcome.UNKNOWN),
    (429, b"", TriggerOutcome.OVER_QUOTA),
    (500, {"title": "Internal Server Error", "message": "x"}, TriggerOutcome.UNKNOWN),
    (502, b"<html>", TriggerOutcome.UNKNOWN),
]


@pytest.mark.parametrize(("status", "body", "outcome"), V1)
def test_a_response_of_v1_shows_whether_campaigns_may_have_started(
    status: int, body: Any, outcome: TriggerOutcome
) -> None:
    assert read(status, body).outcome is outcome


NO_SUCCESS: list[Any] = [
    {"message": "Business event was not triggered"},
    {"message": "Business event trigger failed"},
    {"message": "The business event wasn't triggered"},
    {"message": "No campaign was triggered"},
    {"message": "0 campaigns triggered"},
    {"message": "The business event could not be triggered"},
    {"message": "The business event will be triggered"},
    {"message": "The business event has been queued to get triggered"},
    {"message": "Waiting to have successfully triggered campaigns"},
    {"message": "Triggered"},
    {"message": ["The business event has been triggered"]},
    {**TRIGGERED, "success": False},
    {**TRIGGERED, "success": "false"},
    {**TRIGGERED, "status_code": "400 Bad Request"},
    {**TRIGGERED, "errors": ["x"]},
    {**TRIGGERED, "data": {"code": 429, "title": "rate limiter exception"}},
    {**TRIGGERED, "data": {"status": "error"}},
    {"data": TRIGGERED},
    {},
    [TRIGGERED],
    b"The business event has been triggered",
]


@pytest.mark.parametrize("body", NO_SUCCESS)
@pytest.mark.parametrize("version", ["v1", "v5"])
def test_2nd_a_200_that_does_not_say_that_the_event_has_been_triggered_is_no_success(
    body: Any, version: str
) -> None:
    assert read(200, body, version).outcome is TriggerOutcome.UNKNOWN


@pytest.mark.parametrize("extra", [{"success": False}, {"status": "fail"}, {"error": {"message": "x"}}])
def test_a_200_of_v5_that_contradicts_itself_is_unknown(extra: dict[str, Any]) -> None:
    body = {**v5("SUCCESS", **totals(1, 1), triggered_campaign_ids=["a"]), **extra}

    assert read(200, body, "v5").outcome is TriggerOutcome.UNKNOWN


NAMED_STARTS: list[Any] = [
    {"data": {"triggered_campaign_ids": ["a"]}},
    {"data": {"triggered_flow_ids": "f"}},
    {"error": {"message": "m", "details": [{"summary": {"total": 2, "triggered": "1"}}]}},
    {"triggered_campaign_ids": ["a"], "error": {}},
    {"data": {"triggered_status": "partial_success"}},
]


@pytest.mark.parametrize("body", NAMED_STARTS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("version", ["v1", "v5"])
def test_a_failure_that_names_started_campaigns_or_flows_counts_as_started(
    status: int, body: Any, version: str
) -> None:
    reply = read(status, body, version)

    assert reply.outcome is TriggerOutcome.UNKNOWN
    assert reply.has_started


def test_a_failure_with_empty_lists_of_started_campaigns_started_nothing() -> None:
    body = v5("FAILURE", **totals(1, 0, 1), triggered_campaign_ids=[], triggered_flow_ids=None)

    assert read(429, body, "v5").outcome is TriggerOutcome.OVER_QUOTA


def v5(status: str | None, **data: Any) -> dict[str, Any]:
    return {"response_id": "r-1", "type": "business-event", "data": {"triggered_status": status, **data}}


def totals(total: Any, triggered: Any = 0, failed: Any = 0) -> dict[str, Any]:
    return {"summary": {"total": total, "triggered": triggered, "failed": failed}}


V5: dict[str, tuple[dict[str, Any], TriggerOutcome]] = {
    "success": (v5("SUCCESS", **totals(2, 2), triggered_campaign_ids=["a", "b"]), TriggerOutcome.TRIGGERED),
    "success in small letters": (v5("success", **totals("1", "1")), TriggerOutcome.TRIGGERED),
    "success with something skipped": (v5("SUCCESS", **totals(2, 1, 1)), TriggerOutcome.PARTIAL),
    "success without campaigns": (v5("SUCCESS", **totals(0)), TriggerOutcome.NOTHING_ATTACHED),
    "success without a summary": (v5("SUCCESS"), TriggerOutcome.TRIGGERED),
    "partial": (
        v5("PARTIAL_SUCCESS", triggered_campaign_ids=["a"], failed_campaign_ids=["b"]),
        TriggerOutcome.PARTIAL,
    ),
    "failure by quota": (
        v5("FAILURE", **totals(2, 0, 2), failed_campaign_ids=["a", "b"]),
        TriggerOutcome.OVER_QUOTA,
    ),
    "failure by quota, flows": (v5("FAILURE", failed_flow_ids=["f"]), TriggerOutcome.OVER_QUOTA),
    "failure without campaigns": (
        v5("FAILURE", **totals(0), failed_campaign_ids=None),
        TriggerOutcome.NOTHING_ATTACHED,
    ),
    "failure without campaigns, as text": (
        v5("FAILURE", **totals("0", "0", "0")),
        TriggerOutcome.NOTHING_ATTACHED,
    ),
    "failure that has started some": (
        v5("FAILURE", **totals(2, 1), triggered_campaign_ids=["a"], failed_campaign_ids=["b"]),
        TriggerOutcome.PARTIAL,
    ),
    "failure, but everything was started": (v5("FAILURE", triggered_campaign_ids=["a"]), TriggerOutcome.UNKNOWN),
    "success that has started none": (v5("SUCCESS", **totals(2)), TriggerOutcome.UNKNOWN),
    "failure that names one of three": (
        v5("FAILURE", summary={"total": 3}, failed_campaign_ids=["a"]),
        TriggerOutcome.UNKNOWN,
    ),
    "failure that names each": (
        v5("FAILURE", summary={"total": 2}, failed_campaign_ids=["a"], failed_flow_ids=["f"]),
        TriggerOutcome.OVER_QUOTA,
    ),
    "failure that accounts for none": (v5("FAILURE", summary={"total": 3}), TriggerOutcome.UNKNOWN),
    "another status": (v5("QUEUED"), TriggerOutcome.UNKNOWN),
    "no status": (v5(None), TriggerOutcome.UNKNOWN),
    "no data": ({"response_id": "r-1"}, TriggerOutcome.UNKNOWN),
}


@pytest.mark.parametrize(("body", "outcome"), V5.values(), ids=V5)
def test_a_start_is_never_overlooked_in_a_response_of_v5(body: dict[str, Any], outcome: TriggerOutcome) -> None:
    assert read(200, body, "v5").outcome is outcome


ERRORS: dict[str, tuple[Any, str]] = {
    "v1": (
        {
            "error": {
                "code": "400 Bad Request",
                "message": "Invalid",
                "details": [{"code": "x", "target": "event_name", "message": "does not exist"}],
                "request_id": "r",
            }
        },
        "Invalid; event_name: does not exist",
    ),
    "message is an object": (
        {"error": {"message": "Denied", "details": [{"message": {"authorization": ["missing"]}}]}},
        "Denied; missing",
    ),
    "message and target are lists": (
        {"error": {"message": "Bad", "details": [{"target": ["a", "b"], "message": ["one", "two"]}]}},
        "Bad; a, b: one: two",
    ),
    "v5": (
        {"error": {"code": "C", "message": "Bad", "details": [{"field": "f", "issue": "type", "message": "no"}]}},
        "Bad; f: type: no",
    ),
    "throttled": (
        {"status": "error", "data": {"code": 429, "title": "limit", "description": "exceeded"}},
        "limit; exceeded",
    ),
    "server": ({"title": "Internal Server Error", "message": "sorry"}, "Internal Server Error; sorry"),
    "lines": ({"error": {"message": "one\r\ntwo\n\nthree"}}, "one two three"),
}


@pytest.mark.parametrize(("body", "sentence"), ERRORS.values(), ids=ERRORS)
def test_every_shape_of_error_becomes_one_sentence(body: Any, sentence: str) -> None:
    assert read(400, body).message == sentence


QUOTES = [
    "Dune",
    "2026-01-02T03:04:05Z",
    "Zoë",
    json.dumps("Zoë")[1:-1],
    "ANN@Example.com",
    "ann%40example.com",
    "7",
]


@pytest.mark.parametrize("quoted", QUOTES)
def test_values_of_the_request_are_removed_from_a_message(quoted: str) -> None:
    reply = read(400, {"error": {"message": f"wrong value {quoted} of New movie, code A77"}})

    assert reply.message == "wrong value *** of New movie, code A77"


def test_a_long_window_is_not_cut_to_an_hour() -> None:
    assert read(429, b"", headers={"retry-after": "72000"}).retry_after == 72_000
