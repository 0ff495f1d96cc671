"""Where many imports are waited for, their details say which of them to read."""

from __future__ import annotations

from airflow_provider_moengage.polling.selection import Selection
from tests.polling.file_runs import DONE, RUNNING, file
from tests.polling.simulation import Stage, details, on_a_loop, stage_with, unable


@on_a_loop
async def test_of_many_imports_the_details_are_asked_and_only_those_that_moved_are_read() -> None:
    stage = stage_with("i1", "i2", "i3", "i4")
    waiting = [stage.wait(name) for name in stage.script.runs]
    await stage.pass_time(59)
    assert stage.script.asked == ["details", "i1", "i2", "i3", "i4"]

    stage.script.forget()
    await stage.pass_time(60)
    assert stage.script.asked == ["details"]

    stage.script.forget()
    stage.script.runs["i3"] = [DONE]
    await stage.pass_time(60)
    assert stage.script.asked == ["details", "i3"]
    assert [each.is_over for each in waiting] == [False, False, True, False]
    await stage.empty()


@on_a_loop
async def test_an_import_that_does_not_move_is_read_at_times_however_busy_the_others_are() -> None:
    stage = stage_with(*(f"i{n}" for n in range(60)))
    frozen = stage.wait("i0")
    stage.script.frozen["i0"] = details("i0", [RUNNING])
    for n in range(1, 60):
        stage.wait(f"i{n}", interval=30)
    for minute in range(1, 30):
        for n in range(1, 60):  # something of each moves all the time
            stage.script.runs[f"i{n}"] = [file("a.csv", minute, "PROCESSING")]
        await stage.pass_time(60)
        if minute == 1:
            stage.script.runs["i0"] = [DONE]

    assert frozen.is_over
    await stage.empty()


@on_a_loop
async def test_the_first_looks_do_not_wait_long_for_details_that_are_closed() -> None:
    stage = stage_with("i1", "i2")
    stage.details.refused(3_600.0)
    waiting = [stage.wait(name) for name in ("i1", "i2")]
    stage.script.runs = {"i1": [DONE], "i2": [DONE]}
    await stage.pass_time(60)

    assert all(each.is_over for each in waiting)


@on_a_loop
async def test_one_import_is_read_without_asking_for_details() -> None:
    stage = stage_with("i1", "i2", "i3")
    stage.wait("i1")
    stage.wait("i1")
    await stage.pass_time(300)

    assert set(stage.script.asked) == {"i1"}
    await stage.empty()


@on_a_loop
async def test_imports_are_read_one_by_one_where_that_takes_fewer_requests_than_the_details() -> None:
    stage = stage_with(*(f"i{n}" for n in range(9)))
    stage.script.page_size = 3
    for name in ("i0", "i8"):  # on the first page, and on the third
        stage.wait(name)
    await stage.pass_time(59)
    assert stage.script.asked == ["details", "details page 2", "details page 3", "i0", "i8"]

    stage.script.forget()
    await stage.pass_time(60)
    assert sorted(stage.script.asked) == ["i0", "i8"]
    await stage.empty()


@on_a_loop
async def test_details_are_read_no_further_than_to_the_last_import_that_is_waited_for() -> None:
    stage = stage_with(*(f"i{n}" for n in range(9)))
    stage.script.page_size = 3
    for name in ("i0", "i1", "i2", "i4"):
        stage.wait(name)
    await stage.pass_time(61)

    assert [what for what in stage.script.asked if "details" in what] == ["details", "details page 2"] * 2
    await stage.empty()


@on_a_loop
async def test_imports_are_found_in_the_details_by_name_as_well() -> None:
    stage = stage_with("i1", "i2")
    stage.wait(("import_name", "the i1"))
    stage.wait("i2")
    await stage.pass_time(59)
    stage.script.forget()
    stage.script.runs["i1"] = [DONE]
    await stage.pass_time(60)

    assert stage.script.asked == ["details", "the i1"]
    await stage.empty()


@on_a_loop
async def test_an_import_that_the_details_do_not_list_is_read_in_each_interval() -> None:
    stage = stage_with("i1", "i2", "i3")
    stage.script.unlisted = {"i2"}
    for name in stage.script.runs:
        stage.wait(name)
    await stage.pass_time(59)
    stage.script.forget()
    await stage.pass_time(120)

    assert sorted(stage.script.asked) == ["details", "details", "i2", "i2"]
    await stage.empty()


@on_a_loop
async def test_an_import_that_the_details_list_no_more_is_read_in_each_interval() -> None:
    stage = stage_with("i1", "i2")
    for name in stage.script.runs:
        stage.wait(name)
    await stage.pass_time(59)
    stage.script.forget()
    stage.script.unlisted = {"i2"}
    await stage.pass_time(120)

    assert sorted(stage.script.asked) == ["details", "details", "i2", "i2"]
    await stage.empty()


@on_a_loop
async def test_an_import_whose_details_never_move_is_read_every_five_minutes_all_the_same() -> None:
    stage = stage_with("i1", "i2")
    stage.script.frozen = {name: details(name, [RUNNING]) for name in stage.script.runs}
    waiting, _ = [stage.wait(name) for name in stage.script.runs]
    await stage.pass_time(1)
    stage.script.runs["i1"] = [DONE]
    await stage.pass_time(297)
    assert not waiting.is_over

    await stage.pass_time(63)
    assert waiting.result == (DONE,)
    await stage.empty()


@on_a_loop
async def test_of_imports_that_moved_those_are_read_first_whose_run_is_over() -> None:
    stage = stage_with("i1", "i2", "i3", "i4")
    for name in stage.script.runs:
        stage.wait(name)
    await stage.pass_time(59)
    stage.script.forget()
    moved = [RUNNING, file("more.csv", status="QUEUED")]
    stage.script.runs.update(i1=moved, i2=moved, i3=[DONE], i4=[DONE])
    await stage.pass_time(60)

    assert stage.script.asked == ["details", "i3", "i4", "i1", "i2"]
    await stage.empty()


@on_a_loop
async def test_who_joins_later_sees_the_files_though_the_details_have_not_moved() -> None:
    stage = stage_with("i1", "i2")
    stage.script.runs["i2"] = [DONE]
    stage.wait("i1")
    stage.wait("i2", selection=Selection(file_name="never.csv"))
    await stage.pass_time(90)
    stage.script.forget()
    newcomer = stage.wait("i2")
    await stage.pass_time(1)

    assert newcomer.is_over
    await stage.empty()


@on_a_loop
async def test_where_details_cannot_be_read_the_histories_are_and_the_details_again_after_a_break() -> None:
    stage = stage_with("i1", "i2", "i3")
    stage.script.import_errors.append(unable())
    for name in stage.script.runs:
        stage.wait(name)

    await stage.pass_time(59)
    assert stage.script.asked == ["details", "i1", "i2", "i3"]

    stage.script.forget()
    await stage.pass_time(240)
    assert sorted(stage.script.asked) == sorted(["i1", "i2", "i3"] * 4)

    stage.script.forget()
    await stage.pass_time(60)
    assert "details" in stage.script.asked
    await stage.empty()


@on_a_loop
async def test_details_that_cannot_be_read_fail_nobodys_poll() -> None:
    stage = stage_with("i1", "i2")
    stage.script.import_errors.extend(unable() for _ in range(100))
    waiting = [stage.wait(name) for name in stage.script.runs]
    await stage.pass_time(3_600)

    assert [each.is_over for each in waiting] == [False, False]
    assert not any("failed" in note for each in waiting for note in each.notes)
    await stage.empty()


@on_a_loop
async def test_a_page_of_details_past_the_end_is_the_end() -> None:
    stage = stage_with("i1", "i2", "i3", "i4")
    stage.script.unlisted = {"i4"}
    whole = stage.script._page
    stage.script._page = lambda rows, page: (whole(rows, page)[0], True)  # type: ignore[method-assign]
    for name in stage.script.runs:
        stage.wait(name)
    await stage.pass_time(59)
    stage.script.forget()
    stage.script.runs["i2"] = [DONE]
    await stage.pass_time(60)

    assert "i2" in stage.script.asked, "its move was seen"
    assert "i1" not in stage.script.asked
    await stage.empty()


@on_a_loop
async def test_the_details_come_first_also_where_others_have_used_up_their_budget() -> None:
    stage = stage_with("i1", "i2", "i3")
    while stage.details.ready_in() == 0:
        stage.details.spend()
    for name in stage.script.runs:
        stage.wait(name)
    await stage.pass_time(30)

    assert stage.script.asked == ["details", "i1", "i2", "i3"]
    assert stage.script.asked_at[0] > 0
    await stage.empty()


@on_a_loop
async def test_who_is_in_a_hurry_does_not_pass_the_budget_of_the_details() -> None:
    stage = stage_with("i1", "i2", "i3")
    for name in stage.script.runs:
        stage.wait(name, interval=0.1)
    await stage.pass_time(180)

    assert busiest_minute(stage, "details") <= 40
    await stage.empty()


@on_a_loop
async def test_a_workspace_of_many_imports_stays_within_both_budgets_and_sees_each_end() -> None:
    names = [f"i{n}" for n in range(100)]
    stage = stage_with(*names)
    waiting = [stage.wait(name) for name in names]
    await stage.pass_time(300)
    for name in names[::2]:
        stage.script.runs[name] = [DONE]
    await stage.until_over(*waiting[::2], at_most=60 + 90)

    assert busiest_minute(stage, "details") <= 40
    assert busiest_minute(stage, "i") <= 40
    await stage.empty()


def busiest_minute(stage: Stage, endpoint: str) -> int:
    """The most requests of any sixty seconds."""
    asked = zip(stage.script.asked, stage.script.asked_at, strict=True)
    times = [at for what, at in asked if what.startswith(endpoint)]
    return max(sum(begin <= at < begin + 60 - 1e-6 for at in times) for begin in times)


@on_a_loop
async def test_details_that_know_of_an_end_before_the_history_does_are_not_taken_for_the_last_word() -> None:
    stage = stage_with("i1", "i2")
    waiting = stage.wait("i1")
    stage.wait("i2")
    await stage.pass_time(59)
    stage.script.frozen["i1"] = details("i1", [DONE])  # over, and the history says that it runs
    await stage.pass_time(61)
    stage.script.runs["i1"] = [DONE]
    stage.script.forget()

    await stage.until_over(waiting)

    assert "i1" in stage.script.asked
    assert stage.script.asked_at[-1] - stage.script.asked_at[0] < 60, "and not when the history is due anyway"
    await stage.empty()
