"""The queries that are made of a user's, parsed in the dialect of each database."""

from __future__ import annotations

import pytest

from airflow_provider_moengage.sources.sql_key import KeyColumns, KeyRange
from airflow_provider_moengage.sources.sql_keyset import (
    comparing_query,
    counting_query,
    no_keys_query,
    null_keys_query,
    numbered_keys_query,
    ranged_query,
)

sqlglot = pytest.importorskip("sqlglot", reason="make cloud-databases installs it")

DIALECTS = {
    "bigquery": ("pyformat", "`Order Id`"),
    "clickhouse": ("pyformat", "`Order Id`"),
    "databricks": ("named", "`Order Id`"),
    "duckdb": ("qmark", '"Order Id"'),
    "mysql": ("format", "`Order Id`"),
    "oracle": ("named", '"Order Id"'),
    "postgres": ("pyformat", '"Order Id"'),
    "redshift": ("format", '"Order Id"'),
    "snowflake": ("pyformat", '"Order Id"'),
    "sqlite": ("qmark", '"Order Id"'),
    "trino": ("qmark", '"Order Id"'),
    "tsql": ("pyformat", "[Order Id]"),
}
COLUMNS = ("user_id", "n")


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def parsed(sql: str, dialect: str) -> None:
    """Parse one statement, with literals for the places of values that sqlglot does not know."""
    for place in ("%s", "?"):
        sql = sql.replace(place, "7")
    sql = sqlglot_places(sql)
    [statement] = sqlglot.parse(sql, read=dialect)
    assert isinstance(statement, sqlglot.exp.Query)


def sqlglot_places(sql: str) -> str:
    import re

    return re.sub(r"%\(\w+\)s|(?<!:):\w+", "7", sql)


def test_every_made_query_is_one_query_of_the_dialect(dialect: str) -> None:
    paramstyle, quoted = DIALECTS[dialect]
    columns = KeyColumns([*COLUMNS, quoted])
    user = f"SELECT user_id, n, {quoted} FROM shop.users u WHERE n > 3 -- the users"
    key, later = ("u-1", 7, 1), ("u-9", 9, 2)
    ranges = (KeyRange(), KeyRange(after=key), KeyRange(starting_at=key, up_to=later), KeyRange(up_to=later))

    for key_range in ranges:
        parsed(ranged_query(user, columns, key_range, None, paramstyle)[0], dialect)
    parsed(comparing_query(user, columns, [key, later], None, paramstyle)[0], dialect)
    parsed(numbered_keys_query(user, columns, [1, 20]), dialect)
    for made in (counting_query, null_keys_query, no_keys_query):
        parsed(made(user, columns), dialect)
