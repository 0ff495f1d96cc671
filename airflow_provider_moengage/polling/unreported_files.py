"""Tracks finished files that are not reported yet; each is reported once, across restarts if its state is kept."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow_provider_moengage.api.file_imports import FileRun, read_time
from airflow_provider_moengage.polling.selection import MOST_BASELINE_IDS, Baseline, is_named

GONE_AFTER = 100
"""Looks in a row that miss a file, after which MoEngage no longer lists it. Fewer are a look that missed it."""


class UnreportedFiles:
    """The finished files of an import that were not reported yet.

    :param file_name: an exact name or a glob; None for every file.
    :param statuses: of the files to report.
    :param memory: the finished files that need no report; None: those that the first poll finds need none.
    """

    def __init__(self, file_name: str | None, statuses: Sequence[str], memory: Baseline | None) -> None:
        self._file_name = file_name
        self._statuses = frozenset(statuses)
        self._memory = memory
        self._pending: set[str] = set()
        self._missed: dict[str, int] = {}
        self._unfinished: set[str] = set()
        self._lock = threading.Lock()

    def look(self, runs: Sequence[FileRun]) -> list[FileRun] | None:
        """Return the unreported files that were not returned before, in the order in which they finished.

        None if there are none, but an empty list from the first poll, which creates the memory.
        """
        finished = [run for run in runs if run.is_terminal]
        with self._lock:
            if self._memory is None:
                self._memory = Baseline.of(finished)
                return []
            self._note_missed(runs)
            if runs and len(self._memory.ids) > 2 * MOST_BASELINE_IDS and not self._is_partial():
                self._trim(runs)
            fresh = [run for run in finished if self._is_news(run) and run.id not in self._pending]
            self._pending.update(run.id for run in fresh)
        return sorted(fresh, key=lambda run: (str(run.completed_at), run.id)) or None

    def told(self, run: FileRun) -> None:
        """Mark a file as reported."""
        with self._lock:
            memory = self._memory or Baseline(frozenset())
            self._memory = Baseline(memory.ids | {run.id}, memory.since)
            self._pending.discard(run.id)

    def _note_missed(self, runs: Sequence[FileRun]) -> None:
        """Count how often in a row each known file was missing."""
        if not runs:
            return
        listed = {run.id for run in runs}
        known = self._unfinished | (self._memory.ids if self._memory is not None else frozenset())
        self._missed = {each: self._missed.get(each, 0) + 1 for each in known - listed}
        self._unfinished |= {run.id for run in runs if not run.is_terminal}
        self._unfinished -= {run.id for run in runs if run.is_terminal}

    def _is_partial(self) -> bool:
        """Return whether known files are missing from the last look, so it does not show which are the newest."""
        return any(times < GONE_AFTER for times in self._missed.values())

    def _trim(self, runs: Sequence[FileRun]) -> None:
        """Keep only the newest IDs, unless an older file is still unreported."""
        is_open = [not run.is_terminal or self._is_news(run) for run in runs]
        trimmed = Baseline.of(run for run, still in zip(runs, is_open, strict=True) if not still)
        if all(trimmed.is_new(run) for run, still in zip(runs, is_open, strict=True) if still):
            before = self._memory.since if self._memory is not None else None
            since = max((each for each in (before, trimmed.since) if each is not None), default=None)
            self._memory = Baseline(trimmed.ids, since)

    @property
    def memory(self) -> Baseline | None:
        """The finished files that need no report; None before the first poll."""
        return self._memory

    def to_dict(self) -> dict[str, Any]:
        """Return the memory, JSON-ready."""
        memory = self._memory or Baseline(frozenset())
        return {"ids": sorted(memory.ids), "since": memory.since.isoformat() if memory.since else None}

    def _is_news(self, run: FileRun) -> bool:
        is_new = self._memory is None or self._memory.is_new(run)
        return is_named(run, self._file_name) and is_new and run.result in self._statuses


def memory_of(kept: object) -> Baseline | None:
    """Return the memory that :meth:`UnreportedFiles.to_dict` returned; None if it cannot be read."""
    if not isinstance(kept, Mapping) or not isinstance(kept.get("ids"), list):
        return None
    since: datetime | None = read_time(kept.get("since"))
    return Baseline(frozenset(map(str, kept["ids"])), since)
