"""Airflow for the benchmarks: its settings, its connections, and a task context without a scheduler.

Airflow reads the environment on first import, so a part that uses Airflow imports this module first.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from types import SimpleNamespace
from typing import Any

LIFTED = 600_000_000
"""Users, and events, per minute: a limit that nothing reaches."""

DOCUMENTED = 60_000

_HOME = tempfile.mkdtemp(prefix="airflow-of-the-benchmarks-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ |= {
    "AIRFLOW_HOME": _HOME,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
}

CONTEXT: Any = {"ti": SimpleNamespace(dag_id="benchmark", run_id="r", task_id="sync", map_index=-1)}
"""What an operator's ``execute`` reads from the context."""


def connect_sqlite(path: str) -> None:
    """Define the connection ``warehouse`` for a SQLite file."""
    os.environ["AIRFLOW_CONN_WAREHOUSE"] = json.dumps({"conn_type": "sqlite", "host": path})


def connect_postgres(port: int) -> None:
    """Define the connection ``warehouse`` for a PostgreSQL server on loopback."""
    os.environ["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(
        {"conn_type": "postgres", "host": "127.0.0.1", "port": port, "login": "postgres", "schema": "postgres"}
    )


def connect_moengage(url: str, per_minute: int = LIFTED) -> None:
    """Define the connection ``moengage_default`` for a server.

    :param per_minute: the workspace's limit of users, and of events.
    """
    os.environ["AIRFLOW_CONN_MOENGAGE_DEFAULT"] = json.dumps(
        {
            "conn_type": "moengage",
            "login": "EMULATOR",
            "password": "emulator-data-key",
            "host": url,
            "extra": {"users_per_minute": per_minute, "events_per_minute": per_minute},
        }
    )
