"""The search of campaigns, as the emulator answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from airflow_provider_moengage.emulator import Campaign
from tests.emulator.client import CAMPAIGN_AUTH

if TYPE_CHECKING:
    import requests

    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

PATH = "/v5/campaigns/search"


def ask(client: Client, key: str | None = None, **fields: Any) -> requests.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.raw(msgspec.json.encode(fields), path=PATH, headers=headers, auth=CAMPAIGN_AUTH)


def names(response: requests.Response) -> list[str]:
    return [campaign["basic_details"]["name"] for campaign in response.json()["data"]["campaigns"]]


@pytest.fixture(autouse=True)
def campaigns(workspace: Workspace) -> None:
    workspace.add_campaign(Campaign("Sale", channel="EMAIL", status="ACTIVE"))
    workspace.add_campaign(Campaign("Sale, second run", is_child=True))
    workspace.add_campaign(Campaign("Idea", status="DRAFT"))


def test_drafts_and_executions_are_there_if_they_are_asked_for(client: Client) -> None:
    assert names(ask(client)) == ["Sale"]
    assert names(ask(client, include_child_campaigns=True)) == ["Sale", "Sale, second run"]
    assert names(ask(client, campaign_fields={"status": ["DRAFT"]})) == ["Idea"]


def test_a_campaign_has_its_id_status_and_channel(client: Client) -> None:
    [campaign] = ask(client).json()["data"]["campaigns"]

    assert (campaign["id"], campaign["status"], campaign["channel"]) == (Campaign("Sale").id, "ACTIVE", "EMAIL")


@pytest.mark.parametrize(
    "wanted", [{"ids": [Campaign("Sale").id]}, {"channels": ["EMAIL"]}, {"name": "al"}, {"status": ["ACTIVE"]}]
)
def test_filters_select(client: Client, wanted: Any) -> None:
    assert names(ask(client, campaign_fields=wanted, include_child_campaigns=True))[0] == "Sale"


def test_a_page_has_fifteen(client: Client, workspace: Workspace) -> None:
    for number in range(15):
        workspace.add_campaign(Campaign(f"Campaign {number}"))

    assert [len(names(ask(client, page=page))) for page in (1, 2, 3)] == [15, 1, 0]


def test_a_reused_key_gets_the_first_page_again(client: Client) -> None:
    first, again = ask(client, "k1"), ask(client, "k1", page=9)

    assert (names(again), names(ask(client, "k2", page=9))) == (names(first), [])


@pytest.mark.parametrize(
    "fields",
    [{"limit": 16}, {"limit": 0}, {"page": 0}, {"campaign_fields": []}, {"campaign_fields": {"ids": "c1"}}],
)
def test_a_wrong_field_is_a_400(client: Client, fields: Any) -> None:
    assert ask(client, **fields).status_code == 400


def test_the_quota_is_by_minute(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    workspace.configure(campaign_search_quota=((1, 60),))
    statuses = [ask(client).status_code for _ in range(2)]
    clock.now += 60

    assert (statuses, ask(client).status_code) == ([200, 429], 200)


def test_the_data_key_is_not_accepted(client: Client) -> None:
    assert client.raw(b"{}", path=PATH).status_code == 401
