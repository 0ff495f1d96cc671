"""The sharded example on Airflow's own executors: LocalExecutor, and CeleryExecutor with two workers and Redis.

`make executors` runs it. Redis is Debian's `redis-server`, started and stopped by the test.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.emulator import Emulator, Settings
from devtools.standalone_airflow import Standalone, as_connection, standalone, until

EXAMPLE = Path(__file__).parent.parent.parent / "example_dags" / "sharded_sync.py"
ORDERS = 20_000
WORKERS = ("worker-1", "worker-2")

_NAMES = """
import os


def name():
    return os.environ.get("WORKER_NAME", "elsewhere")
"""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(Settings(keep_elements=None)) as emulator:
        yield emulator


@pytest.fixture
def environment(emulator: Emulator, tmp_path: Path) -> dict[str, str]:
    """Connections to a warehouse of orders and to the emulator."""
    path = tmp_path / "warehouse.db"
    with sqlite3.connect(path) as warehouse:
        warehouse.execute(
            "CREATE TABLE orders (order_id TEXT PRIMARY KEY, user_id TEXT, total REAL, ordered_at TEXT)"
        )
        rows = [(f"o-{n:06}", f"user {n % 900}", n / 4, "2026-01-02 03:04:05") for n in range(ORDERS)]
        warehouse.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    warehouse.close()
    return {
        "AIRFLOW_CONN_WAREHOUSE": as_connection(conn_type="sqlite", host=str(path)),
        "AIRFLOW_CONN_MOENGAGE_DEFAULT": as_connection(
            login="EMULATOR", password="emulator-data-key", host=emulator.url
        ),
    }


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    folder = tmp_path / "dags"
    folder.mkdir()
    shutil.copy(EXAMPLE, folder)
    return folder


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A Redis server without persistence."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(timeout=20)


@contextmanager
def on_celery(dags: Path, environment: dict[str, str], folder: Path) -> Iterator[Standalone]:
    """An Airflow in parts, two of them workers that report their names as hostnames."""
    names = folder / "names"
    names.mkdir()
    (names / "worker_names.py").write_text(_NAMES)
    with redis_server(folder) as broker:
        settings = {
            **environment,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(names), os.environ.get("PYTHONPATH")])),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),  # all parts need the same one
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "worker_names.name",
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": broker,
        }
        with standalone(dags, settings, [("api-server",), ("scheduler",), ("dag-processor",)]) as airflow:
            for worker in WORKERS:
                command = (
                    "celery",
                    "worker",
                    "--celery-hostname",
                    worker,
                    "--concurrency",
                    "2",
                    "--skip-serve-logs",
                )
                airflow.processes.append(airflow.start(*command, WORKER_NAME=worker))
            yield airflow


def sync(airflow: Standalone) -> list[dict[str, Any]]:
    """Run the example; return the task instances of its shards."""
    until(lambda: airflow.has_dag("sharded_sync"), "the Dag to be parsed")
    run_id = airflow.trigger("sharded_sync")
    path = f"/dags/sharded_sync/dagRuns/{run_id}"

    def state() -> str:
        return str(airflow.call("GET", path)["state"])

    def logged() -> str:
        logs = [path.read_text(errors="replace")[-4_000:] for path in airflow.home.glob("celery.log")]
        return "\n".join([airflow.log("sharded_sync"), *logs])

    until(lambda: state() in ("success", "failed"), "the run to end", logged)
    assert state() == "success", logged()
    shards = airflow.call("GET", f"{path}/taskInstances", params={"limit": 50})["task_instances"]
    return [shard for shard in shards if shard["task_id"] == "orders"]


def assert_all_arrived(emulator: Emulator, shards: list[dict[str, Any]]) -> None:
    orders = Counter(
        action["attributes"]["order_id"]
        for received in emulator.workspace.elements
        for action in received.element["actions"]
    )
    assert len(shards) == 8
    assert len(orders) == ORDERS
    assert orders.total() == ORDERS


def test_on_the_local_executor(emulator: Emulator, environment: dict[str, str], dags: Path) -> None:
    with standalone(dags, environment) as airflow:
        shards = sync(airflow)

    assert_all_arrived(emulator, shards)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
def test_on_two_celery_workers(
    emulator: Emulator, environment: dict[str, str], dags: Path, tmp_path: Path
) -> None:
    pytest.importorskip("airflow.providers.celery")
    with on_celery(dags, environment, tmp_path) as airflow:
        shards = sync(airflow)

    assert_all_arrived(emulator, shards)
    assert {shard["hostname"] for shard in shards} == set(WORKERS)
