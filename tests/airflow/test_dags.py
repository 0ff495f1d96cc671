"""Dags in a real Airflow: templates, XComs, mapping, failures, and the content of the metadata database."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.emulator import Emulator, FileImport, ImportFile, Settings
from devtools.standalone_airflow import as_connection
from tests.airflow.home import Airflow

HERE = Path(__file__).parent
A_BATCH = 25
"""The most elements of 4,000 bytes that a request body can contain."""
IMPORTS = {"users": "SUCCESSFUL", "one": "SUCCESSFUL", "two": "SUCCESSFUL", "bad": "FAILED"}


@dataclass
class Run:
    """The results of a Dag run."""

    states: dict[str, list[str]]
    reports: dict[str, Any]
    log: str
    folder: Path
    emulator: Emulator
    airflow: Airflow


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    home = tmp_path_factory.mktemp("airflow")
    warehouse = home / "warehouse.db"
    with sqlite3.connect(warehouse) as database:
        database.executescript(
            """
            CREATE TABLE users (user_id TEXT);
            INSERT INTO users VALUES ('user-1'), ('user-2');
            CREATE TABLE customers (user_id TEXT, email TEXT, tier TEXT);
            WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 1000)
            INSERT INTO customers SELECT 'user-' || n, 'user-' || n || '@example.com', 'gold' FROM numbers;
            CREATE TABLE members (user_id TEXT, tier TEXT);
            WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 100)
            INSERT INTO members SELECT 'user-' || n, 'gold' FROM numbers;
            CREATE TABLE orders (user_id TEXT, at TEXT, total REAL, shop TEXT);
            INSERT INTO orders VALUES ('user-1', '2026-01-01 10:00:00', 1, 'north'),
                ('user-2', '2026-01-02 10:00:00', 2, 'south'), ('user-2', '2026-01-03 10:00:00', 3, 'south');
            """
        )
    database.close()
    return Airflow.new(
        home,
        HERE / "dags",
        AIRFLOW_CONN_WAREHOUSE=json.dumps({"conn_type": "sqlite", "host": str(warehouse)}),
        MOENGAGE_TEST_FOLDER=str(home),
        PYTHONPATH=str(HERE / "dags"),
    )


@pytest.fixture(scope="module")
def command(airflow: Airflow) -> Iterator[Callable[..., str]]:
    with airflow.kept_running() as command:
        yield command


def connect(airflow: Airflow, emulator: Emulator) -> None:
    airflow.environment["AIRFLOW_CONN_MOENGAGE_DEFAULT"] = as_connection(
        login="EMULATOR", password="emulator-data-key", host=emulator.url
    )


def run_dag(airflow: Airflow, command: Callable[..., str], dag_id: str) -> Iterator[Run]:
    with Emulator(Settings(keep_elements=None)) as emulator:
        for import_id, status in IMPORTS.items():
            files = [
                ImportFile(f"users_{part}_{{run}}.csv", steps=((0, "QUEUED"), (0.5, status)))
                for part in ("a", "b")
            ]
            emulator.workspace.add_file_import(FileImport(import_id, import_id.title(), tuple(files)))
        emulator.workspace.run_file_import("bad")
        connect(airflow, emulator)
        log = command("dags", "test", dag_id)
        results = airflow.home / "reports.json"
        assert results.exists(), log
        reports = json.loads(results.read_text())
        yield Run(airflow.states(dag_id), reports, log, airflow.home, emulator, airflow)


@pytest.fixture(scope="module")
def bulk(airflow: Airflow, command: Callable[..., str]) -> Iterator[Run]:
    yield from run_dag(airflow, command, "bulk")


@pytest.fixture(scope="module")
def sync(airflow: Airflow, command: Callable[..., str]) -> Iterator[Run]:
    yield from run_dag(airflow, command, "sync")


@pytest.fixture(scope="module")
def imports(airflow: Airflow, command: Callable[..., str]) -> Iterator[Run]:
    yield from run_dag(airflow, command, "imports")


def arrived(run: Run) -> list[str]:
    return [received.element["customer_id"] for received in run.emulator.workspace.elements]


def test_every_way_to_pass_elements_works_in_a_dag(bulk: Run) -> None:
    states = {name: set(states) for name, states in bulk.states.items()}

    assert {name for name, state in states.items() if state != {"success"}} == {"rejected"}
    users = arrived(bulk)
    assert {"literal-1", "literal-2", "streamed-0", "streamed-999", "file-one", "file-two", "good"} <= set(users)
    assert users.count("made-3-0") == 2, "once through .output and once through a template"


def test_reports_are_the_xcoms(bulk: Run) -> None:
    reports = bulk.reports

    assert reports["literal"]["accepted"] == 2
    assert (reports["streamed"]["accepted"], reports["made"]["accepted"], reports["rendered"]["accepted"]) == (
        1000,
        3,
        3,
    )
    assert [report["accepted"] for report in reports["mapped"]] == [1, 2]
    assert [report["accepted"] for report in reports["files"]] == [1, 1]
    assert reports["decorated"]["accepted"] == 4
    assert [report["accepted"] for report in reports["decorated_and_mapped"]] == [1, 2]


def test_a_decorated_function_gets_its_arguments_and_the_context(bulk: Run) -> None:
    users = set(arrived(bulk))

    assert len({user for user in users if re.fullmatch(r"decorated-made-4-[0-3]-\d{4}-\d\d-\d\d-2", user)}) == 4
    assert {"each-2-mapped-1", "each-2-mapped-2", "each-2-{{ not_a_template }}"} <= users


def test_the_output_of_another_task_is_never_rendered_as_a_template(bulk: Run) -> None:
    assert "{{ not_a_template }}" in arrived(bulk)


def test_too_many_rejects_fail_the_task_after_valid_elements_were_sent(bulk: Run) -> None:
    assert bulk.states["rejected"] == ["failed"]
    assert "1 element rejected (1 customer_id_refused), more than max_rejects=0 allows" in bulk.log
    [file] = (bulk.folder / "rejects").iterdir()
    assert json.loads(file.read_text())["codes"] == ["customer_id_refused"]


def test_a_failed_task_leaves_its_counts_as_an_xcom(bulk: Run) -> None:
    report = bulk.airflow.xcom("bulk", "rejected", "moengage_report")

    assert (report["accepted"], report["rejected"]) == (1, 1)
    assert report["rejects"] == {"customer_id_refused": 1}
    assert bulk.airflow.xcom("bulk", "literal", "moengage_report") is None


@pytest.mark.parametrize(
    ("dag_id", "ended_by"),
    [
        ("timed_out", r"ended early \(AirflowTaskTimeout\)"),
        ("terminated", r"ended early \((StoppedError|AirflowTaskTerminated)\)"),
    ],
)
def test_a_task_that_was_ended_leaves_its_counts_as_an_xcom(
    airflow: Airflow, command: Callable[..., str], dag_id: str, ended_by: str
) -> None:
    with Emulator(Settings()) as emulator:
        connect(airflow, emulator)
        log = command("dags", "test", dag_id)
    report = airflow.xcom(dag_id, "sync", "moengage_report")

    assert re.search(ended_by, log), log
    assert 0 <= emulator.workspace.counts.elements - report["accepted"] <= A_BATCH, "but for one request in flight"
    assert report["rejects"] == {"customer_id_refused": report["rejected"]}


def test_elements_are_not_in_log_or_database(bulk: Run) -> None:
    assert "hidden-value" not in bulk.log
    assert b"hidden-value" not in bulk.airflow.database
    assert "emulator-data-key" not in bulk.log


def test_a_sync_reads_its_sql_file_and_maps_over_parameters(sync: Run) -> None:
    assert {state for states in sync.states.values() for state in states} == {"success"}
    assert sync.reports["customers"]["customers"] == 2
    assert [(report["events"], report["customers"]) for report in sync.reports["orders"]] == [(1, 1), (2, 2)]


def test_events_of_a_sync_are_on_their_own_days(sync: Run) -> None:
    days = {day: count for (_, day), count in sync.emulator.workspace.counts.events_by_day.items()}

    assert days == {"2026-01-01": 1, "2026-01-02": 1, "2026-01-03": 1}


def test_rows_of_a_sync_are_not_in_log_or_database(sync: Run) -> None:
    assert "hidden-value" not in sync.log
    assert b"hidden-value" not in sync.airflow.database
    assert "2 elements accepted by MoEngage" in sync.log


def test_shards_of_changed_rows_send_what_changed_and_remove_who_left(
    airflow: Airflow, command: Callable[..., str]
) -> None:
    for first in run_dag(airflow, command, "shards"):
        assert sorted(arrived(first)) == sorted(f"user-{n}" for n in range(1, 101))
        with sqlite3.connect(airflow.home / "warehouse.db") as database:
            database.execute("UPDATE members SET tier = 'silver' WHERE user_id = 'user-42'")
            database.execute("DELETE FROM members WHERE user_id = 'user-7'")
        database.close()

        command("dags", "test", "shards", "2030-01-01")

        assert arrived(first)[100:] == ["user-42"]
        assert first.emulator.workspace.deleted_users == ["user-7"]
        reports = json.loads((airflow.home / "reports.json").read_text())
        assert sum(report["unchanged"] for report in reports) == 98
        assert sum(report["removed"] for report in reports) == 1


def test_tasks_wait_for_file_imports_in_every_mode(imports: Run) -> None:
    states = {name: set(states) for name, states in imports.states.items()}

    assert states.pop("failed") == {"failed"}, imports.log
    assert states.pop("skipped") == {"skipped"}
    assert set.union(*states.values()) == {"success"}, states
    triggered = [trigger.import_id for trigger in imports.emulator.workspace.file_triggers]
    assert sorted(triggered) == ["one", "two", "users"]
    for name in ("deferred", "poked", "templated", "from_text"):
        files = [file["file_name"] for file in imports.reports[name]]
        assert files == ["users_a_1.csv", "users_b_1.csv"], name
    waited = [(run["import_id"], len(run["files"])) for run in imports.reports["waited"]]
    assert waited == [("one", 2), ("two", 2)]
    assert "emulator-data-key" not in imports.log
    assert b"emulator-data-key" not in imports.airflow.database


def test_a_development_run_moves_no_watermark_unless_told(airflow: Airflow, command: Callable[..., str]) -> None:
    def day(date: str, *, moves: bool = False) -> tuple[dict[str, int], str]:
        """Run one day; return how many orders and customers of each shop it sends, and the log."""
        airflow.environment["AIRFLOW__MOENGAGE__DEVELOPMENT_RUNS_MOVE_WATERMARK"] = str(moves)
        with Emulator(Settings(keep_elements=None)) as emulator:
            connection = {"conn_type": "moengage", "login": "EMULATOR", "password": "emulator-data-key"}
            airflow.environment["AIRFLOW_CONN_MOENGAGE_DEFAULT"] = json.dumps({**connection, "host": emulator.url})
            log = command("dags", "test", "incremental", date)
            elements = [received.element for received in emulator.workspace.elements]
        kinds = [element["type"] for element in elements]
        return {"orders": kinds.count("event"), "customers": kinds.count("customer")}, log

    keeps_watermarks = find_spec("airflow.models.asset_state_store") is not None
    for _ in range(2):
        first, log = day("2026-01-02")
        assert first == {"orders": 1, "customers": 1}, log
        assert ("development run, so the watermark stays" in log) == keeps_watermarks
    first, log = day("2026-01-02", moves=True)
    assert first == {"orders": 1, "customers": 1}, log
    assert "development run" not in log
    later, log = day("2026-01-04", moves=True)

    missed = 1 if keeps_watermarks else 0  # the run of 2026-01-03
    assert later == {"orders": 1 + missed, "customers": 1 + missed}, log
    window = ("2026-01-02" if missed else "2026-01-03") + " 00:00:00+00:00", "2026-01-04 00:00:00+00:00"
    shown = "at >= '{}' AND at < '{}'".format(*window)
    assert shown.encode() in airflow.database, "the UI shows the query that ran"
    assert json.dumps(["south", *window]).encode() in airflow.database

    rendered = command("tasks", "render", "incremental", "orders", "2026-01-05")
    assert "at >= '2026-01-04 00:00:00+00:00' AND at < '2026-01-05 00:00:00+00:00'" in rendered


def test_a_persons_command_shows_moves_and_forgets_a_watermark(
    airflow: Airflow, command: Callable[..., str]
) -> None:
    def watermark(*argv: str, exits_with: int = 0) -> str:
        return airflow.run("-m", "airflow_provider_moengage.command", "watermark", *argv, exits_with=exits_with)

    task = ("incremental", "orders")
    if find_spec("airflow.models.asset_state_store") is None:
        assert "stores no watermark" in watermark("show", *task, exits_with=2)
        return
    airflow.environment["AIRFLOW__MOENGAGE__DEVELOPMENT_RUNS_MOVE_WATERMARK"] = "True"
    with Emulator() as emulator:
        connection = {"conn_type": "moengage", "login": "EMULATOR", "password": "emulator-data-key"}
        airflow.environment["AIRFLOW_CONN_MOENGAGE_DEFAULT"] = json.dumps({**connection, "host": emulator.url})
        command("dags", "test", "incremental", "2026-01-05")

    assert "2026-01-05T00:00:00+00:00" in watermark("show", *task)
    assert "Add --yes" in watermark("set", *task, "2026-01-03", exits_with=2)
    assert "2026-01-03T00:00:00+00:00" in watermark("set", *task, "2026-01-03", "--yes")
    assert '"watermark": null' in watermark("reset", *task, "--yes", "--json", exits_with=1)
    assert "2026-01-03" not in watermark("show", *task, exits_with=1)
    assert "knows no asset of such a task" in watermark("show", "incremental", "nothing", exits_with=2)
