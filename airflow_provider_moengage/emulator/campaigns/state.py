"""The campaigns of one workspace: definitions, quotas, and the pages that an idempotency key replays."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from airflow_provider_moengage.emulator.campaigns.definitions import Catalog
from airflow_provider_moengage.emulator.family import Context
from airflow_provider_moengage.emulator.http import Answer
from airflow_provider_moengage.emulator.limits import Quota

MOST_KEYS = 10_000


class Replays:
    """The answers by idempotency key; the oldest are forgotten."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def find(self, key: str | None) -> Answer | None:
        """Return the answer of an earlier request with that key."""
        return None if key is None else self._answers.get(key)

    def add(self, key: str | None, answer: Answer) -> None:
        """Keep an answer for requests with the same key."""
        if key is not None:
            self._answers[key] = answer
        while len(self._answers) > MOST_KEYS:
            self._answers.popitem(last=False)


@dataclass(slots=True)
class CampaignQuotas:
    """What was used of each quota."""

    stats: Quota = field(default_factory=Quota)
    searches: Quota = field(default_factory=Quota)


@dataclass(slots=True)
class CampaignState:
    """What the endpoints of campaigns read and change."""

    context: Context
    catalog: Catalog = field(default_factory=Catalog)
    quotas: CampaignQuotas = field(default_factory=CampaignQuotas)
    replays: Replays = field(default_factory=Replays)
    stats_pages: int = 0
