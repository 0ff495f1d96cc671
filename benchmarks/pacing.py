"""Measures one million elements at MoEngage's documented limit: the time, the 429s, and the CPU time.

Time and 429s are simulated: the provider's pacer with four lanes, or an alternative, against the emulator's
sliding window, over a network with a round trip of 40 to 160 ms and one more second for one request in a hundred.
Only the network is random, and its seed is fixed. Bodies are as large as the pipeline packs them.

The CPU time is real, of users alone, and of a user and an event of each row. Each is the difference of two syncs
from SQLite at the documented limit, with elements for one minute and for two. The second sync sends a minute more
and waits once for the window, like every minute of a long sync. Divided by 60 s, it is the fraction of a core.
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
from functools import partial
from itertools import count
from typing import Protocol

from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.responses import Outcome, Reply, read_reply
from airflow_provider_moengage.bulk.mapping import EventMapping
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits, Pacer
from airflow_provider_moengage.emulator.limits import RateLimits, limit_headers
from airflow_provider_moengage.emulator.settings import Settings
from benchmarks import warehouse
from benchmarks.data import CUSTOMERS, EVENTS, Element, Kind
from benchmarks.data import Row as SqlRow
from benchmarks.loopback import loopback
from benchmarks.pipeline import bodies, source_of_elements
from benchmarks.simulated import WINDOW, Later, SimulatedClock
from benchmarks.table import Row, times

GROUP = "One million at the documented limit (percentage of the ideal speed, 960 s; simulated)"
CPU_GROUP = "CPU at the documented limit"
LIMIT = 60_000
_SCRUB = Scrub(())
ELEMENTS = 1_000_000

ALONE_TARGET, MIXED_TARGET, CPU_TARGET = 0.99, 0.98, 0.01
"""Fractions of the ideal speed; fraction of a core."""

_A_MINUTES_WORTH = 59_000
"""Elements that whole bodies can send within one minute's limit."""

Size = tuple[int, int]
"""Users and events of one body."""

_LANES = 4
"""Most lanes that a run opens by default at the documented limit."""


class Pace(Protocol):
    """What a lane consults before it sends."""

    def spend(self, users: int, events: int) -> float:
        """Return when the request may be sent, or raise :class:`Later`."""

    def record_reply(self, users: int, events: int, reply: Reply, sent_at: float) -> None:
        """Learn from the response."""


class TokenBucket:
    """Two buckets, for users and for events, that refill evenly. After a 429 it waits as long as the server asks.

    :param burst: the capacity of a bucket, which is full at the start.
    """

    def __init__(self, clock: SimulatedClock, burst: int) -> None:
        self._clock = clock
        self._burst = burst
        self._left = [float(burst), float(burst)]
        self._filled_at = 0.0
        self._held_until = 0.0

    def spend(self, users: int, events: int) -> float:
        """Take tokens for the request."""
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
    """The provider's pacer, as if users and events shared one limit."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._pacer = our_pacer(clock)

    def spend(self, users: int, events: int) -> float:
        """Count events as users."""
        return self._pacer.spend(users + events, 0)

    def record_reply(self, users: int, events: int, reply: Reply, sent_at: float) -> None:
        """Count events as users; ignore the reported remainder, which counts them apart."""
        self._pacer.record_reply(users + events, 0, replace(reply, remaining=None), sent_at)


@dataclass(frozen=True)
class Results:
    """The result of a simulated run."""

    seconds: float
    ideal: float
    """Seconds that a sender would need if it knew the server's window and took no time itself."""
    requests: int
    refused: int

    @property
    def speed(self) -> float:
        """Fraction of the ideal speed."""
        return self.ideal / self.seconds

    @property
    def text(self) -> str:
        """Time, percentage of the ideal speed, 429s."""
        refused = f"{self.refused / self.requests:.1%} 429s" if self.refused else "no 429s"
        return f"{self.seconds:,.0f} s ({self.speed:.1%}), {refused}"


def rows() -> list[Row]:
    """Measure everything."""
    return [*_simulated(), *_cpu()]


def simulate(pace_of: Callable[[SimulatedClock], Pace], sizes: Sequence[Size]) -> Results:
    """Send bodies of these sizes over the default number of lanes, in order, each until it is accepted."""
    return _Simulation(pace_of, sizes).run()


class _Simulation:
    def __init__(self, pace_of: Callable[[SimulatedClock], Pace], sizes: Sequence[Size]) -> None:
        self._clock = SimulatedClock()
        self._pace = pace_of(self._clock)
        self._sizes = sizes
        self._waiting = iter(sizes)
        self._server = RateLimits()
        self._settings = Settings()
        self._random = random.Random(11)
        self._numbers = count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._requests = self._refused = 0

    def run(self) -> Results:
        for _ in range(_LANES):
            self._after(0.0, self._next_body)
        while self._due:
            self._clock.now, _, then = heapq.heappop(self._due)
            then()
        return Results(self._clock.now, _ideal(self._sizes), self._requests, self._refused)

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self._clock.now + seconds, next(self._numbers), then))

    def _latency(self) -> float:
        return self._random.uniform(0.02, 0.08) + (self._random.random() < 0.005)

    def _next_body(self) -> None:
        if (size := next(self._waiting, None)) is not None:
            self._send(size)

    def _send(self, size: Size) -> None:
        try:
            sent_at = self._pace.spend(*size)
        except Later as later:
            self._after(max(later.seconds, 1e-6), partial(self._send, size))
        else:
            self._after(self._latency(), partial(self._arrive, size, sent_at))

    def _arrive(self, size: Size, sent_at: float) -> None:
        now = self._clock.now
        decision = self._server.admit(*size, self._settings, now)
        headers = limit_headers(decision.tightest, self._settings, now, refused=not decision.admitted)
        status, body = (200, b'{"status":"success"}') if decision.admitted else (429, b"{}")
        headers = {name.lower(): value for name, value in headers.items()}
        self._after(self._latency(), partial(self._respond, size, sent_at, (status, headers, body)))

    def _respond(self, size: Size, sent_at: float, response: tuple[int, dict[str, str], bytes]) -> None:
        reply = read_reply(*response, scrub=_SCRUB, now=self._clock.now)
        self._requests += 1
        self._refused += reply.outcome is Outcome.THROTTLED
        self._pace.record_reply(*size, reply, sent_at)
        if reply.outcome is Outcome.ACCEPTED:
            self._next_body()
        else:
            self._send(size)


def _simulated() -> list[Row]:
    users, events, both = _sizes(CUSTOMERS), _sizes(EVENTS), _sizes(CUSTOMERS, EVENTS)
    bucket: Callable[[SimulatedClock], Pace] = lambda clock: TokenBucket(clock, LIMIT)  # noqa: E731
    found: list[Row] = []
    for name, sizes, rivals in (
        ("users", users, {"token bucket, initially full": bucket, "evenly paced": _even(users)}),
        ("events", events, {"token bucket, initially full": bucket, "evenly paced": _even(events)}),
        (
            "users and 1,000,000 events",
            both,
            {
                "token bucket, initially full": bucket,
                "evenly paced": _even(both),
                "one budget for both": OneBudget,
            },
        ),
    ):
        ours = simulate(our_pacer, sizes)
        for rival, pace_of in rivals.items():
            theirs = simulate(pace_of, sizes)
            found.append(_row(f"{ELEMENTS:,} {name}", ours, rival, theirs, is_mixed=sizes is both))
    return found


def _row(what: str, ours: Results, rival: str, theirs: Results, *, is_mixed: bool) -> Row:
    target = MIXED_TARGET if is_mixed else ALONE_TARGET
    return Row(
        GROUP,
        what,
        ours.text,
        rival,
        theirs.text,
        times(ours.speed / theirs.speed),
        f"at least {target:.0%}, no 429s",
        ours.speed >= target and not ours.refused,
        ours.speed,
        theirs.speed,
    )


def our_pacer(clock: SimulatedClock) -> Pacer:
    """Return the provider's pacer, at the documented limit."""
    return Pacer(Limits(LIMIT, LIMIT), clock, threading.Event())


def _even(sizes: Sequence[Size]) -> Callable[[SimulatedClock], Pace]:
    """Return a pace that spaces bodies evenly."""
    largest = max(max(size) for size in sizes)
    return lambda clock: TokenBucket(clock, largest)


def _ideal(sizes: Sequence[Size]) -> float:
    most = max(sum(users for users, _ in sizes), sum(events for _, events in sizes))
    return (math.ceil(most / LIMIT) - 1) * WINDOW


def _sizes(*kinds: Kind) -> list[Size]:
    """Return the sizes of bodies with a million elements of each kind, as the pipeline packs the first ones."""
    elements = [kind.element(kind.row(number)) for number in range(20_000) for kind in kinds]
    packed = [_size(body) for body in bodies(source_of_elements(elements), "off")]
    full = packed[:-1]
    sizes: list[Size] = []
    left: float = ELEMENTS
    while left > 0:
        users, events = full[len(sizes) % len(full)]
        sizes.append((users, events))
        left -= max(users, events) if len(kinds) == 1 else (users + events) / 2
    return sizes


def _size(body: bytes) -> Size:
    return body.count(b'"type":"customer"'), body.count(b'"type":"event"')


def _cpu() -> list[Row]:
    """Measure CPU seconds of syncs that wait for the limit."""
    from benchmarks import end_to_end  # noqa: PLC0415 (its rivals need orjson, and the simulation does not)

    def loops(rows: int) -> None:
        for fetched in (CUSTOMERS.element, _event_of):
            end_to_end.send_hand_written(server.url, rows, fetched)

    found: list[Row] = []
    with end_to_end.sqlite_warehouse(2 * LIMIT) as _, loopback() as server:
        warehouse.connect_moengage(server.url, warehouse.DOCUMENTED)
        end_to_end.send_with_operator(100)  # so that imports of the first run do not count
        print("  CPU at the documented limit: about 130 s", file=sys.stderr)
        users_alone = [CUSTOMERS.mapping]
        both = [CUSTOMERS.mapping, EventMapping(action="Seen", time="last")]
        for what, mapping, loop in (
            ("users", users_alone, partial(end_to_end.send_hand_written, server.url, fetched=CUSTOMERS.element)),
            ("users and as many events", both, loops),
        ):
            burst = _cpu_of(partial(end_to_end.send_with_operator, _A_MINUTES_WORTH, mapping))
            with_a_wait = _cpu_of(partial(end_to_end.send_with_operator, 2 * _A_MINUTES_WORTH, mapping))
            theirs = _cpu_of(partial(loop, rows=_A_MINUTES_WORTH)) * _PER_SECOND
            ours = (with_a_wait - burst) * _PER_SECOND
            found.append(
                Row(
                    CPU_GROUP,
                    f"{LIMIT:,} {what} per minute from SQLite",
                    f"{ours:.1%} of a core",
                    "loop, 100 per request, unpaced",
                    f"{theirs:.1%} of a core",
                    times(ours / theirs),
                    f"at most {CPU_TARGET:.1%}",
                    ours <= CPU_TARGET,
                    ours,
                    theirs,
                )
            )
    return found


_PER_SECOND = LIMIT / _A_MINUTES_WORTH / WINDOW


def _event_of(row: SqlRow) -> Element:
    """Return the event that a hand-written loop would build from a row of customers."""
    customer = CUSTOMERS.element(row)
    attributes = customer["attributes"]
    action = {"action": "Seen", "current_time": attributes.pop("last"), "attributes": attributes}
    return {"type": "event", "customer_id": customer["customer_id"], "actions": [action]}


def _cpu_of(run: Callable[[], None]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began
