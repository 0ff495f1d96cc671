"""Databricks: what the connector's own conversion makes of Arrow tables, read by the connector's description."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage.bulk.elements.encoding import to_plain
from airflow_provider_moengage.sources.database import SourceColumn
from airflow_provider_moengage.sources.databases import databricks as databricks_database

result_set = pytest.importorskip("databricks.sql.result_set", reason="make cloud-databases installs it")
pa = pytest.importorskip("pyarrow")


def column_of(type_name: str) -> SourceColumn:
    class Cursor:
        description = (("c", type_name, None, None, None, None, None),)

    [column] = databricks_database.database_of(None).columns(Cursor(), None)
    return column


def read(type_name: str, array: Any, *, disable_pandas: bool = False) -> Any:
    """Return what is sent of the first value of an Arrow array."""
    described = SimpleNamespace(
        description=[("c", type_name)], connection=SimpleNamespace(disable_pandas=disable_pandas)
    )
    [row] = result_set.ResultSet._convert_arrow_table(described, pa.table({"c": array}))
    column = column_of(type_name)
    return to_plain(column.read(row[0]) if column.read and row[0] is not None else row[0])


PAIRS = pa.map_(pa.string(), pa.int32())


@pytest.mark.parametrize("disable_pandas", [False, True])
@pytest.mark.parametrize(
    ("type_name", "array", "right"),
    [
        ("string", pa.array(["u-1"]), "u-1"),
        ("bigint", pa.array([1234567890123456789]), 1234567890123456789),
        ("decimal", pa.array([Decimal("1.50")]), Decimal("1.50")),
        ("boolean", pa.array([True]), True),
        ("date", pa.array([dt.date(2026, 1, 2)]), dt.date(2026, 1, 2)),
        (
            "timestamp",
            pa.array([dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)], pa.timestamp("us", "Etc/UTC")),
            dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        ),
        ("array", pa.array([["a", "b"]]), ["a", "b"]),
        ("struct", pa.array([{"a": 1, "b": ["x"]}]), {"a": 1, "b": ["x"]}),
        ("map", pa.array([[("a", 1), ("b", 2)]], PAIRS), {"a": 1, "b": 2}),
        ("map", pa.array([[]], PAIRS), {}),
        ("array", pa.array([[[("a", 1)]]], pa.list_(PAIRS)), [{"a": 1}]),
        ("struct", pa.array([{"m": [("a", 1)]}], pa.struct([("m", PAIRS)])), {"m": {"a": 1}}),
        ("array", pa.array(['["a", 1]']), ["a", 1]),
        ("variant", pa.array(['"u-77"']), "u-77"),
        ("variant", pa.array(['{"a": [1]}']), {"a": [1]}),
        ("interval_day_time", pa.array(["1 02:03:04.000000000"]), "1 02:03:04.000000000"),
        ("string", pa.array([None], pa.string()), None),
    ],
)
def test_a_value_arrives_by_its_type(type_name: str, array: Any, right: Any, disable_pandas: bool) -> None:
    assert read(type_name, array, disable_pandas=disable_pandas) == right


@pytest.mark.parametrize("type_name", ["float", "double", "array", "map", "struct", "variant", "geometry"])
def test_a_column_that_cannot_be_a_key_is_refused(type_name: str) -> None:
    assert column_of(type_name).key_problem


@pytest.mark.parametrize("type_name", ["string", "bigint", "decimal", "date", "timestamp"])
def test_other_columns_can_be_keys(type_name: str) -> None:
    assert column_of(type_name).key_problem is None


def test_the_connection_stays_open_because_the_hook_returns_it_again() -> None:
    class Connection:
        def close(self) -> None:
            raise AssertionError

    databricks_database.database_of(None).close(Connection())
