"""What becomes of runs, in tables of each database: one row a run, one a reject."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.bulk.results import ResultsTable
from airflow_provider_moengage.exceptions import MoEngageRejectsError
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.results.volume import rows_in_table
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage, customer
from tests.operators.test_resume import let_this_thread_execute
from tests.sources.warehouses import Warehouse
from tests.task import Task

RUNS, REJECTS = "moengage_sync_runs", "moengage_rejects"
RESULTS = ResultsTable("warehouse", rejects=REJECTS)

Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _no_tables(warehouse: Warehouse) -> None:
    warehouse.run(*(f"DROP TABLE IF EXISTS {table}" for table in (RUNS, REJECTS)))


def rows_of(warehouse: Warehouse, table: str, order: str = "1") -> Rows:
    connection = warehouse.connect()
    cursor = connection.cursor()
    cursor.execute(f"SELECT * FROM {table} ORDER BY {order}")
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    connection.close()
    return rows


def bulk(elements: Any, **options: Any) -> BulkImportOperator:
    return BulkImportOperator(task_id="send", elements=elements, results=RESULTS, **options)


def at_once(runs: list[Callable[[], Any]]) -> None:
    together = threading.Barrier(len(runs))

    def run(act: Callable[[], Any]) -> None:
        let_this_thread_execute()
        together.wait()
        act()

    threads = [threading.Thread(target=run, args=(act,)) for act in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_run_has_one_row(connected: MoEngage, warehouse: Warehouse) -> None:
    report = bulk([customer("ann"), customer("bob"), {"type": "customer"}], max_rejects=1).execute(Task().context)

    [row] = rows_of(warehouse, RUNS)
    assert {name: row[name] for name in ("dag_id", "run_id", "task_id", "map_index", "try_number")} == {
        "dag_id": "a_dag", "run_id": "a_run", "task_id": "a_task", "map_index": -1, "try_number": 1,
    }  # fmt: skip
    assert (row["state"], row["error"], row["operator"]) == ("success", None, "BulkImportOperator")
    assert (row["moengage_conn_id"], row["workspace_id"]) == ("moengage_default", "EMULATOR")
    for name in ("accepted", "rejected", "unchanged", "customers", "requests", "bytes", "retries"):
        assert row[name] == report[name]
    assert (row["accepted"], row["rejected"], row["source_rows"]) == (2, 1, 3)
    assert json.loads(row["rejects"]) == report["rejects"]
    assert not row["resumed"]
    started, ended = (datetime.fromisoformat(str(row[name])) for name in ("started_at", "ended_at"))
    assert started.tzinfo is None
    assert started <= ended
    assert ended - started < ended - datetime(2026, 1, 1)


def test_a_reject_has_one_row_without_its_payload(connected: MoEngage, warehouse: Warehouse) -> None:
    elements = [customer("ann"), {"type": "customer", "attributes": {"u_em": "bob@example.com"}}, {"type": "x"}]
    bulk(elements, max_rejects=2, identifiers=["loyalty"]).execute(Task().context)

    first, second = rows_of(warehouse, REJECTS, "position")
    assert (first["position"], first["codes"], second["codes"]) == (1, "customer_id_missing", "type_invalid")
    assert first["messages"].startswith("customer_id: missing")
    assert (first["row_key"], first["element"]) == (None, None)
    assert first["run_id"] == "a_run"


def test_the_key_columns_of_a_query_are_in_the_rejects(connected: MoEngage, warehouse: Warehouse) -> None:
    warehouse.run(
        "DROP TABLE IF EXISTS keyed",
        "CREATE TABLE keyed (k INTEGER, part VARCHAR(20), user_id VARCHAR(20))",
        *(f"INSERT INTO keyed VALUES ({k}, 'p{k}', {'NULL' if k in (3, 5) else k + 1000})" for k in range(1, 7)),
    )
    SqlToMoEngageOperator(
        task_id="sync",
        conn_id="warehouse",
        sql="SELECT k, part, user_id, '2026-01-01' AS happened FROM keyed",
        key_columns=["k", "part"],
        mapping=[CustomerMapping(attributes=[]), EventMapping(action="A", time="happened", attributes=[])],
        max_rejects=4,
        results=RESULTS,
    ).execute(Task().context)

    rejects = rows_of(warehouse, REJECTS, "position")
    assert [row["position"] for row in rejects] == [4, 5, 8, 9]
    keys = [json.loads(row["row_key"]) for row in rejects]
    assert keys == [{"k": 3, "part": "p3"}] * 2 + [{"k": 5, "part": "p5"}] * 2
    [run] = rows_of(warehouse, RUNS)
    assert (run["source_rows"], run["accepted"], run["rejected"]) == (6, 8, 4)


def test_a_failed_run_has_a_row(connected: MoEngage, warehouse: Warehouse) -> None:
    with pytest.raises(MoEngageRejectsError):
        bulk([customer("ann"), {"type": "customer"}]).execute(Task().context)

    [row] = rows_of(warehouse, RUNS)
    assert (row["state"], row["error"], row["accepted"]) == ("failed", "MoEngageRejectsError", 1)
    assert len(rows_of(warehouse, REJECTS)) == 1


def test_a_run_that_fails_before_it_reads_has_a_row_without_counts(
    connected: MoEngage, warehouse: Warehouse
) -> None:
    def elements() -> Any:
        raise RuntimeError("the source is down")

    with pytest.raises(RuntimeError):
        bulk(elements).execute(Task().context)

    [row] = rows_of(warehouse, RUNS)
    assert (row["state"], row["error"], row["accepted"]) == ("failed", "RuntimeError", None)


def test_a_retry_replaces_the_row_and_the_rejects(connected: MoEngage, warehouse: Warehouse) -> None:
    task = Task()
    with pytest.raises(MoEngageRejectsError):
        bulk([customer("ann"), {"type": "customer"}, {"type": "x"}]).execute(task.context)
    task.clear()
    bulk([customer("ann"), {"type": "customer"}], max_rejects=1).execute(task.context)

    [row] = rows_of(warehouse, RUNS)
    assert (row["state"], row["try_number"], row["error"], row["rejected"]) == ("success", 2, None, 1)
    assert [(reject["position"], reject["try_number"]) for reject in rows_of(warehouse, REJECTS)] == [(1, 2)]


def test_other_runs_keep_their_rows(connected: MoEngage, warehouse: Warehouse) -> None:
    other = Task()
    other.map_index = 3
    for task in (Task(), other):
        bulk([customer("ann"), {"type": "customer"}], max_rejects=1).execute(task.context)

    assert [row["map_index"] for row in rows_of(warehouse, RUNS, "map_index")] == [-1, 3]
    assert len(rows_of(warehouse, REJECTS)) == 2


def test_a_table_with_more_columns_keeps_them(connected: MoEngage, warehouse: Warehouse) -> None:
    task = Task()
    bulk([customer("ann")]).execute(task.context)
    warehouse.run(
        f"ALTER TABLE {RUNS} ADD COLUMN note VARCHAR(20)",
        f"UPDATE {RUNS} SET note = 'seen'",
        f"ALTER TABLE {REJECTS} ADD COLUMN note VARCHAR(20)",
    )
    task.clear()
    bulk([customer("ann"), {"type": "customer"}], max_rejects=1).execute(task.context)

    [row] = rows_of(warehouse, RUNS)
    assert (row["note"], row["rejected"]) == ("seen", 1)
    assert len(rows_of(warehouse, REJECTS)) == 1


def test_a_table_with_fewer_columns_gets_those_it_has(
    connected: MoEngage, warehouse: Warehouse, logged: Callable[[], str]
) -> None:
    text = "VARCHAR(250)"
    warehouse.run(
        f"CREATE TABLE {RUNS} (dag_id {text}, run_id {text}, task_id {text}, map_index INTEGER, accepted INTEGER)"
    )
    bulk([customer("ann")]).execute(Task().context)

    [row] = rows_of(warehouse, RUNS)
    assert row == {"dag_id": "a_dag", "run_id": "a_run", "task_id": "a_task", "map_index": -1, "accepted": 1}
    assert f"Table {RUNS} has no column try_number, operator," in logged()


def test_a_table_without_the_key_is_left_alone(
    connected: MoEngage, warehouse: Warehouse, logged: Callable[[], str]
) -> None:
    warehouse.run(f"CREATE TABLE {RUNS} (dag_id VARCHAR(250), accepted INTEGER)")
    report = bulk([customer("ann")]).execute(Task().context)

    assert report["accepted"] == 1
    assert rows_of(warehouse, RUNS) == []
    assert "lacks run_id, task_id, map_index, which identify a row" in logged()


def test_two_runs_at_once_create_the_tables(connected: MoEngage, warehouse: Warehouse) -> None:
    tasks = [Task() for _ in range(6)]
    for number, task in enumerate(tasks):
        task.map_index = number
    operators = [bulk([customer("ann"), {"type": "customer"}], max_rejects=1) for _ in tasks]
    at_once([partial(operator.execute, task.context) for operator, task in zip(operators, tasks, strict=True)])

    rows = rows_of(warehouse, RUNS, "map_index")
    assert [(row["map_index"], row["state"]) for row in rows] == [(at, "success") for at in range(6)]
    assert len(rows_of(warehouse, REJECTS)) == 6


def test_retries_at_once_replace_their_own_rejects(connected: MoEngage, warehouse: Warehouse) -> None:
    tasks = [Task() for _ in range(4)]
    for number, task in enumerate(tasks):
        task.map_index = number
        bulk([customer("ann"), *[{"type": "customer"}] * 200], max_rejects=200).execute(task.context)
        task.clear()
    at_once([partial(bulk([{"type": "x"}] * 150, max_rejects=150).execute, task.context) for task in tasks])

    rejects = rows_of(warehouse, REJECTS)
    assert Counter(row["map_index"] for row in rejects) == dict.fromkeys(range(4), 150)
    assert {row["codes"] for row in rejects} == {"type_invalid"}


def test_rows_of_earlier_runs_are_read_back(connected: MoEngage, warehouse: Warehouse) -> None:
    for number in (3, 5):
        context = Task().context
        context["ti"].run_id = f"run {number}"
        bulk([customer(f"user-{n}") for n in range(number)]).execute(context)

    context["ti"].run_id = "another run"
    assert rows_in_table(RESULTS, context, is_dry_run=False) == [5, 3]
    context["ti"].run_id = "run 5"
    assert rows_in_table(RESULTS, context, is_dry_run=False) == [3]


def test_text_that_no_database_takes_is_escaped(connected: MoEngage, warehouse: Warehouse) -> None:
    results = ResultsTable("warehouse", rejects=REJECTS, with_elements=True)
    element = {"type": "customer", "customer_id": "ann", "attributes": {"a\ud800\0b": float("nan"), "c": "\udfff"}}
    BulkImportOperator(task_id="send", elements=[element], results=results, max_rejects=1).execute(Task().context)

    [row] = rows_of(warehouse, REJECTS)
    assert r"a\ud800\x00b" in row["messages"]
    assert json.loads(row["element"])["attributes"]["c"] == "\udfff"


def test_a_dry_run_writes_nothing(connected: MoEngage, warehouse: Warehouse) -> None:
    bulk([customer("ann")], dry_run=True).execute(Task().context)

    with pytest.raises(Exception, match=RUNS):
        rows_of(warehouse, RUNS)


def test_elements_are_written_if_asked_for(connected: MoEngage, warehouse: Warehouse) -> None:
    results = ResultsTable("warehouse", rejects=REJECTS, with_elements=True)
    element = {"type": "customer", "attributes": {"name": "çé🦊 %s ' \" \\"}}
    BulkImportOperator(task_id="send", elements=[element], results=results, max_rejects=1).execute(Task().context)

    [row] = rows_of(warehouse, REJECTS)
    assert json.loads(row["element"]) == element
