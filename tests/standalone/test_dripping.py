"""A triggerer that waits on servers that drip: nobody else's wait is held up, and theirs go on."""

from __future__ import annotations

from functools import partial

from airflow_provider_moengage.emulator import Emulator, FileImport, ImportFile
from devtools.standalone_airflow import Standalone, until
from tests.standalone.dripping import DrippingServers


def test_servers_that_drip_hold_up_neither_a_healthy_workspace_nor_another_provider(
    airflow: Standalone, emulator: Emulator, dripping: DrippingServers
) -> None:
    file = ImportFile("users_{run}.csv", steps=((0, "SUCCESSFUL"),))
    emulator.workspace.reset()
    emulator.workspace.add_file_import(FileImport("healthy", "Healthy", (file,)))
    number = len(dripping.urls)
    waits = airflow.trigger("dripping")
    until(
        lambda: airflow.mapped_states("dripping", waits, "wait") == ["deferred"] * number,
        "each wait to be deferred",
        partial(airflow.log, "dripping"),
    )

    dripping.drip()
    until(lambda: dripping.under_way == number, "each server to drip", partial(airflow.log, "dripping"))
    run = airflow.trigger("beside_dripping")
    airflow.until_task("beside_dripping", run, "healthy", "deferred")
    emulator.workspace.run_file_import("healthy")
    for task in ("healthy", "time", "query", "thread"):
        airflow.until_task("beside_dripping", run, task, "success")

    assert dripping.under_way == number, "each still drips"
    assert airflow.mapped_states("dripping", waits, "wait") == ["deferred"] * number
    assert [file["file_name"] for file in airflow.xcom("beside_dripping", run, "healthy")] == ["users_1.csv"]
    assert "7" in airflow.xcom("beside_dripping", run, "query")
    assert "moengage" not in airflow.xcom("beside_dripping", run, "thread")

    dripping.end()
    until(
        lambda: airflow.mapped_states("dripping", waits, "wait") == ["success"] * number,
        "each wait to end",
        partial(airflow.log, "dripping"),
    )
