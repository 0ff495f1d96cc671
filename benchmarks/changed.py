"""Measures syncs that send only changed rows: CPU time, memory, size of the state, and how much sooner they end.

One row in a hundred has changed since the last run. CPU times are compared with a dry run over the same rows
without ``changed_only``: reading, checking and encoding. A process makes its runs in turn, and a value is the
median of three. Memory is the peak of a process of its own, which finds the state that another one has left.

How much sooner such a sync ends at MoEngage's limit is simulated as in :mod:`benchmarks.pacing`, plus the CPU time
of the run: it reads, encodes and compares all rows.

`python -m benchmarks.changed 100000 5000000` measures memory with other counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import pacing, warehouse
from benchmarks.loopback import loopback
from benchmarks.table import Row

GROUP = "Only changed rows, 1 % changed, from SQLite"
ROWS = 1_000_000
COUNTS = (100_000, 1_000_000)
ROUNDS = 3

CPU_TARGET, OTHER_ORDER_TARGET = 1.45, 2.2
"""Times the CPU of a dry run without ``changed_only``."""
SOONER_TARGET = 50.0
MEMORY_TARGET, OTHER_ORDER_MEMORY_TARGET = 10.0, 40.0
"""MB that the largest sync may use more than the smallest."""
STATE_TARGET = 24 * 1.01
"""Bytes a user."""
OPENING_TARGET = 0.1
"""Seconds."""

_STEP = 7_919
"""A prime: with it as the distance between two rows, all rows come once, in quite another order."""
_USERS_A_REQUEST = 500

_SQL = """
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count}),
users(u) AS (SELECT (n * {step}) % {count} FROM numbers)
SELECT 'user-' || u AS user_id, 'user-' || u || '@example.com' AS u_em, 'city ' || (u % 977) AS city,
       u / 100.0 AS spent, CASE u % 100 WHEN 0 THEN 'tier {version}' ELSE 'silver' END AS tier
FROM users
"""


def rows(counts: tuple[int, ...] = COUNTS, count: int = ROWS, rounds: int = ROUNDS) -> list[Row]:
    """Measure everything."""
    with loopback() as server:
        return [*_cpu(server.url, count, rounds), *_memory(server.url, counts)]


def _cpu(url: str, count: int, rounds: int) -> list[Row]:
    found = _process("cpu", url, count, rounds)
    dry, same, other = (found[name] for name in ("dry", "same", "other"))
    full, part = _at_the_limit(count), _at_the_limit(count // 100)
    sooner = full / (part + same)
    return [
        Row(
            GROUP,
            f"{count:,} rows, {what}",
            f"{seconds:.2f} s CPU",
            "dry run of all rows",
            f"{dry:.2f} s CPU",
            f"{seconds / dry:.2f} x",
            f"at most {target:g} x",
            seconds / dry <= target,
        )
        for what, seconds, target in (
            ("in the same order", same, CPU_TARGET),
            ("in another order", other, OTHER_ORDER_TARGET),
        )
    ] + [
        Row(
            GROUP,
            f"{count:,} rows at the documented limit (simulated)",
            f"{part + same:,.0f} s",
            "all rows",
            f"{full:,.0f} s",
            f"{sooner:,.0f} x sooner",
            f"at least {SOONER_TARGET:.0f} x",
            sooner >= SOONER_TARGET,
        )
    ]


def _at_the_limit(users: int) -> float:
    """Return the seconds that it takes to send so many users, by a simulated clock."""
    sizes = [(_USERS_A_REQUEST, 0)] * (users // _USERS_A_REQUEST)
    return pacing.simulate(pacing.our_pacer, sizes).seconds


def _memory(url: str, counts: tuple[int, ...]) -> list[Row]:
    found: list[Row] = []
    least: dict[str, float] = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            _process("first", url, count, folder)
            measured = {
                what: _process("peak", url, count, folder, what) for what in ("same order", "another order")
            }
        is_judged = count == counts[-1] and len(counts) > 1
        for what, target in (("same order", MEMORY_TARGET), ("another order", OTHER_ORDER_MEMORY_TARGET)):
            peak = measured[what]["megabytes"]
            grown = peak - least.setdefault(what, peak)
            found.append(
                Row(
                    GROUP,
                    f"peak memory, {count:,} rows, {what}",
                    f"{peak:.1f} MB",
                    target=f"within {target:.0f} MB of {counts[0]:,}" if is_judged else "",
                    is_met=grown <= target if is_judged else None,
                )
            )
        same = measured["same order"]
        found += [
            Row(
                GROUP,
                f"state, {count:,} users",
                f"{same['state'] / count:.2f} bytes a user",
                target=f"at most {STATE_TARGET:.2f}",
                is_met=same["state"] / count <= STATE_TARGET,
            ),
            Row(
                GROUP,
                f"opening the state, {count:,} users",
                f"{same['opening'] * 1_000:.0f} ms CPU",
                target=f"under {OPENING_TARGET * 1_000:.0f} ms",
                is_met=same["opening"] < OPENING_TARGET,
            ),
        ]
    return found


def _process(*arguments: object) -> dict[str, float]:
    """Measure in another process."""
    print("  changed:", *arguments, file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks.changed", "--measure", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2_000:])
    [line] = [line for line in done.stdout.splitlines() if line.startswith("MEASURED ")]
    found: dict[str, float] = json.loads(line.removeprefix("MEASURED "))
    return found


class _Sync:
    """The runs of a sync in this process."""

    def __init__(self, count: int, folder: str | Path) -> None:
        self._count = count
        self._folder = folder

    def run(self, version: int, step: int = 1, *, is_dry: bool = False) -> dict[str, Any]:
        """Make a run; a dry one does without the state."""
        from airflow_provider_moengage.bulk.changes import ChangedOnly
        from airflow_provider_moengage.bulk.mapping import CustomerMapping
        from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

        operator = SqlToMoEngageOperator(
            task_id="sync",
            conn_id="warehouse",
            sql=_SQL.format(count=self._count, version=version, step=step),
            mapping=CustomerMapping(),
            changed_only=None if is_dry else ChangedOnly(path=str(self._folder)),
            dry_run=is_dry,
            show_total=False,
            concurrency=1,
        )
        run_id = f"run {time.time_ns()}"
        dag_run = SimpleNamespace(run_id=run_id, run_type="manual", logical_date=None, run_after=None)
        ti = SimpleNamespace(dag_id="benchmark", run_id=run_id, task_id="sync", map_index=-1)
        context: Any = {"ti": ti, "dag_run": dag_run, "dag": SimpleNamespace(start_date=None)}
        return operator.execute(context)


def _measure_cpu(count: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        sync = _Sync(count, folder)
        sync.run(0)
        measured: dict[str, list[float]] = {"dry": [], "same": [], "other": []}
        for number in range(rounds):
            runs = {
                "dry": partial(sync.run, 0, is_dry=True),
                "same": partial(sync.run, 2 * number + 1),
                "other": partial(sync.run, 2 * number + 2, _STEP),
            }
            for name, run in runs.items():
                began = time.process_time()
                report = run()
                measured[name].append(time.process_time() - began)
                expected = count if name == "dry" else count // 100
                assert expected <= report["accepted"] <= expected + 1_000, report
            sync.run(2 * number + 2)  # so that the order of the state is again that of the rows
    return {name: statistics.median(seconds) for name, seconds in measured.items()}


def _measure_peak(count: int, folder: str, what: str) -> dict[str, float]:
    from airflow_provider_moengage.bulk.changed.shards import state as states
    from airflow_provider_moengage.bulk.changed.state import SyncState
    from airflow_provider_moengage.bulk.clock import StopRequest

    opening: list[float] = []

    class Timed(SyncState):
        def open(self, stop: StopRequest) -> None:
            began = time.process_time()
            super().open(stop)
            opening.append(time.process_time() - began)

    setattr(states, "SyncState", Timed)  # noqa: B010 (mypy)
    state = sum(file.stat().st_size for file in Path(folder).rglob("part-*"))
    report = _Sync(count, folder).run(1, 1 if what == "same order" else _STEP)
    assert report["unchanged"] > count * 0.97, report
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kB on Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return {"megabytes": peak, "state": state, "opening": opening[0]}


def _measure(what: str, url: str, count: int, *rest: str) -> dict[str, float]:
    warehouse.connect_sqlite(":memory:")
    warehouse.connect_moengage(url)
    if what == "cpu":
        return _measure_cpu(count, int(rest[0]))
    if what == "first":
        return {"accepted": _Sync(count, rest[0]).run(0)["accepted"]}
    return _measure_peak(count, *rest)


def main() -> None:
    """Measure memory with the counts given on the command line, or run as one of the measured processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=list(COUNTS))
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, url, count, *rest = options.measure
        print("MEASURED", json.dumps(_measure(what, url, int(count), *rest)))
        return
    from benchmarks.table import as_text

    with loopback() as server:
        print(as_text(_memory(server.url, tuple(options.rows))))


if __name__ == "__main__":
    main()
