"""Every operator, ended by SIGTERM or by its execution_timeout. A task waits where the test wants to end it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from airflow_provider_moengage.transfers.sql_to_moengage_cohort import SqlToMoEngageCohortOperator
from airflow_provider_moengage.transfers.sql_to_moengage_file import SqlToMoEngageFileOperator

FOLDER = Path(os.environ.get("AIRFLOW_HOME", ".")) / "ends"
ROWS = 400
PADDING = "x" * 4_000


def report_pid(context: Any) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{context['ti'].task_id}.pid").write_text(str(os.getpid()))


def wait_for_the_test(context: Any, result: Any = None) -> None:
    report_pid(context)
    go = FOLDER / f"{context['ti'].task_id}.go"
    until = time.monotonic() + 60
    while not go.exists() and time.monotonic() < until:
        time.sleep(0.1)


def users(name: str) -> Callable[[], Iterator[dict[str, Any]]]:
    def stream() -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            yield {"type": "customer", "customer_id": f"{name} {number}", "attributes": {"padding": PADDING}}

    return stream


def rows(name: str) -> str:
    return f"""
        WITH RECURSIVE numbers(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM numbers WHERE id < 100000000)
        SELECT '{name} ' || id AS user_id, '{PADDING}' AS padding FROM numbers
    """


def tasks(name: str, **options: Any) -> None:
    """One task of each operator."""
    BulkImportOperator(task_id=f"bulk_{name}", elements=users(f"bulk_{name}"), concurrency=1, **options)
    SqlToMoEngageOperator(
        task_id=f"sync_{name}",
        conn_id="warehouse",
        sql=f"SELECT * FROM ({rows(f'sync_{name}')}) LIMIT {ROWS}",
        mapping=CustomerMapping(attributes=["padding"]),
        concurrency=1,
        **options,
    )
    SqlToMoEngageCohortOperator(
        task_id=f"cohort_{name}",
        conn_id="warehouse",
        sql=f"SELECT user_id || padding AS user_id FROM ({rows(f'cohort_{name}')}) LIMIT {ROWS}",
        cohort_id=f"cohort_{name}",
        mode="add",
        concurrency=1,
        **options,
    )
    is_whole = name == "after"
    SqlToMoEngageFileOperator(
        task_id=f"files_{name}",
        conn_id="warehouse",
        sql=f"SELECT * FROM ({rows(f'files_{name}')}) {f'LIMIT {ROWS}' if is_whole else ''}",
        id_column="user_id",
        folder=f"{FOLDER}/files_{name}",
        **options,
    )
    BusinessEventOperator(task_id=f"event_{name}", event_name=f"Event {name}", **options)
    TriggerFileImportOperator(task_id=f"import_{name}", import_id=f"import_{name}", deferrable=True, **options)
    FileImportRunSensor(task_id=f"sensor_{name}", import_id=f"wait_{name}", poke_interval=1, **options)


with DAG("terminated", schedule=None, start_date=datetime(2026, 1, 1), default_args={"retries": 0}):
    tasks("before", pre_execute=wait_for_the_test)
    tasks("while", pre_execute=report_pid)
    tasks("after", post_execute=wait_for_the_test)

with DAG("timed_out", schedule=None, start_date=datetime(2026, 1, 1), default_args={"retries": 0}):
    tasks("timeout", execution_timeout=timedelta(seconds=12))
