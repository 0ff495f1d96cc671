"""Incremental sync: send the purchases that are new since the last run, by a watermark.

Needs two connections: `warehouse` (any database that Airflow has a hook for) with the table below, and
`moengage_default`. Airflow 3.3 and later store the watermark; before that, each run sends its data interval.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import Asset, dag  # on Airflow 3.3: from airflow.sdk, all three
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_moengage.bulk.mapping import EventMapping
from airflow_provider_moengage.bulk.results import ResultsTable
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

# If purchases can be booked late, select by the time at which the row was written.
PURCHASES = """
SELECT 'household-' || household_id AS user_id, purchased_at, basket_id, product_id, sales_value
FROM purchases
WHERE purchased_at >= '{{ since }}' AND purchased_at < '{{ until }}'
"""


# A backfill needs a schedule with data intervals. Two concurrent runs could send the same rows.
@dag(
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["moengage"],
)
def incremental_sync() -> None:
    """Send the purchases that no earlier run has sent."""
    SqlToMoEngageOperator(
        task_id="purchases",
        conn_id="warehouse",
        sql=PURCHASES,
        # Identify a row, so that a retry resumes where the previous try stopped.
        key_columns=["purchased_at", "basket_id", "product_id"],
        mapping=EventMapping(action="Purchase", customer_id="user_id", time="purchased_at"),
        watermark=Asset("warehouse_purchases"),
        results=ResultsTable("warehouse"),  # a row for each run, in the table moengage_sync_runs
    )


incremental_sync()
