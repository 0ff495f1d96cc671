"""``POST /v1/integrations/cohortsync`` of the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from airflow_provider_moengage.emulator import Fault
from tests.emulator.client import WORKSPACE_ID

if TYPE_CHECKING:
    import requests

    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

PATH = "/v1/integrations/cohortsync"


def body_of(*members: Any, action: Any = "add_members", **parameters: Any) -> bytes:
    given = {"cohort_id": "c1", "cohort_name": "Likely to leave", "members": [{"uid": each} for each in members]}
    return msgspec.json.encode({"action": action, "partner": "tests", "parameters": {**given, **parameters}})


def send(client: Client, body: bytes, app_key: str | None = WORKSPACE_ID) -> requests.Response:
    headers = {} if app_key is None else {"MOE-APPKEY": app_key}
    return client.raw(body, path=PATH, headers=headers)


def error_type(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["type"]


def test_members_are_added_and_removed_and_repeats_change_nothing(client: Client, workspace: Workspace) -> None:
    for _ in range(2):
        response = send(client, body_of("ann", "bob", "eve"))
        assert (response.status_code, response.json()["status"]) == (200, "success")
    for _ in range(2):
        assert send(client, body_of("bob", "nobody", action="remove_members")).status_code == 200

    assert workspace.segments == {"c1": {"ann", "eve"}}


def test_the_control_api_shows_a_segment(client: Client) -> None:
    assert client.control("GET", "segments?id=c1").json() == {"segment": None}
    for action in ("add_members", "add_members", "remove_members"):
        send(client, body_of("ann", *([] if action == "remove_members" else ["bob"]), action=action))

    assert client.control("GET", "segments?id=c1").json()["segment"] == {
        "id": "c1",
        "name": "Likely to leave",
        "description": "",
        "members": ["bob"],
        "added": 4,
        "removed": 1,
    }
    assert client.control("GET", "segments").status_code == 400


def test_a_removal_creates_no_segment(client: Client, workspace: Workspace) -> None:
    assert send(client, body_of("ann", action="remove_members")).status_code == 200
    assert workspace.segments == {}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", "Malformed JSON"),
        (b"[]", "TypeError"),
        (b"{}", "MissingAttributeError"),
        (body_of("ann", action=None), "MissingAttributeError"),
        (body_of("ann", action="remove_member"), "AttributeError"),
        (body_of("ann", cohort_id=""), "MissingAttributeError"),
        (body_of("ann", cohort_name=7), "TypeError"),
        (body_of("ann", cohort_description=7), "TypeError"),
        (body_of(), "MissingAttributeError"),
        (body_of("ann", ""), "MissingAttributeError"),
        (body_of("ann", 7), "TypeError"),
        (body_of(members=["ann"]), "MissingAttributeError"),
    ],
)
def test_a_wrong_body_is_refused_as_a_whole(client: Client, workspace: Workspace, body: bytes, error: str) -> None:
    assert error_type(send(client, body)) == (400, error)
    assert workspace.segments == {}


def test_the_header_names_the_workspace(client: Client) -> None:
    assert error_type(send(client, body_of("ann"), None)) == (400, "Missing header value")
    assert error_type(send(client, body_of("ann"), "OTHER")) == (409, "Authentication Mismatch")


def test_a_body_may_have_128_kb(client: Client, workspace: Workspace) -> None:
    assert workspace.settings.cohort_body_limit == 128_000
    full = 128_000 - len(body_of(""))
    assert send(client, body_of("x" * full)).status_code == 200
    assert error_type(send(client, body_of("x" * (full + 1)))) == (413, "Payload too large")


def test_300_requests_a_minute_are_accepted(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    assert workspace.settings.cohort_quota == ((300, 60),)
    workspace.configure(cohort_quota=[[2, 60]], retry_after="seconds")
    first = send(client, body_of("ann"))
    assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("2", "1")
    assert [send(client, body_of("ann")).status_code for _ in range(2)] == [200, 429]

    throttled = send(client, body_of("ann"))

    assert error_type(throttled) == (429, "Rate Limits Exceeded")
    assert throttled.headers["retry-after"] == "60"
    clock.now += 60
    assert send(client, body_of("ann")).status_code == 200


def test_faults_hit_it(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("refuse", customer_id="bob"))
    assert send(client, body_of("ann", "bob")).status_code == 400
    assert send(client, body_of("ann")).status_code == 200
    workspace.clear_faults()
    workspace.add_fault(Fault("status_after", status=502, path=PATH))
    assert send(client, body_of("eve")).status_code == 502
    assert workspace.segments == {"c1": {"ann", "eve"}}


def test_the_page_shows_segments_and_members_until_a_reset(client: Client, workspace: Workspace) -> None:
    from airflow_provider_moengage.emulator.dashboard.snapshot import snapshot

    send(client, body_of(*"abcdef"))
    send(client, body_of("a", action="remove_members"))

    shown = snapshot(workspace)["segments"]
    assert shown["shown"] == [
        {
            "id": "c1",
            "name": "Likely to leave",
            "members": 5,
            "added": 6,
            "removed": 1,
            "first": ["b", "c", "d", "e", "f"],
        }
    ]
    assert shown["quota"] == [{"seconds": 60, "limit": 300, "used": 2}]
    workspace.reset()
    assert workspace.segments == {}
