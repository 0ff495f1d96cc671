"""The folder that an import watches: selects the files of a run and checks them.

MoEngage user guide, "Imports", file naming: ``<prefix>_<date>.<ext>``, and known file names are skipped.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_moengage.emulator.file_imports.definitions import FileImport, ImportFile, is_utf8
from airflow_provider_moengage.emulator.file_imports.file_rules import Rows, RuleBroken, check_file

if TYPE_CHECKING:
    from collections.abc import Container

MOST_FILES = 100
"""The maximum number of files of a run (user guide, "Imports": at most 100 a folder)."""

_EXTENSIONS = (".csv", ".json")
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATED = re.compile(
    rf"(?P<prefix>.+?)_(?P<date>\d{{8}}_\d{{4}}|\d{{8}}|\d{{2}}_\d{{4}}|({_MONTHS})_\d{{4}})", re.ASCII
)
_NUMERIC_DATES = ("%Y%m%d_%H%M", "%Y%m%d", "%d%m%Y", "%m_%Y")
_PREFIX = re.compile(r"[\w ]+")


def read_folder(file_import: FileImport, seen: Container[str]) -> list[ImportFile]:
    """Return the files of a run from the import's folder, with their outcomes.

    :param seen: file names of earlier runs.
    """
    return [_checked(file_import, path) for path in _new_files(Path(file_import.folder or ""), seen)]


def prefix_of(name: str) -> str | None:
    """Return the part of a file name before the date; ``None``: no documented date or extension."""
    stem, dot, extension = name.rpartition(".")
    dated = _DATED.fullmatch(stem)
    if dot + extension not in _EXTENSIONS or name.startswith(".") or dated is None:
        return None
    return dated["prefix"] if _is_date(dated["date"]) else None


def _new_files(folder: Path, seen: Container[str]) -> list[Path]:
    try:
        inside = sorted(path for path in folder.iterdir() if is_utf8(path.name) and path.is_file())
    except OSError:
        return []
    return [path for path in inside if path.name not in seen and prefix_of(path.name) is not None][:MOST_FILES]


def _checked(file_import: FileImport, path: Path) -> ImportFile:
    size = 0
    try:
        size = path.stat().st_size
        _check_prefix(file_import, path.name)
        rows = check_file(path, size, file_import)
    except RuleBroken as broken:
        return _file(file_import, path, size, "FAILED", str(broken), Rows())
    except OSError as error:
        return _file(file_import, path, size, "FAILED", f"The file cannot be read: {error.strerror}", Rows())
    if not rows.failed:
        return _file(file_import, path, size, "SUCCESSFUL", "", rows)
    message = f"{rows.failed} of {rows.total} rows failed; the first is {rows.first_failure}"
    return _file(
        file_import, path, size, "FAILED" if rows.failed == rows.total else "PARTIAL_SUCCESS", message, rows
    )


def _check_prefix(file_import: FileImport, name: str) -> None:
    """Check the characters of a prefix; a file of events may have the event's name, with any characters."""
    if file_import.import_type != "EVENTS" and not _PREFIX.fullmatch(prefix_of(name) or ""):
        raise RuleBroken("The prefix of the name may contain only letters, digits, spaces and _")


def _file(file_import: FileImport, path: Path, size: int, status: str, message: str, rows: Rows) -> ImportFile:
    return ImportFile(
        path.name,
        steps=tuple(zip(file_import.steps_seconds, ("QUEUED", "PROCESSING", status), strict=True)),
        status_msg=message,
        total_rows=rows.total,
        added_rows=rows.total - rows.failed,
        failed_rows=rows.failed,
        file_size=size,
    )


def _is_date(text: str) -> bool:
    if text[0].isalpha():
        return True
    for form in _NUMERIC_DATES:
        try:
            datetime.strptime(text, form)
        except ValueError:
            continue
        return True
    return False
