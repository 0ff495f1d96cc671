"""The list and the search of business events (v5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_moengage.emulator import BusinessEvent, Fault

if TYPE_CHECKING:
    import requests

    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock


@pytest.fixture(autouse=True)
def events(workspace: Workspace) -> None:
    workspace.add_business_event(BusinessEvent("Sale", {"city": "string", "price": "number"}, ("c1", "c2")))
    workspace.add_business_event(BusinessEvent("Flight, late"))


def names(response: requests.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [event["name"] for event in response.json()["data"]]


def error_target(response: requests.Response) -> Any:
    assert response.status_code == 400
    return response.json()["error"]["target"]


def test_an_event_is_listed_with_its_schema(client: Client) -> None:
    body = client.list_events(name="Sale").json()

    assert (body["type"], len(body["response_id"]), body["pagination"]) == (
        "business-events",
        12,
        {"has_more": False},
    )
    (event,) = body["data"]
    assert len(event.pop("id")) == 24
    assert event == {
        "name": "Sale",
        "attributes": [
            {"name": "city", "data_type": "string"},
            {"name": "price", "data_type": "number"},
        ],
        "campaign_count": 0,
        "trigger_count": 0,
        "created_by": "emulator@example.com",
        "created_at": "2023-11-14T22:13:20Z",
    }


def test_an_event_is_listed_with_its_trigger_and_campaign_counts(client: Client, clock: FakeClock) -> None:
    client.trigger_v1("Sale")
    clock.now += 60
    client.trigger_v5("Sale")

    (event,) = client.list_events(name="Sale").json()["data"]
    assert (event["trigger_count"], event["campaign_count"]) == (2, 4)
    assert event["last_triggered_at"] == "2023-11-14T22:14:20Z"


def test_events_are_found_by_name_or_id(client: Client) -> None:
    event_id = client.list_events(name="Sale").json()["data"][0]["id"]

    assert names(client.list_events()) == ["Sale", "Flight, late"]
    assert names(client.list_events(id=event_id)) == ["Sale"]
    assert names(client.list_events(name="sale")) == []
    assert names(client.search_events({"filters": {"names": ["Flight, late", "Nothing"]}})) == ["Flight, late"]
    assert names(client.search_events({"filters": {"ids": [event_id]}})) == ["Sale"]
    assert names(client.search_events({})) == ["Sale", "Flight, late"]


def test_a_search_without_a_body_returns_all_events(client: Client) -> None:
    auth = ("EMULATOR", "emulator-campaign-key")
    assert len(names(client.raw(b"", path="/v5/business-events/search", auth=auth))) == 2


@pytest.mark.parametrize("by", ["list_events", "search_events"])
def test_pages_hold_20_events_and_continue_from_a_cursor(client: Client, workspace: Workspace, by: str) -> None:
    for number in range(43):
        workspace.add_business_event(BusinessEvent(f"e{number}"))

    def page(query: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        response = client.list_events(**query) if by == "list_events" else client.search_events(query)
        return names(response), response.json()["pagination"]

    sizes, seen = [], []
    query: dict[str, Any] = {}
    while True:
        found, pagination = page(query)
        sizes.append(len(found))
        seen += found
        if not pagination["has_more"]:
            break
        query = {"cursor": pagination["next_cursor"]}

    assert sizes == [20, 20, 5]
    assert seen == ["Sale", "Flight, late", *[f"e{number}" for number in range(43)]]
    assert "next_cursor" not in pagination


def test_limit_makes_pages_smaller(client: Client) -> None:
    first = client.list_events(limit=1).json()
    assert [event["name"] for event in first["data"]] == ["Sale"]
    rest = client.search_events({"limit": 1, "cursor": first["pagination"]["next_cursor"]})
    assert names(rest) == ["Flight, late"]


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ({"name": "Sale", "id": "x"}, "id"),
        ({"limit": 21}, "limit"),
        ({"limit": 0}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "eyJsYXN0X2lkIjoieCJ9"}, "cursor"),
    ],
)
def test_the_error_for_an_invalid_list_request_names_the_parameter(
    client: Client, query: dict[str, Any], target: str
) -> None:
    assert error_target(client.list_events(**query)) == target


@pytest.mark.parametrize(
    ("payload", "target"),
    [
        ({"filters": {"names": ["Sale"], "ids": ["x"]}}, "filters.ids"),
        ({"filters": {"names": "Sale"}}, "filters.names"),
        ({"filters": {"ids": [1]}}, "filters.ids"),
        ({"filters": []}, "filters"),
        ({"filters": 1}, "filters"),
        ({"limit": True}, "limit"),
        ({"cursor": 1}, "cursor"),
        ([], "body"),
    ],
)
def test_the_error_for_an_invalid_search_names_the_field(client: Client, payload: Any, target: str) -> None:
    assert error_target(client.search_events(payload)) == target


def test_a_search_that_is_not_json_is_400(client: Client) -> None:
    auth = ("EMULATOR", "emulator-campaign-key")
    path = "/v5/business-events/search"
    assert error_target(client.raw(b"{", path=path, auth=auth)) == "body"
    assert (
        error_target(client.raw(b"{}", path=path, auth=auth, headers={"Content-Type": "text/plain"}))
        == "Content-Type"
    )


def test_the_data_key_is_401_in_the_format_of_the_list(client: Client, workspace: Workspace) -> None:
    response = client.session.get(f"{client.url}/v5/business-events", timeout=5)

    assert response.status_code == 401
    assert response.json()["error"] == {
        "code": "UNAUTHORIZED",
        "message": "Missing or invalid authentication credentials.",
        "target": "Authorization",
    }
    workspace.configure(one_key=True)
    assert client.session.get(f"{client.url}/v5/business-events", timeout=5).status_code == 200


def test_the_list_is_limited_to_60_requests_per_minute(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.configure(retry_after="seconds")
    assert {client.list_events(name="Sale").status_code for _ in range(60)} == {200}
    response = client.list_events(name="Sale")

    assert (response.status_code, response.headers["Retry-After"]) == (429, "60")
    assert response.json()["error"]["message"] == "Workspace rate limit exceeded. Retry after 60 seconds."
    assert workspace.counts.throttled == 1
    assert client.search_events({}).status_code == 200
    clock.now += 60
    assert client.list_events(name="Sale").status_code == 200


def test_the_search_has_its_own_rate_limit(client: Client, workspace: Workspace) -> None:
    workspace.configure(search_quota=((1, 60),))
    assert [client.search_events({}).status_code for _ in range(2)] == [200, 429]
    assert client.list_events().status_code == 200


def test_faults_hit_the_list_and_the_list_triggers_nothing(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=500, path="/v5/business-events"))
    assert client.list_events().json()["error"]["code"] == "INTERNAL_ERROR"
    client.list_events()
    assert (workspace.counts.firings, workspace.counts.requests, workspace.counts.accepted_requests) == (0, 2, 0)


def test_the_request_id_is_echoed(client: Client) -> None:
    response = client.session.get(
        f"{client.url}/v5/business-events",
        headers={"X-MOE-Request-Id": "trace"},
        auth=("EMULATOR", "emulator-campaign-key"),
        timeout=5,
    )
    assert (response.json()["response_id"], response.headers["X-MOE-Request-Id"]) == ("trace", "trace")
