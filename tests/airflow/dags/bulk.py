"""A Dag with every way to pass elements to BulkImportOperator."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_moengage.operators.bulk_import import BulkImportOperator

FOLDER = Path(os.environ["MOENGAGE_TEST_FOLDER"])
SECRET = "eulav-neddih"[::-1]  # reversed, because Airflow stores this file's text in its database


def customer(user: str) -> dict[str, Any]:
    return {"type": "customer", "customer_id": user, "attributes": {"secret": SECRET}}


def stream(params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for n in range(params["streamed"]):
        yield customer(f"streamed-{n}")


with DAG("bulk", schedule=None, start_date=datetime(2026, 1, 1), params={"streamed": 1_000, "lanes": 2}):

    @task
    def make(count: int) -> list[dict[str, Any]]:
        return [{"type": "customer", "customer_id": f"made-{count}-{n}", "attributes": {}} for n in range(count)]

    @task
    def make_batches() -> list[list[dict[str, Any]]]:
        users = [["mapped-1"], ["mapped-2", "{{ not_a_template }}"]]
        return [[{"type": "customer", "customer_id": user, "attributes": {}} for user in batch] for batch in users]

    @task
    def write_files() -> list[str]:
        paths = []
        for name in ("one", "two"):
            file = FOLDER / f"{name}.ndjson"
            file.write_text(json.dumps(customer(f"file-{name}")) + "\n")
            paths.append(str(file))
        return paths

    @task.moengage_bulk_import(max_rejects=0)
    def decorated(made: Any, day: str, params: Any = None) -> Iterator[dict[str, Any]]:
        for element in made:
            yield customer(f"decorated-{element['customer_id']}-{day}-{params['lanes']}")

    @task.moengage_bulk_import
    def decorated_and_mapped(element: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
        return [customer(f"each-{count}-{each['customer_id']}") for each in element]

    @task(trigger_rule="all_done")
    def collect(**context: Any) -> None:
        pull = context["ti"].xcom_pull
        names = ["literal", "streamed", "made", "rendered", "mapped", "files", "rejected"]
        names += ["decorated", "decorated_and_mapped"]
        lists = ("mapped", "files", "decorated_and_mapped")
        reports = {name: pull(task_ids=name) for name in names}
        reports = {name: list(r) if name in lists else r for name, r in reports.items()}
        (FOLDER / "reports.json").write_text(json.dumps(reports))

    sends = [
        BulkImportOperator(task_id="literal", elements=[customer("literal-1"), customer("literal-2")]),
        BulkImportOperator(task_id="streamed", elements=stream, concurrency="{{ params.lanes }}"),
        BulkImportOperator(task_id="made", elements=make(3)),
        BulkImportOperator(task_id="rendered", elements="{{ ti.xcom_pull(task_ids='make') | tojson }}"),
        BulkImportOperator.partial(task_id="mapped").expand(elements=make_batches()),
        BulkImportOperator.partial(task_id="files", dry_run=False).expand(path=write_files()),
        BulkImportOperator(
            task_id="rejected",
            elements=[customer("good"), customer("null")],
            rejects_path=str(FOLDER / "rejects"),
            retries=0,
        ),
        decorated(make(4), "{{ ds }}"),
        decorated_and_mapped.partial(count=2).expand(element=make_batches()),
    ]
    sends[2] >> sends[3]
    sends >> collect()
