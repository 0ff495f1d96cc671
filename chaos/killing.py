"""One sync, killed at the moments of a plan and tried again until it ends by itself."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.configurations import CONCURRENCY, Configuration, Scene
from chaos.deployment import Ended, Tries
from chaos.moments import After, Moment, Plan
from chaos.source import Source
from chaos.verdict import Verdict, judge, read_rejects
from chaos.workspace import Try, Workspace, is_doubtful

_LOOK = 0.002
_ASK = 0.025
"""Seconds between two looks at a file, and at the emulator."""

_SETTLED = 0.3
"""Seconds after a try's end in which the emulator is done with what the try had sent."""

_NEARLY = CONCURRENCY * 300
"""Elements that the last requests hold."""

_FAILURES = 3
"""Tries that may fail by themselves before the run is given up."""


_GUESSED_START, _GUESSED_PACE = 8.0, 8_000.0
"""Seconds that faults and refusals cost a run, and elements a second: a guess until a run has been seen."""


@dataclass
class Pace:
    """Elements a second, as they were so far."""

    elements: float
    seconds: float

    @classmethod
    def guessed(cls, elements: int) -> Pace:
        """Return a guess that counts as much as half a run."""
        return cls(elements / 2, (_GUESSED_START + elements / _GUESSED_PACE) / 2)

    @property
    def a_second(self) -> float:
        """The pace."""
        return self.elements / self.seconds


class Account:
    """What has become of a run so far, try by try."""

    def __init__(self, workspace: Workspace, source: Source) -> None:
        self.tries: list[Try] = []
        self.arrived: set[int] = set()
        self._workspace = workspace
        self._source = source
        self._requests = self._elements = self._timeouts = 0
        self._sendable = sum(not source.is_rejected(position) for position in range(source.elements))

    def begin(self, rejects: Path, seed: int) -> None:
        """Forget all runs before."""
        shutil.rmtree(rejects, ignore_errors=True)
        self._workspace.begin(self._source, seed)

    @property
    def left(self) -> int:
        """Elements that have not arrived yet."""
        return max(self._sendable - len(self.arrived), 0)

    @property
    def share(self) -> float:
        """How much of it has arrived."""
        return len(self.arrived) / self._sendable

    def close_try(self, *, was_killed: bool, seconds: float) -> None:
        """Take in what has arrived since the try before."""
        time.sleep(_SETTLED)
        records = self._workspace.records(self._requests)
        arrivals = self._workspace.arrivals(records, self._elements, self._source)
        timeouts = self._workspace.timeouts
        doubtful = sum(map(is_doubtful, records))
        self.tries.append(Try(was_killed, arrivals, len(records), doubtful, timeouts - self._timeouts, seconds))
        self._requests, self._timeouts = self._requests + len(records), timeouts
        for arrival in arrivals:
            self._elements += len(arrival.positions)
            self.arrived.update(arrival.positions)

    def verdict(self, configuration: Configuration, rejects: Path, report: Mapping[str, Any]) -> Verdict:
        """Judge it, now that the task has ended in success."""
        verdict = self.figures()
        found = read_rejects(rejects, self._source, verdict)
        judge(verdict, configuration, self._source, self.tries, found, report)
        return verdict

    def figures(self) -> Verdict:
        """Return what can be counted before the end."""
        return Verdict(
            runs=1,
            kills=sum(each.was_killed for each in self.tries),
            tries=len(self.tries),
            requests=sum(each.requests for each in self.tries),
            seconds=sum(each.seconds for each in self.tries),
        )


@dataclass
class Sync:
    """A configuration's runs.

    :param told: gets a line a try.
    """

    configuration: Configuration
    scene: Scene
    workspace: Workspace
    tries: Tries
    chance: random.Random
    told: Callable[[str], None]
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.pace = Pace.guessed(self.scene.source(self.configuration).elements)

    def run(self, kills: int) -> Verdict:
        """Make one run of the Dag, kill some of its tries, and judge what came of it."""
        configuration = self.configuration
        rejects = self.scene.rejects(configuration)
        account = Account(self.workspace, self.scene.source(configuration))
        account.begin(rejects, self.chance.randrange(2**31))
        plan = Plan(kills, self.chance)
        run_id = self.tries.begin(configuration.name)
        failures = 0
        while True:
            before = len(account.arrived)
            moment = plan.next(account.left / self.pace.a_second)
            started = time.monotonic()
            ended, worked = self._try(run_id, moment, rejects, account.left)
            account.close_try(was_killed=ended.was_killed, seconds=time.monotonic() - started)
            self.pace.elements += len(account.arrived) - before
            self.pace.seconds += worked
            self.told(_line(configuration, account, moment, ended, worked))
            if ended.is_success:
                assert ended.report is not None
                return account.verdict(configuration, rejects, ended.report)
            failures += not ended.was_killed
            if failures >= _FAILURES or ended.state != "up_for_retry":
                verdict = account.figures()
                tail = Path(ended.log).read_text(errors="replace")[-3_000:]
                verdict.problems.append(
                    f"a try ended by itself as {ended.state} (exit {ended.exit_code}):\n{tail}"
                )
                return verdict

    def _try(self, run_id: str, moment: Moment | None, rejects: Path, left: int) -> tuple[Ended, float]:
        """Make a try, and kill it at the moment; return what came of it, and for how long the operator ran."""
        self.scene.mark.unlink(missing_ok=True)
        published = _identity(rejects)
        self.tries.start(self.configuration.name, run_id)
        began: float | None = None
        ended: Ended | None = None
        pid: int | None = None
        if moment is not None and moment.after is After.FORK:
            while ended is None and (pid := self.tries.task_process) is None:
                ended = self.tries.ended(_LOOK)
        else:
            while ended is None and not self.scene.mark.exists():
                ended = self.tries.ended(_LOOK)
            began = time.monotonic()
            pid = int(self.scene.mark.read_text()) if ended is None else None
        if ended is None and moment is not None:
            if moment.after is After.NEARLY_ALL:
                enough = self.workspace.accepted + left - _NEARLY
                while ended is None and self.workspace.accepted < enough:
                    ended = self.tries.ended(_ASK)
            elif moment.after is After.REJECTS:
                while ended is None and _identity(rejects) == published:
                    ended = self.tries.ended(_LOOK)
            if ended is None:
                ended = self.tries.ended(max(moment.seconds, 0.0001))
            if ended is None and pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        worked = 0.0 if began is None else time.monotonic() - began
        if ended is None:
            ended = self.tries.ended()
            if moment is None and began is not None:
                worked = time.monotonic() - began
        if ended is None:
            raise RuntimeError(f"{self.configuration.name}: the try has not ended within minutes")
        return ended, worked


def _identity(rejects: Path) -> int | None:
    """What tells one rejects file from the one that takes its place."""
    with suppress(FileNotFoundError):
        for file in rejects.iterdir():
            if file.suffix == ".ndjson":
                return file.stat().st_ino
    return None


def _line(
    configuration: Configuration, account: Account, moment: Moment | None, ended: Ended, worked: float
) -> str:
    planned = "to its end" if moment is None else f"{moment.after} + {moment.seconds:.3f} s"
    what = f"exit {ended.exit_code}, {ended.state}"
    return (
        f"{configuration.name:28} try {len(account.tries):3}  {planned:24} ran {worked:6.2f} s  {what:26}"
        f" {account.share:6.1%} arrived"
    )
