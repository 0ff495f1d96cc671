"""The poller over real HTTP, with MoEngage's own limits, in time that nobody waits for."""

from __future__ import annotations

import pytest

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.emulator import Fault, ImportFile
from airflow_provider_moengage.polling.selection import Selection
from tests.polling.conftest import Emulated
from tests.polling.simulation import on_a_loop

DETAILS = "/v1.0/data/fileimports/import/status"
NAMES = [f"i{n}" for n in range(30)]


@on_a_loop
async def test_all_who_wait_are_told_and_moengage_throttles_nobody(moengage: Emulated) -> None:
    stage = moengage.stage()
    moengage.add(*NAMES, seconds=100)
    waiting = [stage.wait(name) for name in NAMES for _ in range(10)]

    await stage.until_over(*waiting, at_most=300)

    assert {run.file_status for each in waiting for run in each.result} == {"SUCCESSFUL"}
    assert moengage.workspace.counts.throttled == 0
    assert len(moengage.asked()) <= 2 * len(NAMES), "each import once for its first state and once for its end"


@on_a_loop
async def test_the_end_of_one_of_many_imports_is_seen_within_an_interval(moengage: Emulated) -> None:
    stage = moengage.stage()
    moengage.add(*NAMES, seconds=100_000)
    moengage.add("i7x", seconds=600)
    waiting = [stage.wait(name) for name in (*NAMES, "i7x")]

    await stage.until_over(waiting[-1], at_most=665)
    assert stage.clock.now >= 600
    await stage.empty()


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
def test_a_file_is_found_on_whatever_page_it_is(moengage: Emulated, order: str) -> None:
    @on_a_loop
    async def scenario() -> None:
        moengage.workspace.configure(file_page_size=2, file_order=order, file_numbers_as_text=True)
        moengage.add("i1")
        files = [ImportFile(f"{n}.csv", steps=((0, "SUCCESSFUL"),)) for n in range(7)]
        moengage.workspace.run_file_import("i1", files)
        stage = moengage.stage()
        waiting = stage.wait(selection=Selection(file_name="?.csv", expected_files=7))
        await stage.until_over(waiting)

        assert sorted(run.file_name for run in waiting.result) == [f"{n}.csv" for n in range(7)]

    scenario()


@on_a_loop
async def test_others_who_use_up_the_limit_only_make_it_later(moengage: Emulated) -> None:
    moengage.workspace.configure(file_history_quota=((1, 45),))
    moengage.add("i1", seconds=100)
    stage = moengage.stage()
    waiting = stage.wait(interval=5)
    await stage.until_over(waiting, at_most=600)

    assert 429 in moengage.asked()
    assert waiting.result[0].file_status == "SUCCESSFUL"


@on_a_loop
async def test_cut_connections_and_errors_are_outlived(moengage: Emulated) -> None:
    for fault in (Fault(kind="cut_before"), Fault(kind="html"), Fault(kind="status", status=502, times=2)):
        moengage.workspace.add_fault(fault)
    moengage.add("i1")
    stage = moengage.stage()
    waiting = stage.wait()
    await stage.until_over(waiting)

    assert moengage.asked() == [None, 200, 502, 502, 200]
    assert len(waiting.notes) == 5


@on_a_loop
async def test_details_that_moengage_does_not_give_are_done_without(moengage: Emulated) -> None:
    moengage.workspace.add_fault(Fault(kind="status", status=500, times=None, path=DETAILS))
    moengage.add("i1", "i2", "i3", seconds=100)
    stage = moengage.stage()
    waiting = [stage.wait(name) for name in ("i1", "i2", "i3")]
    await stage.until_over(*waiting, at_most=200)

    assert moengage.asked(DETAILS) == [500, 500], "which imports have moved, and which zone their times have"


@on_a_loop
async def test_a_wrong_key_ends_all_waits(moengage: Emulated) -> None:
    moengage.add("i1", "i2")
    stage = moengage.stage(key="a-wrong-key")
    waiting = [stage.wait(name) for name in ("i1", "i2")]
    await stage.until_over(*waiting)

    assert [isinstance(each.error, ApiError) and each.error.status_code for each in waiting] == [401, 401]
    assert not any("a-wrong-key" in str(each.error) for each in waiting)


@on_a_loop
async def test_an_import_that_is_not_there_ends_the_wait_of_who_does_not_expect_that(moengage: Emulated) -> None:
    stage = moengage.stage()
    strict, lenient = stage.wait("i1"), stage.wait("i1", may_be_absent=True)
    await stage.pass_time(59)
    assert isinstance(strict.error, ApiError)
    assert (strict.error.kind, lenient.is_over) == (ErrorKind.NOT_FOUND, False)

    moengage.add("i1")
    await stage.until_over(lenient)
    assert lenient.result[0].file_name == "i1.csv"


@on_a_loop
async def test_an_answer_that_trickles_is_a_failed_poll_and_holds_up_nobody_for_long(moengage: Emulated) -> None:
    stage = moengage.stage()
    stage.poller._patience = 0.2
    moengage.add("i1", seconds=1)
    moengage.workspace.add_fault(Fault("slow", seconds=1, times=1))
    waiting = stage.wait("i1")

    await stage.until_over(waiting)

    assert any("no complete response within" in note for note in waiting.notes)
