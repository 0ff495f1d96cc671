"""The file imports of one workspace, with their runs and the accepted triggers."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from airflow_provider_moengage.emulator.family import Context
from airflow_provider_moengage.emulator.file_imports.definitions import FileImport, ImportFile
from airflow_provider_moengage.emulator.file_imports.folder import read_folder
from airflow_provider_moengage.emulator.file_imports.runs import FileRun, RunProgress, named_for_run, new_run
from airflow_provider_moengage.emulator.limits import Quota


@dataclass(frozen=True, slots=True)
class FileTrigger:
    """A trigger of a file import that started a run, whatever the answer was.

    :param number: from 1, in the order in which triggers took effect.
    :param received_at: epoch seconds of the emulator's clock.
    :param project_code: the project of a portfolio that the trigger names.
    """

    number: int
    import_id: str
    received_at: float
    project_code: str | None = None


class RunningImport:
    """A file import, when (epoch seconds) it was added, and its last runs."""

    def __init__(self, file_import: FileImport, created_at: float) -> None:
        self.definition = file_import
        self.created_at = created_at
        self.runs: deque[FileRun] = deque()
        self.last_run: FileRun | None = None
        self._seen: set[str] = set()
        self._run_count = 0
        self._changes: list[float] = []
        self._progress: tuple[int, RunProgress] | None = None

    def start_run(self, now: float, files: Iterable[ImportFile] | None, *, triggered: bool) -> FileRun:
        """Start a run of ``files``; ``None``: the import's own."""
        self._run_count += 1
        definition = self.definition
        if files is None and definition.folder is not None:
            taken = read_folder(definition, self._seen)
            self._seen.update(file.file_name for file in taken)
        else:
            taken = named_for_run(definition.files if files is None else files, self._run_count, now)
        self.last_run = new_run(definition, self._run_count, now, taken, triggered=triggered)
        self.runs.append(self.last_run)
        self._changes = sorted({moment for file in self.last_run.files for moment, _ in file.steps})
        self._progress = None
        return self.last_run

    def progress(self, now: float) -> RunProgress:
        """Return the progress of the last run, computed again only if a file has a new status."""
        if self.last_run is None:
            return RunProgress()
        moved = bisect_right(self._changes, now)
        if self._progress is None or self._progress[0] != moved:
            self._progress = moved, self.last_run.progress(now)
        return self._progress[1]


class FileImportCatalog:
    """The file imports of one workspace, in the order in which they were added."""

    def __init__(self) -> None:
        self._imports: dict[str, RunningImport] = {}
        self._triggers: deque[FileTrigger] = deque()
        self.triggers_accepted = 0
        self.runs_started = 0

    def __iter__(self) -> Iterator[RunningImport]:
        return iter(self._imports.values())

    def add(self, file_import: FileImport, now: float) -> None:
        """Add an import, or replace the one with its id and keep its runs.

        :raises ValueError: if another import has its name.
        """
        namesake = self.named(file_import.import_name) if file_import.state != "deleted" else None
        if namesake is not None and namesake.definition.import_id != file_import.import_id:
            raise ValueError(
                f"import_name {file_import.import_name!r}: import {namesake.definition.import_id!r} has it"
            )
        known = self._imports.get(file_import.import_id)
        if known is None:
            self._imports[file_import.import_id] = RunningImport(file_import, now)
        else:
            known.definition = file_import

    def clear(self) -> None:
        """Delete all imports and their runs."""
        self._imports.clear()

    def find(self, import_id: str) -> RunningImport | None:
        """Return the import with that id, unless it is deleted."""
        found = self._imports.get(import_id)
        return None if found is None or found.definition.state == "deleted" else found

    def named(self, name: str) -> RunningImport | None:
        """Return the import with that name, unless it is deleted."""
        for known in self:
            if known.definition.import_name == name and known.definition.state != "deleted":
                return known
        return None

    def run(self, import_id: str, files: Iterable[ImportFile] | None, now: float, keep: int | None) -> FileRun:
        """Start a scheduled run of an import.

        :raises ValueError: if no import has that id, or it is deleted or expired.
        """
        found = self.find(import_id)
        if found is None or found.definition.state != "active":
            raise ValueError(f"import_id {import_id!r}: this workspace has no active import with that id")
        return self._start_run(found, files, now, keep, triggered=False)

    def trigger(self, found: RunningImport, now: float, keep: int | None, project_code: str | None = None) -> None:
        """Start a run that the API triggered."""
        self.triggers_accepted += 1
        import_id = found.definition.import_id
        self._triggers.append(FileTrigger(self.triggers_accepted, import_id, now, project_code))
        self._start_run(found, None, now, keep, triggered=True)

    def trim(self, keep: int | None) -> None:
        """Delete the triggers, and each import's runs, beyond the last ``keep``."""
        _trim(self._triggers, keep)
        for known in self:
            _trim(known.runs, keep)

    def triggers(self) -> list[FileTrigger]:
        """Return the triggers kept, oldest first."""
        return list(self._triggers)

    def delete_runs(self) -> None:
        """Delete all runs, triggers and known file names; keep the imports."""
        for known in list(self):
            definition = known.definition
            self._imports[definition.import_id] = RunningImport(definition, known.created_at)
        self._triggers.clear()
        self.triggers_accepted = self.runs_started = 0

    def _start_run(
        self,
        found: RunningImport,
        files: Iterable[ImportFile] | None,
        now: float,
        keep: int | None,
        *,
        triggered: bool,
    ) -> FileRun:
        run = found.start_run(now, files, triggered=triggered)
        self.runs_started += 1
        _trim(found.runs, keep)
        _trim(self._triggers, keep)
        return run


@dataclass(slots=True)
class FileImportState:
    """What the endpoints of file imports read and change.

    :param histories: what was used of the quota of the file run history.
    :param details: what was used of the quota of the import details.
    """

    context: Context
    catalog: FileImportCatalog = field(default_factory=FileImportCatalog)
    histories: Quota = field(default_factory=Quota)
    details: Quota = field(default_factory=Quota)


def _trim(log: deque[FileRun] | deque[FileTrigger], keep: int | None) -> None:
    while keep is not None and len(log) > keep:
        log.popleft()
