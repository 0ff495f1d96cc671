"""``POST /v1.0/data/fileimports/import/run/history`` (MoEngage API reference, "Import File Run History")."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_moengage.emulator.family import Result
from airflow_provider_moengage.emulator.file_imports.access import BadQueryError, query
from airflow_provider_moengage.emulator.file_imports.dates import read_span
from airflow_provider_moengage.emulator.file_imports.definitions import TERMINAL
from airflow_provider_moengage.emulator.file_imports.pages import moment, number, page_answer, read_offset
from airflow_provider_moengage.emulator.http import Call

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.file_imports.catalog import FileImportState, RunningImport
    from airflow_provider_moengage.emulator.file_imports.runs import RunFile
    from airflow_provider_moengage.emulator.http import Answer
    from airflow_provider_moengage.emulator.settings import Settings

_FILTERS = frozenset(["SUCCESSFUL", "FAILED", "PARTIAL_SUCCESS", "PROCESSING", "QUEUED", "WAITING"])


def file_run_history(state: FileImportState, call: Call, now: float) -> Result:
    """List the files of an import's runs."""
    budget = (state.histories, state.context.settings.file_history_quota)
    return query(state.context, call, now, budget, partial(_history, state))


def _history(state: FileImportState, fields: dict[str, Any], now: float) -> Answer:
    settings = state.context.settings
    if settings.file_data == "items":  # which holds one file
        settings = msgspec.structs.replace(settings, file_page_size=1)
    found = _import(state, fields)
    span, wanted, offset = (
        read_span(fields.get("date"), settings),
        _statuses(fields.get("file_status")),
        read_offset(fields),
    )
    if offset is None:
        raise BadQueryError("missing")
    listed = [
        (file, step)
        for run in found.runs
        for file in run.files
        if (step := file.step(now)) is not None
        and (span is None or file.scheduled_at in span)
        and (wanted is None or _filter_name(step[1]) in wanted)
    ]
    filtered = span is not None or wanted is not None
    start = (offset - 1) * settings.file_page_size
    if not listed and filtered and settings.file_no_match == "missing":
        raise BadQueryError("missing")
    if offset > 1 and start >= len(listed):
        raise BadQueryError("missing")
    _sort(listed, settings)
    import_type = found.definition.import_type
    shown = [
        _shown(file, step, import_type, settings) for file, step in listed[start : start + settings.file_page_size]
    ]
    return page_answer(shown, len(listed), offset, settings, files_in=settings.file_data)


def _import(state: FileImportState, fields: dict[str, Any]) -> RunningImport:
    import_id, name = fields.get("import_id"), fields.get("import_name")
    found = None
    if type(import_id) is str and import_id:
        found = state.catalog.find(import_id)
    elif type(name) is str:
        found = state.catalog.named(name)
    if found is None:
        raise BadQueryError("missing")
    return found


def _statuses(wire: Any) -> frozenset[str] | None:
    if wire is None or wire == []:
        return None
    if type(wire) is not list or not all(type(status) is str and status in _FILTERS for status in wire):
        raise BadQueryError("value")
    return frozenset(wire)


def _filter_name(status: str) -> str:
    """Return the filter's name of a status: it has one name only for partially imported files."""
    return "PARTIAL_SUCCESS" if status == "PARTIAL_FAILURE" else status


def _sort(listed: list[tuple[RunFile, tuple[float, str]]], settings: Settings) -> None:
    """Sort files, which are in the order of their runs, by the setting ``file_order``."""
    if settings.file_order == "shuffled":
        listed.sort(key=lambda entry: hashlib.sha256(entry[0].id.encode()).digest())
        return
    listed.sort(key=lambda entry: entry[0].scheduled_at)
    if settings.file_order == "newest":
        listed.reverse()


def _shown(file: RunFile, step: tuple[float, str], import_type: str, settings: Settings) -> dict[str, Any]:
    since, status = step
    script = file.script
    ended = status in TERMINAL
    added, failed = script.outcome(status) if ended else (0, 0)
    auxiliary = import_type == "AUX_DATA"
    rows = {
        "total_rows": script.total_rows if ended else 0,
        "skipped_rows": script.skipped_rows if ended else 0,
        "updated_rows": script.updated_rows if ended else 0,
        "failed_rows": failed,
        "aux_data_added_count": added if auxiliary else 0,
        "aux_data_failed_count": failed if auxiliary else 0,
        "added_rows": added,
    }
    return {
        "id": file.id,
        "file_name": file.file_name,
        "scheduled_at": moment(file.scheduled_at, settings.file_time_zone),
        "completed_at": moment(since if ended else None, settings.file_time_zone),
        "type": import_type,
        "file_size": str(script.file_size),
        "file_status": settings.file_partial_word if status == "PARTIAL_SUCCESS" else status,
        "status_msg": script.status_msg if ended else "",
        **{name: number(count, settings) for name, count in rows.items()},
    }
