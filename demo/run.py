"""The demo: a warehouse, a MoEngage workspace and Airflow on this machine, one sync, and a count at the end.

It runs `example_dags/warehouse_sync.py` with `airflow dags test`, then compares what arrived with the warehouse,
day by day. The exit code is 0 only if they are equal. No process is left running.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import warehouse

from airflow_provider_moengage.bulk.elements.rules import LARGEST_BODY
from airflow_provider_moengage.emulator import Counts, Emulator, Settings

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / ".demo"
LIFTED = 100_000_000
"""Users and events a minute. MoEngage's rate limit is 60,000 of each; the demo does not wait for it."""


def main() -> int:
    """Run the demo; return 0 if everything arrived."""
    rows = _rows()
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    print(f"Loading {'all' if rows is None else f'{rows:,}'} purchases into a SQLite warehouse ...", flush=True)
    database = HOME / "warehouse.db"
    warehouse.build(database, rows)
    settings = Settings(users_per_minute=None, events_per_minute=None, keep_elements=0)
    with Emulator(settings) as emulator:
        print(f"The emulated MoEngage workspace listens on {emulator.url}", flush=True)
        print(
            "MoEngage accepts 60,000 users and 60,000 events a minute; the demo runs without this limit.",
            flush=True,
        )
        airflow = _Airflow(database, emulator.url)
        print("Preparing Airflow (airflow db migrate) ...", flush=True)
        airflow.run("db", "migrate", quiet=True)
        print("Running example_dags/warehouse_sync.py (airflow dags test warehouse_sync)\n", flush=True)
        started = time.monotonic()
        airflow.run("dags", "test", "warehouse_sync", "--dagfile-path", str(PROJECT / "example_dags"))
        elapsed = time.monotonic() - started
        reports = airflow.reports()
        counts = emulator.workspace.counts
    return _compare(database, reports, counts, elapsed)


class _Airflow:
    """Airflow with its own home and none of this machine's settings."""

    def __init__(self, database: Path, moengage_url: str) -> None:
        limits = {"users_per_minute": LIFTED, "events_per_minute": LIFTED}
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            "AIRFLOW_HOME": str(HOME / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "example_dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(database)}),
            "AIRFLOW_CONN_MOENGAGE_DEFAULT": json.dumps(
                {
                    "conn_type": "moengage",
                    "login": "EMULATOR",
                    "password": "emulator-data-key",
                    "host": moengage_url,
                    "extra": limits,
                }
            ),
        }

    def run(self, *command: str, quiet: bool = False) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *command],
            env=self._environment,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{done.stdout or ''}\nairflow {' '.join(command)} returned {done.returncode}")

    def reports(self) -> dict[str, dict[str, float]]:
        """Return the XComs of the run: the report of each task."""
        script = (
            "import json\n"
            "from airflow.models.xcom import XComModel\n"
            "from airflow.utils.session import create_session\n"
            "with create_session() as session:\n"
            "    rows = session.query(XComModel.task_id, XComModel.value).filter_by(key='return_value').all()\n"
            "print('XCOMS', json.dumps({task: value for task, value in rows}))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], env=self._environment, stdout=subprocess.PIPE, text=True, check=True
        )
        line = next(line for line in done.stdout.splitlines() if line.startswith("XCOMS "))
        values = json.loads(line.removeprefix("XCOMS "))
        return {task: json.loads(value) if isinstance(value, str) else value for task, value in values.items()}


def _compare(database: Path, reports: dict[str, dict[str, float]], counts: Counts, elapsed: float) -> int:
    source = sqlite3.connect(database)
    households = source.execute("SELECT count(*) FROM households").fetchone()[0]
    purchases = source.execute("SELECT count(*) FROM purchases").fetchone()[0]
    by_day = dict(source.execute("SELECT date(purchased_at), count(*) FROM purchases GROUP BY 1"))
    source.close()
    users, events = reports["households"], reports["purchases"]
    arrived_by_day = {day: count for (_, day), count in counts.events_by_day.items()}
    print(f"\n{'':32}{'customers':>12}{'events':>12}")
    for label, left, right in (
        ("rows in the warehouse (SQL)", households, purchases),
        ("elements accepted (Airflow)", users["accepted"], events["accepted"]),
        ("elements rejected (Airflow)", users["rejected"], events["rejected"]),
        ("arrived in MoEngage (emulator)", counts.customers, counts.events),
        ("requests", users["requests"], events["requests"]),
    ):
        print(f"{label:32}{left:>12,}{right:>12,}")
    print(f"{'mean fill of a request':32}{_fill(users):>12.1%}{_fill(events):>12.1%}")
    for label, key in (
        ("elapsed, sending (s)", "elapsed_seconds"),
        ("waiting for the rate limit (s)", "throttled_seconds"),
    ):
        print(f"{label:32}{users[key]:>12.1f}{events[key]:>12.1f}")
    print(f"{'elapsed, airflow dags test (s)':32}{elapsed:>24.1f}")
    equal = (
        (households, purchases) == (counts.customers, counts.events)
        and by_day == arrived_by_day
        and not counts.dropped
    )
    print(
        f"\nEqual: every household and every purchase arrived once, on its own day ({len(by_day)} days compared)."
        if equal
        else "\nNOT EQUAL: the elements that arrived differ from the rows in the warehouse."
    )
    return 0 if equal else 1


def _fill(report: dict[str, float]) -> float:
    return report["bytes"] / (report["requests"] * LARGEST_BODY) if report["requests"] else 0.0


def _rows() -> int | None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="100000", help="purchases to send, or 'all' (1,469,307)")
    given = parser.parse_args().rows
    if given == "all":
        return None
    if not given.isdigit() or not int(given):
        raise SystemExit(f"ROWS {given!r}: expected a number of purchases, or all")
    return int(given)


if __name__ == "__main__":
    sys.exit(main())
