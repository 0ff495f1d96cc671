"""Incremental syncs unlike the example: without data intervals, and scheduled on their source."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, Asset

from airflow_provider_moengage.bulk.mapping import EventMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

START = datetime(2026, 1, 1)
source = Asset("source")


def sync(action: str) -> Any:
    return SqlToMoEngageOperator(
        task_id="sync",
        conn_id="warehouse",
        sql="""
            SELECT 'household-' || household_id AS user_id, purchased_at, basket_id FROM purchases
            WHERE purchased_at >= '{{ since }}' AND purchased_at < '{{ until }}'
        """,
        mapping=EventMapping(action=action, time="purchased_at"),
        watermark=source,
    )


with DAG("no_intervals", schedule="@daily", start_date=START, catchup=False):
    sync("No intervals")

with DAG("by_source", schedule=[source], start_date=START):
    sync("By source")
