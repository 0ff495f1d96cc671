"""The requests for campaigns as they leave, what every answer means, and their pace."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from typing import Any

import msgspec
import pytest

from airflow_provider_moengage.api.campaigns.client import CampaignsClient
from airflow_provider_moengage.api.campaigns.pace import Timing
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.paging import Retries
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.emulator import Campaign, Fault
from devtools.fake_clock import FakeClock
from tests.api.loopback import Act, answer, loopback
from tests.delivering import MoEngage

DATA_KEY, CAMPAIGN_KEY = "a-data-key", "a-very-secret-key"
DAY = date(2026, 11, 1)
FILTERS = {"attribution_type": "VIEW_THROUGH", "metric_type": "TOTAL"}

Open = Callable[..., CampaignsClient]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def open_client(clock: FakeClock) -> Iterator[Open]:
    with ExitStack() as stack:

        def opened(
            url: str, *, name: str = "WS", key: str = CAMPAIGN_KEY, time: FakeClock = clock
        ) -> CampaignsClient:
            workspace = Workspace(name, DATA_KEY, "01", url, 5.0, campaign_api_key=key)
            client = CampaignsClient(workspace, on(time))
            stack.callback(client.close)
            return client

        yield opened


@pytest.fixture
def campaigns(moengage: MoEngage) -> Iterator[MoEngage]:
    workspace = moengage.emulator.workspace
    workspace.clear_campaigns()
    yield moengage
    workspace.clear_campaigns()


def on(clock: FakeClock) -> Timing:
    return Timing(clock.time, clock.monotonic, lambda seconds: advance(clock, seconds))


def advance(clock: FakeClock, seconds: float) -> None:
    clock.wait(threading.Event(), seconds)


def patient(clock: FakeClock) -> Retries:
    return Retries(throttled_first=30, pause=lambda seconds: advance(clock, seconds))


def json(content: Any, status: int = 200, *headers: str) -> Act:
    return answer(status, msgspec.json.encode(content), *headers)


def page(data: Any, **fields: Any) -> dict[str, Any]:
    return {"response_id": "r", "total_campaigns": 1, "current_page": 1, "total_pages": 1, "data": data, **fields}


def ask_stats(client: CampaignsClient) -> Any:
    return client.stats_page(DAY, DAY, FILTERS, page=1)


def ask_search(client: CampaignsClient) -> Any:
    return client.search_page({}, page=1)


QUESTIONS = {"statistics": ask_stats, "search": ask_search}
both_questions = pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)


def seed(place: MoEngage, count: int, **fields: Any) -> None:
    for number in range(count):
        place.emulator.workspace.add_campaign(Campaign(f"Campaign {number:05}", **fields))


def emulated(open_client: Open, place: MoEngage) -> CampaignsClient:
    return open_client(place.emulator.url, name="EMULATOR", key="emulator-campaign-key", time=place.clock)


@both_questions
def test_a_request_has_the_campaign_key_and_names_the_workspace(ask: Any, open_client: Open) -> None:
    with loopback(json(page({"campaigns": []}))) as server:
        ask(open_client(server.url))
    head = server.requests[0].decode().casefold()

    basic = base64.b64encode(f"WS:{CAMPAIGN_KEY}".encode()).decode()
    assert f"authorization: basic {basic.casefold()}" in head
    assert "moe-appkey: ws" in head


@both_questions
def test_a_request_names_the_project_of_a_portfolio(ask: Any) -> None:
    with loopback(json(page({"campaigns": []}))) as server:
        client = CampaignsClient(Workspace("WS", DATA_KEY, base_url=server.url, project_code="shop"))
        ask(client)
        client.close()

    assert b"MOE-PROJECT-CODE: shop" in server.requests[0]


def test_each_search_has_a_key_of_its_own(open_client: Open) -> None:
    with loopback(json({"response_id": "r", "data": {"campaigns": []}})) as server:
        client = open_client(server.url)
        for number in (1, 2):
            client.search_page({}, page=number)
    keys = {
        line for each in server.requests for line in each.split(b"\r\n") if line.startswith(b"Idempotency-Key")
    }

    assert len(keys) == 2


@both_questions
@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (400, ErrorKind.REQUEST, "it rejected the request (Invalid Field Value: end_date)"),
        (401, ErrorKind.AUTHENTICATION, "field campaign_api_key"),
        (403, ErrorKind.AUTHENTICATION, "no access to campaigns"),
        (429, ErrorKind.RATE_LIMIT, "100 requests a minute"),
        (500, ErrorKind.SERVER, "temporarily unavailable"),
        (503, ErrorKind.SERVER, "temporarily unavailable"),
    ],
)
def test_a_failure_is_what_its_status_says(
    ask: Any, status: int, kind: ErrorKind, said: str, open_client: Open
) -> None:
    body = {"title": "Invalid Field Value", "description": "end_date", "code": "wUcwPRZF"}
    with loopback(json(body, status, "Retry-After: 7")) as server, pytest.raises(ApiError) as caught:
        ask(open_client(server.url))

    assert (caught.value.kind, caught.value.status_code, caught.value.retry_after) == (kind, status, 7.0)
    assert said in caught.value.message
    assert caught.value.request_id == "wUcwPRZF"


@both_questions
@pytest.mark.parametrize(
    "content",
    [
        {"status": "success"},
        {"data": None},
        {"data": "done"},
        {"data": {"campaigns": None}, "error": {"code": "X", "message": "m"}},
        {"status": "fail", "data": {"campaigns": []}},
    ],
    ids=repr,
)
def test_a_200_that_is_no_page_is_not_an_empty_one(ask: Any, content: Any, open_client: Open) -> None:
    with loopback(json(content)) as server, pytest.raises(ApiError) as caught:
        ask(open_client(server.url))

    assert caught.value.kind is ErrorKind.SERVER


@both_questions
def test_a_login_page_of_a_proxy_is_not_an_answer(ask: Any, open_client: Open) -> None:
    with (
        loopback(answer(200, b"<html>log in</html>")) as server,
        pytest.raises(ApiError, match="did not come from"),
    ):
        ask(open_client(server.url))


@both_questions
def test_a_message_that_quotes_a_key_is_shown_without_it(ask: Any, open_client: Open) -> None:
    body = {"title": "Bad", "description": f"key {CAMPAIGN_KEY}, {DATA_KEY}", "code": CAMPAIGN_KEY}
    with loopback(json(body, 400)) as server, pytest.raises(ApiError) as caught:
        ask(open_client(server.url))

    shown = f"{caught.value.message} {caught.value.request_id}"
    assert CAMPAIGN_KEY not in shown
    assert DATA_KEY not in shown


def test_a_throttled_200_is_throttled(open_client: Open) -> None:
    body = {"status": "fail", "error": {"code": "Rate Limit Exceeded", "message": "slow down"}}
    with loopback(json(body)) as server, pytest.raises(ApiError) as caught:
        ask_stats(open_client(server.url))

    assert caught.value.kind is ErrorKind.RATE_LIMIT


def test_campaigns_that_cannot_be_read_are_an_error_and_not_none(open_client: Open) -> None:
    with (
        loopback(json(page({}, total_campaigns=3))) as server,
        pytest.raises(ApiError, match="some that cannot be read"),
    ):
        ask_stats(open_client(server.url))


def test_no_campaigns_may_come_as_null(open_client: Open) -> None:
    with loopback(json(page(None, total_campaigns=0))) as server:
        assert list(ask_stats(open_client(server.url)).rows) == []


def test_all_pages_are_read_and_each_campaign_comes_once(campaigns: MoEngage, open_client: Open) -> None:
    seed(campaigns, 25)
    client = emulated(open_client, campaigns)

    found = [stats[0].campaign_id for stats in client.iter_stats(DAY, DAY, FILTERS, Retries())]

    assert sorted(found) == sorted(campaign.id for campaign in campaigns.emulator.workspace.campaigns)
    assert client.requests == 3


def test_the_search_reads_all_pages(campaigns: MoEngage, open_client: Open) -> None:
    seed(campaigns, 30)

    found = [campaign.name for campaign in emulated(open_client, campaigns).iter_campaigns({}, Retries())]

    assert found == [f"Campaign {number:05}" for number in range(30)]


def test_a_throttled_or_failed_page_is_asked_again_and_no_page_before_it(
    campaigns: MoEngage, open_client: Open
) -> None:
    seed(campaigns, 30)
    workspace = campaigns.emulator.workspace
    for fault in (Fault("status", status=429, after=1, times=4), Fault("status", status=503, times=2)):
        workspace.add_fault(fault)
    client = emulated(open_client, campaigns)

    found = list(client.iter_stats(DAY, DAY, FILTERS, patient(campaigns.clock)))

    assert len(found) == 30
    assert workspace.counts.requests == client.requests == 3 + 4 + 2
    assert client.throttled == 4


def test_three_failures_of_one_page_end_it(campaigns: MoEngage, open_client: Open) -> None:
    seed(campaigns, 1)
    campaigns.emulator.workspace.add_fault(Fault("status", status=500, times=None))

    with pytest.raises(ApiError) as caught:
        list(emulated(open_client, campaigns).iter_stats(DAY, DAY, FILTERS, patient(campaigns.clock)))

    assert caught.value.kind is ErrorKind.SERVER
    assert campaigns.emulator.workspace.counts.requests == 3


def test_pages_are_read_as_fast_as_the_limit_allows_and_no_faster(campaigns: MoEngage, open_client: Open) -> None:
    seed(campaigns, 3_000)
    began = campaigns.clock.time()

    found = list(emulated(open_client, campaigns).iter_stats(DAY, DAY, FILTERS, patient(campaigns.clock)))

    counts = campaigns.emulator.workspace.counts
    assert (len(found), counts.requests, counts.throttled) == (3_000, 300, 0)
    assert 120 <= campaigns.clock.time() - began <= 120 * 1.05


def test_a_campaign_that_moves_to_an_earlier_page_is_not_lost(campaigns: MoEngage, open_client: Open) -> None:
    seed(campaigns, 25)
    workspace = campaigns.emulator.workspace
    expected = {campaign.id for campaign in workspace.campaigns}
    found: list[str] = []
    for stats in emulated(open_client, campaigns).iter_stats(DAY, DAY, FILTERS, patient(campaigns.clock)):
        found.append(stats[0].campaign_id)
        if len(found) == 1:  # the first campaign is deleted after the first page was read
            workspace.remove_campaign(found[0])

    assert sorted(found) == sorted(expected)


def test_a_server_that_repeats_a_page_comes_to_an_end(open_client: Open, clock: FakeClock) -> None:
    same = page({f"c{number}": [{"platforms": {}}] for number in range(10)}, total_campaigns=10, total_pages=99)
    with loopback(json(same)) as server:
        found = list(open_client(server.url).iter_stats(DAY, DAY, FILTERS, patient(clock)))

    assert len(found) == 10
    assert len(server.requests) == 2 * 3
