from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_moengage.emulator import Fault

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

ALICE = {"type": "customer", "customer_id": "alice", "attributes": {"u_fn": "Alice"}}
PURCHASE = {
    "type": "event",
    "customer_id": "alice",
    "actions": [
        {"action": "Purchase", "attributes": {"price": 5}, "current_time": "2020-05-31T16:33:35Z"},
        {"action": "Review"},
    ],
}
PHONE = {
    "type": "device",
    "customer_id": "bob",
    "device_id": "d1",
    "attributes": {"platform": "ANDROID", "push_id": "p1"},
}


def test_a_valid_request_gets_the_documented_response(client: Client) -> None:
    response = client.bulk(ALICE, PURCHASE, PHONE)

    assert response.status_code == 200
    body = response.json()
    assert body.pop("request_id")
    assert body == {
        "status": "success",
        "message": "Your request has been accepted and will be processed soon.",
    }


def test_accepted_elements_are_counted_by_type_and_kept_in_order(client: Client, workspace: Workspace) -> None:
    client.bulk(ALICE, PURCHASE)
    client.bulk(PHONE)

    counts = workspace.counts
    assert (counts.customers, counts.events, counts.devices, counts.actions) == (1, 1, 1, 2)
    assert (counts.elements, counts.requests, counts.accepted_requests) == (3, 2, 2)
    assert counts.users == 2
    assert [tuple(received) for received in workspace.elements] == [
        (1, 0, ALICE),
        (1, 1, PURCHASE),
        (2, 0, PHONE),
    ]


def test_a_request_record_describes_the_request(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    clock.now += 7
    response = client.bulk(ALICE, PURCHASE)

    (record,) = workspace.requests
    assert (record.number, record.received_at, record.path) == (1, clock.now, "/v1/transition/EMULATOR")
    assert (record.status, record.accepted, record.fault) == (200, True, None)
    assert (record.elements, record.users, record.events) == (2, 1, 2)
    assert record.size == int(response.request.headers["Content-Length"]) == workspace.counts.bytes


def test_the_workspace_may_be_named_in_the_query(client: Client, workspace: Workspace) -> None:
    assert client.bulk(ALICE, path="/v1/transition?app_id=EMULATOR").status_code == 200
    assert workspace.counts.customers == 1


@pytest.mark.parametrize(
    ("login", "password"),
    [("EMULATOR", "wrong"), ("OTHER", "emulator-data-key"), ("EMULATOR", "emulator-campaign-key")],
)
def test_wrong_credentials_are_401(client: Client, workspace: Workspace, login: str, password: str) -> None:
    client.session.auth = (login, password)
    response = client.bulk(ALICE)

    assert response.status_code == 401
    assert response.json()["status"] == "fail"
    assert workspace.counts.accepted_requests == 0
    assert workspace.counts.refused == 1


@pytest.mark.parametrize("authorization", ["", "Bearer abc", "Basic ???", "Basic bm9jb2xvbg==", "Basic /w=="])
def test_an_invalid_authorization_header_is_401(client: Client, authorization: str) -> None:
    client.session.auth = lambda request: request
    assert client.bulk(ALICE, headers={"Authorization": authorization}).status_code == 401


def test_an_unknown_workspace_is_401(client: Client) -> None:
    assert client.bulk(ALICE, path="/v1/transition/NOBODY").status_code == 401
    assert client.bulk(ALICE, path="/v1/transition").status_code == 401


def test_an_app_key_that_differs_from_the_path_is_409(client: Client) -> None:
    response = client.bulk(ALICE, headers={"MOE-APPKEY": "OTHER"})

    assert response.status_code == 409
    assert response.json()["error"]["type"] == "Authentication Mismatch"


def test_the_right_app_key_is_accepted(client: Client) -> None:
    assert client.bulk(ALICE, headers={"MOE-APPKEY": "EMULATOR"}).status_code == 200


def test_a_content_type_that_is_not_json_is_415(client: Client) -> None:
    assert client.bulk(ALICE, headers={"Content-Type": "text/plain"}).status_code == 415


def test_a_content_type_with_charset_is_accepted(client: Client) -> None:
    assert client.bulk(ALICE, headers={"Content-Type": "application/json; charset=utf-8"}).status_code == 200


def _body_of(size: int) -> bytes:
    frame = (
        b'{"type":"transition","elements":[{"type":"customer","customer_id":"a","attributes":{"x":"', b'"}}]}'
    )  # fmt: skip
    return frame[0] + b"x" * (size - len(b"".join(frame))) + frame[1]


def test_a_body_of_exactly_100_000_bytes_is_accepted(client: Client) -> None:
    assert client.raw(_body_of(100_000)).status_code == 200


def test_a_body_over_100_000_bytes_is_400(client: Client, workspace: Workspace) -> None:
    response = client.raw(_body_of(100_001))

    assert response.status_code == 400
    assert response.json()["error"]["message"] == "Payload too large"
    assert workspace.counts.accepted_requests == 0


def test_a_body_over_128_kb_is_413(client: Client) -> None:
    assert client.raw(_body_of(131_072)).status_code == 400
    response = client.raw(_body_of(131_073))
    assert response.status_code == 413
    assert response.json()["error"]["message"] == "Payload too large"


def test_body_limits_and_their_statuses_can_be_configured(client: Client, workspace: Workspace) -> None:
    workspace.configure(body_limit=500, body_limit_status=200, hard_body_limit=1000, hard_body_limit_status=400)

    assert client.raw(_body_of(500)).json()["status"] == "success"
    soft, hard = client.raw(_body_of(501)), client.raw(_body_of(1001))
    assert (soft.status_code, soft.json()["status"]) == (200, "fail")
    assert (hard.status_code, hard.json()["status"]) == (400, "fail")


def test_body_limits_can_be_removed(client: Client, workspace: Workspace) -> None:
    workspace.configure(body_limit=None, hard_body_limit=None)
    assert client.raw(_body_of(500_000)).status_code == 200


def _without(element: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in element.items() if key != name}


def _action(**action: Any) -> dict[str, Any]:
    return {"type": "event", "customer_id": "a", "actions": [action]}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", ("Empty request body", "Empty request body", None)),
        (b'{"type":', ("Malformed JSON", "Malformed JSON", None)),
        (b'{"type":"transition","elements":[NaN]}', ("Malformed JSON", "Malformed JSON", None)),
        (b"\xff", ("Malformed JSON", "Malformed JSON", None)),
        (b'{"type":"transition","elements":["\xff"]}', ("Malformed JSON", "Malformed JSON", None)),
        (b"[]", ("TypeError", "expected object", None)),
        (b'{"elements":[]}', ("AttributeError", "type should be transition", "type")),
        (
            b'{"type":"transition"}',
            ("MissingAttributeError", "elements not found in the payload", "elements"),
        ),
        (b'{"type":"transition","elements":{}}', ("TypeError", "expected array", "elements")),
        (
            b'{"type":"transition","elements":[]}',
            ("MissingAttributeError", "elements cannot be empty array", "elements"),
        ),
    ],
)
def test_a_body_that_is_not_a_bulk_request_is_refused(
    client: Client, body: bytes, error: tuple[str, str, str | None]
) -> None:
    response = client.raw(body)

    assert response.status_code == 400
    failed = response.json()
    assert failed["status"] == "fail"
    assert failed["error"]["request_id"]
    assert (failed["error"]["type"], failed["error"]["message"], failed["error"].get("attribute")) == error


@pytest.mark.parametrize(
    ("element", "error"),
    [
        (7, ("AttributeError", "type in elements should be customer/event/device", "type")),
        (
            {**ALICE, "type": "Customer"},
            ("AttributeError", "type in elements should be customer/event/device", "type"),
        ),
        (
            _without(ALICE, "type"),
            ("AttributeError", "type in elements should be customer/event/device", "type"),
        ),
        (
            _without(ALICE, "customer_id"),
            ("MissingAttributeError", "customer_id not found in the payload", "customer_id"),
        ),
        ({**ALICE, "customer_id": 42}, ("TypeError", "expected string", "customer_id")),
        ({**ALICE, "customer_id": None}, ("TypeError", "expected string", "customer_id")),
        (
            {"type": "device", "customer_id": "u", "device_id": "d"},
            ("MissingAttributeError", "attributes not found in the payload", "attributes"),
        ),
        (
            {
                "type": "customer",
                "customer_id": "u",
                "attributes": {"addValueToArrayField": {"t": 1}, "removeValueFromArrayField": {"t": 2}},
            },
            ("ArrayFieldError", "Cannot add and remove values of t at the same time", "t"),
        ),
        (
            {"type": "customer", "customer_id": "u", "attributes": {"addValueToArrayField": {"t": 1}, "t": [2]}},
            ("ArrayFieldError", "Cannot set and update t at the same time", "t"),
        ),
        (
            {"type": "customer", "customer_id": "u", "attributes": {"removeValueFromArrayField": {"u_em": 1}}},
            ("ArrayFieldError", "Cannot update reserved attribute u_em", "u_em"),
        ),
        (
            {
                "type": "device",
                "customer_id": "u",
                "device_id": "d",
                "attributes": {"platform": "Windows", "push_id": "p"},
            },
            ("AttributeError", "platform should be ANDROID/iOS/web/TV", "platform"),
        ),
        ({**ALICE, "attributes": []}, ("TypeError", "expected object", "attributes")),
        (
            _without(PURCHASE, "customer_id"),
            ("MissingAttributeError", "customer_id not found in the payload", "customer_id"),
        ),
        (
            _without(PURCHASE, "actions"),
            ("MissingAttributeError", "actions not found in the payload", "actions"),
        ),
        (
            {**PURCHASE, "actions": []},
            ("MissingAttributeError", "actions cannot be empty array", "actions"),
        ),
        ({**PURCHASE, "actions": {}}, ("TypeError", "expected array", "actions")),
        ({**PURCHASE, "actions": ["Purchase"]}, ("TypeError", "expected object", "actions")),
        (_action(action=""), ("MissingAttributeError", "action cannot be empty Unicode string", "action")),
        (_action(), ("MissingAttributeError", "action cannot be empty Unicode string", "action")),
        (_action(action=7), ("TypeError", "expected string", "action")),
        (_action(action="Buy", attributes="x"), ("TypeError", "expected object", "attributes")),
        (
            _without(PHONE, "device_id"),
            ("MissingAttributeError", "device_id not found in the payload", "device_id"),
        ),
        (
            {**PHONE, "attributes": {"platform": "iOS"}},
            ("MissingAttributeError", "push_id not found in the payload", "push_id"),
        ),
        (
            {**PHONE, "attributes": {"push_id": "p"}},
            ("MissingAttributeError", "platform not found in the payload", "platform"),
        ),
    ],
)
def test_an_invalid_element_refuses_the_whole_request_without_its_position(
    client: Client, workspace: Workspace, element: Any, error: tuple[str, str, str | None]
) -> None:
    response = client.bulk(ALICE, element, ALICE)

    assert response.status_code == 400
    failed = response.json()["error"]
    assert (failed["type"], failed["message"], failed["attribute"]) == error
    assert set(failed) == {"attribute", "message", "type", "request_id"}
    counts = workspace.counts
    assert (counts.refused, counts.elements, len(workspace.elements)) == (1, 0, 0)


def test_a_setting_returns_refusals_as_200(client: Client, workspace: Workspace) -> None:
    workspace.configure(failures_as_200=True)
    response = client.bulk({**ALICE, "customer_id": 42})

    assert (response.status_code, response.json()["status"]) == (200, "fail")
    assert workspace.counts.accepted_requests == 0


@pytest.mark.parametrize(
    ("status", "error_type"),
    [
        (401, "Authentication required"),
        (403, "Account Suspended"),
        (409, "Authentication Mismatch"),
        (413, "Payload too large"),
        (415, "Unsupported Media Type"),
        (429, "Rate Limits Exceeded"),
        (500, "Server Error"),
        (502, "Bad Gateway"),
    ],
)
@pytest.mark.parametrize(("setting", "wrapper"), [("failures_as_200", 200), ("failures_as_400", 400)])
def test_a_setting_wraps_every_injected_failure(
    client: Client, workspace: Workspace, status: int, error_type: str, setting: str, wrapper: int
) -> None:
    workspace.add_fault(Fault("status", status=status, times=2))
    assert client.bulk(ALICE).status_code == status
    workspace.configure(**{setting: True})
    response = client.bulk(ALICE)

    assert (response.status_code, response.json()["status"]) == (wrapper, "fail")
    assert response.json()["error"]["type"] == error_type


def test_failures_have_one_wrapper(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="failures_as_200, failures_as_400: expected at most one"):
        workspace.configure(failures_as_200=True, failures_as_400=True)


def test_a_setting_wraps_the_emulators_own_failures(client: Client, workspace: Workspace) -> None:
    workspace.configure(failures_as_200=True, users_per_minute=1, body_limit=500)
    big = {**ALICE, "attributes": {"u_fn": "x" * 500}}
    responses = [
        client.bulk(ALICE),
        client.bulk(ALICE),
        client.bulk(big),
        client.bulk(ALICE, auth=("EMULATOR", "wrong")),
    ]

    assert [response.status_code for response in responses] == [200] * 4
    assert [response.json().get("error", {}).get("type") for response in responses] == [
        None,
        "Rate Limits Exceeded",
        "Payload too large",
        "Authentication Required",
    ]


@pytest.mark.parametrize("customer_id", ["unknown", "guest", "", '""', "(empty)", "n/a", "0", "-1", "2", "none"])
def test_a_refused_customer_id_is_accepted_and_then_dropped(
    client: Client, workspace: Workspace, customer_id: str
) -> None:
    refused = {**ALICE, "customer_id": customer_id}
    assert client.bulk(refused, ALICE).status_code == 200

    counts = workspace.counts
    assert counts.dropped == {customer_id: 1}
    assert (counts.customers, counts.users) == (2, 1)


def test_events_of_a_refused_customer_id_are_not_counted_by_day(client: Client, workspace: Workspace) -> None:
    client.bulk({**PURCHASE, "customer_id": "guest"})

    counts = workspace.counts
    assert (counts.dropped, counts.events_by_day, counts.actions) == ({"guest": 1}, {}, 2)


def test_a_user_without_id_needs_identity_resolution(client: Client, workspace: Workspace) -> None:
    by_email = {"type": "customer", "attributes": {"u_em": "a@example.com"}}
    assert client.bulk(by_email).status_code == 400

    workspace.configure(identifiers=("u_em",))
    assert client.bulk(by_email, by_email).status_code == 200
    assert client.bulk({"type": "customer", "attributes": {"u_fn": "A"}}).status_code == 400
    assert workspace.counts.users == 1


def test_an_event_may_identify_its_user_by_identifiers(client: Client, workspace: Workspace) -> None:
    event = {"type": "event", "user_identifiers": {"u_em": "a@example.com"}, "actions": [{"action": "Buy"}]}
    assert client.bulk(event).status_code == 200
    assert workspace.counts.users == 1


@pytest.mark.breaks_contract
@pytest.mark.parametrize(
    ("current_time", "day"),
    [
        ("2020-05-31T16:33:35Z", "2020-05-31"),
        ("2020-05-31T16:33:35.123456Z", "2020-05-31"),
        ("2020-05-31T23:30:00-05:00", "2020-06-01"),
        ("2020-05-31T16:33:35", "2020-05-31"),
        (1590942815, "2020-05-31"),
        (1590942815.5, "2020-05-31"),
        ("1590942815", "2020-05-31"),
        ("1590942815123", "2020-05-31"),
        (1590942815123, "2020-05-31"),
        (0, "1970-01-01"),
        ("-86400", "1969-12-31"),
        (None, "arrival"),
        ("yesterday", "unreadable"),
        ("", "unreadable"),
        ([], "unreadable"),
        (1e300, "unreadable"),
    ],
)
def test_events_are_counted_by_their_day_in_utc(
    client: Client, workspace: Workspace, current_time: Any, day: str
) -> None:
    client.bulk(_action(action="Buy", current_time=current_time))
    assert workspace.counts.events_by_day == {("Buy", day): 1}


AHEAD = 1_700_000_001
"""A second after the emulator's time."""


@pytest.mark.parametrize(
    "moment",
    [
        {"current_time": AHEAD},
        {"current_time": f"{AHEAD}000"},
        {"current_time": "2023-11-14T22:13:21Z"},
        {"current_time": "2023-11-14T22:13:20.5"},
        {"current_time": "2023-11-15T00:13:21+02:00"},
        {"current_time": AHEAD, "user_time": 0},
        {"user_time": "2023-11-14T22:13:21", "user_timezone_offset": 0},
        {"user_time": "2023-11-15T00:13:21Z", "user_timezone_offset": 7_200},
        {"user_time": AHEAD + 54_000},
    ],
)
def test_an_event_in_the_future_is_accepted_and_then_dropped(
    client: Client, workspace: Workspace, moment: dict[str, Any]
) -> None:
    assert client.bulk(_action(action="Buy", **moment)).status_code == 200

    counts = workspace.counts
    assert (counts.future_events, counts.events_by_day, counts.users) == (1, {}, 0)
    assert (counts.events, counts.actions, len(workspace.elements)) == (1, 1, 1)


@pytest.mark.parametrize(
    "moment",
    [
        {"current_time": AHEAD - 1},
        {"current_time": "2023-11-15T00:13:20+02:00"},
        {"user_time": "2023-11-15T00:13:20", "user_timezone_offset": 7_200},
        {"user_time": AHEAD + 53_999},
        pytest.param({"user_time": AHEAD, "user_timezone_offset": 1e9}, marks=pytest.mark.breaks_contract),
    ],
)
def test_an_event_of_the_present_is_kept(client: Client, workspace: Workspace, moment: dict[str, Any]) -> None:
    client.bulk(_action(action="Buy", **moment))

    counts = workspace.counts
    assert (counts.future_events, sum(counts.events_by_day.values()), counts.users) == (0, 1, 1)


def test_of_an_event_only_the_actions_in_the_future_are_dropped(client: Client, workspace: Workspace) -> None:
    actions = [{"action": "Buy", "current_time": AHEAD}, {"action": "View", "current_time": 1_600_000_000}]
    client.bulk({"type": "event", "customer_id": "ann", "actions": actions})
    client.bulk({"type": "event", "customer_id": "guest", "actions": actions})

    counts = workspace.counts
    assert (counts.future_events, counts.dropped, counts.users) == (1, {"guest": 1}, 1)
    assert counts.events_by_day == {("View", "2020-09-13"): 1}


def test_a_setting_refuses_events_in_the_future(client: Client, workspace: Workspace) -> None:
    workspace.configure(future_events="refuse")
    response = client.bulk(ALICE, _action(action="Buy", current_time=AHEAD))

    assert (response.status_code, response.json()["error"]["attribute"]) == (400, "current_time")
    assert (workspace.counts.elements, workspace.counts.refused) == (0, 1)


def test_an_event_without_a_time_is_counted_under_arrival(client: Client, workspace: Workspace) -> None:
    client.bulk(PURCHASE)
    assert workspace.counts.events_by_day == {("Purchase", "2020-05-31"): 1, ("Review", "arrival"): 1}


def test_other_methods_and_paths_get_a_json_error(client: Client, workspace: Workspace) -> None:
    assert client.session.get(f"{client.url}/v1/transition/EMULATOR").status_code == 405
    response = client.session.post(f"{client.url}/v1/nothing")
    assert (response.status_code, response.json()["error"]["message"]) == (404, "Resource not found")
    assert workspace.counts.requests == 0


def test_an_event_with_the_users_time_alone_happened_then(workspace: Workspace, client: Client) -> None:
    action = {"action": "Buy", "user_time": "2020-05-31T16:33:35Z"}

    client.bulk({"type": "event", "customer_id": "u", "actions": [action]})

    assert workspace.counts.events_by_day == {("Buy", "2020-05-31"): 1}


def test_a_customer_may_have_nothing_but_an_id(workspace: Workspace, client: Client) -> None:
    assert client.bulk({"type": "customer", "customer_id": "u"}).status_code == 200
    assert workspace.counts.customers == 1
