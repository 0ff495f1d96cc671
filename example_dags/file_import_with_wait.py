"""Trigger a file import, wait for it without a worker slot, and report the row counts.

Needs the connection `moengage_default` with the workspace ID and the key of the Data tile, and a periodic import
`Nightly users` in MoEngage's dashboard. To use another import, pass its ID or name as a parameter of the run.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import dag, task  # on Airflow 3 alone: from airflow.sdk import dag, task

from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,  # a trigger may disturb a run that is still going
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["moengage"],
    params={"import_id": "", "import_name": "Nightly users"},
)
def file_import_with_wait() -> None:
    """Trigger the import, wait for it, and count its rows."""

    @task
    def find(import_id: str, import_name: str) -> str:
        """Return the import's ID: MoEngage triggers imports by ID, but the dashboard shows the name."""
        return import_id or MoEngageHook().find_import(import_name).import_id

    trigger = TriggerFileImportOperator(
        task_id="trigger",
        import_id=find("{{ params.import_id }}", "{{ params.import_name }}"),
        deferrable=True,  # waits for the five-minute cooldown in the triggerer
    )
    wait = FileImportRunSensor(
        task_id="wait",
        since=trigger.output,  # only the run that this trigger started
        deferrable=True,
        poke_interval=10,  # seconds; all waiting tasks share one poller, so a short interval is cheap
        timeout=timedelta(hours=6),
        partial_success="accept",
        max_failed_rows=100,
    )

    @task
    def count_rows(files: Any) -> dict[str, int]:
        """Return the total row counts."""
        names = ("total_rows", "added_rows", "updated_rows", "skipped_rows", "failed_rows")
        rows = {name: sum(file[name] or 0 for file in files) for name in names}
        print(f"{len(files)} files: {rows}")
        return rows

    count_rows(wait.output)


file_import_with_wait()
