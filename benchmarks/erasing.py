"""Measures the erasure of 100,000 users at MoEngage's limit of 5,000 a minute: the time and the 429s, simulated.

The provider's pacer with the lanes of an erasure, against the emulator's quota, over a network with a round trip
of 40 to 160 ms and one more second for one request in a hundred; a write of the ledger takes 10 ms, and a request
needs two. Only the network is random, and its seed is fixed.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable
from functools import partial
from itertools import count

from airflow_provider_moengage.api.responses import Outcome, Reply
from airflow_provider_moengage.api.users.deletion import PER_MINUTE
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits, Pacer
from airflow_provider_moengage.bulk.run.lane import DELETING_LANES
from airflow_provider_moengage.emulator.limits import Quota
from benchmarks.simulated import WINDOW, Later, SimulatedClock
from benchmarks.table import Row, times

GROUP = "Erasing users at the limit of 5,000 a minute (simulated)"
USERS = 100_000
TARGET = 0.98
"""Of 5,000 a minute."""

_LEDGER_WRITE = 0.01
"""Seconds."""

_WINDOWS = ((PER_MINUTE, 60),)


def rows() -> list[Row]:
    """Measure it."""
    ours, refused = simulate(DELETING_LANES)
    loop, refused_of_loop = simulate(1, per_minute=10**9)
    speed = USERS / ours * WINDOW
    return [
        Row(
            GROUP,
            f"{USERS:,} users",
            f"{ours:,.0f} s ({speed:,.0f} a minute), {refused or 'no'} 429s",
            "a loop with one connection",
            f"{loop:,.0f} s ({USERS / loop * WINDOW:,.0f} a minute), {refused_of_loop or 'no'} 429s",
            times(loop / ours),
            f"at least {TARGET:.0%} of 5,000 a minute, no 429s",
            speed >= TARGET * PER_MINUTE and not refused,
            speed,
            USERS / loop * WINDOW,
        )
    ]


def simulate(lanes: int, per_minute: int = PER_MINUTE, users: int = USERS) -> tuple[float, int]:
    """Return the seconds until everybody's erasure was accepted, and the number of 429s.

    :param per_minute: what the sender keeps to; the server allows 5,000.
    """
    return _Simulation(lanes, per_minute, users).run()


class _Simulation:
    def __init__(self, lanes: int, per_minute: int, users: int) -> None:
        self._clock = SimulatedClock()
        self._pacer = Pacer(Limits(per_minute, per_minute), self._clock, threading.Event())
        self._lanes = lanes
        self._quota = Quota()
        self._random = random.Random(11)
        self._numbers = count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._waiting = users
        self._refused = 0

    def run(self) -> tuple[float, int]:
        for _ in range(self._lanes):
            self._after(0.0, self._next_user)
        while self._due:
            self._clock.now, _, then = heapq.heappop(self._due)
            then()
        return self._clock.now, self._refused

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self._clock.now + seconds, next(self._numbers), then))

    def _latency(self) -> float:
        return self._random.uniform(0.02, 0.08) + (self._random.random() < 0.005)

    def _next_user(self) -> None:
        if self._waiting:
            self._waiting -= 1
            self._send()

    def _send(self) -> None:
        try:
            sent_at = self._pacer.spend(1, 0)
        except Later as later:
            self._after(max(later.seconds, 1e-6), self._send)
        else:
            self._after(_LEDGER_WRITE + self._latency(), partial(self._arrive, sent_at))

    def _arrive(self, sent_at: float) -> None:
        now = self._clock.now
        is_open = self._quota.room(_WINDOWS, now) != 0
        if is_open:
            self._quota.spend(1, _WINDOWS, now)
        hint = None if is_open else self._quota.opens_at(_WINDOWS, 1, now) - now
        reply = Reply(Outcome.ACCEPTED, 200) if is_open else Reply(Outcome.THROTTLED, 429, retry_after=hint)
        self._after(self._latency(), partial(self._respond, sent_at, reply))

    def _respond(self, sent_at: float, reply: Reply) -> None:
        self._pacer.record_reply(1, 0, reply, sent_at)
        if reply.outcome is Outcome.ACCEPTED:
            self._after(_LEDGER_WRITE, self._next_user)
        else:
            self._refused += 1
            self._send()
