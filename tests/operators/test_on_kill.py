"""``on_kill`` at any moment, for every operator: nothing is sent or published after it.

Airflow 3 calls it in a signal handler and then lets ``execute`` continue, so these tests do the same.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred

import airflow_provider_moengage
from airflow_provider_moengage.bulk.clock import SystemClock
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.emulator import BusinessEvent, Fault, FileImport, ImportFile
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from airflow_provider_moengage.tasks import file_import_start
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from airflow_provider_moengage.transfers.sql_to_moengage_file import SqlToMoEngageFileOperator
from tests.delivering import MoEngage, customer
from tests.task import Task

PACKAGE = str(Path(airflow_provider_moengage.__file__).parent)
EMULATOR = f"{PACKAGE}/emulator"
ROWS = 500
BATCH = 100
FILES = 14


class Killed:
    """Runs an operator and calls its ``on_kill`` at its n-th call of a function of this package.

    :param count: how much MoEngage has received, or how many files are published.
    :param in_flight: functions inside which the last request may be on its way.
    """

    def __init__(self, operator: Any, count: Callable[[], int], *in_flight: str) -> None:
        self.operator = operator
        self._count = count
        self._in_flight = in_flight
        self.calls = 0
        self.count_at_kill: int | None = None
        self.is_in_flight = False
        self.error: BaseException | None = None

    def run(self, at: int | None) -> None:
        def profile(frame: FrameType, event: str, _: object) -> None:
            path = frame.f_code.co_filename
            if event != "call" or not path.startswith(PACKAGE) or path.startswith(EMULATOR):
                return
            self.calls += 1
            if self.calls == at:
                sys.setprofile(None)
                self._kill(frame)

        context = Task(retries=0).context
        self.operator.render_template_fields(context)
        sys.setprofile(profile)
        try:
            self.operator.execute(context)
        except (MoEngageError, AirflowSkipException, TaskDeferred) as error:
            self.error = error
        finally:
            sys.setprofile(None)

    def _kill(self, frame: FrameType | None) -> None:
        while frame is not None:
            self.is_in_flight = self.is_in_flight or frame.f_code.co_name in self._in_flight
            frame = frame.f_back
        self.count_at_kill = self._count()
        self.operator.on_kill()


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, user_id TEXT)")
        database.executemany(
            "INSERT INTO users VALUES (?, ?)", [(number, f"user {number}") for number in range(ROWS)]
        )
    database.close()


@pytest.fixture
def everything(
    in_small_batches: MoEngage, warehouse: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MoEngage:
    set_up(in_small_batches)
    monkeypatch.setattr(file_import_start, "CLOCK", in_small_batches.clock)
    monkeypatch.setattr("airflow_provider_moengage.api.paging.time.sleep", lambda seconds: None)
    return in_small_batches


def set_up(moengage: MoEngage) -> None:
    file = ImportFile("users_{run}.csv", steps=((0, "SUCCESSFUL"),))
    moengage.reset(file_cooldown_seconds=0)
    workspace = moengage.emulator.workspace
    workspace.clear_file_imports()
    workspace.add_file_import(FileImport("users", "Users", (file,)))
    workspace.add_business_event(BusinessEvent("New movie", attributes=None, campaigns=("c",)))


def elements() -> Iterator[dict[str, Any]]:
    for number in range(ROWS):
        yield customer(f"user {number}")


def bulk(elements: Any = elements, **options: Any) -> BulkImportOperator:
    return BulkImportOperator(task_id="send", elements=elements, **options)


def sync(**options: Any) -> SqlToMoEngageOperator:
    return SqlToMoEngageOperator(
        task_id="sync",
        conn_id="warehouse",
        sql="SELECT id, user_id FROM users",
        mapping=CustomerMapping(attributes={"number": "id"}),
        **options,
    )


def event(**options: Any) -> BusinessEventOperator:
    return BusinessEventOperator(task_id="trigger", event_name="New movie", **options)


def files(folder: Path, **options: Any) -> SqlToMoEngageFileOperator:
    return SqlToMoEngageFileOperator(
        task_id="export",
        conn_id="warehouse",
        sql="SELECT id, user_id FROM users",
        id_column="user_id",
        attributes={"number": "id"},
        folder=folder,
        max_file_bytes=500,
        **options,
    )


OPERATORS: dict[str, tuple[Callable[[Path], Any], Callable[[MoEngage, Path], int], int, str]] = {
    "a list": (lambda _: bulk(list(elements())), lambda m, _: m.emulator.workspace.counts.elements, BATCH, ""),
    "a function": (lambda _: bulk(), lambda m, _: m.emulator.workspace.counts.elements, BATCH, ""),
    "at most once": (
        lambda _: bulk(delivery="at_most_once"),
        lambda m, _: m.emulator.workspace.counts.elements,
        BATCH,
        "",
    ),
    "rows": (lambda _: sync(), lambda m, _: m.emulator.workspace.counts.elements, BATCH, ""),
    "rows by key": (
        lambda _: sync(key_columns=["id"], concurrency=1),
        lambda m, _: m.emulator.workspace.counts.elements,
        BATCH,
        "",
    ),
    "an event": (
        lambda _: event(check_event=True),
        lambda m, _: m.emulator.workspace.counts.firings,
        1,
        "trigger_business_event",
    ),
    "an import": (
        lambda _: TriggerFileImportOperator(task_id="import", import_id="users"),
        lambda m, _: m.emulator.workspace.counts.file_triggers,
        1,
        "trigger",
    ),
    "files": (lambda path: files(path / "out"), lambda _, path: published(path / "out"), 0, "reveal"),
}


def published(folder: Path) -> int:
    return len(list(folder.glob("[!.]*")))


@pytest.mark.parametrize("name", OPERATORS)
def test_nothing_is_sent_after_a_kill_at_any_moment(everything: MoEngage, tmp_path: Path, name: str) -> None:
    make, count, in_flight, sending = OPERATORS[name]

    def killed(at: int | None) -> Killed:
        folder = tmp_path / str(at)
        set_up(everything)
        run = Killed(make(folder), lambda: count(everything, folder), *sending.split())
        run.run(at)
        after = count(everything, folder)
        if run.count_at_kill is None:
            return run
        if name == "files":
            assert after == (0 if run.error else FILES), f"killed at call {at}: {after} files remain"
            assert run.error or run.count_at_kill >= FILES - 1, f"killed at call {at}, and published all the same"
            assert not list((folder / "out").glob(".*")), f"killed at call {at}: a partial file remains"
        else:
            most = in_flight if not sending or run.is_in_flight else 0
            assert after - run.count_at_kill <= most, (
                f"killed at call {at}: {after - run.count_at_kill} sent after"
            )
        return run

    calls = killed(None).calls
    assert calls > 30
    step = max(1, calls // 20)
    for at in sorted({1, 2, 3, *range(4, calls, step), *range(calls - 12, calls)}):
        killed(at)


def test_a_kill_while_a_function_makes_the_elements_sends_nothing(everything: MoEngage) -> None:
    def slow() -> list[dict[str, Any]]:
        operator.on_kill()
        return list(elements())

    operator = bulk(slow)

    with pytest.raises(MoEngageError, match="killed before it sent anything"):
        operator.execute(Task().context)

    assert everything.emulator.workspace.counts.elements == 0


@pytest.mark.parametrize(
    ("show_total", "message"),
    [(True, "The task was killed before it sent anything"), (False, "The run was stopped")],
    ids=["while it counts", "while it reads"],
)
def test_a_kill_while_the_query_runs_sends_nothing(
    everything: MoEngage, monkeypatch: pytest.MonkeyPatch, show_total: bool, message: str
) -> None:
    operator = sync(key_columns=["id"], show_total=show_total)
    from airflow_provider_moengage.sources import sql_stream

    execute = sql_stream._execute

    def killing(*arguments: Any) -> None:
        operator.on_kill()
        execute(*arguments)

    monkeypatch.setattr(sql_stream, "_execute", killing)

    with pytest.raises(MoEngageError, match=message):
        operator.execute(Task().context)

    assert everything.emulator.workspace.counts.elements == 0


def test_a_kill_while_the_reader_waits_for_the_source_stops_the_lanes(everything: MoEngage) -> None:
    """The reader, which ends a run, sees nothing while it waits for the next element."""
    workspace = everything.emulator.workspace

    def elements() -> Iterator[dict[str, Any]]:
        for number in range(3 * BATCH):
            yield customer(f"user {number}")
        operator.on_kill()
        sent = workspace.counts.elements
        time.sleep(0.5)
        assert workspace.counts.elements - sent <= BATCH, "one request was in flight"
        yield from ()

    workspace.add_fault(Fault("slow", seconds=0.15, times=None))
    operator = bulk(elements, concurrency=1)

    with pytest.raises(MoEngageError, match="The run was stopped"):
        operator.execute(Task().context)

    assert workspace.counts.elements < 3 * BATCH


def test_a_stop_before_a_hooks_bulk_import_ends_that_one_only(everything: MoEngage) -> None:
    hook = MoEngageHook()
    hook.stop_bulk_import()

    with pytest.raises(MoEngageError, match="The run was stopped; 0 elements"):
        hook.bulk_import([customer("ann")])

    assert hook.bulk_import([customer("ann")]).accepted == 1


def test_a_kill_between_two_attempts_to_connect_triggers_no_event(
    everything: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = event()
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: operator.on_kill())
    monkeypatch.setenv(
        "AIRFLOW_CONN_MOENGAGE_DEFAULT",
        json.dumps({"conn_type": "moengage", "host": "http://127.0.0.1:9", "login": "W", "password": "key"}),
    )
    task = Task()

    with pytest.raises(MoEngageError, match="killed before it was triggered"):
        operator.execute(task.context)

    assert not task.store, "the next try may send"


def test_a_killed_sensor_polls_no_more_and_is_not_skipped(everything: MoEngage) -> None:
    workspace = everything.emulator.workspace
    sensor = FileImportRunSensor(task_id="wait", import_id="users", soft_fail=True, poke_interval=60)
    sensor.on_kill()

    with pytest.raises(MoEngageError, match="killed while it waited"):
        sensor.execute(Task().context)

    assert workspace.counts.requests == 0


@pytest.mark.parametrize("flag", ["soft_fail", "never_fail", "silent_fail", None])
@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_sensor_that_is_killed_ends_within_a_second_and_is_not_skipped(
    everything: MoEngage, monkeypatch: pytest.MonkeyPatch, flag: str | None, mode: str
) -> None:
    """Airflow's own sleep goes on after the signal handler, until Airflow kills the process."""
    workspace = everything.emulator.workspace
    flags: dict[str, Any] = {flag: True} if flag else {}
    sensor = FileImportRunSensor(task_id="wait", import_id="users", poke_interval=3600, mode=mode, **flags)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert len(slept) <= 3, "it goes on after the kill"
        if len(slept) == 3:
            sensor.on_kill()

    def poke(context: Any) -> Any:
        seen = FileImportRunSensor.poke(sensor, context)
        if mode == "reschedule":
            sensor.on_kill()
        return seen

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(sensor, "poke", poke)
    bases = sys.modules.get("airflow.sensors.base")
    if hasattr(bases, "_orig_start_date"):  # Airflow 2 looks in its database for the first of the reschedules
        monkeypatch.setattr(bases, "_orig_start_date", lambda **_: None)

    with pytest.raises(MoEngageError, match="killed while it waited"):
        sensor.execute(Task().context)

    assert slept == ([1.0] * 3 if mode == "poke" else [])
    assert workspace.counts.requests == 1


def test_a_kill_in_the_middle_of_a_wait_ends_it_whatever_the_wait_is_doing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signal handler runs between any two lines, also of the standard library, in the thread that waits."""

    class Quick(SystemClock):
        def wait(self, stopped: threading.Event, seconds: float) -> bool:
            return super().wait(stopped, min(seconds, 0.001))

    monkeypatch.setattr(file_import_start, "CLOCK", Quick())

    def killed_at(line: int) -> bool:
        """Return whether the wait was over before that line."""
        operator = TriggerFileImportOperator(task_id="import", import_id="users")
        left = line
        ended: list[str] = []

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal left
            left -= event == "line"
            if left == 0:
                sys.settrace(None)
                left = -1
                operator.on_kill()
            return trace

        def wait() -> None:
            sys.settrace(trace)
            try:
                operator.pause(3.0)
                ended.append("unkilled")
            except MoEngageError as error:
                ended.append(str(error))
            finally:
                sys.settrace(None)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        thread.join(10)
        assert ended, f"killed at line {line}: it waits for ever"
        assert left > 0 or "the task was ended" in ended[0], f"killed at line {line}"
        return left > 0

    assert next(line for line in itertools.count(1) if killed_at(line)) > 20
