"""The file imports of one workspace with their runs, and the triggers that it accepted."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from airflow_provider_moengage.emulator.file_imports.definitions import FileImport, ImportFile
from airflow_provider_moengage.emulator.file_imports.folder import read_folder
from airflow_provider_moengage.emulator.file_imports.runs import FileRun, RunProgress, begin_run, named_for_run


@dataclass(frozen=True, slots=True)
class FileTrigger:
    """A trigger of a file import that began a run, whatever was answered.

    :param number: from 1, in the order in which they took effect.
    :param received_at: epoch seconds of the emulator's clock.
    """

    number: int
    import_id: str
    received_at: float


class RunningImport:
    """A file import, when (epoch seconds) it was set up, and the last of its runs."""

    def __init__(self, file_import: FileImport, created_at: float) -> None:
        self.definition = file_import
        self.created_at = created_at
        self.runs: deque[FileRun] = deque()
        self.last_run: FileRun | None = None
        self._seen: set[str] = set()
        self._run_count = 0
        self._changes: list[float] = []
        self._progress: tuple[int, RunProgress] | None = None

    def begin(self, now: float, files: Iterable[ImportFile] | None, *, triggered: bool) -> FileRun:
        """Begin a run that takes ``files``; ``None``: those that the import is set up with."""
        self._run_count += 1
        definition = self.definition
        if files is None and definition.folder is not None:
            taken = read_folder(definition, self._seen)
            self._seen.update(file.file_name for file in taken)
        else:
            taken = named_for_run(definition.files if files is None else files, self._run_count, now)
        self.last_run = begin_run(definition.import_id, self._run_count, now, taken, triggered=triggered)
        self.runs.append(self.last_run)
        self._changes = sorted({moment for file in self.last_run.files for moment, _ in file.steps})
        self._progress = None
        return self.last_run

    def progress(self, now: float) -> RunProgress:
        """Tell how far the last run is; worked out anew only where one of its files has moved on."""
        if self.last_run is None:
            return RunProgress()
        moved = bisect_right(self._changes, now)
        if self._progress is None or self._progress[0] != moved:
            self._progress = moved, self.last_run.progress(now)
        return self._progress[1]


class FileImportCatalog:
    """The file imports of one workspace, in the order in which they were set up."""

    def __init__(self) -> None:
        self._imports: dict[str, RunningImport] = {}
        self._triggers: deque[FileTrigger] = deque()
        self.triggers_accepted = 0
        self.runs_begun = 0

    def __iter__(self) -> Iterator[RunningImport]:
        return iter(self._imports.values())

    def add(self, file_import: FileImport, now: float) -> None:
        """Set up an import, or change the one of that id and keep its runs.

        :raises ValueError: when another one has its name.
        """
        namesake = self.named(file_import.import_name) if file_import.state != "deleted" else None
        if namesake is not None and namesake.definition.import_id != file_import.import_id:
            raise ValueError(
                f"import_name {file_import.import_name!r}: the import {namesake.definition.import_id!r} has it"
            )
        known = self._imports.get(file_import.import_id)
        if known is None:
            self._imports[file_import.import_id] = RunningImport(file_import, now)
        else:
            known.definition = file_import

    def clear(self) -> None:
        """Have none, and forget their runs."""
        self._imports.clear()

    def find(self, import_id: str) -> RunningImport | None:
        """Return the import of that id, unless it is deleted."""
        found = self._imports.get(import_id)
        return None if found is None or found.definition.state == "deleted" else found

    def named(self, name: str) -> RunningImport | None:
        """Return the import of that name, unless it is deleted."""
        for known in self:
            if known.definition.import_name == name and known.definition.state != "deleted":
                return known
        return None

    def run(self, import_id: str, files: Iterable[ImportFile] | None, now: float, keep: int | None) -> FileRun:
        """Begin the run of an import that its schedule makes.

        :raises ValueError: when there is none of that id, or it is deleted or expired.
        """
        found = self.find(import_id)
        if found is None or found.definition.state != "active":
            raise ValueError(f"import_id {import_id!r}: this workspace has no active import of that id")
        return self._begin(found, files, now, keep, triggered=False)

    def trigger(self, found: RunningImport, now: float, keep: int | None) -> None:
        """Begin the run of an import that the API triggers."""
        self.triggers_accepted += 1
        import_id = found.definition.import_id
        self._triggers.append(FileTrigger(self.triggers_accepted, import_id, now))
        self._begin(found, None, now, keep, triggered=True)

    def trim(self, keep: int | None) -> None:
        """Let go of the triggers, and of each import's runs, beyond the last ``keep``."""
        _trim(self._triggers, keep)
        for known in self:
            _trim(known.runs, keep)

    def triggers(self) -> list[FileTrigger]:
        """Return the triggers kept, oldest first."""
        return list(self._triggers)

    def forget_runs(self) -> None:
        """Forget all runs, triggers and file names; keep the imports."""
        for known in list(self):
            definition = known.definition
            self._imports[definition.import_id] = RunningImport(definition, known.created_at)
        self._triggers.clear()
        self.triggers_accepted = self.runs_begun = 0

    def _begin(
        self,
        found: RunningImport,
        files: Iterable[ImportFile] | None,
        now: float,
        keep: int | None,
        *,
        triggered: bool,
    ) -> FileRun:
        run = found.begin(now, files, triggered=triggered)
        self.runs_begun += 1
        _trim(found.runs, keep)
        _trim(self._triggers, keep)
        return run


def _trim(log: deque[FileRun] | deque[FileTrigger], keep: int | None) -> None:
    while keep is not None and len(log) > keep:
        log.popleft()
