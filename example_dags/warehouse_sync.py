"""Sync households and their purchases from a warehouse to MoEngage.

Needs two connections: `warehouse` (any database that Airflow has a hook for) with the tables below, and
`moengage_default`. `make demo` runs this file.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import dag  # on Airflow 3 alone: from airflow.sdk import dag

from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

# MoEngage treats IDs such as 1 and 2 as invalid and drops them, so the number gets a prefix.
USER_ID = "'household-' || household_id"

HOUSEHOLDS = f"""
SELECT {USER_ID} AS user_id, age, income, home_ownership, marital_status, household_size, kids_count
FROM households
"""

PURCHASES = f"""
SELECT {USER_ID} AS user_id, purchased_at, basket_id, product_id, store_id, department, product_type, brand,
       quantity, sales_value, retail_disc AS retail_discount
FROM purchases LEFT JOIN products USING (product_id)
"""


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False, tags=["moengage"])
def warehouse_sync() -> None:
    """Send the users first, then their events."""
    households = SqlToMoEngageOperator(
        task_id="households",
        conn_id="warehouse",
        sql=HOUSEHOLDS,
        key_columns=["user_id"],  # a retry resumes where the previous try stopped
        mapping=CustomerMapping(customer_id="user_id"),
    )
    purchases = SqlToMoEngageOperator(
        task_id="purchases",
        conn_id="warehouse",
        sql=PURCHASES,
        key_columns=["purchased_at", "basket_id", "product_id"],
        mapping=EventMapping(action="Purchase", customer_id="user_id", time="purchased_at"),
    )
    households >> purchases


warehouse_sync()
