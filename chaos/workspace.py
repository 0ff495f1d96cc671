"""MoEngage: the emulator in a process of its own, slow as a network is, with faults at random moments."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import requests

from chaos.processes import end
from chaos.source import Source

KEY = "emulator-data-key"
TIMEOUT = 3.0
"""Seconds that the task waits for an answer. No request may take so long by itself, on however slow a machine."""

_PATH = "/v1/transition"
_HANGS = 3_600.0
_ELEMENTS_A_REQUEST = 300
_PAGE = 5_000
_TIMEOUTS = 1
_HITS: dict[str, dict[str, Any]] = {
    "before": {"kind": "status", "status": 503},
    "after": {"kind": "status_after", "status": 502},
    "cut before": {"kind": "cut_before"},
    "cut after": {"kind": "cut_after"},
    "throttled": {"kind": "status", "status": 429},
}
_HITS_A_PASS = 2
"""Hits of each kind while the source is sent once, on average; more where the source is large."""
_LEAST_CHANCE, _MOST_CHANCE = 0.002, 0.03
_LATENCIES = ((0.010, 0.33), (0.020, 0.5), (0.030, 1.0))
"""Seconds, and the chance of each where those before it did not come true."""

AFTER_ACCEPTANCE = frozenset(["status_after", "cut_after"])
"""Faults of requests whose elements were taken in."""


@dataclass(frozen=True)
class Arrival:
    """A request whose elements were taken in.

    :param number: its number.
    :param fault: kind of the fault that hit it; ``slow`` is latency or a timeout.
    :param positions: its elements, in their order.
    """

    number: int
    fault: str | None
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Try:
    """What arrived of one try.

    :param was_killed: whether it was killed.
    :param requests: all requests, whatever came of them.
    :param doubtful: those that were answered so that nobody knows what came of them, timeouts apart.
    :param timeouts: those that got no answer in time.
    :param seconds: from its start to its end.
    """

    was_killed: bool
    arrivals: tuple[Arrival, ...]
    requests: int
    doubtful: int
    timeouts: int
    seconds: float


@dataclass(frozen=True)
class Workspace:
    """The emulator's control API."""

    url: str

    @property
    def connection(self) -> str:
        """The Airflow connection to it, its limits lifted."""
        limits = {"users_per_minute": 1_000_000_000, "events_per_minute": 1_000_000_000}
        fields = {"conn_type": "moengage", "login": "EMULATOR", "password": KEY, "host": self.url}
        return json.dumps({**fields, "extra": {**limits, "timeout": TIMEOUT}})

    def begin(self, source: Source, seed: int) -> None:
        """Forget everything, and let things go wrong as often as a run of this source needs."""
        self._ask("POST", "reset")
        lifted = ("users_per_minute", "events_per_minute", "keep_elements", "keep_requests")
        self._ask("POST", "settings", dict.fromkeys(lifted))
        chance = _HITS_A_PASS * _ELEMENTS_A_REQUEST / source.elements
        chance = min(max(chance, _LEAST_CHANCE), _MOST_CHANCE)
        hanging: dict[str, Any] = {"kind": "slow", "seconds": _HANGS, "times": _TIMEOUTS}
        self._fault(**hanging, probability=chance / 2, seed=seed)
        for row in sorted(source.refused_rows):
            self._fault(kind="refuse", customer_id=source.user(row), times=None)
        for number, hit in enumerate(_HITS.values(), seed + 1):
            self._fault(**hit, times=None, probability=chance, seed=number)
        for number, (seconds, share) in enumerate(_LATENCIES, seed + 100):
            self._fault(kind="slow", seconds=seconds, times=None, probability=share, seed=number)

    @property
    def accepted(self) -> int:
        """Elements taken in so far, each as often as it came."""
        count: int = self._ask("GET", "summary")["elements"]
        return count

    @property
    def timeouts(self) -> int:
        """Requests that got no answer in time so far."""
        waiting = self._ask("GET", "faults")["faults"]
        left: int = sum(fault["times"] for fault in waiting if fault["seconds"] == _HANGS)
        return _TIMEOUTS - left

    def records(self, since: int) -> list[dict[str, Any]]:
        """Return the requests after a number."""
        records: list[dict[str, Any]] = self._ask("GET", f"requests?since={since}")["requests"]
        return records

    def arrivals(self, records: list[dict[str, Any]], since: int, source: Source) -> tuple[Arrival, ...]:
        """Return what was taken in.

        :param records: the requests that it came with; the next try may send already, and that is left out.
        :param since: elements that were taken in before.
        """
        faults = {record["number"]: record["fault"] for record in records}
        found: dict[int, list[int]] = {}
        while page := self._ask("GET", f"elements?since={since}&limit={_PAGE}")["elements"]:
            for each in page:
                if each["request"] in faults:
                    found.setdefault(each["request"], []).append(source.position(each["element"]))
            if page[-1]["request"] not in faults:
                break
            since += len(page)
        return tuple(Arrival(number, faults[number], tuple(positions)) for number, positions in found.items())

    def _fault(self, **fault: Any) -> None:
        self._ask("POST", "faults", {"path": _PATH, **fault})

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        response = requests.request(method, f"{self.url}/_emulator/{path}", json=body, timeout=60)
        response.raise_for_status()
        return msgspec.json.decode(response.content)


def is_doubtful(record: Mapping[str, Any]) -> bool:
    """Say whether a request was answered so that nobody knows what came of it; timeouts do not show."""
    return record["status"] is None or record["status"] >= 500


@contextmanager
def emulator() -> Iterator[Workspace]:
    """Run an emulator."""
    command = [sys.executable, "-m", "airflow_provider_moengage.emulator", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None, "the emulator did not start"
        yield Workspace(found[0])
    finally:
        end(process)
