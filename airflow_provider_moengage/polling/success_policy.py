"""Decides whether finished files are a success, for operator and sensor alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from airflow_provider_moengage.api.file_imports import EXHAUSTED, FAILED, PARTIAL_SUCCESS, SUCCESSFUL, FileRun

PartialSuccess = Literal["fail", "accept"]
PARTIAL_POLICIES: tuple[PartialSuccess, ...] = get_args(PartialSuccess)


@dataclass(frozen=True, slots=True)
class Policy:
    """What counts as success.

    :param partial_success: ``fail`` or ``accept`` files of which some rows failed.
    :param max_failed_rows: rows that may have failed, over all files; None for any number.
    """

    partial_success: PartialSuccess = "fail"
    max_failed_rows: int | None = None

    def complaint(self, files: Sequence[FileRun]) -> str | None:
        """Return what is wrong with finished files, as a sentence; None if they are a success."""
        failed = [file for file in files if file.result == FAILED]
        partial = [file for file in files if file.file_status == PARTIAL_SUCCESS]
        if failed:
            return f"MoEngage could not import {_listed(failed)}{_advice(failed)}"
        if partial and self.partial_success == "fail":
            return (
                f"MoEngage imported only a part of {_listed(partial)}; partial_success='accept' treats this as"
                " success"
            )
        return self._too_many(files, partial)

    def warning(self, files: Sequence[FileRun]) -> str | None:
        """Return a warning about files that MoEngage calls SUCCESSFUL though some rows failed; None if there are
        none.
        """
        odd = [file for file in files if file.file_status == SUCCESSFUL and file.rows_failed]
        if not odd:
            return None
        rows = sum(file.rows_failed or 0 for file in odd)
        return f"{rows:,} rows failed although MoEngage reports success: {_listed(odd)}"

    def _too_many(self, files: Sequence[FileRun], partial: Sequence[FileRun]) -> str | None:
        if self.max_failed_rows is None:
            return None
        unknown = [file for file in partial if file.rows_failed is None]
        if unknown:
            return (
                f"MoEngage does not report how many rows failed of {_listed(unknown)}, but max_failed_rows is set"
            )
        rows = sum(file.rows_failed or 0 for file in files)
        if rows <= self.max_failed_rows:
            return None
        guilty = [file for file in files if file.rows_failed]
        allowed = f"max_failed_rows={self.max_failed_rows:,}"
        return f"{rows:,} rows failed, more than {allowed} allows, in {_listed(guilty)}"


def summary(files: Sequence[FileRun]) -> str:
    """Return the files and their rows, for the log."""
    return "; ".join(_described(file) for file in files)


def _advice(failed: Sequence[FileRun]) -> str:
    """Return what to do about files that no further run imports by itself."""
    if any(_RATE_LIMIT in (file.status_msg or "").casefold() for file in failed):
        return (
            ". MoEngage never reads a file again whose name it knows: rename the file whose rate limit was"
            " breached, and let the import run again"
        )
    if any(file.file_status == EXHAUSTED for file in failed):
        return ". MoEngage has retried an EXHAUSTED file to the maximum: trigger the import again"
    return ""


_RATE_LIMIT = "rate limit breached"


def _listed(files: Sequence[FileRun]) -> str:
    shown = "; ".join(_described(file) for file in files[:5])
    return f"{shown}; and {len(files) - 5} more files" if len(files) > 5 else shown


def _described(file: FileRun) -> str:
    counts = [
        ("total", file.total_rows),
        ("added", file.added_rows),
        ("updated", file.updated_rows),
        ("skipped", file.skipped_rows),
        ("failed", file.rows_failed),
    ]
    rows = ", ".join(f"{name} {count:,}" for name, count in counts if count is not None)
    said = f": {' '.join(file.status_msg.split())[:300]}" if file.status_msg else ""
    return f"{file.file_name} ({file.file_status}{said}{f'; rows: {rows}' if rows else ''})"
