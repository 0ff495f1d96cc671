"""One poller for all who wait: when it asks, and what everyone is told."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from typing import Any

from airflow_provider_moengage.api.file_imports import FileRun
from airflow_provider_moengage.polling.poller import Finding
from airflow_provider_moengage.polling.selection import Selection
from tests.polling.file_runs import DONE, file
from tests.polling.simulation import on_a_loop, stage_with


@on_a_loop
async def test_one_look_answers_all_who_wait_for_an_import() -> None:
    stage = stage_with()
    stage.script.runs["i1"] = [DONE]
    waiting = [stage.wait() for _ in range(100)]

    await stage.until_over(*waiting)

    assert [each.result for each in waiting] == [(DONE,)] * 100
    assert stage.script.asked == ["i1"]


@on_a_loop
async def test_everyone_makes_of_an_answer_what_it_waits_for() -> None:
    stage = stage_with()
    stage.script.runs["i1"] = [file("a.csv", 1), file("b.csv", 2, "PROCESSING")]
    for_a, for_b = (stage.wait(selection=Selection(file_name=f"{name}.csv")) for name in "ab")

    await stage.pass_time()

    assert (for_a.is_over, for_b.is_over) == (True, False)
    await stage.empty()


@on_a_loop
async def test_an_import_is_looked_at_once_in_an_interval() -> None:
    stage = stage_with()
    stage.wait(interval=60)

    await stage.pass_time(179)

    assert stage.script.asked_at == [0, 60, 120]
    await stage.empty()


@on_a_loop
async def test_who_asks_for_the_shortest_interval_decides_for_all() -> None:
    stage = stage_with()
    for interval in (60, 10, 300):
        stage.wait(interval=interval)

    await stage.pass_time(39)

    assert stage.script.asked_at == [0, 10, 20, 30]
    await stage.empty()


@on_a_loop
async def test_when_the_hasty_one_has_left_the_others_interval_counts() -> None:
    stage = stage_with()
    hasty, _ = stage.wait(interval=10), stage.wait(interval=60)
    await stage.pass_time(5)
    hasty.leave()
    await stage.pass_time(135)

    assert stage.script.asked_at == [0, 10, 70, 130]
    await stage.empty()


@on_a_loop
async def test_an_import_may_be_named_by_its_name() -> None:
    stage = stage_with()
    stage.script.runs["i1"] = [DONE]
    waiting = stage.wait(("import_name", "the i1"))

    await stage.until_over(waiting)

    assert stage.script.asked == ["the i1"]


@on_a_loop
async def test_all_pages_of_a_history_are_read() -> None:
    stage = stage_with()
    stage.script.page_size = 2
    stage.script.runs["i1"] = [file(f"{n}.csv", n) for n in range(5)]
    waiting = stage.wait(selection=Selection(file_name="*", expected_files=5))

    await stage.until_over(waiting)

    assert stage.script.asked == ["i1", "i1 page 2", "i1 page 3"]


@on_a_loop
async def test_a_history_that_ends_between_two_pages_is_what_was_read() -> None:
    stage = stage_with()
    stage.script.page_size = 1
    stage.script.runs["i1"] = [DONE, file("b.csv")]
    whole = stage.script._page

    def shrinking(rows: Sequence[Any], page: int) -> Any:
        answer = whole(rows, page)
        stage.script.runs["i1"] = [DONE]
        return answer

    stage.script._page = shrinking  # type: ignore[method-assign]
    waiting = stage.wait()

    await stage.until_over(waiting)

    assert waiting.result == (DONE,)


@on_a_loop
async def test_a_newcomer_is_not_told_of_an_answer_from_before_it_came() -> None:
    stage = stage_with()
    stage.script.runs["i1"] = [DONE]
    stage.wait(selection=Selection(file_name="other.csv"))
    await stage.pass_time(30)
    stage.script.runs["i1"] = [DONE, file("b.csv", 1, "PROCESSING")]  # which its task has seen before it deferred
    newcomer = stage.wait()
    await stage.pass_time(29)
    assert stage.script.asked == ["i1"], "its look comes when the import is due"

    await stage.pass_time(2)
    assert stage.script.asked == ["i1", "i1"]
    assert newcomer.notes == ["1 file there: b.csv PROCESSING"]
    await stage.empty()


@on_a_loop
async def test_a_newcomer_is_looked_for_although_the_details_do_not_move() -> None:
    stage = stage_with("i1", "i2")
    stage.script.runs["i1"] = [DONE]
    stage.wait("i1", selection=Selection(file_name="other.csv"))
    stage.wait("i2")
    await stage.pass_time(90)
    newcomer = stage.wait("i1")

    await stage.until_over(newcomer)

    assert stage.clock.time() <= 150
    await stage.empty()


@on_a_loop
async def test_a_newcomer_who_finds_a_stale_answer_makes_for_a_look() -> None:
    stage = stage_with()
    stage.wait(interval=60)
    await stage.pass_time(30)
    stage.wait(interval=20)
    await stage.pass_time()

    assert stage.script.asked_at == [0, 30]
    await stage.empty()


@on_a_loop
async def test_a_newcomer_with_a_short_interval_is_served_in_it() -> None:
    stage = stage_with()
    stage.wait(interval=60)
    await stage.pass_time(5)
    stage.wait(interval=20)
    await stage.pass_time(36)

    assert stage.script.asked_at == [0, 20, 40]
    await stage.empty()


@on_a_loop
async def test_nobody_is_told_the_same_twice() -> None:
    stage = stage_with()
    waiting = stage.wait()
    await stage.pass_time(600)
    stage.script.runs["i1"] = [file(status="QUEUED")]
    await stage.pass_time(600)

    assert [note.split()[-1] for note in waiting.notes] == ["PROCESSING", "QUEUED"]
    await stage.empty()


@on_a_loop
async def test_the_context_of_who_comes_first_is_not_that_of_the_others() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    seen: list[str] = []

    def look(runs: Sequence[FileRun]) -> Finding:
        seen.append(name.get())
        return Finding(runs)

    stage = stage_with()
    name.set("the first")
    await stage.until_over(stage.wait(decide=look))

    assert seen == ["nobody"]
