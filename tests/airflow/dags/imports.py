"""File imports: triggered, waited for in every mode, and mapped."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor

FOLDER = Path(os.environ["MOENGAGE_TEST_FOLDER"])

with DAG("imports", schedule=None, start_date=datetime(2026, 1, 1)):
    trigger = TriggerFileImportOperator(task_id="trigger", import_id="users")
    deferred = FileImportRunSensor(
        task_id="deferred",
        since=trigger.output,  # type: ignore[arg-type, unused-ignore]  # an XCom of the task before
        deferrable=True,
        poke_interval=0.2,
    )
    poked = FileImportRunSensor(
        task_id="poked", import_name="Users", file_name="users_*.csv", expected_files=2, poke_interval=0.2
    )
    templated = FileImportRunSensor(
        task_id="templated",
        import_id="users",
        since="{{ ti.xcom_pull('trigger')['triggered_at'] | replace('2026', '2025') }}",
        poke_interval=0.2,
    )
    from_text = FileImportRunSensor(task_id="from_text", since="{{ ti.xcom_pull('trigger') }}", poke_interval=0.2)
    waited = TriggerFileImportOperator.partial(
        task_id="waited", wait_for_completion=True, deferrable=True, poke_interval=0.2
    ).expand(import_id=["one", "two"])
    failed = FileImportRunSensor(task_id="failed", import_id="bad", deferrable=True, poke_interval=0.2)
    skipped = FileImportRunSensor(
        task_id="skipped", import_id="bad", deferrable=True, poke_interval=0.2, soft_fail=True
    )

    @task(trigger_rule="all_done")
    def collect(**context: Any) -> None:
        pull = context["ti"].xcom_pull
        reports = {
            name: pull(task_ids=name) for name in ("trigger", "deferred", "poked", "templated", "from_text")
        }
        reports["waited"] = list(pull(task_ids="waited") or [])
        (FOLDER / "reports.json").write_text(json.dumps(reports))

    trigger >> [poked, templated, from_text]
    [deferred, poked, templated, from_text, waited, failed, skipped] >> collect()
