"""Campaigns and their statistics, as records of plain values.

MoEngage API reference, "Get Campaign Stats" (``POST /core-services/v1/campaign-stats``) and "Search Campaigns
(V5)" (``POST /v5/campaigns/search``). The statistics are nested: campaign, platform, locale, variation, and groups
of metrics. Each variation of each locale of each platform becomes one :class:`CampaignStats` with flat metrics.
"""

from __future__ import annotations

import hashlib
import logging
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any, Literal, get_args

from airflow_provider_moengage.api.received.values import LONGEST_WORD, Received

AttributionType = Literal["VIEW_THROUGH", "CLICK_THROUGH", "IN_SESSION", "TOTAL_CONVERSIONS", "CLICK_CONVERSIONS"]
MetricType = Literal["TOTAL", "UNIQUE"]
ATTRIBUTION_TYPES: tuple[AttributionType, ...] = get_args(AttributionType)
METRIC_TYPES: tuple[MetricType, ...] = get_args(MetricType)

LONGEST_WINDOW = 30
"""Days of one request for statistics, its first and its last day included ("Get Campaign Stats")."""

STATS_PAGE_SIZE = 10
"""Campaigns on a page of statistics, and IDs in one request ("Get Campaign Stats")."""

SEARCH_PAGE_SIZE = 15
"""Campaigns on a page of the search ("Search Campaigns (V5)")."""

LONGEST_METRIC = 63
"""Bytes of a metric's name: what a column's name may have in PostgreSQL, which allows the fewest of the usual
databases."""

_GROUPS = {
    "performance_stats": "performance",
    "delivery_funnel": "funnel",
    "failure_breakdown": "failure",
    "conversion_goal_stats": "goal",
}
"""What the names of a group's metrics begin with: two groups may have a metric of the same name, ``sent``."""

_BESIDE = "variation"
"""The same, for a number beside the groups."""

_NO_NUMBERS = ("N/A", "NA", "null", "None")

_MOST_REPORTED = 100
_reported: set[str] = set()
"""Metrics that this process has warned of; it warns of each once."""

_log = logging.getLogger(__name__)

_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Campaign(dict[str, Any]):
    """A campaign of the workspace. It is a dict as well, of :meth:`to_dict`.

    :param campaign_id: MoEngage's ID, which the statistics name.
    :param name: as the dashboard shows it; None if MoEngage does not report it, as the following.
    :param channel: ``PUSH``, ``EMAIL``, ``SMS``, ...
    :param status: ``ACTIVE``, ``COMPLETED``, ``STOPPED``, ...
    :param delivery_type: ``ONE_TIME``, ``PERIODIC``, ``EVENT_TRIGGERED``, ...
    """

    campaign_id: str
    name: str | None = None
    channel: str | None = None
    status: str | None = None
    delivery_type: str | None = None

    def __post_init__(self) -> None:
        self.update(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


@dataclass(frozen=True, slots=True)
class CampaignStats(dict[str, Any]):
    """The statistics of one variation of a campaign, in one locale on one platform, over a window of days.

    It is a dict as well, of :meth:`to_dict`.

    :param campaign_id: MoEngage's ID.
    :param version: 1, or the number of the campaign's version if MoEngage reports several.
    :param platform: ``ANDROID``, ``IOS``, ``WEB``, ...
    :param locale: ``all_locales``, or the locale's name.
    :param variation: ``all_variations``, the variation's name, ``campaign_control_group`` or
        ``global_control_group``.
    :param start: first day of the window, in the workspace's time zone.
    :param end: last day of the window.
    :param metrics: name to number. Names begin with the group: ``performance_sent``, ``funnel_sent``,
        ``failure_...``, ``goal_<name of the goal>_conversions``; lower-case letters, digits and ``_``, at most 63.
        Rates are percentages.
    """

    campaign_id: str
    version: int
    platform: str
    locale: str
    variation: str
    start: date
    end: date
    metrics: dict[str, int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.update(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-ready; days are ISO 8601."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        return {**values, "start": self.start.isoformat(), "end": self.end.isoformat()}


@dataclass(frozen=True, slots=True)
class CampaignOfPage:
    """A campaign on a page of statistics.

    :param is_known: its statistics have the documented nesting, also if they are empty.
    """

    campaign_id: str
    stats: tuple[CampaignStats, ...]
    is_known: bool


class UnreadableStatsError(Exception):
    """Statistics that are there, but do not have the documented nesting."""


def read_campaign(row: Received) -> Campaign | None:
    """Read one campaign of the search; None if it has no ID."""
    campaign_id = row.first("id", "campaign_id").name()
    if campaign_id is None:
        return None
    details = row["basic_details"]
    return Campaign(
        campaign_id,
        details["name"].name() or row["name"].name(),
        row["channel"].text(LONGEST_WORD),
        row["status"].text(LONGEST_WORD),
        row.first("campaign_delivery_type", "delivery_type").text(LONGEST_WORD),
    )


def read_stats(data: Received, start: date, end: date) -> list[CampaignOfPage]:
    """Read the campaigns of a page of statistics.

    :param data: by campaign ID.
    :raises UnreadableStatsError: if a part of it does not have the documented nesting.
    """
    if not data.is_object and not data.is_nothing:
        raise UnreadableStatsError
    return [
        CampaignOfPage(campaign_id, tuple(_variations(campaign_id, versions, start, end)), _is_known(versions))
        for name, versions in data.fields()
        if (campaign_id := name.name()) is not None
    ]


def _is_known(versions: Received) -> bool:
    return any(version.has("platforms") for version in [versions, *versions.items()])


def _inside(value: Received, name: str) -> list[tuple[Received, Received]]:
    """Return names and values of an object inside another; none if one of them is empty or null."""
    inner = value[name]
    is_object = value.is_object and (inner.is_object or inner.is_nothing)
    is_elsewhere = not value.has(name) and any(not field.is_nothing for _, field in value.fields())
    if not value.is_nothing and (not is_object or is_elsewhere):
        raise UnreadableStatsError
    return inner.fields()


def _variations(campaign_id: str, versions: Received, start: date, end: date) -> Iterator[CampaignStats]:
    for position, version in enumerate(versions.items() or [versions], start=1):
        number = version.first("version_number", "version").count() or position
        for platform, of_platform in _inside(version, "platforms"):
            for locale, of_locale in _inside(of_platform, "locales"):
                for variation, groups in _inside(of_locale, "variations"):
                    if not groups.is_object and not groups.is_nothing:
                        raise UnreadableStatsError
                    yield CampaignStats(
                        campaign_id,
                        number,
                        platform.name() or "",
                        locale.name() or "",
                        variation.name() or "",
                        start,
                        end,
                        _metrics(groups),
                    )


def _metrics(groups: Received) -> dict[str, int | float]:
    found = sorted(
        (
            (path, number)
            for group, metrics in groups.fields()
            for path, number in _numbers(metrics, _group(group, metrics))
        ),
        key=lambda pair: pair[0],
    )
    return {metric_name(path): number for path, number in found}


def _group(name: Received, metrics: Received) -> tuple[str, ...]:
    """Return what the names of a group's metrics begin with; of a number beside the groups, the number's name."""
    if not metrics.is_object:
        return (_BESIDE, name.name() or "")
    known = next((short for group, short in _GROUPS.items() if name.equals(group)), None)
    said = name.name() or ""
    return (known or (f"{said} " if said in (*_GROUPS.values(), _BESIDE) else said),)


def _numbers(
    value: Received, path: tuple[str, ...], levels: int = _DEEPEST
) -> Iterator[tuple[tuple[str, ...], int | float]]:
    number = value.number()
    if number is not None:
        yield path, number
    elif levels and value.is_object:
        for name, inner in value.fields():
            yield from _numbers(inner, (*path, name.name() or ""), levels - 1)
    elif path[0] != _BESIDE and not value.is_nothing and value.word(_NO_NUMBERS) is None:
        _warn(metric_name(path))


def _warn(metric: str) -> None:
    if metric not in _reported and len(_reported) < _MOST_REPORTED:
        _reported.add(metric)
        _log.warning("Metric %s: is not a number in MoEngage's response, and is left out", metric)


def metric_name(path: tuple[str, ...]) -> str:
    """Return the name of a metric, which can be a column's: the names on the way to it, joined.

    It depends on the path only, and no two paths have the same: of all paths that read alike, one spelling has the
    plain name, and the others end in a part of their hash. So does one that is too long.
    """
    plain = unicodedata.normalize("NFKD", "_".join(path)).casefold()
    name = re.sub("[^a-z0-9]+", "_", plain).strip("_")
    return _shortened(name, path, always=not _is_plain(path))


_SNAKE_CASE = re.compile("[a-z0-9]+(_[a-z0-9]+)*")
_GOAL = re.compile("[A-Z0-9][a-z0-9]*( [a-z0-9]+)*")


def _is_plain(path: tuple[str, ...]) -> bool:
    """Return whether a path is the one of those that read alike whose metric has the plain name.

    MoEngage's own names are in snake case, and people name goals: ``Goal 1`` is plain, ``Goal-1`` is
    not. Where a name may have several words, the next has one, so that it is clear where it ends.
    """
    group, *names, metric = path
    is_one_word = _SNAKE_CASE.fullmatch(metric) is not None and "_" not in metric
    if group == "goal":
        return is_one_word and (not names or (len(names) == 1 and _GOAL.fullmatch(names[0]) is not None))
    if names:
        return False
    if group in (*_GROUPS.values(), _BESIDE):
        return _SNAKE_CASE.fullmatch(metric) is not None
    is_alike = group.partition("_")[0] in (*_GROUPS.values(), _BESIDE)
    return is_one_word and not is_alike and _SNAKE_CASE.fullmatch(group) is not None


def _shortened(name: str, path: tuple[str, ...], *, always: bool) -> str:
    if not always and len(name) <= LONGEST_METRIC:
        return name
    digest = hashlib.sha256("\0".join(path).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[: LONGEST_METRIC - 9]}_{digest}"
