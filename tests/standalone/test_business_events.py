"""Business events in a complete Airflow, controlled through its REST API."""

from __future__ import annotations

import os
import signal
from functools import partial

import psutil
import pytest

from airflow_provider_moengage.emulator import BusinessEvent, Emulator, Fault
from devtools.standalone_airflow import Standalone, until

QUOTA_SECONDS = 20
NAMES = ("New movie", "Task succeeded", "Task failed")


@pytest.fixture(autouse=True)
def _fresh(emulator: Emulator) -> None:
    emulator.workspace.reset()
    emulator.workspace.configure(v1_trigger_quota=(), v5_campaign_quota=(), retry_after="none")
    for name in NAMES:
        emulator.workspace.add_business_event(BusinessEvent(name, attributes=None, campaigns=("c",)))


def triggers(emulator: Emulator, name: str) -> int:
    return sum(firing.event_name == name for firing in emulator.workspace.firings)


def test_an_event_is_triggered_and_notifiers_report_success_and_failure(
    airflow: Standalone, emulator: Emulator
) -> None:
    run = airflow.trigger("notified")

    airflow.until_task("notified", run, "fire", "success")
    airflow.until_task("notified", run, "fail", "failed")
    log = partial(airflow.log, "notified")
    until(lambda: triggers(emulator, "Task succeeded") == 1, "the success notifier", log)
    until(lambda: triggers(emulator, "Task failed") == 1, "the failure notifier", log)

    assert triggers(emulator, "New movie") == 1
    assert {tuple(firing.event_attributes.items()) for firing in emulator.workspace.firings} == {
        (),
        (("task", "fire"),),
        (("task", "fail"),),
    }


def test_a_used_up_quota_frees_the_slot_until_it_reopens(airflow: Standalone, emulator: Emulator) -> None:
    emulator.workspace.configure(v1_trigger_quota=((1, QUOTA_SECONDS),), retry_after="seconds")
    run = airflow.trigger("quota")

    airflow.until_task("quota", run, "first", "success")
    airflow.until_task("quota", run, "second", "deferred", "success")
    assert triggers(emulator, "New movie") == 1
    airflow.until_task("quota", run, "second", "success")

    first, second = (firing.received_at for firing in emulator.workspace.firings)
    assert second - first >= QUOTA_SECONDS
    assert triggers(emulator, "New movie") == 2


def test_after_a_kill_during_the_request_the_retry_reports_an_unknown_outcome(
    airflow: Standalone, emulator: Emulator
) -> None:
    emulator.workspace.add_fault(Fault("slow", seconds=60, path="/v1.0/business_event"))
    run = airflow.trigger("killed")
    port = int(emulator.url.rpartition(":")[2])
    waiting: list[psutil.Process] = []

    def is_waiting() -> bool:
        waiting[:] = [process for process in descendants(airflow) if is_connected(process, port)]
        return bool(waiting) and emulator.workspace.faults == ()

    until(is_waiting, "a task process that waits for the response")
    for process in waiting:
        os.kill(process.pid, signal.SIGKILL)

    task = airflow.until_task("killed", run, "fire", "failed")
    assert task["try_number"] == 2, "no further retry"
    assert "an earlier try of this task ended while it was sending the request" in airflow.log("killed")
    assert triggers(emulator, "New movie") <= 1

    airflow.clear("killed", run, "fire")
    airflow.until_task("killed", run, "fire", "success")
    assert triggers(emulator, "New movie") <= 2, "a Clear triggers once more"


def descendants(airflow: Standalone) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(airflow.processes[0].pid).children(recursive=True)
    return found


def is_connected(process: psutil.Process, port: int) -> bool:
    try:
        if "triggerer" in " ".join(process.cmdline()):
            return False  # it polls file imports
        return any(one.raddr and one.raddr.port == port for one in process.net_connections("tcp"))
    except psutil.Error:
        return False
