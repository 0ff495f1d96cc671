"""Rows of a real MariaDB: the right ones, with the right values, or a clear refusal before anything is sent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.sources.sql_key import KeyColumns
from airflow_provider_moengage.sources.sql_keyset import check_order
from airflow_provider_moengage.sources.sql_stream import database_hook, stream_query
from airflow_provider_moengage.transfers.shards import plan_shards
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from devtools import mariadb
from devtools.mariadb import MariaDB, mariadb_server
from tests.delivering import MoEngage
from tests.task import Task

MySQLdb = pytest.importorskip("MySQLdb", reason="mysqlclient is not installed: make mariadb")
pytestmark = pytest.mark.skipif(not mariadb.IS_INSTALLED, reason="mariadbd is not installed: make mariadb")

CLIENTS = ("mysqlclient", "mysql-connector-python")


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    with mariadb_server("--default-time-zone=+05:30") as server:
        with MySQLdb.connect(host="127.0.0.1", port=server.port, user="root") as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE DATABASE warehouse")
            cursor.execute("USE warehouse")
            cursor.execute(
                "CREATE TABLE tiers (tier ENUM('zinc', 'bronze', 'gold', 'argent'), n INT, user_id VARCHAR(20),"
                " PRIMARY KEY (tier, n))"
            )
            for tier in ("zinc", "bronze", "gold", "argent"):
                cursor.execute(f"INSERT INTO tiers SELECT '{tier}', seq, CONCAT('{tier}-', seq) FROM seq_1_to_500")
            connection.commit()
        yield server


def connect(monkeypatch: pytest.MonkeyPatch, server: MariaDB, client: str = "mysqlclient", **extra: Any) -> None:
    connection = {
        "conn_type": "mysql",
        "host": "127.0.0.1",
        "port": server.port,
        "login": "root",
        "schema": "warehouse",
        "extra": {"client": client, **extra},
    }
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))


@pytest.fixture(params=CLIENTS)
def warehouse(request: pytest.FixtureRequest, server: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, server, request.param)


def sync(sql: str, key_columns: list[str] | None = None, **options: Any) -> SqlToMoEngageOperator:
    return SqlToMoEngageOperator(
        task_id="sync", conn_id="warehouse", sql=sql, mapping=CustomerMapping(), key_columns=key_columns, **options
    )


@pytest.mark.parametrize("sql", ["SELECT * FROM tiers", "SELECT * FROM tiers WHERE n > 0 ORDER BY n;"])
def test_a_key_that_sorts_otherwise_than_it_compares_is_refused_before_anything_is_sent(
    connected: MoEngage, warehouse: None, sql: str
) -> None:
    with pytest.raises(
        ValueError, match=r"^key_columns: column 'tier' of type ENUM cannot .*CAST\(tier AS CHAR\)"
    ):
        sync(sql, ["tier", "n"]).execute(Task().context)

    assert not connected.arrived


def test_shards_by_such_a_key_are_refused(warehouse: None) -> None:
    with pytest.raises(ValueError, match=r"^key_columns: column 'tier' of type ENUM cannot"):
        plan_shards(conn_id="warehouse", sql="SELECT * FROM tiers", key_columns=["tier", "n"], shards=3)


def test_the_cast_that_the_message_names_makes_it_a_key(connected: MoEngage, warehouse: None) -> None:
    sync("SELECT CAST(tier AS CHAR) AS tier_key, n, user_id FROM tiers", ["tier_key", "n"]).execute(Task().context)

    assert len({element["customer_id"] for element in connected.arrived}) == 2_000


def test_an_order_that_no_type_gives_away_is_found_in_the_database(warehouse: None) -> None:
    hook = database_hook("warehouse")
    columns = KeyColumns(["tier", "n"])

    for key in (("zinc", 400), ("zinc", 1_000)):  # the second one's row is gone
        with pytest.raises(ValueError, match="the database's sort order does not match its comparisons"):
            check_order(hook, "SELECT * FROM tiers", None, columns, [key])


def test_rows_are_read_by_the_hooks_own_connection_and_its_tls(
    connected: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mariadb_server(tls=True) as server:
        ssl = {"ca": str(server.certificate)}
        with MySQLdb.connect(host="127.0.0.1", port=server.port, user="root", ssl=ssl) as connection:
            connection.cursor().execute("CREATE DATABASE warehouse")
        for extra in ({}, {"cursor": "sscursor"}, {"cursor": "dictcursor"}):
            connect(monkeypatch, server, ssl=ssl, **extra)
            sql = "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'"
            with stream_query(database_hook("warehouse"), sql, fetch_size=10) as result:
                [[cipher]] = result.rows
            assert cipher


def test_values_arrive_by_their_column(connected: MoEngage, warehouse: None) -> None:
    sql = """
        SELECT 'u-1' AS user_id, CAST(1.50 AS DECIMAL(10, 2)) AS price, 15.0 AS whole, TIME'09:30:00' AS opens,
            TIMESTAMP'2026-01-02 03:04:05' AS naive, DATE'2026-01-02' AS day, 'çé🦊' AS name, x'74657874' AS raw,
            CAST('-25:00:01.5' AS TIME(1)) AS shift, NULL AS nothing
    """
    sync(sql).execute(Task().context)

    [element] = connected.arrived
    assert element["attributes"] == {
        "price": 1.5,
        "whole": 15.0,
        "opens": "09:30:00",
        "naive": "2026-01-02T03:04:05Z",
        "day": "2026-01-02",
        "name": "çé🦊",
        "raw": "text",
        "shift": "-25:00:01.500000",
    }


def test_an_odd_boolean_is_a_reject(connected: MoEngage, server: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    with MySQLdb.connect(host="127.0.0.1", port=server.port, user="root", db="warehouse") as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE odd (user_id VARCHAR(9), active TINYINT(1))")
        cursor.execute("INSERT INTO odd VALUES ('one', 1), ('zero', 0), ('two', 2), ('minus', -5)")
        connection.commit()
    connect(monkeypatch, server)

    report = sync("SELECT * FROM odd", max_rejects=2).execute(Task().context)

    assert report["rejects"] == {"value_not_readable": 2}
    assert {element["customer_id"]: element["attributes"] for element in connected.arrived} == {
        "one": {"active": True},
        "zero": {"active": False},
    }


WITH_C_EXTENSION = """
import sys
try:
    import _mysql_connector  # first, because it brings libraries that others would load in another version
except ImportError as error:
    sys.exit(f"SKIP {error}")
import mysql.connector
from types import SimpleNamespace
from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.sql_stream import stream_query
def get_conn():
    options = {"host": "127.0.0.1", "port": int(sys.argv[1]), "user": "root", "database": "warehouse"}
    return mysql.connector.connect(**options, use_pure=False)
with stream_query(SimpleNamespace(get_conn=get_conn), "SELECT * FROM days ORDER BY n", fetch_size=10) as result:
    for row in result.read():
        print(*("reject" if isinstance(value, Unreadable) else value for value in row), sep=", ")
"""


def test_the_c_extension_of_mysql_connector_reads_the_same(server: MariaDB) -> None:
    with MySQLdb.connect(host="127.0.0.1", port=server.port, user="root", db="warehouse") as connection:
        cursor = connection.cursor()
        cursor.execute("SET sql_mode = '', time_zone = '+00:00'")
        cursor.execute(
            "CREATE TABLE days (n INT, born DATE, seen DATETIME(3), since TIMESTAMP NULL, name VARCHAR(9))"
        )
        cursor.execute(
            "INSERT INTO days VALUES (1, '2026-01-02', '2026-01-02 03:04:05.5', '2026-01-02 03:04:05', 'çé'),"
            " (2, '0000-00-00', '2026-02-00', '0000-00-00', NULL), (3, NULL, NULL, NULL, '')"
        )
        connection.commit()

    command = [sys.executable, "-c", WITH_C_EXTENSION, str(server.port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    if done.stderr.startswith("SKIP"):
        pytest.skip("the C extension is not installed")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == [
        "1, 2026-01-02, 2026-01-02 03:04:05.500000, 2026-01-02 03:04:05, çé",
        "2, reject, reject, reject, None",
        "3, None, None, None, ",
    ]
