"""The hook's campaigns against the emulator, with a real Airflow connection from the environment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import pendulum
import pytest

from airflow_provider_moengage.emulator import Campaign, Fault
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from tests.delivering import MoEngage, connection_to


@pytest.fixture
def campaigns(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> Iterator[MoEngage]:
    workspace = connected.emulator.workspace
    workspace.clear_campaigns()
    monkeypatch.setattr("airflow_provider_moengage.hooks.campaigns.SystemClock", lambda: connected.clock)
    yield connected
    workspace.clear_campaigns()


def seed(place: MoEngage, *names: str, **fields: Any) -> list[str]:
    for name in names:
        place.emulator.workspace.add_campaign(Campaign(name, **fields))
    return [Campaign(name).id for name in names]


def test_campaigns_are_read_with_name_channel_and_status(campaigns: MoEngage) -> None:
    seed(campaigns, "Sale", channel="EMAIL", status="ACTIVE")

    [campaign] = MoEngageHook().iter_campaigns()

    assert (campaign.name, campaign.channel, campaign.status) == ("Sale", "EMAIL", "ACTIVE")
    assert campaign["name"] == "Sale"


def test_more_ids_than_a_page_has_take_several_searches(campaigns: MoEngage) -> None:
    ids = seed(campaigns, *(f"Campaign {number}" for number in range(20)))

    found = [campaign.campaign_id for campaign in MoEngageHook().iter_campaigns(ids)]

    assert found == ids


def test_filters_are_passed_on(campaigns: MoEngage) -> None:
    seed(campaigns, "Sale", channel="EMAIL")
    seed(campaigns, "News", channel="PUSH")

    assert [each.name for each in MoEngageHook().iter_campaigns(channels="email")] == ["Sale"]
    assert list(MoEngageHook().iter_campaigns(status=["ACTIVE"])) == []


def test_statistics_are_read_for_a_window(campaigns: MoEngage) -> None:
    [sale] = seed(campaigns, "Sale")

    found = list(MoEngageHook().iter_campaign_stats("2026-11-01", date(2026, 11, 30)))

    assert {(stats.campaign_id, stats.platform) for stats in found} == {(sale, "ANDROID"), (sale, "IOS")}
    assert found[0].metrics["performance_attempted"] >= 30_000
    assert found[0]["start"] == "2026-11-01"


def test_more_than_ten_ids_take_several_requests(campaigns: MoEngage) -> None:
    ids = seed(campaigns, *(f"Campaign {number}" for number in range(25)))

    found = MoEngageHook().iter_campaign_stats("2026-11-01", "2026-11-01", campaign_ids=ids)

    assert len({stats.campaign_id for stats in found}) == 25
    assert campaigns.emulator.workspace.counts.requests == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"start": "2026-11-01", "end": "2026-12-01"}, "31 days"),
        ({"start": "2026-11-02", "end": "2026-11-01"}, "is after end"),
        ({"start": "yesterday", "end": "2026-11-01"}, "start 'yesterday'"),
        ({"start": "2026-11-01", "end": None}, "end None"),
        ({"start": 20261101, "end": "2026-11-01"}, "start 20261101"),
        ({"start": "2026-11-01", "end": "2026-11-01", "attribution_type": "LAST"}, "attribution_type 'LAST'"),
        ({"start": "2026-11-01", "end": "2026-11-01", "metric_type": "BOTH"}, "metric_type 'BOTH'"),
        ({"start": "2026-11-01", "end": "2026-11-01", "campaign_ids": ["a", ""]}, "campaign_ids"),
        ({"start": "2026-11-01", "end": "2026-11-01", "campaign_ids": 3}, "campaign_ids"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_sent(
    campaigns: MoEngage, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        MoEngageHook().iter_campaign_stats(**arguments)

    assert campaigns.emulator.workspace.counts.requests == 0


def test_a_time_is_the_day_that_it_names() -> None:
    from airflow_provider_moengage.hooks.campaigns import as_day

    day = date(2026, 11, 1)
    assert as_day("start", datetime(2026, 11, 1, 23, 59)) == day  # noqa: DTZ001
    assert as_day("start", "2026-11-01 23:59:00+05:30") == day
    assert as_day("start", " 2026-11-01 ") == day
    assert type(as_day("start", pendulum.datetime(2026, 11, 1))) is date
    assert type(as_day("start", pendulum.date(2026, 11, 1))) is date


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, MoEngageRequestError),
        (401, MoEngageAuthError),
        (403, MoEngageAuthError),
        (429, MoEngageRateLimitError),
        (503, MoEngageServerError),
    ],
)
def test_a_failure_becomes_the_providers_exception(
    campaigns: MoEngage, status: int, error: type[Exception]
) -> None:
    campaigns.emulator.workspace.add_fault(Fault("status", status=status, times=None))

    with pytest.raises(error, match=r"^Connection 'moengage_default': .*could not be read"):
        list(MoEngageHook().iter_campaign_stats("2026-11-01", "2026-11-01"))
    with pytest.raises(error, match="the campaigns could not be read"):
        list(MoEngageHook().iter_campaigns())


def test_a_data_key_alone_says_which_key_is_needed(campaigns: MoEngage, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connection_to(campaigns, extra={"campaign_api_key": None})
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection)

    with pytest.raises(MoEngageAuthError, match=r"field campaign_api_key"):
        list(MoEngageHook().iter_campaigns())


def test_a_throttled_first_page_is_waited_for(campaigns: MoEngage) -> None:
    seed(campaigns, "Sale")
    campaigns.emulator.workspace.add_fault(Fault("status", status=429, times=5))

    assert list(MoEngageHook().iter_campaigns())
