"""Waits that the example does not have: with timeouts, in the same task, and through an asset."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from airflow_provider_moengage.triggers.file_import import FileImportRunEventTrigger

START = datetime(2026, 1, 1)

with DAG("times_out", schedule=None, start_date=START):
    FileImportRunSensor(
        task_id="sensor", import_id="never", deferrable=True, poke_interval=2, timeout=20, retries=3
    )
    FileImportRunSensor(
        task_id="soft", import_id="never", deferrable=True, poke_interval=2, timeout=20, soft_fail=True
    )
    FileImportRunSensor(
        task_id="execution",
        import_id="never",
        deferrable=True,
        poke_interval=2,
        execution_timeout=timedelta(seconds=20),
    )

with DAG("one_task", schedule=None, start_date=START):
    TriggerFileImportOperator(
        task_id="import",
        import_id="slow",
        wait_for_completion=True,
        deferrable=True,
        poke_interval=2,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )

watched = Asset(
    "watched",
    watchers=[
        AssetWatcher(name="files", trigger=FileImportRunEventTrigger(import_id="watched", poke_interval=2)),
    ],
)

with DAG("by_asset", schedule=[watched], start_date=START):

    @task
    def look(triggering_asset_events=None):  # type: ignore[no-untyped-def]
        return [event.extra["payload"]["file_name"] for event in triggering_asset_events[watched]]

    look()
