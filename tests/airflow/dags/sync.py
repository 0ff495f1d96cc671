"""A warehouse sync, mapped over a parameter, as a Dag."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

FOLDER = Path(os.environ["MOENGAGE_TEST_FOLDER"])

with DAG("sync", schedule=None, start_date=datetime(2026, 1, 1)):
    customers = SqlToMoEngageOperator(
        task_id="customers",
        conn_id="warehouse",
        sql="customers.sql",
        mapping=CustomerMapping(),
    )
    orders = SqlToMoEngageOperator.partial(
        task_id="orders",
        conn_id="warehouse",
        sql="SELECT user_id, at, total FROM orders WHERE shop = ?",
        mapping=[EventMapping(action="Order", time="at"), CustomerMapping(attributes=["total"])],
    ).expand(parameters=[["north"], ["south"]])

    @task(trigger_rule="all_done")
    def collect(**context: Any) -> None:
        pull = context["ti"].xcom_pull
        reports = {"customers": pull(task_ids="customers"), "orders": list(pull(task_ids="orders") or [])}
        (FOLDER / "reports.json").write_text(json.dumps(reports))

    customers >> orders >> collect()
