"""What OpenLineage is told, with its real provider; tests/airflow has the events of a whole run."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage import lineage
from airflow_provider_moengage.bulk.mapping import Column, CustomerMapping, DeviceMapping, EventMapping
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage, customer
from tests.task import Task

needs_openlineage = pytest.mark.skipif(not lineage.is_installed(), reason="OpenLineage's provider is missing")
REPORT = DeliveryReport(accepted=6, customers=1, events=2, devices=3)


def outputs(told: Any) -> dict[str, Any]:
    facets = {each.name: each.outputFacets.get("outputStatistics") for each in told.outputs}
    return {name: getattr(facet, "rowCount", None) for name, facet in facets.items()}


def written(mappings: Any, report: DeliveryReport | None = REPORT) -> dict[str, Any]:
    return outputs(lineage.with_outputs(lineage.files_of([]), "W", report, mappings))


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE users (id TEXT); INSERT INTO users VALUES ('ann'), ('bob')")


def sync(**options: Any) -> SqlToMoEngageOperator:
    return SqlToMoEngageOperator(
        task_id="sync",
        conn_id="warehouse",
        sql="SELECT id FROM users WHERE id <> ?",
        parameters=["hidden-value"],
        mapping=CustomerMapping(customer_id="id"),
        **options,
    )


@needs_openlineage
def test_each_mapping_writes_a_dataset() -> None:
    mappings = [
        CustomerMapping(),
        EventMapping(action="Order", time="at"),
        DeviceMapping(),
    ]

    assert written(mappings) == {"customers": 1, "events/Order": 2, "devices": 3}
    assert written(mappings, None) == {"customers": None, "events/Order": None, "devices": None}


@needs_openlineage
def test_several_events_have_no_count_each_and_an_action_in_a_column_no_name() -> None:
    two = [EventMapping(action="Order", time="at"), EventMapping(action="Visit", time="at")]

    assert written(two) == {"events/Order": None, "events/Visit": None}
    assert written([EventMapping(action=Column("name"), time="at")]) == {"events": 2}


@needs_openlineage
def test_without_mappings_it_is_what_was_written() -> None:
    assert written(None) == {"customers": 1, "events": 2, "devices": 3}
    assert written(None, DeliveryReport(accepted=1, events=1)) == {"events": 1}
    assert written(None, None) == {}


@needs_openlineage
def test_files_are_told_without_a_connection_and_a_glob_by_its_folder() -> None:
    paths = [
        "s3://aws_default@bucket/a/b.ndjson",
        "s3://bucket/c/*/d*.ndjson",
        "/data/x.ndjson",
        "file:///data/?.ndjson",
        "s3://bucket/a#b.ndjson",
        "/data/../data/x#1.ndjson",
    ]

    assert [(each.namespace, each.name) for each in lineage.files_of(paths).inputs] == [
        ("s3://bucket", "a/b.ndjson"),
        ("s3://bucket", "c"),
        ("file", "/data/x.ndjson"),
        ("file", "/data"),
        ("s3://bucket", "a#b.ndjson"),
        ("file", "/data/x#1.ndjson"),
    ]


@needs_openlineage
def test_a_database_that_is_down_leaves_the_query(warehouse: None) -> None:
    class Down:
        def get_openlineage_database_info(self, connection: object) -> None:
            raise ConnectionError("secret")

    told = lineage.tables_of(Down(), "SELECT id FROM users", "warehouse")

    assert (told.inputs, told.job_facets["sql"].query) == ([], "SELECT id FROM users")


@needs_openlineage
def test_a_database_whose_hook_names_no_tables_has_the_query_alone(connected: MoEngage, warehouse: None) -> None:
    task = sync()
    task.execute(Task().context)

    told = task.get_openlineage_facets_on_complete(None)

    assert told is not None
    assert told.inputs == []
    assert outputs(told) == {"customers": 2}
    assert [each.namespace for each in told.outputs] == ["moengage://EMULATOR"]
    assert told.job_facets["sql"].query == "SELECT id FROM users WHERE id <> ?"
    assert "hidden-value" not in repr(told)


@needs_openlineage
def test_a_dry_run_writes_nothing(connected: MoEngage) -> None:
    task = BulkImportOperator(task_id="send", elements=[customer("ann")], dry_run=True)
    task.execute(Task().context)

    assert task.get_openlineage_facets_on_complete(None).outputs == []


@needs_openlineage
def test_a_task_without_a_connection_tells_what_it_would_have_read(
    warehouse: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = sync(moengage_conn_id="missing")
    with pytest.raises(Exception, match="missing"):
        task.execute(Task().context)

    told = task.get_openlineage_facets_on_complete(None)

    assert told is not None
    assert (list(told.job_facets), told.outputs) == (["sql"], [])


def test_without_openlineage_nothing_is_told(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ("openlineage", "airflow.providers.openlineage")
    for name in [
        name for name in sys.modules if name.startswith(("openlineage", "airflow.providers.openlineage"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(lineage, "find_spec", lambda name: None)
    task = BulkImportOperator(task_id="send", elements=[customer("ann")])
    task.execute(Task().context)

    assert task.get_openlineage_facets_on_complete(None) is None
    assert not [name for name in sys.modules if name.startswith(theirs)]


@pytest.mark.parametrize(
    ("sql", "parameters", "readable"),
    [
        ("a = %(b)s AND c LIKE '%%d'", {"b": 1}, "a = NULL AND c LIKE '%d'"),
        ("a = %s AND b = ?", [1], "a = NULL AND b = NULL"),
        ("a ? 'b' AND c LIKE '%s'", None, "a ? 'b' AND c LIKE '%s'"),
    ],
)
def test_placeholders_are_taken_out_for_the_parser(sql: str, parameters: Any, readable: str) -> None:
    assert lineage._without_placeholders(sql, parameters) == readable
