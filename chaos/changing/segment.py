"""The runs of a sync that keeps a segment equal to a table, and what must hold after each."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaos.changing.sync import ChangedOnlyRecord, ChangedOnlySync
from chaos.configurations import CONCURRENCY, Configuration
from chaos.killing import LAST_REQUESTS, Record
from chaos.result import RunResult
from chaos.workspace import TryRecord, has_unknown_outcome

_PADDING = "-" + "x" * 80
"""Makes an ID so long that a segment of some thousand members takes several requests."""

MEMBER_SQL = f"user_id || '{_PADDING}'"
"""A member's ID, of a row."""

_MEMBERS_A_REQUEST = 128_000 // len(_PADDING)
"""At most."""


class SegmentSync(ChangedOnlySync):
    """A configuration's runs: its table, state and segment last from run to run."""

    _refused = 1  # to find one takes some twenty requests, of 300 a minute

    def _new_record(self) -> Record:
        return SegmentRecord(self._past, self.configuration, self.workspace, self.generator)


class SegmentRecord(ChangedOnlyRecord):
    """Who was in the segment after each try. Of a member, MoEngage has no version: a row is enough."""

    def start(self, rejects: Path, seed: int) -> None:
        """Remove the rejects of earlier runs, and change the faults."""
        shutil.rmtree(rejects, ignore_errors=True)
        table = self._past.table
        refused = [f"{user}{_PADDING}" for user in sorted(table.refused)]
        self._workspace.set_faults(
            len(table.rows), refused, seed, only_refuse=not self._past.has_faults, of_segments=True
        )

    def start_try(self) -> None:
        """Change the table, and note who is in the segment."""
        super().start_try()
        self._past.versions = self._members()

    def end_try(self, *, was_killed: bool, seconds: float) -> None:
        """Record who has come and who has gone since the try before."""
        past, workspace, result = self._past, self._workspace, self._result
        time.sleep(LAST_REQUESTS)
        records = workspace.records(past.requests)
        timeouts = workspace.timeouts
        unknown = sum(map(has_unknown_outcome, records))
        self.tries.append(TryRecord(was_killed, (), len(records), unknown, timeouts - self._timeouts, seconds))
        before, past.versions = past.versions, self._members()
        lost = before.keys() & past.table.rows.keys() - past.versions.keys()
        result.check(not lost, f"{len(lost)} users whose rows are there were removed from the segment")
        added = 0 if (segment := self._segment()) is None else segment["added"]
        result.twice += added - past.elements - len(past.versions.keys() - before.keys())
        past.elements = added
        past.requests += len(records)
        past.tries += 1
        self._timeouts = timeouts

    def result(
        self, configuration: Configuration, rejects: Path, report: Mapping[str, Any], log: str
    ) -> RunResult:
        """Compare the segment with the table, now that the task has succeeded."""
        result = super().result(configuration, rejects, report, log)
        open_requests = sum(each.unknown + each.timeouts + CONCURRENCY * each.was_killed for each in self.tries)
        result.check(
            result.twice <= open_requests * _MEMBERS_A_REQUEST,
            f"{result.twice:,} members were added again, but at most {open_requests} requests were left open",
        )
        return result

    def _segment(self) -> Mapping[str, Any] | None:
        return self._workspace.segment(self._name)

    def _members(self) -> dict[str, int]:
        """Return the members, with the version of their row; 0 for those without one."""
        segment, rows = self._segment(), self._past.table.rows
        users = () if segment is None else (member.removesuffix(_PADDING) for member in segment["members"])
        return {user: rows.get(user, 0) for user in users}

    def _user(self, element: Any) -> str:
        user: str = element["uid"]
        return user.removesuffix(_PADDING)
