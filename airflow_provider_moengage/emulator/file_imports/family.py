"""File imports as an API family.

MoEngage API reference, "Trigger File Imports", "Import File Run History" and "Import Details".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import islice
from typing import Any

from airflow_provider_moengage.emulator.family import Context, Endpoint, Family, Result
from airflow_provider_moengage.emulator.file_imports.access import check_access
from airflow_provider_moengage.emulator.file_imports.answers import (
    BASE,
    DETAILS,
    HISTORY,
    TRIGGER,
    file_import_failure,
    not_triggered,
    triggered,
)
from airflow_provider_moengage.emulator.file_imports.catalog import FileImportState, RunningImport
from airflow_provider_moengage.emulator.file_imports.definitions import TERMINAL
from airflow_provider_moengage.emulator.file_imports.details import import_details
from airflow_provider_moengage.emulator.file_imports.history import file_run_history
from airflow_provider_moengage.emulator.file_imports.runs import FileRun, RunFile
from airflow_provider_moengage.emulator.http import Answer, Call
from airflow_provider_moengage.emulator.limits import Quota

MAX_IMPORTS_SHOWN, MAX_RUNS_SHOWN, MAX_FILES_SHOWN = 20, 3, 10


class FileImports(Family):
    """Triggers file imports, and reports their runs."""

    base_path = BASE

    def __init__(self, context: Context) -> None:
        self.state = FileImportState(context)
        self.endpoints = (
            Endpoint(f"{TRIGGER}{{import_id}}", "File import trigger", partial(trigger_file_import, self.state)),
            Endpoint(HISTORY, "File run history", partial(file_run_history, self.state)),
            Endpoint(DETAILS, "File import details", partial(import_details, self.state)),
        )

    def failure(self, status: int, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the failure of the endpoint at ``path``."""
        not_found = self.state.context.settings.file_not_found
        return file_import_failure(status, path, headers, not_found=not_found)

    def reset(self) -> None:
        """Delete all runs and triggers, and reset the quotas; the imports stay."""
        self.state.catalog.delete_runs()
        self.state.histories, self.state.details = Quota(), Quota()

    def trim(self) -> None:
        """Delete the runs and triggers beyond the last ``keep_file_runs``."""
        self.state.catalog.trim(self.state.context.settings.keep_file_runs)

    def counts(self) -> dict[str, Any]:
        """Return the counts of triggers and runs."""
        catalog = self.state.catalog
        return {"file_triggers": catalog.triggers_accepted, "file_runs": catalog.runs_started}

    def snapshot(self, now: float) -> dict[str, Any]:
        """Return the imports with their last runs."""
        imports = [known for known in self.state.catalog if known.definition.state != "deleted"]
        cooldown = self.state.context.settings.file_cooldown_seconds
        shown = [_import(known, cooldown, now) for known in imports[:MAX_IMPORTS_SHOWN]]
        left_off = max(len(imports) - MAX_IMPORTS_SHOWN, 0)
        return {"file_imports": {"shown": shown, "left_off": left_off}}


def trigger_file_import(state: FileImportState, call: Call, now: float) -> Result:
    """Start a run of a periodic import, unless its last run is in progress or started less than 5 minutes ago."""
    refused = check_access(state.context, call)
    if refused is not None:
        return Result(refused, "refused")
    catalog, settings = state.catalog, state.context.settings
    found = catalog.find(call.import_id or "")
    if found is None or found.definition.state != "active" or found.definition.schedule_type != "PERIODIC":
        return Result(not_triggered("NOT_FOUND"), "refused")
    last = found.last_run
    if last is not None and (
        now - last.began_at < settings.file_cooldown_seconds or not found.progress(now).ended
    ):
        return Result(not_triggered("ALREADY_EXISTS"), "refused")
    catalog.trigger(found, now, settings.keep_file_runs, call.project_code)
    return Result(triggered(), "accepted")


def _import(known: RunningImport, cooldown: float, now: float) -> dict[str, Any]:
    definition, last = known.definition, known.last_run
    opens_at = last.began_at + cooldown if last else now
    runs = list(islice(reversed(known.runs), MAX_RUNS_SHOWN))
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
    files = [shown for file in run.files[:MAX_FILES_SHOWN] if (shown := _file(file, now)) is not None]
    return {
        "number": run.number,
        "began_at": run.began_at,
        "triggered": run.triggered,
        "status": run.progress(now).status,
        "files": files,
        "left_off": max(len(run.files) - MAX_FILES_SHOWN, 0),
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
