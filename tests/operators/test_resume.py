"""BulkImportOperator over several tries, and where its checkpoint is stored."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.bulk.resume import rejects
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.tasks import checkpoint_stores as checkpoints
from tests.delivering import MoEngage, customer
from tests.import_files.test_folder import attach
from tests.killable_worker import Worker
from tests.task import Task

COUNT = 1_000


@pytest.fixture(autouse=True)
def object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    attach("memory", monkeypatch)


@pytest.fixture
def connected(in_small_batches: MoEngage) -> MoEngage:
    return in_small_batches


def people(count: int = COUNT, *, every: int | None = None) -> list[dict[str, Any]]:
    """Customers; each ``every``-th is a reject."""
    return [
        customer("null" if every and number % every == 0 else f"user {number}", number=number)
        for number in range(count)
    ]


def send(task: Task, **arguments: Any) -> dict[str, Any]:
    operator = BulkImportOperator(task_id="send", concurrency=1, **arguments)
    context = task.context
    operator.render_template_fields(context)
    return operator.execute(context)


def let_this_thread_execute() -> None:
    """Airflow 2 executes operators in the main thread only."""
    with suppress(ImportError):
        safeguard = getattr(import_module("airflow.models.baseoperator"), "ExecutorSafeguard", None)
        if sentinel := getattr(safeguard, "_sentinel", None):
            sentinel.callers = getattr(sentinel, "callers", {})


def dies(worker: Worker, task: Task, moments: int, **arguments: Any) -> None:
    assert worker.is_killed(lambda: send(task, **arguments), after=moments)
    task.retry()


def numbers(moengage: MoEngage) -> list[int]:
    return [element["attributes"]["number"] for element in moengage.arrived]


def assert_each_arrived_once_but_for(moengage: MoEngage, in_flight: int) -> None:
    assert sorted(set(numbers(moengage))) == list(range(COUNT))
    assert len(numbers(moengage)) <= COUNT + in_flight


def test_a_list_is_resumed(connected: MoEngage, worker: Worker) -> None:
    task = Task()
    dies(worker, task, 30, elements=people())

    assert send(task, elements=people())["resumed"]
    assert_each_arrived_once_but_for(connected, 100)


def test_another_list_is_sent_from_its_start(connected: MoEngage, worker: Worker) -> None:
    task = Task()
    dies(worker, task, 30, elements=people())
    changed = [*people(COUNT - 1), customer("somebody else", number=COUNT - 1)]

    assert not send(task, elements=changed)["resumed"]


def test_files_are_resumed_while_they_are_the_same(connected: MoEngage, worker: Worker, tmp_path: Path) -> None:
    lines = [json.dumps(element) for element in people()]
    for name, part in (("a", lines[:300]), ("b", lines[300:])):
        (tmp_path / f"{name}.ndjson").write_text("\n".join(part))
    path = f"{tmp_path}/*.ndjson"
    task = Task()
    dies(worker, task, 30, path=path)

    assert send(task, path=path)["resumed"]
    assert_each_arrived_once_but_for(connected, 100)

    task = Task()
    dies(worker, task, 30, path=path)
    changed = tmp_path / "b.ndjson"
    os.utime(changed, (1, 1))
    assert not send(task, path=path)["resumed"]


def test_a_function_is_called_again_and_all_of_it_is_sent(connected: MoEngage, worker: Worker) -> None:
    def made() -> Iterator[Any]:
        yield from people()

    task = Task()
    dies(worker, task, 12, elements=made)

    assert not send(task, elements=made)["resumed"]
    assert len(numbers(connected)) > COUNT + 100


@pytest.mark.parametrize("where", ["disk", "memory://checkpoints"])
def test_before_airflow_3_3_the_checkpoint_is_in_a_folder(
    connected: MoEngage, worker: Worker, tmp_path: Path, where: str
) -> None:
    folder = str(tmp_path / "made" / "here") if where == "disk" else f"{where}/{tmp_path.name}"
    task = Task(has_store=False)
    dies(worker, task, 30, elements=people(), checkpoint_path=folder)

    assert send(task, elements=people(), checkpoint_path=folder)["resumed"]
    assert_each_arrived_once_but_for(connected, 100)


def test_the_deployments_checkpoint_path_is_the_default(
    connected: MoEngage, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MOENGAGE__CHECKPOINT_PATH", str(tmp_path))
    task = Task()
    dies(worker, task, 30, elements=people())

    assert not task.store
    file, fence = sorted(tmp_path.iterdir())
    assert file.name.startswith("a_dag__a_run__a_task__")
    assert file.name.endswith(".checkpoint.json")
    assert fence.name == f"{file.name}.fence"
    assert send(task, elements=people())["resumed"]


def test_a_mapped_task_has_a_checkpoint_of_its_own(connected: MoEngage, tmp_path: Path) -> None:
    for index in (0, 1):
        task = Task()
        task.map_index = index
        send(task, elements=people(10), checkpoint_path=str(tmp_path))

    assert len(list(tmp_path.glob("*.checkpoint.json"))) == 2


def test_a_large_state_takes_several_values(
    connected: MoEngage, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "LARGEST_VALUE", 100)
    task = Task()
    dies(worker, task, 30, elements=people())

    assert task.store is not None
    assert max(len(json.dumps(value)) for value in task.store.values()) < 200
    assert send(task, elements=people())["resumed"]
    assert_each_arrived_once_but_for(connected, 100)


def test_an_interrupted_write_of_several_values_leaves_the_previous_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "LARGEST_VALUE", 100)
    task = Task()
    store = checkpoints.StateStore(task.context)
    states = [{"a": "x" * 450, "number": number} for number in range(6)]
    for state in states[:5]:
        store.save(state)
    assert task.store is not None
    whole = dict(task.store)
    store.save(states[5])
    written = [key for key in task.store if task.store[key] != whole.get(key)]
    for key in written[1:]:
        task.store[key] = whole.get(key, task.store[key])
    head = "moengage_checkpoint"
    task.store[head] = whole[head]

    assert checkpoints.StateStore(task.context).load() == states[4]


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"\xff"])
def test_a_file_that_is_not_a_checkpoint_is_reported(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "state.json").write_bytes(text)

    assert checkpoints.FileStore(str(tmp_path / "state.json")).load() == {}


@pytest.mark.parametrize("where", ["disk", "memory://rejects"])
@pytest.mark.parametrize("moments", [22, 37, 52])
def test_rejects_are_appended_over_the_tries_each_once(
    connected: MoEngage,
    worker: Worker,
    tmp_path: Path,
    where: str,
    moments: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    monkeypatch.setattr(rejects, "_WORTH_AN_UPLOAD", 5)
    folder = str(tmp_path) if where == "disk" else f"{where}/{tmp_path.name}"
    path = f"{folder}/rejects.ndjson"
    arguments = {"elements": people(every=20), "rejects_path": path, "max_rejects": COUNT}
    task = Task()
    dies(worker, task, moments, **arguments)

    report = send(task, **arguments)

    written: Any = ObjectStoragePath(path)
    with written.open("rb") as file:
        lines = [json.loads(line) for line in file.read().splitlines()]
    assert sorted(line["position"] for line in lines) == list(range(0, COUNT, 20))
    assert (report["rejected"], report["accepted"]) == (50, 950)
    assert not ObjectStoragePath(f"{path}.part").exists()


def test_the_rejects_of_a_failed_try_remain_and_the_next_one_appends(connected: MoEngage, tmp_path: Path) -> None:
    from airflow_provider_moengage.emulator import Fault

    path = tmp_path / "rejects.ndjson"
    arguments = {"elements": people(every=20), "rejects_path": str(path), "max_rejects": COUNT}
    task = Task()
    connected.emulator.workspace.add_fault(Fault(kind="status", status=403, after=4))
    with pytest.raises(MoEngageError):
        send(task, **arguments)
    after_the_first = path.read_text()
    task.retry()

    send(task, **arguments)

    assert after_the_first
    assert path.read_text().startswith(after_the_first)
    positions = [json.loads(line)["position"] for line in path.read_text().splitlines()]
    assert sorted(positions) == list(range(0, COUNT, 20))


def test_rejects_go_to_the_file_of_the_earlier_try(connected: MoEngage, worker: Worker, tmp_path: Path) -> None:
    task = Task()
    arguments = {"elements": people(every=20), "max_rejects": COUNT}
    dies(worker, task, 37, rejects_path=str(tmp_path / "old.ndjson"), **arguments)

    report = send(task, rejects_path=str(tmp_path / "new.ndjson"), **arguments)

    assert report["rejects_path"] == str(tmp_path / "old.ndjson")
    assert len((tmp_path / "old.ndjson").read_text().splitlines()) == 50


def test_rejects_left_on_another_machine_are_reported(
    connected: MoEngage,
    worker: Worker,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = Task()
    path = tmp_path / "rejects.ndjson"
    arguments = {"elements": people(every=20), "max_rejects": COUNT, "rejects_path": str(path)}
    dies(worker, task, 37, **arguments)
    (tmp_path / "rejects.ndjson.part").unlink()

    report = send(task, **arguments)

    assert report["rejected"] == 50
    assert not path.exists() or len(path.read_text().splitlines()) < 50
    assert "Rejects of an earlier try are missing" in capsys.readouterr().out + caplog.text


def test_a_try_that_was_taken_over_does_not_replace_the_uploaded_rejects_of_the_later_one(
    connected: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"checkpoint_path": str(tmp_path), "max_rejects": COUNT, "rejects_path": "memory://rejects/r.ndjson"}
    task = Task(has_store=False)
    elements = people(every=20)
    store = attach("memory", monkeypatch)
    flush = Rejects.flush
    kept: list[bytes] = []
    writes = 0

    def suspended(rejects: Rejects, **how: Any) -> Any:
        nonlocal writes
        writes += 1
        if writes == 3:  # right before its upload
            task.retry()
            let_this_thread_execute()
            send(task, elements=elements, **options)
            kept.append(store.cat_file("rejects/r.ndjson"))
        return flush(rejects, **how)

    monkeypatch.setattr("airflow_provider_moengage.bulk.resume.rejects._WORTH_AN_UPLOAD", 1)
    monkeypatch.setattr(Rejects, "flush", suspended)

    with pytest.raises(MoEngageError, match="Another try of this task has taken over, so this one stopped"):
        send(task, elements=elements, **options)

    assert store.store.keys() == {"/rejects/r.ndjson"}
    assert [store.cat_file("rejects/r.ndjson")] == kept
    assert len(kept[0].splitlines()) == 50


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
@pytest.mark.parametrize("where", ["disk", "memory://shared"])
def test_of_two_machines_on_one_checkpoint_path_the_later_one_takes_over(
    connected: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, delivery: str
) -> None:
    """The first machine is suspended while it writes; Airflow starts another try on the second one meanwhile."""
    folder = str(tmp_path) if where == "disk" else where
    options = {"checkpoint_path": folder, "delivery": delivery, "max_rejects": COUNT}
    task = Task(has_store=False)
    save = checkpoints.FileStore.save
    reports: list[dict[str, Any]] = []
    writes = 0

    def suspended(store: Any, state: dict[str, Any]) -> None:
        nonlocal writes
        writes += 1
        if writes == 6:
            task.retry()
            let_this_thread_execute()
            reports.append(send(task, elements=people(), **options))
        save(store, state)

    monkeypatch.setattr(checkpoints.FileStore, "save", suspended)

    with pytest.raises(MoEngageError, match="Another try of this task has taken over, so this one stopped"):
        send(task, elements=people(), **options)

    [report] = reports
    sent = numbers(connected)
    assert report["resumed"]
    assert len(sent) - len(set(sent)) <= (0 if delivery == "at_most_once" else 100)
    assert len(set(sent)) + (report["rejected"] if delivery == "at_most_once" else 0) >= COUNT
