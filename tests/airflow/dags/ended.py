"""Bulk tasks that a timeout and SIGTERM end. On Airflow 2, either ends the whole `dags test`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_moengage.operators.bulk_import import BulkImportOperator

PADDING = "x" * 4_000
AT_ONCE = 30
"""Customers of 4,000 bytes that fill a request body and some of the next."""


def customers() -> Iterator[dict[str, Any]]:
    for name in ["", *(f"ended-{number}" for number in range(AT_ONCE))]:
        yield {"type": "customer", "customer_id": name, "attributes": {"padding": PADDING}}


def endless() -> Iterator[dict[str, Any]]:
    while True:
        yield from customers()
        time.sleep(0.1)


def terminated() -> Iterator[dict[str, Any]]:
    yield from customers()
    os.kill(os.getpid(), signal.SIGTERM)
    yield from customers()


with DAG("timed_out", schedule=None, start_date=datetime(2026, 1, 1)):
    BulkImportOperator(task_id="sync", elements=endless, execution_timeout=timedelta(seconds=2), retries=0)

with DAG("terminated", schedule=None, start_date=datetime(2026, 1, 1)):
    BulkImportOperator(task_id="sync", elements=terminated, retries=0)
