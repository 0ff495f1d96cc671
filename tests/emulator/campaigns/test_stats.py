"""The statistics of campaigns, as the emulator answers them."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from airflow_provider_moengage.emulator import Campaign, Fault
from airflow_provider_moengage.emulator.campaigns.counts import attempted_on
from tests.emulator.client import CAMPAIGN_AUTH, WORKSPACE_ID

if TYPE_CHECKING:
    import requests

    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

PATH = "/core-services/v1/campaign-stats"
WEEK = {
    "request_id": "r1",
    "start_date": "2026-11-01",
    "end_date": "2026-11-07",
    "attribution_type": "VIEW_THROUGH",
    "metric_type": "TOTAL",
}
HEADERS = {"MOE-APPKEY": WORKSPACE_ID}


def ask(client: Client, *without: str, **fields: Any) -> requests.Response:
    body = {name: value for name, value in {**WEEK, **fields}.items() if name not in without}
    return client.raw(msgspec.json.encode(body), path=PATH, headers=HEADERS, auth=CAMPAIGN_AUTH)


def variation(response: requests.Response, campaign: Campaign, name: str = "all_variations") -> Any:
    [version] = response.json()["data"][campaign.id]
    return version["platforms"]["ANDROID"]["locales"]["all_locales"]["variations"][name]


def test_the_counts_of_a_window_are_those_of_its_days(client: Client, workspace: Workspace) -> None:
    sale = Campaign("Sale", first_day="2026-11-06")
    workspace.add_campaign(sale)
    days = [date(2026, 11, 6), date(2026, 11, 7)]

    stats = variation(ask(client), sale)["performance_stats"]

    assert stats["attempted"] == sum(attempted_on(sale, day) for day in days)
    assert stats["ctr"] == round(stats["click"] / stats["impression"] * 100, 2)


def test_unique_counts_do_not_add_up(client: Client, workspace: Workspace) -> None:
    sale = Campaign("Sale")
    workspace.add_campaign(sale)
    sent = [
        variation(ask(client, start_date=day, end_date=end, metric_type="UNIQUE"), sale)["performance_stats"][
            "sent"
        ]
        for day, end in (("2026-11-01", "2026-11-01"), ("2026-11-02", "2026-11-02"), ("2026-11-01", "2026-11-02"))
    ]

    assert sent[2] == max(sent[:2])


def test_the_attribution_changes_the_conversions_only(client: Client, workspace: Workspace) -> None:
    sale = Campaign("Sale")
    workspace.add_campaign(sale)
    one, other = (variation(ask(client, attribution_type=kind), sale) for kind in ("VIEW_THROUGH", "IN_SESSION"))

    assert one["performance_stats"] == other["performance_stats"]
    assert one["conversion_goal_stats"] != other["conversion_goal_stats"]


def test_a_campaign_that_did_not_run_in_the_window_is_not_there(client: Client, workspace: Workspace) -> None:
    workspace.add_campaign(Campaign("Early", last_day="2026-10-31"))
    workspace.add_campaign(Campaign("Draft", status="DRAFT"))

    assert ask(client).json() == {
        "response_id": "r1",
        "total_campaigns": 0,
        "current_page": 1,
        "total_pages": 0,
        "data": {},
    }


def test_a_control_group_has_no_performance(client: Client, workspace: Workspace) -> None:
    sale = Campaign("Sale", control_groups=True)
    workspace.add_campaign(sale)

    assert "performance_stats" not in variation(ask(client), sale, "global_control_group")


def test_ten_campaigns_are_a_page(client: Client, workspace: Workspace) -> None:
    for number in range(11):
        workspace.add_campaign(Campaign(f"Campaign {number}"))
    first, second = ask(client).json(), ask(client, offset=10).json()

    assert [(len(it["data"]), it["current_page"], it["total_pages"]) for it in (first, second)] == [
        (10, 1, 2),
        (1, 2, 2),
    ]


def test_only_the_campaigns_that_are_asked_for_are_there(client: Client, workspace: Workspace) -> None:
    for name in ("A", "B"):
        workspace.add_campaign(Campaign(name))

    assert list(ask(client, campaign_ids=[Campaign("B").id, "unknown"]).json()["data"]) == [Campaign("B").id]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"end_date": "2026-12-02"}, "end_date"),
        ({"end_date": "2026-10-31"}, "end_date"),
        ({"start_date": "01-11-2026"}, "start_date"),
        ({"attribution_type": "LAST_CLICK"}, "attribution_type"),
        ({"metric_type": "BOTH"}, "metric_type"),
        ({"campaign_ids": [str(number) for number in range(11)]}, "campaign_ids"),
        ({"limit": 11}, "limit"),
        ({"offset": -1}, "offset"),
        ({"request_id": ""}, "request_id"),
    ],
)
def test_a_wrong_field_is_a_400_that_names_it(client: Client, fields: dict[str, Any], named: str) -> None:
    response = ask(client, **fields)

    assert (response.status_code, response.json()["title"]) == (400, "Invalid Field Value")
    assert response.json()["description"].startswith(f"{named} - ")


@pytest.mark.parametrize("missing", ["request_id", "start_date", "end_date", "attribution_type", "metric_type"])
def test_a_missing_field_is_a_400(client: Client, missing: str) -> None:
    assert ask(client, missing).status_code == 400


def test_thirty_days_after_the_first_are_answered(client: Client) -> None:
    assert ask(client, end_date="2026-12-01").status_code == 200


def test_the_hundred_and_first_request_of_a_minute_is_a_429(client: Client, clock: FakeClock) -> None:
    answers = [ask(client).status_code for _ in range(101)]
    clock.now += 60

    assert (answers[:100], answers[100], ask(client).status_code) == ([200] * 100, 429, 200)


def test_the_data_key_is_not_accepted(client: Client, workspace: Workspace) -> None:
    body = msgspec.json.encode(WEEK)
    response = client.raw(body, path=PATH, headers=HEADERS)

    assert (response.status_code, response.json()["title"]) == (401, "Authentication required")
    workspace.configure(one_key=True)
    assert client.raw(body, path=PATH, headers=HEADERS).status_code == 200


def test_the_workspace_has_to_be_named(client: Client) -> None:
    response = client.raw(msgspec.json.encode(WEEK), path=PATH, auth=CAMPAIGN_AUTH)

    assert (response.status_code, "app_key" in response.json()["description"]) == (400, True)


def test_a_403_has_no_description(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=403))

    assert ask(client).json()["description"] is None


@pytest.mark.parametrize(
    "definition",
    [
        {"name": ""},
        {"name": "Sale", "first_day": "1.11.2026"},
        {"name": "Sale", "sent_per_day": -1},
        {"name": "Sale", "channel": "FAX"},
        {"name": "Sale", "color": "red"},
    ],
)
def test_a_wrong_campaign_is_refused(client: Client, workspace: Workspace, definition: Any) -> None:
    response = client.control("POST", "campaigns", definition)

    assert (response.status_code, workspace.campaigns) == (400, ())


def test_campaigns_are_added_and_removed_by_the_control_api(client: Client, workspace: Workspace) -> None:
    added = client.control("POST", "campaigns", {"name": "Sale", "channel": "EMAIL"}).json()["campaigns"]

    assert [(it["campaign_id"], it["channel"]) for it in added] == [(Campaign("Sale").id, "EMAIL")]
    assert client.control("GET", "picture").json()["campaigns"]["shown"][0]["name"] == "Sale"
    assert client.control("DELETE", "campaigns").json() == {"campaigns": []}
