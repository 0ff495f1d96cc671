"""What those who leave leave behind, and a crowd that is told at once."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

from airflow_provider_moengage.api.file_imports import ImportRef
from airflow_provider_moengage.polling.poller import Clock, Finding, WaitSpec
from airflow_provider_moengage.polling.selection import Selection
from tests.polling.file_runs import DONE, file
from tests.polling.simulation import Waiting, denied, let_all_run, on_a_loop, stage_with


def poller_tasks() -> list[Any]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "moengage-poller"]


@on_a_loop
async def test_the_last_who_leaves_ends_the_poller_and_its_client() -> None:
    stage = stage_with()
    first, last = stage.wait(), stage.wait()
    await stage.pass_time()

    first.leave()
    await let_all_run()
    assert (len(poller_tasks()), stage.script.closed, stage.idle) == (1, 0, 0)

    last.leave()
    await let_all_run()
    assert (len(poller_tasks()), stage.script.closed, stage.idle) == (0, 1, 1)


@on_a_loop
async def test_a_wait_that_is_over_leaves_nothing() -> None:
    stage = stage_with()
    stage.script.runs["i1"] = [DONE]
    await stage.until_over(stage.wait())
    await let_all_run()

    assert (len(poller_tasks()), stage.script.closed, stage.idle) == (0, 1, 1)


@on_a_loop
async def test_a_wait_that_ends_with_an_error_leaves_nothing() -> None:
    stage = stage_with()
    stage.script.file_errors.append(denied())
    await stage.until_over(stage.wait())
    await let_all_run()

    assert (len(poller_tasks()), stage.script.closed, stage.idle) == (0, 1, 1)


@on_a_loop
async def test_who_comes_and_leaves_at_once_leaves_nothing() -> None:
    stage = stage_with()
    with stage.poller.watch(WaitSpec(ImportRef("import_id", "i1"), 60), lambda runs: Finding(runs)):
        assert len(poller_tasks()) == 1
    await let_all_run()

    assert (len(poller_tasks()), stage.script.closed, stage.idle, stage.script.asked) == (0, 1, 1, [])


@on_a_loop
async def test_who_leaves_while_a_request_is_on_its_way_leaves_nothing() -> None:
    stage = stage_with()
    stage.script.gate = threading.Event()
    waiting = stage.wait()
    await asyncio.to_thread(stage.script.is_inside.wait, 10)

    waiting.leave()
    await let_all_run()
    assert (len(poller_tasks()), stage.script.closed, stage.idle) == (0, 1, 1)
    stage.script.gate.set()


@on_a_loop
async def test_an_import_that_nobody_waits_for_any_more_is_not_asked_for() -> None:
    stage = stage_with("i1", "i2")
    first, _ = stage.wait("i1"), stage.wait("i2")
    await stage.pass_time(1)
    first.leave()
    stage.script.forget()
    await stage.pass_time(300)

    assert set(stage.script.asked) == {"i2"}
    await stage.empty()


@on_a_loop
async def test_who_comes_back_to_an_import_gets_a_fresh_look() -> None:
    stage = stage_with("i1", "i2")
    stage.wait("i2")
    first = stage.wait("i1")
    await stage.pass_time(1)
    first.leave()
    await stage.pass_time(1)
    stage.script.runs["i1"] = [DONE]
    again = stage.wait("i1")
    await stage.pass_time(1)

    assert again.result == (DONE,)
    await stage.empty()


@on_a_loop
async def test_a_thousand_who_wait_for_one_import_are_all_told_and_hold_up_nobody() -> None:
    stage = stage_with()
    many = [file(f"f{n}.csv", n) for n in range(50)]
    stage.script.runs["i1"] = [replace(run, file_status="PROCESSING") for run in many]
    waiting = [stage.wait(selection=Selection(file_name=f"f{n % 50}.csv")) for n in range(1_000)]
    await stage.pass_time(1)
    assert all(len(each.notes) == 1 for each in waiting)

    stage.script.runs["i1"] = many
    gaps: list[float] = []
    ticking = asyncio.create_task(_tick(gaps))
    await stage.until_over(*waiting)
    ticking.cancel()

    assert [each.result for each in waiting] == [(run,) for run in many] * 20
    assert stage.script.asked == ["i1", "i1"]
    print(f"the event loop's largest gap while 1,000 were told: {max(gaps) * 1_000:.1f} ms")


async def _tick(gaps: list[float]) -> None:
    before = time.perf_counter()
    while True:
        await asyncio.sleep(0)
        now = time.perf_counter()
        gaps.append(now - before)
        before = now


@on_a_loop
async def test_requests_and_what_is_made_of_their_answers_never_run_on_the_event_loop() -> None:
    stage = stage_with("i1", "i2")
    threads: list[int] = []

    def note(*args: Any) -> Finding:
        threads.append(threading.get_ident())
        return Finding(True)

    noting = stage.script._note
    stage.script._note = lambda what: (noting(what), note())  # type: ignore[assignment, method-assign]
    await stage.until_over(stage.wait("i1", note), stage.wait("i2", note))

    assert len(threads) == 5, "the details, two histories, and what two make of them"
    assert threading.get_ident() not in threads


@on_a_loop
async def test_those_who_are_told_at_once_are_woken_a_few_at_a_time() -> None:
    stage = stage_with()
    stage.script.runs["i1"] = [DONE]
    waiting = [stage.wait() for _ in range(200)]
    over: list[int] = []
    counting = asyncio.create_task(_count(waiting, over))
    await stage.until_over(*waiting)
    counting.cancel()

    assert max(after - before for before, after in pairwise(over)) <= 40


async def _count(waiting: list[Waiting], over: list[int]) -> None:
    while True:
        over.append(sum(each.is_over for each in waiting))
        await asyncio.sleep(0)


@on_a_loop
async def test_the_real_clock_is_woken_early_and_passes_by_itself() -> None:
    clock, woken = Clock(), asyncio.Event()
    before = clock.time()
    await clock.sleep(0.0, woken)
    woken.set()
    await clock.sleep(3_600.0, woken)

    assert 0 <= clock.time() - before < 60
