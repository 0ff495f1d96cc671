"""What the emulator's page shows of a workspace, as JSON; its size does not grow with what arrived."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.emulator.dashboard.statistics import BULK_IMPORT, OUTCOMES
from airflow_provider_moengage.emulator.file_imports.definitions import TERMINAL

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.dashboard.statistics import Timeline, Watch
    from airflow_provider_moengage.emulator.file_imports.catalog import RunningImport
    from airflow_provider_moengage.emulator.file_imports.runs import FileRun, RunFile
    from airflow_provider_moengage.emulator.limits import Reading
    from airflow_provider_moengage.emulator.quotas import Quota
    from airflow_provider_moengage.emulator.settings import Windows
    from airflow_provider_moengage.emulator.workspace import Counts, Workspace

MAX_IMPORTS, MAX_RUNS, MAX_FILES, MAX_EVENTS = 20, 3, 10, 50


def picture(workspace: Workspace) -> dict[str, Any]:
    """Return the picture of a workspace as it is now."""
    with workspace.looked_at() as (now, counts, watch):
        users, events = workspace.limits.readings(workspace.settings, now)
        return {
            "workspace_id": workspace.credentials.workspace_id,
            "now": now,
            "counts": _counts(counts),
            "outcomes": dict(zip(OUTCOMES, watch.outcomes, strict=True)),
            "limits": {"users": _reading(users), "events": _reading(events)},
            "events": workspace.event_chart(),
            "timeline": {"second": _timeline(watch.by_second, now), "minute": _timeline(watch.by_minute, now)},
            "fill": {
                "requests": sum(watch.fill),
                "mean": watch.filled / max(sum(watch.fill), 1),
                "steps": list(watch.fill),
                "limit": workspace.settings.body_limit,
            },
            "failures": _failures(watch),
            "dropped": counts.dropped,
            "business_events": _business_events(workspace),
            "quotas": _quotas(workspace, now),
            "file_imports": _file_imports(workspace, now),
            "faults": workspace.faults,
        }


def _counts(counts: Counts) -> dict[str, Any]:
    shown = asdict(counts)
    del shown["dropped"], shown["events_by_day"]
    return shown


def _reading(reading: Reading | None) -> dict[str, Any] | None:
    if reading is None:
        return None
    used = reading.limit - reading.remaining
    return {"limit": reading.limit, "used": used, "frees_at": reading.resets_at}


def _timeline(timeline: Timeline, now: float) -> dict[str, Any]:
    slots = [[slot.begins_at, *slot.requests, slot.elements] for slot in timeline.slots(now)]
    return {"seconds": timeline.seconds, "slots": timeline.keep, "columns": [*OUTCOMES, "elements"], "rows": slots}


def _failures(watch: Watch) -> list[dict[str, Any]]:
    shown = [
        {**asdict(failure), "count": times.count, "last_at": times.last_at}
        for failure, times in watch.failures.items()
    ]
    shown.sort(key=lambda failure: (failure["endpoint"] != BULK_IMPORT, -failure["count"]))
    return shown


def _business_events(workspace: Workspace) -> dict[str, Any]:
    defined = {known.event.name: known.event for known in workspace.catalog}
    names = list(dict.fromkeys([*defined, *workspace.firing_log.names()]))
    shown = []
    for name in names[:MAX_EVENTS]:
        fired, campaigns, last_at = workspace.firing_log.of_event(name)
        event = defined.get(name)
        shown.append(
            {
                "name": name,
                "defined": event is not None,
                "campaigns": len(event.campaigns) if event else 0,
                "flows": len(event.flows) if event else 0,
                "fired": fired,
                "campaigns_started": campaigns,
                "last_at": last_at,
            }
        )
    return {"shown": shown, "left_off": max(len(names) - MAX_EVENTS, 0)}


def _quotas(workspace: Workspace, now: float) -> list[dict[str, Any]]:
    settings, quotas = workspace.settings, workspace.quotas
    budgets: tuple[tuple[str, Quota, Windows], ...] = (
        ("v1 triggers", quotas.v1_triggers, settings.v1_trigger_quota),
        ("v1 flows", quotas.v1_flows, settings.v1_flow_quota),
        ("v5 campaigns", quotas.v5_campaigns, settings.v5_campaign_quota),
        ("v5 flows", quotas.v5_flows, settings.v5_flow_quota),
    )
    return [
        {"name": name, "seconds": seconds, "limit": limit, "used": used}
        for name, quota, windows in budgets
        for limit, seconds, used in quota.used(windows, now)
    ]


def _file_imports(workspace: Workspace, now: float) -> dict[str, Any]:
    imports = [known for known in workspace.imports if known.definition.state != "deleted"]
    cooldown = workspace.settings.file_cooldown_seconds
    shown = [_file_import(known, cooldown, now) for known in imports[:MAX_IMPORTS]]
    return {"shown": shown, "left_off": max(len(imports) - MAX_IMPORTS, 0)}


def _file_import(known: RunningImport, cooldown: float, now: float) -> dict[str, Any]:
    definition, last = known.definition, known.last_run
    opens_at = last.began_at + cooldown if last else now
    runs = list(islice(reversed(known.runs), MAX_RUNS))
    return {
        "import_id": definition.import_id,
        "import_name": definition.import_name,
        "import_type": definition.import_type,
        "import_source": definition.import_source,
        "schedule_type": definition.schedule_type,
        "state": definition.state,
        "folder": definition.folder,
        "runs_begun": last.number if last else 0,
        "opens_at": opens_at if opens_at > now else None,
        "runs": [_run(run, now) for run in runs],
    }


def _run(run: FileRun, now: float) -> dict[str, Any]:
    files = [shown for file in run.files[:MAX_FILES] if (shown := _file(file, now)) is not None]
    return {
        "number": run.number,
        "began_at": run.began_at,
        "triggered": run.triggered,
        "status": run.progress(now).status,
        "files": files,
        "left_off": max(len(run.files) - MAX_FILES, 0),
    }


def _file(file: RunFile, now: float) -> dict[str, Any] | None:
    step = file.step(now)
    if step is None:
        return None
    since, status = step
    shown: dict[str, Any] = {"file_name": file.file_name, "status": status, "since": since, "rows": None}
    if status in TERMINAL:
        script = file.script
        added, failed = script.outcome(status)
        shown["message"] = script.status_msg
        shown["rows"] = {
            "total": script.total_rows,
            "added": added,
            "updated": script.updated_rows,
            "failed": failed,
            "skipped": script.skipped_rows,
        }
    return shown
