"""``@task.moengage_bulk_import``: a function whose elements are sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_moengage.decorators.bulk_import import moengage_bulk_import_task
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.tasks.elements_argument import ElementsArgument
from tests.delivering import MoEngage, customer
from tests.operators.test_bulk_import import context, ran, users


def operator_of(make: Any) -> BulkImportOperator:
    """Return the only operator of a Dag."""
    with DAG("dag", schedule=None, start_date=dt.datetime(2026, 1, 1)):
        operator = make().operator
    assert isinstance(operator, BulkImportOperator)
    return operator


def test_the_elements_that_a_function_yields_are_sent(connected: MoEngage) -> None:
    @moengage_bulk_import_task(max_rejects=0)
    def send(names: list[str], *, ds: Any = None) -> Iterator[dict[str, Any]]:
        for name in names:
            yield customer(f"{name} on {ds}")

    report = ran(operator_of(lambda: send(["ann", "{{ params.second }}"])), params={"second": "bob"})

    assert users(connected) == ["ann on 2026-01-01", "bob on 2026-01-01"]
    assert report["accepted"] == 2


def test_airflow_has_it_as_a_task_decorator(connected: MoEngage) -> None:
    @task.moengage_bulk_import
    def send() -> list[dict[str, Any]]:
        return [customer("ann")]

    ran(operator_of(send))

    assert users(connected) == ["ann"]


def test_named_arguments_and_the_whole_context_reach_the_function(connected: MoEngage) -> None:
    @moengage_bulk_import_task
    def send(first: str, second: str = "none", **kwargs: Any) -> list[dict[str, Any]]:
        return [customer(f"{first} {second} {kwargs['ds']}")]

    ran(operator_of(lambda: send("a", second="b")))

    assert users(connected) == ["a b 2026-01-01"]


def test_airflow_stores_neither_arguments_nor_elements(connected: MoEngage) -> None:
    @moengage_bulk_import_task
    def send(given: list[str], note: str) -> list[dict[str, Any]]:
        return [customer(name) for name in given]

    operator = operator_of(lambda: send(["hidden-ann"], note="hidden-{{ ds }}"))
    operator.render_template_fields(context())

    assert "hidden" not in str([getattr(operator, name) for name in operator.template_fields])
    assert isinstance(operator.elements, ElementsArgument)
    assert (
        operator.elements.serialize()
        == "elements of test_airflow_stores_neither_arguments_nor_elements.<locals>.send()"
    )


def test_a_task_whose_output_is_an_argument_is_upstream() -> None:
    with DAG("dag", schedule=None, start_date=dt.datetime(2026, 1, 1)):

        @task
        def extract() -> list[str]:
            return ["ann"]

        @task
        def count() -> int:
            return 1

        @task.moengage_bulk_import
        def send(given: Any, options: dict[str, Any]) -> list[dict[str, Any]]:
            return [customer(name) for name in given][: options["count"]]

        sent: Any = send(extract(), options={"count": count()})

    assert sent.operator.upstream_task_ids == {"extract", "count"}


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("wrong", [None, "ann", 1, {"type": "customer"}])
def test_a_function_that_returns_no_elements_is_an_error(wrong: Any) -> None:
    @moengage_bulk_import_task
    def send() -> Any:
        return wrong

    with pytest.raises(ValueError, match="elements: expected a list or a stream of elements"):
        ran(operator_of(send))


def test_wrong_arguments_are_errors_when_the_dag_is_parsed() -> None:
    @moengage_bulk_import_task(concurrency=99)
    def send() -> list[dict[str, Any]]:
        return []

    @moengage_bulk_import_task(path="/data/*.ndjson")
    def send_files() -> list[dict[str, Any]]:
        return []

    with pytest.raises(ValueError, match="concurrency 99"):
        operator_of(send)
    with pytest.raises(ValueError, match="elements, path: expected exactly one of them"):
        operator_of(send_files)
