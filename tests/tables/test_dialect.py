"""The types and names of databases, also of those that do not run here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage.sources.database import Database
from airflow_provider_moengage.tables.dialect import Kind, TableDialect


def dialect(name: str, *, database: str = "") -> TableDialect:
    given = Database()
    given.name = database
    hook: Any = SimpleNamespace(dialect_name=name) if name else SimpleNamespace()
    return TableDialect(hook, given)


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("postgresql", ["VARCHAR(250)", "TEXT", "BIGINT", "TIMESTAMP WITHOUT TIME ZONE"]),
        ("mysql", ["VARCHAR(250) COLLATE utf8mb4_bin", "LONGTEXT COLLATE utf8mb4_bin", "BIGINT", "DATETIME(6)"]),
        ("mariadb", ["VARCHAR(250) COLLATE utf8mb4_bin", "LONGTEXT COLLATE utf8mb4_bin", "BIGINT", "DATETIME(6)"]),
        ("sqlite", ["VARCHAR(250)", "TEXT", "BIGINT", "DATETIME"]),
        ("mssql", ["NVARCHAR(250) COLLATE Latin1_General_100_BIN2", "NTEXT", "BIGINT", "DATETIME2"]),
        ("duckdb", ["VARCHAR(250)", "TEXT", "BIGINT", "DATETIME"]),
        ("not a dialect", ["VARCHAR(250)", "TEXT", "BIGINT", "DATETIME"]),
    ],
)
def test_types_are_those_of_the_database(name: str, types: list[str]) -> None:
    written = dialect(name)

    assert [written.type_of(kind) for kind in (Kind.NAME, Kind.TEXT, Kind.COUNT, Kind.TIME)] == types


@pytest.mark.parametrize(
    ("name", "database", "quoted"),
    [
        ("postgresql", "", 'analytics."Sync-Runs"."select"'),
        ("mysql", "", "analytics.`Sync-Runs`.`select`"),
        ("", "MySQL or MariaDB", "analytics.`Sync-Runs`.`select`"),
        ("", "Snowflake", 'analytics."Sync-Runs"."select"'),
        ("", "BigQuery", "analytics.`Sync-Runs`.`select`"),
    ],
)
def test_names_are_quoted_where_the_database_needs_it(name: str, database: str, quoted: str) -> None:
    assert dialect(name, database=database).quoted("analytics.Sync-Runs.select") == quoted
