"""Whatever depends on the times of file imports is right in any zone, also while clocks are changed."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import MoEngageServerError
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from airflow_provider_moengage.tasks import file_import_start
from airflow_provider_moengage.triggers import pollers
from airflow_provider_moengage.triggers.file_import import FileImportRunEventTrigger, FileImportRunTrigger
from tests import zones
from tests.task import Task
from tests.zones import KOLKATA, LOS_ANGELES, MOMENTS, SHOWN_BY, USERS, Zoned

BASE = "/v1.0/data/fileimports"
DETAILS, HISTORY, TRIGGER = f"{BASE}/import/status", f"{BASE}/import/run/history", f"{BASE}/trigger"
WARNING = "it is not certain which one they are in"

Begin = Callable[..., Zoned]
CASES = {
    f"{name} by {shown_by}": (zone, moment, shown_by)
    for name, (zone, moment) in MOMENTS.items()
    for shown_by in SHOWN_BY
    if (name, shown_by) != (f"{LOS_ANGELES} clocks put back", "details")  # the repeated hour: see below
}
in_every_zone = pytest.mark.parametrize(("zone", "moment", "shown_by"), CASES.values(), ids=CASES)
needs_assets = pytest.mark.skipif(
    not hasattr(__import__("airflow.triggers.base", fromlist=["x"]), "BaseEventTrigger"),
    reason="Airflow 2 watches no assets by triggers",
)


@pytest.fixture(scope="module")
def workspace() -> Iterator[Zoned]:
    with zones.running() as moengage:
        yield moengage


@pytest.fixture
def begin(workspace: Zoned, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Lets the workspace begin at a moment; the connection and all clocks are its."""

    def begun(zone: str, shown_by: str, begins: datetime) -> Zoned:
        moengage = zones.begin(workspace, zone, shown_by, begins)
        monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps(moengage.connection))
        monkeypatch.setattr(file_import_start, "CLOCK", moengage.clock)
        monkeypatch.setattr(pollers, "_BUDGETS", {})
        monkeypatch.setenv("AIRFLOW__MOENGAGE__FILE_IMPORT_REQUESTS_PER_MINUTE", "60000")
        return moengage

    return begun


def lose_call(moengage: Zoned) -> None:
    """Cut the next call of a trigger before MoEngage reads it."""
    moengage.emulator.workspace.add_fault(Fault("cut_before", path=TRIGGER))


def run_around(moengage: Zoned, *, every: float, count: int) -> dict[str, datetime]:
    """Let the import run again and again; return when each file was scheduled."""
    runs = {}
    for number in range(count):
        runs[f"{number}.csv"] = moengage.run(f"{number}.csv")
        moengage.pass_time(minutes=every)
    return runs


@in_every_zone
def test_2nd_file_runs_have_their_time_and_are_selected_by_it(
    begin: Begin, zone: str, moment: datetime, shown_by: str
) -> None:
    moengage = begin(zone, shown_by, moment - timedelta(minutes=90))
    runs = run_around(moengage, every=20, count=10)

    files = {run.file_name: run for run in MoEngageHook().iter_file_runs(USERS)}
    assert {name: run.scheduled_at for name, run in files.items()} == runs
    if shown_by != "ids":  # which only show offsets that were seen
        assert {n: run.completed_at for n, run in files.items()} == {
            n: scheduled_at + timedelta(minutes=1) for n, scheduled_at in runs.items()
        }
    for start, end in ((-30, 30), (-61, -1), (1, 61)):
        first, last = moment + timedelta(minutes=start), moment + timedelta(minutes=end)
        found = {run.file_name for run in MoEngageHook().iter_file_runs(USERS, start=first, end=last)}
        assert found == {name for name, at in runs.items() if first <= at <= last}


@in_every_zone
@pytest.mark.parametrize("minutes", [-40, 1, 40])
def test_2nd_since_a_moment_selects_the_files_after_it(
    begin: Begin, zone: str, moment: datetime, shown_by: str, minutes: float
) -> None:
    moengage = begin(zone, shown_by, moment - timedelta(minutes=90))
    runs = run_around(moengage, every=20, count=10)
    since = moment + timedelta(minutes=minutes)
    newer = sorted(name for name, at in runs.items() if at > since)
    sensor = FileImportRunSensor(
        task_id="wait", import_id=USERS, since=since.isoformat(), expected_files=len(newer)
    )

    poked = sensor.poke(Task().context)
    assert poked.is_done
    assert sorted(file["file_name"] for file in poked.xcom_value or []) == newer
    [event] = events(sensor._waits()[0].trigger(poke_interval=1, timeout_at=moengage.now + timedelta(days=999)))
    assert sorted(file["file_name"] for file in event["files"]) == newer


def events(trigger: FileImportRunTrigger) -> list[Any]:
    async def all_events() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(all_events())


@in_every_zone
@pytest.mark.parametrize("minutes", [-3, 0.01, 2])
def test_the_cooldown_ends_five_minutes_after_the_last_run(
    begin: Begin, zone: str, moment: datetime, shown_by: str, minutes: float
) -> None:
    moengage = begin(zone, shown_by, moment + timedelta(minutes=minutes - 60))
    run_around(moengage, every=30, count=2)
    ran_at = moengage.run("last.csv")
    moengage.pass_time(minutes=2)

    with pytest.raises(TaskDeferred) as deferred:
        TriggerFileImportOperator(task_id="t", import_id=USERS, deferrable=True).execute(Task().context)
    assert abs(deferred.value.trigger.moment - ran_at - timedelta(minutes=5)) < timedelta(seconds=5)

    TriggerFileImportOperator(task_id="t", import_id=USERS).execute(Task().context)
    assert moengage.now - ran_at < timedelta(minutes=5, seconds=5)
    assert len(moengage.emulator.workspace.file_triggers) == 1


@in_every_zone
def test_a_lost_call_in_the_cooldown_is_not_taken_for_a_run(
    begin: Begin, zone: str, moment: datetime, shown_by: str
) -> None:
    moengage = begin(zone, shown_by, moment - timedelta(minutes=59))
    run_around(moengage, every=30, count=2)
    moengage.run("last.csv")
    moengage.pass_time(minutes=2)
    lose_call(moengage)

    TriggerFileImportOperator(task_id="t", import_id=USERS).execute(Task().context)

    assert len(moengage.emulator.workspace.file_triggers) == 1
    assert not moengage.emulator.workspace.faults


@in_every_zone
def test_before_a_state_store_a_retry_finds_its_run_by_time(
    begin: Begin, zone: str, moment: datetime, shown_by: str
) -> None:
    moengage = begin(zone, shown_by, moment - timedelta(minutes=70))
    run_around(moengage, every=20, count=3)
    began = moengage.pass_time(minutes=9)
    task = Task(has_store=False, began=began)
    task.retry()
    moengage.pass_time(minutes=7)

    TriggerFileImportOperator(task_id="t", import_id=USERS).execute(task.context)
    assert len(moengage.emulator.workspace.file_triggers) == 1, "all runs are older than the Dag run"

    moengage.pass_time(minutes=7)
    task.retry()
    result = TriggerFileImportOperator(task_id="t", import_id=USERS).execute(task.context)
    assert len(moengage.emulator.workspace.file_triggers) == 1, "the run of the try before"
    assert len(result["baseline"]) == 3


@needs_assets
@in_every_zone
def test_a_watcher_reports_times_in_utc(begin: Begin, zone: str, moment: datetime, shown_by: str) -> None:
    moengage = begin(zone, shown_by, moment - timedelta(minutes=70))
    run_around(moengage, every=30, count=2)
    watcher = FileImportRunEventTrigger(import_id=USERS, poke_interval=0.02)

    async def first() -> Any:
        reported: Any = watcher.run()
        event = asyncio.ensure_future(anext(reported))
        while not moengage.asked(HISTORY):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        expected = moengage.run("new.csv")
        moengage.pass_time(minutes=1)
        payload = (await asyncio.wait_for(event, 5)).payload
        await reported.aclose()
        return payload, expected

    payload, expected = asyncio.run(first())

    assert payload["file_name"] == "new.csv"
    assert datetime.fromisoformat(payload["scheduled_at"]) == expected


WINTER = datetime(2026, 1, 5, 3, tzinfo=MOMENTS[f"{KOLKATA} winter"][1].tzinfo)


def test_ids_that_agree_cost_no_further_request(begin: Begin) -> None:
    moengage = begin(KOLKATA, "ids", WINTER)
    run_around(moengage, every=20, count=2)

    list(MoEngageHook().iter_file_runs(USERS))

    assert moengage.asked(DETAILS) == []


def test_one_id_is_not_enough(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    moengage = begin(KOLKATA, "ids", WINTER)
    moengage.run("a.csv")

    [run] = MoEngageHook().iter_file_runs(USERS)

    assert run.scheduled_at == WINTER + timedelta(hours=5, minutes=30), "UTC is assumed"
    assert WARNING in caplog.text


def test_the_details_are_asked_once_in_an_hour(begin: Begin) -> None:
    moengage = begin(LOS_ANGELES, "details", WINTER)
    moengage.run("a.csv")
    for _ in range(3):
        assert [run.scheduled_at for run in MoEngageHook().iter_file_runs(USERS)] == [WINTER]
        assert [run.scheduled_at for run in MoEngageHook().iter_file_runs(None, "Users")] == [WINTER]

    assert moengage.asked(DETAILS) == [200]


def test_ids_that_refute_the_details_decide(begin: Begin) -> None:
    moengage = begin("UTC", "ids", WINTER)
    workspace = moengage.emulator.workspace
    workspace.clear_file_imports()
    for number in range(3):
        import_id = f"{int(moengage.now.timestamp()):08x}a1b2c3d4e5f60718"
        workspace.add_file_import(_import(import_id, f"Users {number}", time_zone=KOLKATA))
        moengage.pass_time(hours=1)

    found = list(MoEngageHook().iter_imports())

    assert [each.created_at for each in found] == [WINTER + timedelta(hours=n) for n in range(3)]
    assert {each.time_zone for each in found} == {KOLKATA}


def _import(import_id: str, name: str, **fields: Any) -> Any:
    from airflow_provider_moengage.emulator import FileImport

    return FileImport(import_id, name, **fields)


@pytest.mark.parametrize("shown_by", ["setting", "details"])
@pytest.mark.parametrize(("zone", "moment"), MOMENTS.values(), ids=MOMENTS)
def test_2nd_details_have_their_times_and_the_next_run_is_in_utc(
    begin: Begin, zone: str, moment: datetime, shown_by: str
) -> None:
    moengage = begin(zone, shown_by, moment - timedelta(minutes=70))
    moengage.pass_time(minutes=20)
    ran_at = moengage.run("a.csv")

    found = MoEngageHook().find_import("Users")

    assert (found.created_at, found.last_run_at) == (moment - timedelta(minutes=70), ran_at)
    assert found.next_scheduled_at is not None
    assert found.next_scheduled_at.time().isoformat() == "00:00:00"


@pytest.mark.parametrize("uses", ["hook", "sensor", "operator", "details"])
def test_an_unknown_zone_is_one_warning_that_names_the_setting(
    begin: Begin, caplog: pytest.LogCaptureFixture, uses: str
) -> None:
    moengage = begin(LOS_ANGELES, "nothing", WINTER)
    run_around(moengage, every=20, count=3)
    for _ in range(3):
        if uses == "hook":
            list(MoEngageHook().iter_file_runs(USERS))
        elif uses == "sensor":
            FileImportRunSensor(task_id="wait", import_id=USERS, since="2026-01-01").poke(Task().context)
        elif uses == "details":
            list(MoEngageHook().iter_imports())
        else:
            TriggerFileImportOperator(task_id="t", import_id=USERS).execute(Task().context)

    warnings = [each.getMessage() for each in caplog.records if WARNING in each.getMessage()]
    assert len(warnings) == 1
    assert "Set import_time_zone of the connection" in warnings[0]


@pytest.mark.parametrize("shown_by", SHOWN_BY)
def test_a_known_zone_is_no_warning(begin: Begin, caplog: pytest.LogCaptureFixture, shown_by: str) -> None:
    moengage = begin(LOS_ANGELES, shown_by, WINTER)
    list(MoEngageHook().iter_file_runs(USERS))
    run_around(moengage, every=20, count=3)

    list(MoEngageHook().iter_file_runs(USERS))

    assert WARNING not in caplog.text


@pytest.mark.parametrize("status", [429, 503])
def test_what_depends_on_times_does_not_guess_while_the_details_are_not_answered(
    begin: Begin, status: int
) -> None:
    moengage = begin(KOLKATA, "details", WINTER)
    moengage.run("a.csv")
    moengage.pass_time(minutes=1)
    moengage.emulator.workspace.add_fault(Fault("status", status=status, times=1, path=DETAILS))
    sensor = FileImportRunSensor(task_id="wait", import_id=USERS, since=WINTER + timedelta(hours=1))

    assert not sensor.poke(Task().context).is_done, "as UTC the file would be newer"
    assert not sensor.poke(Task().context).is_done
    assert moengage.asked(DETAILS) == [status, 200]


def test_a_trigger_does_not_guess_either(begin: Begin) -> None:
    moengage = begin(KOLKATA, "details", WINTER)
    moengage.run("a.csv")
    moengage.pass_time(minutes=1)
    moengage.emulator.workspace.add_fault(Fault("status", status=503, times=None, path=DETAILS))
    sensor = FileImportRunSensor(task_id="wait", import_id=USERS, since=WINTER + timedelta(hours=1))

    [event] = events(sensor._waits()[0].trigger(poke_interval=0.01, timeout_at=moengage.now + timedelta(days=999)))

    assert event["status"] == "error"


def test_what_does_not_depend_on_times_goes_on_while_the_details_are_not_answered(begin: Begin) -> None:
    moengage = begin(KOLKATA, "details", WINTER)
    moengage.run("a.csv")
    moengage.pass_time(minutes=1)
    moengage.emulator.workspace.add_fault(Fault("status", status=503, times=None, path=DETAILS))

    assert FileImportRunSensor(task_id="wait", import_id=USERS).poke(Task().context).is_done
    assert FileImportRunSensor(task_id="wait", import_id=USERS).poke(Task().context).is_done
    assert moengage.asked(DETAILS) == [503], "they are left alone for five minutes"


def test_a_selection_by_time_fails_while_the_details_are_not_answered(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_moengage.api.paging.random.uniform", lambda *_: 0.0)
    moengage = begin(KOLKATA, "details", WINTER)
    moengage.run("a.csv")
    moengage.emulator.workspace.add_fault(Fault("status", status=503, times=None, path=DETAILS))

    with pytest.raises(MoEngageServerError):
        list(MoEngageHook().iter_file_runs(USERS, start=WINTER))


def test_without_a_zone_a_lost_call_is_not_taken_for_a_run(begin: Begin) -> None:
    moengage = begin(LOS_ANGELES, "nothing", WINTER)
    moengage.run("last.csv")
    moengage.pass_time(minutes=2)
    lose_call(moengage)

    TriggerFileImportOperator(task_id="t", import_id=USERS).execute(Task().context)

    assert len(moengage.emulator.workspace.file_triggers) == 1
    assert not moengage.emulator.workspace.faults


def test_without_a_zone_and_a_store_an_old_run_is_not_taken_for_that_of_a_try(
    begin: Begin, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    moengage = begin(KOLKATA, "nothing", WINTER)
    moengage.run("old.csv")
    task = Task(has_store=False, began=moengage.pass_time(minutes=10))
    task.retry()

    TriggerFileImportOperator(task_id="t", import_id=USERS).execute(task.context)

    assert len(moengage.emulator.workspace.file_triggers) == 1
    assert "triggering it again. Set import_time_zone" in capsys.readouterr().out + caplog.text


def test_an_id_made_of_a_time_does_not_change_with_the_zone(begin: Begin) -> None:
    ids = set()
    for shown_by in ("setting", "nothing"):
        moengage = begin(KOLKATA, shown_by, WINTER)
        body = json.dumps(_page({"file_name": "a.csv", "scheduled_at": "2026-01-05T08:30:00"}))
        moengage.emulator.workspace.add_fault(Fault("status", status=200, body=body, path=HISTORY))
        ids |= {run.id for run in MoEngageHook().iter_file_runs(USERS)}

    assert ids == {"a.csv@2026-01-05T08:30:00"}


def _page(*rows: Any) -> dict[str, Any]:
    return {"status": "success", "data": rows, "offset": 1, "more_files": False}


@pytest.mark.parametrize("times", [1, 3])
def test_an_unknown_status_is_logged_once(begin: Begin, caplog: pytest.LogCaptureFixture, times: int) -> None:
    moengage = begin(KOLKATA, "setting", WINTER)
    for number in range(times):
        moengage.run(f"{number}.csv", status="VIRUS_SCAN")
        moengage.pass_time(minutes=10)

    with caplog.at_level(logging.WARNING):
        assert len(list(MoEngageHook().iter_file_runs(USERS))) == times

    assert [each.getMessage() for each in caplog.records if "unknown to this provider" in each.getMessage()] == [
        f"Import {USERS}: MoEngage reports the file status 'VIRUS_SCAN', which is unknown to this provider;"
        " treated as unfinished"
    ]


@pytest.mark.parametrize("minutes", [-30, 30])
def test_without_ids_a_time_that_the_clock_repeats_is_the_first_one(begin: Begin, minutes: float) -> None:
    back = MOMENTS[f"{LOS_ANGELES} clocks put back"][1]
    moengage = begin(LOS_ANGELES, "details", back + timedelta(minutes=minutes))
    moengage.run("a.csv")

    [run] = MoEngageHook().iter_file_runs(USERS)

    assert run.scheduled_at == back - timedelta(minutes=30)


def test_threads_share_what_is_known(begin: Begin) -> None:
    moengage = begin(KOLKATA, "details", WINTER)
    moengage.run("a.csv")
    list(MoEngageHook().iter_file_runs(USERS))
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.extend(MoEngageHook().iter_file_runs(USERS))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {run.scheduled_at for run in found} == {WINTER}
    assert moengage.asked(DETAILS) == [200]
