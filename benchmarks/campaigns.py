"""Measures reading the statistics of 10,000 campaigns and 30 days at 100 requests a minute, simulated.

The provider's client, paging, pace and names, against the emulator's quota, over a network with a round trip of
0.2 s. Each request and response is real; only the network and the clock are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import msgspec

from airflow_provider_moengage.api.campaigns.client import (
    REQUESTS_PER_MINUTE,
    SEARCH_PATH,
    STATS_PATH,
    CampaignsClient,
)
from airflow_provider_moengage.api.campaigns.models import STATS_PAGE_SIZE, Campaign
from airflow_provider_moengage.api.campaigns.pace import Timing
from airflow_provider_moengage.api.session import Answer
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.campaign_stats.names import CampaignNames
from airflow_provider_moengage.emulator.limits import Quota
from airflow_provider_moengage.hooks import campaigns
from benchmarks.simulated import WINDOW
from benchmarks.table import Row, times

GROUP = "Campaign statistics at the limit of 100 requests a minute (simulated)"
CAMPAIGNS = 10_000
DAYS = 30
TARGET = 1.05
"""Of the time that the limit allows."""

_ROUND_TRIP = 0.2
_WINDOWS = ((REQUESTS_PER_MINUTE, 60),)
_FIRST = date(2026, 11, 1)
_COUNTS = {"variations": {"all_variations": {"performance_stats": {"sent": 1_000, "click": 30}}}}
_STATS = [{"platforms": {"ANDROID": {"locales": {"all_locales": _COUNTS}}}}]


def rows() -> list[Row]:
    """Measure it."""
    ours, refused = simulate(CAMPAIGNS, DAYS)
    allowed = shortest(CAMPAIGNS, DAYS)
    return [
        Row(
            GROUP,
            f"{CAMPAIGNS:,} campaigns, {DAYS} days",
            f"{ours / 60:,.0f} min, {refused or 'no'} 429s",
            "what the limit allows",
            f"{allowed / 60:,.0f} min",
            times(allowed / ours),
            f"at most {TARGET - 1:.0%} longer, no 429s",
            ours <= TARGET * allowed and not refused,
            ours,
            allowed,
        )
    ]


def shortest(count: int, days: int) -> float:
    """Return the seconds that the limit allows: each day's pages, and the first window's worth at once."""
    requests = days * -(-count // STATS_PAGE_SIZE)
    return max(requests - REQUESTS_PER_MINUTE, 0) / REQUESTS_PER_MINUTE * WINDOW


def simulate(count: int, days: int) -> tuple[float, int]:
    """Return the seconds until all statistics with their names were read, and the number of 429s."""
    network = _Network(count)
    clock = Timing(network.time, network.time, network.pause)
    client = CampaignsClient(
        Workspace("WS", "key", "01", "http://127.0.0.1:9", 5.0, campaign_api_key="key"), clock
    )
    client._session = network  # type: ignore[assignment]  # noqa: SLF001 (the only thing that is not real)
    patience = campaigns.retries(clock)

    def search(campaign_ids: Sequence[str]) -> Iterator[Campaign]:
        return client.iter_campaigns({"ids": list(campaign_ids)}, patience)

    names = CampaignNames(search)
    query = campaigns.StatsFilter().requests()[0]
    for number in range(days):
        day = _FIRST + timedelta(days=number)
        waiting: list[str] = []
        for records in client.iter_stats(day, day, query, patience):
            waiting.append(records[0].campaign_id)
            if len(waiting) == STATS_PAGE_SIZE:
                list(names.of(waiting))
                waiting.clear()
        list(names.of(waiting))
    return network.time(), client.throttled


class _Network:
    """Answers as MoEngage does, and lets the clock go on.

    :param count: campaigns of the workspace.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._now = 0.0
        self._quotas = {STATS_PATH: Quota(), SEARCH_PATH: Quota()}

    def time(self) -> float:
        """Seconds since the start."""
        return self._now

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def ask(self, method: str, url: str, *, data: bytes, **options: Any) -> Answer:
        """Answer a request."""
        del method, options
        path = STATS_PATH if url.endswith(STATS_PATH) else SEARCH_PATH
        quota = self._quotas[path]
        self._now += _ROUND_TRIP / 2
        is_open = quota.room(_WINDOWS, self._now) != 0
        if is_open:
            quota.spend(1, _WINDOWS, self._now)
        body = msgspec.json.decode(data)
        content = self._statistics(body) if path == STATS_PATH else self._found(body)
        self._now += _ROUND_TRIP / 2
        if not is_open:
            return Answer(429, {}, b'{"title": "Rate limit exceeded", "code": "429"}')
        return Answer(200, {}, msgspec.json.encode(content))

    def _statistics(self, body: dict[str, Any]) -> dict[str, Any]:
        first, most = body["offset"], body["limit"]
        shown = range(first, min(first + most, self._count))
        return {
            "total_campaigns": self._count,
            "current_page": first // most + 1,
            "total_pages": -(-self._count // most),
            "data": {f"{number:024x}": _STATS for number in shown},
        }

    @staticmethod
    def _found(body: dict[str, Any]) -> dict[str, Any]:
        ids = body["campaign_fields"]["ids"]
        return {
            "data": {
                "campaigns": [
                    {"id": each, "status": "ACTIVE", "channel": "PUSH", "basic_details": {"name": "A campaign"}}
                    for each in ids
                ]
            }
        }
