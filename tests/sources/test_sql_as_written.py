"""SQL as people write it, on every database: the same with keys as without, or an error that says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.sources.sql_key import KeyColumns, KeyRange
from airflow_provider_moengage.sources.sql_keyset import check_order, stream_range
from airflow_provider_moengage.sources.sql_stream import database_hook, stream_query
from airflow_provider_moengage.transfers.shards import plan_shards
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
    columns = ", ".join(f"{n} AS c{n}" for n in range(250))
    for key_columns in (None, ["c0"]):
        sync(f"SELECT 'u-1' AS user_id, {columns}", key_columns)

    assert [element["attributes"] for element in connected.arrived] == [{f"c{n}": n for n in range(250)}] * 2


PEOPLE = "CREATE TABLE people (u VARCHAR(20), k INTEGER)"
FIVE = "INSERT INTO people VALUES ('u1', 1), ('u2', 2), ('u3', 3), ('u4', 4), ('u5', 5)"

SAME = {
    "upper-case names": "SELECT U, K FROM people",
    "parentheses": "(SELECT u, k FROM people)",
    "parentheses and comments": "/* ( */ ((SELECT u, k FROM people -- )\n)) ;",
    "with recursive": "WITH RECURSIVE c(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM c WHERE k < 5)"
    " SELECT 'u' AS u, k FROM c",
    "semicolons, comments and quotes in strings": "SELECT 'a;b''c -- /*' AS u, k FROM people -- it's; \"",
    "a comment with a quote": "SELECT u, k /* it's */ FROM people",
    "a hint": "SELECT /*+ x */ u, k FROM people",
    "limit without order": "SELECT u, k FROM people LIMIT 2 OFFSET 1",
    "a window function": "SELECT u, k, row_number() OVER (ORDER BY k DESC) AS n FROM people",
    "like": "SELECT u, k FROM people WHERE u LIKE '%1'",
    "colons in strings": "SELECT u, k, '10:30 :name' AS x FROM people",
    "braces in strings": "SELECT u, k, '{name} {table} {number}' AS x FROM people",
    "a question mark in a string": "SELECT u, k, '?' AS x FROM people",
    "the provider's own names": "SELECT u, k FROM (SELECT u, k FROM people) moengage_rows",
    "a column without a name": "SELECT u, k, 1 + 1 FROM people",
    "whitespace": "select\tu,k\nfrom people\n",
    "a function named as a statement": "SELECT u, k, (REPLACE(u, 'u', 'v')) AS x FROM people",
}
SAME_IN = {
    "PostgreSQL": {
        "table": "TABLE people",
        "for update": "SELECT u, k FROM people FOR UPDATE",
        "dollar strings": "SELECT $x$a;$$b'$x$ AS u, k FROM people",
        "nested comments": "SELECT u, k /* a /* b; */ c */ FROM people",
        "casts": "SELECT u, k::int AS k FROM people",
        "distinct on": "SELECT DISTINCT ON (u) u, k FROM people",
    },
    "MariaDB": {
        "for update": "SELECT u, k FROM people FOR UPDATE",
        "backslashes": r"SELECT 'a\';b' AS u, k FROM people",
        "hash comments": "SELECT u, k FROM people # it's;\n",
        "dashes without a space": "SELECT 5--1 AS six, u, k FROM people",
        "odd names": "SELECT u, k, 1 AS `a.b%c:d é` FROM people",
    },
    "DuckDB": {
        "table": "TABLE people",
        "from": "FROM people",
        "from and select": "FROM people SELECT u, k",
        "dollar strings": "SELECT $$a;b'$$ AS u, k FROM people",
        "casts": "SELECT u, k::int AS k FROM people",
        "odd names": 'SELECT u, k, 1 AS "a.b%c:d é🦊" FROM people',
    },
    "SQLite": {"odd names": 'SELECT u, k, 1 AS "a.b%c:d é🦊" FROM people'},
}


def rows_of(columns: tuple[str, ...], rows: Any) -> tuple[tuple[str, ...], list[Any]]:
    return columns, sorted(map(tuple, rows))


def test_rows_and_names_are_the_same_with_keys_as_without(warehouse: Warehouse) -> None:
    warehouse.run("DROP TABLE IF EXISTS people", PEOPLE, FIVE)
    hook, key = database_hook("warehouse"), KeyColumns(["k"])
    for form, sql in {**SAME, **SAME_IN[warehouse.database]}.items():
        with stream_query(hook, sql, fetch_size=10) as result:
            expected = rows_of(result.columns, result.rows)
        for key_range in (KeyRange(), KeyRange(after=(0,), up_to=(99,))):
            with stream_range(hook, sql, None, key, key_range, fetch_size=10) as result:
                assert rows_of(result.columns, result.rows) == expected, form
        shards = plan_shards(conn_id="warehouse", sql=sql, key_columns=["k"], shards=2)
        assert len(shards) == min(2, len(expected[1])), form


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT u FROM people", "key_columns: the query has no column 'k'; it has u"),
        ("SELECT u, k, 1 AS a, 2 AS a FROM people", "sql: the query has several columns named a; rename them"),
        ("SELECT 1; SELECT 2", "sql: expected one statement"),
        ("-- nothing", "sql: expected a SELECT, found only whitespace and comments"),
    ],
)
def test_an_error_is_the_same_with_keys_ranges_and_shards(
    connected: MoEngage, warehouse: Warehouse, sql: str, problem: str
) -> None:
    warehouse.run("DROP TABLE IF EXISTS people", PEOPLE, FIVE)
    for key_range in (None, {"after": [0], "up_to": [99]}):
        with pytest.raises(ValueError, match=f"^{problem}"):
            sync(sql, ["k"], key_range=key_range)
    with pytest.raises(ValueError, match=f"^{problem}"):
        plan_shards(conn_id="warehouse", sql=sql, key_columns=["k"], shards=2)

    assert not connected.arrived


WRITES = (
    "DELETE FROM people",
    "DELETE FROM people RETURNING u, k",
    "INSERT INTO people VALUES ('z', 99) RETURNING u, k",
    "/* SELECT */ UPDATE people SET k = k + 1 RETURNING u, k",
    "WITH x AS (SELECT 1) DELETE FROM people",
    "WITH x AS (SELECT 1) UPDATE people SET k = 0 RETURNING u, k",
    "WITH x AS (INSERT INTO people VALUES ('y', 98) RETURNING u, k) SELECT * FROM x",
    "WITH x AS ( /* */ DELETE FROM people RETURNING u, k) SELECT * FROM x",
    "REPLACE INTO people VALUES ('q', 97)",
    "SELECT u, k INTO copied FROM people",
    "SELECT u, k FROM people INTO OUTFILE 'copied'",
    "TRUNCATE TABLE people",
    "DROP TABLE people",
    "ALTER TABLE people ADD COLUMN n INTEGER",
    "CREATE TABLE copied AS SELECT 1 AS k",
    "COPY people TO 'copied'",
    "CALL p()",
    "EXPLAIN SELECT u, k FROM people",
    "SHOW TABLES",
    "PRAGMA table_info(people)",
    "BEGIN",
)


def test_any_other_statement_is_refused_and_not_run(connected: MoEngage, warehouse: Warehouse) -> None:
    warehouse.run("DROP TABLE IF EXISTS people", PEOPLE, FIVE)
    for sql in WRITES:
        for key_columns in (None, ["k"]):
            with pytest.raises(ValueError, match=r"^sql: expected one SELECT, found"):
                sync(sql, key_columns)
        with pytest.raises(ValueError, match=r"^sql: expected one SELECT, found"):
            plan_shards(conn_id="warehouse", sql=sql, key_columns=["k"], shards=2)

    assert not connected.arrived
    with stream_query(database_hook("warehouse"), "SELECT u, k FROM people", fetch_size=10) as result:
        assert sorted(map(tuple, result.rows)) == [(f"u{n}", n) for n in range(1, 6)]


@pytest.mark.parametrize("word", ["SQL_NO_CACHE", "SQL_CALC_FOUND_ROWS", "HIGH_PRIORITY"])
def test_words_that_mariadb_does_not_accept_in_subqueries_are_named(warehouse: Warehouse, word: str) -> None:
    if warehouse.database != "MariaDB":
        pytest.skip("words of MySQL")
    warehouse.run("DROP TABLE IF EXISTS people", PEOPLE, FIVE)

    with pytest.raises(ValueError, match=f"^sql: {word} is not possible with key_columns; remove it"):
        plan_shards(conn_id="warehouse", sql=f"SELECT {word} u, k FROM people", key_columns=["k"], shards=2)


def test_numbered_parameters_of_duckdb_are_possible_with_keys(connected: MoEngage, warehouse: Warehouse) -> None:
    if warehouse.database != "DuckDB":
        pytest.skip("placeholders of DuckDB")
    warehouse.run("DROP TABLE IF EXISTS people", PEOPLE, FIVE)
    sql = "SELECT u AS user_id, k FROM people WHERE k > $1 AND k < $2 AND k > $1"

    for key_range in (None, {"after": [0], "up_to": [99]}):
        assert sync(sql, ["k"], parameters=[1, 5], key_range=key_range)["accepted"] == 3
    assert len(plan_shards(conn_id="warehouse", sql=sql, key_columns=["k"], shards=2, parameters=[1, 5])) == 2


def test_a_pivot_of_duckdb_has_to_list_its_values_with_keys(connected: MoEngage, warehouse: Warehouse) -> None:
    """Otherwise it accepts no parameters, so a retry could not resume."""
    if warehouse.database != "DuckDB":
        pytest.skip("a statement of DuckDB")
    warehouse.run("DROP TABLE IF EXISTS people", PEOPLE, FIVE)
    pivot = "PIVOT (SELECT u AS user_id, u, k FROM people) ON u {} USING sum(k) GROUP BY user_id"

    assert sync(pivot.format(""))["accepted"] == 5
    for listed in (pivot.format(""), f"SELECT * FROM ({pivot.format('')})"):
        with pytest.raises(ValueError, match=r"^sql: with key_columns a PIVOT has to list its values"):
            sync(listed, ["user_id"])
        with pytest.raises(ValueError, match=r"^sql: with key_columns a PIVOT has to list its values"):
            plan_shards(conn_id="warehouse", sql=listed, key_columns=["user_id"], shards=2)
    assert sync(pivot.format("IN ('u1', 'u2')"), ["user_id"], key_range={"after": ["u1"]})["accepted"] == 4


def test_a_syntax_error_is_the_databases_own(connected: MoEngage, warehouse: Warehouse) -> None:
    for sql in ("SELECT u FROM people WHERE", "SELECT u FROM no_such_table"):
        with pytest.raises(Exception, match=r"(?i)syntax|incomplete|no_such_table"):
            sync(sql)
