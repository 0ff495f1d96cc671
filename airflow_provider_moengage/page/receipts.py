"""Runs of file imports and business events as the page shows them, and what is left of the quota of events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_moengage.page.runs import run_facts
from airflow_provider_moengage.page.stored import StoredRun
from airflow_provider_moengage.page.synced_tasks import ProviderTask

QUOTAS = {
    "v1": (("an hour", timedelta(hours=1), 50), ("a day", timedelta(days=1), 200)),
    "v5": (
        ("5 minutes", timedelta(minutes=5), 10),
        ("an hour", timedelta(hours=1), 50),
        ("a day", timedelta(days=1), 200),
    ),
}
"""Triggers that a workspace may make in each window; with v5, campaigns that it may start (MoEngage API reference,
"Business Events").
"""

LONGEST_WINDOW = timedelta(days=1)

_FILE_TEXTS = ("file_name", "file_status", "status_msg", "type", "scheduled_at", "completed_at")
_FILE_COUNTS = ("total_rows", "added_rows", "updated_rows", "skipped_rows", "failed_rows")
_EVENT_TEXTS = ("event_name", "api_version", "status", "request_id")
_EVENT_LISTS = ("triggered_campaign_ids", "triggered_flow_ids", "failed_campaign_ids", "failed_flow_ids")
_LONGEST = 300
_MOST_FILES = 100


def import_run(run: StoredRun) -> dict[str, Any]:
    """Return a run of a task that starts or watches a file import, JSON-ready. Its files are None if the task
    returned no list of them: it has not ended, or does not wait for them.
    """
    row: dict[str, Any] = {**run_facts(run), "import_id": None, "triggered_at": None, "files": None}
    for each in run.tries:
        value = each.value
        if isinstance(value, dict):
            row |= {name: _text(value.get(name)) for name in ("import_id", "triggered_at")}
            value = value.get("files")
        if isinstance(value, list):
            files = [_file(file) for file in value[:_MOST_FILES] if isinstance(file, dict)]
            row["files"] = (row["files"] or []) + files
    return row


def event_run(run: StoredRun) -> dict[str, Any]:
    """Return a run of a task that triggers a business event, JSON-ready."""
    row: dict[str, Any] = run_facts(run)
    for value in (each.value for each in run.tries):
        if isinstance(value, dict):
            row |= {name: _text(value.get(name)) for name in _EVENT_TEXTS}
            row |= {name: len(found) for name in _EVENT_LISTS if isinstance(found := value.get(name), list)}
            row["dry_run"] = value.get("dry_run") is True
    return row


def quotas(
    tasks: Iterable[ProviderTask], returned: Iterable[tuple[ProviderTask, datetime, Any]], now: datetime
) -> list[dict[str, Any]]:
    """Return how much of each quota the tasks have used, by connection and version of the API."""
    uses: dict[tuple[str, str], list[tuple[datetime, int]]] = defaultdict(list)
    for task, moment, value in returned:
        if isinstance(value, dict) and value.get("dry_run") is not True and _version(task, value) in QUOTAS:
            uses[(task.moengage_conn_id or "", _version(task, value))].append((moment, _use(value)))
    known = {(task.moengage_conn_id or "", task.api_version or "v1") for task in tasks}
    return [
        {
            "moengage_conn_id": conn_id or None,
            "api_version": version,
            "window": name,
            "quota": quota,
            "used": sum(use for moment, use in uses.get((conn_id, version), ()) if moment > now - window),
        }
        for conn_id, version in sorted(known | uses.keys())
        for name, window, quota in QUOTAS.get(version, ())
    ]


def _use(value: Mapping[str, Any]) -> int:
    """Return how much of the quota a trigger took: v5 counts the campaigns that it started."""
    started = value.get("triggered_campaign_ids")
    return max(len(started), 1) if isinstance(started, list) else 1


def _version(task: ProviderTask, value: Mapping[str, Any]) -> str:
    return str(value.get("api_version") or task.api_version)


def _file(file: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: count if isinstance(count := file.get(name), int) else None for name in _FILE_COUNTS}
    return {**{name: _text(file.get(name)) for name in _FILE_TEXTS}, **counts}


def _text(value: Any) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) else None
