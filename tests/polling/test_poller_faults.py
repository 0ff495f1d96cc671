"""What polls that bring no answer, or a bad one, mean to those who wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import FileRun
from airflow_provider_moengage.polling.poller import FAILED_POLLS, Finding
from tests.polling.file_runs import DONE, RUNNING, file
from tests.polling.simulation import denied, on_a_loop, stage_with, throttled, unable

if TYPE_CHECKING:
    import pytest


@on_a_loop
async def test_a_throttled_poll_is_asked_again_after_the_time_the_server_says() -> None:
    stage = stage_with()
    stage.script.runs["i1"] = [DONE]
    stage.script.file_errors.append(throttled(30.0))
    waiting = stage.wait()

    await stage.until_over(waiting)

    first, second = stage.script.asked_at
    assert 30 <= second - first <= 1.25 * 30


@on_a_loop
async def test_a_page_that_is_throttled_is_asked_again_and_not_those_before_it() -> None:
    stage = stage_with()
    stage.script.page_size = 1
    stage.script.runs["i1"] = [file(f"id-{number}") for number in range(3)]
    waiting = stage.wait()
    stage.script.throttled_pages.update({2, 3})

    await stage.until_over(waiting)

    assert stage.script.asked == ["i1", "i1 page 2", "i1 page 2", "i1 page 3", "i1 page 3"]


@on_a_loop
async def test_throttled_polls_are_no_failed_ones_however_many() -> None:
    stage = stage_with()
    stage.script.file_errors.extend(throttled() for _ in range(3 * FAILED_POLLS))
    waiting = stage.wait()
    await stage.pass_time(3_600)
    stage.script.runs["i1"] = [DONE]
    await stage.until_over(waiting)

    assert waiting.result == (DONE,)
    assert not any("failed" in note for note in waiting.notes)


@on_a_loop
async def test_a_history_with_fewer_files_than_it_reports_is_a_failed_poll() -> None:
    stage = stage_with()
    stage.script.runs["i1"] = [DONE]
    stage.script.total = 2
    waiting = stage.wait()
    await stage.pass_time(60)
    assert not waiting.task.done()

    stage.script.runs["i1"] = [DONE, file("id-2")]
    await stage.until_over(waiting)

    assert waiting.result == (file("id-2"),)
    assert any("reports a list of 2 and returned 1" in note for note in waiting.notes)


@on_a_loop
async def test_throttled_details_are_asked_again_and_histories_meanwhile() -> None:
    stage = stage_with("i1", "i2")
    stage.script.import_errors.append(throttled(30.0))
    for name in stage.script.runs:
        stage.wait(name)
    await stage.pass_time(50)

    assert stage.script.asked[:3] == ["details", "i1", "i2"]
    assert stage.script.asked[3] == "details"
    assert stage.script.asked_at[3] >= 30
    await stage.empty()


@on_a_loop
async def test_five_failed_polls_in_a_row_end_a_wait_with_the_last_error() -> None:
    stage = stage_with()
    errors = [unable() for _ in range(FAILED_POLLS)]
    stage.script.file_errors.extend(errors)
    waiting = stage.wait()

    await stage.until_over(waiting)

    assert waiting.error is errors[-1]
    assert stage.script.asked_at == [0, 60, 120, 180, 240]


@on_a_loop
async def test_four_failed_polls_and_a_good_one_are_forgotten() -> None:
    stage = stage_with()
    waiting = stage.wait()
    for _ in range(3):
        stage.script.file_errors.extend(unable() for _ in range(FAILED_POLLS - 1))
        await stage.pass_time(300)
    stage.script.runs["i1"] = [DONE]
    await stage.until_over(waiting)

    assert waiting.result == (DONE,)


@on_a_loop
async def test_each_failed_poll_is_told_with_its_cause() -> None:
    stage = stage_with()
    stage.script.file_errors.extend(unable() for _ in range(2))
    waiting = stage.wait()
    await stage.pass_time(119)

    assert waiting.notes == [f"poll failed ({n} in a row): it is temporarily unavailable" for n in (1, 2)]
    await stage.empty()


@on_a_loop
async def test_a_wait_may_go_on_however_many_polls_fail() -> None:
    stage = stage_with()
    stage.script.file_errors.extend(unable() for _ in range(50))
    waiting = stage.wait(failed_polls=None)
    await stage.pass_time(50 * 60)
    stage.script.runs["i1"] = [DONE]
    await stage.until_over(waiting)

    assert waiting.result == (DONE,)


@on_a_loop
async def test_failed_polls_from_before_count() -> None:
    stage = stage_with()
    stage.script.file_errors.append(unable())
    waiting = stage.wait(failed_polls=1)

    await stage.until_over(waiting)

    assert isinstance(waiting.error, type(unable()))


@on_a_loop
async def test_failed_polls_are_counted_for_each_waiter_since_it_came() -> None:
    stage = stage_with()
    stage.script.file_errors.extend(unable() for _ in range(FAILED_POLLS))
    early = stage.wait()
    await stage.pass_time(150)
    late = stage.wait()
    await stage.pass_time(150)

    assert (early.is_over, late.is_over) == (True, False)
    await stage.empty()


@on_a_loop
async def test_a_failed_poll_of_one_import_is_none_of_another() -> None:
    stage = stage_with("i1", "i2")
    stage.script.unlisted = {"i1", "i2"}
    runs = stage.script.file_runs

    def broken(query: dict[str, Any], *, page: int) -> Any:
        if query == {"import_id": "i1"}:
            raise unable()
        return runs(query, page=page)

    stage.script.file_runs = broken  # type: ignore[method-assign]
    first, second = (stage.wait(name) for name in ("i1", "i2"))
    await stage.pass_time(600)

    assert (first.is_over, second.is_over, second.notes) == (True, False, ["1 file there: a.csv PROCESSING"])
    await stage.empty()


@on_a_loop
async def test_a_key_that_is_not_accepted_ends_all_waits_at_once() -> None:
    stage = stage_with("i1", "i2", "i3")
    waiting = [stage.wait(name) for name in stage.script.runs for _ in range(2)]
    await stage.pass_time(59)
    stage.script.file_errors.append(denied())
    stage.script.runs["i2"] = [RUNNING, DONE]
    await stage.until_over(*waiting)

    assert {each.error.status_code for each in waiting if each.error} == {401}  # type: ignore[attr-defined]
    assert stage.clock.now < 65


@on_a_loop
async def test_a_key_that_the_details_do_not_accept_ends_all_waits_at_once() -> None:
    stage = stage_with("i1", "i2")
    stage.script.import_errors.append(denied())
    stage.script.file_errors.append(denied())
    waiting = [stage.wait(name) for name in stage.script.runs]
    await stage.until_over(*waiting)

    assert [each.error.status_code for each in waiting if each.error] == [401, 401]  # type: ignore[attr-defined]


@on_a_loop
async def test_an_import_that_is_not_there_ends_a_wait() -> None:
    stage = stage_with("another")
    waiting = stage.wait("i1")

    await stage.until_over(waiting)

    assert isinstance(waiting.error, ApiError)
    assert waiting.error.kind is ErrorKind.NOT_FOUND
    assert stage.clock.now == 0


@on_a_loop
async def test_who_knows_that_an_import_exists_waits_until_it_is_seen() -> None:
    stage = stage_with("another")
    strict, lenient = stage.wait("i1"), stage.wait("i1", may_be_absent=True)
    await stage.pass_time(59)
    assert (strict.is_over, lenient.is_over, lenient.notes) == (True, False, ["no such file yet"])

    stage.script.runs["i1"] = [DONE]
    await stage.until_over(lenient)
    assert lenient.result == (DONE,)


@on_a_loop
async def test_an_import_that_is_not_there_is_no_failed_poll() -> None:
    stage = stage_with("another")
    lenient = stage.wait("i1", may_be_absent=True)
    await stage.pass_time(2 * FAILED_POLLS * 60)

    assert not lenient.is_over
    await stage.empty()


@on_a_loop
async def test_who_joins_those_who_wait_for_an_absent_import_is_told_of_its_absence() -> None:
    stage = stage_with("another")
    stage.wait("i1", may_be_absent=True)
    await stage.pass_time(30)
    strict = stage.wait("i1")
    await stage.pass_time(60)

    assert isinstance(strict.error, ApiError)
    assert strict.error.kind is ErrorKind.NOT_FOUND
    await stage.empty()


@on_a_loop
async def test_a_crash_in_what_one_makes_of_an_answer_reaches_it_alone() -> None:
    def crash(runs: Sequence[FileRun]) -> Finding:
        raise ZeroDivisionError

    stage = stage_with()
    stage.script.runs["i1"] = [DONE]
    crashed, sound = stage.wait(decide=crash), stage.wait()
    await stage.until_over(crashed, sound)

    assert isinstance(crashed.error, ZeroDivisionError)
    assert sound.result == (DONE,)


@on_a_loop
async def test_who_waits_for_a_poller_that_has_crashed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    stage = stage_with("i1", "i2")
    stage.script.import_errors.append(ZeroDivisionError())  # no answer, and no ApiError: a defect
    waiting = [stage.wait(name) for name in stage.script.runs]
    await asyncio.gather(*(each.task for each in waiting), return_exceptions=True)

    assert [type(each.error) for each in waiting] == [ZeroDivisionError] * 2
    assert "The poller of file imports has failed" in caplog.text


def test_a_pause_is_logged_once_for_the_workspace(caplog: pytest.LogCaptureFixture) -> None:
    @on_a_loop
    async def scenario() -> None:
        stage = stage_with()
        stage.script.file_errors.append(throttled(30.0))
        for _ in range(10):
            stage.wait()
        await stage.pass_time(1)
        await stage.empty()

    with caplog.at_level(logging.INFO):
        scenario()

    assert caplog.text.count("MoEngage throttles file imports") == 1
