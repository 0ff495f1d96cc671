from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import requests

    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

START = 1_700_000_000


def customers(count: int) -> list[dict[str, Any]]:
    return [{"type": "customer", "customer_id": f"c{n}", "attributes": {}} for n in range(count)]


def event(actions: int) -> dict[str, Any]:
    return {"type": "event", "customer_id": "c", "actions": [{"action": "Buy"}] * actions}


def rate(response: requests.Response) -> tuple[int, ...]:
    return tuple(int(response.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))


def test_the_headers_contain_the_documented_limit(client: Client) -> None:
    assert rate(client.bulk(*customers(10))) == (60_000, 59_990, 60)


def test_a_request_over_the_user_limit_is_429_and_not_counted(client: Client, workspace: Workspace) -> None:
    workspace.configure(users_per_minute=10)
    client.bulk(*customers(8))
    response = client.bulk(*customers(3))

    assert response.status_code == 429
    failed = response.json()
    assert (failed["status"], failed["error"]["type"]) == ("fail", "Rate Limits Exceeded")
    assert failed["error"]["request_id"]
    assert (workspace.counts.customers, workspace.counts.throttled) == (8, 1)
    assert client.bulk(*customers(2)).status_code == 200


def test_an_event_element_counts_one_event_per_action_and_no_user(client: Client, workspace: Workspace) -> None:
    workspace.configure(events_per_minute=5, users_per_minute=1)

    assert rate(client.bulk(event(3)))[:2] == (5, 2)
    assert client.bulk(event(3)).status_code == 429
    assert client.bulk(event(2)).status_code == 200


def test_a_device_counts_one_user(client: Client) -> None:
    device = {
        "type": "device",
        "customer_id": "c",
        "device_id": "d",
        "attributes": {"platform": "iOS", "push_id": "p"},
    }
    assert rate(client.bulk(device, *customers(1)))[1] == 59_998


def test_a_request_over_one_limit_uses_neither(client: Client, workspace: Workspace) -> None:
    workspace.configure(users_per_minute=10, events_per_minute=2)

    assert client.bulk(*customers(1), event(3)).status_code == 429
    assert rate(client.bulk(*customers(1)))[:2] == (10, 9)


def test_the_window_slides(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    workspace.configure(users_per_minute=10)
    client.bulk(*customers(6))
    clock.now += 30
    client.bulk(*customers(4))

    clock.now += 29.9
    assert client.bulk(*customers(1)).status_code == 429
    clock.now += 0.1
    assert client.bulk(*customers(6)).status_code == 200
    assert client.bulk(*customers(1)).status_code == 429


def test_the_reset_header_of_a_429_says_when_the_request_will_fit(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.configure(users_per_minute=10)
    client.bulk(*customers(6))
    clock.now += 20
    client.bulk(*customers(4))
    clock.now += 0.5

    assert rate(client.bulk(*customers(6))) == (10, 0, 40)
    assert rate(client.bulk(*customers(7))) == (10, 0, 60)


def test_a_request_over_the_whole_limit_never_fits(client: Client, workspace: Workspace) -> None:
    workspace.configure(users_per_minute=10)
    response = client.bulk(*customers(11))
    assert (response.status_code, rate(response)) == (429, (10, 10, 60))


def test_headers_describe_the_tighter_limit_of_the_request(client: Client, workspace: Workspace) -> None:
    workspace.configure(users_per_minute=100, events_per_minute=10)

    assert rate(client.bulk(*customers(1), event(1)))[:2] == (10, 9)
    assert rate(client.bulk(*customers(1)))[:2] == (100, 98)


def test_a_refused_request_has_limit_headers_but_does_not_use_the_limit(
    client: Client, workspace: Workspace
) -> None:
    workspace.configure(users_per_minute=10)
    refused = client.bulk({"type": "nothing"})

    assert (refused.status_code, rate(refused)) == (400, (10, 10, 0))
    assert rate(client.bulk(*customers(1)))[1] == 9


def test_reset_can_be_epoch_seconds(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    workspace.configure(reset_header="epoch")
    clock.now += 0.5
    assert rate(client.bulk(*customers(1)))[2] == START + 61


@pytest.mark.parametrize("reading", ["none", "seconds", "date"])
def test_retry_after_of_a_429(client: Client, workspace: Workspace, reading: str) -> None:
    workspace.configure(users_per_minute=1, retry_after=reading)
    accepted, throttled = client.bulk(*customers(1)), client.bulk(*customers(1))

    assert "Retry-After" not in accepted.headers
    value = throttled.headers.get("Retry-After")
    if reading == "date":
        assert value
        assert parsedate_to_datetime(value).timestamp() == START + 60
    else:
        assert value == {"none": None, "seconds": "60"}[reading]


def test_an_envoy_429_has_no_limit_headers(client: Client, workspace: Workspace) -> None:
    workspace.configure(users_per_minute=1, envoy=True)
    accepted, throttled = client.bulk(*customers(1)), client.bulk(*customers(1))

    assert accepted.headers["x-ratelimit-remaining"] == "0"
    assert throttled.headers["x-envoy-ratelimited"] == "true"
    assert not [name for name in throttled.headers if name.lower().startswith("x-ratelimit")]


def test_without_a_limit_everything_is_accepted_without_headers(client: Client, workspace: Workspace) -> None:
    workspace.configure(users_per_minute=None, events_per_minute=None)
    response = client.bulk(*customers(200))

    assert response.status_code == 200
    assert not [name for name in response.headers if name.lower().startswith("x-ratelimit")]


def test_a_limit_can_be_changed_while_the_server_runs(client: Client, workspace: Workspace) -> None:
    client.bulk(*customers(10))
    workspace.configure(users_per_minute=10)
    assert client.bulk(*customers(1)).status_code == 429
    workspace.configure(users_per_minute=11)
    assert client.bulk(*customers(1)).status_code == 200
