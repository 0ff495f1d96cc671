"""The emulator's failures and quirks, which ordinary traffic does not show: each is a form that is documented."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import requests

from airflow_provider_moengage.emulator import (
    BusinessEvent,
    Campaign,
    Emulator,
    Fault,
    FileImport,
    ImportFile,
    Settings,
)
from tests.openapi.contract import contract

WORKSPACE_ID = "EMULATOR"
DATA_AUTH, CAMPAIGN_AUTH = (WORKSPACE_ID, "emulator-data-key"), (WORKSPACE_ID, "emulator-campaign-key")
ELEMENTS = [{"type": "customer", "customer_id": "ann", "attributes": {"tier": "gold"}}]
DONE = ImportFile("users_{run}.csv", steps=((0, "PARTIAL_SUCCESS"),), total_rows=9, failed_rows=2)

BODIES: dict[str, Any] = {
    "/v1/transition/{workspace_id}": {"type": "transition", "elements": ELEMENTS},
    "/v1/transition": {"type": "transition", "elements": ELEMENTS},
    "/v1/customer/delete": {"identity_type": "customer_id", "identity_value": "ann"},
    "/v1/opengdpr_requests/{workspace_id}": {
        "request_type": "erasure",
        "submitted_time": "2026-11-01T00:00:00Z",
        "identities": [{"identity_type": "ID", "identity_value": "ann"}],
        "api_version": "1.0",
    },
    "/v1/customers/export": {
        "data": {
            "identifiers": [{"identifier_type": "customer_id", "identifier": user} for user in ("ann", "bea")]
        }
    },
    "/v1/integrations/cohortsync": {
        "action": "add_members",
        "partner": "tests",
        "parameters": {"cohort_id": "c1", "cohort_name": "Likely to leave", "members": [{"uid": "ann"}]},
    },
    "/v1/integrations/authentication": {
        "app_id": WORKSPACE_ID,
        "app_secret": DATA_AUTH[1],
        "source": "tests",
        "region": "01",
    },
    "/v1.0/business_event/trigger": {"event_name": "Sale", "event_attributes": {}},
    "/v5/business-events/triggers": {"event_name": "Sale", "triggered_by": "ops@example.com"},
    "/v5/business-events": None,
    "/v5/business-events/search": {"filters": {"names": ["Sale"]}, "limit": 20},
    "/v1.0/data/fileimports/trigger/{schedule_id}": None,
    "/v1.0/data/fileimports/import/run/history": {"import_id": "i1"},
    "/v1.0/data/fileimports/import/status": {},
    "/core-services/v1/campaign-stats": {
        "request_id": "r1",
        "start_date": "2026-11-01",
        "end_date": "2026-11-30",
        "attribution_type": "VIEW_THROUGH",
        "metric_type": "TOTAL",
    },
    "/v5/campaigns/search": {"limit": 15, "page": 1, "include_child_campaigns": True},
}
"""A valid request to each endpoint."""

IN_QUERY = ("/v1/transition", "/v1/customer/delete", "/v1/customers/export")
"""Endpoints whose query names the workspace."""

OPERATIONS = [(method.upper(), path) for path, told in contract().document["paths"].items() for method in told]
FAILURES = [
    (method, path, int(status))
    for method, path in OPERATIONS
    for status in contract().document["paths"][path][method.lower()]["responses"]
    if status != "200"
]


@pytest.fixture(scope="module")
def shared_emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Emulator:
    workspace = shared_emulator.workspace
    workspace.reset()
    workspace.clear_file_imports()
    workspace.configure(**msgspec.structs.asdict(Settings()))
    workspace.add_business_event(BusinessEvent("Sale", {"city": "string"}, ("c1", "c2"), ("f1",)))
    workspace.add_file_import(FileImport("i1", "Users", files=(DONE,)))
    workspace.add_campaign(Campaign("Weekly offer", control_groups=True))
    send(shared_emulator, "POST", "/v1/transition", BODIES["/v1/transition"])  # a user who can be deleted
    return shared_emulator


def send(emulator: Emulator, method: str, path: str, body: Any, **options: Any) -> tuple[int, list[str]]:
    """Return the status of an answer, and what is wrong with it."""
    url = path.replace("{workspace_id}", WORKSPACE_ID).replace("{schedule_id}", "i1")
    given: dict[str, Any] = {
        "auth": CAMPAIGN_AUTH if "business" in path or "campaign" in path else DATA_AUTH,
        "headers": {"MOE-APPKEY": WORKSPACE_ID, "Content-Type": "application/json"},
        "params": {"app_id": WORKSPACE_ID} if path in IN_QUERY else {},
        "data": None if body is None else msgspec.json.encode(body),
        **options,
    }
    response = requests.request(method, emulator.url + url, timeout=5, **given)
    operation = contract().find(method, url)
    assert operation is not None
    problems = contract().response_problems(operation, response.status_code, response.headers, response.content)
    is_accepted = response.status_code == 200 and response.json().get("status") not in ("fail", "error")
    if is_accepted:
        sent = response.request
        problems += contract().request_problems(operation, given["params"], sent.headers, given["data"] or b"")
    return response.status_code, problems


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_valid_request_succeeds(emulator: Emulator, method: str, path: str) -> None:
    assert send(emulator, method, path, BODIES[path]) == (200, [])


@pytest.mark.parametrize(("method", "path", "status"), FAILURES)
def test_each_documented_failure_has_its_form(emulator: Emulator, method: str, path: str, status: int) -> None:
    emulator.workspace.add_fault(Fault("status", status=status))

    assert send(emulator, method, path, BODIES[path]) == (status, [])


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_wrong_key_has_its_form(emulator: Emulator, method: str, path: str) -> None:
    for auth in (None, (WORKSPACE_ID, "wrong"), ("OTHER", "wrong")):
        assert send(emulator, method, path, BODIES[path], auth=auth) == (401, [])


@pytest.mark.parametrize(("method", "path"), [it for it in OPERATIONS if BODIES[it[1]] is not None])
def test_a_body_that_is_not_json_or_is_too_large_has_its_form(emulator: Emulator, method: str, path: str) -> None:
    for data, status in ((b"{", 400), (b'{"a": "%s"}' % (b"x" * 140_000), 413)):
        code, problems = send(emulator, method, path, None, data=data)
        assert (code in (status, 400), problems) == (True, [])


QUIRKS: list[dict[str, Any]] = [
    {"failures_as_200": True},
    {"failures_as_400": True},
    {"future_events": "refuse"},
    {"test_connection_errors_as_200": True},
    {"reset_header": "epoch"},
    {"retry_after": "date"},
    {"envoy": True},
    {"v1_failures_as_200": True},
    {"v5_failures_name_started": True},
    {"v5_details": "target"},
    {"v5_over_quota": "429"},
    {"file_numbers_as_text": True},
    {"file_null_data": True},
    {"file_data": "items"},
    {"file_data": "nowhere"},
    {"file_dates": "refuse"},
    {"file_not_found": "message"},
    {"file_partial_word": "PARTIAL_FAILURE"},
    {"file_no_match": "missing"},
    {"export_not_found": "ids"},
    {"export_enabled": False},
    {"body_limit_status": 413, "body_limit": 100},
    {"hard_body_limit_status": 400, "hard_body_limit": 100},
]
LITTLE = {
    "users_per_minute": 1,
    "v1_trigger_quota": [[1, 60]],
    "v5_campaign_quota": [[1, 60]],
    "list_quota": [[1, 60]],
    "search_quota": [[1, 60]],
    "file_history_quota": [[1, 60]],
    "file_imports_quota": [[1, 60]],
    "campaign_stats_quota": [[1, 60]],
    "campaign_search_quota": [[1, 60]],
    "delete_quota": [[1, 60]],
    "export_quota": [[2, 60]],
    "opengdpr_quota": [[1, 60]],
    "cohort_quota": [[1, 60]],
}
WRONG: dict[str, Any] = {
    "/v1/transition/{workspace_id}": {"type": "transition", "elements": [{"type": "nobody"}]},
    "/v1/customer/delete": {"identity_type": "email", "identity_value": "ann"},
    "/v1/opengdpr_requests/{workspace_id}": {"request_type": "erasure", "identities": []},
    "/v1/customers/export": {"data": {"identifiers": []}},
    "/v1/integrations/cohortsync": {"action": "add_members"},
    "/v1/integrations/authentication": {"app_id": WORKSPACE_ID},
    "/v1.0/business_event/trigger": {"event_name": "Sale", "event_attributes": {"town": "Graz"}},
    "/v5/business-events/triggers": {"event_name": "Sale", "triggered_by": "nobody", "event_attributes": {"a": 1}},
    "/v5/business-events/search": {"limit": 0},
    "/v1.0/data/fileimports/import/run/history": {"import_id": "i1", "file_status": ["SUCCESSFUL"], "offset": 9},
    "/v1.0/data/fileimports/import/status": {"offset": 9},
    "/core-services/v1/campaign-stats": {"request_id": "r1", "start_date": "2026-11-31"},
    "/v5/campaigns/search": {"limit": 16},
}


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: next(iter(quirk)))
def test_each_quirk_is_a_documented_form(emulator: Emulator, quirk: dict[str, Any]) -> None:
    """Twice for each endpoint, with limits that are spent by the second time, and once with a wrong body."""
    emulator.workspace.configure(**LITTLE, **quirk)
    emulator.workspace.run_file_import("i1")
    problems = []
    for method, path in OPERATIONS:
        for body in (BODIES[path], BODIES[path], WRONG.get(path, BODIES[path])):
            problems += send(emulator, method, path, body)[1]

    assert problems == []
