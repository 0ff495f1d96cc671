"""Sync customers, then prove that they have arrived: a sample is read back from MoEngage and compared.

Needs two connections: `warehouse` (any database that Airflow has a hook for) with a table `customers`, and
`moengage_default`. MoEngage has to enable Get User for the workspace; its support does that.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import dag  # on Airflow 3 alone: from airflow.sdk import dag

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.transfers.moengage_arrival_check import MoEngageArrivalCheckOperator
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

SQL = "SELECT user_id, email, tier FROM customers"
MAPPING = CustomerMapping(attributes={"u_em": "email", "tier": "tier"})


# Set a schedule, such as "@daily". If rows can change meanwhile, let the check leave them out by its query: it can
# select the rows that have not changed since dag_run.start_date.
@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1, tags=["moengage"])
def check_arrival() -> None:
    """Send all customers, and check 200 of them."""
    sync = SqlToMoEngageOperator(
        task_id="customers",
        conn_id="warehouse",
        sql=SQL,
        key_columns=["user_id"],
        mapping=MAPPING,
        retries=3,
        retry_delay=timedelta(minutes=5),
    )
    check = MoEngageArrivalCheckOperator(
        task_id="check",
        conn_id="warehouse",
        sql=SQL,
        mapping=MAPPING,
        sample=200,
        max_failed=0.01,
        timeout=timedelta(minutes=10),
        retries=2,
        retry_delay=timedelta(minutes=30),
    )
    sync >> check


check_arrival()
