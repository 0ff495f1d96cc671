"""The document itself: valid, complete, and true to MoEngage's own samples."""

from __future__ import annotations

import json
from typing import Any

import openapi_spec_validator
import pytest

from airflow_provider_moengage.emulator import Emulator
from tests.openapi.contract import Operation, contract
from tests.samples.samples import filled, load

AUTH = {
    "authorization": "Basic V1M6a2V5",
    "content-type": "application/json",
    "MOE-APPKEY": "WS",
}
IMPORTS = "/v1.0/data/fileimports"

FAMILIES = {
    "bulk_import": ("/v1/transition/WS", load("bulk_import")),
    "platforms": ("/v1/transition/WS", load("customer_data_platforms")),
    "v1": ("/v1.0/business_event/trigger", load("business_events")["v1"]),
    "v5": ("/v5/business-events/triggers", load("business_events")["v5"]),
    "trigger": (f"{IMPORTS}/trigger/i1", load("file_imports")["trigger"]),
    "history": (f"{IMPORTS}/import/run/history", load("file_imports")["history"]),
    "details": (f"{IMPORTS}/import/status", load("file_imports")["details"]),
    "connection_test": ("/v1/integrations/authentication", load("connection_test")),
}


def operation_of(path: str, method: str = "POST") -> Operation:
    found = contract().find(method, path)
    assert found is not None
    return found


def test_the_document_is_valid_openapi_3_1() -> None:
    openapi_spec_validator.validate(contract().document)

    assert contract().document["openapi"].startswith("3.1")


def test_the_document_has_every_endpoint_of_the_emulator_and_no_other() -> None:
    served = {(endpoint.method.lower(), endpoint.path) for endpoint in Emulator().workspace.endpoints}

    documented = {(method, path) for path, told in contract().document["paths"].items() for method in told}
    assert {(method, path.replace("{schedule_id}", "{import_id}")) for method, path in documented} == served


@pytest.mark.parametrize("family", FAMILIES)
def test_moengages_sample_requests_are_valid(family: str) -> None:
    path, samples = FAMILIES[family]
    for sample in samples["requests"]:
        body = json.dumps(filled(sample)["body"]).encode()
        problems = contract().request_problems(operation_of(path), {}, AUTH, body)

        # The reference's own example of a date filter has no date format that its page lists.
        assert [it for it in problems if not it.startswith("body.date.format")] == [], sample


@pytest.mark.parametrize("family", FAMILIES)
def test_moengages_sample_responses_are_valid(family: str) -> None:
    path, samples = FAMILIES[family]
    for sample in samples.get("responses", []):
        body = json.dumps(sample["body"]).encode()

        assert contract().response_problems(operation_of(path), sample["status"], {}, body) == [], sample


def test_moengages_sample_lists_of_business_events_are_valid() -> None:
    samples = load("business_events")["list"]
    listing, search = operation_of("/v5/business-events", "GET"), operation_of("/v5/business-events/search")
    for sample in samples["requests"]:
        asked = search if "body" in sample else listing
        body = json.dumps(sample["body"]).encode() if "body" in sample else b""
        assert contract().request_problems(asked, sample.get("query", {}), AUTH, body) == []
    for sample in samples["responses"]:
        body = json.dumps(sample["body"]).encode()
        assert contract().response_problems(listing, sample["status"], {}, body) == []


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("/v1/transition/WS", {"type": "transition", "elements": []}, "body.elements: []"),
        ("/v1/transition/WS", {"type": "transition", "elements": [{"type": "user"}]}, "body.elements[0].type: "),
        (
            "/v1/transition/WS",
            {"elements": [{"type": "event", "customer_id": "a", "actions": []}]},
            "body: 'type'",
        ),
        (
            "/v1.0/business_event/trigger",
            {"event_name": "Sale"},
            "body: 'event_attributes' is a required property",
        ),
        ("/v5/business-events/triggers", {"event_name": "Sale"}, "body: 'triggered_by' is a required property"),
        (f"{IMPORTS}/import/run/history", {"offset": 0, "import_id": "i1"}, "body.offset: 0 is not valid"),
    ],
)
def test_a_wrong_request_is_found(path: str, body: Any, problem: str) -> None:
    problems = contract().request_problems(operation_of(path), {}, AUTH, json.dumps(body).encode())

    assert any(it.startswith(problem) for it in problems), problems


@pytest.mark.parametrize("missing", ["authorization", "content-type", "MOE-APPKEY"])
def test_a_missing_header_is_found(missing: str) -> None:
    headers = {name: value for name, value in AUTH.items() if name != missing}

    operation = operation_of(f"{IMPORTS}/import/status")
    assert len(contract().request_problems(operation, {}, headers, b"{}")) == 1


@pytest.mark.parametrize(
    ("status", "headers", "body", "problem"),
    [
        (200, {}, b"<html>", "body: not JSON"),
        (200, {}, b'{"message": "ok"}', "body: "),
        (200, {"x-ratelimit-reset": "soon"}, b'{"status": "success", "message": "ok"}', "x-ratelimit-reset: "),
        (418, {}, b"{}", "status 418: not documented"),
    ],
)
def test_a_wrong_response_is_found(status: int, headers: dict[str, str], body: bytes, problem: str) -> None:
    problems = contract().response_problems(operation_of("/v1/transition/WS"), status, headers, body)

    assert [it[: len(problem)] for it in problems] == [problem]
