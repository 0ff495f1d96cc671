"""Selects the files of an import to wait for, and decides whether all of them have ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from airflow_provider_moengage.api.file_imports import FileRun, read_time

MOST_BASELINE_IDS = 1_000
"""IDs in a baseline. Older files are recognised by their time: XComs and the state store (64 kB) are limited."""

NEXT_RUN = timedelta(minutes=5)
"""An import runs once in five minutes, so files scheduled this much later belong to another run."""

TRIGGER_MARGIN = timedelta(minutes=2)
"""A file that was scheduled this long before a trigger, or earlier, is of another run, also if MoEngage lists it
only later: the run before was at least five minutes ago. Clocks may differ by less."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Baseline:
    """The run history before an import was triggered.

    :param ids: of its newest files.
    :param since: files that were scheduled then or earlier are old, whatever their id: a run's files may all have
        one time. None: ``ids`` is complete.
    :param not_before: files that were scheduled before then are of an earlier run, whatever their id, if the zone
        of their times is known. None: only ``ids`` and ``since`` tell.
    """

    ids: frozenset[str]
    since: datetime | None = None
    not_before: datetime | None = None

    @classmethod
    def of(cls, runs: Iterable[FileRun], *, triggered_at: datetime | None = None) -> Baseline:
        """Return the baseline of a run history.

        :param triggered_at: when the import was triggered after it.
        """
        newest_first = sorted(runs, key=_age, reverse=True)
        timeless = [run for run in newest_first if run.scheduled_at is None]  # only their ids identify them
        dated = [run for run in newest_first if run.scheduled_at is not None]
        kept = dated[: max(1, MOST_BASELINE_IDS - len(timeless))]
        is_cut = len(dated) > len(kept)
        since = kept[-1].scheduled_at if is_cut else None
        return cls(frozenset(run.id for run in (*timeless, *kept)), since, earliest(triggered_at))

    @property
    def needs_times(self) -> bool:
        """Whether which files are new depends on when they were scheduled."""
        return self.since is not None or self.not_before is not None

    def is_new(self, run: FileRun) -> bool:
        """Return whether a file is not in the baseline."""
        if run.id in self.ids:
            return False
        if run.scheduled_at is None:
            return True
        if self.since is not None and run.scheduled_at <= self.since:
            return False
        return self.not_before is None or run.is_time_assumed or run.scheduled_at >= self.not_before


def earliest(triggered_at: datetime | None) -> datetime | None:
    """Return when the first file of a run may have been scheduled, if its import was triggered then."""
    return None if triggered_at is None else triggered_at - TRIGGER_MARGIN


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects the files to wait for.

    :param file_name: an exact name or a glob; of several files with one name, the newest counts.
    :param since: files scheduled after this time.
    :param baseline: files that are not in it.
    :param expected_files: how many there must be, at least.

    Without any of the first three, the newest ``expected_files`` files of the import are selected.
    """

    file_name: str | None = None
    since: datetime | None = None
    baseline: Baseline | None = None
    expected_files: int = 1

    @property
    def needs_times(self) -> bool:
        """Whether which files are meant depends on when they were scheduled."""
        return self.since is not None or (self.baseline is not None and self.baseline.needs_times)

    def choose(self, runs: Iterable[FileRun]) -> tuple[FileRun, ...]:
        """Return the selected files that exist, in the order in which they were scheduled."""
        found = [run for run in runs if self._is_meant(run)]
        if self.file_name is None and self.since is None and self.baseline is None:
            return _newest(found)[-self.expected_files :]
        if self.baseline is not None:
            found = self._of_first_run(found)
        return tuple(sorted(_newest(found), key=lambda run: (_age(run)[0], run.file_name)))

    def _of_first_run(self, found: list[FileRun]) -> list[FileRun]:
        """Return the files of the first run only, unless these are too few."""
        first = min((run.scheduled_at for run in found if run.scheduled_at is not None), default=None)
        if first is None:
            return found
        of_first = [run for run in found if run.scheduled_at is None or run.scheduled_at < first + NEXT_RUN]
        return of_first if len(of_first) >= self.expected_files else found

    def are_over(self, chosen: Sequence[FileRun]) -> bool:
        """Return whether there are enough files and each has ended."""
        return len(chosen) >= self.expected_files and all(run.is_terminal for run in chosen)

    def describe(self, chosen: Sequence[FileRun]) -> str:
        """Return the state of the files, for the log."""
        if not chosen:
            return "no such file yet"
        wanted = f"{len(chosen)} of {self.expected_files}" if self.expected_files > 1 else f"{len(chosen)}"
        plural = "file" if wanted == "1" else "files"
        states = ", ".join(f"{run.file_name} {_status(run)}" for run in chosen[:5])
        more = f", and {len(chosen) - 5} more" if len(chosen) > 5 else ""
        return f"{wanted} {plural} there: {states}{more}"

    def _is_meant(self, run: FileRun) -> bool:
        if not is_named(run, self.file_name):
            return False
        if self.since is not None and (run.scheduled_at is None or run.scheduled_at <= self.since):
            return False
        return self.baseline is None or self.baseline.is_new(run)

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {
            "file_name": self.file_name,
            "since": _text(self.since),
            "baseline": None if self.baseline is None else sorted(self.baseline.ids),
            "baseline_since": None if self.baseline is None else _text(self.baseline.since),
            "baseline_not_before": None if self.baseline is None else _text(self.baseline.not_before),
            "expected_files": self.expected_files,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Selection:
        """Return the object that :meth:`to_dict` was called on."""
        ids = plain.get("baseline")
        times = [read_time(plain.get(name)) for name in ("baseline_since", "baseline_not_before")]
        baseline = None if ids is None else Baseline(frozenset(ids), *times)
        return cls(plain.get("file_name"), read_time(plain.get("since")), baseline, plain.get("expected_files", 1))


def _newest(found: Iterable[FileRun]) -> tuple[FileRun, ...]:
    """Return the newest file of each name, from old to new."""
    by_name: dict[str, FileRun] = {}
    for run in found:
        other = by_name.get(run.file_name)
        if other is None or _age(run) > _age(other):
            by_name[run.file_name] = run
    return tuple(sorted(by_name.values(), key=_age))


def is_named(run: FileRun, file_name: str | None) -> bool:
    """Return whether a file has this name or matches this glob; None matches all."""
    return file_name is None or run.file_name == file_name or fnmatchcase(run.file_name, file_name)


def _age(run: FileRun) -> tuple[datetime, datetime, str]:
    """Sort key from old to new. A file without a time is the newest as long as it has not ended."""
    scheduled = run.scheduled_at or (_EPOCH if run.is_terminal else _NEVER)
    return scheduled, run.completed_at or _NEVER, run.id


def _status(run: FileRun) -> str:
    return (
        run.file_status
        if run.is_known
        else f"{run.file_status!r} (unknown to this provider; treated as unfinished)"
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
