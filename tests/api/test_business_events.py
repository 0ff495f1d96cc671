"""What an answer to a trigger says: a table of answers, and of what their messages may quote."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from airflow_provider_moengage.api.business_events import Firing, FiringReply, read_firing

SENT = {
    "event_name": "New movie",
    "event_attributes": {"title": "Dune", "at": "2026-01-02T03:04:05Z", "who": "Zoë", "n": 7},
    "triggered_by": "ann@example.com",
}


def read(status: int, body: Any, version: str = "v1", headers: dict[str, str] | None = None) -> FiringReply:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return read_firing(status, headers or {}, raw, version=version, sent=SENT, now=1_750_000_000.0)


FIRED = {"message": "The business event has been triggered"}

V1: list[tuple[int, Any, Firing]] = [
    (200, FIRED, Firing.FIRED),
    (200, {**FIRED, "status": "Success"}, Firing.FIRED),
    (200, {**FIRED, "error": None}, Firing.FIRED),
    (200, {"message": "Service temporarily unavailable"}, Firing.UNKNOWN),
    (200, {"message": None}, Firing.UNKNOWN),
    (200, {**FIRED, "error": {"message": "x"}}, Firing.UNKNOWN),
    (200, {**FIRED, "status": "fail"}, Firing.UNKNOWN),
    (200, b"<html>", Firing.UNKNOWN),
    (200, b"", Firing.UNKNOWN),
    (202, FIRED, Firing.UNKNOWN),
    (204, b"", Firing.UNKNOWN),
    (301, b"", Firing.REFUSED),
    (302, b"", Firing.UNKNOWN),
    (303, b"", Firing.UNKNOWN),
    (308, b"", Firing.REFUSED),
    (400, b"", Firing.REFUSED),
    (401, b"", Firing.DENIED),
    (403, b"", Firing.DENIED),
    (404, b"", Firing.REFUSED),
    (408, b"", Firing.UNKNOWN),
    (425, b"", Firing.UNKNOWN),
    (429, b"", Firing.OVER_QUOTA),
    (500, {"title": "Internal Server Error", "message": "x"}, Firing.UNKNOWN),
    (502, b"<html>", Firing.UNKNOWN),
]


@pytest.mark.parametrize(("status", "body", "firing"), V1)
def test_an_answer_of_v1_says_whether_campaigns_may_have_started(status: int, body: Any, firing: Firing) -> None:
    assert read(status, body).firing is firing


def v5(status: str | None, **data: Any) -> dict[str, Any]:
    return {"response_id": "r-1", "type": "business-event", "data": {"triggered_status": status, **data}}


def totals(total: Any, triggered: Any = 0, failed: Any = 0) -> dict[str, Any]:
    return {"summary": {"total": total, "triggered": triggered, "failed": failed}}


V5: dict[str, tuple[dict[str, Any], Firing]] = {
    "success": (v5("SUCCESS", **totals(2, 2), triggered_campaign_ids=["a", "b"]), Firing.FIRED),
    "success in small letters": (v5("success", **totals("1", "1")), Firing.FIRED),
    "success with something skipped": (v5("SUCCESS", **totals(2, 1, 1)), Firing.PARTIAL),
    "success of nothing": (v5("SUCCESS", **totals(0)), Firing.NOTHING_ATTACHED),
    "success without a summary": (v5("SUCCESS"), Firing.FIRED),
    "partial": (v5("PARTIAL_SUCCESS", triggered_campaign_ids=["a"], failed_campaign_ids=["b"]), Firing.PARTIAL),
    "failure by quota": (v5("FAILURE", **totals(2, 0, 2), failed_campaign_ids=["a", "b"]), Firing.OVER_QUOTA),
    "failure by quota, flows": (v5("FAILURE", failed_flow_ids=["f"]), Firing.OVER_QUOTA),
    "failure of nothing": (v5("FAILURE", **totals(0), failed_campaign_ids=None), Firing.NOTHING_ATTACHED),
    "failure of nothing, as text": (v5("FAILURE", **totals("0", "0", "0")), Firing.NOTHING_ATTACHED),
    "failure that has started some": (
        v5("FAILURE", **totals(2, 1), triggered_campaign_ids=["a"], failed_campaign_ids=["b"]),
        Firing.PARTIAL,
    ),
    "failure that has started all": (v5("FAILURE", triggered_campaign_ids=["a"]), Firing.UNKNOWN),
    "another word": (v5("QUEUED"), Firing.UNKNOWN),
    "no word": (v5(None), Firing.UNKNOWN),
    "no data": ({"response_id": "r-1"}, Firing.UNKNOWN),
}


@pytest.mark.parametrize(("body", "firing"), V5.values(), ids=V5)
def test_what_has_started_is_never_taken_for_nothing(body: dict[str, Any], firing: Firing) -> None:
    assert read(200, body, "v5").firing is firing


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
def test_values_that_were_sent_are_taken_out_of_a_message(quoted: str) -> None:
    reply = read(400, {"error": {"message": f"wrong value {quoted} of New movie, code A77"}})

    assert reply.message == "wrong value *** of New movie, code A77"


def test_a_long_window_is_not_cut_to_an_hour() -> None:
    assert read(429, b"", headers={"retry-after": "72000"}).retry_after == 72_000
