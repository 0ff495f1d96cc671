"""What the triggers of one triggerer share: connections that are read once, pollers, budgets."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from airflow_provider_moengage.emulator import Credentials, FileImport, ImportFile
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.polling.poller import Clock, Poller
from airflow_provider_moengage.polling.selection import Selection
from airflow_provider_moengage.triggers import pollers
from airflow_provider_moengage.triggers.file_import import FileImportRunTrigger
from tests.delivering import MoEngage, connection_to

USERS = "users-import"
HISTORY = "/v1.0/data/fileimports/import/run/history"
STOP = 20.0
"""Seconds of real time after which a test that hangs has failed."""


class Hurried(Clock):
    """The emulator's time, which passes as soon as a poller sleeps."""

    def __init__(self, moengage: MoEngage) -> None:
        self._moengage = moengage
        self.on_sleep: Callable[[], None] = lambda: None

    def time(self) -> float:
        return self._moengage.clock.time()

    async def sleep(self, seconds: float, woken: asyncio.Event) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        self.on_sleep()
        if not woken.is_set():
            self._moengage.clock.wait(threading.Event(), max(seconds, 1e-3))


@pytest.fixture
def clock(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> Hurried:
    clock = Hurried(connected)
    monkeypatch.setattr(pollers, "CLOCK", clock)
    monkeypatch.setattr(pollers, "_BUDGETS", {})
    monkeypatch.setattr(pollers, "READ_AGAIN", 0.0)
    return clock


@pytest.fixture
def imports(connected: MoEngage, clock: Hurried) -> Iterator[MoEngage]:
    """An import with a file that has ended, and one with a file that ends in two minutes."""
    workspace = connected.emulator.workspace
    credentials = workspace.credentials
    workspace.clear_file_imports()
    for import_id, seconds in ((USERS, 0.0), ("slow", 120.0)):
        file = ImportFile(f"{import_id}.csv", steps=((0, "PROCESSING"), (seconds, "SUCCESSFUL")))
        workspace.add_file_import(FileImport(import_id, import_id, (file,)))
        workspace.run_file_import(import_id)
    yield connected
    workspace.clear_file_imports()
    workspace.credentials = credentials


@pytest.fixture
def connections_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the connections that were read, in order."""
    read: list[str] = []
    get = MoEngageHook.get_connection

    def spy(conn_id: str) -> Any:
        read.append(conn_id)
        return get(conn_id)

    monkeypatch.setattr(MoEngageHook, "get_connection", staticmethod(spy))
    return read


async def event(import_id: str = USERS, conn_id: str = "moengage_default", **options: Any) -> dict[str, Any]:
    """What a trigger fires with."""
    trigger = FileImportRunTrigger(
        moengage_conn_id=conn_id, what=("import_id", import_id), selection=Selection().to_dict(), **options
    )
    async with aclosing(trigger.run()) as events:  # type: ignore[type-var]
        async for fired in events:
            payload: dict[str, Any] = fired.payload
            return payload
    raise AssertionError("a trigger fires")


async def together(*waits: Coroutine[Any, Any, dict[str, Any]]) -> list[dict[str, Any]]:
    async with asyncio.timeout(STOP):
        return await asyncio.gather(*waits)


def run(*waits: Any) -> list[dict[str, Any]]:
    return asyncio.run(together(*waits))


def looks(moengage: MoEngage) -> list[float]:
    """When the run history was asked for."""
    return [request.received_at for request in moengage.emulator.workspace.requests if request.path == HISTORY]


def connect(monkeypatch: pytest.MonkeyPatch, moengage: MoEngage, conn_id: str, **changes: Any) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection_to(moengage, **changes))


def finished(events: list[dict[str, Any]]) -> list[list[str]]:
    return [[file["file_name"] for file in fired["files"]] for fired in events if fired["status"] == "finished"]


def test_triggers_of_one_connection_share_a_look(imports: MoEngage) -> None:
    assert finished(run(*(event() for _ in range(50)))) == [[f"{USERS}.csv"]] * 50
    assert len(looks(imports)) <= 2, "one more for those who came while the first was under way"


def test_a_trigger_waits_until_the_file_has_ended(imports: MoEngage) -> None:
    began = imports.clock.time()

    assert finished(run(event("slow", poke_interval=30))) == [["slow.csv"]]
    assert 120 <= imports.clock.time() - began < 180


def test_two_connections_with_the_same_key_share_a_poller(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, imports, "twin")
    made: list[Any] = []
    kind = Poller

    def making(*arguments: Any, **options: Any) -> Any:
        made.append(kind(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(pollers, "Poller", making)

    assert len(finished(run(event("slow"), event("slow", conn_id="twin")))) == 2
    assert len(made) == 1


def test_two_keys_of_one_workspace_share_a_budget(imports: MoEngage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MOENGAGE__FILE_IMPORT_REQUESTS_PER_MINUTE", "10")
    connect(monkeypatch, imports, "twin", extra={"campaign_api_key": "another-key"})

    began = imports.clock.time()

    assert len(finished(run(event(), event(conn_id="twin")))) == 2
    assert len(looks(imports)) == 2
    assert imports.clock.time() - began >= 6, "one of ten a minute at once, and the next one later"


def test_two_projects_of_a_workspace_are_asked_about_apart_and_share_a_budget(imports: MoEngage) -> None:
    run(event(project_code="a"), event(project_code="b"), event(project_code="a"))

    assert {request.project_code for request in imports.emulator.workspace.requests} == {"a", "b"}
    assert len(pollers._BUDGETS) == 1


def test_two_hosts_have_budgets_of_their_own(imports: MoEngage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MOENGAGE__FILE_IMPORT_REQUESTS_PER_MINUTE", "10")
    connect(monkeypatch, imports, "other", host=imports.emulator.url.replace("127.0.0.1", "localhost"))

    began = imports.clock.time()

    assert len(finished(run(event(), event(conn_id="other")))) == 2
    assert imports.clock.time() - began < 6


@pytest.mark.parametrize("wrong", ["0", "-3", "nan"])
def test_a_budget_that_is_no_budget_is_one_a_minute_and_said_in_the_log(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    monkeypatch.setenv("AIRFLOW__MOENGAGE__FILE_IMPORT_REQUESTS_PER_MINUTE", wrong)

    assert len(finished(run(event()))) == 1
    assert "file_import_requests_per_minute" in caplog.text


def test_the_budget_outlives_the_pollers_that_spend_it(imports: MoEngage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MOENGAGE__FILE_IMPORT_REQUESTS_PER_MINUTE", "10")

    began = imports.clock.time()

    assert len(finished(run(event()) + run(event()))) == 2
    assert imports.clock.time() - began >= 6


def test_each_event_loop_has_its_own_poller(imports: MoEngage) -> None:
    async def mine() -> tuple[Any, Any]:
        own = pollers.pollers()
        assert pollers.pollers() is own
        return own, own.of(await own.workspace("moengage_default"))

    first, second = asyncio.run(mine()), asyncio.run(mine())

    assert first[0] is not second[0]
    assert first[1] is not second[1]


def test_triggers_on_several_event_loops_at_once_all_end(imports: MoEngage) -> None:
    """As ``dag.test()`` has it, a loop for each trigger."""
    fired: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: fired.extend(run(event("slow")))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(STOP)

    assert finished(fired) == [["slow.csv"]] * 3


def test_pollers_go_with_their_loop(imports: MoEngage) -> None:
    async def mine() -> Any:
        await event()
        return weakref.ref(pollers.pollers())

    all_of_them = [asyncio.run(mine()) for _ in range(4)]
    gc.collect()

    assert sum(each() is not None for each in all_of_them) <= 1, "asgiref keeps the last loop it has seen"


def test_one_trigger_after_the_other_gets_a_poller_that_lives(imports: MoEngage) -> None:
    async def in_turn() -> list[dict[str, Any]]:
        return [await event() for _ in range(3)]

    assert len(finished(asyncio.run(in_turn()))) == 3


def test_a_poller_that_nobody_needs_any_more_is_forgotten(imports: MoEngage) -> None:
    async def forgotten() -> bool:
        mine = pollers.pollers()
        workspace = await mine.workspace("moengage_default")
        before = mine.of(workspace)
        await event()
        return mine.of(workspace) is not before

    assert asyncio.run(forgotten())


def test_a_trigger_that_is_cancelled_leaves_no_poller(imports: MoEngage) -> None:
    async def cancelled() -> list[str]:
        waiting = asyncio.create_task(event("slow", poke_interval=3_600))
        while not looks(imports):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert asyncio.run(cancelled()) == []


def test_a_connection_is_read_once_for_many_triggers_that_start_together(
    imports: MoEngage, connections_read: list[str]
) -> None:
    run(*(event(USERS if number % 2 else "slow") for number in range(40)))

    assert connections_read == ["moengage_default"]


def test_each_connection_is_read_once(
    imports: MoEngage, connections_read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, imports, "twin")
    run(*(event(conn_id=conn_id) for conn_id in ("moengage_default", "twin") * 5))

    assert sorted(connections_read) == ["moengage_default", "twin"]


def test_a_connection_is_read_anew_for_triggers_that_start_later(
    imports: MoEngage, connections_read: list[str]
) -> None:
    async def later() -> None:
        await event()
        imports.clock.wait(threading.Event(), pollers.CONNECTION_KEPT - 1)
        await event()
        assert len(connections_read) == 1
        imports.clock.wait(threading.Event(), 2)
        await event()

    asyncio.run(later())

    assert len(connections_read) == 2


def rotate(moengage: MoEngage, key: str) -> None:
    """Give the workspace another key at MoEngage."""
    moengage.emulator.workspace.credentials = Credentials("EMULATOR", key)


def test_a_wait_goes_on_after_the_key_was_changed_at_moengage_and_in_the_connection(
    imports: MoEngage, clock: Hurried, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> None:
        rotate(imports, "a-new-key")
        connect(monkeypatch, imports, "moengage_default", password="a-new-key")

    clock.on_sleep = change

    assert finished(run(*(event("slow", poke_interval=20) for _ in range(5)))) == [["slow.csv"]] * 5
    assert [each.status for each in imports.emulator.workspace.requests].count(401) == 1


def test_a_wait_ends_after_the_key_was_changed_at_moengage_alone(imports: MoEngage, clock: Hurried) -> None:
    clock.on_sleep = lambda: rotate(imports, "a-new-key")

    for fired in run(*(event("slow") for _ in range(5))):
        assert (fired["status"], fired["kind"], fired["status_code"]) == ("error", "authentication", 401)
        assert "Data tile" in fired["message"]
        assert "key" not in fired["message"].replace("key of the Data tile", "")


def test_a_wait_ends_after_the_connection_got_another_key_that_is_wrong_too(
    imports: MoEngage, clock: Hurried, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> None:
        rotate(imports, "a-new-key")
        connect(monkeypatch, imports, "moengage_default", password="a-misspelt-key")

    clock.on_sleep = change
    [fired] = run(event("slow"))

    assert (fired["status"], fired["status_code"]) == ("error", 401)
    assert [each.status for each in imports.emulator.workspace.requests].count(401) == 2


def test_a_connection_is_read_once_for_many_triggers_that_are_refused_together(
    imports: MoEngage, connections_read: list[str], clock: Hurried
) -> None:
    clock.on_sleep = lambda: rotate(imports, "a-new-key")
    events = run(*(event("slow") for _ in range(40)))

    assert {fired["status"] for fired in events} == {"error"}
    assert len(connections_read) == 2


def test_a_connection_that_is_not_there_is_read_again_and_then_an_error_that_airflow_may_retry(
    imports: MoEngage, connections_read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Airflow 3.3 says "not found" where its API server does not answer.
    monkeypatch.setattr(pollers, "READ_AGAIN", 0.0)

    [fired] = run(event(conn_id="nobody"))

    assert connections_read == ["nobody"] * 5
    assert (fired["status"], fired["kind"], fired["status_code"]) == ("error", "server", None)
    assert "nobody" in fired["message"]


def test_a_connection_that_is_not_set_up_is_an_error_event_that_names_the_field(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, imports, "half", password="")
    [fired] = run(event(conn_id="half"))

    assert (fired["status"], fired["kind"]) == ("error", "request")
    assert "Connection 'half', field password: is empty" in fired["message"]


@pytest.mark.parametrize(("failures", "status"), [(4, "finished"), (5, "error")])
def test_a_connection_that_cannot_be_read_is_read_again_up_to_five_times(
    imports: MoEngage, monkeypatch: pytest.MonkeyPatch, failures: int, status: str
) -> None:
    get = MoEngageHook.get_connection
    left = [ConnectionError("the API server is restarted, says a-secret")] * failures

    def unsteady(conn_id: str) -> Any:
        if left:
            raise left.pop()
        return get(conn_id)

    monkeypatch.setattr(MoEngageHook, "get_connection", staticmethod(unsteady))
    [fired] = run(event())

    assert fired["status"] == status
    assert "a-secret" not in str(fired)
