"""Oracle Database: the driver's own types, and what its values become."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.database import SourceColumn
from airflow_provider_moengage.sources.databases import oracle as oracle_database
from airflow_provider_moengage.sources.statement import one_statement

oracledb = pytest.importorskip("oracledb", reason="make cloud-databases installs it")


class Described(tuple[Any, ...]):
    is_json = False


def described(name: str, type_name: str, scale: int | None = None, *, is_json: bool = False) -> Any:
    column = Described((name, getattr(oracledb, f"DB_TYPE_{type_name}"), None, None, None, scale, True))
    column.is_json = is_json
    return column


def column_of(type_name: str, *, is_json: bool = False) -> SourceColumn:
    class Cursor:
        description = (described("C", type_name, is_json=is_json),)

    [column] = oracle_database.database_of(None).columns(Cursor(), None)
    return column


def test_names_that_oracle_makes_upper_case_arrive_as_people_write_them() -> None:
    class Cursor:
        description = (described("USER_ID", "VARCHAR"), described("Loyal Since", "DATE"))

    names = [column.name for column in oracle_database.database_of(None).columns(Cursor(), None)]

    assert names == ["user_id", "Loyal Since"]


@pytest.mark.parametrize(
    ("type_name", "value", "right"),
    [
        ("VARCHAR", "u-1", "u-1"),
        ("NUMBER", Decimal("1234567890123456789"), 1234567890123456789),
        ("NUMBER", Decimal("1.50"), Decimal("1.50")),
        ("NUMBER", 7, 7),
        ("DATE", dt.datetime(2026, 1, 2, 3, 4, 5), dt.datetime(2026, 1, 2, 3, 4, 5)),
        ("TIMESTAMP_LTZ", dt.datetime(2026, 1, 2, 3, 4, 5), dt.datetime(2026, 1, 2, 3, 4, 5)),
        ("INTERVAL_DS", dt.timedelta(days=1, seconds=7384), "1 02:03:04"),
        ("INTERVAL_YM", oracledb.IntervalYM(1, 2), "1-2"),
        ("JSON", {"a": [1]}, {"a": [1]}),
    ],
)
def test_a_value_arrives_by_its_type(type_name: str, value: Any, right: Any) -> None:
    column = column_of(type_name)

    assert (column.read(value) if column.read else value) == right


def test_json_in_a_clob_is_an_object() -> None:
    column = column_of("CLOB", is_json=True)

    assert column.read is not None
    assert column.read('{"a": [1]}') == {"a": [1]}


def test_a_moment_whose_zone_the_driver_drops_is_rejected_with_what_helps() -> None:
    column = column_of("TIMESTAMP_TZ")

    assert column.read is not None
    rejected = column.read(dt.datetime(2026, 1, 2, 3, 4, 5))
    assert isinstance(rejected, Unreadable)
    assert "SYS_EXTRACT_UTC(c)" in rejected.what


@pytest.mark.parametrize(
    "type_name", ["BINARY_DOUBLE", "TIMESTAMP", "TIMESTAMP_TZ", "CLOB", "JSON", "INTERVAL_DS"]
)
def test_a_column_that_cannot_be_a_key_is_refused(type_name: str) -> None:
    assert column_of(type_name).key_problem


@pytest.mark.parametrize("type_name", ["VARCHAR", "NUMBER", "DATE", "RAW"])
def test_other_columns_can_be_keys(type_name: str) -> None:
    assert column_of(type_name).key_problem is None


@pytest.mark.parametrize(
    ("type_name", "scale", "asked"),
    [
        ("NUMBER", -127, Decimal),
        ("NUMBER", 2, Decimal),
        ("NUMBER", 0, None),
        ("CLOB", None, oracledb.DB_TYPE_LONG),
        ("BLOB", None, oracledb.DB_TYPE_LONG_RAW),
        ("VARCHAR", None, None),
    ],
)
def test_numbers_are_fetched_exactly_and_text_without_locators(
    type_name: str, scale: int | None, asked: Any
) -> None:
    cursor = SimpleNamespace(arraysize=500, var=lambda kind, arraysize: (kind, arraysize))

    variable = oracle_database.variable_of(cursor, described("C", type_name, scale))

    assert variable == (None if asked is None else (asked, 500))


def test_a_semicolon_in_a_q_string_ends_no_statement() -> None:
    sql = "SELECT q'[it's; so]' AS x FROM dual"

    assert one_statement(sql + ";", oracle_database.database_of(None).quoting) == sql
