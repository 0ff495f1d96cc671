"""Keys that only their rows, or only a query, show to be unfit: an error names them, and no row is left out."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.transfers.shards import plan_shards
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from devtools.postgres import SYSTEM_BINARIES, postgres_server
from tests.delivering import MoEngage
from tests.killable_worker import Worker
from tests.sources.warehouses import Warehouse, postgresql_url
from tests.task import Task

ROWS = 60
UNFIT = {
    "SQLite": {"TEXT": "CAST(x'ff' AS TEXT)"},
    "PostgreSQL": {"timestamptz": "'infinity'", "date": "'0044-03-15 BC'", "numeric": "'Infinity'"},
    "MariaDB": {"DATE": "'0000-00-00'", "DATETIME": "'2026-02-00'"},
    "DuckDB": {"TIMESTAMP": "'infinity'", "DATE": "'-infinity'"},
}
"""Values that cannot be bound again, by the type of their column."""

WITHOUT_COMPARISON = {
    "PostgreSQL": {"xid": "'7'", "pg_snapshot": "'10:20:'", "tier_domain": "'zinc'", "pair": "'(1,a)'"},
    "DuckDB": {},
    "MariaDB": {"POINT": "ST_GeomFromText('POINT(1 2)')"},
    "SQLite": {},
}  # fmt: skip


def sync(key_columns: list[str], **options: Any) -> SqlToMoEngageOperator:
    return SqlToMoEngageOperator(
        task_id="sync",
        conn_id="warehouse",
        sql="SELECT * FROM unfit",
        mapping=CustomerMapping(attributes=["n"]),
        key_columns=key_columns,
        **options,
    )


def shards(key_columns: list[str]) -> list[dict[str, Any]]:
    return plan_shards(conn_id="warehouse", sql="SELECT * FROM unfit", key_columns=key_columns, shards=7)


def make(warehouse: Warehouse, column: str, value: str) -> None:
    warehouse.run(
        "DROP TABLE IF EXISTS unfit",
        f"CREATE TABLE unfit (k {column}, n INTEGER, user_id VARCHAR(20))",
        f"INSERT INTO unfit SELECT {value}, n, {warehouse.text_of('n')} FROM ({warehouse.numbers_to(ROWS)}) r",
    )


def test_a_value_that_cannot_be_bound_again_is_named_by_column_and_row(
    connected: MoEngage, warehouse: Warehouse
) -> None:
    for column, value in UNFIT[warehouse.database].items():
        make(warehouse, column, value)
        for act in (sync(["k", "n"]).execute, lambda _: shards(["k", "n"])):
            with pytest.raises(
                ValueError, match=r"^key_columns: column 'k' holds .* in row \d+ \(ORDER BY k, n\) of"
            ):
                act(Task().context)

    assert not connected.arrived


def test_a_key_that_the_database_does_not_compare_is_named_before_anything_is_sent(
    connected: MoEngage, warehouse: Warehouse
) -> None:
    if warehouse.database == "PostgreSQL":
        warehouse.run("DROP DOMAIN IF EXISTS tier_domain CASCADE", "CREATE DOMAIN tier_domain AS tier")
    for column, value in WITHOUT_COMPARISON[warehouse.database].items():
        make(warehouse, column, value)
        for act in (sync(["k", "n"]).execute, lambda _: shards(["k", "n"])):
            with pytest.raises(ValueError, match=r"^key_columns"):
                act(Task().context)

    assert not connected.arrived


@pytest.fixture(scope="module")
def icu() -> Iterator[str]:
    """A server with ICU's collations."""
    if SYSTEM_BINARIES is None:
        pytest.skip("Debian's PostgreSQL is not installed: make databases")
    with postgres_server(SYSTEM_BINARIES) as port:
        yield postgresql_url(port)


WORDS = ("a", "A", "ä", "b", "co-op", "coop", "CO-OP", "10", "9", "Z", "ß", "ss", "a b", "ab")
COLLATIONS = {
    "numbers": ("provider = icu, locale = 'en-u-kn-true'", False),
    "german": ("provider = icu, locale = 'de-AT'", False),
    "no_case": ("provider = icu, locale = 'und-u-ks-level2', deterministic = false", True),
    "no_accents": ("provider = icu, locale = 'und-u-ks-level1', deterministic = false", True),
    "no_punctuation": ("provider = icu, locale = 'und-u-ka-shifted', deterministic = false", True),
}
"""Collations of PostgreSQL, each with whether it takes some of the words as equal."""


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
@pytest.mark.parametrize("collation", COLLATIONS)
def test_icu_collations_lose_no_row(
    in_small_batches: MoEngage,
    icu: str,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    collation: str,
    driver: str,
) -> None:
    options, has_equals = COLLATIONS[collation]
    connect = pytest.importorskip(driver).connect
    with connect(icu) as connection:
        cursor = connection.cursor()
        cursor.execute("DROP TABLE IF EXISTS unfit")
        cursor.execute(f"DROP COLLATION IF EXISTS {collation}")
        cursor.execute(f"CREATE COLLATION {collation} ({options})")
        cursor.execute(f"CREATE TABLE unfit (k text COLLATE {collation}, n int, user_id text)")
        for word in WORDS:
            cursor.execute(
                f"INSERT INTO unfit SELECT '{word}', n, '{word} ' || n FROM generate_series(1, {ROWS}) n"
            )
    hook = SimpleNamespace(get_conn=lambda: connect(icu), get_records=lambda *_: [])
    monkeypatch.setattr(BaseHook, "get_hook", staticmethod(lambda *_, **__: hook))
    refused = []
    for key_columns in (["k", "n"], ["n", "k"]):
        in_small_batches.reset()
        task = Task()
        operator = sync(key_columns)
        assert worker.is_killed(lambda: operator.execute(task.context), after=15)  # noqa: B023 (it is called here)
        task.retry()
        try:
            operator.execute(task.context)
        except ValueError as error:
            refused.append(str(error))
            continue
        assert len({element["customer_id"] for element in in_small_batches.arrived}) == len(WORDS) * ROWS

    assert all("the database treats the keys of" in problem for problem in refused)
    assert has_equals or not refused
