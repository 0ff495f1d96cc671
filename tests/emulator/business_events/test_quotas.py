"""Quotas of business events: above them, v1 refuses the trigger and v5 skips campaigns."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_moengage.emulator import BusinessEvent
from airflow_provider_moengage.emulator.limits import Quota

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

START = 1_700_000_000
HOUR, DAY = 3_600, 86_400
THROTTLED = {
    "status": "error",
    "data": {
        "code": 429,
        "title": "rate limiter exception",
        "description": "Exceeded rate limit for this app",
    },
}


@pytest.fixture(autouse=True)
def events(workspace: Workspace) -> None:
    workspace.add_business_event(BusinessEvent("Sale", campaigns=("c1",)))
    workspace.add_business_event(BusinessEvent("Tour", campaigns=("c1", "c2", "c3"), flows=("f1", "f2")))
    workspace.add_business_event(BusinessEvent("Flow", flows=("f1",)))


def statuses(trigger: Callable[[str], requests.Response], count: int, name: str = "Sale") -> list[int]:
    return [trigger(name).status_code for _ in range(count)]


def outcome(response: requests.Response) -> tuple[str, int, int]:
    assert response.status_code == 200
    data = response.json()["data"]
    return data["triggered_status"], data["summary"]["triggered"], data["summary"]["failed"]


def test_v1_accepts_50_triggers_per_hour(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    assert statuses(client.trigger_v1, 50) == [200] * 50
    response = client.trigger_v1("Sale")

    assert (response.status_code, response.json()) == (429, THROTTLED)
    assert (workspace.counts.firings, workspace.counts.throttled) == (50, 1)
    clock.now += HOUR - 1
    assert client.trigger_v1("Sale").status_code == 429
    clock.now += 1
    assert client.trigger_v1("Sale").status_code == 200


def test_v1_accepts_200_triggers_per_day(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    for _ in range(4):
        assert statuses(client.trigger_v1, 50) == [200] * 50
        clock.now += HOUR
    assert client.trigger_v1("Sale").status_code == 429
    clock.now = START + DAY
    assert client.trigger_v1("Sale").status_code == 200


def test_v1_starts_5_flows_per_hour_and_refuses_further_triggers(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    assert statuses(client.trigger_v1, 3, "Tour") == [200, 200, 429]
    assert (workspace.counts.campaigns_started, workspace.counts.flows_started) == (6, 4)
    assert statuses(client.trigger_v1, 2, "Flow") == [200, 429]
    assert client.trigger_v1("Sale").status_code == 200
    clock.now += HOUR
    assert client.trigger_v1("Tour").status_code == 200


def test_v5_skips_campaigns_beyond_10_in_5_minutes(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    workspace.configure(v5_flow_quota=None)
    outcomes = [outcome(client.trigger_v5("Tour")) for _ in range(5)]

    assert outcomes[:3] == [("SUCCESS", 5, 0)] * 3
    assert outcomes[3:] == [("PARTIAL_SUCCESS", 3, 2), ("PARTIAL_SUCCESS", 2, 3)]
    assert workspace.counts.campaigns_started == 10
    partial = workspace.firings[3]
    assert (partial.campaign_ids, partial.skipped_campaign_ids) == (("c1",), ("c2", "c3"))
    assert outcome(client.trigger_v5("Sale")) == ("FAILURE", 0, 1)
    clock.now += 300
    assert outcome(client.trigger_v5("Sale")) == ("SUCCESS", 1, 0)


def test_v5_lists_skipped_campaigns_and_flows(client: Client) -> None:
    client.trigger_v5("Tour")
    data = client.trigger_v5("Tour").json()["data"]

    assert (data["triggered_campaign_ids"], data["failed_campaign_ids"]) == (["c1", "c2", "c3"], [])
    assert (data["triggered_flow_ids"], data["failed_flow_ids"]) == (["f1"], ["f2"])
    assert data["summary"] == {"total": 5, "triggered": 4, "failed": 1}


def test_v5_returns_200_failure_if_everything_is_skipped(client: Client, workspace: Workspace) -> None:
    workspace.configure(v5_campaign_quota=((1, 300),))
    client.trigger_v5("Sale")
    response = client.trigger_v5("Sale")
    data = response.json()["data"]

    assert (response.status_code, data["triggered_status"]) == (200, "FAILURE")
    assert data["message"] == "The business event has been triggered"
    assert data["summary"] == {"total": 1, "triggered": 0, "failed": 1}
    assert data["failed_campaign_ids"] == ["c1"]
    assert "Retry-After" not in response.headers
    assert (workspace.counts.firings, workspace.counts.refused, workspace.counts.throttled) == (1, 1, 0)


def test_v5_starts_50_campaigns_per_hour_and_200_per_day(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.add_business_event(BusinessEvent("Ten", campaigns=tuple(f"c{number}" for number in range(10))))

    def started_in_an_hour(hour: int) -> int:
        triggered = 0
        for window in range(6):
            clock.now = START + hour * HOUR + window * 300
            triggered += outcome(client.trigger_v5("Ten"))[1]
        return triggered

    assert [started_in_an_hour(hour) for hour in (0, 2, 4, 6, 8)] == [50, 50, 50, 50, 0]
    clock.now = START + DAY
    assert outcome(client.trigger_v5("Ten")) == ("SUCCESS", 10, 0)


def test_v5_starts_3_flows_per_hour_and_10_per_day(client: Client, clock: FakeClock) -> None:
    started = []
    for window in range(5):
        clock.now = START + window * HOUR
        started.append(sum(outcome(client.trigger_v5("Flow"))[1] for _ in range(4)))
    assert started == [3, 3, 3, 1, 0]
    clock.now = START + DAY
    assert outcome(client.trigger_v5("Flow")) == ("SUCCESS", 1, 0)


def test_a_setting_makes_v5_return_429_instead_of_skipping(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.configure(v5_over_quota="429", v5_campaign_quota=((4, 300),), v5_flow_quota=None)
    assert statuses(client.trigger_v5, 2, "Tour") == [200, 429]
    response = client.trigger_v5("Tour")

    assert response.json()["error"] == {
        "code": "RATE_LIMIT_EXCEEDED",
        "message": "Exceeded rate limit for this workspace.",
    }
    assert (workspace.counts.campaigns_started, workspace.counts.throttled) == (3, 2)
    assert client.trigger_v5("Sale").status_code == 200
    clock.now += 300
    assert client.trigger_v5("Tour").status_code == 200


@pytest.mark.parametrize("version", ["v1", "v5"])
@pytest.mark.parametrize("reading", ["none", "seconds", "date"])
def test_retry_after_of_a_429(
    client: Client, workspace: Workspace, clock: FakeClock, version: str, reading: str
) -> None:
    workspace.configure(
        retry_after=reading,
        v5_over_quota="429",
        v1_trigger_quota=((1, 60),),
        v5_campaign_quota=((1, 60),),
    )
    trigger = {"v1": client.trigger_v1, "v5": client.trigger_v5}[version]
    trigger("Sale")
    clock.now += 10.5
    response = trigger("Sale")

    assert response.status_code == 429
    assert not [name for name in response.headers if name.lower().startswith("x-ratelimit")]
    value = response.headers.get("Retry-After")
    if reading == "date":
        assert value
        assert parsedate_to_datetime(value).timestamp() == START + 60
    else:
        assert value == {"none": None, "seconds": "50"}[reading]


def test_retry_after_waits_for_all_windows(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    workspace.configure(retry_after="seconds", v1_trigger_quota=((1, 60), (2, 600)))
    client.trigger_v1("Sale")
    clock.now += 60
    client.trigger_v1("Sale")
    assert client.trigger_v1("Sale").headers["Retry-After"] == "540"


def test_an_envoy_429_has_the_envoy_header(client: Client, workspace: Workspace) -> None:
    workspace.configure(envoy=True, v1_trigger_quota=((1, 60),))
    client.trigger_v1("Sale")
    assert client.trigger_v1("Sale").headers["x-envoy-ratelimited"] == "true"


@pytest.mark.parametrize("lifted", [None, []])
def test_each_quota_can_be_removed(client: Client, workspace: Workspace, lifted: Any) -> None:
    names = ["v1_trigger_quota", "v1_flow_quota", "v5_campaign_quota", "v5_flow_quota"]
    workspace.configure(**dict.fromkeys(names, lifted))

    assert set(statuses(client.trigger_v1, 51, "Tour")) == {200}
    assert {outcome(client.trigger_v5("Tour"))[0] for _ in range(6)} == {"SUCCESS"}


def test_a_refused_trigger_does_not_use_the_quota(client: Client, workspace: Workspace) -> None:
    workspace.configure(v1_trigger_quota=((1, 60),), v5_campaign_quota=((1, 60),))
    assert [client.trigger_v1("Nothing").status_code, client.trigger_v5("Nothing").status_code] == [400, 400]
    assert client.trigger_v1("Sale").status_code == 200
    assert outcome(client.trigger_v5("Sale"))[0] == "SUCCESS"


def test_v1_and_v5_have_separate_quotas(client: Client, workspace: Workspace) -> None:
    workspace.configure(v1_trigger_quota=((1, 60),), v5_campaign_quota=((1, 60),))
    assert statuses(client.trigger_v1, 2) == [200, 429]
    assert outcome(client.trigger_v5("Sale"))[0] == "SUCCESS"


def test_a_quota_reports_when_several_units_fit() -> None:
    quota = Quota()
    windows = ((3, 60),)
    for moment in (0.0, 10.0, 20.0):
        quota.spend(1, windows, moment)

    assert (quota.room(windows, 59.9), quota.room(windows, 60.0)) == (0, 1)
    assert [quota.opens_at(windows, units, 30.0) for units in (0, 1, 2, 3, 4)] == [30.0, 60.0, 70.0, 80.0, 90.0]
