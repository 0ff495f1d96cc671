"""Keys that differ in case or in spaces at the end only, in MariaDB, which takes them for the same by default."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from airflow_provider_moengage.api.campaigns.models import CampaignStats
from airflow_provider_moengage.bulk.results import ResultsTable
from airflow_provider_moengage.campaign_stats.rows import DayRows, Scope
from airflow_provider_moengage.campaign_stats.table import StatsTable
from airflow_provider_moengage.erasure.ledger import Entry, Event, Ledger, LedgerError, RunFacts
from airflow_provider_moengage.erasure.ledger_table import LedgerTable
from airflow_provider_moengage.exceptions import MoEngageError, MoEngageVolumeError
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.results.recorder import TaskRun
from airflow_provider_moengage.results.volume import rows_in_table
from airflow_provider_moengage.sources.sql_stream import database_hook
from tests.delivering import MoEngage, customer
from tests.sources.warehouses import Servers, Warehouse, why_not
from tests.task import Task

TABLES = {"runs": "run_id", "rejects": "run_id", "ledger": "run_id", "statistics": "campaign_id"}

Write = Callable[[str, str], str]


@pytest.fixture
def mariadb(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    if reason := why_not("MariaDB, mysqlclient"):
        pytest.skip(reason)
    warehouse = servers.warehouse("MariaDB, mysqlclient")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", warehouse.airflow_connection)
    warehouse.run(*(f"DROP TABLE IF EXISTS alike_{table}" for table in TABLES))
    return warehouse


@pytest.fixture
def write(
    connected: MoEngage,
    mariadb: Warehouse,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> Write:
    """Writes a row of a key to a table; returns why it did not."""

    def results(run_id: str) -> str:
        task = Task()
        task.run_id = run_id
        option = ResultsTable("warehouse", runs="alike_runs", rejects="alike_rejects")
        BulkImportOperator(
            task_id="send", elements=[customer("ann"), {"type": "customer"}], max_rejects=1, results=option
        ).execute(task.context)
        captured = capsys.readouterr()
        return f"{caplog.text}{captured.out}{captured.err}"

    def ledger(run_id: str) -> str:
        facts = RunFacts(TaskRun("a_dag", run_id, "a_task", -1, 1), "WS", "delete", "ID")
        with closing(Ledger(LedgerTable(database_hook("warehouse"), "alike_ledger", facts))) as opened:
            try:
                assert not opened.open().is_unknown("ann")
            except LedgerError as error:
                return str(error)
            opened.write([Entry("ann", "ann", 1, Event.ASKED)])
        return ""

    def statistics(campaign_id: str) -> str:
        day = date(2026, 11, 1)
        rows = DayRows(tmp_path / "rows", day, Scope("WS", "", "VIEW_THROUGH", "TOTAL", (campaign_id,)))
        rows.add((CampaignStats(campaign_id, 1, "ANDROID", "all", "A", day, day, {"sent": 1}),), None)
        try:
            StatsTable(database_hook("warehouse"), "alike_statistics").replace(rows)
        except MoEngageError as error:
            return str(error)
        finally:
            rows.close()
        return ""

    writers = {"runs": results, "rejects": results, "ledger": ledger, "statistics": statistics}
    return lambda table, key: writers[table](key)


def keys_in(warehouse: Warehouse, table: str) -> list[str]:
    with closing(warehouse.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT {TABLES[table]} FROM alike_{table}")
        return sorted(key for [key] in cursor.fetchall())


def ignore_case(warehouse: Warehouse, table: str) -> None:
    warehouse.run(f"ALTER TABLE alike_{table} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_of_ours_tells_case_apart(write: Write, mariadb: Warehouse, table: str) -> None:
    for key in ("AbC", "abc"):
        write(table, key)
    mariadb.run(f"DELETE FROM alike_{table} WHERE {TABLES[table]} = 'ABC'")

    assert keys_in(mariadb, table) == ["AbC", "abc"]


@pytest.mark.parametrize(
    ("table", "other", "why"),
    [
        ("runs", "abc", "its column run_id ignores case or accents"),
        ("rejects", "abc", "its column run_id ignores case or accents"),
        ("ledger", "abc", None),
        ("statistics", "abc", None),
        ("runs", "AbC ", "its column run_id has a text that differs only in spaces at the end"),
        ("rejects", "AbC ", "its column run_id has a text that differs only in spaces at the end"),
        ("ledger", "AbC ", "its column run_id has a text that differs only in spaces at the end"),
        ("statistics", "AbC ", "its column campaign_id has a text that differs only in spaces at the end"),
    ],
)
def test_a_table_that_ignores_case_loses_no_row_of_another_key(
    write: Write, mariadb: Warehouse, table: str, other: str, why: str | None
) -> None:
    write(table, "AbC")
    ignore_case(mariadb, table)
    said = write(table, other)

    if why is not None:
        assert why in said
        assert keys_in(mariadb, table) == ["AbC"]
    else:
        assert said == ""
        if table == "statistics":
            write(table, other)
        assert keys_in(mariadb, table) == ["AbC", "abc"]


def test_rows_of_another_dag_are_not_compared(write: Write, mariadb: Warehouse) -> None:
    write("runs", "AbC")
    ignore_case(mariadb, "runs")
    option = ResultsTable("warehouse", runs="alike_runs")
    context = Task().context
    context["ti"].run_id = "another"
    assert rows_in_table(option, context, is_dry_run=False) == [2]

    mariadb.run("UPDATE alike_runs SET dag_id = 'A_DAG'")
    assert rows_in_table(option, context, is_dry_run=False) == []
    mariadb.run("UPDATE alike_runs SET dag_id = 'a_dag '")
    with pytest.raises(MoEngageVolumeError, match="its column dag_id has a text that differs only in spaces"):
        rows_in_table(option, context, is_dry_run=False)
