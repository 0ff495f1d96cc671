"""FileImportRunSensor: poke, reschedule and deferrable mode agree, whatever becomes of the files."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from airflow_provider_moengage.emulator import Fault, FileImport, ImportFile
from airflow_provider_moengage.exceptions import MoEngageAuthError, MoEngageImportFailedError, MoEngageServerError
from airflow_provider_moengage.polling.poller import Clock
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from airflow_provider_moengage.triggers import pollers
from tests.delivering import MoEngage, connection_to
from tests.task import Task

HISTORY = "/v1.0/data/fileimports/import/run/history"
USERS = "users-import"
MODES = ("poke", "reschedule", "deferrable")


@pytest.fixture
def imports(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> Iterator[MoEngage]:
    """Imports whose time passes when somebody waits: a sensor in its sleep, or a poller in its own."""

    class Passing(Clock):
        def time(self) -> float:
            return connected.clock.time()

        async def sleep(self, seconds: float, woken: asyncio.Event) -> None:
            pass_time(connected, seconds)
            await asyncio.sleep(0)

    monkeypatch.setattr(pollers, "CLOCK", Passing())
    monkeypatch.setattr(pollers, "_BUDGETS", {})
    bases = sys.modules.get("airflow.sensors.base")
    if hasattr(bases, "_orig_start_date"):  # Airflow 2 looks in its database for the first of the reschedules
        first = datetime.now(UTC)
        monkeypatch.setattr(bases, "_orig_start_date", lambda **_: first)
    sleep = time.sleep
    here = threading.get_ident()
    monkeypatch.setattr(
        time, "sleep", lambda s: pass_time(connected, s) if threading.get_ident() == here else sleep(s)
    )
    monkeypatch.setenv(
        "AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(connected, extra={"import_time_zone": "UTC"})
    )
    connected.emulator.workspace.clear_file_imports()
    yield connected
    connected.emulator.workspace.clear_file_imports()


def pass_time(moengage: MoEngage, seconds: float) -> None:
    moengage.clock.wait(threading.Event(), seconds)


def now(moengage: MoEngage) -> datetime:
    return datetime.fromtimestamp(moengage.clock.time(), UTC)


def file(name: str = "users_{run}.csv", status: str = "SUCCESSFUL", after: float = 150, **rows: Any) -> ImportFile:
    return ImportFile(name, steps=((0, "QUEUED"), (20, "PROCESSING"), (after, status)), **rows)


def run_import(moengage: MoEngage, *files: ImportFile) -> None:
    workspace = moengage.emulator.workspace
    if not workspace.file_imports:
        workspace.add_file_import(FileImport(USERS, "Users", (file(),)))
    workspace.run_file_import(USERS, files or None)


def polls(moengage: MoEngage) -> int:
    return sum(each.path == HISTORY for each in moengage.emulator.workspace.requests)


def sensor(**options: Any) -> FileImportRunSensor:
    given = {"import_id": USERS, "poke_interval": 60, **options}
    return FileImportRunSensor(task_id="wait", **given)


@dataclass
class Ended:
    """How a sensor has ended: with its XCom, or with an exception."""

    value: Any = None
    error: BaseException | None = None

    @property
    def name(self) -> str:
        return "success" if self.error is None else type(self.error).__name__

    @property
    def files(self) -> list[tuple[str, str]]:
        return [(each["file_name"], each["file_status"]) for each in self.value]


def drive(mode: str, *, task: Task | None = None, **options: Any) -> Ended:
    """Let a sensor run to its end as Airflow does in this mode."""
    task = task or Task()
    try:
        return Ended(value=_DRIVERS[mode](task, options))
    except BaseException as error:
        if not hasattr(error, "args") or isinstance(error, KeyboardInterrupt):
            raise
        return Ended(error=error)


def _poke(task: Task, options: dict[str, Any]) -> Any:
    return sensor(**options).execute(task.context)


def _reschedule(task: Task, options: dict[str, Any]) -> Any:
    task.first_reschedule = datetime.now(UTC)
    while True:
        try:
            return sensor(mode="reschedule", **options).execute(task.context)
        except AirflowRescheduleException:
            time.sleep(60)


def _deferrable(task: Task, options: dict[str, Any]) -> Any:
    waiting = sensor(deferrable=True, **options)
    deferred: TaskDeferred | None = None
    while True:
        try:
            if deferred is None:
                return waiting.execute(task.context)
            event, kwargs = fired(deferred), json.loads(json.dumps(deferred.kwargs or {}))
            resumed = sensor(deferrable=True, **options)
            return resumed.resume_execution(deferred.method_name, {**kwargs, "event": event}, task.context)
        except TaskDeferred as again:
            deferred = again


def fired(deferred: TaskDeferred) -> Any:
    _, arguments = deferred.trigger.serialize()
    trigger = type(deferred.trigger)(**json.loads(json.dumps(arguments)))

    async def events() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    [event] = asyncio.run(events())
    return json.loads(json.dumps(event))


_DRIVERS: dict[str, Callable[[Task, dict[str, Any]], Any]] = {
    "poke": _poke,
    "reschedule": _reschedule,
    "deferrable": _deferrable,
}


# The matrix: what happens x what the task is told to make of failures x mode.


@dataclass(frozen=True)
class Case:
    """What happens at MoEngage, and how a sensor ends that is told nothing special."""

    happens: Callable[[MoEngage], None]
    ends: str
    options: tuple[tuple[str, Any], ...] = ()


def _status(status: str, **rows: Any) -> Callable[[MoEngage], None]:
    return lambda moengage: run_import(moengage, file(status=status, **rows))


def _faulty(fault: Fault) -> Callable[[MoEngage], None]:
    def happens(moengage: MoEngage) -> None:
        run_import(moengage, file())
        moengage.emulator.workspace.add_fault(fault)

    return happens


CASES = {
    "successful": Case(_status("SUCCESSFUL"), "success"),
    "failed": Case(_status("FAILED"), "MoEngageImportFailedError"),
    "partial": Case(_status("PARTIAL_SUCCESS", failed_rows=3), "MoEngageImportFailedError"),
    "partial, by its other name": Case(_status("PARTIAL_FAILURE", failed_rows=3), "MoEngageImportFailedError"),
    "exhausted": Case(_status("EXHAUSTED"), "MoEngageImportFailedError"),
    "pending": Case(
        lambda moengage: run_import(
            moengage, ImportFile("a.csv", steps=((0, "PENDING"), (100, "PENDING"), (150, "SUCCESSFUL")))
        ),
        "success",
    ),
    "partial accepted": Case(
        _status("PARTIAL_SUCCESS", failed_rows=3), "success", (("partial_success", "accept"),)
    ),
    "partial, too many rows": Case(
        _status("PARTIAL_SUCCESS", failed_rows=3),
        "MoEngageImportFailedError",
        (("partial_success", "accept"), ("max_failed_rows", 2)),
    ),
    "over at the first look": Case(lambda moengage: run_import(moengage, file(after=20)), "success"),
    "timeout": Case(
        lambda moengage: run_import(moengage, file(after=10**9)), "AirflowSensorTimeout", (("timeout", 0.02),)
    ),
    "key refused": Case(_faulty(Fault("status", status=401, times=None)), "MoEngageAuthError"),
    "key refused later": Case(_faulty(Fault("status", status=403, times=None, after=1)), "MoEngageAuthError"),
    "no such import": Case(lambda moengage: None, "MoEngageImportNotFoundError"),
    "four answers of something else": Case(_faulty(Fault("status", status=404, times=4)), "success"),
    "five answers of something else": Case(
        _faulty(Fault("status", status=404, times=5, after=1)), "MoEngageRequestError"
    ),
    "four failed polls": Case(_faulty(Fault("status", status=503, times=4)), "success"),
    "four failed polls later": Case(_faulty(Fault("cut_before", times=4, after=1)), "success"),
    "five failed polls": Case(_faulty(Fault("status", status=503, times=5)), "MoEngageServerError"),
    "five failed polls later": Case(_faulty(Fault("html", times=5, after=1)), "MoEngageServerError"),
    "throttled ten times": Case(_faulty(Fault("status", status=429, times=10)), "success"),
}
FLAGS: tuple[dict[str, bool], ...] = ({}, {"soft_fail": True}, {"never_fail": True}, {"silent_fail": True})


def expected(case: Case, flags: dict[str, bool]) -> str:
    if case.ends == "success":
        return "success"
    if flags.get("soft_fail") or flags.get("never_fail"):
        return "AirflowSkipException"
    if flags.get("silent_fail") and case.ends in ("MoEngageServerError", "MoEngageRequestError"):
        return "success"  # the polls fail silently, until one does not
    return case.ends


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flags", FLAGS, ids=lambda flags: next(iter(flags), "plain"))
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_modes_agree(imports: MoEngage, mode: str, flags: dict[str, Any], case: Case) -> None:
    case.happens(imports)

    ended = drive(mode, **dict(case.options), **flags)

    assert ended.name == expected(case, flags), ended.error


@pytest.mark.parametrize("mode", MODES)
def test_what_a_sensor_returns_is_the_same_in_every_mode(imports: MoEngage, mode: str) -> None:
    run_import(imports, file(total_rows=12, updated_rows=5))

    [each] = drive(mode).value

    assert (each["file_name"], each["file_status"], each["type"]) == ("users_1.csv", "SUCCESSFUL", "USERS")
    assert (each["total_rows"], each["added_rows"], each["updated_rows"], each["failed_rows"]) == (12, 7, 5, 0)
    assert each["completed_at"].endswith("Z")


@pytest.mark.parametrize("mode", MODES)
def test_a_failure_names_file_message_and_rows_in_every_mode(imports: MoEngage, mode: str) -> None:
    run_import(imports, file(status="FAILED", status_msg="Header is missing", total_rows=12))

    ended = drive(mode)

    assert isinstance(ended.error, MoEngageImportFailedError)
    for part in ("users_1.csv", "Header is missing", "total 12", "failed 12", USERS):
        assert part in str(ended.error)
    assert [each["file_name"] for each in ended.error.files] == ["users_1.csv"]


ADVICE = {
    "exhausted": ({"status": "EXHAUSTED"}, "trigger the import again"),
    "rate limit breached": (
        {"status": "FAILED", "status_msg": "Applicable rate limit breached"},
        "rename the file whose rate limit was breached",
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("outcome", "advice"), ADVICE.values(), ids=ADVICE)
def test_2nd_a_file_that_is_never_read_again_comes_with_advice(
    imports: MoEngage, mode: str, outcome: dict[str, Any], advice: str
) -> None:
    run_import(imports, file(**outcome, total_rows=12))

    ended = drive(mode)

    assert isinstance(ended.error, MoEngageImportFailedError)
    assert advice in str(ended.error)
    assert [each["failed_rows"] for each in ended.error.files] == [12]


@pytest.mark.parametrize("mode", MODES)
def test_2nd_failed_rows_of_a_successful_file_are_a_warning(
    imports: MoEngage, mode: str, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    run_import(imports, file(total_rows=12, failed_rows=3))

    ended = drive(mode)

    captured = capsys.readouterr()
    assert ended.files == [("users_1.csv", "SUCCESSFUL")]
    assert "3 rows failed although MoEngage reports success" in f"{caplog.text}{captured.out}{captured.err}"


# Which files.


@pytest.mark.parametrize("mode", MODES)
def test_by_exact_name_other_files_do_not_matter(imports: MoEngage, mode: str) -> None:
    run_import(imports, file("a.csv", status="FAILED"), file("b.csv"))

    assert drive(mode, file_name="b.csv").files == [("b.csv", "SUCCESSFUL")]


@pytest.mark.parametrize("mode", MODES)
def test_a_glob_waits_for_as_many_files_as_are_expected_late_ones_too(imports: MoEngage, mode: str) -> None:
    late = ImportFile("users_3.csv", steps=((200, "PROCESSING"), (300, "SUCCESSFUL")))
    run_import(imports, file("users_1.csv", after=30), file("users_2.csv", after=30), late, file("other.csv"))

    ended = drive(mode, file_name="users_*.csv", expected_files=3)

    assert ended.files == [(f"users_{number}.csv", "SUCCESSFUL") for number in (1, 2, 3)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("as_text", [False, True])
def test_since_a_moment_older_files_do_not_count(imports: MoEngage, mode: str, as_text: bool) -> None:
    run_import(imports, file(status="FAILED", after=20))
    pass_time(imports, 600)
    since: Any = now(imports) - timedelta(seconds=1)
    run_import(imports, file())

    ended = drive(mode, since=since.isoformat() if as_text else since)

    assert ended.files == [("users_2.csv", "SUCCESSFUL")]


@pytest.mark.parametrize("mode", MODES)
def test_since_an_operators_xcom_only_the_files_of_its_run_count(imports: MoEngage, mode: str) -> None:
    run_import(imports, file(status="FAILED", after=20))
    pass_time(imports, 600)
    xcom = triggered(imports)

    ended = drive(mode, import_id=None, since=xcom)

    assert [name for name, _ in ended.files] == ["users_2.csv"]


def test_an_xcom_that_a_template_has_made_text_of_is_read_as_well(imports: MoEngage) -> None:
    run_import(imports)
    pass_time(imports, 600)
    xcom = triggered(imports)
    waiting = sensor(import_id=None, since="{{ ti_xcom }}")

    context: Any = {**Task().context, "ti_xcom": xcom}

    waiting.render_template_fields(context)

    assert Ended(value=waiting.execute(Task().context)).files == [("users_2.csv", "SUCCESSFUL")]


ORDERS = "orders-import"


def mapped(moengage: MoEngage, *files: ImportFile) -> list[Any]:
    """Return the output of a mapped operator: two imports, and between them an instance that was skipped."""
    workspace = moengage.emulator.workspace
    run_import(moengage)
    workspace.add_file_import(FileImport(ORDERS, "Orders", files or (file("orders_{run}.csv", after=400),)))
    pass_time(moengage, 600)
    return [triggered(moengage), None, triggered(moengage, ORDERS)]


@pytest.mark.parametrize("mode", MODES)
def test_the_output_of_a_mapped_operator_is_waited_for_as_a_whole(imports: MoEngage, mode: str) -> None:
    began = now(imports)

    ended = drive(mode, import_id=None, since=mapped(imports))

    assert ended.files == [("users_2.csv", "SUCCESSFUL"), ("orders_1.csv", "SUCCESSFUL")]
    assert timedelta(seconds=1_000) <= now(imports) - began < timedelta(seconds=1_200)


@pytest.mark.parametrize("mode", MODES)
def test_an_import_of_several_that_fails_is_named_and_the_others_are_waited_for(
    imports: MoEngage, mode: str
) -> None:
    outputs = mapped(imports, file("orders_{run}.csv", status="FAILED", after=20))

    ended = drive(mode, import_id=None, since=outputs)

    assert isinstance(ended.error, MoEngageImportFailedError)
    assert f"Import '{ORDERS}': " in str(ended.error)
    assert USERS not in str(ended.error)
    assert [each["file_status"] for each in ended.error.files] == ["SUCCESSFUL", "FAILED"]


def test_the_timeout_holds_for_all_imports_of_a_list_together(imports: MoEngage) -> None:
    options = {"import_id": None, "since": mapped(imports), "deferrable": True}
    with pytest.raises(TaskDeferred) as first:
        sensor(**options).execute(Task().context)
    event, kwargs = fired(first.value), json.loads(json.dumps(first.value.kwargs))
    time.sleep(100)

    with pytest.raises(TaskDeferred) as second:
        sensor(**options).resume_execution("execute_complete", {**kwargs, "event": event}, Task().context)

    ends = [each.value.trigger.serialize()[1]["timeout_at"] for each in (first, second)]
    assert ends[0] == ends[1]
    assert second.value.timeout < first.value.timeout


def test_another_try_with_the_same_sensor_asks_again(imports: MoEngage) -> None:
    run_import(imports, file("a.csv", status="FAILED", after=20))
    waiting = sensor(file_name="a.csv")
    with pytest.raises(MoEngageImportFailedError):
        waiting.execute(Task().context)
    run_import(imports, file("a.csv"))

    assert Ended(value=waiting.execute(Task().context)).files == [("a.csv", "SUCCESSFUL")]


def test_a_list_that_a_template_has_made_text_of_is_read_as_well(imports: MoEngage) -> None:
    outputs = mapped(imports)

    assert len(drive("poke", import_id=None, since=str(outputs)).value) == 2


@pytest.mark.parametrize("outputs", [[], [None, None], "[None]"])
def test_a_list_without_an_import_is_an_error(outputs: Any) -> None:
    waiting = sensor(import_id=None, since={"import_id": USERS, "baseline": []})
    waiting.since = outputs

    with pytest.raises(ValueError, match="since: the list is empty, because every instance of the mapped task"):
        waiting.execute(Task().context)


def test_of_several_runs_of_a_name_the_newest_counts(imports: MoEngage) -> None:
    run_import(imports, file("a.csv", status="FAILED", after=20))
    pass_time(imports, 600)
    run_import(imports, file("a.csv"))

    assert drive("poke", file_name="a.csv").files == [("a.csv", "SUCCESSFUL")]


def test_all_pages_are_read(imports: MoEngage) -> None:
    for _ in range(120):
        run_import(imports, file(after=20))
        pass_time(imports, 1)
    pass_time(imports, 600)
    run_import(imports, file("the_one.csv"))
    imports.emulator.workspace.configure(file_order="shuffled")

    assert drive("poke", file_name="the_one.csv").files == [("the_one.csv", "SUCCESSFUL")]


@pytest.mark.parametrize(
    "quirk",
    [
        {"file_numbers_as_text": True},
        {"file_null_data": True},
        {"file_partial_word": "PARTIAL_FAILURE"},
        {"file_order": "oldest"},
        {"file_page_size": 1},
        {"file_data": "items"},
        {"file_dates": "refuse"},
    ],
)
def test_each_quirk_of_the_api_is_survived(imports: MoEngage, quirk: dict[str, Any]) -> None:
    imports.emulator.workspace.configure(**quirk)
    run_import(imports, file("a.csv", status="PARTIAL_SUCCESS", failed_rows=1), file("b.csv"))

    ended = drive("poke", file_name="*", expected_files=2, partial_success="accept", max_failed_rows=1)

    assert sorted(ended.files) == [("a.csv", "PARTIAL_SUCCESS"), ("b.csv", "SUCCESSFUL")]


@pytest.mark.parametrize("mode", MODES)
def test_a_status_never_seen_before_is_no_end(imports: MoEngage, mode: str) -> None:
    steps = ((0, "QUEUED"), (10, "SCANNING"), (200, "SUCCESSFUL"))
    run_import(imports, ImportFile("a.csv", steps=steps))

    assert drive(mode).files == [("a.csv", "SUCCESSFUL")]


def test_an_import_is_found_by_its_name(imports: MoEngage) -> None:
    run_import(imports)

    assert drive("poke", import_id=None, import_name="Users").files[0][1] == "SUCCESSFUL"


@pytest.mark.parametrize("mode", MODES)
def test_an_xcom_of_another_workspaces_import_fails_at_once(imports: MoEngage, mode: str) -> None:
    since = {"import_id": "elsewhere", "triggered_at": "2026-01-01T00:00:00Z", "baseline": ["a-file"]}

    assert drive(mode, import_id=None, since=since).name == "MoEngageImportNotFoundError"


@pytest.mark.parametrize("name", ["", " "])
def test_a_file_name_that_a_template_has_made_nothing_of_is_said(imports: MoEngage, name: str) -> None:
    waiting = sensor(file_name="{{ params.name }}")
    context: Any = {**Task().context, "params": {"name": name}}
    waiting.render_template_fields(context)

    with pytest.raises(ValueError, match="file_name"):
        waiting.execute(Task().context)


def test_a_history_longer_than_the_limit_of_a_minute_is_read_to_its_end(imports: MoEngage) -> None:
    run_import(imports, *(file(f"users_{number}.csv", after=20) for number in range(120)))
    imports.emulator.workspace.configure(file_page_size=2)  # 60 pages, and 50 requests a minute
    pass_time(imports, 600)

    assert len(drive("poke", file_name="users_*.csv", expected_files=120).files) == 120


@pytest.mark.parametrize("mode", MODES)
def test_a_timeout_of_centuries_is_none(imports: MoEngage, mode: str) -> None:
    run_import(imports, file())

    assert drive(mode, timeout=10**11).name == "success"


def test_an_import_without_a_run_yet_is_waited_for(imports: MoEngage) -> None:
    imports.emulator.workspace.add_file_import(FileImport(USERS, "Users", (file(),)))

    assert drive("poke", timeout=0.02).name == "AirflowSensorTimeout"


# How it looks.


def test_deferrable_it_looks_once_before_it_defers(imports: MoEngage) -> None:
    run_import(imports, file(after=20))
    pass_time(imports, 60)

    assert drive("deferrable").files == [("users_1.csv", "SUCCESSFUL")]
    assert polls(imports) == 1


def test_deferrable_the_trigger_owns_the_deadline_and_knows_no_secret(imports: MoEngage) -> None:
    run_import(imports)
    before = time.time()

    with pytest.raises(TaskDeferred) as deferred:
        sensor(deferrable=True, timeout=600, execution_timeout=timedelta(seconds=300)).execute(Task().context)

    path, arguments = deferred.value.trigger.serialize()
    assert path == "airflow_provider_moengage.triggers.file_import.FileImportRunTrigger"
    assert before + 600 <= arguments["timeout_at"] <= time.time() + 600
    assert before + 300 <= arguments["execution_timeout_at"] + 1 <= time.time() + 301
    assert deferred.value.timeout == timedelta(seconds=900), "Airflow's own comes later"
    assert "emulator-data-key" not in json.dumps(arguments)


@pytest.mark.parametrize(
    ("flags", "ends"), [({}, AirflowTaskTimeout), ({"soft_fail": True}, AirflowSkipException)]
)
def test_deferrable_an_execution_timeout_is_honoured(imports: MoEngage, flags: dict[str, Any], ends: Any) -> None:
    run_import(imports, file(after=10**9))

    ended = drive("deferrable", execution_timeout=timedelta(seconds=0.02), **flags)

    assert isinstance(ended.error, ends), ended.error


def test_deferrable_a_failed_first_look_counts(imports: MoEngage) -> None:
    run_import(imports, file(after=30))
    imports.emulator.workspace.add_fault(Fault("status", status=503, times=5))

    ended = drive("deferrable")

    # Were the first look not counted, the sixth poll would have seen the file's end.
    assert isinstance(ended.error, MoEngageServerError)


def test_rescheduled_without_a_state_store_the_next_poll_decides(imports: MoEngage) -> None:
    run_import(imports, file())
    imports.emulator.workspace.add_fault(Fault("status", status=503, times=9))

    assert drive("reschedule", task=Task(has_store=False)).name == "success"


def test_rescheduled_failed_polls_of_an_earlier_try_do_not_count(imports: MoEngage) -> None:
    run_import(imports, file())
    task = Task()
    imports.emulator.workspace.add_fault(Fault("status", status=503, times=5))
    assert drive("reschedule", task=task).name == "MoEngageServerError"
    task.retry()
    imports.emulator.workspace.add_fault(Fault("status", status=503, times=4))

    assert drive("reschedule", task=task).name == "success"


def test_a_timeout_in_the_triggerer_that_is_gone_is_a_sensors_timeout(imports: MoEngage) -> None:
    with pytest.raises(AirflowSensorTimeout, match=r"users-import.*timeout of 60 s"):
        sensor(deferrable=True, timeout=60).execute_complete(Task().context, {"status": "timeout"})


@pytest.mark.parametrize("event", [None, {}, {"status": "fine"}, {"status": "error", "kind": "odd"}])
def test_an_event_that_is_not_known_fails_loudly(imports: MoEngage, event: Any) -> None:
    with pytest.raises(Exception, match=r"does not know|no reason"):
        sensor(deferrable=True).execute_complete(Task().context, event)


def test_a_denied_key_in_the_triggerer_is_an_authentication_error(imports: MoEngage) -> None:
    event = {"status": "error", "kind": "authentication", "message": "no", "status_code": 401}

    with pytest.raises(MoEngageAuthError) as caught:
        sensor(deferrable=True).execute_complete(Task().context, event)

    assert caught.value.status_code == 401


# Arguments.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"import_id": None}, "import_id, import_name: expected one of them"),
        ({"import_id": ""}, "import_id ''"),
        ({"file_name": " "}, "file_name ' '"),
        ({"since": "yesterday"}, "since 'yesterday': expected a datetime"),
        ({"since": 5}, "since: expected a datetime, ISO 8601 text or an XCom, not int"),
        ({"since": ["a"]}, r"since: expected a list of what TriggerFileImportOperator returns"),
        ({"since": {"import_id": "a"}}, "since: expected a datetime, ISO 8601 text, or what Trigger"),
        ({"expected_files": 0}, "expected_files 0"),
        ({"partial_success": "maybe"}, "partial_success 'maybe'"),
        ({"max_failed_rows": "many"}, "max_failed_rows 'many'"),
        ({"deferrable": None}, "deferrable None"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sensor(**options)


def test_an_xcom_of_another_import_is_refused() -> None:
    waiting = sensor(import_id="a", since={"import_id": "b", "baseline": []})

    with pytest.raises(ValueError, match="since: belongs to import 'b', and import_id is 'a'"):
        waiting.poke(Task().context)


def triggered(moengage: MoEngage, import_id: str = USERS) -> dict[str, Any]:
    """What TriggerFileImportOperator returns."""
    from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator

    operator = TriggerFileImportOperator(task_id="import", import_id=import_id)
    result: dict[str, Any] = json.loads(json.dumps(operator.execute(Task().context)))
    return result
