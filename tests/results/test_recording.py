"""What the rows of runs and rejects hold, on SQLite: keys, messages, retries, kills, templates and trouble."""

from __future__ import annotations

import json
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage.bulk.changes import ChangedOnly
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.bulk.results import ResultsTable
from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import MoEngageError, MoEngageRejectsError
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.results.recorder import RunRecorder
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage, customer
from tests.killable_worker import Worker
from tests.task import Task

Read = Callable[..., list[dict[str, Any]]]
RESULTS = ResultsTable("warehouse", rejects="rejects")


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


@pytest.fixture
def read(database: sqlite3.Connection) -> Read:
    def rows(table: str, order: str = "1") -> list[dict[str, Any]]:
        return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY {order}")]

    return rows


def users(database: sqlite3.Connection, number: int, *, bad: set[int] = frozenset()) -> None:  # type: ignore[assignment]
    database.execute("DROP TABLE IF EXISTS users")
    database.execute("CREATE TABLE users (k INTEGER PRIMARY KEY, user_id TEXT, email TEXT)")
    database.execute("BEGIN")
    database.executemany(
        "INSERT INTO users VALUES (?, ?, ?)",
        [(n, None if n in bad else f"user-{n}", f"person{n}@example.com") for n in range(number)],
    )
    database.execute("COMMIT")


def sync(**options: Any) -> SqlToMoEngageOperator:
    given = {
        "sql": "SELECT k, user_id, email FROM users",
        "key_columns": ["k"],
        "mapping": CustomerMapping(attributes={"u_em": "email"}),
        "identifiers": ["loyalty"],
        "results": RESULTS,
        **options,
    }
    return SqlToMoEngageOperator(task_id="sync", conn_id="warehouse", **given)


def send(elements: Any, **options: Any) -> BulkImportOperator:
    return BulkImportOperator(task_id="send", elements=elements, **{"results": RESULTS, **options})


def test_what_moengage_refuses_has_its_key(connected: MoEngage, database: sqlite3.Connection, read: Read) -> None:
    users(database, 100)
    connected.emulator.workspace.add_fault(Fault(kind="refuse", customer_id="user-42", times=None))

    sync(max_rejects=1).execute(Task().context)

    [row] = read("rejects")
    assert (row["codes"], json.loads(row["row_key"])) == ("refused_by_server", {"k": 42})
    assert row["messages"].startswith("MoEngage refused it: ")
    assert "user-42" not in str(row)


def test_a_message_of_moengage_that_quotes_a_value_is_scrubbed(
    connected: MoEngage, database: sqlite3.Connection, read: Read, tmp_path: Path
) -> None:
    quoted = {"type": "TypeError", "message": "u_em: person@example.com is not text", "request_id": "r"}
    body = json.dumps({"status": "fail", "error": quoted})
    connected.emulator.workspace.add_fault(Fault(kind="status", status=400, body=body))
    send([customer("ann", u_em="person@example.com")], max_rejects=1, rejects_path=str(tmp_path)).execute(
        Task().context
    )

    [row] = read("rejects")
    assert "person" not in row["messages"]
    assert "is not text" in row["messages"]
    [run] = read("moengage_sync_runs")
    assert "person@example.com" in Path(run["rejects_path"]).read_text()


def test_keys_of_unchanged_and_accepted_rows_are_forgotten(
    connected: MoEngage, database: sqlite3.Connection, read: Read, tmp_path: Path
) -> None:
    users(database, 2_000, bad={7, 1_999})
    changed_only = ChangedOnly(path=str(tmp_path / "changes"))
    for run in ("first", "second"):
        operator = sync(max_rejects=2, changed_only=changed_only)
        task = Task()
        context = task.context
        context["ti"].run_id = run
        context["dag"] = SimpleNamespace(start_date=None)
        context["dag_run"] = SimpleNamespace(run_id=run, run_type="scheduled")
        operator.execute(context)
        assert operator.reject_spool is not None
        assert operator.reject_spool._keys == {}

    keys = [(row["run_id"], json.loads(row["row_key"])["k"]) for row in read("rejects", "run_id, position")]
    assert keys == [("first", 7), ("first", 1_999), ("second", 7), ("second", 1_999)]
    assert [row["unchanged"] for row in read("moengage_sync_runs", "run_id")] == [0, 1_998]
    assert [row["new_elements"] for row in read("moengage_sync_runs", "run_id")] == [1_998, 0]


@pytest.fixture
def killed(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any], int], None]:
    """Kill a try: a killed process writes nothing."""

    def kill(run: Callable[[], Any], after: int) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(RunRecorder, "end", lambda *_: None)
            assert worker.is_killed(run, after=after)

    return kill


def test_a_killed_run_is_running_until_its_retry_ends(
    in_small_batches: MoEngage,
    database: sqlite3.Connection,
    read: Read,
    killed: Callable[[Callable[[], Any], int], None],
    logged: Callable[[], str],
) -> None:
    users(database, 2_500, bad={7, 2_400})
    task = Task()
    killed(lambda: sync(max_rejects=2).execute(task.context), 30)
    [row] = read("moengage_sync_runs")
    assert (row["state"], row["ended_at"], row["accepted"]) == ("running", None, None)

    task.retry()
    report = sync(max_rejects=2).execute(task.context)

    assert (report["resumed"], report["rejected"]) == (True, 2)
    [row] = read("moengage_sync_runs")
    assert (row["state"], row["try_number"], row["rejected"]) == ("success", 2, 2)
    assert [reject["position"] for reject in read("rejects")] == [2_400]
    assert "1 of 2 rejects are not in table rejects" in logged()


def test_a_retry_that_resumes_adds_its_rejects(
    in_small_batches: MoEngage, database: sqlite3.Connection, read: Read
) -> None:
    users(database, 2_500, bad={7, 2_400})
    task = Task()
    in_small_batches.emulator.workspace.add_fault(Fault(kind="status", status=401, after=5, times=None))
    with pytest.raises(MoEngageError):
        sync(max_rejects=2).execute(task.context)
    [row] = read("moengage_sync_runs")
    assert (row["state"], row["error"]) == ("failed", "MoEngageAuthError")
    in_small_batches.emulator.workspace.clear_faults()
    task.retry()
    report = sync(max_rejects=2).execute(task.context)

    assert (report["resumed"], report["rejected"]) == (True, 2)
    assert [(row["position"], row["try_number"]) for row in read("rejects", "position")] == [(7, 1), (2_400, 2)]


def test_a_retry_that_starts_again_replaces_the_rejects(connected: MoEngage, read: Read) -> None:
    task = Task(has_store=False)

    def elements() -> Any:
        yield {"type": "customer"}
        yield from (customer(f"user-{number}") for number in range(5_000))
        if task.try_number == 1:
            raise RuntimeError("the source is down")

    with pytest.raises(RuntimeError):
        send(elements, max_rejects=1).execute(task.context)
    assert [row["try_number"] for row in read("rejects")] == [1]
    task.retry()
    send(elements, max_rejects=1).execute(task.context)

    assert [row["try_number"] for row in read("rejects")] == [2]


def test_a_clear_that_is_killed_leaves_no_rejects_of_the_run_before_it(
    in_small_batches: MoEngage,
    database: sqlite3.Connection,
    read: Read,
    killed: Callable[[Callable[[], Any], int], None],
) -> None:
    users(database, 2_500, bad={7, 8, 9})
    task = Task()
    sync(max_rejects=3).execute(task.context)
    assert len(read("rejects")) == 3
    users(database, 2_500, bad={7, 2_400})
    task.clear()
    killed(lambda: sync(max_rejects=3).execute(task.context), 30)
    task.retry()
    report = sync(max_rejects=3).execute(task.context)

    assert report["resumed"]
    assert [row["position"] for row in read("rejects")] == [2_400]


def test_templates_are_rendered_and_none_is_none(
    connected: MoEngage, database: sqlite3.Connection, read: Read
) -> None:
    results = ResultsTable(
        "{{ params.title | replace('Dune', 'warehouse') }}",
        runs="{{ 'runs_of_' ~ ds[:4] }}",
        rejects="{{ none }}",
        with_elements=True,
    )
    operator = send([customer("ann")], results=results)
    context = Task().context
    operator.render_template_fields(context)
    operator.execute(context)

    assert [row["state"] for row in read("runs_of_2026")] == ["success"]
    assert operator.results is not None
    assert (operator.results.rejects, operator.results.with_elements) == (None, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conn_id": ""}, "results.conn_id ''"),
        ({"conn_id": "w", "runs": "a;b"}, "results.runs 'a;b': expected the name of a table"),
        ({"conn_id": "w", "runs": 'a"b'}, "results.runs"),
        ({"conn_id": "w", "runs": None}, "results.runs None"),
        ({"conn_id": "w", "rejects": "moengage_SYNC_runs"}, "results.rejects: is the table of runs"),
        ({"conn_id": "w", "runs": "main.t", "rejects": "T"}, "results.rejects: is the table of runs"),
        ({"conn_id": "w", "runs": "t", "rejects": "db.main.t"}, "results.rejects: is the table of runs"),
        ({"conn_id": "w", "rejects": "a..b"}, "results.rejects 'a..b'"),
        ({"conn_id": "w", "with_elements": True}, "results.with_elements: requires results.rejects"),
        ({"conn_id": "w", "rejects": "r", "with_elements": "yes"}, "results.with_elements 'yes'"),
    ],
)
def test_an_option_that_is_wrong_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResultsTable(**options)


def test_another_argument_is_refused() -> None:
    with pytest.raises(ValueError, match=r"results: expected ResultsTable\(...\), not dict"):
        send([customer("ann")], results={"conn_id": "warehouse"})


def test_a_template_that_renders_to_no_table_is_named(connected: MoEngage, database: sqlite3.Connection) -> None:
    operator = send([customer("ann")], results=ResultsTable("{{ none }}"))
    with pytest.raises(ValueError, match=r"results\.conn_id None: expected a connection of a database"):
        operator.render_template_fields(Task().context)
    assert connected.arrived == []


def test_names_are_quoted(connected: MoEngage, database: sqlite3.Connection, read: Read) -> None:
    results = ResultsTable("warehouse", runs="main.Runs of the-Sync", rejects="main.select")
    send([customer("ann"), {"type": "customer"}], results=results, max_rejects=1).execute(Task().context)

    assert len(read('"Runs of the-Sync"')) == 1
    assert len(read('"select"')) == 1


def test_a_database_that_is_down_fails_no_task(
    connected: MoEngage, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    down = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "secret-user", "password": "secret"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(down))
    report = send([customer("ann")]).execute(Task().context)

    assert report["accepted"] == 1
    log = logged()
    assert "could not be written to table moengage_sync_runs and rejects of connection 'warehouse'" in log
    assert "OperationalError" in log
    assert "secret" not in log


def test_a_connection_that_is_missing_fails_no_task(connected: MoEngage, logged: Callable[[], str]) -> None:
    report = send([customer("ann")], results=ResultsTable("nowhere")).execute(Task().context)

    assert report["accepted"] == 1
    assert "of connection 'nowhere' (AirflowNotFoundException)" in logged()


def test_a_table_that_refuses_a_row_is_logged_without_values(
    connected: MoEngage, database: sqlite3.Connection, read: Read, logged: Callable[[], str]
) -> None:
    database.execute(
        "CREATE TABLE rejects (dag_id, run_id, task_id, map_index, try_number, position, row_key, codes,"
        " messages, element, written_at, CHECK (row_key <> '{\"k\": 7}'))"
    )
    users(database, 20, bad={6, 7})
    report = sync(max_rejects=2).execute(Task().context)

    assert report["rejected"] == 2
    assert read("rejects") == []
    log = logged()
    assert "table rejects of connection 'warehouse' (IntegrityError SQLITE_CONSTRAINT_CHECK)" in log
    assert '"k"' not in log
    assert [row["rejected"] for row in read("moengage_sync_runs")] == [2]


def test_a_run_that_is_skipped_says_so(connected: MoEngage, database: sqlite3.Connection, read: Read) -> None:
    from airflow.providers.common.compat.sdk import AirflowSkipException

    def elements() -> Any:
        raise AirflowSkipException

    with pytest.raises(AirflowSkipException):
        send(elements).execute(Task().context)

    assert [(row["state"], row["error"]) for row in read("moengage_sync_runs")] == [
        ("skipped", "AirflowSkipException")
    ]


@pytest.mark.no_cover
def test_memory_does_not_grow_with_the_rejects(
    connected: MoEngage, database: sqlite3.Connection, read: Read
) -> None:
    peaks = []
    for number in (2_000, 16_000):
        users(database, number, bad=set(range(number)))
        operator = sync(max_rejects=number)
        tracemalloc.start()
        operator.execute(Task().context)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert database.execute("SELECT COUNT(*), COUNT(DISTINCT row_key) FROM rejects").fetchone()[:] == (
            number,
            number,
        )

    assert peaks[1] < peaks[0] + 1_000_000


@pytest.mark.parametrize("results", [None, RESULTS], ids=["alone", "with a results table"])
def test_a_failed_run_leaves_its_counts_as_an_xcom(
    connected: MoEngage, database: sqlite3.Connection, results: ResultsTable | None
) -> None:
    users(database, 100, bad={7, 8})
    task = Task()

    with pytest.raises(MoEngageError):
        sync(results=results).execute(task.context)

    report = task.xcom.pop("moengage_report")
    assert (report["accepted"], report["rejected"]) == (98, 2)
    assert report["rejects"] == {"customer_id_missing": 2}
    assert task.xcom == {}
    sync(results=results, max_rejects=2).execute(task.context)
    assert task.xcom == {}


def test_a_run_that_moengage_ended_leaves_what_it_has_counted(connected: MoEngage) -> None:
    task = Task()
    connected.emulator.workspace.add_fault(Fault(kind="status", status=401, times=None))

    with pytest.raises(MoEngageError):
        send([customer("ann")], results=None).execute(task.context)

    assert task.xcom["moengage_report"]["accepted"] == 0


def test_counts_that_cannot_be_pushed_hide_no_error(
    connected: MoEngage, logged: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    context = Task().context
    del context["ti"].xcom_push

    with pytest.raises(MoEngageRejectsError):
        send([customer("")], results=None).execute(context)

    assert "could not be stored as XCom moengage_report (AttributeError)" in logged()
    caplog.clear()
    with pytest.raises(ValueError, match="max_rejects"):
        send([customer("ann")], results=None, max_rejects="{{ 1 }}").execute(context)
    assert "moengage_report" not in logged()
