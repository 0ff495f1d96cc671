"""What is new since the last run, from a warehouse to MoEngage: purchases, by a watermark.

Needs two connections: `warehouse` (any database that Airflow has a hook for) with the table below, and
`moengage_default`. Airflow 3.3 keeps the watermark; before that each run sends its own day.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import Asset, dag  # on Airflow 3.3: from airflow.sdk, all three
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_moengage.bulk.mapping import EventMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

# Where purchases are booked late, select by the moment at which a row was written.
PURCHASES = """
SELECT 'household-' || household_id AS user_id, purchased_at, basket_id, product_id, sales_value
FROM purchases
WHERE purchased_at >= '{{ since }}' AND purchased_at < '{{ until }}'
"""


# A schedule with intervals gives a backfill days to send. Two runs at a time could send the same rows.
@dag(
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    tags=["moengage"],
)
def incremental_sync() -> None:
    """Send the purchases that no run has sent."""
    SqlToMoEngageOperator(
        task_id="purchases",
        conn_id="warehouse",
        sql=PURCHASES,
        key_columns=[
            "purchased_at",
            "basket_id",
            "product_id",
        ],  # a retry goes on where the try before it has ended
        mapping=EventMapping(action="Purchase", customer_id="user_id", time="purchased_at"),
        watermark=Asset("warehouse_purchases"),
    )


incremental_sync()
