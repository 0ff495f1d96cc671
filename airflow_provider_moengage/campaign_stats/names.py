"""Names and channels of campaigns, which the statistics do not have: looked up in the search, kept for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from airflow_provider_moengage.api.campaigns.models import Campaign

MOST_KEPT = 20_000
"""Campaigns kept: about eight megabytes. With more of them on each day, every one is looked up again each day."""


class CampaignNames:
    """Looks campaigns up, each once while it is kept.

    :param search: returns the campaigns with these IDs.
    """

    def __init__(self, search: Callable[[Sequence[str]], Iterable[Campaign]]) -> None:
        self._search = search
        self._kept: OrderedDict[str, Campaign | None] = OrderedDict()

    def of(self, campaign_ids: Sequence[str]) -> Iterator[Campaign | None]:
        """Yield the campaign of each ID; None if the search does not have it."""
        missing = [campaign_id for campaign_id in campaign_ids if campaign_id not in self._kept]
        if missing:
            found = {campaign.campaign_id: campaign for campaign in self._search(missing)}
            self._kept.update((campaign_id, found.get(campaign_id)) for campaign_id in missing)
        for campaign_id in campaign_ids:
            self._kept.move_to_end(campaign_id)
            yield self._kept[campaign_id]
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
