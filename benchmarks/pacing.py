"""At MoEngage's documented limit: how long a million takes, how much of it is refused, and the CPU it costs.

Time and refusals are simulated: the provider's pacer with four lanes, or a rival in its place, against the sliding
window of the emulator, and a network of 40 to 160 ms with a second more for one request in a hundred. Nothing is
random but that, and it repeats. Bodies are as large as the pipeline packs them.

The CPU is real: two syncs from SQLite at the documented limit, of one and of two minutes' worth. The second
differs from the first by as many elements and by one minute of waiting for the window, which is what every minute
of a long sync is; so the difference, by 60 s, is its part of a core.
"""

from __future__ import annotations

import heapq
import math
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

from airflow_provider_moengage.api.responses import Outcome, Reply, read_reply
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits, Pacer
from airflow_provider_moengage.emulator.limits import RateLimits, limit_headers
from airflow_provider_moengage.emulator.settings import Settings
from benchmarks import end_to_end, warehouse
from benchmarks.data import CUSTOMERS, EVENTS, Kind
from benchmarks.loopback import loopback
from benchmarks.pipeline import bodies, source_of_elements
from benchmarks.table import Row, times

GROUP = "A million at the documented limit (part of the ideal speed, which takes 960 s; simulated)"
CPU_GROUP = "CPU at the documented limit"
LIMIT = 60_000
WINDOW = 60.0
"""Seconds."""
ELEMENTS = 1_000_000

ALONE_TARGET, MIXED_TARGET, CPU_TARGET = 0.99, 0.98, 0.03
"""Parts of the ideal speed; part of a core."""

_A_MINUTES_WORTH = 59_000
"""Elements: what whole bodies surely send within one minute's limit."""

Size = tuple[int, int]
"""Users and events of one body."""

_LANES = 4
"""Lanes that a run opens by itself at the documented limit, at the most."""


class Later(Exception):  # noqa: N818 (it is no error)
    """Raised by whoever would wait: the lane is to ask again after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class SimulatedClock:
    """The pipeline's clock. Time stands still until the simulation moves it on."""

    now = 0.0

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.now

    time = monotonic

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        """Let the lane ask again later."""
        del stopped
        raise Later(seconds)


class Pace(Protocol):
    """What a lane asks before it sends."""

    def spend(self, users: int, events: int) -> float:
        """Return the moment at which a request goes, or raise :class:`Later`."""

    def record_reply(self, users: int, events: int, reply: Reply, sent_at: float) -> None:
        """Learn from its answer."""


class TokenBucket:
    """Two buckets, one of users and one of events, that refill evenly. After a 429 it waits as long as told.

    :param burst: what a bucket holds, and has at the beginning.
    """

    def __init__(self, clock: SimulatedClock, burst: int) -> None:
        self._clock = clock
        self._burst = burst
        self._left = [float(burst), float(burst)]
        self._filled_at = 0.0
        self._held_until = 0.0

    def spend(self, users: int, events: int) -> float:
        """Take as many tokens."""
        now = self._clock.now
        gained = (now - self._filled_at) * LIMIT / WINDOW
        self._left = [min(left + gained, self._burst) for left in self._left]
        self._filled_at = now
        wanted = (users, events)
        missing = max(want - left for want, left in zip(wanted, self._left, strict=True))
        wait = max(missing * WINDOW / LIMIT, self._held_until - now)
        if wait > 1e-9:
            raise Later(wait)
        self._left = [left - want for left, want in zip(self._left, wanted, strict=True)]
        return now

    def record_reply(self, users: int, events: int, reply: Reply, sent_at: float) -> None:
        """Wait after a 429."""
        del users, events, sent_at
        if reply.outcome is Outcome.THROTTLED:
            self._held_until = self._clock.now + (reply.retry_after or 1.0)


class OneBudget:
    """The provider's pacer as it would be if users and events shared a limit."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._pacer = _pacer(clock)

    def spend(self, users: int, events: int) -> float:
        """Count events as users."""
        return self._pacer.spend(users + events, 0)

    def record_reply(self, users: int, events: int, reply: Reply, sent_at: float) -> None:
        """Count events as users; what the server says is left is of something else."""
        self._pacer.record_reply(users + events, 0, replace(reply, remaining=None), sent_at)


@dataclass(frozen=True)
class Figures:
    """What came of a simulated run."""

    seconds: float
    ideal: float
    """Seconds of a sender that knows the server's window and needs no time for anything."""
    requests: int
    refused: int

    @property
    def speed(self) -> float:
        """As a part of the ideal."""
        return self.ideal / self.seconds

    @property
    def text(self) -> str:
        """Time, part of the ideal speed, refusals."""
        refused = f"{self.refused / self.requests:.1%} are 429" if self.refused else "no 429"
        return f"{self.seconds:,.0f} s ({self.speed:.1%}), {refused}"


def rows() -> list[Row]:
    """Measure everything."""
    return [*_simulated(), *_cpu()]


def simulate(pace_of: Callable[[SimulatedClock], Pace], sizes: Sequence[Size]) -> Figures:
    """Send bodies of these sizes over the default number of lanes, in order, each until it is accepted."""
    clock, server, settings, chance = SimulatedClock(), RateLimits(), Settings(), random.Random(11)
    pace, waiting, numbers = pace_of(clock), iter(sizes), count()
    due: list[tuple[float, int, Callable[[], None]]] = []
    figures = {"requests": 0, "refused": 0}

    def after(seconds: float, then: Callable[[], None]) -> None:
        heapq.heappush(due, (clock.now + seconds, next(numbers), then))

    def in_flight() -> float:
        return chance.uniform(0.02, 0.08) + (chance.random() < 0.005)

    def next_body() -> None:
        if (size := next(waiting, None)) is not None:
            send(size)

    def send(size: Size) -> None:
        try:
            sent_at = pace.spend(*size)
        except Later as later:
            after(max(later.seconds, 1e-6), lambda: send(size))
        else:
            after(in_flight(), lambda: arrive(size, sent_at))

    def arrive(size: Size, sent_at: float) -> None:
        decision = server.admit(*size, settings, clock.now)
        headers = limit_headers(decision.tightest, settings, clock.now, refused=not decision.admitted)
        status, body = (200, b'{"status":"success"}') if decision.admitted else (429, b"{}")
        headers = {name.lower(): value for name, value in headers.items()}
        after(in_flight(), lambda: answered(size, sent_at, read_reply(status, headers, body, now=clock.now)))

    def answered(size: Size, sent_at: float, reply: Reply) -> None:
        figures["requests"] += 1
        figures["refused"] += reply.outcome is Outcome.THROTTLED
        pace.record_reply(*size, reply, sent_at)
        if reply.outcome is Outcome.ACCEPTED:
            next_body()
        else:
            send(size)

    for _ in range(_LANES):
        after(0.0, next_body)
    while due:
        clock.now, _, then = heapq.heappop(due)
        then()
    return Figures(clock.now, _ideal(sizes), **figures)


def _simulated() -> list[Row]:
    users, events, both = _sizes(CUSTOMERS), _sizes(EVENTS), _sizes(CUSTOMERS, EVENTS)
    bucket: Callable[[SimulatedClock], Pace] = lambda clock: TokenBucket(clock, LIMIT)  # noqa: E731
    found: list[Row] = []
    for name, sizes, rivals in (
        ("users", users, {"token bucket, full at first": bucket, "evenly": _even(users)}),
        ("events", events, {"token bucket, full at first": bucket, "evenly": _even(events)}),
        (
            "users and as many events",
            both,
            {"token bucket, full at first": bucket, "evenly": _even(both), "one budget for both": OneBudget},
        ),
    ):
        ours = simulate(_pacer, sizes)
        for rival, pace_of in rivals.items():
            theirs = simulate(pace_of, sizes)
            found.append(_row(f"{ELEMENTS:,} {name}", ours, rival, theirs, is_mixed=sizes is both))
    return found


def _row(what: str, ours: Figures, rival: str, theirs: Figures, *, is_mixed: bool) -> Row:
    target = MIXED_TARGET if is_mixed else ALONE_TARGET
    return Row(
        GROUP,
        what,
        ours.text,
        rival,
        theirs.text,
        times(ours.speed / theirs.speed),
        f"at least {target:.0%}, no 429",
        ours.speed >= target and not ours.refused,
        ours.speed,
        theirs.speed,
    )


def _pacer(clock: SimulatedClock) -> Pacer:
    return Pacer(Limits(LIMIT, LIMIT), clock, threading.Event())


def _even(sizes: Sequence[Size]) -> Callable[[SimulatedClock], Pace]:
    """Return what sends a body whenever its time has come, and never two at once."""
    largest = max(max(size) for size in sizes)
    return lambda clock: TokenBucket(clock, largest)


def _ideal(sizes: Sequence[Size]) -> float:
    most = max(sum(users for users, _ in sizes), sum(events for _, events in sizes))
    return (math.ceil(most / LIMIT) - 1) * WINDOW


def _sizes(*kinds: Kind) -> list[Size]:
    """Return the sizes of bodies that hold a million of each kind, as the pipeline packs the first ones."""
    elements = [kind.element(kind.row(number)) for number in range(20_000) for kind in kinds]
    packed = [_size(body) for body in bodies(source_of_elements(elements), "off")]
    full = packed[:-1]
    sizes: list[Size] = []
    left = ELEMENTS
    while left > 0:
        users, events = full[len(sizes) % len(full)]
        sizes.append((users, events))
        left -= max(users, events) if len(kinds) == 1 else (users + events) / 2
    return sizes


def _size(body: bytes) -> Size:
    return body.count(b'"type":"customer"'), body.count(b'"type":"event"')


def _cpu() -> list[Row]:
    """Measure CPU seconds of syncs that the limit holds back."""
    with end_to_end.sqlite_warehouse(2 * LIMIT), loopback() as server:
        warehouse.connect_moengage(server.url, warehouse.DOCUMENTED)
        end_to_end.by_operator(100)  # whatever a first run imports
        print("  CPU at the documented limit: about 65 s", file=sys.stderr)
        burst = _cpu_of(lambda: end_to_end.by_operator(_A_MINUTES_WORTH))
        with_a_wait = _cpu_of(lambda: end_to_end.by_operator(2 * _A_MINUTES_WORTH))
        by_hand = _cpu_of(lambda: end_to_end.by_hand(server.url, _A_MINUTES_WORTH, CUSTOMERS.element))
    per_second = LIMIT / _A_MINUTES_WORTH / WINDOW
    ours, loop = (with_a_wait - burst) * per_second, by_hand * per_second
    return [
        Row(
            CPU_GROUP,
            f"{LIMIT:,} users a minute from SQLite",
            f"{ours:.1%} of a core",
            "loop, 100 a request, never waiting",
            f"{loop:.1%} of a core",
            times(ours / loop),
            f"at most {CPU_TARGET:.0%}",
            ours <= CPU_TARGET,
            ours,
            loop,
        )
    ]


def _cpu_of(run: Callable[[], None]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began
