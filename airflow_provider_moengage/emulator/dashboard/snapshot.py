"""What the emulator's page shows of a workspace, as JSON; its size does not grow with the traffic."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.emulator.dashboard.statistics import OUTCOMES

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.counts import Counts
    from airflow_provider_moengage.emulator.dashboard.statistics import Statistics, Timeline
    from airflow_provider_moengage.emulator.workspace import Workspace


def snapshot(workspace: Workspace) -> dict[str, Any]:
    """Return the current state of a workspace."""
    with workspace.locked() as (now, counts, statistics):
        shown = {
            "workspace_id": workspace.credentials.workspace_id,
            "now": now,
            "counts": _counts(counts),
            "outcomes": dict(zip(OUTCOMES, statistics.outcomes, strict=True)),
            "timeline": {
                "second": _timeline(statistics.by_second, now),
                "minute": _timeline(statistics.by_minute, now),
            },
            "failures": _failures(statistics, workspace.endpoints[0].name),
            "faults": workspace.faults,
        }
        for family in workspace.families:
            shown |= family.snapshot(now)
        return shown


def _counts(counts: Counts) -> dict[str, Any]:
    shown = asdict(counts)
    del shown["dropped"], shown["projects"], shown["events_by_day"]
    return shown


def _timeline(timeline: Timeline, now: float) -> dict[str, Any]:
    slots = [[slot.begins_at, *slot.requests, slot.elements, slot.polls] for slot in timeline.slots(now)]
    return {
        "seconds": timeline.seconds,
        "slots": timeline.keep,
        "columns": [*OUTCOMES, "elements", "polls"],
        "rows": slots,
    }


def _failures(statistics: Statistics, first_endpoint: str) -> list[dict[str, Any]]:
    shown = [
        {**asdict(failure), "count": occurrences.count, "last_at": occurrences.last_at}
        for failure, occurrences in statistics.failures.items()
    ]
    shown.sort(key=lambda failure: (failure["endpoint"] != first_endpoint, -failure["count"]))
    return shown
