"""``execution_timeout`` over the whole try of a task that defers, and how short a deferral may be."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, TaskDeferred

from airflow_provider_moengage.emulator import BusinessEvent, Fault, FileImport, ImportFile
from airflow_provider_moengage.exceptions import MoEngageRateLimitError
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from airflow_provider_moengage.tasks.wait_until import LEAST_DEFERRAL, resume
from tests.delivering import MoEngage
from tests.task import Task

LIMIT = timedelta(seconds=20)


@pytest.fixture(autouse=True)
def _used_up(connected: MoEngage) -> None:
    """A quota that is used up, and an import in its cooldown."""
    workspace = connected.emulator.workspace
    workspace.add_business_event(BusinessEvent("New movie", attributes=None, campaigns=("c",)))
    workspace.add_fault(Fault("status", status=429, path="/v1.0/business_event", times=1))
    workspace.clear_file_imports()
    file = ImportFile("users_{run}.csv", steps=((0, "QUEUED"), (200, "SUCCESSFUL")))
    workspace.add_file_import(FileImport("users", "Users", (file,)))
    workspace.run_file_import("users")


def event(**options: Any) -> Any:
    return BusinessEventOperator(task_id="task", event_name="New movie", **options)


def cooling(**options: Any) -> Any:
    return TriggerFileImportOperator(task_id="task", import_id="users", deferrable=True, **options)


def sensor(**options: Any) -> Any:
    return FileImportRunSensor(task_id="task", import_id="users", deferrable=True, **options)


def deferred(operator: Any, task: Task) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(task.context)
    return caught.value


def continued(operator: Any, waiting: TaskDeferred, task: Task) -> Any:
    return getattr(operator, waiting.method_name)(task.context, **(waiting.kwargs or {}))


def started(ago: timedelta) -> Task:
    task = Task()
    task.start_date = datetime.now(UTC) - ago
    return task


def counts(moengage: MoEngage) -> tuple[int, int]:
    counts = moengage.emulator.workspace.counts
    return counts.firings, counts.file_triggers


@pytest.mark.parametrize("make", [event, cooling], ids=["an event", "an import"])
def test_a_deferral_ends_at_the_execution_timeout_and_sends_nothing_after(make: Any, connected: MoEngage) -> None:
    task = started(timedelta(seconds=5))
    operator = make(execution_timeout=LIMIT)

    waiting = deferred(operator, task)
    _, arguments = waiting.trigger.serialize()
    assert arguments["moment"] == task.start_date + LIMIT
    assert waiting.timeout is not None
    assert waiting.timeout <= LIMIT + timedelta(minutes=5)

    task.start_date -= LIMIT
    connected.clock.wait(threading.Event(), 301)
    with pytest.raises(AirflowTaskTimeout, match="has reached its execution_timeout while it"):
        continued(operator, waiting, task)

    assert counts(connected) == (0, 0)


@pytest.mark.parametrize("make", [event, cooling], ids=["an event", "an import"])
def test_a_task_that_resumes_within_the_execution_timeout_sends(make: Any, connected: MoEngage) -> None:
    task = started(timedelta(seconds=5))
    operator = make(execution_timeout=timedelta(hours=1))

    waiting = deferred(operator, task)
    connected.clock.wait(threading.Event(), 301)
    continued(operator, waiting, task)

    assert sum(counts(connected)) == 1


@pytest.mark.parametrize("make", [event, cooling, sensor], ids=["an event", "an import", "a sensor"])
def test_airflow_ends_each_deferral_even_if_no_triggerer_does(make: Any) -> None:
    assert deferred(make(), started(timedelta(0))).timeout is not None


def test_a_task_that_resumes_after_its_own_timeout_sends_nothing(connected: MoEngage) -> None:
    for operator, message in (
        (event(quota_timeout=timedelta(hours=1)), "did not reopen within quota_timeout"),
        (cooling(timeout=timedelta(hours=1)), "the cooldown did not end within the timeout"),
    ):
        task = started(timedelta(0))
        waiting = deferred(operator, task)
        kwargs = {**(waiting.kwargs or {}), "give_up_at": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()}
        with pytest.raises(MoEngageRateLimitError, match=message):
            getattr(operator, waiting.method_name)(task.context, **kwargs)

    assert counts(connected) == (0, 0)


@pytest.mark.parametrize("make", [event, cooling], ids=["an event", "an import"])
def test_no_deferral_is_so_short_that_airflow_might_miss_it(make: Any) -> None:
    waiting = deferred(make(execution_timeout=LIMIT), started(LIMIT - timedelta(seconds=1)))

    _, arguments = waiting.trigger.serialize()
    assert arguments["moment"] - datetime.now(UTC) > LEAST_DEFERRAL - timedelta(seconds=2)


def test_a_wait_for_files_is_no_shorter_either() -> None:
    _, arguments = deferred(sensor(poke_interval=0.1, timeout=1), started(timedelta(0))).trigger.serialize()

    assert arguments["least_seconds"] == LEAST_DEFERRAL.total_seconds()


def test_airflows_timer_which_counts_from_the_resume_is_shortened() -> None:
    """Airflow 3 sets it to the whole execution_timeout again."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, LIMIT.total_seconds())
    try:
        now = datetime.now(UTC)
        context = {"ti": SimpleNamespace(start_date=now - timedelta(seconds=15))}
        resume(SimpleNamespace(execution_timeout=LIMIT), context, now)

        assert 4 < signal.getitimer(signal.ITIMER_REAL)[0] <= 5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
