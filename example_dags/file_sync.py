"""A file-based sync: write warehouse rows to a folder that a MoEngage import watches, import them, and compare.

Needs the connections `warehouse` (any database that Airflow has a hook for) and `moengage_default`, a folder on
object storage, and a periodic import of users in MoEngage's dashboard that watches this folder with the prefix
`registered_user_data` and the date format `yyyymmdd_hhmm`. Pass the import's ID and the folder as parameters of
the run.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import dag, task  # on Airflow 3 alone: from airflow.sdk import dag, task

from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from airflow_provider_moengage.transfers.sql_to_moengage_file import SqlToMoEngageFileOperator


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    tags=["moengage"],
    params={"import_id": "put the id of your import here", "folder": "s3://aws_default@bucket/moengage_users"},
)
def file_sync() -> None:
    """Write the files, import them, and compare the row counts."""
    write = SqlToMoEngageFileOperator(
        task_id="write",
        conn_id="warehouse",
        sql="SELECT user_id, email, tier FROM customers",
        id_column="user_id",
        attributes={"u_em": "email", "tier": "tier"},
        folder="{{ params.folder }}",
    )

    @task.short_circuit
    def has_rows(written: Any) -> bool:
        """Skip the import if there are no files: it would report no file, and the sensor would wait in vain."""
        return bool(written["files"])

    trigger = TriggerFileImportOperator(task_id="trigger", import_id="{{ params.import_id }}", deferrable=True)
    wait = FileImportRunSensor(
        task_id="wait",
        since=trigger.output,
        expected_files="{{ ti.xcom_pull('write')['files'] | length }}",
        deferrable=True,
        poke_interval=10,
        timeout=timedelta(hours=12),
        partial_success="accept",
    )

    @task
    def compare(written: Any, files: Any) -> dict[str, int]:
        """Fail if MoEngage read more or fewer rows than were written, or if rows failed."""
        read = sum(file["total_rows"] or 0 for file in files)
        failed = sum(file["failed_rows"] or 0 for file in files)
        if read != written["rows"] or failed:
            raise ValueError(f"{written['rows']} rows were written, MoEngage read {read}, and {failed} failed")
        return {"written": written["rows"], "read": read, "failed": failed}

    has_rows(write.output) >> trigger
    compare(write.output, wait.output)


file_sync()
