"""Campaigns as an API family: statistics, and the search for names and channels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from airflow_provider_moengage.emulator.business_events.answers import Trace, v5_failure
from airflow_provider_moengage.emulator.campaigns.search import search_campaigns
from airflow_provider_moengage.emulator.campaigns.state import CampaignQuotas, CampaignState, Replays
from airflow_provider_moengage.emulator.campaigns.stats import campaign_stats, stats_failure
from airflow_provider_moengage.emulator.family import Context, Endpoint, Family
from airflow_provider_moengage.emulator.http import Answer

STATS = "/core-services/v1/campaign-stats"
SEARCH = "/v5/campaigns/search"

MOST_SHOWN = 50


class Campaigns(Family):
    """Answers statistics of campaigns and searches for them."""

    def __init__(self, context: Context) -> None:
        self.state = CampaignState(context)
        self.endpoints = (
            Endpoint(STATS, "Campaign statistics", partial(campaign_stats, self.state)),
            Endpoint(SEARCH, "Search of campaigns", partial(search_campaigns, self.state)),
        )

    def failure(self, status: int, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the failure of the statistics, or of v5."""
        return stats_failure(status, headers) if path == STATS else v5_failure(status, Trace.of(None), headers)

    def reset(self) -> None:
        """Reset the quotas and forget replayed pages; the campaigns stay."""
        self.state.quotas = CampaignQuotas()
        self.state.replays = Replays()
        self.state.stats_pages = 0

    def snapshot(self, now: float) -> dict[str, Any]:
        """Return the campaigns and how many pages of statistics were read."""
        settings, quotas = self.state.context.settings, self.state.quotas
        shown = [
            {
                "id": campaign.id,
                "name": campaign.name,
                "channel": campaign.channel,
                "status": campaign.status,
                "first_day": campaign.first_day,
                "last_day": campaign.last_day,
                "sent_per_day": campaign.sent_per_day,
            }
            for _, campaign in zip(range(MOST_SHOWN), self.state.catalog, strict=False)
        ]
        uses = quotas.stats.used(settings.campaign_stats_quota, now)
        return {
            "campaigns": {
                "shown": shown,
                "left_off": max(len(self.state.catalog) - MOST_SHOWN, 0),
                "pages_read": self.state.stats_pages,
                "quota": [{"seconds": seconds, "limit": limit, "used": used} for limit, seconds, used in uses],
            }
        }
