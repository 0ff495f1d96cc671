"""A parallel sync: the orders are split into key ranges, and each range is a mapped task.

Needs a connection `warehouse` with the table below and `moengage_default`. Any executor can run the shards in
parallel; together they stay within the workspace's rate limit. A failed shard is retried alone, and resumes where
it stopped.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import dag, task  # on Airflow 3 alone: from airflow.sdk import dag, task

from airflow_provider_moengage.bulk.mapping import EventMapping
from airflow_provider_moengage.transfers.shards import plan_shards
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

ORDERS: dict[str, Any] = {
    "conn_id": "warehouse",
    "sql": "SELECT order_id, user_id, total, ordered_at FROM orders",
    # Unique, and not personal data: XCom contains the keys at the shard boundaries.
    "key_columns": ["order_id"],
}


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False, tags=["moengage"])
def sharded_sync() -> None:
    """Plan the shards, then send them in parallel."""
    ranges = task(plan_shards)(**ORDERS, shards=8)
    SqlToMoEngageOperator.partial(
        task_id="orders",
        **ORDERS,
        mapping=EventMapping(action="Order", time="ordered_at", attributes=["order_id", "total"]),
        retries=2,
    ).expand(key_range=ranges)


sharded_sync()
