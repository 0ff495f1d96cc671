"""Campaigns between Airflow and the API: checked queries, the clock, and translated errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.api.campaigns.models import (
    ATTRIBUTION_TYPES,
    LONGEST_WINDOW,
    METRIC_TYPES,
    SEARCH_PAGE_SIZE,
    STATS_PAGE_SIZE,
    AttributionType,
    Campaign,
    CampaignStats,
    MetricType,
)
from airflow_provider_moengage.api.campaigns.pace import Timing
from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.api.paging import Retries
from airflow_provider_moengage.arguments import is_non_empty, one_of
from airflow_provider_moengage.bulk.clock import SystemClock
from airflow_provider_moengage.hooks.errors import translated

if TYPE_CHECKING:
    from airflow_provider_moengage.api.campaigns.client import CampaignsClient

MOST_THROTTLED = 30
"""Requests for one page while MoEngage throttles: half an hour, if it asks for a minute each time."""


@dataclass(frozen=True, slots=True)
class StatsFilter:
    """What statistics are asked for, besides the window. Checked when it is created.

    :param campaign_ids: only these campaigns; None: all.
    :raises ValueError: naming the argument that is wrong.
    """

    attribution_type: AttributionType = "VIEW_THROUGH"
    metric_type: MetricType = "TOTAL"
    campaign_ids: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check the words."""
        one_of("attribution_type", self.attribution_type, ATTRIBUTION_TYPES)
        one_of("metric_type", self.metric_type, METRIC_TYPES)

    @classmethod
    def of(cls, attribution_type: AttributionType, metric_type: MetricType, campaign_ids: object) -> StatsFilter:
        """Return the filter of a user's arguments.

        :raises ValueError: naming the argument that is wrong.
        """
        return cls(attribution_type, metric_type, names("campaign_ids", campaign_ids))

    def requests(self) -> list[dict[str, Any]]:
        """Return the filters of the requests, without the window: MoEngage takes at most ten IDs at a time."""
        shared = {"attribution_type": self.attribution_type, "metric_type": self.metric_type}
        if self.campaign_ids is None:
            return [shared]
        return [{**shared, "campaign_ids": ids} for ids in _parts(self.campaign_ids, STATS_PAGE_SIZE)]


def as_day(name: str, value: object, zone: tzinfo | None = None) -> date:
    """Return a user's day: a date, a datetime, or ISO 8601 text.

    :param name: the argument, for the error.
    :param zone: the day of a time with a zone is the one in this zone; None: the one that the time names.
    :raises ValueError: if it is not a day.
    """
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
        if isinstance(moment, datetime) and moment.tzinfo is not None and zone is not None:
            moment = moment.astimezone(zone)
        if not isinstance(moment, date):
            raise ValueError
        return date(moment.year, moment.month, moment.day)  # Airflow's are pendulum's, which JSON does not take
    except (ValueError, OverflowError):
        raise ValueError(f"{name} {value!r}: expected a date, or ISO 8601 text like 2026-01-31") from None


def window(start: object, end: object) -> tuple[date, date]:
    """Return the days of a window for one request.

    :raises ValueError: naming the argument that is wrong.
    """
    first, last = as_day("start", start), as_day("end", end)
    days = (last - first).days + 1
    if days < 1:
        raise ValueError(f"start {start!r}: is after end {end!r}")
    if days > LONGEST_WINDOW:
        raise ValueError(
            f"start, end: {days} days; MoEngage counts at most {LONGEST_WINDOW} days at a time, so ask for parts"
        )
    return first, last


def names(name: str, given: object) -> tuple[str, ...] | None:
    """Return texts, each once; None for None.

    :raises ValueError: naming the argument.
    """
    if given is None:
        return None
    texts = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [None]
    if not all(is_non_empty(text) for text in texts):
        raise ValueError(f"{name}: expected a list of non-empty strings")
    return tuple(dict.fromkeys(str(text).strip() for text in texts))


def search_filters(campaign_ids: object, channels: object, status: object) -> list[dict[str, Any]]:
    """Return the filters of the searches that together cover a query.

    :raises ValueError: naming the argument that is wrong.
    """
    given = {"channels": names("channels", channels), "status": names("status", status)}
    shared = {name: [text.upper() for text in texts] for name, texts in given.items() if texts}
    ids = names("campaign_ids", campaign_ids)
    if ids is None:
        return [shared]
    return [{"ids": part, **shared} for part in _parts(ids, SEARCH_PAGE_SIZE)]


def timing(check: Callable[[], None] = lambda: None) -> Timing:
    """Return the time of this machine.

    :param check: called before and after each wait; it may raise to end it.
    """
    clock = SystemClock()
    never = threading.Event()

    def pause(seconds: float) -> None:
        check()
        while seconds > 0:
            clock.wait(never, min(seconds, 1.0))
            check()
            seconds -= 1.0

    return Timing(clock.time, clock.monotonic, pause)


def retries(clock: Timing) -> Retries:
    """Return how often a page is requested: each page, also the first, is waited for while MoEngage throttles."""
    return Retries(throttled=MOST_THROTTLED, throttled_first=MOST_THROTTLED, pause=clock.pause)


def stats(
    client: CampaignsClient, conn_id: str, days: tuple[date, date], query: StatsFilter, patience: Retries
) -> Iterator[tuple[CampaignStats, ...]]:
    """Yield the statistics of each campaign, each campaign once.

    :param conn_id: the workspace's connection, for messages.
    """
    seen: set[str] = set()  # the statistics of one ID may come with those of another: its executions, say
    with _translated(conn_id, "the campaign statistics could not be read"):
        for filters in query.requests():
            for records in client.iter_stats(*days, filters, patience):
                campaign_id = records[0].campaign_id if records and query.campaign_ids is not None else None
                if campaign_id is None:
                    yield records
                elif campaign_id not in seen:
                    seen.add(campaign_id)
                    yield records


def campaigns(
    client: CampaignsClient, conn_id: str, queries: Iterable[dict[str, Any]], patience: Retries
) -> Iterator[Campaign]:
    """Yield campaigns, each once.

    :param conn_id: the workspace's connection, for messages.
    """
    with _translated(conn_id, "the campaigns could not be read"):
        for filters in queries:
            yield from client.iter_campaigns(filters, patience)


@contextmanager
def _translated(conn_id: str, so_far: str) -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        raise translated(error, conn_id, so_far) from None


def _parts(texts: tuple[str, ...], most: int) -> list[list[str]]:
    return [list(texts[begin : begin + most]) for begin in range(0, len(texts), most)]
