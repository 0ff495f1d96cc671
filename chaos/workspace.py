"""MoEngage: the emulator in a process of its own, as slow as a network, with faults at random times."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import requests

from chaos.processes import end

KEY = "emulator-data-key"
TIMEOUT = 3.0
"""Seconds that the task waits for an answer. Even on a slow machine, no request takes that long by itself."""

_PATH = "/v1/transition"
_SEGMENT_PATH = "/v1/integrations/cohortsync"
_DELETE_PATH = "/v1/customer/delete"
_DELETION_FAILS = 0.01
"""Probability of each fault of a deletion."""
_HANGS = 3_600.0
_ELEMENTS_A_REQUEST = 300
_PAGE = 5_000
_TIMEOUTS = 1
_FAULTS: dict[str, dict[str, Any]] = {
    "before": {"kind": "status", "status": 503},
    "after": {"kind": "status_after", "status": 502},
    "cut before": {"kind": "cut_before"},
    "cut after": {"kind": "cut_after"},
    "throttled": {"kind": "status", "status": 429},
}
_FAULTS_A_PASS = 2
"""Faults of each kind while the source is sent once, on average; more if the source is large."""
_LEAST, _MOST = 0.002, 0.03
_LATENCIES = ((0.010, 0.33), (0.020, 0.5), (0.030, 1.0))
"""Seconds, and the probability of each if none before it applied."""

AFTER_ACCEPTANCE = frozenset(["status_after", "cut_after"])
"""Faults of requests whose elements were accepted."""


@dataclass(frozen=True)
class Arrival:
    """A request whose elements were accepted.

    :param number: its number.
    :param fault: kind of the fault that was injected; ``slow`` is latency or a timeout.
    :param positions: its elements, in their order.
    """

    number: int
    fault: str | None
    positions: tuple[int, ...]


@dataclass(frozen=True)
class TryRecord:
    """What arrived from one try.

    :param was_killed: whether it was killed.
    :param requests: number of all requests.
    :param unknown: requests whose answer leaves the outcome unknown, timeouts excluded.
    :param timeouts: requests that got no answer in time.
    :param seconds: from its start to its end.
    """

    was_killed: bool
    arrivals: tuple[Arrival, ...]
    requests: int
    unknown: int
    timeouts: int
    seconds: float


@dataclass(frozen=True)
class Workspace:
    """The emulator's control API."""

    url: str

    @property
    def connection(self) -> str:
        """The Airflow connection to it, without limits."""
        limits = {"users_per_minute": 1_000_000_000, "events_per_minute": 1_000_000_000}
        fields = {"conn_type": "moengage", "login": "EMULATOR", "password": KEY, "host": self.url}
        return json.dumps({**fields, "extra": {**limits, "timeout": TIMEOUT}})

    def reset(self) -> None:
        """Empty it, and remove its faults and limits."""
        self._ask("POST", "reset")
        unlimited = ("users_per_minute", "events_per_minute", "keep_elements", "keep_requests")
        self._ask("POST", "settings", dict.fromkeys(unlimited))

    def set_faults(
        self,
        elements: int,
        refused: Iterable[str | None],
        seed: int,
        *,
        only_refuse: bool = False,
        of_segments: bool = False,
    ) -> None:
        """Replace all faults by new ones.

        :param elements: how many a run sends; the probability of a fault fits it.
        :param refused: users who are refused.
        :param only_refuse: no other faults, and no latency.
        :param of_segments: in the requests that change a segment.
        """
        self._ask("DELETE", "faults")
        path = _SEGMENT_PATH if of_segments else _PATH
        for user in refused:
            self._add_fault(kind="refuse", path=path, customer_id=user, times=None)
        if only_refuse:
            return
        probability = _FAULTS_A_PASS * _ELEMENTS_A_REQUEST / elements
        probability = min(max(probability, _LEAST), _MOST)
        hanging: dict[str, Any] = {"kind": "slow", "seconds": _HANGS, "times": _TIMEOUTS}
        self._add_fault(**hanging, path=path, probability=probability / 2, seed=seed)
        for number, fault in enumerate(_FAULTS.values(), seed + 1):
            self._add_fault(**fault, path=path, times=None, probability=probability, seed=number)
        for number, kind in enumerate(("before", "after", "cut before", "cut after"), seed + 50):
            self._add_fault(
                **_FAULTS[kind], path=_DELETE_PATH, times=None, probability=_DELETION_FAILS, seed=number
            )
        for number, (seconds, share) in enumerate(_LATENCIES, seed + 100):
            self._add_fault(kind="slow", path=path, seconds=seconds, times=None, probability=share, seed=number)

    @property
    def accepted(self) -> int:
        """Elements accepted so far, duplicates included."""
        count: int = self._ask("GET", "summary")["elements"]
        return count

    @property
    def timeouts(self) -> int:
        """Requests so far that got no answer in time."""
        waiting = self._ask("GET", "faults")["faults"]
        left: int = sum(fault["times"] for fault in waiting if fault["seconds"] == _HANGS)
        return _TIMEOUTS - left

    def records(self, since: int) -> list[dict[str, Any]]:
        """Return the requests after the given number."""
        records: list[dict[str, Any]] = self._ask("GET", f"requests?since={since}")["requests"]
        return records

    def arrivals(
        self, records: list[dict[str, Any]], since: int, position: Callable[[Any], int]
    ) -> tuple[Arrival, ...]:
        """Return the accepted requests.

        :param records: the requests to look at. The next try may have sent others already; they are left out.
        :param since: number of elements that were accepted before.
        :param position: returns an element's position.
        """
        faults = {record["number"]: record["fault"] for record in records}
        found: dict[int, list[int]] = {}
        while page := self._ask("GET", f"elements?since={since}&limit={_PAGE}")["elements"]:
            for each in page:
                if each["request"] in faults:
                    found.setdefault(each["request"], []).append(position(each["element"]))
            if page[-1]["request"] not in faults:
                break
            since += len(page)
        return tuple(Arrival(number, faults[number], tuple(positions)) for number, positions in found.items())

    def deletions(self, since: int) -> list[str]:
        """Return the users whose deletion was accepted, after the first ones."""
        users: list[str] = self._ask("GET", f"deletions?since={since}")["deletions"]
        return users

    def segment(self, cohort_id: str) -> Mapping[str, Any] | None:
        """Return a segment; None if nobody was added to it yet."""
        found: Mapping[str, Any] | None = self._ask("GET", f"segments?id={cohort_id}")["segment"]
        return found

    def _add_fault(self, **fault: Any) -> None:
        self._ask("POST", "faults", fault)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        response = requests.request(method, f"{self.url}/_emulator/{path}", json=body, timeout=60)
        response.raise_for_status()
        return msgspec.json.decode(response.content)


def has_unknown_outcome(record: Mapping[str, Any]) -> bool:
    """Return whether the answer leaves the outcome unknown. Timeouts are not recorded."""
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
