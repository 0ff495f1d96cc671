"""What arrives if MoEngage fails: the same rows with the provider, drt-core and dlt, against the emulator.

Three cases, each with an emulator of its own: every tenth request is answered 500; eight requests in a row are
answered 500; and somebody else has used up the workspace's limit when the task begins, so that for a minute every
request is answered 429. A case counts the rows that have arrived, those that arrived twice, the 429s and what the
run says of itself. The tools are set up as in :mod:`benchmarks.reverse_etl`, with their own retries; drt keeps to
as many requests a second as the limit allows. Each has a process of its own, and all run at the same time: they
mostly wait.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass

from benchmarks.table import Row

GROUP = "What arrives if MoEngage fails"
TOOLS = ("provider", "drt", "dlt")
CASES = {
    "tenth": "10,000 rows, every tenth request is answered 500",
    "outage": "10,000 rows, eight requests in a row are answered 500",
    "limit": "3,000 rows, the limit is used up for a minute",
}
_ROWS = {"tenth": 10_000, "outage": 10_000, "limit": 3_000}
_LIMIT = 6_000
"""Users a minute of the case in which somebody else has used them up."""


@dataclass(frozen=True)
class Arrived:
    """What came of one run."""

    rows: int
    """Different users that arrived."""
    twice: int
    """Users that arrived more than once."""
    refused: int
    """Requests that were answered 429."""
    seconds: float
    says: str
    """What the run says of itself."""


def rows() -> list[Row]:
    """Measure all cases with all tools."""
    command = [sys.executable, "-m", "benchmarks.failures", "--tool"]
    running = [subprocess.Popen([*command, tool], stdout=subprocess.PIPE, text=True) for tool in TOOLS]
    found: dict[str, dict[str, Arrived]] = {}
    for tool, process in zip(TOOLS, running, strict=True):
        output, _ = process.communicate()
        [line] = [line for line in output.splitlines() if line.startswith("ARRIVED ")]
        cases = json.loads(line.removeprefix("ARRIVED "))
        found[tool] = {case: Arrived(**fields) for case, fields in cases.items()}
    from benchmarks.reverse_etl import NAMES

    return [
        Row(
            GROUP,
            what,
            _text(found["provider"][case]),
            name,
            _text(found[tool][case]),
            target="every row, none twice",
            is_met=(found["provider"][case].rows, found["provider"][case].twice) == (_ROWS[case], 0),
        )
        for case, what in CASES.items()
        for tool, name in zip(("drt", "dlt"), NAMES, strict=True)
    ]


def _text(arrived: Arrived) -> str:
    twice = f", {arrived.twice:,} twice" if arrived.twice else ""
    refused = f", {arrived.refused} 429s" if arrived.refused else ""
    return f"{arrived.rows:,} arrived{twice}{refused}, {arrived.seconds:.0f} s: {arrived.says}"


def _measured(tool: str) -> dict[str, Arrived]:
    from benchmarks import end_to_end, reverse_etl, warehouse
    from benchmarks.data import CUSTOMERS

    def with_provider(url: str, count: int) -> str:
        warehouse.connect_moengage(url, _LIMIT if count == _ROWS["limit"] else warehouse.LIFTED)
        end_to_end.send_with_operator(count)
        return "success"

    def with_drt(url: str, count: int) -> str:
        pace = _LIMIT / 60 / 100 if count == _ROWS["limit"] else 0
        sent = reverse_etl.send_with_drt(url, database, count, pace)
        return f"{'success' if sent.is_success else 'partial'}, {sent.rows:,} sent; the task succeeds"

    def with_dlt(url: str, count: int) -> str:
        return "success" if reverse_etl.send_with_dlt(url, database, count).is_success else "the task fails"

    ways = {"provider": with_provider, "drt": with_drt, "dlt": with_dlt}
    with end_to_end.sqlite_warehouse(max(_ROWS.values())) as path:
        database = reverse_etl.sqlite(path, CUSTOMERS.element)
        return {case: _arrived(case, ways[tool]) for case in CASES}


def _arrived(case: str, send: Callable[[str, int], str]) -> Arrived:
    import requests

    from airflow_provider_moengage.emulator import Emulator, Fault, Settings

    limit = _LIMIT if case == "limit" else None
    faults = {
        "tenth": [Fault("status", times=1, after=9, status=500)] * 40,
        "outage": [Fault("status", times=8, after=20, status=500)],
        "limit": [],
    }
    with Emulator(Settings(users_per_minute=limit, events_per_minute=limit)) as emulator:
        others = 0
        while limit is not None and others < limit:
            customers = [{"type": "customer", "customer_id": f"other-{others + n}"} for n in range(1_000)]
            requests.post(
                f"{emulator.url}/v1/transition/EMULATOR",
                json={"type": "transition", "elements": customers},
                auth=("EMULATOR", "emulator-data-key"),
                timeout=60,
            ).raise_for_status()
            others += len(customers)
        for fault in faults[case]:
            emulator.workspace.add_fault(fault)
        began = time.monotonic()
        says = send(emulator.url, _ROWS[case])
        seconds = time.monotonic() - began
        users = Counter(received.element["customer_id"] for received in emulator.workspace.elements)
        ours = {user: number for user, number in users.items() if not user.startswith("other-")}
        throttled = emulator.workspace.counts.throttled
    return Arrived(len(ours), sum(number > 1 for number in ours.values()), throttled, seconds, says)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tool", choices=TOOLS, required=True)
    results = _measured(parser.parse_args().tool)
    print("ARRIVED", json.dumps({case: asdict(arrived) for case, arrived in results.items()}))
