"""A sync of changed rows in shards, as a Dag."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_moengage.bulk.changes import ChangedOnly
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.transfers.shards import plan_shards
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

FOLDER = Path(os.environ["MOENGAGE_TEST_FOLDER"])
MEMBERS: dict[str, Any] = {
    "conn_id": "warehouse",
    "sql": "SELECT user_id, tier FROM members",
    "key_columns": ["user_id"],
}

with DAG("shards", schedule=None, start_date=datetime(2026, 1, 1)):
    members = SqlToMoEngageOperator.partial(
        task_id="members",
        **MEMBERS,
        mapping=CustomerMapping(),
        changed_only=ChangedOnly(path=f"{FOLDER}/changes", on_removed="delete"),
    ).expand(key_range=task(plan_shards)(**MEMBERS, shards=3))

    @task(trigger_rule="all_done")
    def collect(**context: Any) -> None:
        reports = list(context["ti"].xcom_pull(task_ids="members") or [])
        (FOLDER / "reports.json").write_text(json.dumps(reports))

    members >> collect()
