"""Arguments of the bulk operators: wrong ones are named when the Dag is parsed."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

GOOD: dict[Any, dict[str, Any]] = {
    BulkImportOperator: {"task_id": "t", "elements": []},
    SqlToMoEngageOperator: {"task_id": "t", "sql": "SELECT 1", "conn_id": "db", "mapping": CustomerMapping()},
}

WRONG_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"concurrency": 0}, "concurrency 0"),
    ({"concurrency": 65}, "concurrency 65"),
    ({"concurrency": 2.5}, "concurrency 2.5"),
    ({"concurrency": True}, "concurrency True"),
    ({"delivery": "exactly_once"}, "delivery 'exactly_once': expected 'at_least_once' or 'at_most_once'"),
    ({"validation": "loud"}, "validation 'loud': expected 'strict' or 'warn' or 'off'"),
    ({"max_rejects": -1}, "max_rejects -1"),
    ({"max_rejects": 1.5}, "max_rejects 1.5"),
    ({"max_rejects": float("nan")}, "max_rejects nan"),
    ({"max_rejects": None}, "max_rejects None"),
    ({"dry_run": "perhaps"}, "dry_run 'perhaps'"),
    ({"rejects_path": ""}, "rejects_path ''"),
    ({"rejects_path": 7}, "rejects_path 7"),
    ({"checkpoint_path": " "}, "checkpoint_path ' ': expected a folder"),
    ({"checkpoint_path": 7}, "checkpoint_path 7: expected a folder"),
    ({"checkpoint_path": "state.json"}, "checkpoint_path 'state.json': expected a folder, not a file"),
]


@pytest.mark.parametrize("operator", GOOD)
@pytest.mark.parametrize(("wrong", "message"), WRONG_OPTIONS, ids=[message for _, message in WRONG_OPTIONS])
def test_a_wrong_option_is_named(operator: Any, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        operator(**GOOD[operator], **wrong)


@pytest.mark.parametrize("operator", GOOD)
@pytest.mark.parametrize(
    "name", ["concurrency", "delivery", "validation", "max_rejects", "dry_run", "rejects_path", "checkpoint_path"]
)
def test_a_template_is_not_checked_when_the_dag_is_parsed(operator: Any, name: str) -> None:
    operator(**GOOD[operator], **{name: "{{ params.value }}"})


WRONG_BULK: list[tuple[dict[str, Any], str]] = [
    ({}, "elements, path: expected exactly one"),
    ({"elements": [], "path": "a.ndjson"}, "elements, path: expected exactly one"),
    ({"elements": {"type": "customer"}}, "elements: expected a list of elements, not dict"),
    ({"elements": 7}, "elements: expected a list of elements, not int"),
    ({"elements": iter([])}, "elements: a generator can be read only once"),
    ({"path": ""}, "path: expected a path"),
    ({"path": []}, "path: expected a path"),
    ({"path": [1]}, "path: expected a path"),
    ({"path": 7}, "path: expected a path"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_BULK)
def test_elements_and_path_are_checked(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BulkImportOperator(task_id="t", **wrong)


WRONG_SQL: list[tuple[dict[str, Any], str]] = [
    ({"sql": " "}, "^sql .*: expected a non-empty string"),
    ({"sql": ["SELECT 1"]}, "^sql .*: expected a non-empty string"),
    ({"conn_id": ""}, "^conn_id '': expected a non-empty string"),
    ({"mapping": None}, "mapping: expected one or a list of CustomerMapping, EventMapping, DeviceMapping"),
    ({"mapping": []}, "mapping: expected one or a list"),
    ({"mapping": [CustomerMapping(), "customers"]}, "mapping: expected one or a list"),
    ({"mapping": {"customer_id": "id"}}, "mapping: expected one or a list"),
    ({"fetch_size": 0}, "fetch_size 0: expected a whole number from 1 to 100000"),
    ({"fetch_size": "many"}, "fetch_size 'many': expected a whole number from 1 to 100000"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_SQL)
def test_the_source_is_checked(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SqlToMoEngageOperator(**{**GOOD[SqlToMoEngageOperator], **wrong})
