"""What must hold after a run, whatever was killed: checks what arrived, the rejects file and the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from chaos.configurations import CONCURRENCY, Configuration
from chaos.source import Source
from chaos.workspace import AFTER_ACCEPTANCE, Arrival, TryRecord

_UNKNOWN = "outcome_unknown"
_REFUSED = "refused_by_server"
_BY_A_KILL = "an earlier try ended"
"""Beginning of the message of a reject whose request was in flight at a kill."""

_SPARE = 1.2
"""Tolerance, because requests of 100 kB do not all hold the same number of elements."""


@dataclass(frozen=True)
class Reject:
    """A line of the rejects file."""

    position: int
    written_position: int
    codes: tuple[str, ...]
    message: str


@dataclass
class RunResult:
    """The counts of one or several runs, and the problems that were found."""

    runs: int = 0
    kills: int = 0
    tries: int = 0
    requests: int = 0
    lost: int = 0
    """Elements that neither arrived nor are rejects."""
    twice: int = 0
    """Arrivals of elements that had arrived before."""
    by_faults: int = 0
    """Of these, sent again within one try because an answer was lost."""
    by_kills: int = 0
    """Of these, sent again because their request was in flight at a kill."""
    at_worst: int = 0
    """Largest number of accepted requests that one kill has left open."""
    unknown: int = 0
    """Rejects that may have arrived."""
    disorder: int = 0
    """Elements that arrived after a later one of the same user."""
    rejects: int = 0
    missing: int = 0
    """Rejects that are missing in the file."""
    duplicated: int = 0
    """Rejects that are in the file more than once."""
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def add(self, other: RunResult) -> None:
        """Add the counts and problems of another run."""
        for each in fields(self):
            mine, its = getattr(self, each.name), getattr(other, each.name)
            setattr(self, each.name, max(mine, its) if each.name == "at_worst" else mine + its)

    def check(self, holds: bool, problem: str) -> None:
        """Record a problem unless the condition holds."""
        if not holds:
            self.problems.append(problem)


def read_rejects(folder: Path, source: Source, result: RunResult) -> list[Reject]:
    """Read the rejects of a run, and check that their folder has exactly one file."""
    names = [file.name for file in folder.iterdir()] if folder.exists() else []
    result.check(len(names) == 1 and names[0].endswith(".ndjson"), f"the folder of rejects has {names}")
    rejects = []
    for name in names:
        for line in (folder / name).read_text().splitlines():
            wire = json.loads(line)
            at = source.position(wire["element"])
            rejects.append(Reject(at, wire["position"], tuple(wire["codes"]), wire["messages"][0]))
    return rejects


def check_run(
    result: RunResult,
    configuration: Configuration,
    source: Source,
    tries: Sequence[TryRecord],
    rejects: Sequence[Reject],
    report: Mapping[str, Any],
) -> None:
    """Check a run that has succeeded."""
    result.rejects = len(rejects)
    arrived = _check_arrivals(result, configuration, source, tries)
    _check_rejects(result, configuration, source, rejects, arrived)
    if configuration.is_at_most_once:
        _check_unknown(result, tries, rejects)
    _check_report(result, source, rejects, report)


def _check_arrivals(
    result: RunResult, configuration: Configuration, source: Source, tries: Sequence[TryRecord]
) -> set[int]:
    """Count what arrived twice, and why; check the order of each user's first arrivals."""
    last: dict[int, tuple[int, Arrival]] = {}
    latest: dict[str | None, int] = {}
    repeated: dict[tuple[int, int], Arrival] = {}
    in_flight: list[set[int]] = [set() for _ in tries]
    for number, one in enumerate(tries):
        for arrival in one.arrivals:
            for position in arrival.positions:
                before = last.get(position)
                last[position] = (number, arrival)
                if before is None:
                    user = source.user(position // source.a_row)
                    result.disorder += latest.get(user, -1) > position
                    latest[user] = max(latest.get(user, -1), position)
                    continue
                result.twice += 1
                at, earlier = before
                if at == number:
                    result.by_faults += 1
                    repeated[at, earlier.number] = earlier
                else:
                    result.by_kills += 1
                    in_flight[at].add(earlier.number)
    result.at_worst = max(map(len, in_flight), default=0)
    result.check(not result.disorder, f"{result.disorder} elements arrived after a later one of their user")
    if configuration.is_at_most_once:
        result.check(not result.twice, f"{result.twice} elements arrived twice")
        return set(last)
    for number, one in enumerate(tries):
        sent_again = [arrival for (at, _), arrival in repeated.items() if at == number]
        hanging = [arrival for arrival in sent_again if arrival.fault not in AFTER_ACCEPTANCE]
        result.check(
            len(hanging) <= one.timeouts,
            f"try {number + 1}: {len(hanging)} requests were accepted, and resent with {one.timeouts} timeouts"
            f" and no other fault: numbers {[arrival.number for arrival in hanging]}",
        )
        result.check(
            len(in_flight[number]) <= (CONCURRENCY if one.was_killed else 0),
            f"try {number + 1} {'was killed' if one.was_killed else 'ended by itself'}, and of"
            f" {len(in_flight[number])} of its accepted requests something was sent again by later ones:"
            f" numbers {sorted(in_flight[number])}",
        )
    return set(last)


def _check_rejects(
    result: RunResult, configuration: Configuration, source: Source, rejects: Sequence[Reject], arrived: set[int]
) -> None:
    times = Counter(reject.position for reject in rejects)
    expected = {position for position in range(source.elements) if source.is_rejected(position)}
    others = times.keys() - expected
    unknown = {reject.position for reject in rejects if reject.codes == (_UNKNOWN,)}
    by_server = {reject.position for reject in rejects if reject.codes == (_REFUSED,)}
    refused = {position for position in expected if position // source.a_row in source.refused_rows}
    lost = set(range(source.elements)) - arrived - times.keys()
    result.lost = len(lost)
    result.missing = len(expected - times.keys())
    result.duplicated = sum(times.values()) - len(times)
    result.unknown = len(unknown)
    result.check(not lost, f"{len(lost)} elements are lost: {_some(lost)}")
    result.check(not result.missing, f"{result.missing} rejects are not in the file")
    again = [position for position, count in times.items() if count > 1]
    result.check(not again, f"{len(again)} rejects are in the file several times: {_some(again)}")
    allowed = unknown if configuration.is_at_most_once else set()
    result.check(others <= allowed, f"{len(others - allowed)} rejects are unexpected: {_some(others - allowed)}")
    both = (arrived & times.keys()) - allowed
    result.check(not both, f"{len(both)} elements both arrived and were rejected: {_some(both)}")
    result.check(
        by_server <= refused <= by_server | allowed,
        f"the server refuses {len(refused)} elements, and {len(by_server)} are rejects for that",
    )
    result.check(len(expected - refused - unknown) > 0, "validation rejected nothing")
    moved = [reject.position for reject in rejects if reject.position != reject.written_position]
    result.check(not moved, f"{len(moved)} rejects have another position: {_some(moved)}")


def _check_unknown(result: RunResult, tries: Sequence[TryRecord], rejects: Sequence[Reject]) -> None:
    """Check that each unknown element was in flight at a kill, or that its answer leaves the outcome unknown."""
    unknown = [reject for reject in rejects if _UNKNOWN in reject.codes]
    by_kills = {reject.position for reject in unknown if reject.message.startswith(_BY_A_KILL)}
    by_faults = {reject.position for reject in unknown} - by_kills
    most = max(len(arrival.positions) for one in tries for arrival in one.arrivals) * _SPARE
    faults = sum(one.unknown + one.timeouts for one in tries)
    result.by_faults, result.by_kills = len(by_faults), len(by_kills)
    result.check(len(by_faults) <= faults * most, f"{len(by_faults)} elements are unknown after {faults} faults")
    killed = sum(one.was_killed for one in tries)
    result.check(
        len(by_kills) <= killed * CONCURRENCY * most, f"{len(by_kills)} elements are unknown after {killed} kills"
    )
    for number, one in enumerate(tries, 1):
        in_flight = [each.number for each in one.arrivals if not by_kills.isdisjoint(each.positions)]
        result.at_worst = max(result.at_worst, len(in_flight))
        result.check(
            len(in_flight) <= (CONCURRENCY if one.was_killed else 0),
            f"try {number}: {len(in_flight)} accepted requests were rejected because they were in flight",
        )
        rejected_by_faults = [each for each in one.arrivals if not by_faults.isdisjoint(each.positions)]
        answered = [each.number for each in rejected_by_faults if each.fault not in AFTER_ACCEPTANCE]
        result.check(
            len(answered) <= one.timeouts,
            f"try {number}: requests {answered} were accepted and answered, but rejected as unknown",
        )


def _check_report(result: RunResult, source: Source, rejects: Sequence[Reject], report: Mapping[str, Any]) -> None:
    accepted, rejected = report["accepted"], report["rejected"]
    result.check(
        accepted + rejected == source.elements,
        f"the report has {accepted:,} + {rejected:,} elements, not {source.elements:,}",
    )
    result.check(rejected == len(rejects), f"the report has {rejected:,} rejects, the file {len(rejects):,}")
    codes = Counter(code for reject in rejects for code in reject.codes)
    result.check(report["rejects"] == codes, f"the report has rejects {report['rejects']}, the file {dict(codes)}")
    kinds = report["customers"] + report["events"] + report["devices"]
    result.check(kinds == accepted, f"the report has {kinds:,} elements of three kinds, {accepted:,} accepted")


def _some(positions: Iterable[int]) -> str:
    several = sorted(positions)
    return f"positions {', '.join(map(str, several[:5]))}{', ...' if len(several) > 5 else ''}"
