"""The runs of file imports: the files of each, and their statuses over time.

MoEngage API reference, "Import File Run History" and "Import Details".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_moengage.emulator.file_imports.definitions import FAILED, TERMINAL, FileImport, ImportFile
from airflow_provider_moengage.emulator.http import object_id, timed_object_id

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class RunFile:
    """A file of a run.

    :param steps: (epoch seconds, status) pairs.
    :param script: its outcome.
    """

    id: str
    file_name: str
    steps: tuple[tuple[float, str], ...]
    script: ImportFile

    @property
    def scheduled_at(self) -> float:
        """When (epoch seconds) the file appeared in the history."""
        return self.steps[0][0]

    def step(self, now: float) -> tuple[float, str] | None:
        """Return the current status and since when (epoch seconds); ``None``: not in the history yet."""
        for step in reversed(self.steps):
            if step[0] <= now:
                return step
        return None


@dataclass(frozen=True, slots=True)
class FileRun:
    """A run of an import.

    :param number: of this import's runs, from 1.
    :param began_at: epoch seconds of the emulator's clock.
    :param triggered: started by the API rather than by the dashboard's schedule.
    :param files: each with its ``id``, ``file_name`` and ``steps``: (epoch seconds, status) pairs.
    """

    number: int
    import_id: str
    began_at: float
    triggered: bool
    files: tuple[RunFile, ...]

    def progress(self, now: float) -> RunProgress:
        """Return its progress, from its files in the history."""
        statuses: list[str] = []
        processed = total_rows = processed_rows = 0
        for file in self.files:
            step = file.step(now)
            if step is None:
                continue
            statuses.append(step[1])
            total_rows += file.script.total_rows
            if step[1] in TERMINAL:
                processed += 1
                processed_rows += file.script.total_rows
        status = _run_status(statuses, processed) if self.files else "FAILED"
        return RunProgress(status, len(statuses), processed, total_rows, processed_rows)


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The progress of a run.

    :param status: QUEUED, PROCESSING, SUCCESSFUL, PARTIAL_SUCCESS or FAILED.
    :param processed_files: of ``total_files``, those with a terminal status.
    """

    status: str = ""
    total_files: int = 0
    processed_files: int = 0
    total_rows: int = 0
    processed_rows: int = 0

    @property
    def ended(self) -> bool:
        """Whether all files in the history have a terminal status."""
        return self.status in TERMINAL


def new_run(
    definition: FileImport, number: int, now: float, files: Iterable[ImportFile], *, triggered: bool
) -> FileRun:
    """Return a run that starts ``now``.

    :param files: with placeholders in their names replaced.
    """
    taken = tuple(
        RunFile(
            _file_id(definition, f"file {position} of run {number} at {now!r}", now + file.steps[0][0]),
            file.file_name,
            tuple((now + seconds, status) for seconds, status in file.steps),
            file,
        )
        for position, file in enumerate(files)
    )
    return FileRun(number, definition.import_id, now, triggered, taken)


def _file_id(definition: FileImport, which: str, appears_at: float) -> str:
    seed = f"{which} of import {definition.import_id}"
    return object_id(seed) if definition.file_ids == "random" else timed_object_id(seed, appears_at)


def named_for_run(files: Iterable[ImportFile], number: int, now: float) -> list[ImportFile]:
    """Return ``files`` with the placeholders in their names replaced for a run that starts ``now``."""
    date = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d_%H%M")
    return [
        msgspec.structs.replace(
            file, file_name=file.file_name.replace("{run}", str(number)).replace("{date}", date)
        )
        for file in files
    ]


def _run_status(statuses: list[str], processed: int) -> str:
    if processed < len(statuses) or not statuses:
        waiting = all(status in ("QUEUED", "WAITING", "PENDING") for status in statuses)
        return "QUEUED" if waiting else "PROCESSING"
    if FAILED.issuperset(statuses):
        return "FAILED"
    return "SUCCESSFUL" if set(statuses) == {"SUCCESSFUL"} else "PARTIAL_SUCCESS"
