"""A bulk task in a complete Airflow: marked as failed, with its counts, and resumed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from airflow_provider_moengage.emulator import Emulator, Fault
from devtools.standalone_airflow import Standalone, until

A_BATCH = 25
"""The most elements of 4,000 bytes that a request body can contain."""


def arrived(emulator: Emulator) -> list[int]:
    """Return the numbers of the customers; other Dags send other elements."""
    elements = [received.element for received in emulator.workspace.elements]
    return [element["attributes"]["number"] for element in elements if element["type"] == "customer"]


def test_a_sync_marked_failed_stops_and_a_clear_resumes_it(
    airflow: Standalone, emulator: Emulator, tmp_path: Path
) -> None:
    workspace = emulator.workspace
    workspace.reset()
    workspace.add_fault(Fault(kind="slow", seconds=2, times=None))
    connection = {"connection_id": "generated", "conn_type": "sqlite", "host": str(tmp_path / "generated.db")}
    airflow.call("POST", "/connections", json=connection)
    run_id = airflow.trigger("long_sync")
    log = partial(airflow.log, "long_sync")
    until(lambda: len(arrived(emulator)) >= 2 * A_BATCH, "the first customers to arrive", log)

    airflow.mark_failed("long_sync", run_id, "sync")
    until(lambda: "The run was stopped" in airflow.log("long_sync"), "the sync to stop", log)
    when_stopped = len(arrived(emulator))
    counts = airflow.xcom("long_sync", run_id, "sync", "moengage_report")
    workspace.clear_faults()
    airflow.clear("long_sync", run_id, "sync")
    airflow.until_task("long_sync", run_id, "sync", "success")

    report = airflow.xcom("long_sync", run_id, "sync")
    numbers = arrived(emulator)
    assert when_stopped < 400
    assert 0 < counts["accepted"] <= when_stopped
    assert (report["accepted"], report["rejected"], report["resumed"]) == (400, 0, True)
    assert sorted(set(numbers)) == list(range(1, 401))
    assert len(numbers) <= 400 + 2 * A_BATCH
    assert "Resuming from an earlier try" in log()
    assert "user 1" not in log()
