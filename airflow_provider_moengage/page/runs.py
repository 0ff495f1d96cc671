"""The runs of a task as the page shows them: counts and codes out of stored reports, and nothing else."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from airflow_provider_moengage.api.users.cohorts import PER_MINUTE as MEMBER_REQUESTS_PER_MINUTE
from airflow_provider_moengage.bulk.rate_limit.pacer import DOCUMENTED_PER_MINUTE, WINDOW
from airflow_provider_moengage.page.stored import StoredRun
from airflow_provider_moengage.page.synced_tasks import SEGMENT

_COUNTS = (
    *("accepted", "rejected", "unchanged", "removed", "new", "changed"),
    *("customers", "events", "devices", "actions", "requests", "bytes", "retries"),
)
_CODE = re.compile(r"[a-z][a-z0-9_]{0,59}")

_WORST_FIRST = (
    *("failed", "upstream_failed", "up_for_retry", "running"),
    *("restarting", "deferred", "queued", "scheduled"),
)
"""States of a mapped task's instances: the first one that any of them has is the task's."""


def sync_run(run: StoredRun, kind: str) -> dict[str, Any]:
    """Return a run of a sync, JSON-ready. The reports of a mapped task are added up.

    Waiting time and duration of a mapped task are those of the longest instance, as instances run side by side.
    """
    reports = [report for each in run.tries if (report := _report(each.value)) is not None]
    row: dict[str, Any] = {**run_facts(run), "instances": len(run.tries), "reports": len(reports)}
    if not reports:
        return row
    counts = {name: sum(_count(report.get(name)) for report in reports) for name in _COUNTS}
    elapsed = max(_seconds(report.get("elapsed_seconds")) for report in reports)
    is_dry = any(report.get("dry_run") is True for report in reports)
    row |= counts
    row |= {
        "dry_run": is_dry,
        "resumed": any(report.get("resumed") is True for report in reports),
        "elapsed_seconds": elapsed,
        "throttled_seconds": max(_seconds(report.get("throttled_seconds")) for report in reports),
        "rejects": _codes(report.get("rejects") for report in reports),
        "warnings": _codes(report.get("warnings") for report in reports),
        "rate": counts["accepted"] / elapsed if elapsed else None,
        "share_of_limit": None if is_dry else _share(counts, elapsed, kind),
        "rejects_files": sum(bool(report.get("rejects_path")) for report in reports if report.get("rejected")),
    }
    return row


def instances_of(run: StoredRun, kind: str) -> list[dict[str, Any]]:
    """Return each instance of a mapped task in a run, by map index, JSON-ready."""
    tries = sorted(run.tries, key=lambda each: each.map_index)
    return [{"map_index": each.map_index, **sync_run(replace(run, tries=[each]), kind)} for each in tries]


def run_facts(run: StoredRun) -> dict[str, Any]:
    """Return what every run has, whatever its task does."""
    started = [each.started_at for each in run.tries if each.started_at is not None]
    ended = [each.ended_at for each in run.tries if each.ended_at is not None]
    return {
        "run_id": run.run_id,
        "run_after": _text(run.run_after),
        "logical_date": _text(run.logical_date),
        "started_at": _text(min(started, default=None)),
        "ended_at": _text(max(ended, default=None)) if len(ended) == len(run.tries) else None,
        "state": _state([each.state for each in run.tries]),
    }


def _report(value: Any) -> Mapping[str, Any] | None:
    """Return the report of a bulk task; None for anything else that a task may have returned."""
    is_report = isinstance(value, dict) and {"accepted", "rejected", "rejects"} <= value.keys()
    return value if is_report else None


def _state(states: Sequence[str | None]) -> str | None:
    for state in _WORST_FIRST:
        if state in states:
            return state
    return next((state for state in states if state is not None), None)


def _share(counts: Mapping[str, int], elapsed: float, kind: str) -> float:
    """Return which part of MoEngage's documented limit a run took, 1 being all of it. A run of less than a minute
    took a part of one minute's limit.
    """
    minutes = max(elapsed, WINDOW) / WINDOW
    if kind == SEGMENT:
        return counts["requests"] / (MEMBER_REQUESTS_PER_MINUTE * minutes)
    used = max(counts["customers"] + counts["devices"] + counts["removed"], counts["actions"])
    return used / (DOCUMENTED_PER_MINUTE * minutes)


def _codes(found: Iterable[Any]) -> dict[str, int]:
    """Return counts by code, the largest first."""
    codes: Counter[str] = Counter()
    for counts in found:
        if isinstance(counts, dict):
            known = {code: _count(count) for code, count in counts.items() if _CODE.fullmatch(str(code))}
            codes.update({code: count for code, count in known.items() if count})
    return dict(codes.most_common())


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _seconds(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) and value > 0 else 0.0


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
