"""The Airflow of `make airflow` for tests: its REST API, its emulated workspace, and its warehouse."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import requests

from devtools.standalone_airflow import Standalone, until

PROJECT = Path(__file__).parent.parent.parent
START_WITHIN = 300.0
SYNC, TASK = "incremental_sync", "purchases"
SLOTS = 128
"""Slots of the default pool."""


class Workspace:
    """The emulated workspace, through its control API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, method: str, path: str, **options: Any) -> Any:
        response = self._session.request(method, f"{self.url}/_emulator/{path}", timeout=30, **options)
        assert response.ok, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    def reset(self) -> None:
        """Delete everything that has arrived, and the faults."""
        self.ask("POST", "reset")

    def add_fault(self, kind: str, **fields: Any) -> None:
        """Add a fault for bulk requests; a Dag that watches an asset keeps sending other requests."""
        self.ask("POST", "faults", json={"kind": kind, "path": "/v1/transition", **fields})

    def asked(self, path: str) -> int:
        """Return the number of requests whose path contains this."""
        return sum(path in request["path"] for request in self.ask("GET", "requests")["requests"])

    def clear_faults(self) -> None:
        self.ask("DELETE", "faults")

    @property
    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = self.ask("GET", "summary")
        return summary

    @property
    def firings(self) -> list[dict[str, Any]]:
        firings: list[dict[str, Any]] = self.ask("GET", "firings")["firings"]
        return firings

    @property
    def elements(self) -> list[dict[str, Any]]:
        """The elements that were accepted, oldest first."""
        page = self.ask("GET", "elements", params={"limit": 100_000})
        return [received["element"] for received in page["elements"]]

    def arrived(self, action: str = "Purchase", attribute: str = "basket_id") -> Counter[Any]:
        """Count the arrivals of each event, identified by an attribute."""
        events = [element for element in self.elements if element["type"] == "event"]
        actions = [each for element in events for each in element["actions"] if each["action"] == action]
        return Counter(each["attributes"][attribute] for each in actions)

    def by_day(self, action: str = "Purchase") -> dict[str, int]:
        """Return the number of events on each day, as counted by the workspace."""
        days: dict[str, int] = self.summary["events_by_day"].get(action, {})
        return days


class Warehouse:
    """The warehouse of the local Airflow."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def baskets(self, since: datetime, until: datetime) -> list[int]:
        """Return the baskets of a half-open window; each purchase has its own."""
        rows = self.rows("SELECT basket_id, purchased_at FROM purchases")
        return [basket for basket, moment in rows if since <= datetime.fromisoformat(moment) < until]

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as database:
            return database.execute(sql).fetchall()

    def count(self, table: str) -> int:
        count: int = self.rows(f"SELECT count(*) FROM {table}")[0][0]
        return count

    def buy(self, basket: int) -> None:
        """Add a purchase made now."""
        moment = datetime.now(UTC).isoformat(sep=" ", timespec="microseconds")
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute("INSERT INTO purchases VALUES (7, 1, ?, 1, 1, 1, 0, ?)", [basket, moment])


@dataclass
class Place:
    """A local Airflow with its workspace and warehouse."""

    airflow: Standalone
    workspace: Workspace
    warehouse: Warehouse
    url: str

    def run_manually(self, dag_id: str = SYNC, task_id: str = TASK, **conf: Any) -> str:
        """Run a Dag without a date; return the run once its task has succeeded."""
        run = self.airflow.trigger(dag_id, **conf)
        self.airflow.until_task(dag_id, run, task_id, "success")
        return run

    def run(self, run_id: str, dag_id: str = SYNC) -> dict[str, Any]:
        run: dict[str, Any] = self.airflow.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
        return run

    def log(self, dag_id: str, run_id: str) -> str:
        """Return the log of the tasks of one run."""
        folder = self.airflow.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        return "\n".join(file.read_text(errors="replace") for file in sorted(folder.glob("**/*.log*")))

    def runs_before_a_backfill(self, dag_id: str = SYNC) -> set[str]:
        """Return the existing runs once no backfill is running: Airflow allows one per Dag at a time."""

        def is_free() -> bool:
            backfills = self.airflow.call("GET", "/backfills", params={"dag_id": dag_id})["backfills"]
            return all(backfill["completed_at"] for backfill in backfills)

        until(is_free, "an earlier backfill to end")
        return set(self.airflow.runs(dag_id))

    def backfilled(self, before: set[str], count: int, dag_id: str = SYNC) -> list[dict[str, Any]]:
        """Wait until the runs of a backfill have ended; return them.

        :param before: the runs that existed before it.
        """
        found: list[dict[str, Any]] = []

        def are_done() -> bool:
            found[:] = [
                run
                for run in self.airflow.call("GET", f"/dags/{dag_id}/dagRuns", params={"limit": 100})["dag_runs"]
                if run["run_type"] == "backfill" and run["dag_run_id"] not in before
            ]
            assert all(run["state"] != "failed" for run in found), self.airflow.log(dag_id)
            return len(found) == count and all(run["state"] == "success" for run in found)

        until(are_done, f"{count} runs of a backfill", lambda: f"{found}\n{self.airflow.log(dag_id)}")
        return found

    def each_day_arrived_once(self, first: date, last: date, runs: list[dict[str, Any]]) -> None:
        """Check that a backfill sent each purchase of its days once, on its day and in the run of that day."""
        begin = datetime.combine(first, datetime.min.time(), UTC)
        end = datetime.combine(last, datetime.min.time(), UTC) + timedelta(days=1)
        assert self.workspace.arrived() == Counter(self.warehouse.baskets(begin, end))
        expected = {}
        for run in runs:
            since, until = (datetime.fromisoformat(run[f"data_interval_{end}"]) for end in ("start", "end"))
            expected[f"{since:%Y-%m-%d}"] = count = len(self.warehouse.baskets(since, until))
            assert self.airflow.xcom(SYNC, run["dag_run_id"], TASK)["events"] == count
        assert self.workspace.by_day() == expected
        assert (min(expected), max(expected)) == (first.isoformat(), last.isoformat())

    @property
    def erased(self) -> list[str]:
        """Users whose deletion MoEngage has accepted."""
        erased: list[str] = self.workspace.ask("GET", "deletions")["deletions"]
        return erased

    @property
    def watermark(self) -> datetime:
        """The watermark of the incremental sync."""
        assets = self.airflow.call("GET", "/assets", params={"name_pattern": "warehouse_purchases"})["assets"]
        [asset] = [asset["id"] for asset in assets if asset["name"] == "warehouse_purchases"]
        state = self.airflow.call("GET", f"/assets/{asset}/state-store/moengage:{SYNC}:{TASK}")
        return datetime.fromisoformat(state["value"])


@contextlib.contextmanager
def local_airflow(dags: Path, home: Path) -> Iterator[Place]:
    """Run `demo/local_airflow.py`; stop it with Ctrl-C's signal, and check that no process is left."""
    output = home.with_suffix(".out")
    takes_screenshots = os.environ.get("UPDATE_SCREENSHOTS") == "1"
    ports = [] if takes_screenshots else ["--port", "0", "--emulator-port", "0"]
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo.local_airflow", *ports, "--dags", dags, "--home", home],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + START_WITHIN
        while "Press Ctrl-C to stop everything" not in (printed := output.read_text()):
            assert process.poll() is None, printed
            assert time.monotonic() < deadline, printed
            time.sleep(0.5)
        found = re.search(r"^Airflow +(http://\S+).*^MoEngage +(http://\S+)", printed, re.DOTALL | re.MULTILINE)
        assert found is not None, printed
        url, workspace = found.groups()
        airflow = Standalone(home, url, {})
        airflow.login()
        yield Place(airflow, Workspace(workspace), Warehouse(home / "warehouse.db"), url)
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) > 3, "Airflow has stopped too early"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, output.read_text()
        assert [each for each in started if each.is_running()] == []
    finally:
        started = started or _children(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        for each in started:
            with contextlib.suppress(psutil.Error):
                each.kill()


def _children(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
        return found
    return []
