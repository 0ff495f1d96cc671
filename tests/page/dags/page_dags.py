"""Dags whose runs the page shows, and one that is none of its business."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, BaseOperator

from airflow_provider_moengage.bulk.changes import ChangedOnly
from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

START = datetime(2026, 1, 1)
CUSTOMERS = "SELECT user_id, email, tier FROM customers"


class OurImport(BulkImportOperator):
    """An operator that a deployment has derived: the page recognizes it, too."""


class Idle(BaseOperator):  # type: ignore[misc, unused-ignore]
    """Sends nothing to anybody."""

    def execute(self, context: Any) -> None:
        """Do nothing."""


for dag_id in ("customers", "vip_customers"):
    with DAG(dag_id, schedule=None, start_date=START):
        SqlToMoEngageOperator(
            task_id="sync",
            conn_id="warehouse",
            sql=CUSTOMERS,
            mapping=CustomerMapping(attributes=["email", "tier"]),
            changed_only=ChangedOnly(),
            max_rejects=10,
        )

with DAG("strict_customers", schedule=None, start_date=START):
    SqlToMoEngageOperator(
        task_id="sync", conn_id="warehouse", sql=CUSTOMERS, mapping=CustomerMapping(attributes=["email", "tier"])
    )

with DAG("unready_customers", schedule=None, start_date=START):
    SqlToMoEngageOperator(
        task_id="sync", conn_id="warehouse", sql=CUSTOMERS, mapping=CustomerMapping(), max_rejects="{{ 'none' }}"
    )

with DAG("orders", schedule=None, start_date=START):
    SqlToMoEngageOperator(
        task_id="sync",
        conn_id="warehouse",
        sql="SELECT user_id, at FROM orders WHERE at >= '{{ since }}' AND at < '{{ until }}'",
        mapping=EventMapping(action="Order", time="at", attributes=[]),
        watermark=Asset(name="orders", uri="warehouse://orders"),
    )

with DAG("payroll", schedule=None, start_date=START):
    OurImport.partial(task_id="send").expand(
        elements=[
            [{"type": "customer", "customer_id": f"clerk-{number}", "attributes": {"salary": 90_210}}]
            for number in range(3)
        ]
    )

with DAG("campaigns", schedule=None, start_date=START):
    BusinessEventOperator(task_id="start", event_name="Tiers updated", event_attributes={"customers": 3})

with DAG("imports", schedule=None, start_date=START):
    TriggerFileImportOperator(task_id="nightly", import_id="nightly-users", wait_for_completion=True)

with DAG("import_triggers", schedule=None, start_date=START):
    TriggerFileImportOperator(task_id="hourly", import_id="hourly-users")

with DAG("unrelated", schedule=None, start_date=START):
    Idle(task_id="nothing")
