"""The triggers: what they carry, that they fire once (or for each file), and that errors never fire an asset."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_moengage.emulator import Emulator, Fault, FileImport, ImportFile, Settings
from airflow_provider_moengage.polling.selection import Selection
from airflow_provider_moengage.triggers import file_import_event, pollers
from airflow_provider_moengage.triggers.file_import import FileImportRunEventTrigger, FileImportRunTrigger

HAS_ASSETS = hasattr(__import__("airflow.triggers.base", fromlist=["x"]), "BaseEventTrigger")
needs_assets = pytest.mark.skipif(not HAS_ASSETS, reason="Airflow 2 watches no assets by triggers")


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    monkeypatch.setattr(pollers, "_BUDGETS", {})
    monkeypatch.setenv("AIRFLOW__MOENGAGE__FILE_IMPORT_REQUESTS_PER_MINUTE", "60000")
    with Emulator(Settings(file_history_quota=None, file_imports_quota=None)) as emulator:
        connection = {"conn_type": "moengage", "login": "EMULATOR", "password": "emulator-data-key"}
        monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps({**connection, "host": emulator.url}))
        yield emulator


def add_import(emulator: Emulator, status: str = "SUCCESSFUL", after: float = 0.05) -> None:
    file = ImportFile("users_{run}.csv", steps=((0, "QUEUED"), (after, status)))
    emulator.workspace.add_file_import(FileImport("users", "Users", (file,)))


def waiting(**changes: Any) -> FileImportRunTrigger:
    given = {
        "moengage_conn_id": "moengage_default",
        "what": ["import_id", "users"],
        "selection": Selection().to_dict(),
        "poke_interval": 0.02,
    }
    return FileImportRunTrigger(**{**given, **changes})


def events(trigger: FileImportRunTrigger) -> list[Any]:
    async def all_events() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(all_events())


def test_it_fires_once_when_the_files_have_ended(emulator: Emulator) -> None:
    add_import(emulator)
    emulator.workspace.run_file_import("users")

    [event] = events(waiting())

    assert event["status"] == "finished"
    assert [file["file_name"] for file in event["files"]] == ["users_1.csv"]
    assert json.loads(json.dumps(event)) == event


def test_it_comes_back_from_the_database_as_it_went(emulator: Emulator) -> None:
    selection = Selection("users_*.csv", expected_files=3).to_dict()
    trigger = waiting(
        selection=selection, timeout_at=5.0, execution_timeout_at=6.5, failed_polls=1, run={"import_id": "users"}
    )

    path, arguments = trigger.serialize()
    stored = through_airflow(arguments)
    module, _, name = path.rpartition(".")
    again = getattr(__import__(module, fromlist=[name]), name)(**stored)

    assert json.loads(json.dumps(arguments)) == arguments, "primitives only"
    assert again.serialize() == (path, arguments)
    assert "emulator-data-key" not in json.dumps(arguments)


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ({"timeout_at": 0.0}, "timeout"),
        ({"execution_timeout_at": 0.0}, "execution_timeout"),
        ({"timeout_at": 0.0, "execution_timeout_at": 1e12}, "timeout"),
        ({"timeout_at": 1e12, "execution_timeout_at": 1.0}, "execution_timeout"),
    ],
)
def test_it_owns_its_deadlines(emulator: Emulator, limits: dict[str, float], limit: str) -> None:
    add_import(emulator, after=10**6)
    emulator.workspace.run_file_import("users")

    assert events(waiting(**limits)) == [{"status": "timeout", "limit": limit}]


def test_a_deadline_holds_while_moengage_does_not_answer(emulator: Emulator) -> None:
    add_import(emulator)
    emulator.workspace.add_fault(Fault("slow", seconds=30))

    async def first() -> tuple[Any, float]:
        begun = time.monotonic()
        trigger = waiting(timeout_at=time.time() + 0.05)
        [event] = [event.payload async for event in trigger.run()]
        return event, time.monotonic() - begun

    event, took = asyncio.run(first())

    assert event["status"] == "timeout"
    assert took < 10, "the answer takes 30 s; the request that waits for it is cut"


def test_an_import_that_does_not_exist_is_an_error_unless_it_was_triggered(emulator: Emulator) -> None:
    [event] = events(waiting())
    assert (event["status"], event["is_absence"]) == ("error", True)

    later = time.time() + 0.1
    assert events(waiting(may_be_absent=True, timeout_at=later))[0]["status"] == "timeout"


def test_what_the_task_needs_comes_back_with_the_event(emulator: Emulator) -> None:
    add_import(emulator)
    emulator.workspace.run_file_import("users")
    selection = {**Selection().to_dict(), "baseline": ["old"]}

    [event] = events(waiting(selection=selection, run={"import_id": "users", "triggered_at": "2026-01-01"}))

    assert event["run"] == {
        "import_id": "users",
        "triggered_at": "2026-01-01",
        "baseline": ["old"],
        "baseline_since": None,
    }


def test_a_person_who_ends_the_task_is_told_that_the_import_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    trigger = waiting()
    monkeypatch.setattr(
        type(trigger), "log", type("Log", (), {"warning": staticmethod(lambda text, *_: said.append(text))})
    )

    asyncio.run(trigger.on_kill())

    assert "cannot cancel an import" in said[0]


# Assets.


class Store:
    """An asset's state store, asynchronous as the triggerer's."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.is_broken = False

    async def aget(self, key: str) -> Any:
        self._check()
        return self.kept.get(key)

    async def aset(self, key: str, value: Any) -> None:
        self._check()
        self.kept[key] = json.loads(json.dumps(value))

    def _check(self) -> None:
        if self.is_broken:
            raise ValueError("Task has 2 concrete inlets")


def watcher(store: Store | None = None, **changes: Any) -> FileImportRunEventTrigger:
    trigger = FileImportRunEventTrigger(**{"import_id": "users", "poke_interval": 0.02, **changes})
    trigger.asset_state_store = store  # type: ignore[assignment]
    return trigger


async def told(trigger: FileImportRunEventTrigger, count: int, *, within: float = 5.0) -> list[str]:
    """Return the names of the first files that are told, or of fewer where no more come."""
    names: list[str] = []
    try:
        async with asyncio.timeout(within):
            async for event in trigger.run():
                names.append(event.payload["file_name"])
                if len(names) == count:
                    break
    except TimeoutError:
        pass
    return names


async def told_after_first_look(emulator: Emulator, trigger: FileImportRunEventTrigger, count: int) -> list[str]:
    listening = asyncio.create_task(told(trigger, count))
    looks = len(emulator.workspace.requests)
    while len(emulator.workspace.requests) < looks + 2:
        await asyncio.sleep(0.01)
    for _ in range(count):
        emulator.workspace.run_file_import("users")
    return await listening


@needs_assets
def test_each_file_that_finishes_is_one_event(emulator: Emulator) -> None:
    add_import(emulator)
    emulator.workspace.run_file_import("users")
    time.sleep(0.06)

    names = asyncio.run(told_after_first_look(emulator, watcher(), 2))

    assert names == ["users_2.csv", "users_3.csv"], "and not the one that was over before"


@needs_assets
def test_a_failed_file_is_an_event_only_where_it_is_asked_for(emulator: Emulator) -> None:
    add_import(emulator, "FAILED")

    async def both() -> tuple[list[str], list[str]]:
        quiet = asyncio.create_task(told(watcher(), 1, within=0.5))
        loud = await told_after_first_look(emulator, watcher(statuses=["FAILED"]), 1)
        return await quiet, loud

    assert asyncio.run(both()) == ([], ["users_1.csv"])


@needs_assets
def test_with_a_state_store_a_restart_tells_what_was_missed_and_nothing_twice(emulator: Emulator) -> None:
    add_import(emulator)
    store = Store()
    assert asyncio.run(told_after_first_look(emulator, watcher(store), 1)) == ["users_1.csv"]
    # It was stopped in the middle of an event, so it was told, and not written down: once more is right.
    emulator.workspace.run_file_import("users")
    time.sleep(0.06)

    assert asyncio.run(told(watcher(store), 2)) == ["users_1.csv", "users_2.csv"]


@needs_assets
def test_without_a_state_store_a_restart_begins_with_its_first_look(emulator: Emulator) -> None:
    add_import(emulator)
    emulator.workspace.run_file_import("users")
    time.sleep(0.06)

    assert asyncio.run(told(watcher(), 1, within=0.3)) == []


@needs_assets
def test_a_state_store_that_fails_stops_nothing(emulator: Emulator) -> None:
    add_import(emulator)
    store = Store()
    store.is_broken = True

    assert asyncio.run(told_after_first_look(emulator, watcher(store), 1)) == ["users_1.csv"]


@needs_assets
@pytest.mark.parametrize(
    "fault", [Fault("status", status=401, times=2, after=1), Fault("status", status=503, times=20, after=1)]
)
def test_errors_fire_nothing_and_end_nothing(
    emulator: Emulator, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_import_event, "LOOK_AGAIN", 0.05)
    add_import(emulator)
    emulator.workspace.add_fault(fault)

    assert asyncio.run(told_after_first_look(emulator, watcher(Store()), 1)) == ["users_1.csv"]
    assert not emulator.workspace.faults


@needs_assets
def test_a_watcher_comes_back_from_the_database_as_it_went() -> None:
    trigger = watcher(file_name="users_*.csv", statuses=["failed", "PARTIAL_FAILURE"])

    path, arguments = trigger.serialize()
    again = FileImportRunEventTrigger(**through_airflow(arguments))

    assert again.serialize() == (path, arguments)
    assert arguments["statuses"] == ["FAILED", "PARTIAL_SUCCESS"]
    assert type(trigger).hash(path, arguments) == type(again).hash(*again.serialize())


@needs_assets
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"import_id": None}, "import_id, import_name"),
        ({"statuses": []}, r"statuses \[\]"),
        ({"statuses": ["PROCESSING"]}, "statuses"),
        ({"poke_interval": 0}, "poke_interval 0"),
    ],
)
def test_a_watchers_wrong_argument_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        watcher(**options)


@pytest.mark.skipif(HAS_ASSETS, reason="about Airflow 2")
def test_before_airflow_3_a_watcher_says_what_it_needs() -> None:
    with pytest.raises(RuntimeError, match="needs Airflow 3"):
        FileImportRunEventTrigger(import_id="users")


def through_airflow(arguments: dict[str, Any]) -> dict[str, Any]:
    """Store a trigger's arguments as Airflow does, and read them again."""
    from airflow.models.trigger import Trigger

    encrypt = Trigger.encrypt_kwargs if hasattr(Trigger, "encrypt_kwargs") else Trigger._encrypt_kwargs
    encrypted = encrypt(arguments)
    stored: dict[str, Any] = Trigger._decrypt_kwargs(encrypted)
    return stored
