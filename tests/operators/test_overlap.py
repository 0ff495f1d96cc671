"""Tasks that run at the same time and share something: the table of overlaps in docs/guarantees.md."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage, customer
from tests.killable_worker import Worker
from tests.operators.test_resume import let_this_thread_execute
from tests.task import Task

ROWS = 1_000
WITHIN = 20
"""Seconds for what takes milliseconds."""


class Running:
    """A task in a thread of its own, which waits where its elements say so."""

    def __init__(self, work: Callable[[], dict[str, Any]]) -> None:
        self.waits = threading.Event()
        self.may_end = threading.Event()
        self.result: dict[str, Any] | BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,))
        self._thread.start()

    def pause(self) -> None:
        """Wait for the test; called by the task."""
        self.waits.set()
        assert self.may_end.wait(WITHIN)

    def ended(self) -> dict[str, Any]:
        """Let the task end, and return its XCom."""
        self.may_end.set()
        self._thread.join(WITHIN)
        assert isinstance(self.result, dict), self.result
        return self.result

    def _run(self, work: Callable[[], dict[str, Any]]) -> None:
        let_this_thread_execute()
        try:
            self.result = work()
        except BaseException as error:
            self.result = error


@pytest.mark.parametrize("last", ["first", "second"])
def test_of_two_tasks_on_one_rejects_file_it_is_that_of_the_task_that_ended_last(
    connected: MoEngage,
    tmp_path: Path,
    last: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "rejects.ndjson"

    def starting(name: str, rejected: int) -> Running:
        def elements() -> Iterator[dict[str, Any]]:
            for number in range(rejected):
                yield customer("null", by=name, number=number)
            running.pause()
            yield customer("null", by=name, number=rejected)

        def work() -> dict[str, Any]:
            started.wait(WITHIN)
            operator = BulkImportOperator(
                task_id=name, elements=elements, rejects_path=str(path), max_rejects=ROWS
            )
            return operator.execute(Task().context)

        started = threading.Event()
        running = Running(work)
        started.set()
        assert running.waits.wait(WITHIN), running.result
        return running

    tasks = {"first": starting("first", 30), "second": starting("second", 20)}
    reports = {name: tasks[name].ended() for name in sorted(tasks, key=last.__eq__)}

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    written = Counter(line["element"]["attributes"]["by"] for line in lines)
    assert written == {last: reports[last]["rejected"]}
    assert {name: report["rejected"] for name, report in reports.items()} == {
        "first": 31,
        "second": 21,
    }
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    said = capsys.readouterr().out + caplog.text
    assert "Another task has written to the same rejects file meanwhile" in said


def test_two_runs_of_one_sync_without_watermark_send_all_rows_each_and_resume_on_their_own(
    in_small_batches: MoEngage, tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(database)}))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, user_id TEXT)")
        connection.executemany("INSERT INTO users VALUES (?, ?)", [(n, f"user {n}") for n in range(ROWS)])

    def sync(task: Task) -> dict[str, Any]:
        operator = SqlToMoEngageOperator(
            task_id="sync",
            conn_id="warehouse",
            sql="SELECT id, user_id FROM users",
            key_columns=["id"],
            mapping=CustomerMapping(attributes={"number": "id"}),
            checkpoint_path=str(tmp_path / "checkpoints"),
            concurrency=1,
        )
        context = task.context
        operator.render_template_fields(context)
        return operator.execute(context)

    def sent() -> Counter[int]:
        return Counter(element["attributes"]["number"] for element in in_small_batches.arrived)

    first, second = Task(has_store=False), Task(has_store=False)
    second.run_id = "another_run"
    assert worker.is_killed(lambda: sync(first), after=8)
    before = sum(sent().values())
    assert 0 < before < ROWS

    whole = sync(second)
    assert (whole["accepted"], whole["resumed"]) == (ROWS, False)
    assert sum(sent().values()) == before + ROWS

    first.retry()
    rest = sync(first)

    assert (rest["accepted"], rest["resumed"]) == (ROWS, True)
    assert set(sent()) == set(range(ROWS))
    assert set(sent().values()) <= {2, 3}
    assert sum(sent().values()) <= 2 * ROWS + 100, "one request was in flight"


@pytest.mark.parametrize("ends", ["at its end", "at a refusal"])
@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
@pytest.mark.parametrize("store", ["state store", "folder"])
def test_a_try_that_was_replaced_leaves_the_rejects_file_of_its_successor(
    connected: MoEngage, tmp_path: Path, ends: str, delivery: str, store: str
) -> None:
    task = Task(has_store=store == "state store")
    options: dict[str, Any] = {
        "checkpoint_path": None if store == "state store" else str(tmp_path / "checkpoints"),
        "rejects_path": str(tmp_path / "rejects"),
        "delivery": delivery,
        "max_rejects": 99,
    }

    def elements(by: str, rejected: int) -> Iterator[dict[str, Any]]:
        yield from (customer("null", by=by, number=number) for number in range(rejected))
        if by == "first":
            running.pause()
        yield customer("u1", by=by)

    def work() -> dict[str, Any]:
        started.wait(WITHIN)
        operator = BulkImportOperator(task_id="send", elements=lambda: elements("first", 3), **options)
        return operator.execute(task.context)

    started = threading.Event()
    running = Running(work)
    started.set()
    assert running.waits.wait(WITHIN), running.result
    task.retry()
    second = BulkImportOperator(task_id="send", elements=lambda: elements("second", 2), **options)
    report = second.execute(task.context)
    if ends == "at a refusal":
        connected.emulator.workspace.add_fault(Fault("status", status=401))
    with pytest.raises(AssertionError, match="Another try of this task has taken over"):
        running.ended()

    [file] = (tmp_path / "rejects").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["element"]["attributes"]["by"] for line in lines] == ["second"] * 2
    assert (report["accepted"], report["rejected"]) == (1, 2)
