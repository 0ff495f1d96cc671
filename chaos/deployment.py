"""The parts of Airflow that a try needs: a metadata database, an API server, and a process that runs tries."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from chaos.configurations import Setup
from chaos.processes import end
from chaos.workspace import Workspace

PROJECT = Path(__file__).resolve().parent.parent
DAGS = Path(__file__).resolve().parent / "dags"

_START_WITHIN = 240.0
_ANSWER_WITHIN = 300.0
"""Seconds: several times what a slow machine needs."""


@dataclass(frozen=True)
class TryResult:
    """What Airflow has recorded after a try.

    :param state: of the task instance.
    :param exit_code: of the task process; -9 if it was killed; None if its supervisor failed.
    :param log: the try's log file.
    :param report: the task's XCom.
    """

    state: str
    try_number: int
    exit_code: int | None
    log: str
    report: Mapping[str, Any] | None

    @property
    def was_killed(self) -> bool:
        """Whether the process was killed."""
        return self.exit_code == -signal.SIGKILL

    @property
    def is_success(self) -> bool:
        """Whether the task is done."""
        return self.state == "success"


class TryRunner:
    """The process that runs tries; see :mod:`chaos.try_runner`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._answer()

    def create_run(self, dag_id: str) -> str:
        """Create a run of a Dag and return its id."""
        self._send(command="create_run", dag_id=dag_id)
        run_id: str = self._answer()["run_id"]
        return run_id

    def start(self, dag_id: str, run_id: str) -> None:
        """Start the next try of the run's task."""
        self._send(command="run_try", dag_id=dag_id, run_id=run_id)

    def result(self, within: float = _ANSWER_WITHIN) -> TryResult | None:
        """Return how the try ended; None if it has not ended within that many seconds."""
        try:
            answer = self._answers.get(timeout=within)
        except queue.Empty:
            return None
        return TryResult(**self._checked(answer))

    @property
    def task_process(self) -> int | None:
        """Id of the process that the supervisor has forked for the try."""
        with suppress(psutil.Error):
            children = psutil.Process(self._process.pid).children()
            return children[0].pid if children else None
        return None

    def _send(self, **command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        return self._checked(self._answers.get(timeout=_ANSWER_WITHIN))

    def _checked(self, answer: dict[str, Any] | None) -> dict[str, Any]:
        if answer is None:
            raise RuntimeError("the process that runs tries has ended; its log is airflow/tries.log")
        return answer

    def _read(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError):
            for line in self._process.stdout:
                self._answers.put(json.loads(line))
        self._answers.put(None)


@contextmanager
def deployment(setup: Setup, workspace: Workspace) -> Iterator[TryRunner]:
    """Run an API server on a fresh database, and the process that runs tries."""
    home = Path(setup.folder) / "airflow"
    home.mkdir()
    url = f"http://127.0.0.1:{_free_port()}"
    environment = {
        **environment_of(setup, workspace),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of this harness without any use elsewhere, long enough for JWT",
    }
    with ExitStack() as stack:

        def start(name: str, *command: str) -> subprocess.Popen[str]:
            log = stack.enter_context((home / f"{name}.log").open("w"))
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if name == "tries" else log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
            stack.callback(end, process)
            return process

        if start("migrate", "airflow", "db", "migrate").wait(_START_WITHIN):
            raise RuntimeError(f"airflow db migrate failed:\n{(home / 'migrate.log').read_text()[-2_000:]}")
        port = url.rpartition(":")[2]
        server = start("server", "airflow", "api-server", "--apps", "execution", "--workers", "1", "--port", port)
        runner = TryRunner(start("tries", "chaos.try_runner"))
        _wait_for(url, server, home / "server.log")
        yield runner


def environment_of(setup: Setup, workspace: Workspace) -> dict[str, str]:
    """Return the environment of every process of an Airflow: none of this machine's settings, and the setup."""
    path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
        **setup.environment,
        "PYTHONPATH": path,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW_CONN_MOENGAGE_DEFAULT": workspace.connection,
        **{f"AIRFLOW_CONN_{source.upper()}": connection for source, connection in setup.connections.items()},
    }


def _wait_for(url: str, server: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while True:
        with suppress(requests.RequestException):
            if requests.get(f"{url}/execution/health", timeout=5).ok:
                return
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Airflow's API server did not start:\n{log.read_text()[-2_000:]}")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
