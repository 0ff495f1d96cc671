from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

START = 1_700_000_000


def customers(count):
    return [{"type": "customer", "customer_id": f"c{n}", "attributes": {}} for n in range(count)]


def event(actions):
    return {"type": "event", "customer_id": "c", "actions": [{"action": "Buy"}] * actions}


def rate(response):
    return tuple(int(response.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))


def test_the_documented_limit_is_told_in_the_headers(door):
    assert rate(door.bulk(*customers(10))) == (60_000, 59_990, 60)


def test_a_request_that_passes_the_users_limit_is_429_and_not_counted(door, workspace):
    workspace.configure(users_per_minute=10)
    door.bulk(*customers(8))
    response = door.bulk(*customers(3))

    assert response.status_code == 429
    failed = response.json()
    assert (failed["status"], failed["error"]["type"]) == ("fail", "Rate Limits Exceeded")
    assert failed["error"]["request_id"]
    assert (workspace.counts.customers, workspace.counts.throttled) == (8, 1)
    assert door.bulk(*customers(2)).status_code == 200


def test_an_event_element_counts_one_event_an_action_and_no_user(door, workspace):
    workspace.configure(events_per_minute=5, users_per_minute=1)

    assert rate(door.bulk(event(3)))[:2] == (5, 2)
    assert door.bulk(event(3)).status_code == 429
    assert door.bulk(event(2)).status_code == 200


def test_a_device_counts_one_user(door):
    device = {
        "type": "device",
        "customer_id": "c",
        "device_id": "d",
        "attributes": {"platform": "iOS", "push_id": "p"},
    }
    assert rate(door.bulk(device, *customers(1)))[1] == 59_998


def test_a_request_that_fits_one_budget_only_spends_neither(door, workspace):
    workspace.configure(users_per_minute=10, events_per_minute=2)

    assert door.bulk(*customers(1), event(3)).status_code == 429
    assert rate(door.bulk(*customers(1)))[:2] == (10, 9)


def test_the_window_slides(door, workspace, clock):
    workspace.configure(users_per_minute=10)
    door.bulk(*customers(6))
    clock.now += 30
    door.bulk(*customers(4))

    clock.now += 29.9
    assert door.bulk(*customers(1)).status_code == 429
    clock.now += 0.1
    assert door.bulk(*customers(6)).status_code == 200
    assert door.bulk(*customers(1)).status_code == 429


def test_429_tells_when_the_request_will_fit(door, workspace, clock):
    workspace.configure(users_per_minute=10)
    door.bulk(*customers(6))
    clock.now += 20
    door.bulk(*customers(4))
    clock.now += 0.5

    assert rate(door.bulk(*customers(6))) == (10, 0, 40)
    assert rate(door.bulk(*customers(7))) == (10, 0, 60)


def test_a_request_over_the_whole_limit_never_fits(door, workspace):
    workspace.configure(users_per_minute=10)
    response = door.bulk(*customers(11))
    assert (response.status_code, rate(response)) == (429, (10, 10, 60))


def test_headers_tell_of_the_tighter_budget_that_the_request_touches(door, workspace):
    workspace.configure(users_per_minute=100, events_per_minute=10)

    assert rate(door.bulk(*customers(1), event(1)))[:2] == (10, 9)
    assert rate(door.bulk(*customers(1)))[:2] == (100, 98)


def test_a_refused_request_tells_of_the_limit_and_spends_nothing(door, workspace):
    workspace.configure(users_per_minute=10)
    refused = door.bulk({"type": "nothing"})

    assert (refused.status_code, rate(refused)) == (400, (10, 10, 0))
    assert rate(door.bulk(*customers(1)))[1] == 9


def test_reset_can_be_epoch_seconds(door, workspace, clock):
    workspace.configure(reset_header="epoch")
    clock.now += 0.5
    assert rate(door.bulk(*customers(1)))[2] == START + 61


@pytest.mark.parametrize("reading", ["none", "seconds", "date"])
def test_retry_after_of_a_429(door, workspace, reading):
    workspace.configure(users_per_minute=1, retry_after=reading)
    accepted, throttled = door.bulk(*customers(1)), door.bulk(*customers(1))

    assert "Retry-After" not in accepted.headers
    value = throttled.headers.get("Retry-After")
    if reading == "date":
        assert parsedate_to_datetime(value).timestamp() == START + 60
    else:
        assert value == {"none": None, "seconds": "60"}[reading]


def test_envoy_429_carries_no_limit_and_no_reset(door, workspace):
    workspace.configure(users_per_minute=1, envoy=True)
    accepted, throttled = door.bulk(*customers(1)), door.bulk(*customers(1))

    assert accepted.headers["x-ratelimit-remaining"] == "0"
    assert throttled.headers["x-envoy-ratelimited"] == "true"
    assert not [name for name in throttled.headers if name.lower().startswith("x-ratelimit")]


def test_a_lifted_limit_lets_all_through_and_sends_no_headers(door, workspace):
    workspace.configure(users_per_minute=None, events_per_minute=None)
    response = door.bulk(*customers(200))

    assert response.status_code == 200
    assert not [name for name in response.headers if name.lower().startswith("x-ratelimit")]


def test_a_limit_can_be_changed_while_it_runs(door, workspace):
    door.bulk(*customers(10))
    workspace.configure(users_per_minute=10)
    assert door.bulk(*customers(1)).status_code == 429
    workspace.configure(users_per_minute=11)
    assert door.bulk(*customers(1)).status_code == 200
