"""The list and the search of business events (v5)."""

from __future__ import annotations

import pytest

from airflow_provider_moengage.emulator import BusinessEvent, Fault


@pytest.fixture(autouse=True)
def events(workspace):
    workspace.add_business_event(BusinessEvent("Sale", {"city": "string", "price": "number"}, ("c1", "c2")))
    workspace.add_business_event(BusinessEvent("Flight, late"))


def names(response):
    assert response.status_code == 200, response.text
    return [event["name"] for event in response.json()["data"]]


def error(response):
    assert response.status_code == 400
    return response.json()["error"]["target"]


def test_an_event_comes_with_its_schema(door):
    body = door.list_events(name="Sale").json()

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


def test_an_event_tells_how_often_it_fired(door, clock):
    door.trigger_v1("Sale")
    clock.now += 60
    door.trigger_v5("Sale")

    (event,) = door.list_events(name="Sale").json()["data"]
    assert (event["trigger_count"], event["campaign_count"]) == (2, 4)
    assert event["last_triggered_at"] == "2023-11-14T22:14:20Z"


def test_events_are_found_by_name_or_id(door):
    event_id = door.list_events(name="Sale").json()["data"][0]["id"]

    assert names(door.list_events()) == ["Sale", "Flight, late"]
    assert names(door.list_events(id=event_id)) == ["Sale"]
    assert names(door.list_events(name="sale")) == []
    assert names(door.search_events({"filters": {"names": ["Flight, late", "Nothing"]}})) == ["Flight, late"]
    assert names(door.search_events({"filters": {"ids": [event_id]}})) == ["Sale"]
    assert names(door.search_events({})) == ["Sale", "Flight, late"]


def test_a_search_needs_no_body(door):
    auth = ("EMULATOR", "emulator-campaign-key")
    assert len(names(door.raw(b"", path="/v5/business-events/search", auth=auth))) == 2


@pytest.mark.parametrize("by", ["list_events", "search_events"])
def test_pages_hold_20_and_go_on_from_a_cursor(door, workspace, by):
    for number in range(43):
        workspace.add_business_event(BusinessEvent(f"e{number}"))

    def page(query):
        response = door.list_events(**query) if by == "list_events" else door.search_events(query)
        return names(response), response.json()["pagination"]

    sizes, seen, query = [], [], {}
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


def test_a_page_can_be_smaller(door):
    first = door.list_events(limit=1).json()
    assert [event["name"] for event in first["data"]] == ["Sale"]
    rest = door.search_events({"limit": 1, "cursor": first["pagination"]["next_cursor"]})
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
def test_a_wrong_list_request_is_400_that_names_the_parameter(door, query, target):
    assert error(door.list_events(**query)) == target


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
def test_a_wrong_search_is_400_that_names_the_field(door, payload, target):
    assert error(door.search_events(payload)) == target


def test_a_search_that_is_not_json_is_400(door):
    auth = ("EMULATOR", "emulator-campaign-key")
    path = "/v5/business-events/search"
    assert error(door.raw(b"{", path=path, auth=auth)) == "body"
    assert error(door.raw(b"{}", path=path, auth=auth, headers={"Content-Type": "text/plain"})) == "Content-Type"


def test_the_data_key_is_401_in_words_of_the_list(door, workspace):
    response = door.session.get(f"{door.url}/v5/business-events", timeout=5)

    assert response.status_code == 401
    assert response.json()["error"] == {
        "code": "UNAUTHORIZED",
        "message": "Missing or invalid authentication credentials.",
        "target": "Authorization",
    }
    workspace.configure(one_key=True)
    assert door.session.get(f"{door.url}/v5/business-events", timeout=5).status_code == 200


def test_the_list_takes_60_requests_a_minute(door, workspace, clock):
    workspace.configure(retry_after="seconds")
    assert {door.list_events(name="Sale").status_code for _ in range(60)} == {200}
    response = door.list_events(name="Sale")

    assert (response.status_code, response.headers["Retry-After"]) == (429, "60")
    assert response.json()["error"]["message"] == "Workspace rate limit exceeded. Retry after 60 seconds."
    assert workspace.counts.throttled == 1
    assert door.search_events({}).status_code == 200
    clock.now += 60
    assert door.list_events(name="Sale").status_code == 200


def test_the_search_has_a_limit_of_its_own(door, workspace):
    workspace.configure(search_quota=((1, 60),))
    assert [door.search_events({}).status_code for _ in range(2)] == [200, 429]
    assert door.list_events().status_code == 200


def test_a_list_fires_nothing_and_is_hit_by_faults(door, workspace):
    workspace.add_fault(Fault("status", status=500, path="/v5/business-events"))
    assert door.list_events().json()["error"]["code"] == "INTERNAL_ERROR"
    door.list_events()
    assert (workspace.counts.firings, workspace.counts.requests, workspace.counts.accepted_requests) == (0, 2, 0)


def test_the_request_id_is_echoed(door):
    response = door.session.get(
        f"{door.url}/v5/business-events",
        headers={"X-MOE-Request-Id": "trace"},
        auth=("EMULATOR", "emulator-campaign-key"),
        timeout=5,
    )
    assert (response.json()["response_id"], response.headers["X-MOE-Request-Id"]) == ("trace", "trace")
