"""A sync with a watermark, from a .sql file and mapped over a parameter."""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Asset
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

orders = Asset("orders")

with DAG("incremental", schedule=CronDataIntervalTimetable("@daily", "UTC"), start_date=datetime(2026, 1, 1)):
    SqlToMoEngageOperator(
        task_id="orders",
        conn_id="warehouse",
        sql="orders_since.sql",
        mapping=EventMapping(action="Order", time="at", attributes=["total"]),
        watermark=orders,
    )
    SqlToMoEngageOperator.partial(
        task_id="shops",
        conn_id="warehouse",
        sql="SELECT user_id, at FROM orders WHERE shop = ? AND at >= ? AND at < ?",
        mapping=CustomerMapping(),
        watermark=orders,
        inlets=[orders],
    ).expand(parameters=[["north", "{{ since }}", "{{ until }}"], ["south", "{{ since }}", "{{ until }}"]])
