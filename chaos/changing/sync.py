"""The runs of a sync that sends only changed rows, and what must hold after each."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.changing.table import Table, table_name
from chaos.configurations import CONCURRENCY, Configuration
from chaos.killing import LAST_REQUESTS, Record, Sync, counts
from chaos.result import RunResult
from chaos.workspace import AFTER_ACCEPTANCE, Arrival, TryRecord, Workspace, has_unknown_outcome

_ALREADY_STORED = "an earlier try of this run has stored its result already"
"""Why a retry removes nobody, in its log: the try before was killed between its result and its end."""

_FIRST_RUN_KILLS = 2
"""Kills of the run that finds no state. If there are no more, all of them are in a later run."""


@dataclass
class Past:
    """What earlier runs have left, and how much of MoEngage's log was read.

    :param versions: of each user's row, as MoEngage has it.
    :param sent: try and request of each user's last arrival. Tries are counted over all runs.
    """

    table: Table
    versions: dict[str, int] = field(default_factory=dict)
    sent: dict[str, tuple[int, Arrival]] = field(default_factory=dict)
    tries: int = 0
    requests: int = 0
    elements: int = 0
    deletions: int = 0
    is_first_run: bool = True
    has_faults: bool = True


class ChangedOnlySync(Sync):
    """A configuration's runs: its table and state last from run to run."""

    _refused = 2
    """Users whom the server refuses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.workspace.reset()
        name = table_name(self.configuration.store)
        path = self.setup.warehouse(self.configuration.source)
        self._past = Past(Table(path, name, self.setup.rows, self._refused))

    def run(self, kills: int) -> RunResult:
        """Make a run; the first one finds no state."""
        if not self._past.is_first_run:
            return super().run(kills)
        first_kills = _FIRST_RUN_KILLS if kills > _FIRST_RUN_KILLS else 0
        self._past.has_faults = first_kills > 0  # without a kill it only fills the workspace
        first = super().run(first_kills)
        self._past.is_first_run, self._past.has_faults = False, True
        return first

    def _new_record(self) -> Record:
        return ChangedOnlyRecord(self._past, self.configuration, self.workspace, self.generator)


class ChangedOnlyRecord:
    """What has arrived in a run so far, try by try. Elements have the number of their row's version."""

    def __init__(
        self, past: Past, configuration: Configuration, workspace: Workspace, generator: random.Random
    ) -> None:
        self.tries: list[TryRecord] = []
        self._name = configuration.name
        self._past = past
        self._on_removed = configuration.store
        self._workspace = workspace
        self._random = generator
        self._timeouts = 0
        self._result = RunResult()
        self._back: set[str] = set()
        self._in_flight: dict[int, set[int]] = defaultdict(set)
        self._first_try = past.tries

    def start(self, rejects: Path, seed: int) -> None:
        """Remove the rejects of earlier runs, and change the faults."""
        shutil.rmtree(rejects, ignore_errors=True)
        table = self._past.table
        self._workspace.set_faults(
            len(table.rows), sorted(table.refused), seed, only_refuse=not self._past.has_faults
        )

    def start_try(self) -> None:
        """Change the table, but not within the first run: who leaves during it, stays until the next one."""
        if not self._past.is_first_run:
            self._back |= self._past.table.change(self._random)

    @property
    def done(self) -> int:
        """Users of whom MoEngage has what the table has."""
        return len(self._past.table.sendable) - self.left

    @property
    def left(self) -> int:
        """Users of whom MoEngage has something else, or nothing."""
        versions = self._past.versions
        return sum(versions.get(user) != number for user, number in self._past.table.sendable.items())

    @property
    def share(self) -> float:
        """Share of the users of whom MoEngage has what the table has."""
        return self.done / len(self._past.table.sendable)

    def end_try(self, *, was_killed: bool, seconds: float) -> None:
        """Record what has arrived since the try before."""
        past, workspace = self._past, self._workspace
        time.sleep(LAST_REQUESTS)
        records = workspace.records(past.requests)
        arrivals = workspace.arrivals(records, past.elements, self._number)
        deleted = workspace.deletions(past.deletions)
        timeouts = workspace.timeouts
        unknown = sum(map(has_unknown_outcome, records))
        self.tries.append(
            TryRecord(was_killed, arrivals, len(records), unknown, timeouts - self._timeouts, seconds)
        )
        for arrival in arrivals:
            for number in arrival.positions:
                if number > 0:
                    self._arrived(past.table.owners[number], number, arrival)
                else:
                    self._removed(past.table.owners[-number])
            past.elements += len(arrival.positions)
        for user in deleted:  # a try deletes when it has sent everything
            self._removed(user, is_deletion=True)
        past.requests += len(records)
        past.deletions += len(deleted)
        past.tries += 1
        self._timeouts = timeouts

    def result(
        self, _configuration: Configuration, rejects: Path, report: Mapping[str, Any], log: str
    ) -> RunResult:
        """Compare MoEngage with the table, now that the task has succeeded."""
        result, past = self.counts(), self._past
        table, versions = past.table, past.versions
        wrong = [user for user, number in table.sendable.items() if versions.get(user) != number]
        result.lost = len(wrong)
        result.check(not wrong, f"of {len(wrong)} users, MoEngage has not what the table has")
        stays = versions.keys() - table.rows.keys()
        if self._on_removed != "keep" and _ALREADY_STORED not in Path(log).read_text(errors="replace"):
            result.check(not stays, f"{len(stays)} users whose rows have left are still in MoEngage")
        self._check_repeats(result)
        self._check_rejects(result, rejects, report)
        return result

    def counts(self) -> RunResult:
        """Return what can be counted before the end."""
        total = counts(self.tries)
        for each in ("twice", "by_faults", "by_kills"):
            setattr(total, each, getattr(self._result, each))
        total.problems += self._result.problems
        return total

    def _user(self, element: Any) -> str:
        """Return the user of a reject."""
        user: str = element["customer_id"]
        return user

    def _number(self, element: Any) -> int:
        """Return the version of an element; for one that unsets attributes, a negative one of its user."""
        if "unset_attributes" in element:
            return -self._past.table.versions[element["customer_id"]][0]
        number: int = element["attributes"]["n"]
        return number

    def _arrived(self, user: str, number: int, arrival: Arrival) -> None:
        """Take in what MoEngage has accepted, and why it was sent if MoEngage had it."""
        past, result = self._past, self._result
        before = past.sent.get(user)
        past.sent[user] = past.tries, arrival
        had, past.versions[user] = past.versions.get(user), number
        if had != number or before is None:
            return
        result.twice += 1
        at, earlier = before
        if at == past.tries:
            result.by_faults += 1
            may_hang = past.has_faults and self._workspace.timeouts > 0
            is_lost = earlier.fault in AFTER_ACCEPTANCE or may_hang
            result.check(is_lost, f"request {earlier.number} was accepted and answered, and sent again")
            return
        result.by_kills += 1
        if user not in self._back:  # the content in between was in flight, so MoEngage may have had it
            self._in_flight[at].add(earlier.number)

    def _removed(self, user: str, *, is_deletion: bool = False) -> None:
        past, result = self._past, self._result
        asked = "delete" if is_deletion else "unset"
        result.check(self._on_removed == asked, f"a user was removed by {asked}")
        result.check(user not in past.table.rows, "a user whose row is there was removed")
        past.versions.pop(user, None)
        past.sent.pop(user, None)

    def _check_repeats(self, result: RunResult) -> None:
        result.at_worst = max(map(len, self._in_flight.values()), default=0)
        for at, requests in self._in_flight.items():
            number = at - self._first_try
            was_killed = 0 <= number < len(self.tries) and self.tries[number].was_killed
            result.check(
                len(requests) <= (CONCURRENCY if was_killed else 0),
                f"something of {len(requests)} requests was sent again that a try"
                f" {'before a kill' if was_killed else 'that was not killed'} had sent: {_some(requests)}",
            )

    def _check_rejects(self, result: RunResult, rejects: Path, report: Mapping[str, Any]) -> None:
        table = self._past.table
        accepted, rejected, unchanged = (report[name] for name in ("accepted", "rejected", "unchanged"))
        result.check(
            accepted + rejected + unchanged == len(table.rows),
            f"the report has {accepted:,} + {rejected:,} + {unchanged:,} elements, not {len(table.rows):,}",
        )
        files = sorted(rejects.glob("*.ndjson")) if rejects.exists() else []
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        users = sorted(self._user(line["element"]) for line in lines)
        result.rejects = len(users)
        result.missing = len(table.refused - set(users))
        result.duplicated = len(users) - len(set(users))
        result.check(users == sorted(table.refused), f"{len(users)} rejects, not {len(table.refused)}")
        result.check(rejected == len(users), f"the report has {rejected:,} rejects, the file {len(users):,}")


def _some(numbers: Collection[int]) -> str:
    several = sorted(numbers)
    return f"{', '.join(map(str, several[:5]))}{', ...' if len(several) > 5 else ''}"
