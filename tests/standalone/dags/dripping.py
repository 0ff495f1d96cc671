"""Waits for workspaces whose servers drip, and what is to end nevertheless: another wait, and other providers."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

from airflow.providers.common.sql.triggers.sql import SQLExecuteQueryTrigger
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import DAG, BaseOperator, timezone

from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from tests.standalone.thread_trigger import ThreadTrigger

CONNECTIONS = sorted(
    name.removeprefix("AIRFLOW_CONN_").lower() for name in os.environ if name.startswith("AIRFLOW_CONN_DRIPPING_")
)
TRIGGERS: dict[str, Callable[[], Any]] = {
    "time": lambda: DateTimeTrigger(timezone.utcnow()),
    "query": lambda: SQLExecuteQueryTrigger("SELECT 7", "warehouse"),
    "thread": ThreadTrigger,
}


class Defer(BaseOperator):
    """Returns the event of another provider's trigger."""

    def execute(self, context: Any) -> None:
        self.defer(trigger=TRIGGERS[self.task_id](), method_name="resume")

    def resume(self, context: Any, event: Any = None) -> str:
        return str(event)


with DAG("dripping", schedule=None, start_date=datetime(2026, 1, 1)):
    FileImportRunSensor.partial(
        task_id="wait", import_id="any", deferrable=True, poke_interval=1, retries=0
    ).expand(moengage_conn_id=CONNECTIONS)

with DAG("beside_dripping", schedule=None, start_date=datetime(2026, 1, 1), default_args={"retries": 0}):
    FileImportRunSensor(task_id="healthy", import_id="healthy", deferrable=True, poke_interval=1)
    for name in TRIGGERS:
        Defer(task_id=name)
