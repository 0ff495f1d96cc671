"""An Airflow that runs single Dags with `airflow dags test`."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

END = "\0 exit "
"""Prefix of the line with the exit code of a command; see `commands`."""

PROJECT = Path(__file__).parent.parent.parent


@dataclass
class Airflow:
    """An Airflow with its own database."""

    home: Path
    environment: dict[str, str]

    @classmethod
    def new(cls, home: Path, dags: Path, **environment: str) -> Airflow:
        """Create its database in an empty folder.

        :param environment: variables in addition to those of this process.
        """
        settings = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGS_FOLDER": str(dags), **environment}
        airflow = cls(home, {**os.environ, **settings})
        airflow.run("-m", "airflow", "db", "migrate")
        return airflow

    def run(self, *command: str, exits_with: int | None = 0) -> str:
        done = subprocess.run(
            [sys.executable, *command], env=self.environment, capture_output=True, text=True, check=False
        )
        log = done.stdout + done.stderr
        assert exits_with in (None, done.returncode), log
        return log

    @contextmanager
    def kept_running(self) -> Iterator[Callable[..., str]]:
        """Yield a function that runs a command of Airflow and returns its output; all share one process.

        A variable that is set in ``environment`` meanwhile holds from the next command on.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.airflow.commands"],
            env=self.environment,
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def run(*command: str) -> str:
            stdin.write(json.dumps({"command": command, "environment": self.environment}) + "\n")
            stdin.flush()
            output = ""
            for line in stdout:
                if line.startswith(END):
                    return output
                output += line
            raise AssertionError(f"Airflow has stopped\n{output}")

        try:
            yield run
        finally:
            stdin.close()
            stdout.close()
            process.terminate()
            process.wait(30)

    def states(self, dag_id: str) -> dict[str, list[str]]:
        states = defaultdict(list)
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            query = "SELECT task_id, state FROM task_instance WHERE dag_id = ?"
            for task_id, state in database.execute(query, [dag_id]):
                states[task_id].append(state)
        return states

    def xcom(self, dag_id: str, task_id: str, key: str) -> Any:
        """Return what a task has stored, None if it has not."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE name LIKE 'xcom%'").fetchall()
            table = (
                "xcom"
                if ("xcom",) in tables
                else "xcom_v2 JOIN task_instance ON task_instance.id = task_instance_id"
            )
            query = f"SELECT value FROM {table} WHERE dag_id = ? AND task_id = ? AND key = ?"
            [value] = database.execute(query, [dag_id, task_id, key]).fetchone() or [None]
        while isinstance(value, str | bytes):  # Airflow 3 encodes JSON as JSON
            value = json.loads(value)
        return value

    @property
    def database(self) -> bytes:
        return b"".join(file.read_bytes() for file in self.home.glob("airflow.db*"))
