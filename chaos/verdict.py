"""What must hold after a run, whatever was killed: judged by what arrived, the rejects file and the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from chaos.configurations import CONCURRENCY, Configuration
from chaos.source import Source
from chaos.workspace import AFTER_ACCEPTANCE, Arrival, Try

_UNKNOWN = "outcome_unknown"
_REFUSED = "refused_by_server"
_BY_A_KILL = "an earlier try ended"
"""How the message of a reject begins whose request was on its way at a kill."""

_SPARE = 1.2
"""Requests hold 100 kB, so some hold more elements than others."""


@dataclass(frozen=True)
class Reject:
    """A line of the rejects file."""

    position: int
    told_position: int
    codes: tuple[str, ...]
    message: str


@dataclass
class Verdict:
    """The figures of one or several runs, and what does not hold."""

    runs: int = 0
    kills: int = 0
    tries: int = 0
    requests: int = 0
    lost: int = 0
    """Elements that neither arrived nor are rejects."""
    twice: int = 0
    """Arrivals of elements that had arrived before."""
    by_faults: int = 0
    """Of these, after an answer that did not come through, in one try."""
    by_kills: int = 0
    """Of these, after a request that was on its way at a kill."""
    at_worst: int = 0
    """Requests that one kill has doubled, at most."""
    unknown: int = 0
    """Rejects of which nobody knows whether they arrived."""
    disorder: int = 0
    """Elements that arrived after a later one of the same user."""
    rejects: int = 0
    missing: int = 0
    """Rejects that the file does not have."""
    doubled: int = 0
    """Rejects that the file has again."""
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def add(self, other: Verdict) -> None:
        """Add another run's."""
        for each in fields(self):
            mine, its = getattr(self, each.name), getattr(other, each.name)
            setattr(self, each.name, max(mine, its) if each.name == "at_worst" else mine + its)

    def check(self, holds: bool, problem: str) -> None:
        """Note a problem where something does not hold."""
        if not holds:
            self.problems.append(problem)


def read_rejects(folder: Path, source: Source, verdict: Verdict) -> list[Reject]:
    """Read the rejects of a run; there is one file, and nothing beside it."""
    names = [file.name for file in folder.iterdir()] if folder.exists() else []
    verdict.check(len(names) == 1 and names[0].endswith(".ndjson"), f"the folder of rejects has {names}")
    rejects = []
    for name in names:
        for line in (folder / name).read_text().splitlines():
            wire = json.loads(line)
            at = source.position(wire["element"])
            rejects.append(Reject(at, wire["position"], tuple(wire["codes"]), wire["messages"][0]))
    return rejects


def judge(
    verdict: Verdict,
    configuration: Configuration,
    source: Source,
    tries: Sequence[Try],
    rejects: Sequence[Reject],
    report: Mapping[str, Any],
) -> None:
    """Judge a run that has ended in success."""
    verdict.rejects = len(rejects)
    arrived = _judge_arrivals(verdict, configuration, source, tries)
    _judge_rejects(verdict, configuration, source, rejects, arrived)
    if configuration.is_at_most_once:
        _judge_unknown(verdict, tries, rejects)
    _judge_report(verdict, source, rejects, report)


def _judge_arrivals(
    verdict: Verdict, configuration: Configuration, source: Source, tries: Sequence[Try]
) -> set[int]:
    """Count what arrived twice, and why; check the order of each user's first arrivals."""
    last: dict[int, tuple[int, Arrival]] = {}
    latest: dict[str | None, int] = {}
    repeated: dict[tuple[int, int], Arrival] = {}
    on_their_way: list[set[int]] = [set() for _ in tries]
    for number, one in enumerate(tries):
        for arrival in one.arrivals:
            for position in arrival.positions:
                before = last.get(position)
                last[position] = (number, arrival)
                if before is None:
                    user = source.user(position // source.a_row)
                    verdict.disorder += latest.get(user, -1) > position
                    latest[user] = max(latest.get(user, -1), position)
                    continue
                verdict.twice += 1
                at, earlier = before
                if at == number:
                    verdict.by_faults += 1
                    repeated[at, earlier.number] = earlier
                else:
                    verdict.by_kills += 1
                    on_their_way[at].add(earlier.number)
    verdict.at_worst = max(map(len, on_their_way), default=0)
    verdict.check(not verdict.disorder, f"{verdict.disorder} elements arrived after a later one of their user")
    if configuration.is_at_most_once:
        verdict.check(not verdict.twice, f"{verdict.twice} elements arrived twice")
        return set(last)
    for number, one in enumerate(tries):
        sent_again = [arrival for (at, _), arrival in repeated.items() if at == number]
        hanging = [arrival for arrival in sent_again if arrival.fault not in AFTER_ACCEPTANCE]
        verdict.check(
            len(hanging) <= one.timeouts,
            f"try {number + 1}: {len(hanging)} requests were accepted, and sent again with {one.timeouts} timeouts"
            f" and no other fault: numbers {[arrival.number for arrival in hanging]}",
        )
        verdict.check(
            len(on_their_way[number]) <= (CONCURRENCY if one.was_killed else 0),
            f"try {number + 1} {'was killed' if one.was_killed else 'ended by itself'}, and of"
            f" {len(on_their_way[number])} of its accepted requests something was sent again by later ones:"
            f" numbers {sorted(on_their_way[number])}",
        )
    return set(last)


def _judge_rejects(
    verdict: Verdict, configuration: Configuration, source: Source, rejects: Sequence[Reject], arrived: set[int]
) -> None:
    times = Counter(reject.position for reject in rejects)
    expected = {position for position in range(source.elements) if source.is_rejected(position)}
    others = times.keys() - expected
    unknown = {reject.position for reject in rejects if reject.codes == (_UNKNOWN,)}
    by_server = {reject.position for reject in rejects if reject.codes == (_REFUSED,)}
    refused = {position for position in expected if position // source.a_row in source.refused_rows}
    lost = set(range(source.elements)) - arrived - times.keys()
    verdict.lost = len(lost)
    verdict.missing = len(expected - times.keys())
    verdict.doubled = sum(times.values()) - len(times)
    verdict.unknown = len(unknown)
    verdict.check(not lost, f"{len(lost)} elements are lost: {_some(lost)}")
    verdict.check(not verdict.missing, f"{verdict.missing} rejects are not in the file")
    again = [position for position, count in times.items() if count > 1]
    verdict.check(not again, f"{len(again)} rejects are in the file several times: {_some(again)}")
    allowed = unknown if configuration.is_at_most_once else set()
    verdict.check(others <= allowed, f"{len(others - allowed)} rejects are none: {_some(others - allowed)}")
    both = (arrived & times.keys()) - allowed
    verdict.check(not both, f"{len(both)} elements arrived and are rejects: {_some(both)}")
    verdict.check(
        by_server <= refused and refused <= by_server | allowed,
        f"the server refuses {len(refused)} elements, and {len(by_server)} are rejects for that",
    )
    verdict.check(len(expected - refused - unknown) > 0, "no reject by validation")
    astray = [reject.position for reject in rejects if reject.position != reject.told_position]
    verdict.check(not astray, f"{len(astray)} rejects tell another position: {_some(astray)}")


def _judge_unknown(verdict: Verdict, tries: Sequence[Try], rejects: Sequence[Reject]) -> None:
    """Check that what is unknown was on its way at a kill, or had an answer that leaves it open."""
    unknown = [reject for reject in rejects if _UNKNOWN in reject.codes]
    by_kills = {reject.position for reject in unknown if reject.message.startswith(_BY_A_KILL)}
    by_faults = {reject.position for reject in unknown} - by_kills
    most = max(len(arrival.positions) for one in tries for arrival in one.arrivals) * _SPARE
    faults = sum(one.doubtful + one.timeouts for one in tries)
    verdict.by_faults, verdict.by_kills = len(by_faults), len(by_kills)
    verdict.check(len(by_faults) <= faults * most, f"{len(by_faults)} elements are unknown after {faults} faults")
    killed = sum(one.was_killed for one in tries)
    verdict.check(
        len(by_kills) <= killed * CONCURRENCY * most, f"{len(by_kills)} elements are unknown after {killed} kills"
    )
    for number, one in enumerate(tries, 1):
        on_their_way = [each.number for each in one.arrivals if not by_kills.isdisjoint(each.positions)]
        verdict.at_worst = max(verdict.at_worst, len(on_their_way))
        verdict.check(
            len(on_their_way) <= (CONCURRENCY if one.was_killed else 0),
            f"try {number}: {len(on_their_way)} accepted requests are rejects for having been on their way",
        )
        doubted = [each for each in one.arrivals if not by_faults.isdisjoint(each.positions)]
        clear = [each.number for each in doubted if each.fault not in AFTER_ACCEPTANCE]
        verdict.check(
            len(clear) <= one.timeouts,
            f"try {number}: requests {clear} were accepted and answered, and are rejects as unknown",
        )


def _judge_report(verdict: Verdict, source: Source, rejects: Sequence[Reject], report: Mapping[str, Any]) -> None:
    accepted, rejected = report["accepted"], report["rejected"]
    verdict.check(
        accepted + rejected == source.elements,
        f"the report has {accepted:,} + {rejected:,} elements, not {source.elements:,}",
    )
    verdict.check(rejected == len(rejects), f"the report has {rejected:,} rejects, the file {len(rejects):,}")
    codes = Counter(code for reject in rejects for code in reject.codes)
    verdict.check(
        report["rejects"] == codes, f"the report has rejects {report['rejects']}, the file {dict(codes)}"
    )
    kinds = report["customers"] + report["events"] + report["devices"]
    verdict.check(kinds == accepted, f"the report has {kinds:,} elements of three kinds, {accepted:,} accepted")


def _some(positions: Iterable[int]) -> str:
    several = sorted(positions)
    return f"positions {', '.join(map(str, several[:5]))}{', ...' if len(several) > 5 else ''}"
