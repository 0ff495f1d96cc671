"""Business events: success, failure, a used-up quota, and a killed worker."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_moengage.notifications.business_event import MoEngageBusinessEventNotifier
from airflow_provider_moengage.operators.business_event import BusinessEventOperator


def notifier(event_name: str) -> MoEngageBusinessEventNotifier:
    return MoEngageBusinessEventNotifier(
        event_name=event_name,
        event_attributes={"task": "{{ ti.task_id }}"},
        triggered_by="ops@example.com",
        api_version="v5",
    )


def fire(task_id: str = "fire", **options: Any) -> BusinessEventOperator:
    return BusinessEventOperator(task_id=task_id, event_name="New movie", **options)


with DAG("notified", schedule=None, start_date=datetime(2026, 1, 1)):
    fire(on_success_callback=notifier("Task succeeded"))

    @task(on_failure_callback=notifier("Task failed"))
    def fail() -> None:
        raise RuntimeError("on purpose")

    fail()

with DAG("quota", schedule=None, start_date=datetime(2026, 1, 1)):
    fire("first") >> fire("second")

with DAG("killed", schedule=None, start_date=datetime(2026, 1, 1)):
    fire(retries=2, retry_delay=timedelta(seconds=1))
