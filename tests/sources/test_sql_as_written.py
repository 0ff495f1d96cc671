"""SQL as people write it, on every database: the same with keys as without, or an error that says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.sources.sql_key import KeyColumns, KeyRange
from airflow_provider_moengage.sources.sql_keyset import check_order, stream_range
from airflow_provider_moengage.sources.sql_stream import database_hook
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage
from tests.sources.warehouses import Warehouse
from tests.task import Task


def sync(sql: str, key_columns: list[str] | None = None, **options: Any) -> dict[str, Any]:
    operator = SqlToMoEngageOperator(
        task_id="sync", conn_id="warehouse", sql=sql, mapping=CustomerMapping(), key_columns=key_columns, **options
    )
    return operator.execute(Task().context)


def quoted(warehouse: Warehouse, name: str) -> str:
    return f"`{name}`" if warehouse.database == "MariaDB" else f'"{name}"'


@pytest.mark.parametrize("key_columns", [None, ["k"], ["a"]], ids=["no keys", "another key", "the key"])
def test_columns_of_one_name_are_the_same_error_with_keys_as_without(
    connected: MoEngage, warehouse: Warehouse, key_columns: list[str] | None
) -> None:
    with pytest.raises(ValueError, match=r"^sql: the query has several columns named a; rename them"):
        sync("SELECT 'u' AS user_id, 1 AS k, 1 AS a, 2 AS a", key_columns)

    assert not connected.arrived


def test_a_column_that_looks_renamed_is_none(connected: MoEngage, warehouse: Warehouse) -> None:
    names = [quoted(warehouse, name) for name in ("a", "a_1", "a:1")]
    sync(f"SELECT 'u-1' AS user_id, 1 AS k, 2 AS {names[0]}, 3 AS {names[1]}, 4 AS {names[2]}", ["k"])

    [element] = connected.arrived
    assert element["attributes"] == {"k": 1, "a": 2, "a_1": 3, "a:1": 4}


@pytest.mark.parametrize("name", ["select", "Order Id", "user's", "ключ", "a.b"])
def test_reserved_and_odd_names_are_keys_in_the_databases_quotes(
    connected: MoEngage, warehouse: Warehouse, name: str
) -> None:
    key = quoted(warehouse, name)
    warehouse.run("DROP TABLE IF EXISTS odd", f"CREATE TABLE odd (user_id VARCHAR(20), {key} INTEGER)")
    warehouse.run(*(f"INSERT INTO odd VALUES ('u-{n}', {n})" for n in range(5)))
    hook, columns = database_hook("warehouse"), KeyColumns([key])

    sync("SELECT * FROM odd", [key])
    check_order(hook, "SELECT * FROM odd", None, columns, [(2,), (3,)])
    with stream_range(hook, "SELECT * FROM odd", None, columns, KeyRange(after=(2,)), fetch_size=10) as result:
        assert [row[1] for row in result.rows] == [3, 4]

    assert len(connected.arrived) == 5


def test_percent_signs_stay_with_and_without_keys_and_ranges(connected: MoEngage, warehouse: Warehouse) -> None:
    sql = "SELECT 'u-1' AS user_id, 1 AS k, 5 % 3 AS rest, '100%s' AS text WHERE 'abc' LIKE '%b%'"
    if warehouse.database == "MariaDB":
        sql = sql.replace(" WHERE", " FROM DUAL WHERE")
    sync(sql)
    sync(sql, ["k"])
    sync(sql, ["k"], key_range={"after": [0], "up_to": [1]})

    assert [element["attributes"] for element in connected.arrived] == [{"k": 1, "rest": 2, "text": "100%s"}] * 3


def test_percent_signs_next_to_parameters_follow_the_driver(connected: MoEngage, warehouse: Warehouse) -> None:
    percent = "%%" if warehouse.placeholder == "%s" else "%"
    sql = f"SELECT 'u-1' AS user_id, 1 AS k, '{percent}' AS text, {warehouse.placeholder} AS given"
    if warehouse.driver == "mysql.connector":
        sql = sql.replace("%%", "%")  # it replaces %s and nothing else
    if warehouse.driver == "psycopg":
        sql = sql.replace("%s AS", "%s::text AS")
    for options in ({}, {"key_columns": ["k"]}, {"key_columns": ["k"], "key_range": {"after": [0], "up_to": [1]}}):
        sync(sql, parameters=["x"], **options)

    expected = {"k": 1, "text": "%", "given": "x"}
    assert [element["attributes"] for element in connected.arrived] == [expected] * 3


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'u-1' AS user_id, 1 AS k -- the end; really",
        "/* ; */ SELECT 'u-1' AS user_id, 1 AS k;;",
        "WITH w AS (SELECT 'u-1' AS user_id, 1 AS k) SELECT * FROM w",
        "SELECT 'u-1' AS user_id, 1 AS k UNION SELECT 'u-1', 1",
        "SELECT 'u-1' AS user_id, 1 AS k ORDER BY 1 LIMIT 1",
    ],
)
def test_a_query_is_the_same_with_keys_as_without(connected: MoEngage, warehouse: Warehouse, sql: str) -> None:
    sync(sql)
    sync(sql, ["k"])
    sync(sql, ["k"], key_range={"after": [0], "up_to": [1]})

    assert [element["attributes"] for element in connected.arrived] == [{"k": 1}] * 3


def test_a_second_statement_is_an_error(connected: MoEngage, warehouse: Warehouse) -> None:
    for key_columns in (None, ["k"]):
        with pytest.raises(ValueError, match=r"^sql: expected one statement"):
            sync("SELECT 'u-1' AS user_id, 1 AS k; SELECT 'u-2', 2", key_columns)


def test_a_query_without_rows_sends_nothing(connected: MoEngage, warehouse: Warehouse) -> None:
    warehouse.run("DROP TABLE IF EXISTS none", "CREATE TABLE none (user_id VARCHAR(20), k INTEGER)")
    for key_columns in (None, ["k"]):
        assert sync("SELECT * FROM none", key_columns)["accepted"] == 0


def test_many_columns_arrive(connected: MoEngage, warehouse: Warehouse) -> None:
    columns = ", ".join(f"{n} AS c{n}" for n in range(300))
    for key_columns in (None, ["c0"]):
        sync(f"SELECT 'u-1' AS user_id, {columns}", key_columns)

    assert [element["attributes"] for element in connected.arrived] == [{f"c{n}": n for n in range(300)}] * 2


def test_a_statement_that_is_no_query_changes_nothing(connected: MoEngage, warehouse: Warehouse) -> None:
    warehouse.run(
        "DROP TABLE IF EXISTS kept",
        "CREATE TABLE kept (user_id VARCHAR(20), k INTEGER)",
        "INSERT INTO kept VALUES ('u-1', 1)",
    )
    with pytest.raises(Exception, match=r"(?i)expected one SELECT|syntax error"):
        sync("DELETE FROM kept")

    assert sync("SELECT * FROM kept")["accepted"] == 1
