"""Tasks whose lineage, metrics, asset events and links are tested."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset

from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from airflow_provider_moengage.transfers.sql_to_moengage_file import SqlToMoEngageFileOperator

FOLDER = Path(os.environ["MOENGAGE_TEST_FOLDER"])


def elements(**_: Any) -> Any:
    for n in range(3):
        yield {"type": "customer", "customer_id": f"user-{n}" if n else "null", "attributes": {"n": n}}


def write_file() -> str:
    path = FOLDER / "observed.ndjson"
    path.write_text(json.dumps({"type": "customer", "customer_id": "user-1", "attributes": {"n": 1}}) + "\n")
    return str(path)


with DAG(
    "observed",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    params={"conn": "moengage_default"},
    default_args={"retries": 0},
):
    sync = SqlToMoEngageOperator(
        task_id="sync",
        conn_id="postgres",
        sql="SELECT o.user_id, o.at, o.total, c.tier FROM orders o JOIN shop.customers c USING (user_id)"
        " WHERE o.secret = %(secret)s",
        parameters={"secret": "eulav-retemarap"[::-1]},
        mapping=[
            EventMapping(action="Order", time="at", attributes=["total"]),
            CustomerMapping(attributes=["tier"]),
        ],
        outlets=[Asset("moengage_customers")],
        moengage_conn_id="{{ params.conn }}",
    )
    from_file = BulkImportOperator(task_id="from_file", path=write_file())
    mapped = BulkImportOperator.partial(task_id="mapped", max_rejects=1).expand(elements=[elements, elements])
    rejected = BulkImportOperator(task_id="rejected", elements=elements, outlets=[Asset("never")])
    files = SqlToMoEngageFileOperator(
        task_id="files",
        conn_id="postgres",
        sql="SELECT 'user-' || n AS user_id, n FROM generate_series(1, 7) AS n",
        folder=str(FOLDER / "watched"),
        id_column="user_id",
        moengage_conn_id="there_is_none",
        outlets=[Asset("moengage_files")],
    )
    event = BusinessEventOperator(task_id="event", event_name="New movie")
    trigger = TriggerFileImportOperator(task_id="trigger", import_id="users")
    wait = FileImportRunSensor(
        task_id="wait",
        since=trigger.output,  # type: ignore[arg-type, unused-ignore]  # an XCom of the task before
        poke_interval=0.2,
    )
