"""TriggerFileImportOperator over real HTTP and in frozen time: one run for one task, whatever happens."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, AirflowTaskTimeout, TaskDeferred

from airflow_provider_moengage.api.file_imports_client import FileImportsClient
from airflow_provider_moengage.emulator import Fault, FileImport, ImportFile
from airflow_provider_moengage.emulator.faults import FaultKind
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageImportFailedError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.tasks import file_import_start as import_call
from tests.delivering import MoEngage
from tests.operators.test_resume import let_this_thread_execute
from tests.task import Baton, Task

TRIGGER = "/v1.0/data/fileimports/trigger"
HISTORY = "/v1.0/data/fileimports/import/run/history"
USERS = "users-import"


def file(name: str = "users_{run}.csv", status: str = "SUCCESSFUL", after: float = 10, **rows: Any) -> ImportFile:
    return ImportFile(name, steps=((0, "QUEUED"), (2, "PROCESSING"), (after, status)), **rows)


@pytest.fixture
def imports(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> Iterator[MoEngage]:
    """An import that has run ten minutes ago."""
    monkeypatch.setattr(import_call, "CLOCK", connected.clock)
    workspace = connected.emulator.workspace
    workspace.clear_file_imports()
    workspace.add_file_import(FileImport(USERS, "Users", (file(),)))
    workspace.run_file_import(USERS)
    pass_time(connected, 600)
    yield connected
    workspace.clear_file_imports()


def pass_time(moengage: MoEngage, seconds: float) -> None:
    moengage.clock.wait(threading.Event(), seconds)


def configure(moengage: MoEngage, *files: ImportFile) -> None:
    moengage.emulator.workspace.add_file_import(FileImport(USERS, "Users", files))


def triggers(moengage: MoEngage) -> int:
    return len(moengage.emulator.workspace.file_triggers)


def operator(**options: Any) -> TriggerFileImportOperator:
    return TriggerFileImportOperator(task_id="import", **{"import_id": USERS, **options})


def execute(task: Task, **options: Any) -> Any:
    return operator(**options).execute(task.context)


def names(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["file_name"], each["file_status"]) for each in result["files"]]


def test_it_returns_what_a_sensor_needs_to_find_the_run(imports: MoEngage) -> None:
    result = execute(Task())

    assert triggers(imports) == 1
    assert set(result) == {"import_id", "triggered_at", "baseline"}
    assert result["import_id"] == USERS
    assert len(result["baseline"]) == 1, "the file of the run before"
    assert datetime.fromisoformat(result["triggered_at"]) == datetime.fromtimestamp(imports.clock.time(), UTC)
    assert json.loads(json.dumps(result)) == result


def test_it_waits_for_its_own_run_and_not_for_the_one_before(imports: MoEngage) -> None:
    result = execute(Task(), wait_for_completion=True)

    assert names(result) == [("users_2.csv", "SUCCESSFUL")]
    assert result["files"][0]["added_rows"] == 100


def test_it_waits_for_each_file_of_the_run(imports: MoEngage) -> None:
    configure(imports, file("a_{run}.csv", after=100), file("b_{run}.csv", after=400))

    result = execute(Task(), wait_for_completion=True)

    assert names(result) == [("a_2.csv", "SUCCESSFUL"), ("b_2.csv", "SUCCESSFUL")]


def test_a_failed_file_fails_with_its_name_its_message_and_its_rows(imports: MoEngage) -> None:
    configure(imports, file(status="FAILED", status_msg="No column user_id", total_rows=1234))

    with pytest.raises(
        MoEngageImportFailedError, match=r"users_2\.csv .*No column user_id.*total 1,234"
    ) as caught:
        execute(Task(), wait_for_completion=True)

    assert [each["file_name"] for each in caught.value.files] == ["users_2.csv"]


@pytest.mark.parametrize("word", ["PARTIAL_SUCCESS", "PARTIAL_FAILURE"])
@pytest.mark.parametrize(
    ("options", "is_success"),
    [
        ({}, False),
        ({"max_failed_rows": 100}, False),
        ({"partial_success": "accept"}, True),
        ({"partial_success": "accept", "max_failed_rows": 7}, True),
        ({"partial_success": "accept", "max_failed_rows": 6}, False),
    ],
)
def test_a_partial_success_is_what_the_task_makes_of_it(
    imports: MoEngage, word: str, options: dict[str, Any], is_success: bool
) -> None:
    configure(imports, file(status=word, failed_rows=7))

    if is_success:
        assert names(execute(Task(), wait_for_completion=True, **options)) == [("users_2.csv", "PARTIAL_SUCCESS")]
        return
    with pytest.raises(MoEngageImportFailedError, match=r"users_2\.csv"):
        execute(Task(), wait_for_completion=True, **options)


@pytest.mark.parametrize("state", ["deleted", "expired"])
def test_an_import_that_is_gone_is_a_clear_error(imports: MoEngage, state: Any) -> None:
    imports.emulator.workspace.add_file_import(FileImport(USERS, "Users", state=state))

    with pytest.raises(MoEngageRequestError, match="deleted or expired, or belongs to another workspace"):
        execute(Task())


def test_an_import_of_another_workspace_is_a_clear_error(imports: MoEngage) -> None:
    with pytest.raises(MoEngageRequestError, match=r"'elsewhere'.*belongs to another workspace"):
        execute(Task(), import_id="elsewhere")


# The cooldown: an import runs once in five minutes.


def test_it_waits_until_the_import_may_run_again(imports: MoEngage) -> None:
    imports.emulator.workspace.run_file_import(USERS)
    began = imports.clock.time()
    pass_time(imports, 100)

    result = execute(Task(), wait_for_completion=True)

    assert names(result) == [("users_3.csv", "SUCCESSFUL")]
    [trigger] = imports.emulator.workspace.file_triggers
    assert 300 <= trigger.received_at - began < 310
    refused = [each for each in imports.emulator.workspace.requests if each.path.startswith(TRIGGER)]
    assert len(refused) == 2, "it asked at once, and again when it made sense"


def test_it_goes_on_waiting_where_somebody_else_is_faster(imports: MoEngage) -> None:
    workspace = imports.emulator.workspace
    workspace.run_file_import(USERS)
    pass_time(imports, 100)
    task = Task()
    with pytest.raises(TaskDeferred) as deferred:
        execute(task, deferrable=True)
    pass_time(imports, 201)
    workspace.run_file_import(USERS)

    with pytest.raises(TaskDeferred) as again:
        resume(task, deferred.value, deferrable=True)
    pass_time(imports, 303)
    result = resume(task, again.value, deferrable=True)

    assert triggers(imports) == 1
    assert len(result["baseline"]) == 3


def test_deferrable_it_frees_the_slot_for_the_cooldown(imports: MoEngage) -> None:
    imports.emulator.workspace.run_file_import(USERS)
    pass_time(imports, 100)
    task = Task()

    with pytest.raises(TaskDeferred) as deferred:
        execute(task, deferrable=True)

    assert deferred.value.trigger.moment.timestamp() == pytest.approx(imports.clock.time() + 202, abs=2)
    assert triggers(imports) == 0
    pass_time(imports, 202)
    assert resume(task, deferred.value, deferrable=True)["import_id"] == USERS
    assert triggers(imports) == 1


def test_a_clock_of_moengages_that_runs_ahead_prolongs_no_cooldown(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = imports.clock

    class Behind:
        """A worker whose clock is five and a half hours behind MoEngage's."""

        wait = staticmethod(clock.wait)

        def time(self) -> float:
            return clock.time() - 5.5 * 3_600

    monkeypatch.setattr(import_call, "CLOCK", Behind())
    imports.emulator.workspace.run_file_import(USERS)

    with pytest.raises(TaskDeferred) as deferred:
        execute(Task(), deferrable=True)

    assert deferred.value.trigger.moment.timestamp() <= Behind().time() + 303


@pytest.mark.parametrize("has_store", [True, False])
def test_a_retry_of_a_try_that_was_refused_triggers(imports: MoEngage, has_store: bool) -> None:
    task = Task(has_store=has_store, began=datetime.fromtimestamp(imports.clock.time() - 1, UTC))
    pass_time(imports, 1)
    imports.emulator.workspace.run_file_import(USERS)
    with pytest.raises(MoEngageRateLimitError):
        execute(task, on_cooldown="fail")
    pass_time(imports, 301)
    task.retry()

    assert names(execute(task, on_cooldown="fail", wait_for_completion=True)) == [("users_3.csv", "SUCCESSFUL")]
    assert triggers(imports) == 1


def test_a_later_run_does_not_decide_about_this_one(imports: MoEngage) -> None:
    task = Task()
    options = {"wait_for_completion": True, "deferrable": True}
    with pytest.raises(TaskDeferred) as deferred:
        execute(task, **options)
    pass_time(imports, 600)
    imports.emulator.workspace.run_file_import(USERS, (file("later.csv", status="FAILED", after=3),))
    pass_time(imports, 60)

    result = resume(task, deferred.value, event=fired(deferred.value, timeout_at=None), **options)

    assert names(result) == [("users_2.csv", "SUCCESSFUL")]


def test_an_execution_timeout_is_honoured_while_it_waits_for_the_cooldown(imports: MoEngage) -> None:
    imports.emulator.workspace.run_file_import(USERS)
    task = Task()
    task.start_date = datetime.fromtimestamp(imports.clock.time(), UTC)
    options = {"deferrable": True, "execution_timeout": timedelta(seconds=100)}
    with pytest.raises(TaskDeferred) as deferred:
        execute(task, **options)
    assert deferred.value.trigger.moment.timestamp() == pytest.approx(imports.clock.time() + 100)
    pass_time(imports, 100)

    with pytest.raises(AirflowTaskTimeout, match="waited for the cooldown"):
        resume(task, deferred.value, **options)

    assert triggers(imports) == 0


def test_on_cooldown_fail_leaves_it_to_airflows_retries(imports: MoEngage) -> None:
    imports.emulator.workspace.run_file_import(USERS)
    task = Task()

    with pytest.raises(MoEngageRateLimitError, match="once in five minutes; it was not triggered") as caught:
        execute(task, on_cooldown="fail")

    assert caught.value.retry_after == 300
    pass_time(imports, 301)
    task.retry()
    execute(task, on_cooldown="fail")
    assert triggers(imports) == 1


def test_on_cooldown_skip_skips(imports: MoEngage) -> None:
    imports.emulator.workspace.run_file_import(USERS)

    with pytest.raises(AirflowSkipException, match="once in five minutes"):
        execute(Task(), on_cooldown="skip")


def test_a_cooldown_that_outlasts_the_timeout_fails(imports: MoEngage) -> None:
    imports.emulator.workspace.run_file_import(USERS)

    with pytest.raises(MoEngageRateLimitError, match="within the timeout of 60 s"):
        execute(Task(), timeout=60)


# Calls without an answer: the import may have been triggered.


@pytest.mark.parametrize("fault", ["status_after", "cut_after"])
def test_a_call_without_an_answer_is_one_run(imports: MoEngage, fault: FaultKind) -> None:
    imports.emulator.workspace.add_fault(Fault(fault, status=502, path=TRIGGER))

    result = execute(Task(), wait_for_completion=True)

    assert triggers(imports) == 1
    assert names(result) == [("users_2.csv", "SUCCESSFUL")]


@pytest.mark.parametrize("fault", ["status", "cut_before"])
def test_a_call_that_had_no_effect_is_made_again(imports: MoEngage, fault: FaultKind) -> None:
    imports.emulator.workspace.add_fault(Fault(fault, status=503, path=TRIGGER))

    result = execute(Task(), wait_for_completion=True)

    assert triggers(imports) == 1
    assert names(result) == [("users_2.csv", "SUCCESSFUL")]


@pytest.mark.parametrize("hours", [-7, -0.1, 300 / 3_600, 0.5, 7])
def test_a_lost_call_in_the_cooldown_is_not_taken_for_a_run_whatever_the_workers_clock_says(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    clock = imports.clock

    class Wrong:
        wait = staticmethod(clock.wait)

        def time(self) -> float:
            return clock.time() + hours * 3_600

    monkeypatch.setattr(import_call, "CLOCK", Wrong())
    imports.emulator.workspace.run_file_import(USERS)
    pass_time(imports, 60)
    imports.emulator.workspace.add_fault(Fault("cut_before", path=TRIGGER))

    with pytest.raises(TaskDeferred) as deferred:
        execute(Task(), deferrable=True)

    assert triggers(imports) == 0
    assert deferred.value.trigger.moment.timestamp() - Wrong().time() == pytest.approx(237, abs=10)


def test_a_lost_answer_that_was_a_refusal_is_not_taken_for_a_run(imports: MoEngage) -> None:
    imports.emulator.workspace.run_file_import(USERS)
    pass_time(imports, 100)
    imports.emulator.workspace.add_fault(Fault("cut_after", path=TRIGGER))

    result = execute(Task(), wait_for_completion=True)

    assert triggers(imports) == 1
    assert names(result) == [("users_3.csv", "SUCCESSFUL")], "not that of the run before, which caused the refusal"


def test_a_server_that_stays_ill_is_left_to_airflows_retries_and_never_triggered_twice(imports: MoEngage) -> None:
    task = Task()
    imports.emulator.workspace.add_fault(Fault("status_after", status=502, path=TRIGGER, times=1))
    imports.emulator.workspace.add_fault(Fault("status", status=503, path=HISTORY, times=None, after=1))

    with pytest.raises(MoEngageServerError):
        execute(task)
    imports.emulator.workspace.clear_faults()
    pass_time(imports, 3_600)
    task.retry()
    result = execute(task, wait_for_completion=True)

    assert triggers(imports) == 1
    assert names(result) == [("users_2.csv", "SUCCESSFUL")]


def test_a_throttled_baseline_is_asked_for_again(imports: MoEngage) -> None:
    imports.emulator.workspace.add_fault(Fault("status", status=429, times=9, path=HISTORY))

    result = execute(Task())

    assert len(result["baseline"]) == 1
    assert triggers(imports) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_not_accepted_fails_at_once_and_triggers_nothing(imports: MoEngage, status: int) -> None:
    imports.emulator.workspace.add_fault(Fault("status", status=status, times=None))

    with pytest.raises(MoEngageAuthError, match="key of the Data tile"):
        execute(Task())

    assert triggers(imports) == 0


# A try that ended in between.


@pytest.mark.parametrize("waits", [True, False])
def test_a_retry_after_a_crash_goes_on_with_the_run_and_does_not_trigger_again(
    imports: MoEngage, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task()
    crash_after_trigger(task, monkeypatch)
    pass_time(imports, 3_600)
    task.retry()

    result = execute(task, wait_for_completion=waits)

    assert triggers(imports) == 1
    assert len(result["baseline"]) == 1
    if waits:
        assert names(result) == [("users_2.csv", "SUCCESSFUL")]


def test_a_retry_after_a_crash_between_call_and_record_finds_the_run_in_the_history(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task()
    crash_after_trigger(task, monkeypatch, before_it_is_recorded=True)
    pass_time(imports, 3_600)
    task.retry()

    result = execute(task, wait_for_completion=True)

    assert triggers(imports) == 1
    assert names(result) == [("users_2.csv", "SUCCESSFUL")]


def test_a_retry_after_a_crash_before_the_call_triggers(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task()
    with monkeypatch.context() as patched:
        patched.setattr("airflow_provider_moengage.api.file_imports_client.FileImportsClient.trigger", crash)
        with pytest.raises(CrashError):
            execute(task)
    task.retry()

    execute(task)

    assert triggers(imports) == 1


def test_before_a_state_store_the_history_since_the_dag_run_began_decides(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(has_store=False, began=datetime.fromtimestamp(imports.clock.time() - 60, UTC))
    crash_after_trigger(task, monkeypatch)
    pass_time(imports, 3_600)
    task.retry()

    result = execute(task, wait_for_completion=True)

    assert triggers(imports) == 1
    assert names(result) == [("users_2.csv", "SUCCESSFUL")]
    assert len(result["baseline"]) == 1


def test_before_a_state_store_only_the_newest_run_since_the_dag_run_began_counts(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(has_store=False, began=datetime.fromtimestamp(imports.clock.time() - 60, UTC))
    imports.emulator.workspace.run_file_import(USERS, (file("scheduled.csv", status="FAILED"),))
    pass_time(imports, 600)
    crash_after_trigger(task, monkeypatch)
    pass_time(imports, 3_600)
    task.retry()

    assert names(execute(task, wait_for_completion=True)) == [("users_3.csv", "SUCCESSFUL")]
    assert triggers(imports) == 1


def test_before_a_state_store_a_retry_without_a_run_since_triggers(imports: MoEngage) -> None:
    task = Task(has_store=False, began=datetime.fromtimestamp(imports.clock.time() - 60, UTC))
    task.retry()

    execute(task)

    assert triggers(imports) == 1


def test_before_a_state_store_a_retry_after_a_failed_run_triggers_anew(imports: MoEngage) -> None:
    configure(imports, file(status="FAILED"))
    task = Task(has_store=False, began=datetime.fromtimestamp(imports.clock.time() - 60, UTC))
    with pytest.raises(MoEngageImportFailedError):
        execute(task, wait_for_completion=True)
    configure(imports, file())
    pass_time(imports, 3_600)
    task.retry()

    assert names(execute(task, wait_for_completion=True)) == [("users_3.csv", "SUCCESSFUL")]
    assert triggers(imports) == 2


def test_before_a_state_store_a_first_try_triggers_whatever_the_history_has(imports: MoEngage) -> None:
    task = Task(has_store=False, began=datetime.fromtimestamp(imports.clock.time() - 3_600, UTC))

    execute(task)

    assert triggers(imports) == 1


@pytest.mark.parametrize("has_store", [True, False])
def test_a_clear_of_an_ended_task_triggers_anew(imports: MoEngage, has_store: bool) -> None:
    task = Task(has_store=has_store, began=datetime.fromtimestamp(imports.clock.time() - 60, UTC))
    execute(task, wait_for_completion=True)
    pass_time(imports, 3_600)
    task.clear()

    result = execute(task, wait_for_completion=True)

    assert triggers(imports) == 2
    assert names(result) == [("users_3.csv", "SUCCESSFUL")]


def test_a_clear_after_the_retries_were_edited_triggers_anew(imports: MoEngage) -> None:
    task = Task(retries=2)
    execute(task)
    pass_time(imports, 3_600)
    task.retries = 1  # max_tries is 2 again after the Clear
    task.clear()

    execute(task)

    assert triggers(imports) == 2


def test_a_retry_after_a_failed_run_triggers_anew(imports: MoEngage) -> None:
    configure(imports, file(status="FAILED"))
    task = Task()
    with pytest.raises(MoEngageImportFailedError):
        execute(task, wait_for_completion=True)
    configure(imports, file())
    pass_time(imports, 3_600)
    task.retry()

    assert names(execute(task, wait_for_completion=True)) == [("users_3.csv", "SUCCESSFUL")]
    assert triggers(imports) == 2


def test_a_retry_after_a_timeout_goes_on_waiting(imports: MoEngage) -> None:
    configure(imports, file(after=1_000))
    task = Task()
    with pytest.raises(MoEngageError, match="within the timeout of 600 s; a retry continues to wait"):
        execute(task, wait_for_completion=True, timeout=600)
    task.retry()

    assert names(execute(task, wait_for_completion=True, timeout=600)) == [("users_2.csv", "SUCCESSFUL")]
    assert triggers(imports) == 1


def test_a_task_that_is_ended_while_it_reads_the_history_triggers_nothing(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = operator()
    read = FileImportsClient.file_runs

    def ending(*arguments: Any, **options: Any) -> Any:
        ended.on_kill()
        return read(*arguments, **options)

    monkeypatch.setattr(FileImportsClient, "file_runs", ending)

    with pytest.raises(MoEngageError, match="the task was ended"):
        ended.execute(Task().context)

    assert triggers(imports) == 0


def in_every_order(steps: int, every: int) -> list[str]:
    """Return orders in which two tries, a and b, may do that many steps each."""
    chosen = itertools.combinations(range(2 * steps), steps)
    return ["".join("a" if n in mine else "b" for n in range(2 * steps)) for mine in chosen][::every]


REFUSED_BEFORE_THE_OTHER_ANSWER_IS_STORED = ("abbabaaaabbbbaab", "abbabaaaabbbbbaab")


@pytest.mark.parametrize(("seconds_since_last_run", "on_cooldown"), [(600, "fail"), (60, "wait")])
def test_of_two_tries_at_once_both_wait_for_one_run_in_every_order_of_their_steps(
    imports: MoEngage, seconds_since_last_run: int, on_cooldown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = FileImportsClient.trigger

    def trigger(client: FileImportsClient, import_id: str) -> Any:
        return store.step(lambda: call(client, import_id))

    monkeypatch.setattr(FileImportsClient, "trigger", trigger)
    for order in [*REFUSED_BEFORE_THE_OTHER_ANSWER_IS_STORED, *in_every_order(steps=8, every=127)]:
        workspace = imports.emulator.workspace
        workspace.reset()
        workspace.clear_file_imports()
        configure(imports, file())
        workspace.run_file_import(USERS)
        pass_time(imports, seconds_since_last_run)
        task = Task()
        task.store = store = Baton(order)
        results: dict[str, Any] = {}

        def attempt() -> None:
            let_this_thread_execute()
            try:
                results[threading.current_thread().name] = execute(task, on_cooldown=on_cooldown)  # noqa: B023
            finally:
                store.leave()  # noqa: B023

        threads = [threading.Thread(target=attempt, name=name) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

        assert triggers(imports) == 1, order
        assert sorted(results) == ["a", "b"], order
        assert len(results["a"]["baseline"]) == len(results["b"]["baseline"]) == 1, f"{order}: the same run"


@pytest.mark.parametrize(("failed", "is_success"), [(4, True), (5, False)])
def test_five_failed_polls_in_a_row_fail_the_task(imports: MoEngage, failed: int, is_success: bool) -> None:
    configure(imports, file(after=30))
    imports.emulator.workspace.add_fault(Fault("html", path=HISTORY, after=2, times=failed))

    if is_success:
        assert names(execute(Task(), wait_for_completion=True)) == [("users_2.csv", "SUCCESSFUL")]
        return
    with pytest.raises(MoEngageServerError):
        execute(Task(), wait_for_completion=True)


def test_a_task_that_is_ended_stops_waiting_and_says_that_the_import_goes_on(imports: MoEngage) -> None:
    configure(imports, file(after=10_000))
    waiting = operator(wait_for_completion=True)
    clock = imports.clock
    slices: list[float] = []

    class Ending:
        time = staticmethod(clock.time)

        def wait(self, stopped: Any, seconds: float) -> bool:
            slices.append(seconds)
            if len(slices) == 30:
                waiting.on_kill()
            return clock.wait(stopped, seconds)

    import_call.CLOCK = Ending()  # type: ignore[assignment]

    with pytest.raises(MoEngageError, match="cannot cancel an import, so a run that has started continues"):
        waiting.execute(Task().context)

    assert slices == [1.0] * 30, "it looks every second"


# Waiting in the triggerer.


def test_deferrable_it_waits_in_the_triggerer(imports: MoEngage) -> None:
    configure(imports, file("a_{run}.csv", status="PARTIAL_SUCCESS", failed_rows=3))
    task = Task()
    options = {"wait_for_completion": True, "deferrable": True, "partial_success": "accept"}

    with pytest.raises(TaskDeferred) as deferred:
        execute(task, **options)
    pass_time(imports, 20)
    event = fired(deferred.value, timeout_at=None)
    result = resume(task, deferred.value, event=event, **options)

    assert names(result) == [("a_2.csv", "PARTIAL_SUCCESS")]
    assert (result["import_id"], len(result["baseline"])) == (USERS, 1)
    assert triggers(imports) == 1


def test_deferrable_the_trigger_owns_the_deadline_and_airflow_has_a_later_one(imports: MoEngage) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        execute(Task(), wait_for_completion=True, deferrable=True, timeout=timedelta(hours=1))

    _, arguments = deferred.value.trigger.serialize()
    assert arguments["timeout_at"] == pytest.approx(imports.clock.time() + 3_600)
    assert deferred.value.timeout == timedelta(hours=1, minutes=5)


def test_deferrable_a_timeout_fails_and_a_retry_goes_on_waiting(imports: MoEngage) -> None:
    task = Task()
    options = {"wait_for_completion": True, "deferrable": True}
    with pytest.raises(TaskDeferred) as deferred:
        execute(task, **options)

    with pytest.raises(MoEngageError, match="a retry continues to wait"):
        resume(task, deferred.value, event=fired(deferred.value, timeout_at=0.0), **options)
    pass_time(imports, 60)
    task.retry()

    assert names(execute(task, **options)) == [("users_2.csv", "SUCCESSFUL")]
    assert triggers(imports) == 1


def test_deferrable_an_execution_timeout_is_honoured(imports: MoEngage) -> None:
    task = Task()
    options = {
        "wait_for_completion": True,
        "deferrable": True,
        "execution_timeout": timedelta(seconds=0),
    }
    with pytest.raises(TaskDeferred) as deferred:
        execute(task, **options)

    with pytest.raises(AirflowTaskTimeout, match="execution_timeout while it was deferred"):
        resume(task, deferred.value, event=fired(deferred.value, timeout_at=None), **options)


def test_deferrable_an_outcome_that_is_not_known_fails_loudly(imports: MoEngage) -> None:
    task = Task()
    with pytest.raises(TaskDeferred) as deferred:
        execute(task, wait_for_completion=True, deferrable=True)
    event = {**fired(deferred.value, timeout_at=0.0), "status": "strange"}

    with pytest.raises(MoEngageError, match="'strange', which this worker does not know"):
        resume(task, deferred.value, event=event, wait_for_completion=True, deferrable=True)


# Arguments.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"import_id": ""}, "import_id ''"),
        ({"import_id": None}, "import_id"),
        ({"import_id": 5}, "import_id 5"),
        ({"on_cooldown": "hope"}, "on_cooldown 'hope': expected 'wait' or 'fail' or 'skip'"),
        ({"partial_success": "maybe"}, "partial_success 'maybe': expected 'fail' or 'accept'"),
        ({"max_failed_rows": -1}, "max_failed_rows -1"),
        ({"max_failed_rows": 1.5}, r"max_failed_rows 1\.5"),
        ({"poke_interval": -1}, "poke_interval -1"),
        ({"timeout": "soon"}, "timeout 'soon'"),
        ({"timeout": float("inf")}, "timeout inf"),
        ({"timeout": timedelta(days=999_999_999)}, "timeout .*: expected at most ten years"),
        ({"deferrable": "yes"}, "deferrable 'yes'"),
        ({"wait_for_completion": 1}, "wait_for_completion 1"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        operator(**options)


def test_templates_are_left_until_the_task_runs(imports: MoEngage) -> None:
    templated = operator(import_id="{{ params.id }}", max_failed_rows="{{ params.rows }}")
    context: Any = {**Task().context, "params": {"id": USERS, "rows": "7"}}

    templated.render_template_fields(context)
    templated.execute(context)

    assert triggers(imports) == 1


class CrashError(BaseException):
    """A worker that is no more."""


def crash(*_: Any, **__: Any) -> None:
    raise CrashError


def crash_after_trigger(
    task: Task, monkeypatch: pytest.MonkeyPatch, *, before_it_is_recorded: bool = False
) -> None:
    record = "airflow_provider_moengage.tasks.file_import_state.ImportRecord.triggered"
    wait = "airflow_provider_moengage.operators.file_import.TriggerFileImportOperator._triggered"
    with monkeypatch.context() as patched:
        patched.setattr(record if before_it_is_recorded else wait, crash)
        with pytest.raises(CrashError):
            execute(task)


def resume(task: Task, deferred: TaskDeferred, *, event: Any = None, **options: Any) -> Any:
    """Go on where a deferral has stopped, with arguments as they come back from the database."""
    arguments = json.loads(json.dumps({**(deferred.kwargs or {}), "event": event}))
    resumed = operator(**options)
    return getattr(resumed, deferred.method_name)(task.context, **arguments)


def fired(deferred: TaskDeferred, **changes: Any) -> dict[str, Any]:
    """Return the event of a trigger as it comes out of the triggerer."""
    kind = type(deferred.trigger)
    _, arguments = deferred.trigger.serialize()
    trigger = kind(**{**json.loads(json.dumps(arguments)), **changes})

    async def first() -> Any:
        async for event in trigger.run():
            return event
        raise AssertionError("a trigger fires")

    payload: dict[str, Any] = json.loads(json.dumps(asyncio.run(first()).payload))
    return payload
