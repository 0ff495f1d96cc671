"""Approved customers: count what would be sent, ask a person, and send it once somebody has approved.

Needs Airflow 3.1 or later with `apache-airflow-providers-standard`, and two connections: `warehouse` (any
database that Airflow has a hook for) with a table `customers`, and `moengage_default`. The Airflow variable
`moengage_folder` names a folder that all workers can reach, such as `s3://aws_default@my-bucket/moengage`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import dag

from airflow_provider_moengage.bulk.changes import ChangedOnly
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

FOLDER = "{{ var.value.moengage_folder }}"

CUSTOMERS: dict[str, Any] = {
    "conn_id": "warehouse",
    "sql": "SELECT user_id, email, tier FROM customers",
    "key_columns": ["user_id"],
    "mapping": CustomerMapping(attributes={"u_em": "email", "tier": "tier"}),
    "max_rejects": 0.01,
}

QUESTION = """
| customers | count |
|---|---|
| new | {{ ti.xcom_pull(task_ids='look')['new'] }} |
| changed | {{ ti.xcom_pull(task_ids='look')['changed'] }} |
| unchanged, not sent | {{ ti.xcom_pull(task_ids='look')['unchanged'] }} |
| rejected, not sent | {{ ti.xcom_pull(task_ids='look')['rejected'] }} |
| no longer in the query, stay in MoEngage | {{ ti.xcom_pull(task_ids='look')['removed'] }} |
"""

GUIDE = """
Counts the customers that are new or have changed since the last run, and waits for a person: **Approve** sends
them, **Reject** skips the task `send`. After eight hours without an answer, the run fails and sends nothing.

`send` reads the query again: rows that change between the two tasks are sent as they are then.
"""


# Set a schedule, such as "@daily". A run that waits for its answer keeps the next one waiting.
@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["moengage"],
    doc_md=GUIDE,
)
def approved_customers() -> None:
    """Count, ask, send."""
    look = SqlToMoEngageOperator(
        task_id="look",
        dry_run=True,
        changed_only=ChangedOnly(path=f"{FOLDER}/changes", task_id="send"),
        **CUSTOMERS,
    )
    approve = ApprovalOperator(
        task_id="approve",
        subject="Send these customers to MoEngage?",
        body=QUESTION,
        response_timeout=timedelta(hours=8),
    )
    send = SqlToMoEngageOperator(
        task_id="send",
        changed_only=ChangedOnly(path=f"{FOLDER}/changes"),
        rejects_path=f"{FOLDER}/rejects",
        retries=3,
        retry_delay=timedelta(minutes=5),
        **CUSTOMERS,
    )
    look >> approve >> send


approved_customers()
