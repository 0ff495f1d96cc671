"""Which files of a run history are waited for, and whether that is over."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_moengage.api.file_imports import FileRun
from airflow_provider_moengage.polling.selection import MOST_BASELINE_IDS, Baseline, Selection
from tests.polling.file_runs import at, file


def chosen(selection: Selection, *runs: FileRun) -> list[str]:
    return [run.id for run in selection.choose(runs)]


NAMES = [
    "users_1.csv",
    "users_2.csv",
    "users.csv",
    "orders_1.csv",
    "users[1].csv",
    "USERS_1.csv",
    "users_1.csv.pgp",
]


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("users_1.csv", ["users_1.csv"]),
        ("users.csv", ["users.csv"]),
        ("users_*.csv", ["users_1.csv", "users_2.csv"]),
        ("users_?.csv", ["users_1.csv", "users_2.csv"]),
        ("users_[1]*", ["users_1.csv", "users_1.csv.pgp"]),
        ("users_[!1].csv", ["users_2.csv"]),
        ("users[[]1].csv", ["users[1].csv"]),
        ("users[1].csv", ["users[1].csv"]),
        ("*", NAMES),
        ("nobody.csv", []),
        ("users", []),
    ],
)
def test_a_file_is_chosen_by_its_exact_name_or_a_glob(file_name: str, expected: list[str]) -> None:
    selection = Selection(file_name=file_name)

    assert sorted(run.file_name for run in selection.choose(map(file, NAMES))) == sorted(expected)


@given(name=st.text(st.sampled_from("ab[]*?!.-"), min_size=1))
def test_every_file_is_chosen_by_its_own_name(name: str) -> None:
    assert len(Selection(file_name=name).choose([file(name)])) == 1


def test_since_is_strictly_after() -> None:
    runs = [file("before", 9), file("at", 10), file("after", 10.001)]

    assert chosen(Selection(since=at(10)), *runs) == ["after@10.001"]


def test_a_file_that_is_not_scheduled_yet_is_not_after_anything() -> None:
    assert chosen(Selection(since=at(10)), file(minutes=None, status="WAITING")) == []


def test_name_and_since_both_have_to_fit() -> None:
    runs = [file("a.csv", 9), file("a.csv", 11), file("b.csv", 12)]

    assert chosen(Selection(file_name="a.csv", since=at(10)), *runs) == ["a.csv@11"]


def test_files_of_a_baseline_are_old_and_all_others_new() -> None:
    old = [file("a.csv", 1), file("b.csv", 2)]
    new = [file("a.csv", 3), file("c.csv", 2)]

    assert chosen(Selection(baseline=Baseline.of(old)), *old, *new) == ["c.csv@2", "a.csv@3"]


def test_a_baseline_of_no_files_makes_every_file_new() -> None:
    assert chosen(Selection(baseline=Baseline.of([])), file("a.csv", None, "QUEUED")) == ["a.csv@None"]


def test_a_file_that_moves_on_stays_the_old_one() -> None:
    baseline = Baseline.of([file("a.csv", 1, "PROCESSING")])

    assert chosen(Selection(baseline=baseline), file("a.csv", 1, "SUCCESSFUL")) == []


def history(count: int, *, batch: int = 1) -> list[FileRun]:
    """Files that came in batches, one batch a minute, in no order."""
    runs = [file(f"f{number}", number // batch) for number in range(count)]
    random.Random(1).shuffle(runs)
    return runs


@pytest.mark.parametrize("count", [MOST_BASELINE_IDS - 1, MOST_BASELINE_IDS, MOST_BASELINE_IDS + 1, 2_500])
@pytest.mark.parametrize("batch", [1, 7, 100, 2_500])
def test_a_baseline_of_many_files_is_bounded_and_knows_all_of_them(count: int, batch: int) -> None:
    runs = history(count, batch=batch)
    baseline = Baseline.of(runs)

    assert len(baseline.ids) == min(count, MOST_BASELINE_IDS)
    assert not any(baseline.is_new(run) for run in runs)
    assert baseline.is_new(file("new", count // batch + 1))


def test_a_baseline_that_was_not_cut_goes_by_ids_alone() -> None:
    baseline = Baseline.of(history(MOST_BASELINE_IDS))

    assert baseline.since is None
    assert baseline.is_new(file("new", -1))


def test_a_cut_baseline_still_takes_a_file_that_is_not_scheduled_yet_for_new() -> None:
    assert Baseline.of(history(MOST_BASELINE_IDS + 1)).is_new(file("new", None, "WAITING"))


def test_of_several_runs_of_one_name_the_newest_counts() -> None:
    runs = [file("a.csv", 1), file("a.csv", 3), file("a.csv", 2), file("b.csv", 1)]

    assert chosen(Selection(file_name="*.csv"), *runs) == ["b.csv@1", "a.csv@3"]
    assert chosen(Selection(since=at(0)), *runs) == ["b.csv@1", "a.csv@3"]


def test_with_neither_name_nor_time_it_is_the_newest_file() -> None:
    assert chosen(Selection(), file("a.csv", 1), file("b.csv", 3), file("c.csv", 2)) == ["b.csv@3"]
    assert chosen(Selection()) == []


@pytest.mark.parametrize(
    ("timeless", "expected"),
    [(file("x.csv", None, "WAITING"), "x.csv@None"), (file("x.csv", None, "SUCCESSFUL"), "a.csv@1")],
)
def test_a_file_without_a_time_is_the_newest_until_it_has_ended(timeless: FileRun, expected: str) -> None:
    assert chosen(Selection(), timeless, file("a.csv", 1)) == [expected]


def test_of_two_files_of_one_moment_the_one_that_has_not_ended_is_the_newest() -> None:
    assert chosen(Selection(), file("a.csv", 1, "QUEUED"), file("b.csv", 1)) == ["a.csv@1"]


some_runs = st.lists(
    st.builds(
        file,
        st.sampled_from(["a.csv", "b.csv", "c[1].csv"]),
        st.none() | st.integers(0, 3),
        st.sampled_from(["SUCCESSFUL", "FAILED", "QUEUED", "PROCESSING"]),
        id=st.uuids().map(str),
    ),
    max_size=8,
)
some_selections = st.builds(
    Selection,
    st.none() | st.sampled_from(["a.csv", "*.csv", "c[1].csv"]),
    st.none() | st.integers(0, 3).map(at),
    st.none() | some_runs.map(Baseline.of),
    st.integers(1, 3),
)


@given(runs=some_runs, selection=some_selections, data=st.data())
def test_the_choice_does_not_depend_on_the_order_of_the_files(
    runs: list[FileRun], selection: Selection, data: Any
) -> None:
    shuffled = data.draw(st.permutations(runs))

    assert selection.choose(shuffled) == selection.choose(runs)


@given(runs=some_runs, data=st.data())
def test_a_baseline_does_not_depend_on_the_order_of_the_files(runs: list[FileRun], data: Any) -> None:
    assert Baseline.of(data.draw(st.permutations(runs))) == Baseline.of(runs)


@given(runs=some_runs, selection=some_selections)
def test_no_name_is_chosen_twice(runs: list[FileRun], selection: Selection) -> None:
    names = [run.file_name for run in selection.choose(runs)]

    assert len(names) == len(set(names))


@given(selection=some_selections)
def test_a_selection_survives_json(selection: Selection) -> None:
    assert Selection.from_dict(json.loads(json.dumps(selection.to_dict()))) == selection


def test_a_cut_baseline_survives_json() -> None:
    selection = Selection(baseline=Baseline.of(history(MOST_BASELINE_IDS + 1)))

    assert Selection.from_dict(json.loads(json.dumps(selection.to_dict()))) == selection


TRIGGERED_AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_a_triggers_time_survives_json() -> None:
    selection = Selection(baseline=Baseline.of([], triggered_at=TRIGGERED_AT))

    assert Selection.from_dict(json.loads(json.dumps(selection.to_dict()))) == selection
    assert selection.needs_times


def test_a_stored_selection_without_the_triggers_time_goes_by_ids() -> None:
    stored = {"baseline": ["a"], "baseline_since": None, "expected_files": 1, "file_name": None, "since": None}

    assert Selection.from_dict(stored) == Selection(baseline=Baseline(frozenset({"a"})))


@pytest.mark.parametrize(
    ("minutes", "changes", "is_new"),
    [
        (0, {}, True),
        (-1, {}, True),
        (-2, {}, True),
        (-3, {}, False),
        (-300, {}, False),
        (-300, {"is_time_assumed": True}, True),
        (0, {"id": "old"}, False),
    ],
)
def test_a_file_scheduled_long_before_the_trigger_is_of_another_run(
    minutes: int, changes: dict[str, Any], is_new: bool
) -> None:
    baseline = replace(Baseline.of([], triggered_at=TRIGGERED_AT), ids=frozenset({"old"}))
    run = replace(file("a.csv"), **{"scheduled_at": TRIGGERED_AT + timedelta(minutes=minutes), **changes})

    assert baseline.is_new(run) is is_new


def test_a_file_without_a_time_goes_by_its_id() -> None:
    assert Baseline.of([], triggered_at=TRIGGERED_AT).is_new(replace(file("a.csv"), scheduled_at=None))


DONE, RUNS = file("a.csv"), file("b.csv", status="PROCESSING")


@pytest.mark.parametrize(
    ("expected_files", "files", "is_over"),
    [
        (1, [], False),
        (1, [DONE], True),
        (1, [RUNS], False),
        (1, [DONE, RUNS], False),
        (1, [DONE, DONE], True),
        (2, [DONE], False),
        (2, [DONE, DONE], True),
        (2, [DONE, RUNS], False),
        (2, [DONE, DONE, DONE], True),
        (1, [file(status="FAILED")], True),
        (1, [file(status="PARTIAL_SUCCESS")], True),
        (1, [file(status="VIRUS_SCAN")], False),
        (1, [file(status="")], False),
    ],
)
def test_it_is_over_when_enough_files_are_there_and_all_have_ended(
    expected_files: int, files: list[FileRun], is_over: bool
) -> None:
    assert Selection(expected_files=expected_files).are_over(files) is is_over


@pytest.mark.parametrize(
    ("expected_files", "files", "said"),
    [
        (1, [RUNS], ["1 file ", "b.csv PROCESSING"]),
        (1, [DONE, RUNS], ["2 files ", "a.csv SUCCESSFUL", "b.csv PROCESSING"]),
        (3, [DONE, RUNS], ["2 of 3 files ", "a.csv SUCCESSFUL", "b.csv PROCESSING"]),
        (1, [DONE] * 7, ["7 files ", ", and 2 more"]),
    ],
)
def test_how_it_stands_is_said_in_a_line(expected_files: int, files: list[FileRun], said: list[str]) -> None:
    line = Selection(expected_files=expected_files).describe(files)

    assert [part for part in said if part not in line] == []


def test_the_log_names_five_files_at_most() -> None:
    assert Selection().describe([DONE] * 1_000).count("a.csv") == 5


@pytest.mark.parametrize("expected_files", [1, 2])
def test_that_there_is_no_file_is_said(expected_files: int) -> None:
    assert Selection(expected_files=expected_files).describe([]) == "no such file yet"


def test_of_files_since_a_baseline_those_of_the_first_run_count_and_not_those_of_a_later_one() -> None:
    baseline = Baseline.of([file("old.csv", 0, id="old")])
    ours = [file("a.csv", 10, id="1"), file("b.csv", 12, id="2")]
    later = file("a.csv", 16, "FAILED", id="3")

    assert Selection(baseline=baseline).choose([later, *ours]) == tuple(ours)
    assert [run.id for run in Selection(baseline=baseline, expected_files=3).choose([later, *ours])] == ["2", "3"]


def test_an_old_file_without_a_time_is_never_new_however_long_the_history() -> None:
    history = [file(f"{number}.csv", number) for number in range(MOST_BASELINE_IDS + 10)]
    odd = file("odd.csv", None, "FAILED", id="odd")

    assert Selection(baseline=Baseline.of([odd, *history])).choose([odd, *history]) == ()


def test_expected_files_alone_chooses_the_newest_n() -> None:
    files = [file("a", 1), file("b", 2), file("c", 3)]

    assert [run.file_name for run in Selection(expected_files=2).choose(files)] == ["b", "c"]
    assert not Selection(expected_files=4).are_over(Selection(expected_files=4).choose(files))


@pytest.mark.parametrize(
    ("selection", "needs_times"),
    [
        (Selection("users_*.csv", expected_files=2), False),
        (Selection(baseline=Baseline(frozenset({"a"}))), False),
        (Selection(baseline=Baseline(frozenset({"a"}), at(0))), True),
        (Selection(since=at(0)), True),
    ],
)
def test_only_moments_make_a_selection_depend_on_times(selection: Selection, needs_times: bool) -> None:
    assert selection.needs_times is needs_times
    assert Selection.from_dict(selection.to_dict()).needs_times is needs_times
