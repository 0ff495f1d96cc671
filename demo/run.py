"""The demo: a warehouse, a MoEngage workspace and Airflow on this machine, two syncs, and a count after each.

It runs `example_dags/warehouse_sync.py` with `airflow dags test`, then compares what arrived with the warehouse,
day by day. Then it runs `example_dags/changed_customers.py` twice, and changes some customers in between: the
second run sends only these, and rejects one whose ID MoEngage does not accept. The exit code is 0 only if all of
that is so. No process is left running.
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
from contextlib import closing
from pathlib import Path

import warehouse

from airflow_provider_moengage.bulk.elements.rules import LARGEST_BODY
from airflow_provider_moengage.emulator import Counts, Emulator, Settings

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / ".demo"
LOG = HOME / "airflow.log"
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
    settings = Settings(users_per_minute=None, events_per_minute=None, keep_elements=1)
    with Emulator(settings) as emulator:
        print(f"The emulated MoEngage workspace listens on {emulator.url}", flush=True)
        print(
            "MoEngage accepts 60,000 users and 60,000 events a minute; the demo runs without this limit.",
            flush=True,
        )
        airflow = _Airflow(database, emulator.url)
        print("Preparing Airflow (airflow db migrate) ...", flush=True)
        airflow.run("db", "migrate")
        print("Running example_dags/warehouse_sync.py (airflow dags test warehouse_sync) ...", flush=True)
        elapsed = airflow.test("warehouse_sync")
        is_equal = _compare(database, airflow.reports(), emulator.workspace.counts, elapsed)
        sends_changes = _sync_changes(database, airflow, emulator)
    print(f"\nAirflow's log is {LOG}; the warehouse is {database}.")
    print("Next: make airflow starts an Airflow with these Dags to click through; docs/quickstart.md writes one.")
    return 0 if is_equal and sends_changes else 1


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
            "AIRFLOW_VAR_MOENGAGE_FOLDER": str(HOME / "moengage"),
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

    def test(self, dag_id: str) -> float:
        """Run a Dag of the examples once; return how many seconds it took."""
        started = time.monotonic()
        self.run("dags", "test", dag_id, "--dagfile-path", str(PROJECT / "example_dags"))
        return time.monotonic() - started

    def run(self, *command: str) -> None:
        """Run a command of Airflow; its output goes to the log."""
        with LOG.open("a+") as log:
            began = log.tell()
            done = subprocess.run(
                [sys.executable, "-m", "airflow", *command],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if done.returncode:
                log.seek(began)
                tail = log.read()[-4_000:]
                raise SystemExit(
                    f"{tail}\nairflow {' '.join(command)} returned {done.returncode}; its log is {LOG}"
                )

    def reports(self) -> dict[str, dict[str, float]]:
        """Return the report of each task's last run: its XCom."""
        with closing(sqlite3.connect(HOME / "airflow" / "airflow.db")) as metadata:
            query = "SELECT task_id, value FROM xcom WHERE key = 'return_value' ORDER BY timestamp"
            return {task: _decoded(value) for task, value in metadata.execute(query)}


def _decoded(value: str) -> dict[str, float]:
    """Return an XCom: JSON, which Airflow's column type may have encoded again."""
    decoded = json.loads(value)
    report: dict[str, float] = json.loads(decoded) if isinstance(decoded, str) else decoded
    return report


def _compare(database: Path, reports: dict[str, dict[str, float]], counts: Counts, elapsed: float) -> bool:
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
    return equal


def _sync_changes(database: Path, airflow: _Airflow, emulator: Emulator) -> bool:
    """Run the sync of changed customers, change some, and run it again; return whether it sent just these."""
    customers = _count(database, "customers")
    print(
        "\nRunning example_dags/changed_customers.py: no customer was sent before, so it sends all ...", flush=True
    )
    took = airflow.test("changed_customers")
    print(_sent(airflow.reports()["customers"], took), flush=True)
    changed, new = warehouse.change_customers(database)
    before = emulator.workspace.counts.customers
    print(f"Changing the tier of {changed} customers, and adding {new} and one with the ID null ...", flush=True)
    print("Running it again ...", flush=True)
    took = airflow.test("changed_customers")
    report = airflow.reports()["customers"]
    arrived = emulator.workspace.counts.customers - before
    print(_sent(report, took), flush=True)
    print(f"Rejected: {_reject()}")
    print(f"The last element, as it was sent: {json.dumps(emulator.workspace.elements[-1].element)}")
    counts = ("changed", "new", "unchanged", "rejected")
    holds = ([report[name] for name in counts], arrived) == ([changed, new, customers - changed, 1], changed + new)
    print(
        f"Equal: exactly these {arrived} customers arrived in MoEngage."
        if holds
        else f"NOT EQUAL: {arrived} customers arrived in MoEngage, {changed + new} were changed or added."
    )
    return holds


def _sent(report: dict[str, float], seconds: float) -> str:
    requests = "1 request" if report["requests"] == 1 else f"{report['requests']:,} requests"
    return (
        f"Sent {report['accepted']:,} customers ({report['new']:,} new, {report['changed']:,} changed) in"
        f" {requests}; {report['unchanged']:,} unchanged ({seconds:.0f} s, most of it Airflow's start)."
    )


def _reject() -> str:
    """Return what is wrong with the rejected customer, out of the rejects file."""
    [file] = (HOME / "moengage" / "rejects").glob("changed_customers*.ndjson")
    reject = json.loads(file.read_text())
    return f"row {reject['position'] + 1}: {'; '.join(reject['messages'])}\n  ({file})"


def _count(database: Path, table: str) -> int:
    with closing(sqlite3.connect(database)) as source:
        count: int = source.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return count


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
