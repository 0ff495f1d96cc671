from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_moengage.emulator import BusinessEvent, Fault

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client

BUY = {"type": "event", "customer_id": "a", "actions": [{"action": "Buy"}]}


def customer(customer_id: str) -> dict[str, Any]:
    return {"type": "customer", "customer_id": customer_id, "attributes": {}}


def test_the_summary_contains_the_counts(client: Client) -> None:
    client.bulk(customer("a"), customer("guest"), BUY)
    summary = client.control("GET", "summary").json()

    assert summary["workspace_id"] == "EMULATOR"
    assert (summary["customers"], summary["events"], summary["users"]) == (2, 1, 1)
    assert (summary["dropped"], summary["events_by_day"]) == ({"guest": 1}, {"Buy": {"arrival": 1}})
    assert summary["pending_faults"] == 0


def test_control_requests_are_not_counted(client: Client, workspace: Workspace) -> None:
    client.control("GET", "summary")
    assert workspace.counts.requests == 0


def test_since_returns_only_later_requests(client: Client) -> None:
    for name in "abc":
        client.bulk(customer(name))

    records = client.control("GET", "requests?since=1").json()["requests"]
    assert [record["number"] for record in records] == [2, 3]
    assert (records[0]["status"], records[0]["accepted"], records[0]["elements"]) == (200, True, 1)


def test_elements_can_be_paged_through_across_requests(client: Client) -> None:
    client.bulk(customer("a"), customer("b"))
    client.bulk(customer("c"))
    seen, since = [], 0
    while page := client.control("GET", f"elements?since={since}&limit=2").json():
        since = page["next"]
        if not page["elements"]:
            break
        seen.append([(it["request"], it["position"], it["element"]["customer_id"]) for it in page["elements"]])

    assert seen == [[(1, 0, "a"), (1, 1, "b")], [(2, 0, "c")]]
    assert since == 3


def test_paging_continues_after_elements_were_discarded(client: Client, workspace: Workspace) -> None:
    workspace.configure(keep_elements=2)
    client.bulk(*map(customer, "abcd"))

    page = client.control("GET", "elements?since=1").json()
    assert [it["element"]["customer_id"] for it in page["elements"]] == ["c", "d"]
    assert page["next"] == 4


def test_a_fault_can_be_added_listed_and_cleared(client: Client, workspace: Workspace) -> None:
    ordered = client.control("POST", "faults", {"kind": "status", "status": 503, "times": 2})
    assert ordered.status_code == 200
    assert workspace.faults == (Fault("status", times=2, status=503),)
    assert client.bulk(customer("a")).status_code == 503
    assert client.control("GET", "faults").json()["faults"][0]["times"] == 1

    assert client.control("DELETE", "faults").json() == {"faults": []}
    assert client.bulk(customer("a")).status_code == 200


@pytest.mark.parametrize(
    "payload", [{"kind": "nothing"}, {"kind": "status", "tmies": 2}, {"kind": "refuse"}, [], None]
)
def test_a_wrong_fault_is_400(client: Client, workspace: Workspace, payload: Any) -> None:
    response = client.control("POST", "faults", payload)
    assert response.status_code == 400
    assert response.json()["error"].startswith("fault: ")
    assert workspace.faults == ()


def test_settings_can_be_read_and_changed(client: Client, workspace: Workspace) -> None:
    changed = client.control("POST", "settings", {"users_per_minute": None, "reset_header": "epoch"}).json()

    assert (changed["users_per_minute"], changed["reset_header"]) == (None, "epoch")
    assert client.control("GET", "settings").json() == changed
    assert workspace.settings.users_per_minute is None


@pytest.mark.parametrize(
    "payload",
    [
        {"users_per_minute": 0},
        {"users_per_minute": "many"},
        {"reset_header": "days"},
        {"file_time_zone": "Mars/Base"},
        {"file_time_zone": None},
        {"nothing": 1},
        {"v5_campaign_quota": [[0, 300]]},
        {"v5_campaign_quota": [10, 300]},
        {"self": 1},
        7,
    ],
)
def test_a_wrong_setting_is_400_and_changes_nothing(client: Client, workspace: Workspace, payload: Any) -> None:
    before = workspace.settings
    assert client.control("POST", "settings", payload).status_code == 400
    assert workspace.settings == before


def test_settings_contain_no_keys(client: Client) -> None:
    shown = client.control("GET", "settings").text
    assert "emulator-data-key" not in shown
    assert "emulator-campaign-key" not in shown


def test_a_business_event_can_be_defined_changed_and_deleted(client: Client, workspace: Workspace) -> None:
    sale = {"name": "Sale", "attributes": {"city": "string"}, "campaigns": ["c1"], "flows": ["f1"]}
    assert client.control("POST", "business_events", sale).json() == {"business_events": [sale]}
    assert workspace.business_events == (BusinessEvent("Sale", {"city": "string"}, ("c1",), ("f1",)),)

    client.control("POST", "business_events", {"name": "Sale", "attributes": None})
    assert workspace.business_events == (BusinessEvent("Sale", None),)
    assert client.control("GET", "business_events").json()["business_events"][0]["campaigns"] == []
    assert client.control("DELETE", "business_events").json() == {"business_events": []}


@pytest.mark.parametrize(
    "payload", [{}, {"name": ""}, {"name": "Sale", "attributes": {"city": "text"}}, {"name": "S", "nothing": 1}]
)
def test_a_wrong_business_event_is_400(client: Client, workspace: Workspace, payload: Any) -> None:
    response = client.control("POST", "business_events", payload)
    assert (response.status_code, response.json()["error"][:16]) == (400, "business event: ")
    assert workspace.business_events == ()


def test_since_returns_only_later_firings(client: Client, workspace: Workspace) -> None:
    workspace.add_business_event(BusinessEvent("Sale", {"city": "string"}, ("c1", "c2"), ("f1",)))
    client.trigger_v1("Sale", {"city": "Graz"}, triggered_by="ops@example.com")
    client.trigger_v5("Sale", headers={"X-MOE-Request-Id": "my-trace"})

    firings = client.control("GET", "firings").json()["firings"]
    assert firings[0] == {
        "number": 1,
        "received_at": 1_700_000_000.0,
        "version": "v1",
        "event_name": "Sale",
        "event_attributes": {"city": "Graz"},
        "triggered_by": "ops@example.com",
        "request_id": None,
        "campaign_ids": ["c1", "c2"],
        "flow_ids": ["f1"],
        "skipped_campaign_ids": [],
        "skipped_flow_ids": [],
        "project_code": None,
    }
    assert client.control("GET", "firings?since=1").json()["firings"] == firings[1:]
    assert (firings[1]["version"], firings[1]["request_id"]) == ("v5", "my-trace")
    summary = client.control("GET", "summary").json()
    assert (summary["firings"], summary["campaigns_started"], summary["flows_started"]) == (2, 4, 2)


JSON = {"Content-Type": "application/json"}


def send(client: Client, body: bytes, path: str = "faults", headers: Mapping[str, str] = JSON) -> tuple[int, str]:
    response = requests.post(f"{client.url}/_emulator/{path}", data=body, headers=dict(headers), timeout=5)
    return response.status_code, response.json().get("error", "")


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"kind": "\xff"}', b"[" * 100_000])
def test_a_body_that_is_not_json_is_400(client: Client, body: bytes) -> None:
    status, error = send(client, body)

    assert (status, error[:6]) == (400, "body: ")


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
@pytest.mark.parametrize(
    "path", ["faults", "settings", "business_events", "file_imports", "file_imports/run", "reset"]
)
def test_a_body_that_is_not_declared_as_json_is_415(
    client: Client, workspace: Workspace, path: str, media_type: str
) -> None:
    workspace.add_fault(Fault("status", status=500))

    status, error = send(client, b"{}", path, {"Content-Type": media_type})

    assert (status, error) == (415, "Content-Type: expected application/json")
    assert len(workspace.faults) == 1


def test_a_body_without_a_media_type_is_415(client: Client) -> None:
    assert send(client, b"{}", headers={})[0] == 415


def test_json_with_a_character_set_is_accepted(client: Client) -> None:
    assert send(client, b"{}", "settings", {"Content-Type": "Application/JSON; charset=utf-8"})[0] == 200


def nested(levels: int) -> bytes:
    return b'{"kind": "status", "body": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (nested(20), "fault: "),
        (nested(21), "body: expected at most 20 levels"),
        (b"[" * 50_000 + b"]" * 50_000, "body: JSON is nested too deep"),
    ],
)
def test_a_body_may_have_twenty_levels(client: Client, body: bytes, told: str) -> None:
    status, error = send(client, body)

    assert (status, error[: len(told)]) == (400, told)


@pytest.mark.parametrize(("size", "status"), [(1_000_000, 200), (1_000_001, 413)])
def test_a_body_may_have_a_million_bytes(client: Client, workspace: Workspace, size: int, status: int) -> None:
    body = b'{"kind": "status", "body": "%s"}' % (b"x" * (size - 30))

    assert (len(body), send(client, body)[0]) == (size, status)
    assert len(workspace.faults) == (status == 200)


def test_what_arrived_is_for_the_emulators_own_page_only(client: Client) -> None:
    headers = client.control("GET", "connection").headers

    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_a_since_that_is_not_a_number_is_400(client: Client) -> None:
    response = client.control("GET", "requests?since=x")
    assert (response.status_code, "since" in response.json()["error"]) == (400, True)


def test_reset_clears_everything_except_settings_and_business_events(client: Client, workspace: Workspace) -> None:
    workspace.configure(users_per_minute=1)
    client.bulk(customer("a"))
    workspace.add_business_event(BusinessEvent("Sale", campaigns=("c1",)))
    client.trigger_v1("Sale")
    workspace.add_fault(Fault("status"))
    assert client.control("POST", "reset").status_code == 200

    assert (workspace.counts.requests, len(workspace.elements), workspace.faults) == (0, 0, ())
    assert (workspace.counts.firings, workspace.firings) == (0, [])
    assert workspace.settings.users_per_minute == 1
    assert client.trigger_v1("Sale").status_code == 200
    assert client.bulk(customer("a")).status_code == 200


def test_health_and_the_home_page_respond(client: Client) -> None:
    assert client.control("GET", "health").json() == {"status": "ok"}
    home = requests.get(client.url, timeout=5)
    assert home.headers["Content-Type"].startswith("text/plain")
    assert "/_emulator/summary" in home.text


def test_an_unknown_workspace_is_404(client: Client) -> None:
    assert client.control("GET", "summary?workspace=NOBODY").status_code == 404
