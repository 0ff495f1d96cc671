"""The metrics of a worker in StatsD, and the link of a task in the REST API."""

from __future__ import annotations

from airflow_provider_moengage.emulator import BusinessEvent, Emulator
from devtools.standalone_airflow import Standalone, until
from tests.statsd import StatsD


def test_a_task_links_to_the_dashboard_and_its_worker_sends_metrics(
    airflow: Standalone, emulator: Emulator, statsd: StatsD
) -> None:
    emulator.workspace.reset()
    emulator.workspace.configure(v1_trigger_quota=(), retry_after="none")
    emulator.workspace.add_business_event(BusinessEvent("New movie", attributes=None, campaigns=("c",)))
    run = airflow.trigger("notified")
    airflow.until_task("notified", run, "fire", "success")

    links = airflow.call("GET", f"/dags/notified/dagRuns/{run}/taskInstances/fire/links")["extra_links"]
    assert links == {"MoEngage dashboard": emulator.url}
    tags = {"conn_id": "moengage_default", "dag_id": "notified", "task_id": "fire"}
    fired = ("moengage.business_event.fired", "1", "c", tags)
    until(lambda: fired in statsd.ours, "the metric", lambda: str(statsd.ours))
