"""The time zone that a connection sets: it is respected, and moments are right or rejected."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage
from tests.sources.warehouses import NAMES, Servers, postgresql_url, why_not
from tests.task import Task

MOMENTS = {
    "winter": "2026-01-02T03:04:05Z",
    "summer": "2026-07-02T03:04:05Z",
    "first half past two": "2026-10-25T00:30:00Z",
    "second half past two": "2026-10-25T01:30:00Z",
    "half past three": "2026-10-25T02:30:00Z",
}
TWICE = {"first half past two", "second half past two"}
"""In Berlin, where the hour from 2 to 3 occurs twice on this day."""

NO_DATES = ("0000-00-00", "2026-02-00", "2026-00-00", "0000-01-01")


def need(name: str) -> None:
    if reason := why_not(name):
        pytest.skip(reason)


def use(monkeypatch: pytest.MonkeyPatch, get_conn: Callable[[], Any]) -> None:
    hook = SimpleNamespace(get_conn=get_conn, get_records=lambda *_: [])
    monkeypatch.setattr(BaseHook, "get_hook", staticmethod(lambda *_, **__: hook))


def sync(connected: MoEngage, sql: str, key_columns: list[str] | None = None) -> tuple[dict[str, Any], int]:
    """Return the attributes of each user, and how many rows were rejected because of a value."""
    connected.reset()
    report = SqlToMoEngageOperator(
        task_id="sync",
        conn_id="warehouse",
        sql=sql,
        mapping=CustomerMapping(),
        key_columns=key_columns,
        max_rejects=1_000,
    ).execute(Task().context)
    assert set(report["rejects"]) <= {"value_not_readable"}
    return {element["customer_id"]: element["attributes"] for element in connected.arrived}, report["rejected"]


@pytest.fixture(params=[name for name, (database, _) in NAMES.items() if database == "MariaDB"])
def mariadb(request: pytest.FixtureRequest, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each driver; call it with the time zone that ``init_command`` sets."""
    need(request.param)
    warehouse = servers.warehouse(request.param)
    rows = ", ".join(f"('{user}', '{at[:19]}')" for user, at in MOMENTS.items())
    warehouse.run(
        "DROP TABLE IF EXISTS moments",
        "CREATE TABLE moments (user_id VARCHAR(30), moment TIMESTAMP NULL)",
        f"INSERT INTO moments VALUES {rows.replace('T', ' ')}, ('empty', NULL)",
    )

    def connect(zone: str) -> None:
        init_command = f"SET time_zone = '{zone}'"
        if warehouse.driver == "pymysql":
            import pymysql

            port = servers.port("MariaDB")
            options: dict[str, Any] = {"host": "127.0.0.1", "port": port, "user": "root", "database": "warehouse"}
            use(monkeypatch, lambda: pymysql.connect(**options, init_command=init_command))
            return
        from airflow.providers.mysql.hooks.mysql import MySqlHook

        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", warehouse.airflow_connection)
        hook = MySqlHook(mysql_conn_id="warehouse", init_command=init_command)
        use(monkeypatch, hook.get_conn)

    connect.warehouse = warehouse  # type: ignore[attr-defined] # for tests that write rows
    return connect


@pytest.fixture
def named_zones(servers: Servers) -> None:
    """Let MariaDB know Berlin's time zone."""
    need("MariaDB, mysqlclient")
    zone = "Europe/Berlin"
    client = ["mariadb", "--host=127.0.0.1", f"--port={servers.port('MariaDB')}", "--user=root", "mysql"]
    if not subprocess.run([*client, f"--execute=SET time_zone = '{zone}'"], capture_output=True).returncode:
        return  # an earlier test has loaded it
    command = ["mariadb-tzinfo-to-sql", f"/usr/share/zoneinfo/{zone}", zone]
    try:
        statements = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("mariadb-tzinfo-to-sql or the system's time zones are not installed")
    subprocess.run(client, input=statements, text=True, check=True, capture_output=True)


@pytest.mark.parametrize("zone", ["-03:30", "+05:30", "+00:00"])
def test_timestamps_of_mariadb_are_right_in_a_session_with_an_offset(
    connected: MoEngage, mariadb: Any, zone: str
) -> None:
    mariadb(zone)

    arrived, rejected = sync(connected, "SELECT *, @@session.time_zone AS zone FROM moments")

    assert rejected == 0
    assert {user: values.get("moment") for user, values in arrived.items()} == {**MOMENTS, "empty": None}
    # The server's own zone, +05:30, counts as none.
    assert {values["zone"] for values in arrived.values()} == {"+00:00" if zone == "+05:30" else zone}


@pytest.mark.usefixtures("named_zones")
def test_timestamps_of_mariadb_in_an_hour_that_occurs_twice_are_rejects(connected: MoEngage, mariadb: Any) -> None:
    mariadb("Europe/Berlin")

    arrived, rejected = sync(connected, "SELECT *, @@session.time_zone AS zone FROM moments")

    assert rejected == len(TWICE)
    assert {user: values.get("moment") for user, values in arrived.items()} == {
        user: at for user, at in {**MOMENTS, "empty": None}.items() if user not in TWICE
    }
    assert {values["zone"] for values in arrived.values()} == {"Europe/Berlin"}


def test_timestamps_of_mariadb_in_a_zone_that_only_the_server_knows_are_rejects(
    connected: MoEngage, mariadb: Any
) -> None:
    mariadb("SYSTEM")

    arrived, rejected = sync(connected, "SELECT * FROM moments")

    assert (set(arrived), rejected) == ({"empty"}, len(MOMENTS))


@pytest.mark.parametrize("zone", ["+05:30", "-03:30", "SYSTEM"])
def test_dates_that_are_not_in_the_calendar_are_rejects(connected: MoEngage, mariadb: Any, zone: str) -> None:
    kinds = {"DATE": NO_DATES, "DATETIME": NO_DATES, "DATETIME(3)": NO_DATES, "TIMESTAMP": NO_DATES[:1]}
    for column, dates in kinds.items():
        rows = ", ".join(f"('u-{at}', '{at}')" for at in dates)
        mariadb.warehouse.run(
            "DROP TABLE IF EXISTS no_dates",
            f"CREATE TABLE no_dates (user_id VARCHAR(30), born {column} NULL)",
            f"INSERT INTO no_dates VALUES {rows}, ('empty', NULL)",
        )
        mariadb(zone)

        assert sync(connected, "SELECT * FROM no_dates") == ({"empty": {}}, len(dates))

        zero = "SELECT user_id, NULLIF(born, 0) AS born FROM no_dates WHERE user_id = 'u-0000-00-00'"
        assert sync(connected, zero) == ({"u-0000-00-00": {}}, 0)


@pytest.fixture(params=["psycopg2", "psycopg"])
def postgresql(request: pytest.FixtureRequest, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each driver, in Berlin's time zone."""
    driver = pytest.importorskip(request.param)
    url = postgresql_url(servers.port("PostgreSQL"))
    use(monkeypatch, lambda: driver.connect(url, options="-c timezone=Europe/Berlin"))


@pytest.mark.usefixtures("postgresql")
@pytest.mark.parametrize("key_columns", [None, ["moment"]], ids=["no keys", "keys"])
def test_moments_of_postgresql_are_right_in_the_connections_zone(
    connected: MoEngage, key_columns: list[str] | None
) -> None:
    rows = ", ".join(f"('{user}', timestamptz '{at}')" for user, at in MOMENTS.items())
    sql = f"SELECT user_id, moment, current_setting('TimeZone') AS zone FROM (VALUES {rows}) r (user_id, moment)"

    arrived, rejected = sync(connected, sql, key_columns)

    assert rejected == 0
    assert arrived == {user: {"moment": at, "zone": "Europe/Berlin"} for user, at in MOMENTS.items()}


@pytest.mark.parametrize("statement", ["SET TimeZone", "SET GLOBAL TimeZone", None])
@pytest.mark.parametrize("key_columns", [None, ["moment"]], ids=["no keys", "keys"])
def test_moments_of_duckdb_are_right_in_the_connections_zone(
    connected: MoEngage, monkeypatch: pytest.MonkeyPatch, statement: str | None, key_columns: list[str] | None
) -> None:
    duckdb = pytest.importorskip("duckdb")

    def get_conn() -> Any:
        connection = duckdb.connect()
        if statement is not None:
            connection.execute(f"{statement} = 'Europe/Berlin'")
        return connection

    use(monkeypatch, get_conn)
    rows = ", ".join(f"('{user}', timestamptz '{at}')" for user, at in MOMENTS.items())
    sql = f"SELECT user_id, moment, current_setting('TimeZone') AS zone FROM (VALUES {rows}) r (user_id, moment)"

    arrived, rejected = sync(connected, sql, key_columns)

    assert rejected == 0
    zone = "Europe/Berlin" if statement else "UTC"
    assert arrived == {user: {"moment": at, "zone": zone} for user, at in MOMENTS.items()}
