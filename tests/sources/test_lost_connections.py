"""A database that ends the connection while MoEngage holds the rows back: reading resumes, or the error helps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.sources import sql_stream
from airflow_provider_moengage.sources.sql_stream import LostConnectionError, database_hook, stream_query
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from devtools.mariadb import mariadb_server
from tests.delivering import MoEngage
from tests.sources.warehouses import Warehouse, airflow_connection_to_mariadb, mariadb_connection, why_not
from tests.task import Task

ROWS = 20_000
KILL = {
    "PostgreSQL": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'",
    "MariaDB": "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE '%patient%'"
    " AND ID <> CONNECTION_ID()",
}


@pytest.fixture
def server(warehouse: Warehouse) -> Warehouse:
    """Each database that has a server, with a table that no socket's buffer holds."""
    if warehouse.database not in KILL:
        pytest.skip("it has no server")
    warehouse.run(
        "DROP TABLE IF EXISTS patient",
        "CREATE TABLE patient (user_id VARCHAR(20), k INTEGER PRIMARY KEY, secret VARCHAR(2000))",
        f"INSERT INTO patient SELECT {warehouse.text_of('n + 1000')}, n, '{'secret' * 250}'"
        f" FROM ({warehouse.numbers_to(ROWS)}) numbers",
    )
    return warehouse


def kill(server: Warehouse) -> None:
    """End every connection that reads the table."""
    with closing(server.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute(KILL[server.database])
        found = cursor.fetchall()
        assert found
        if server.database == "MariaDB":
            for (number,) in found:
                cursor.execute(f"KILL {number}")


@pytest.fixture
def kill_once(server: Warehouse, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kill the connection after some rows were fetched."""
    fetched: list[int] = []
    fetch: Callable[..., Any] = sql_stream._fetch

    def fetch_and_kill(database: Any, cursor: Any, at_once: int, read: int) -> Any:
        rows = fetch(database, cursor, at_once, read)
        if read >= 3_000 and not fetched:
            fetched.append(read)
            kill(server)
        return rows

    monkeypatch.setattr(sql_stream, "_fetch", fetch_and_kill)
    return fetched


def sync(key_columns: list[str] | None) -> dict[str, Any]:
    operator = SqlToMoEngageOperator(
        task_id="sync",
        conn_id="warehouse",
        sql="SELECT * FROM patient",
        mapping=CustomerMapping(attributes=["k"]),
        key_columns=key_columns,
        fetch_size=1_000,
    )
    return operator.execute(Task().context)


def test_with_keys_a_killed_connection_is_replaced_and_each_row_is_sent_once(
    connected: MoEngage, server: Warehouse, kill_once: list[int]
) -> None:
    report = sync(["k"])

    assert kill_once
    assert report["accepted"] == ROWS
    assert sorted(int(element["customer_id"]) - 1_000 for element in connected.arrived) == [*range(1, ROWS + 1)]


def test_without_keys_the_error_names_the_setting_and_key_columns(
    connected: MoEngage, server: Warehouse, kill_once: list[int]
) -> None:
    setting = {"PostgreSQL": "idle_in_transaction_session_timeout", "MariaDB": "net_write_timeout"}
    with pytest.raises(LostConnectionError, match=f"{setting[server.database]}.*key_columns") as raised:
        sync(None)

    assert kill_once
    assert "secret" not in str(raised.value)
    assert len(connected.arrived) < ROWS


def test_postgresql_waits_longer_than_its_own_patience(connected: MoEngage, server: Warehouse) -> None:
    if server.database != "PostgreSQL":
        pytest.skip("a setting of PostgreSQL")
    server.run("ALTER ROLE postgres SET idle_in_transaction_session_timeout = '100ms'")
    try:
        with stream_query(database_hook("warehouse"), "SELECT * FROM patient", fetch_size=1_000) as result:
            next(result.rows)
            time.sleep(0.4)
            assert sum(1 for _ in result.rows) == ROWS - 1
    finally:
        server.run("ALTER ROLE postgres RESET idle_in_transaction_session_timeout")


@pytest.fixture(params=["MySQLdb", "mysql.connector"])
def impatient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A MariaDB that waits a second for a slow reader."""
    if reason := why_not({"MySQLdb": "MariaDB, mysqlclient"}.get(request.param, "MariaDB, MySQL Connector")):
        pytest.skip(reason)
    import MySQLdb

    with mariadb_server("--net-write-timeout=1") as server:
        with closing(MySQLdb.connect(host="127.0.0.1", port=server.port, user="root")) as connection:
            connection.cursor().execute("CREATE DATABASE warehouse")
        with closing(mariadb_connection(request.param, server.port)) as connection:
            cursor = connection.cursor()
            cursor.execute(
                f"CREATE TABLE patient AS SELECT seq AS k, REPEAT('x', 4000) AS text FROM seq_1_to_{ROWS}"
            )
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", airflow_connection_to_mariadb(request.param, server.port))
        yield


def test_mariadb_waits_longer_than_its_own_patience(impatient: None) -> None:
    with stream_query(database_hook("warehouse"), "SELECT * FROM patient", fetch_size=1_000) as result:
        next(result.rows)
        time.sleep(2.2)  # the server looks once a second
        assert sum(1 for _ in result.rows) == ROWS - 1
