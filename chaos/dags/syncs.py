"""One Dag for each configuration. A Dag reports when its task starts, so that it can be killed at a given time."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any, cast

from airflow.sdk import DAG, get_parsing_context

from airflow_provider_moengage.bulk.changes import ChangedOnly, OnRemoved
from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from airflow_provider_moengage.transfers.sql_to_moengage_cohort import SqlToMoEngageCohortOperator
from chaos.changing.segment import MEMBER_SQL
from chaos.changing.table import table_name
from chaos.configurations import CONCURRENCY, CONFIGURATIONS, Configuration, Setup

SETUP = Setup.current()


def report_start(_context: Any) -> None:
    """Write the process id to a file just before `execute` is called."""
    new = SETUP.start_file.with_suffix(".new")
    new.write_text(str(os.getpid()))
    new.replace(SETUP.start_file)


def sync(configuration: Configuration) -> None:
    """Define the task."""
    shared: dict[str, Any] = {
        "task_id": "sync",
        "delivery": configuration.delivery,
        "concurrency": CONCURRENCY,
        "max_rejects": 0.99,
        "rejects_path": str(SETUP.rejects(configuration)),
        "checkpoint_path": str(SETUP.checkpoints) if configuration.store == "file" else None,
        "retries": 10_000,
        "retry_delay": timedelta(0),
        "on_execute_callback": report_start,
    }
    if configuration.source == "segment":
        del shared["delivery"]
        SqlToMoEngageCohortOperator(
            conn_id=configuration.source,
            sql=f"SELECT {MEMBER_SQL} AS user_id FROM {table_name(configuration.store)} ORDER BY 1",
            cohort_id=configuration.name,
            changed_only=ChangedOnly(path=str(SETUP.changes)),
            max_removed=1.0,
            **{**shared, "checkpoint_path": None},
        )
    elif configuration.is_changed_only:
        SqlToMoEngageOperator(
            conn_id=configuration.source,
            sql=f"SELECT user_id, n, note FROM {table_name(configuration.store)} ORDER BY user_id",
            mapping=CustomerMapping(attributes=["n", "note"]),
            key_columns=["user_id"],
            changed_only=ChangedOnly(
                path=str(SETUP.changes), on_removed=cast("OnRemoved", configuration.store), max_removed=1.0
            ),
            **{**shared, "checkpoint_path": None},
        )
    elif configuration.is_query:
        attributes = ["n", "note"]
        SqlToMoEngageOperator(
            conn_id=configuration.source,
            sql="SELECT * FROM sales",
            mapping=[
                CustomerMapping(attributes=attributes),
                EventMapping(action="Purchase", time="bought", attributes=attributes),
            ],
            key_columns=["store", "receipt"],
            **shared,
        )
    elif configuration.source == "lines":
        BulkImportOperator(path=str(SETUP.lines), **shared)
    else:
        source = SETUP.source(configuration)
        BulkImportOperator(elements=[source.element(position) for position in range(source.elements)], **shared)


requested = get_parsing_context().dag_id
for each in CONFIGURATIONS:
    if requested in (None, each.name):
        with DAG(each.name, schedule=None, start_date=datetime(2026, 1, 1), catchup=False):
            sync(each)
