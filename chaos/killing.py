"""One sync that is killed according to a plan, and tried again until it ends by itself."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from chaos.configurations import CONCURRENCY, Configuration, Setup
from chaos.deployment import TryResult, TryRunner
from chaos.kill_plan import After, KillPlan, KillTime
from chaos.result import RunResult, check_run, read_rejects
from chaos.source import Source
from chaos.workspace import TryRecord, Workspace, has_unknown_outcome

_FILE_INTERVAL = 0.002
_REQUEST_INTERVAL = 0.025
"""Seconds between two looks at a file, and between two requests to the emulator."""

LAST_REQUESTS = 0.3
"""Seconds after a try's end in which the emulator finishes what the try had sent."""

_NEARLY = CONCURRENCY * 300
"""Elements in the last requests."""

_FAILURES = 3
"""Tries that may fail by themselves before the run is given up."""


_GUESSED_START, _GUESSED_PACE = 8.0, 8_000.0
"""Seconds that faults and refusals cost a run, and elements a second: a guess until a run was measured."""


@dataclass
class Pace:
    """The measured speed of a configuration's tries."""

    elements: float
    seconds: float

    @classmethod
    def guessed(cls, elements: int) -> Pace:
        """Return a guess that counts as much as half a run."""
        return cls(elements / 2, (_GUESSED_START + elements / _GUESSED_PACE) / 2)

    @property
    def per_second(self) -> float:
        """Elements a second."""
        return self.elements / self.seconds


class Record(Protocol):
    """What a run of any kind records, try by try."""

    tries: list[TryRecord]

    def start(self, rejects: Path, seed: int) -> None:
        """Prepare the run."""

    def start_try(self) -> None:
        """Prepare a try."""

    @property
    def done(self) -> int:
        """Elements that have arrived."""

    @property
    def left(self) -> int:
        """Elements that have not arrived yet."""

    @property
    def share(self) -> float:
        """Share of the elements that have arrived."""

    def end_try(self, *, was_killed: bool, seconds: float) -> None:
        """Record what has arrived since the try before."""

    def result(
        self, configuration: Configuration, rejects: Path, report: Mapping[str, Any], log: str, /
    ) -> RunResult:
        """Check the run, now that the task has succeeded.

        :param log: path of the last try's log.
        """

    def counts(self) -> RunResult:
        """Return what can be counted before the end."""


class RunRecord:
    """What has arrived in a run so far, try by try."""

    def __init__(self, workspace: Workspace, source: Source) -> None:
        self.tries: list[TryRecord] = []
        self.arrived: set[int] = set()
        self._workspace = workspace
        self._source = source
        self._requests = self._elements = self._timeouts = 0
        self._sendable = sum(not source.is_rejected(position) for position in range(source.elements))

    def start(self, rejects: Path, seed: int) -> None:
        """Remove everything that earlier runs left."""
        shutil.rmtree(rejects, ignore_errors=True)
        self._workspace.reset()
        refused = map(self._source.user, sorted(self._source.refused_rows))
        self._workspace.set_faults(self._source.elements, refused, seed)

    def start_try(self) -> None:
        """Nothing changes before a try."""

    @property
    def done(self) -> int:
        """Elements that have arrived."""
        return len(self.arrived)

    @property
    def left(self) -> int:
        """Elements that have not arrived yet."""
        return max(self._sendable - len(self.arrived), 0)

    @property
    def share(self) -> float:
        """Share of the elements that have arrived."""
        return len(self.arrived) / self._sendable

    def end_try(self, *, was_killed: bool, seconds: float) -> None:
        """Record what has arrived since the try before."""
        time.sleep(LAST_REQUESTS)
        records = self._workspace.records(self._requests)
        arrivals = self._workspace.arrivals(records, self._elements, self._source.position)
        timeouts = self._workspace.timeouts
        unknown = sum(map(has_unknown_outcome, records))
        self.tries.append(
            TryRecord(was_killed, arrivals, len(records), unknown, timeouts - self._timeouts, seconds)
        )
        self._requests, self._timeouts = self._requests + len(records), timeouts
        for arrival in arrivals:
            self._elements += len(arrival.positions)
            self.arrived.update(arrival.positions)

    def result(
        self, configuration: Configuration, rejects: Path, report: Mapping[str, Any], _log: str = ""
    ) -> RunResult:
        """Check the run, now that the task has succeeded."""
        result = self.counts()
        found = read_rejects(rejects, self._source, result)
        check_run(result, configuration, self._source, self.tries, found, report)
        return result

    def counts(self) -> RunResult:
        """Return what can be counted before the end."""
        return counts(self.tries)


def counts(tries: Sequence[TryRecord]) -> RunResult:
    """Return what can be counted of any run."""
    return RunResult(
        runs=1,
        kills=sum(each.was_killed for each in tries),
        tries=len(tries),
        requests=sum(each.requests for each in tries),
        seconds=sum(each.seconds for each in tries),
    )


@dataclass
class Sync:
    """A configuration's runs.

    :param report: called with a line for each try.
    """

    configuration: Configuration
    setup: Setup
    workspace: Workspace
    runner: TryRunner
    generator: random.Random
    report: Callable[[str], None]
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.pace = Pace.guessed(self.setup.source(self.configuration).elements)

    def _new_record(self) -> Record:
        return RunRecord(self.workspace, self.setup.source(self.configuration))

    def run(self, kills: int) -> RunResult:
        """Make one run of the Dag, kill some of its tries, and check the result."""
        configuration = self.configuration
        rejects = self.setup.rejects(configuration)
        record = self._new_record()
        record.start(rejects, self.generator.randrange(2**31))
        plan = KillPlan(kills, self.generator)
        run_id = self.runner.create_run(configuration.name)
        failures = 0
        while True:
            record.start_try()
            before = record.done
            kill_time = plan.next(record.left / self.pace.per_second)
            started_at = time.monotonic()
            a_try = _Try(self, rejects, record.left)
            ended = a_try.run(run_id, kill_time)
            record.end_try(was_killed=ended.was_killed, seconds=time.monotonic() - started_at)
            self.pace.elements += max(record.done - before, 0)
            self.pace.seconds += a_try.seconds
            self.report(_line(configuration, record, kill_time, ended, a_try.seconds))
            if ended.is_success and ended.report is not None:
                return record.result(configuration, rejects, ended.report, ended.log)
            failures += not ended.was_killed
            if failures >= _FAILURES or ended.state != "up_for_retry":
                result = record.counts()
                tail = Path(ended.log).read_text(errors="replace")[-3_000:]
                result.problems.append(f"a try ended by itself as {ended.state} (exit {ended.exit_code}):\n{tail}")
                return result


class _Try:
    """One try of a sync, which may be killed.

    :param rejects: folder of the rejects file.
    :param left: elements that have not arrived yet.
    """

    def __init__(self, sync: Sync, rejects: Path, left: int) -> None:
        self._sync = sync
        self._runner = sync.runner
        self._rejects = rejects
        self._left = left
        self._published = _identity(rejects)
        self._began_at: float | None = None
        self.seconds = 0.0
        """How long the operator ran."""

    def run(self, run_id: str, kill_time: KillTime | None) -> TryResult:
        """Make the try and return how it ended."""
        start_file = self._sync.setup.start_file
        start_file.unlink(missing_ok=True)
        self._runner.start(self._sync.configuration.name, run_id)
        if kill_time is None:
            ended = self._until(start_file.exists) or self._runner.result()
        elif kill_time.after is After.FORK:
            ended = self._until(lambda: self._runner.task_process is not None, is_fork=True)
            ended = ended or self._kill(self._runner.task_process, kill_time)
        else:
            ended = self._until(start_file.exists)
            ended = ended or self._kill(int(start_file.read_text()), kill_time)
        if kill_time is None and self._began_at is not None:
            self.seconds = time.monotonic() - self._began_at
        if ended is None:
            raise RuntimeError(f"{self._sync.configuration.name}: the try has not ended within minutes")
        return ended

    def _until(
        self, condition: Callable[[], bool], interval: float = _FILE_INTERVAL, *, is_fork: bool = False
    ) -> TryResult | None:
        """Wait for a condition; return the result of the try if it ends before."""
        ended: TryResult | None = None
        while ended is None and not condition():
            ended = self._runner.result(interval)
        if self._began_at is None and not is_fork:
            self._began_at = time.monotonic()
        return ended

    def _kill(self, process: int | None, kill_time: KillTime) -> TryResult | None:
        """Kill the task process at its time, unless it ends before; return how the try ended."""
        workspace = self._sync.workspace
        ended: TryResult | None = None
        if kill_time.after is After.NEARLY_ALL:
            enough = workspace.accepted + self._left - _NEARLY
            ended = self._until(lambda: workspace.accepted >= enough, _REQUEST_INTERVAL)
        elif kill_time.after is After.REJECTS:
            ended = self._until(lambda: _identity(self._rejects) != self._published)
        ended = ended or self._runner.result(max(kill_time.seconds, 0.0001))
        if ended is None and process is not None:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if self._began_at is not None:
            self.seconds = time.monotonic() - self._began_at
        return ended or self._runner.result()


def _identity(rejects: Path) -> int | None:
    """Return what distinguishes one rejects file from the one that replaces it."""
    with suppress(FileNotFoundError):
        for file in rejects.iterdir():
            if file.suffix == ".ndjson":
                return file.stat().st_ino
    return None


def _line(
    configuration: Configuration, record: Record, kill_time: KillTime | None, ended: TryResult, seconds: float
) -> str:
    planned = "to its end" if kill_time is None else f"{kill_time.after} + {kill_time.seconds:.3f} s"
    what = f"exit {ended.exit_code}, {ended.state}"
    return (
        f"{configuration.name:28} try {len(record.tries):3}  {planned:24} ran {seconds:6.2f} s  {what:26}"
        f" {record.share:6.1%} arrived"
    )
