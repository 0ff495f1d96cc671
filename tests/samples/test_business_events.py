"""MoEngage API reference, "Business Events", v1 and v5: its samples."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
import requests

from airflow_provider_moengage.api.business_events import (
    TriggerRequest,
    read_trigger_reply,
)
from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.api.event_schemas import read_schemas
from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.received.values import Received
from airflow_provider_moengage.api.trigger_outcomes import TriggerOutcome
from airflow_provider_moengage.emulator import BusinessEvent
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from tests.api.loopback import answer, loopback
from tests.delivering import MoEngage, connection_to
from tests.samples.samples import cases, load
from tests.task import Task

SAMPLES = load("business_events")
BOTH = [("v1", SAMPLES["v1"]), ("v5", SAMPLES["v5"])]
REQUESTS = [(version, sample["body"]) for version, samples in BOTH for sample in samples["requests"]]
PATHS = {"v1": "/v1.0/business_event/trigger", "v5": "/v5/business-events/triggers"}
CAMPAIGN_AUTH = ("EMULATOR", "emulator-campaign-key")


@pytest.fixture
def workspace(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> MoEngage:
    """A workspace with the events of the samples."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(connected, extra={"campaign_api_key": CAMPAIGN_AUTH[1]})
    )
    workspace = connected.emulator.workspace
    workspace.clear_business_events()
    for _, body in REQUESTS:
        workspace.add_business_event(BusinessEvent(body["event_name"], None, ("c1",), ("f1",)))
    return connected


def arguments(version: str, body: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in body.items() if name != "moe_request_id"}
    return {**given, "api_version": version}


@pytest.mark.parametrize(("version", "body"), REQUESTS, ids=["v1", "v5"])
def test_the_operator_sends_the_sample_request(workspace: MoEngage, version: str, body: dict[str, Any]) -> None:
    BusinessEventOperator(task_id="fire", **arguments(version, body)).execute(Task().context)

    [firing] = workspace.emulator.workspace.firings
    assert (firing.event_name, firing.event_attributes) == (body["event_name"], body["event_attributes"])
    assert firing.triggered_by == body["triggered_by"]


@pytest.mark.parametrize(("version", "body"), REQUESTS, ids=["v1", "v5"])
def test_the_hook_sends_the_sample_request_as_it_is(version: str, body: dict[str, Any]) -> None:
    request_id = body.get("moe_request_id", "550e8400-e29b-41d4-a716-446655440000")
    request = TriggerRequest(**arguments(version, body), request_id=request_id)

    assert json.loads(request.encode()) == body


@pytest.mark.parametrize(("version", "body"), REQUESTS, ids=["v1", "v5"])
def test_the_emulator_accepts_the_sample_request(workspace: MoEngage, version: str, body: dict[str, Any]) -> None:
    url = workspace.emulator.url + PATHS[version]
    response = requests.post(url, json=body, auth=CAMPAIGN_AUTH, timeout=5)

    assert response.status_code == 200
    assert len(workspace.emulator.workspace.firings) == 1


READ_AS = {
    200: TriggerOutcome.TRIGGERED,
    400: TriggerOutcome.REFUSED,
    401: TriggerOutcome.DENIED,
    429: TriggerOutcome.OVER_QUOTA,
    500: TriggerOutcome.UNKNOWN,
}
BY_SAMPLE = {"partial_success": TriggerOutcome.PARTIAL, "failed": TriggerOutcome.OVER_QUOTA}


@pytest.mark.parametrize(("version", "samples"), BOTH, ids=["v1", "v5"])
def test_the_responses_are_read_as_what_their_pages_say(version: str, samples: dict[str, Any]) -> None:
    [sent] = samples["requests"]
    request = TriggerRequest(**arguments(version, sent["body"]))
    for sample in samples["responses"]:
        body = sample["body"]
        raw = json.dumps(body).encode()
        reply = read_trigger_reply(sample["status"], {}, raw, request=request, scrub=Scrub(()), now=0.0)

        assert reply.outcome is BY_SAMPLE.get(sample["sample"], READ_AS[sample["status"]]), sample
        said = body.get("message") or (body.get("error") or {}).get("message")
        assert said is None or said in (reply.message or "")
        data = body.get("data", {})
        for name in ("triggered_campaign_ids", "failed_campaign_ids", "triggered_flow_ids", "failed_flow_ids"):
            assert list(getattr(reply, name)) == data.get(name, [])


@pytest.mark.parametrize("sample", cases(SAMPLES["list"]["requests"]))
def test_the_emulator_answers_the_sample_queries(workspace: MoEngage, sample: dict[str, Any]) -> None:
    url = f"{workspace.emulator.url}/v5/business-events"
    if "body" in sample:
        response = requests.post(f"{url}/search", json=sample["body"], auth=CAMPAIGN_AUTH, timeout=5)
    else:
        response = requests.get(url, params=sample["query"], auth=CAMPAIGN_AUTH, timeout=5)

    if "cursor" in sample.get("query", {}):  # of a page that this workspace has never sent
        assert (response.status_code, response.json()["error"]["target"]) == (400, "cursor")
    else:
        assert (response.status_code, response.json()["type"]) == (200, "business-events")


def test_the_list_is_read_with_its_types_and_its_cursor() -> None:
    [page] = [sample for sample in SAMPLES["list"]["responses"] if sample["status"] == 200]

    [schema], cursor = read_schemas(Received(page["body"], Scrub(())))

    assert schema.name == "price_drop"
    assert schema.attributes == {"product_id": "string", "new_price": "number"}
    assert cursor == page["body"]["pagination"]["next_cursor"]


FAILURES = [sample for sample in SAMPLES["list"]["responses"] if sample["status"] != 200]


@pytest.mark.parametrize("sample", cases(FAILURES))
def test_a_failure_of_the_list_is_an_error_with_its_status(sample: dict[str, Any]) -> None:
    from airflow_provider_moengage.api.client import MoEngageClient
    from airflow_provider_moengage.api.workspace import Workspace

    with loopback(answer(sample["status"], json.dumps(sample["body"]).encode())) as server:
        client = MoEngageClient(Workspace("WS", "key", base_url=server.url, timeout=5.0))
        with closing(client), pytest.raises(ApiError, match=str(sample["status"])):
            client.find_business_event("price_drop")


def test_check_event_finds_the_sample_event(workspace: MoEngage) -> None:
    body = SAMPLES["v5"]["requests"][0]["body"]
    kinds: Any = {"product_id": "string", "new_price": "number", "dropped_at": "datetime"}
    workspace.emulator.workspace.add_business_event(BusinessEvent(body["event_name"], kinds, ("c1",)))

    MoEngageHook().check_business_event(body["event_name"], body["event_attributes"])
