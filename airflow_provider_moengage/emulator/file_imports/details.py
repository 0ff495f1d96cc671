"""``POST /v1.0/data/fileimports/import/status`` (MoEngage API reference, "Import Details")."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from airflow_provider_moengage.emulator.family import Result
from airflow_provider_moengage.emulator.file_imports.access import BadQueryError, query
from airflow_provider_moengage.emulator.file_imports.dates import read_span
from airflow_provider_moengage.emulator.file_imports.definitions import ImportSource, ImportType, ScheduleType
from airflow_provider_moengage.emulator.file_imports.pages import moment, number, page_answer, read_offset
from airflow_provider_moengage.emulator.http import Call

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.file_imports.catalog import FileImportState, RunningImport
    from airflow_provider_moengage.emulator.http import Answer
    from airflow_provider_moengage.emulator.settings import Settings

CREATED_BY = "emulator@example.com"

_FILTERS: dict[str, tuple[str, ...]] = {
    "import_type": get_args(ImportType),
    "schedule_type": get_args(ScheduleType),
    "file_source": get_args(ImportSource),
    "schedule_status": (
        "SUCCESSFUL",
        "FAILED",
        "PARTIAL_SUCCESS",
        "SCHEDULED",
        "PROCESSING",
        "QUEUED",
        "ARCHIVED",
    ),
}


def import_details(state: FileImportState, call: Call, now: float) -> Result:
    """List the imports and the progress of their last runs."""
    budget = (state.details, state.context.settings.file_imports_quota)
    return query(state.context, call, now, budget, partial(_details, state))


def _details(state: FileImportState, fields: dict[str, Any], now: float) -> Answer:
    settings = state.context.settings
    name, span = fields.get("import_name"), read_span(fields.get("date"), settings)
    if name is not None and type(name) is not str:
        raise BadQueryError("value")
    wanted = {filter_name: _values(fields, filter_name) for filter_name in _FILTERS}
    offset = read_offset(fields)
    listed = [
        known
        for known in state.catalog
        if known.definition.state != "deleted"
        and (name is None or _is_named(known, name, settings))
        and (span is None or (known.last_run is not None and known.last_run.began_at in span))
        and _fits(known, wanted, now)
    ]
    start = ((offset or 0) - 1) * settings.file_page_size
    if offset is None or (offset > 1 and start >= len(listed)):
        raise BadQueryError("offset")
    shown = [_shown(known, settings, now) for known in listed[start : start + settings.file_page_size]]
    return page_answer(shown, len(listed), offset, settings)


def _values(fields: dict[str, Any], name: str) -> frozenset[str] | None:
    """Return the values that a filter accepts: one value in MoEngage's schema, a list in its example."""
    wire = fields.get(name)
    if wire is None or wire == []:
        return None
    values = [wire] if type(wire) is str else wire
    if type(values) is not list or not all(type(value) is str and value in _FILTERS[name] for value in values):
        raise BadQueryError("value")
    return frozenset(values)


def _is_named(known: RunningImport, name: str, settings: Settings) -> bool:
    import_name = known.definition.import_name
    return import_name == name if settings.file_imports_by_name == "exact" else name in import_name


def _fits(known: RunningImport, wanted: dict[str, frozenset[str] | None], now: float) -> bool:
    definition = known.definition
    facts = {
        "import_type": definition.import_type,
        "schedule_type": definition.schedule_type,
        "file_source": definition.import_source,
    }
    if any(wanted[name] is not None and fact not in (wanted[name] or ()) for name, fact in facts.items()):
        return False
    statuses = wanted["schedule_status"]
    return statuses is None or _status(known, known.progress(now).status) in statuses


def _status(known: RunningImport, last_run_status: str) -> str:
    if known.definition.state == "expired":
        return "ARCHIVED"
    return last_run_status or "SCHEDULED"


def _shown(known: RunningImport, settings: Settings, now: float) -> dict[str, Any]:
    definition, run, progress = known.definition, known.last_run, known.progress(now)
    return {
        "import_id": definition.import_id,
        "import_name": definition.import_name,
        "last_run_status": progress.status or None,
        "import_type": definition.import_type,
        "schedule_type": definition.schedule_type,
        "import_source": definition.import_source,
        "total_files": number(progress.total_files, settings),
        "processed_files": number(progress.processed_files, settings),
        "total_rows": number(progress.total_rows, settings),
        "processed_rows": number(progress.processed_rows, settings),
        "created_at": moment(known.created_at, settings.file_time_zone),
        "last_run_at": moment(run.began_at if run else None, settings.file_time_zone),
        "next_scheduled_at": _next(known, now),
        "created_by_email": CREATED_BY,
        "status": _status(known, progress.status),
        "time_zone": settings.file_time_zone if definition.time_zone is None else definition.time_zone,
    }


def _next(known: RunningImport, now: float) -> str | None:
    """Return the next scheduled run; the emulator has no schedule, so this is always tomorrow. UTC, as in the
    reference's samples, whatever the zone of the other times.
    """
    if known.definition.schedule_type == "ONETIME" or known.definition.state == "expired":
        return None
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return moment((today + timedelta(days=1)).timestamp(), "UTC")
