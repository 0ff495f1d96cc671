"""``POST /v1.0/data/fileimports/trigger/{import_id}`` (MoEngage API reference, "Trigger File Imports")."""

from __future__ import annotations

from airflow_provider_moengage.emulator.file_imports.access import at_the_door
from airflow_provider_moengage.emulator.file_imports.answers import not_triggered, triggered
from airflow_provider_moengage.emulator.http import Call
from airflow_provider_moengage.emulator.workspace import Ruling, Workspace


def trigger_file_import(workspace: Workspace, call: Call, now: float) -> Ruling:
    """Begin a run of a periodic import, unless it ran just now or still runs."""
    stopped = at_the_door(workspace, call)
    if stopped is not None:
        return Ruling(stopped, "refused")
    imports, settings = workspace.imports, workspace.settings
    found = imports.find(call.import_id or "")
    if found is None or found.definition.state != "active" or found.definition.schedule_type != "PERIODIC":
        return Ruling(not_triggered("NOT_FOUND"), "refused")
    last = found.last_run
    if last is not None and (
        now - last.began_at < settings.file_cooldown_seconds or not found.progress(now).ended
    ):
        return Ruling(not_triggered("ALREADY_EXISTS"), "refused")
    imports.trigger(found, now, settings.keep_file_runs)
    return Ruling(triggered(), "accepted")
