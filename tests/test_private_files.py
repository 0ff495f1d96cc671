"""Whatever an operator writes on the worker's disk, only the worker's user can read it."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage.bulk.changes import ChangedOnly, OnRemoved
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from airflow_provider_moengage.transfers.sql_to_moengage_file import SqlToMoEngageFileOperator
from tests.delivering import MoEngage, customer
from tests.task import Task


@pytest.fixture(params=[0o000, 0o022], ids=oct)
def outside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder that does not exist yet, with a umask that hides nothing or little."""
    umask = os.umask(request.param)
    yield tmp_path / "made" / "by the task"
    os.umask(umask)


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE users (user_id TEXT, tier TEXT)")
        database.executemany("INSERT INTO users VALUES (?, 'gold')", [("null",), *((f"u-{n}",) for n in range(9))])
    database.close()


def modes(folder: Path) -> dict[str, str]:
    """The modes of everything in a folder, of itself and of the folder above."""
    found = [folder.parent, folder, *folder.rglob("*")]
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in found}


def assert_private(folder: Path, files: int) -> None:
    found = modes(folder)
    assert sorted(found.values()) == ["0o600"] * files + ["0o700"] * (len(found) - files), found


@pytest.mark.parametrize("dry_run", [False, True])
def test_rejects_and_checkpoint_of_a_bulk_import(connected: MoEngage, outside: Path, dry_run: bool) -> None:
    BulkImportOperator(
        task_id="send",
        elements=[customer("null"), customer("ann")],
        max_rejects=1,
        rejects_path=str(outside / "rejects"),
        checkpoint_path=str(outside / "checkpoints"),
        dry_run=dry_run,
    ).execute(Task(has_store=False).context)

    assert_private(outside, files=1 if dry_run else 3)


def test_rejects_and_checkpoint_of_a_query(connected: MoEngage, warehouse: None, outside: Path) -> None:
    SqlToMoEngageOperator(
        task_id="sync",
        conn_id="warehouse",
        sql="SELECT user_id, tier FROM users",
        mapping=CustomerMapping(customer_id="user_id"),
        key_columns=["user_id"],
        max_rejects=1,
        rejects_path=str(outside / "rejects" / "users.ndjson"),
        checkpoint_path=str(outside),
    ).execute(Task(has_store=False).context)

    assert_private(outside, files=3)


@pytest.mark.parametrize("on_removed", ["keep", "unset"])
def test_the_state_of_changed_only(
    connected: MoEngage, warehouse: None, outside: Path, on_removed: OnRemoved
) -> None:
    context: Any = {
        "ti": SimpleNamespace(dag_id="dag", run_id="run", task_id="sync", map_index=-1),
        "dag": SimpleNamespace(start_date=None),
        "dag_run": SimpleNamespace(
            run_id="run", run_type="scheduled", logical_date=datetime(2026, 1, 1, tzinfo=UTC)
        ),
        "params": {},
    }
    SqlToMoEngageOperator(
        task_id="sync",
        conn_id="warehouse",
        sql="SELECT user_id, tier FROM users WHERE user_id <> 'null'",
        mapping=CustomerMapping(customer_id="user_id"),
        key_columns=["user_id"],
        changed_only=ChangedOnly(path=str(outside / "changes"), on_removed=on_removed),
    ).execute(context)

    files = sum(path.is_file() for path in outside.rglob("*"))
    assert files > 0
    assert_private(outside, files=files)


def test_import_files_and_manifest(warehouse: None, outside: Path) -> None:
    SqlToMoEngageFileOperator(
        task_id="files",
        conn_id="warehouse",
        sql="SELECT user_id, tier FROM users WHERE user_id <> 'null'",
        id_column="user_id",
        folder=str(outside / "users"),
        manifest_path=str(outside / "users.json"),
    ).execute(Task().context)

    assert_private(outside, files=2)
