"""Lineage for OpenLineage, with its real provider; tests/airflow tests the events of a complete run."""

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

needs_openlineage = pytest.mark.skipif(
    not lineage.is_installed(), reason="the OpenLineage provider is not installed"
)
REPORT = DeliveryReport(accepted=6, customers=1, events=2, devices=3)


def outputs(facets: Any) -> dict[str, Any]:
    facets = {each.name: each.outputFacets.get("outputStatistics") for each in facets.outputs}
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
def test_each_mapping_has_an_output_dataset() -> None:
    mappings = [
        CustomerMapping(),
        EventMapping(action="Order", time="at"),
        DeviceMapping(),
    ]

    assert written(mappings) == {"customers": 1, "events/Order": 2, "devices": 3}
    assert written(mappings, None) == {"customers": None, "events/Order": None, "devices": None}


@needs_openlineage
def test_several_events_have_no_counts_and_an_action_from_a_column_has_no_name() -> None:
    two = [EventMapping(action="Order", time="at"), EventMapping(action="Visit", time="at")]

    assert written(two) == {"events/Order": None, "events/Visit": None}
    assert written([EventMapping(action=Column("name"), time="at")]) == {"events": 2}


@needs_openlineage
def test_without_mappings_the_outputs_are_the_kinds_that_were_written() -> None:
    assert written(None) == {"customers": 1, "events": 2, "devices": 3}
    assert written(None, DeliveryReport(accepted=1, events=1)) == {"events": 1}
    assert written(None, None) == {}


@needs_openlineage
def test_files_are_reported_without_connection_and_a_glob_as_its_folder() -> None:
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
def test_if_the_database_is_down_only_the_query_is_reported(warehouse: None) -> None:
    class Down:
        def get_openlineage_database_info(self, connection: object) -> None:
            raise ConnectionError("secret")

    facets = lineage.tables_of(Down(), "SELECT id FROM users", "warehouse")

    assert (facets.inputs, facets.job_facets["sql"].query) == ([], "SELECT id FROM users")


@needs_openlineage
def test_if_the_hook_names_no_tables_only_the_query_is_reported(connected: MoEngage, warehouse: None) -> None:
    task = sync()
    task.execute(Task().context)

    facets = task.get_openlineage_facets_on_complete(None)

    assert facets is not None
    assert facets.inputs == []
    assert outputs(facets) == {"customers": 2}
    assert [each.namespace for each in facets.outputs] == ["moengage://EMULATOR"]
    assert facets.job_facets["sql"].query == "SELECT id FROM users WHERE id <> ?"
    assert "hidden-value" not in repr(facets)


@needs_openlineage
def test_a_dry_run_has_no_outputs(connected: MoEngage) -> None:
    task = BulkImportOperator(task_id="send", elements=[customer("ann")], dry_run=True)
    task.execute(Task().context)

    facets = task.get_openlineage_facets_on_complete(None)

    assert facets is not None
    assert facets.outputs == []


@needs_openlineage
def test_a_task_without_a_connection_reports_its_query(warehouse: None, monkeypatch: pytest.MonkeyPatch) -> None:
    task = sync(moengage_conn_id="missing")
    with pytest.raises(Exception, match="missing"):
        task.execute(Task().context)

    facets = task.get_openlineage_facets_on_complete(None)

    assert facets is not None
    assert (list(facets.job_facets), facets.outputs) == (["sql"], [])


def test_without_openlineage_nothing_is_reported(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> None:
    prefixes = ("openlineage", "airflow.providers.openlineage")
    for name in [
        name for name in sys.modules if name.startswith(("openlineage", "airflow.providers.openlineage"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(lineage, "find_spec", lambda name: None)
    task = BulkImportOperator(task_id="send", elements=[customer("ann")])
    task.execute(Task().context)

    assert task.get_openlineage_facets_on_complete(None) is None
    assert not [name for name in sys.modules if name.startswith(prefixes)]


@pytest.mark.parametrize(
    ("sql", "parameters", "readable"),
    [
        ("a = %(b)s AND c LIKE '%%d'", {"b": 1}, "a = NULL AND c LIKE '%d'"),
        ("a = %s AND b = ?", [1], "a = NULL AND b = NULL"),
        ("a ? 'b' AND c LIKE '%s'", None, "a ? 'b' AND c LIKE '%s'"),
    ],
)
def test_placeholders_are_replaced_for_the_parser(sql: str, parameters: Any, readable: str) -> None:
    assert lineage._without_placeholders(sql, parameters) == readable
