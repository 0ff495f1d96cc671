"""Peak memory of a sync from SQLite by the number of rows: it does not grow with the source.

Each number of rows is sent by a process of its own to an emulator in another one. Run it with
`python benchmarks/memory.py` in the environment of `make test`; it prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from airflow_provider_moengage.emulator import Emulator, Settings

SYNC = """
import json, resource, sys
from types import SimpleNamespace
from airflow_provider_moengage.bulk.mapping import EventMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

rows = int(sys.argv[1])
operator = SqlToMoEngageOperator(
    task_id="sync", conn_id="warehouse", mapping=EventMapping(action="Purchase", time="at"),
    sql="SELECT * FROM purchases LIMIT ?", parameters=[rows],
)
report = operator.execute({"ti": SimpleNamespace(dag_id="d", run_id="r", task_id="sync", map_index=-1)})
assert report["accepted"] == rows, report
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=[100_000, 5_000_000])
    counts = sorted(parser.parse_args().rows)
    with tempfile.TemporaryDirectory() as folder, Emulator(_UNLIMITED) as emulator:
        warehouse = Path(folder) / "warehouse.db"
        _fill(warehouse, counts[-1])
        environment = {
            **os.environ,
            "AIRFLOW_HOME": folder,
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(warehouse)}),
            "AIRFLOW_CONN_MOENGAGE_DEFAULT": json.dumps(
                {
                    "conn_type": "moengage",
                    "login": "EMULATOR",
                    "password": "emulator-data-key",
                    "host": emulator.url,
                    "extra": {"users_per_minute": 10**9, "events_per_minute": 10**9},
                }
            ),
        }
        print(f"{'rows':>12} {'peak memory (MB)':>18} {'above the fewest (MB)':>23} {'rows a second':>15}")
        least = None
        for rows in counts:
            started = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-c", SYNC, str(rows)],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            rate = rows / (time.monotonic() - started)
            [line] = [line for line in done.stdout.splitlines() if line.startswith("PEAK ")]
            peak = int(line.removeprefix("PEAK ")) / 1e6
            least = peak if least is None else least
            print(f"{rows:>12,} {peak:>18.1f} {peak - least:>23.1f} {rate:>15,.0f}", flush=True)


_UNLIMITED = Settings(users_per_minute=None, events_per_minute=None, keep_elements=0, keep_requests=0)


def _fill(path: Path, rows: int) -> None:
    with sqlite3.connect(path) as warehouse:
        warehouse.execute(
            "CREATE TABLE purchases (user_id TEXT, at TEXT, product TEXT, price REAL, quantity INTEGER)"
        )
        warehouse.executemany(
            "INSERT INTO purchases VALUES (?, ?, ?, ?, ?)",
            (
                (
                    f"user-{n % 50_000}",
                    f"2026-01-{n % 28 + 1:02} 10:00:{n % 60:02}",
                    f"product {n % 977}",
                    n / 100,
                    n % 7,
                )
                for n in range(rows)
            ),
        )
    warehouse.close()


if __name__ == "__main__":
    main()
