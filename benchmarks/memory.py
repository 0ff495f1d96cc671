"""Measures a sync from SQLite by the number of rows: peak memory, CPU per row, and the time to the first request.

Each number of rows is sent by its own process, and each row has a user of its own; a million rows of a thousand
users are sent besides. SQLite generates the rows, so no file is needed. The alternative of the table of memory
fetches all rows, as a hand-written task does; it sends only the first ten thousand, because it reaches its peak
before it sends.

`python -m benchmarks.memory 100000 10000000` measures other counts.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks import warehouse
from benchmarks.loopback import Loopback, loopback
from benchmarks.table import Row, as_text, times

GROUP = "Peak memory of a sync from SQLite"
SCALE_GROUP = "Scale: a task that sends from SQLite to HTTP"
COUNTS = (100_000, 1_000_000, 5_000_000)
FEW_USERS = (1_000_000, 1_000)
"""Rows, and users."""
MOST_HAND_WRITTEN = 1_000_000
TARGET = 5.0
"""MB that the largest sync may use more than the smallest."""
MOST = 1.25
"""Times the CPU per row of the smallest sync. Runs differ by some percent; what grows with the rows, by more."""
MOST_LATER = 1.0
"""Seconds that the first request of the largest sync may come later than that of the smallest: the database may
count the rows for a second (``show_total``), and ends the count then."""

_SENT_HAND_WRITTEN = 10_000
_SQL = """
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {})
SELECT 'user-' || (n % {}) AS user_id, '2026-01-01 10:00:' || (10 + n % 50) AS at,
       'product ' || (n % 977) AS product, n / 100.0 AS price, n % 7 AS quantity
FROM numbers
"""


@dataclass(frozen=True)
class Peak:
    """What a process used."""

    megabytes: float
    seconds: float
    cpu_seconds: float
    first_request: float
    """Seconds from the beginning of the operator's work until the server had it."""


def rows(counts: tuple[int, ...] = COUNTS) -> list[Row]:
    """Measure everything."""
    with loopback() as server:
        peaks = [_peak("ours", count, count, server) for count in counts]
        few = _peak("ours", *FEW_USERS, server)
        fetched = [_peak("loop", count, count, server) for count in counts if count <= MOST_HAND_WRITTEN]
    return [*_memory(counts, peaks, fetched), *_scale(counts, peaks, few)]


def _memory(counts: tuple[int, ...], peaks: list[Peak], fetched: list[Peak]) -> list[Row]:
    found: list[Row] = []
    for at, (count, ours) in enumerate(zip(counts, peaks, strict=True)):
        theirs = fetched[at] if at < len(fetched) else None
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
                abs(ours.megabytes - peaks[0].megabytes) <= TARGET if is_judged else None,
                ours.megabytes,
                None if theirs is None else theirs.megabytes,
            )
        )
    return found


def _scale(counts: tuple[int, ...], peaks: list[Peak], few: Peak) -> list[Row]:
    """Return CPU per row, beside that of the smallest number, and the time to the first request."""
    rows, users = FEW_USERS
    cases = [
        *((f"{count:,} rows of as many users", count, peak) for count, peak in zip(counts, peaks, strict=True)),
        (f"{rows:,} rows of {users:,} users", rows, few),
    ]
    base = peaks[0].cpu_seconds / counts[0]
    found = [
        Row(
            SCALE_GROUP,
            f"CPU per row: {name}",
            f"{peak.cpu_seconds / count * 1e6:.2f} µs",
            f"{counts[0]:,} rows",
            f"{base * 1e6:.2f} µs",
            times(peak.cpu_seconds / count / base),
            "" if count == counts[0] else f"at most {MOST:g} x",
            None if count == counts[0] else peak.cpu_seconds / count <= MOST * base,
        )
        for name, count, peak in cases
    ]
    first, last = peaks[0].first_request, peaks[-1].first_request
    return [
        *found,
        Row(
            SCALE_GROUP,
            f"time to the first request: {counts[-1]:,} rows",
            f"{last:.2f} s",
            f"{counts[0]:,} rows",
            f"{first:.2f} s",
            times(last / first),
            f"at most {MOST_LATER:g} s later",
            last - first <= MOST_LATER,
        ),
    ]


def _peak(who: str, count: int, users: int, server: Loopback) -> Peak:
    """Send the rows in another process."""
    print(f"  {count:,} rows of {users:,} users, {who}", file=sys.stderr)
    server.counts()
    command = [sys.executable, "-m", "benchmarks.memory", "--send", who, server.url, str(count), str(users)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2_000:])
    [line] = [line for line in done.stdout.splitlines() if line.startswith("PEAK ")]
    megabytes, began, seconds, cpu_seconds = map(float, line.split()[1:])
    return Peak(megabytes, seconds, cpu_seconds, server.counts().first_at - began)


def _send(who: str, url: str, count: int, users: int) -> None:
    """Send the rows in this process and report what it used.

    A few rows go first, so that imports do not count: they are in the start of a task, which is measured apart.
    """
    warehouse.connect_sqlite(":memory:")
    warehouse.connect_moengage(url)
    if who == "ours":
        _ours(100, 100, url)
        Loopback(url).counts()
    began, cpu_began = time.monotonic(), time.process_time()
    (_ours if who == "ours" else _hand_written)(count, users, url)
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu_began
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kB on Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    print("PEAK", peak, began, seconds, cpu_seconds)


def _ours(count: int, users: int, url: str) -> None:
    from airflow_provider_moengage.bulk.mapping import EventMapping
    from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

    del url
    mapping = EventMapping(action="Purchase", time="at")
    operator = SqlToMoEngageOperator(
        task_id="sync", conn_id="warehouse", sql=_SQL.format(count, users), mapping=mapping
    )
    report = operator.execute(warehouse.CONTEXT)
    assert report["accepted"] == count, report


def _hand_written(count: int, users: int, url: str) -> None:
    from airflow.providers.common.compat.sdk import BaseHook

    from benchmarks.rivals import post  # here, because its imports take memory that the provider does not need

    table = BaseHook.get_hook("warehouse").get_records(_SQL.format(count, users))
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
    parser.add_argument("--send", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        who, url, count, users = options.send
        _send(who, url, int(count), int(users))
    else:
        print(as_text(rows(tuple(sorted(options.rows)))))


if __name__ == "__main__":
    main()
