"""One sync on many workers: the orders are cut into ranges of their keys, and each range is a task of its own.

Needs a connection `warehouse` with the table below and `moengage_default`. Whatever executor Airflow has runs the
shards side by side; together they keep to the workspace's limit. A shard that fails is retried by itself and goes
on where it was.
"""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import dag, task  # on Airflow 3 alone: from airflow.sdk import dag, task

from airflow_provider_moengage.bulk.mapping import EventMapping
from airflow_provider_moengage.transfers.shards import plan_shards
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

ORDERS = {
    "conn_id": "warehouse",
    "sql": "SELECT order_id, user_id, total, ordered_at FROM orders",
    # Unique, and no person's: the keys at the cuts are in XCom.
    "key_columns": ["order_id"],
}


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False, tags=["moengage"])
def sharded_sync() -> None:
    """Plan the shards, and send them."""
    ranges = task(plan_shards)(**ORDERS, shards=8)
    SqlToMoEngageOperator.partial(
        task_id="orders",
        **ORDERS,
        mapping=EventMapping(action="Order", time="ordered_at", attributes=["order_id", "total"]),
        retries=2,
    ).expand(key_range=ranges)


sharded_sync()
