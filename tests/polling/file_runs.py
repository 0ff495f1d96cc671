"""Files of a run history, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_moengage.api.file_imports import FileRun

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return DAY + timedelta(minutes=minutes)


def file(
    name: str = "a.csv", minutes: float | None = 0.0, status: str = "SUCCESSFUL", *, id: str = "", **fields: Any
) -> FileRun:
    """A file that was scheduled so many minutes after midnight, and has ended at once where its status says so."""
    scheduled_at = None if minutes is None else at(minutes)
    ended = {"completed_at": scheduled_at} if status in ("SUCCESSFUL", "FAILED", "PARTIAL_SUCCESS") else {}
    return FileRun(id or f"{name}@{minutes}", name, status, scheduled_at=scheduled_at, **{**ended, **fields})


RUNNING, DONE = file(status="PROCESSING"), file(status="SUCCESSFUL")
