"""Measures peak memory of a sync from SQLite by the number of rows: it does not grow with the source.

Each number of rows is sent by its own process. SQLite generates the rows, so no file of ten million is needed. The
alternative fetches all rows, as a hand-written task does; it sends only the first ten thousand, because it reaches
its peak before it sends.

`python -m benchmarks.memory 100000 5000000` measures other counts.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks import warehouse
from benchmarks.loopback import loopback
from benchmarks.table import Row, as_text

GROUP = "Peak memory of a sync from SQLite"
COUNTS = (100_000, 1_000_000, 10_000_000)
MOST_HAND_WRITTEN = 1_000_000
TARGET = 5.0
"""MB that the largest sync may use more than the smallest."""

_SENT_HAND_WRITTEN = 10_000
_SQL = """
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {})
SELECT 'user-' || (n % 50000) AS user_id, '2026-01-01 10:00:' || (10 + n % 50) AS at,
       'product ' || (n % 977) AS product, n / 100.0 AS price, n % 7 AS quantity
FROM numbers
"""


@dataclass(frozen=True)
class Peak:
    """What a process used."""

    megabytes: float
    seconds: float


def rows(counts: tuple[int, ...] = COUNTS) -> list[Row]:
    """Measure everything."""
    found: list[Row] = []
    with loopback() as server:
        least = None
        for count in counts:
            ours = _peak("ours", count, server.url)
            theirs = _peak("loop", count, server.url) if count <= MOST_HAND_WRITTEN else None
            least = ours.megabytes if least is None else least
            is_judged = count == counts[-1] and len(counts) > 1
            found.append(
                Row(
                    GROUP,
                    f"{count:,} rows ({count / ours.seconds:,.0f} rows/s)",
                    f"{ours.megabytes:.1f} MB",
                    "fetchall",
                    "not measured" if theirs is None else f"{theirs.megabytes:.1f} MB",
                    "" if theirs is None else f"{ours.megabytes / theirs.megabytes:.2f} x",
                    f"within {TARGET:.0f} MB of {counts[0]:,}" if is_judged else "",
                    abs(ours.megabytes - least) <= TARGET if is_judged else None,
                    ours.megabytes,
                    None if theirs is None else theirs.megabytes,
                )
            )
    return found


def _peak(who: str, count: int, url: str) -> Peak:
    """Send the rows in another process."""
    print(f"  {count:,} rows, {who}", file=sys.stderr)
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.memory", "--send", who, url, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2_000:])
    [line] = [line for line in done.stdout.splitlines() if line.startswith("PEAK ")]
    _, megabytes, seconds = line.split()
    return Peak(float(megabytes), float(seconds) or time.monotonic() - began)


def _send(who: str, url: str, count: int) -> None:
    """Send the rows in this process and report its peak."""
    warehouse.connect_sqlite(":memory:")
    warehouse.connect_moengage(url)
    began = time.monotonic()
    (_ours if who == "ours" else _hand_written)(count, url)
    seconds = time.monotonic() - began
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kB on Linux
    print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, seconds)


def _ours(count: int, url: str) -> None:
    from airflow_provider_moengage.bulk.mapping import EventMapping
    from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

    del url
    mapping = EventMapping(action="Purchase", time="at")
    operator = SqlToMoEngageOperator(task_id="sync", conn_id="warehouse", sql=_SQL.format(count), mapping=mapping)
    report = operator.execute(warehouse.CONTEXT)
    assert report["accepted"] == count, report


def _hand_written(count: int, url: str) -> None:
    from airflow.providers.common.compat.sdk import BaseHook

    from benchmarks.rivals import post  # here, because its imports take memory that the provider does not need

    table = BaseHook.get_hook("warehouse").get_records(_SQL.format(count))
    for start in range(0, _SENT_HAND_WRITTEN, 100):
        elements = [
            {
                "type": "event",
                "customer_id": user_id,
                "actions": [
                    {
                        "action": "Purchase",
                        "current_time": moment,
                        "attributes": {"product": product, "price": price, "quantity": quantity},
                    }
                ],
            }
            for user_id, moment, product, price, quantity in table[start : start + 100]
        ]
        post(url, elements)


def main() -> None:
    """Measure the counts given on the command line, or run as one of the measured processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=list(COUNTS))
    parser.add_argument("--send", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        who, url, count = options.send
        _send(who, url, int(count))
    else:
        print(as_text(rows(tuple(sorted(options.rows)))))


if __name__ == "__main__":
    main()
