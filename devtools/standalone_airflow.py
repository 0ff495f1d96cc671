"""A complete Airflow on loopback, controlled through its REST API: `airflow standalone`, or its parts."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import requests

from devtools.postgres import airflow_database, postgres_server

START_WITHIN = 240.0
STEP_WITHIN = 150.0
"""In seconds; both are several times as long as a slow machine needs."""


class Standalone:
    """A running Airflow."""

    def __init__(self, home: Path, url: str, settings: dict[str, str]) -> None:
        self.home = home
        self.processes: list[subprocess.Popen[bytes]] = []
        self.triggerers: list[subprocess.Popen[bytes]] = []
        """The triggerers that a test has started."""
        self._settings = settings
        self._watched = ["metadatabase", "scheduler", "dag_processor"]
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def login(self) -> None:
        token = self._session.get(f"{self._url}/auth/token", timeout=30).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, **options: Any) -> Any:
        for left in range(3 if method == "GET" else 0, -1, -1):
            response = self._session.request(method, f"{self._url}/api/v2{path}", timeout=90, **options)
            if response.status_code < 500 or not left:
                break
            time.sleep(1)  # on a busy machine Airflow's own server may fail once
        assert response.ok, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def is_healthy(self) -> bool:
        with contextlib.suppress(requests.RequestException, ValueError):
            health = self._session.get(f"{self._url}/api/v2/monitor/health", timeout=5).json()
            return all(health[part]["status"] == "healthy" for part in self._watched)
        return False

    def watch(self, part: str) -> None:
        """Add a part to those that must be healthy."""
        self._watched.append(part)

    def has_dag(self, dag_id: str) -> bool:
        response = self._session.get(f"{self._url}/api/v2/dags/{dag_id}", timeout=30)
        return response.status_code == 200

    def trigger(self, dag_id: str, **conf: Any) -> str:
        what = {"logical_date": None, "conf": conf}
        run_id: str = self.call("POST", f"/dags/{dag_id}/dagRuns", json=what)["dag_run_id"]
        return run_id

    def runs(self, dag_id: str) -> list[str]:
        runs = self.call("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": "run_after"})["dag_runs"]
        return [run["dag_run_id"] for run in runs]

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self.call("PATCH", path, json={"new_state": "failed"})

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.call("GET", path, params={"deserialize": "true"})["value"]

    def restart_triggerer(self) -> None:
        """Kill the triggerer with SIGKILL and start another one."""
        for process in psutil.Process(self.processes[0].pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "triggerer" in " ".join(process.cmdline()):
                    process.kill()
        for process in self.triggerers:
            _end(process)
        self.triggerers = [self.start("triggerer")]

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a part of Airflow in its own process group."""
        with (self.home / f"{command[0]}.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                env={**self._settings, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        task: dict[str, Any] = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return task

    def mapped_states(self, dag_id: str, run_id: str, task_id: str) -> list[str | None]:
        """Return the states of a mapped task's instances, by map index."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/listMapped"
        found = self.call("GET", path, params={"order_by": "map_index"})["task_instances"]
        return [each["state"] for each in found]

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task once its run has ended; otherwise the scheduler may still end the run after the Clear."""
        run = f"/dags/{dag_id}/dagRuns/{run_id}"
        until(lambda: self.call("GET", run)["state"] in ("success", "failed"), "the run to end")
        what = {"dag_run_id": run_id, "task_ids": [task_id], "dry_run": False, "only_failed": False}
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", json={**what, "reset_dag_runs": True})

    def until_task(self, dag_id: str, run_id: str, task_id: str, *states: str) -> dict[str, Any]:
        task: dict[str, Any] = {}

        def arrived() -> bool:
            nonlocal task
            task = self.task(dag_id, run_id, task_id)
            return task["state"] in states

        until(
            arrived, f"{task_id} to be {' or '.join(states)}", lambda: f"{self.states(dag_id)}\n{self.log(dag_id)}"
        )
        return task

    def states(self, dag_id: str) -> str:
        """Describe the runs of a Dag and their tasks: the other runs may be what a run waits for."""
        lines = []
        for run in self.call("GET", f"/dags/{dag_id}/dagRuns", params={"order_by": "run_after"})["dag_runs"]:
            path = f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances"
            tasks = self.call("GET", path)["task_instances"]
            tries = ", ".join(f"{each['task_id']} {each['state']} ({each['try_number']})" for each in tasks)
            lines.append(f"{run['dag_run_id']} {run['state']} {run['conf']}: {tries}")
        return "\n".join(lines)

    def log(self, dag_id: str) -> str:
        """Return everything that the tasks and callbacks of a Dag have logged."""
        logs = self.home / "logs"
        files = [*logs.glob(f"dag_id={dag_id}/**/*.log*"), *logs.glob("dag_processor/**/*.log")]
        lines = [line for file in sorted(files) for line in file.read_text(errors="replace").splitlines()]
        return "\n".join(line for line in lines if "Filling up the DagBag" not in line)


def until(condition: Callable[[], bool], what: str, details: Callable[[], str] = lambda: "") -> None:
    """Wait until a condition holds in another process."""
    deadline = time.monotonic() + STEP_WITHIN
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {STEP_WITHIN:.0f} s for {what}\n{details()}")
        time.sleep(0.5)


@contextlib.contextmanager
def standalone(
    dags: Path, environment: dict[str, str], parts: Sequence[tuple[str, ...]] = (("standalone",),)
) -> Iterator[Standalone]:
    """Run an Airflow with these Dags; stop all of its process groups at the end.

    Its database is PostgreSQL: on SQLite, its API answers 500 while the scheduler writes.

    :param parts: the commands to start.
    """
    with postgres_server() as database_port:
        yield from _standalone(dags, {**airflow_database(database_port), **environment}, parts)


def _standalone(dags: Path, environment: dict[str, str], parts: Sequence[tuple[str, ...]]) -> Iterator[Standalone]:
    home = Path(tempfile.mkdtemp(prefix="airflow-standalone-"))
    port, worker_port, trigger_port = _free_port(), _free_port(), _free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # it starts `airflow` by name
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_port),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_port),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        **environment,
    }
    airflow = Standalone(home, url, settings)
    try:
        if ("standalone",) not in parts:
            migration = airflow.start("db", "migrate")
            assert migration.wait(START_WITHIN) == 0, (home / "db.log").read_text(errors="replace")[-4_000:]
        for part in parts:
            airflow.processes.append(airflow.start(*part))
            if part[0] in ("standalone", "triggerer"):
                airflow.watch("triggerer")
        deadline = time.monotonic() + START_WITHIN
        while not airflow.is_healthy():
            alive = [process.poll() is None for process in airflow.processes]
            name = parts[0 if all(alive) else alive.index(False)][0]
            text = (home / f"{name}.log").read_text(errors="replace")[-4_000:]
            assert all(alive), f"{name} has stopped\n{text}"
            assert time.monotonic() < deadline, f"Airflow did not become healthy\n{text}"
            time.sleep(1)
        airflow.login()
        yield airflow
    finally:
        for each in [*airflow.triggerers, *reversed(airflow.processes)]:
            _end(each)
        shutil.rmtree(home, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def as_connection(**fields: Any) -> str:
    """Return a connection as JSON, for AIRFLOW_CONN_..."""
    return json.dumps({"conn_type": "moengage", **fields})
