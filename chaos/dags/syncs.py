"""One Dag a configuration. A Dag says when its task begins, so that it can be killed at a moment of its run."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, get_parsing_context

from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from chaos.configurations import CONCURRENCY, CONFIGURATIONS, Configuration, Scene

SCENE = Scene.current()


def tell(_context: Any) -> None:
    """Say that `execute` is about to be called, and by which process."""
    beside = SCENE.mark.with_suffix(".new")
    beside.write_text(str(os.getpid()))
    beside.replace(SCENE.mark)


def sync(configuration: Configuration) -> None:
    """Define the task."""
    shared: dict[str, Any] = {
        "task_id": "sync",
        "delivery": configuration.delivery,
        "concurrency": CONCURRENCY,
        "max_rejects": 0.99,
        "rejects_path": str(SCENE.rejects(configuration)),
        "checkpoint_path": str(SCENE.checkpoints) if configuration.store == "file" else None,
        "retries": 10_000,
        "retry_delay": timedelta(0),
        "on_execute_callback": tell,
    }
    if configuration.source == "sql":
        attributes = ["n", "note"]
        SqlToMoEngageOperator(
            conn_id="warehouse",
            sql="SELECT * FROM sales",
            mapping=[
                CustomerMapping(attributes=attributes),
                EventMapping(action="Purchase", time="at", attributes=attributes),
            ],
            key_columns=["store", "receipt"],
            **shared,
        )
    elif configuration.source == "lines":
        BulkImportOperator(path=str(SCENE.lines), **shared)
    else:
        source = SCENE.source(configuration)
        BulkImportOperator(elements=[source.element(position) for position in range(source.elements)], **shared)


asked = get_parsing_context().dag_id
for each in CONFIGURATIONS:
    if asked in (None, each.name):
        with DAG(each.name, schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
            sync(each)
