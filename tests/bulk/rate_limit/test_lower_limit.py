"""The other documented limits, 10,000 users and 30,000 events, of a workspace whose connection says 60,000."""

from __future__ import annotations

import threading
from collections import deque

import pytest

from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.responses import read_reply
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits, Pacer
from devtools.fake_clock import FakeClock

SUCCESS = b'{"status":"success"}'
REFUSAL = b'{"status":"fail","error":{"type":"Rate Limits Exceeded","message":"x"}}'


class Server:
    """A sliding window of a minute, which reports itself in headers, or does not."""

    def __init__(self, clock: FakeClock, limit: int, *, has_headers: bool) -> None:
        self._clock, self._limit, self._has_headers = clock, limit, has_headers
        self._taken: deque[tuple[float, int]] = deque()
        self.refused = 0

    def answer(self, amount: int) -> tuple[int, dict[str, str], bytes]:
        now = self._clock.monotonic()
        while self._taken and self._taken[0][0] <= now - 60:
            self._taken.popleft()
        free = self._limit - sum(each for _, each in self._taken)
        fits = amount <= free
        if fits:
            self._taken.append((now, amount))
        else:
            self.refused += 1
        headers = {"x-ratelimit-limit": str(self._limit), "x-ratelimit-remaining": str(free - fits * amount)}
        if not self._has_headers:
            headers = {}
        return (200, headers, SUCCESS) if fits else (429, headers, REFUSAL)


@pytest.mark.parametrize("has_headers", [True, False])
@pytest.mark.parametrize(("kind", "limit"), [("users", 10_000), ("events", 30_000)])
def test_a_lower_limit_is_found_and_used_with_few_refusals(kind: str, limit: int, has_headers: bool) -> None:
    clock = FakeClock()
    server = Server(clock, limit, has_headers=has_headers)
    pacer = Pacer(Limits(), clock, threading.Event())
    begun, accepted, sent, amount = clock.monotonic(), 0, 0, 400
    users, events = (amount, 0) if kind == "users" else (0, amount)
    while clock.monotonic() - begun < 1_200:
        sent_at = pacer.spend(users, events)
        clock.wait(threading.Event(), 0.1)
        status, headers, body = server.answer(amount)
        reply = read_reply(status, headers, body, scrub=Scrub(()), now=0.0)
        pacer.record_reply(users, events, reply, sent_at)
        sent += 1
        accepted += amount if status == 200 else 0
    ideal = limit * (clock.monotonic() - begun) / 60

    assert accepted > (0.98 if has_headers else 0.85) * ideal
    assert server.refused <= (0 if has_headers else 0.05 * sent)


@pytest.mark.parametrize("said", ["1", "0", "-5", "100", "90000", "1e300", "nan", "a", "", "60000;w=60"])
def test_a_limit_that_cannot_be_right_slows_nothing(said: str) -> None:
    clock = FakeClock()
    pacer = Pacer(Limits(), clock, threading.Event())
    begun, left = clock.monotonic(), 60_000
    for _ in range(100):
        sent_at = pacer.spend(400, 0)
        left -= 400
        headers = {"x-ratelimit-limit": said, "x-ratelimit-remaining": str(left)}
        pacer.record_reply(400, 0, read_reply(200, headers, SUCCESS, scrub=Scrub(()), now=0.0), sent_at)

    assert clock.monotonic() - begun < 1
