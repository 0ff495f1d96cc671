"""Measures how many workers share one workspace's limit without communication.

Each worker is its own process with the provider's pacer and client and four lanes, and always has more to send.
MoEngage is the emulator in another process, over HTTP, with the documented limit of 60,000 users per minute. Time
is accelerated on both sides so that a response takes about as long as from MoEngage; all times are the emulator's.
The same table shows clients that send as fast as they can and only back off on a 429, for as long as the server
asks.

`make bench-sharing` runs it and prints the table; `make bench` runs a short version. The long version fails if a
target is missed: eight workers use 95% of the limit with at most 2% of requests refused, and none gets less than
half or more than twice an equal share; one worker uses 99%, or 98% with users and events, and is never refused. It
needs a machine without other load.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.responses import Outcome, Reply
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.bulk.clock import StoppedError
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits, Pacer
from benchmarks import table

GROUP = "Eight workers in one workspace: limit used, smallest and largest share"
LIMIT = 60_000
LANES = 4
MINUTES = 10
_SPEED = 36.0
USUAL = (500, 0)
"""Users and events of a request: 100 kB hold some 500 customers with a few attributes each."""


@dataclass(frozen=True)
class Job:
    """What one worker does. Times are in seconds of the accelerated clock."""

    pace: str = "shared"
    """``shared``: the provider's pacer. ``blind``: the same, without the header that reports the remainder.
    ``naive``: only a 429 stops it."""
    bodies: tuple[tuple[int, int], ...] = (USUAL,)
    begins: float = 0.0
    ends: float = 60.0 * MINUTES


@dataclass(frozen=True)
class Done:
    """The result of a worker."""

    users: dict[int, int]
    """Accepted, per minute."""
    events: dict[int, int]
    requests: dict[int, int]
    refused: dict[int, int]
    answer: float
    """Median seconds to a response."""


@dataclass(frozen=True)
class Run:
    """Workers that run together, and the rows of the table about them."""

    jobs: list[Job]
    rows: list[Row]


@dataclass(frozen=True)
class Row:
    """A row of the table: some of a run's workers in some of its minutes."""

    name: str
    target: Callable[[Measured], bool] | None = None
    minutes: tuple[int, int] = (0, MINUTES)
    workers: tuple[int, ...] | None = None


@dataclass
class Measured:
    """What a row shows."""

    use: float
    refused: float
    parts: list[float] = field(default_factory=list)
    """What each worker sent, as a multiple of an equal share."""
    answer: float = 0.0


def _fair(measured: Measured) -> bool:
    is_shared = min(measured.parts) >= 0.5 and max(measured.parts) <= 2
    return is_shared and measured.use >= 0.95 and measured.refused <= 0.02


def _alone(use: float) -> Callable[[Measured], bool]:
    return lambda measured: measured.use >= use and measured.refused == 0


def _runs() -> list[Run]:
    both = ((450, 300), (300, 450))
    sizes = (100, 100, 250, 250, 500, 500, 1_000, 1_000)
    joining = [Job(begins=180.0 + 15 * n, ends=1_320.0 if n < 3 else 960.0) for n in range(1, 8)]
    return [
        Run([Job(ends=900.0)] * 8, [Row("8, 15 minutes", _fair, minutes=(0, 15))]),
        Run([Job("naive")] * 8, [Row("8 that only back off on a 429")]),
        Run([Job(ends=360.0)], [Row("1, 6 minutes", _alone(0.99), minutes=(0, 6))]),
        Run(
            [Job(bodies=both, ends=360.0)],
            [Row("1, users and events, 6 minutes", _alone(0.98), minutes=(0, 6))],
        ),
        Run([Job()] * 2, [Row("2")]),
        Run([Job()] * 16, [Row("16")]),
        Run([Job(bodies=((size, 0),)) for size in sizes], [Row("8, 100 to 1,000 per request")]),
        Run([Job("blind")] * 8, [Row("8, without x-ratelimit-remaining")]),
        Run(
            [Job(ends=1_320.0), *joining],
            [
                Row("7 join 1: minutes 4 to 6 after", minutes=(8, 11)),
                Row("  minutes 7 to 11 after", minutes=(11, 16)),
                Row("5 of the 8 leave: minutes 2 and 3 after", minutes=(17, 19), workers=(0, 1, 2)),
                Row("  minutes 4 to 6 after", minutes=(19, 22), workers=(0, 1, 2)),
            ],
        ),
    ]


def rows() -> list[table.Row]:
    """Measure the short version: eight workers with the provider's pacer, and eight that only back off."""
    found: list[Measured] = []
    for job, minutes in ((Job(ends=900.0), 15), (Job("naive", ends=300.0), 5)):
        row = Row("", minutes=(0, minutes))
        run = Run([job] * 8, [row])
        found.append(_measure_row(row, run, _measured(run, _SPEED)))
    ours, theirs = found
    return [
        table.Row(
            GROUP,
            "first 15 minutes, accelerated",
            _text(ours),
            "back off on 429 only (5 minutes)",
            _text(theirs),
            target="95%, 0.5 to 2, 2% 429s",
            is_met=_fair(ours),
        )
    ]


def _text(measured: Measured) -> str:
    parts = f"{min(measured.parts):.2f} to {max(measured.parts):.2f}"
    return f"{measured.use:.1%}, {parts}, {measured.refused:.1%} 429s"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", type=float, default=_SPEED, help="how much faster than real time")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work(json.loads(options.worker))
        return 0
    print(
        f"Workers in one workspace, {LIMIT:,} users per minute; by default {USUAL[0]} users per request and"
        f" {MINUTES} minutes from the start; time runs {options.speed:g} times as fast"
    )
    print()
    print(_HEAD)
    missed = 0
    for run in _runs():
        results = _measured(run, options.speed)
        for row in run.rows:
            measured = _measure_row(row, run, results)
            missed += row.target is not None and not row.target(measured)
            print(_line(row, measured), flush=True)
    return 1 if missed else 0


def _measured(run: Run, speed: float) -> list[Done]:
    command = [sys.executable, "-m", "airflow_provider_moengage.emulator", "--port", "0", "--keep-elements", "0"]
    emulator = subprocess.Popen([*command, "--speed", str(speed)], stdout=subprocess.PIPE, text=True)
    workers: list[subprocess.Popen[str]] = []
    try:
        assert emulator.stdout is not None
        found = re.search(r"http://\S+", emulator.stdout.readline())
        assert found is not None
        for job in run.jobs:
            order = json.dumps({"url": found[0], "speed": speed, "job": asdict(job)})
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.sharing", "--worker", order],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        return [_read(worker) for worker in workers]
    finally:
        for process in (*workers, emulator):
            process.terminate()
            process.wait()


def _read(worker: subprocess.Popen[str]) -> Done:
    assert worker.stdout is not None
    result = json.loads(worker.stdout.readline())
    by_minute = {
        name: {int(minute): count for minute, count in result[name].items()}
        for name in ("users", "events", "requests", "refused")
    }
    return Done(**by_minute, answer=result["answer"])


def _measure_row(row: Row, run: Run, results: list[Done]) -> Measured:
    minutes = range(*row.minutes)
    chosen = [results[number] for number in row.workers or range(len(run.jobs))]

    def total(counts: dict[int, int]) -> int:
        return sum(counts.get(minute, 0) for minute in minutes)

    users = [total(done.users) for done in chosen]
    events = sum(total(done.events) for done in chosen)
    requests = sum(total(done.requests) for done in chosen)
    return Measured(
        use=max(sum(users), events) / (LIMIT * len(minutes)),
        refused=sum(total(done.refused) for done in chosen) / requests,
        parts=[got / sum(users) * len(chosen) for got in users],
        answer=statistics.median(done.answer for done in chosen),
    )


_HEAD = (
    f"{'workers':42}{'limit used':>13}{'429':>8}{'least share':>12}{'largest':>9}{'response after':>15}"
    f"{'target':>8}"
)


def _line(row: Row, measured: Measured) -> str:
    status = "" if row.target is None else "met" if row.target(measured) else "MISSED"
    refused = f"{measured.refused:.1%}" if measured.refused else "none"
    least, largest = f"{min(measured.parts):.2f}", f"{max(measured.parts):.2f}"
    return (
        f"{row.name:42}{f'{measured.use:.1%}':>13}{refused:>8}{least:>12}{largest:>9}"
        f"{f'{measured.answer:.2f} s':>15}{status:>8}"
    )


class AcceleratedClock:
    """The pipeline's clock, faster than the machine's."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began = time.monotonic()

    def monotonic(self) -> float:
        """Seconds since it was created."""
        return (time.monotonic() - self._began) * self._speed

    time = monotonic

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        """Let time pass."""
        return stopped.wait(seconds / self._speed)


class Pace(Protocol):
    """What a lane consults before it sends."""

    def spend(self, users: int, events: int) -> float:
        """Wait until a request may be sent."""

    def record_reply(self, users: int, events: int, reply: Reply, sent_at: float) -> None:
        """Learn from the response."""


class BackOff:
    """Sends at once; after a 429, when the server allows it or after a wait that doubles, whichever is later."""

    def __init__(self, clock: AcceleratedClock, stopped: threading.Event) -> None:
        self._clock = clock
        self._stopped = stopped
        self._lock = threading.Lock()
        self._held_since = self._held_until = -math.inf
        self._in_a_row = 0

    def spend(self, users: int, events: int) -> float:  # noqa: ARG002 (as Pace has it)
        """Wait until a request may be sent."""
        while (now := self._clock.monotonic()) < self._held_until:
            self._clock.wait(self._stopped, self._held_until - now)
            if self._stopped.is_set():
                raise StoppedError
        return now

    def record_reply(self, users: int, events: int, reply: Reply, sent_at: float) -> None:  # noqa: ARG002
        """Learn from the response."""
        with self._lock:
            now = self._clock.monotonic()
            if reply.outcome is not Outcome.THROTTLED:
                self._in_a_row = 0
                return
            if sent_at >= self._held_since:
                self._in_a_row += 1
                self._held_since = now
            backoff = min(2 ** (self._in_a_row - 1), 60) * random.uniform(0.5, 1.0)
            self._held_until = max(self._held_until, now + max(reply.retry_after or 0.0, backoff))


class Blind:
    """A pacer whose server never reports what remains."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer

    def spend(self, users: int, events: int) -> float:
        """Wait until a request may be sent."""
        return self._pacer.spend(users, events)

    def record_reply(self, users: int, events: int, reply: Reply, sent_at: float) -> None:
        """Learn from the response."""
        self._pacer.record_reply(users, events, replace(reply, remaining=None), sent_at)


class MinuteCounts:
    """Counts requests per minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: list[float] = []
        self._counts: dict[str, dict[int, int]] = {"users": {}, "events": {}, "requests": {}, "refused": {}}

    def add(self, at: float, took: float, users: int, events: int, *, accepted: bool) -> None:
        """Count a request."""
        with self._lock:
            self._answers.append(took)
            found = {"users": users, "events": events} if accepted else {"refused": 1}
            for name, count in (("requests", 1), *found.items()):
                by_minute = self._counts[name]
                by_minute[int(at // 60)] = by_minute.get(int(at // 60), 0) + count

    def as_json(self) -> str:
        """Return the counts as JSON."""
        counts: dict[str, object] = {**self._counts, "answer": statistics.median(self._answers or [0.0])}
        return json.dumps(counts)


def _work(order: dict[str, object]) -> None:
    """Run as a worker: report that it is ready, wait for the signal to start, and send."""
    speed = float(str(order["speed"]))
    job = Job(**order["job"])  # type: ignore[arg-type]
    client = MoEngageClient(Workspace("EMULATOR", "emulator-data-key", base_url=str(order["url"]), timeout=60.0))
    bodies = [(_body(users, events), users, events) for users, events in job.bodies]
    print("ready", flush=True)
    sys.stdin.readline()
    clock, stopped, counts_by_minute = AcceleratedClock(speed), threading.Event(), MinuteCounts()
    pace: Pace
    if job.pace == "naive":
        pace = BackOff(clock, stopped)
    else:
        pacer = Pacer(Limits(LIMIT, LIMIT), clock, stopped)
        pace = Blind(pacer) if job.pace == "blind" else pacer

    def lane(number: int, client: MoEngageClient) -> None:
        try:
            for turn in range(number, 1_000_000_000):
                body, users, events = bodies[turn % len(bodies)]
                accepted = False
                while not accepted:
                    sent_at = pace.spend(users, events)
                    if stopped.is_set():
                        return
                    reply = client.bulk_import(body)
                    pace.record_reply(users, events, reply, sent_at)
                    accepted = reply.outcome is Outcome.ACCEPTED
                    now = clock.monotonic()
                    counts_by_minute.add(now, now - sent_at, users, events, accepted=accepted)
        except StoppedError:
            return

    clock.wait(stopped, job.begins)
    lanes = [threading.Thread(target=lane, args=(number, client.fork())) for number in range(LANES)]
    for thread in lanes:
        thread.start()
    clock.wait(threading.Event(), job.ends - clock.monotonic())
    stopped.set()
    for thread in lanes:
        thread.join()
    print(counts_by_minute.as_json(), flush=True)


def _body(users: int, events: int) -> bytes:
    tier = {"tier": "gold"}
    action = {"action": "Purchase", "current_time": "2026-01-01T00:00:00Z", "attributes": {}}
    elements: list[dict[str, object]] = [
        {"type": "customer", "customer_id": f"user-{n}", "attributes": tier} for n in range(users)
    ]
    elements += [{"type": "event", "customer_id": f"user-{n}", "actions": [action]} for n in range(events)]
    return json.dumps({"type": "transition", "elements": elements}, separators=(",", ":")).encode()


if __name__ == "__main__":
    sys.exit(main())
