"""An Airflow that runs single Dags to their end, with `airflow dags test`."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Airflow:
    """An Airflow with a database of its own."""

    home: Path
    environment: dict[str, str]

    @classmethod
    def new(cls, home: Path, dags: Path, **environment: str) -> Airflow:
        """Make its database in an empty folder.

        :param environment: what it gets beside this process's.
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

    def states(self, dag_id: str) -> dict[str, list[str]]:
        states = defaultdict(list)
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            query = "SELECT task_id, state FROM task_instance WHERE dag_id = ?"
            for task_id, state in database.execute(query, [dag_id]):
                states[task_id].append(state)
        return states

    @property
    def database(self) -> bytes:
        return b"".join(file.read_bytes() for file in self.home.glob("airflow.db*"))
