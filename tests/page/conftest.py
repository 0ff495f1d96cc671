"""An Airflow whose Dags have run, and its API server, with users who may do different things."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import requests
from packaging.version import Version

from airflow_provider_moengage.emulator import BusinessEvent, Emulator, FileImport, ImportFile, Settings
from devtools.standalone_airflow import as_connection
from tests.airflow.home import PROJECT, Airflow

HERE = Path(__file__).parent
AIRFLOW = Version(metadata.version("apache-airflow"))
HAS_PAGES = Version("3.1.0.dev0") <= AIRFLOW
HAS_STATE = Version("3.3.0.dev0") <= AIRFLOW
START_WITHIN = 180.0
ROLES = {"admin": "admin", "op": "op", "user": "user", "viewer": "viewer", "narrow": "user", "blind": "user"}
ADDRESS = "grace@example.com"
"""An attribute value of a rejected row, which the page must not show."""


@dataclass
class Page:
    """The API server, and what it shows."""

    url: str
    airflow: Airflow
    warehouse: Path
    emulator: Emulator
    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, user: str) -> str:
        if user not in self.tokens:
            answer = _session().post(
                f"{self.url}/auth/token", json={"username": user, "password": user}, timeout=60
            )
            assert answer.status_code == 201, answer.text
            self.tokens[user] = answer.json()["access_token"]
        return self.tokens[user]

    def get(self, path: str, user: str | None = "admin", **options: Any) -> requests.Response:
        return self.ask("GET", path, user, **options)

    def ask(self, method: str, path: str, user: str | None = "admin", **options: Any) -> requests.Response:
        """Ask as a browser does, with the session's cookie."""
        cookies = {} if user is None else {"_token": self.token(user)}
        return _session().request(
            method, f"{self.url}/moengage/{path}", cookies=cookies, timeout=60, allow_redirects=False, **options
        )

    def change(self, path: str, user: str | None = "admin", **body: Any) -> requests.Response:
        """Ask for a change as the page itself does."""
        return self.ask(
            "POST", path, user, json=body, headers={"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        )

    def json(self, path: str, user: str = "admin") -> Any:
        answer = self.get(path, user)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def syncs(self, user: str = "admin") -> dict[str, Any]:
        """Return the syncs that a user sees, by Dag ID."""
        return {sync["dag_id"]: sync for sync in self.json("api/syncs", user)["syncs"]}


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if not HAS_PAGES:
        pytest.skip("Airflow has pages of plugins from 3.1 on")
    home = tmp_path_factory.mktemp("page")
    warehouse = _warehouse(home / "warehouse.db")
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({name: name for name in ROLES}))
    port = _free_port()
    with Emulator(Settings()) as emulator:
        emulator.workspace.add_business_event(
            BusinessEvent("Tiers updated", attributes={"customers": "number"}, campaigns=("tier-campaign",))
        )
        file = ImportFile(
            "users.csv", total_rows=2_400, updated_rows=2_310, failed_rows=0, steps=((0, "SUCCESSFUL"),)
        )
        emulator.workspace.add_file_import(FileImport("nightly-users", "Nightly users", (file,)))
        emulator.workspace.add_file_import(FileImport("hourly-users", "Hourly users", (file,)))
        connection = as_connection(
            login="EMULATOR",
            password="emulator-data-key",
            host=emulator.url,
            extra={"campaign_api_key": "emulator-campaign-key"},
        )
        airflow = Airflow.new(
            home,
            HERE / "dags",
            AIRFLOW_CONN_WAREHOUSE=json.dumps({"conn_type": "sqlite", "host": str(warehouse)}),
            AIRFLOW_CONN_MOENGAGE_DEFAULT=connection,
            AIRFLOW__API__BASE_URL=f"http://127.0.0.1:{port}",
            AIRFLOW__API_AUTH__JWT_SECRET="a secret of these tests, as long as its algorithm of signatures wants",
            AIRFLOW__CORE__AUTH_MANAGER="tests.page.auth_manager.DagAuthManager",
            AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=",".join(f"{name}:{role}" for name, role in ROLES.items()),
            AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=str(passwords),
            AIRFLOW__MOENGAGE__CHANGES_PATH=str(home / "changes"),
            AIRFLOW__MOENGAGE__DEVELOPMENT_RUNS_MOVE_WATERMARK="True",
            AIRFLOW__MOENGAGE__REJECTS_PATH=str(home / "rejects"),
            PYTHONPATH=os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
        )
        _run_dags(airflow, warehouse)
        with _api_server(airflow, port) as url:
            yield Page(url, airflow, warehouse, emulator)


def _warehouse(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            f"""
            CREATE TABLE customers (user_id TEXT, email TEXT, tier TEXT);
            INSERT INTO customers VALUES ('user-1', 'ada@example.com', 'gold'), ('user-2', NULL, 'gold'),
                ('', '{ADDRESS}', 'silver');
            CREATE TABLE orders (user_id TEXT, at TEXT);
            INSERT INTO orders VALUES ('user-1', '2026-01-02 10:00:00');
            """
        )
    return path


def _run_dags(airflow: Airflow, warehouse: Path) -> None:
    """Run each Dag, and one a second time after a customer has changed."""
    dag_ids = ["customers", "vip_customers", "strict_customers", "unready_customers", "payroll"]
    dag_ids += ["campaigns", "imports", "import_triggers", "unrelated"]
    _run(airflow, ["dags", "reserialize"], *(["dags", "test", dag_id] for dag_id in dag_ids))
    with closing(sqlite3.connect(warehouse)) as database, database:
        database.execute("UPDATE customers SET tier = 'silver' WHERE user_id = 'user-1'")
    _run(airflow, ["dags", "test", "customers"], *([["dags", "test", "orders"]] if HAS_STATE else []))


def _run(airflow: Airflow, *commands: list[str]) -> None:
    """Run commands of Airflow in one process, because each start takes seconds."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.airflow.commands"],
        env=airflow.environment,
        cwd=PROJECT,
        input="".join(f"{json.dumps(command)}\n" for command in commands),
        capture_output=True,
        text=True,
        check=False,
    )
    log = done.stdout + done.stderr
    (airflow.home / f"{commands[0][1]}.log").write_text(log)
    assert "Error loading DAG" not in log, log


@contextlib.contextmanager
def _api_server(airflow: Airflow, port: int) -> Iterator[str]:
    url, log = f"http://127.0.0.1:{port}", airflow.home / "api-server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "airflow",
                "api-server",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--workers",
                "1",
            ],
            env=airflow.environment,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_WITHIN
        while not _answers(url):
            assert process.poll() is None, log.read_text(errors="replace")[-4_000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-4_000:]
            time.sleep(0.3)
        yield url
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return _session().get(f"{url}/api/v2/monitor/health", timeout=5).status_code == 200
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
