"""File imports in a complete Airflow, controlled through its REST API: the example Dag and other waits."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_moengage.emulator import Emulator, FileImport, ImportFile
from devtools.standalone_airflow import Standalone, until

EXAMPLE = "file_import_with_wait"


@pytest.fixture(autouse=True)
def _fresh(emulator: Emulator) -> None:
    emulator.workspace.reset()
    emulator.workspace.configure(file_cooldown_seconds=300)


def add_import(
    emulator: Emulator, import_id: str, status: str = "SUCCESSFUL", after: float = 8, **rows: Any
) -> None:
    steps = ((0, "QUEUED"), (after / 2, "PROCESSING"), (after, status))
    file = ImportFile("users_{run}.csv", steps=steps, **rows)
    emulator.workspace.add_file_import(FileImport(import_id, f"Import {import_id}", (file,)))


def triggers(emulator: Emulator, import_id: str) -> int:
    return sum(trigger.import_id == import_id for trigger in emulator.workspace.file_triggers)


def test_the_example_succeeds_fails_or_accepts_a_partial_success(airflow: Standalone, emulator: Emulator) -> None:
    add_import(emulator, "good", total_rows=40)
    add_import(emulator, "bad", "FAILED", status_msg="No column user_id")
    add_import(emulator, "partial", "PARTIAL_SUCCESS", total_rows=40, failed_rows=7)
    add_import(emulator, "too_partial", "PARTIAL_SUCCESS", total_rows=400, failed_rows=101)
    runs = {name: airflow.trigger(EXAMPLE, import_id=name) for name in ("good", "bad", "partial", "too_partial")}

    for name in runs:
        airflow.until_task(EXAMPLE, runs[name], "wait", "deferred")
    for name in ("good", "partial"):
        airflow.until_task(EXAMPLE, runs[name], "count_rows", "success")
    for name in ("bad", "too_partial"):
        airflow.until_task(EXAMPLE, runs[name], "wait", "failed")
        airflow.until_task(EXAMPLE, runs[name], "count_rows", "upstream_failed")

    assert airflow.xcom(EXAMPLE, runs["good"], "count_rows")["added_rows"] == 40
    assert airflow.xcom(EXAMPLE, runs["partial"], "count_rows")["failed_rows"] == 7
    log = airflow.log(EXAMPLE)
    assert "No column user_id" in log
    assert "101 rows failed, more than max_failed_rows=100 allows" in log
    assert "emulator-data-key" not in log
    assert all(triggers(emulator, name) == 1 for name in runs)


def test_mark_failed_while_deferred_ends_the_wait_and_a_clear_resumes_it(
    airflow: Standalone, emulator: Emulator
) -> None:
    add_import(emulator, "users", after=40)
    run = airflow.trigger(EXAMPLE, import_id="users")
    airflow.until_task(EXAMPLE, run, "wait", "deferred")
    until(lambda: f"{EXAMPLE}/{run}/wait" in airflow.log(EXAMPLE), "the trigger to start")

    airflow.mark_failed(EXAMPLE, run, "wait")
    airflow.until_task(EXAMPLE, run, "wait", "failed")
    until(
        lambda: "MoEngage cannot cancel an import" in airflow.log(EXAMPLE),
        "the trigger to log it",
        lambda: airflow.log(EXAMPLE),
    )
    requests = len(emulator.workspace.requests)
    airflow.clear(EXAMPLE, run, "wait")
    airflow.until_task(EXAMPLE, run, "wait", "success")

    assert len(emulator.workspace.requests) > requests
    assert triggers(emulator, "users") == 1


def test_a_clear_of_the_whole_run_triggers_again(airflow: Standalone, emulator: Emulator) -> None:
    emulator.workspace.configure(file_cooldown_seconds=0)
    add_import(emulator, "again", after=1)
    run = airflow.trigger(EXAMPLE, import_id="again")
    airflow.until_task(EXAMPLE, run, "count_rows", "success")

    airflow.clear(EXAMPLE, run, "trigger")
    until(lambda: triggers(emulator, "again") == 2, "the second trigger", lambda: airflow.log(EXAMPLE))
    airflow.until_task(EXAMPLE, run, "trigger", "success")

    assert len(airflow.xcom(EXAMPLE, run, "trigger")["baseline"]) == 1, "the file of the first run"


def test_timeouts_end_a_deferred_wait(airflow: Standalone, emulator: Emulator) -> None:
    add_import(emulator, "never", after=10**6)
    emulator.workspace.run_file_import("never")
    run = airflow.trigger("times_out")

    sensor = airflow.until_task("times_out", run, "sensor", "failed")
    airflow.until_task("times_out", run, "soft", "skipped")
    airflow.until_task("times_out", run, "execution", "failed")

    assert sensor["try_number"] == 1, "a sensor's timeout is not retried"
    log = airflow.log("times_out")
    assert "did not finish within the timeout of 20 s" in log
    assert "reached its execution_timeout while it was deferred" in log


def test_a_wait_survives_the_loss_of_its_triggerer(airflow: Standalone, emulator: Emulator) -> None:
    add_import(emulator, "slow", after=60)
    run = airflow.trigger("one_task")
    airflow.until_task("one_task", run, "import", "deferred")

    airflow.restart_triggerer()
    task = airflow.until_task("one_task", run, "import", "success")

    assert task["try_number"] == 1
    assert triggers(emulator, "slow") == 1
    assert [file["file_name"] for file in airflow.xcom("one_task", run, "import")["files"]] == ["users_1.csv"]


def test_each_finished_file_is_an_asset_event_also_after_a_restart_of_the_triggerer(
    airflow: Standalone, emulator: Emulator
) -> None:
    polled = len(emulator.workspace.requests)
    until(
        lambda: sum("history" in each.path for each in emulator.workspace.requests[polled:]) > 2,
        "the watcher to poll",
        lambda: airflow.log("by_asset"),
    )

    def reported() -> list[str]:
        events = airflow.call("GET", "/assets/events", params={"source_dag_id": None, "limit": 100})[
            "asset_events"
        ]
        return sorted(event["extra"]["payload"]["file_name"] for event in events)

    emulator.workspace.run_file_import("watched")
    until(lambda: reported() == ["users_1.csv"], "the first event", lambda: str(reported()))
    until(lambda: len(airflow.runs("by_asset")) == 1, "the Dag to run")
    [run] = airflow.runs("by_asset")
    airflow.until_task("by_asset", run, "look", "success")
    assert airflow.xcom("by_asset", run, "look") == ["users_1.csv"]

    airflow.restart_triggerer()
    emulator.workspace.run_file_import("watched")
    emulator.workspace.run_file_import("watched")
    until(lambda: len(reported()) >= 3, "the files that arrived during the restart", lambda: str(reported()))

    assert reported() == ["users_1.csv", "users_2.csv", "users_3.csv"]
    until(lambda: len(airflow.runs("by_asset")) >= 2, "the Dag to run again")
    assert "asset state store failed" not in airflow.log("by_asset")
