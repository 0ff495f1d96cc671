from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.erasure import run
from airflow_provider_moengage.transfers.sql_to_moengage_erasure import SqlToMoEngageErasureOperator
from tests.delivering import MoEngage, customer
from tests.sources.conftest import servers  # noqa: F401 (fixture)
from tests.task import Task


class Place:
    """A workspace with users, and a warehouse with requests to erase some of them."""

    def __init__(self, moengage: MoEngage, file: Path) -> None:
        self.moengage = moengage
        self.file = file
        self.task = Task()

    def execute(self, sql: str, rows: Any = ()) -> list[Any]:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            if rows:
                return connection.executemany(sql, rows).fetchall()
            return connection.execute(sql).fetchall()

    def have(self, *users: str, **attributes: Any) -> None:
        """Let MoEngage have users."""
        self.moengage.deliver([customer(user, **attributes) for user in users])

    def request(self, *rows: Any) -> None:
        """Add rows to the table that the operator reads."""
        self.execute(
            "INSERT INTO requests VALUES (?, ?)", [row if isinstance(row, tuple) else (row, None) for row in rows]
        )

    def operator(self, **arguments: Any) -> SqlToMoEngageErasureOperator:
        given = {
            "sql": "SELECT user_id, email FROM requests",
            "conn_id": "warehouse",
            "max_users": 1_000,
            **({} if "ledger_path" in arguments else {"ledger_table": "ledger"}),
            **arguments,
        }
        return SqlToMoEngageErasureOperator(task_id="erase", **given)

    def erase(self, **arguments: Any) -> dict[str, Any]:
        return self.operator(**arguments).execute(self.task.context)

    @property
    def erased(self) -> list[str]:
        return self.moengage.emulator.workspace.deleted_users

    def ledger(self, columns: str = "identity, event") -> list[Any]:
        return self.execute(f"SELECT {columns} FROM ledger ORDER BY rowid")


@pytest.fixture
def place(connected: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    file = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    monkeypatch.setattr("airflow_provider_moengage.bulk.run.context.SystemClock", lambda: connected.clock)
    monkeypatch.setattr(run, "_TICK", 0.01)
    monkeypatch.setattr(run, "_LAST_WAIT", 0.2)
    made = Place(connected, file)
    made.execute("CREATE TABLE requests (user_id, email)")
    return made
