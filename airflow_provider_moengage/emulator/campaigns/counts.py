"""The counts of a campaign over a window of days, in the form of the statistics.

MoEngage API reference, "Get Campaign Stats": rates are percentages, and the control groups have no performance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from airflow_provider_moengage.emulator.campaigns.definitions import CONTROL_GROUPS, Campaign

CONVERTED = {
    "VIEW_THROUGH": 4,
    "CLICK_THROUGH": 5,
    "IN_SESSION": 10,
    "TOTAL_CONVERSIONS": 2,
    "CLICK_CONVERSIONS": 8,
}
"""By attribution: one of so many clicks converts."""

Added = Callable[[Sequence[int]], int]


def stats_of(campaign: Campaign, days: Sequence[date], attribution: str, metric_type: str) -> list[dict[str, Any]]:
    """Return what the statistics have of a campaign for days on which it ran.

    :param metric_type: ``UNIQUE`` counts a user once, however many days: here, the greatest of the days.
    """
    added: Added = sum if metric_type == "TOTAL" else max
    variations: dict[str, Any] = {
        name: _performance(campaign, days, attribution, added) for name in campaign.variations
    }
    if campaign.control_groups:
        variations |= {name: _control(campaign, name) for name in CONTROL_GROUPS}
    locales = {locale: {"variations": variations} for locale in campaign.locales}
    return [{"platforms": {platform: {"locales": locales} for platform in campaign.platforms}}]


def attempted_on(campaign: Campaign, day: date) -> int:
    """Return the messages of a day, for one platform, locale and variation."""
    return campaign.sent_per_day + day.toordinal() % 7


def _performance(campaign: Campaign, days: Sequence[date], attribution: str, added: Added) -> dict[str, Any]:
    attempted = [attempted_on(campaign, day) for day in days]
    failed = [count // 50 for count in attempted]
    sent = [count - lost for count, lost in zip(attempted, failed, strict=True)]
    seen = [count * 9 // 10 for count in sent]
    clicks = [count // 20 for count in seen]
    shown = "opened" if campaign.channel == "EMAIL" else "impression"
    counts = {"attempted": attempted, "sent": sent, "failed": failed, shown: seen, "click": clicks}
    totals = {name: added(values) for name, values in counts.items()}
    converted = added([count // CONVERTED[attribution] for count in clicks])
    return {
        "performance_stats": {
            **totals,
            "ctr": _percent(totals["click"], totals[shown]),
            "sent_rate": _percent(totals["sent"], totals["attempted"]),
            "failure_rate": _percent(totals["failed"], totals["attempted"]),
            **{name: count * len(days) for name, count in campaign.metrics.items()},
        },
        "conversion_goal_stats": {goal: _goal(converted, totals["sent"]) for goal in campaign.goals},
        "delivery_funnel": {"reachable_users_in_segment": totals["attempted"], "sent": totals["sent"]},
        "failure_breakdown": {"invalid_token": totals["failed"]} if totals["failed"] else {},
    }


def _control(campaign: Campaign, name: str) -> dict[str, Any]:
    return {
        "conversion_goal_stats": {goal: _goal(0, 0) for goal in campaign.goals},
        "delivery_funnel": {"reachable_users_in_segment": 0},
        "failure_breakdown": {f"user_removed_due_to_{name}": 1},
    }


def _goal(conversions: int, sent: int) -> dict[str, Any]:
    return {"conversions": conversions, "cvr": _percent(conversions, sent), "uplift": 0}


def _percent(part: int, whole: int) -> float:
    return round(part / whole * 100, 2) if whole else 0
