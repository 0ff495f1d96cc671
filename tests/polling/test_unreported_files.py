"""Which finished files an asset's trigger tells: each once, and nothing that was over before."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_moengage.api.file_imports import FileRun
from airflow_provider_moengage.polling.selection import MOST_BASELINE_IDS
from airflow_provider_moengage.polling.unreported_files import GONE_AFTER, UnreportedFiles, memory_of

START = datetime(2026, 1, 1, tzinfo=UTC)
ALL = ("SUCCESSFUL", "PARTIAL_SUCCESS", "FAILED")


def run(
    number: int, status: str = "SUCCESSFUL", *, name: str | None = None, completed: int | None = None
) -> FileRun:
    return FileRun(
        id=f"id-{number}",
        file_name=name or f"users_{number}.csv",
        file_status=status,
        scheduled_at=START + timedelta(minutes=number),
        completed_at=START + timedelta(minutes=number if completed is None else completed),
    )


def ids(runs: list[FileRun] | None) -> list[str] | None:
    return None if runs is None else [each.id for each in runs]


def test_what_the_first_look_finds_is_no_news() -> None:
    news = UnreportedFiles(None, ALL, None)

    assert news.look([run(1), run(2)]) == []
    assert news.look([run(1), run(2)]) is None
    assert ids(news.look([run(1), run(2), run(3)])) == ["id-3"]


def test_a_file_is_news_when_it_has_finished_and_once() -> None:
    news = UnreportedFiles(None, ALL, None)
    news.look([run(1, "PROCESSING")])

    assert news.look([run(1, "PROCESSING")]) is None
    assert ids(news.look([run(1)])) == ["id-1"]
    assert news.look([run(1)]) is None, "not told yet, and returned before"
    news.told(run(1))
    assert news.look([run(1)]) is None


def test_files_are_told_in_the_order_in_which_they_finished() -> None:
    news = UnreportedFiles(None, ALL, None)
    news.look([])

    assert ids(news.look([run(1, completed=30), run(2, completed=20), run(3, completed=25)])) == [
        "id-2",
        "id-3",
        "id-1",
    ]


def test_only_the_named_files_and_statuses_are_told() -> None:
    news = UnreportedFiles("users_*.csv", ("SUCCESSFUL",), None)
    news.look([])

    assert ids(news.look([run(1), run(2, "FAILED"), run(3, name="events.csv")])) == ["id-1"]


def test_a_memory_that_was_kept_tells_what_finished_meanwhile_and_nothing_twice() -> None:
    news = UnreportedFiles(None, ALL, None)
    news.look([run(1)])
    [fresh] = news.look([run(1), run(2)]) or []
    news.told(fresh)
    kept = json.loads(json.dumps(news.to_dict()))

    later = UnreportedFiles(None, ALL, memory_of(kept))

    assert ids(later.look([run(1), run(2), run(3)])) == ["id-3"]


def test_what_was_found_and_not_told_is_found_again_after_a_restart() -> None:
    news = UnreportedFiles(None, ALL, None)
    news.look([])
    news.look([run(1)])

    assert ids(UnreportedFiles(None, ALL, memory_of(news.to_dict())).look([run(1)])) == ["id-1"]


def test_an_error_before_the_first_look_does_not_make_everything_news() -> None:
    assert UnreportedFiles(None, ALL, UnreportedFiles(None, ALL, None).memory).look([run(1)]) == []


def test_a_memory_that_cannot_be_read_is_none() -> None:
    unreadable: list[Any] = [None, {}, [], {"ids": "abc"}, 5]

    assert [memory_of(kept) for kept in unreadable] == [None] * 5


def test_the_memory_stays_small_and_forgets_no_recent_file() -> None:
    news = UnreportedFiles(None, ALL, None)
    news.look([])
    runs: list[FileRun] = []
    told = 0
    for number in range(0, 3 * MOST_BASELINE_IDS, 100):
        runs += [run(each) for each in range(number, number + 100)]
        for fresh in news.look(runs) or []:
            told += 1
            news.told(fresh)

    assert told == len(runs)
    assert len(news.to_dict()["ids"]) <= 2 * MOST_BASELINE_IDS + 100
    assert news.look(runs) is None


def test_a_slow_file_is_told_when_it_ends_however_many_came_after_it() -> None:
    news = UnreportedFiles(None, ALL, None)
    news.look([])
    slow = run(0, "PROCESSING")
    runs = [slow]
    for number in range(1, 3 * MOST_BASELINE_IDS, 100):
        runs += [run(each) for each in range(number, number + 100)]
        for fresh in news.look(runs) or []:
            news.told(fresh)
    runs[0] = run(0)

    assert ids(news.look(runs)) == ["id-0"]


def remembering(count: int) -> tuple[UnreportedFiles, list[FileRun]]:
    """A watcher that has reported so many files, in a single look."""
    news = UnreportedFiles(None, ALL, None)
    news.look([])
    runs = [run(each) for each in range(count)]
    for fresh in news.look(runs) or []:
        news.told(fresh)
    return news, runs


@pytest.mark.parametrize(
    "listed", [slice(0, 0), slice(0, 1), slice(0, 1_500), slice(1_500, None), slice(0, None, 2)]
)
def test_a_look_that_misses_files_makes_none_news_again(listed: slice) -> None:
    news, runs = remembering(2 * MOST_BASELINE_IDS + 500)

    for each in (runs[listed], runs[listed], runs, runs[listed], runs):
        assert news.look(each) is None


def test_a_look_that_misses_files_does_not_bring_back_those_that_were_trimmed() -> None:
    news, runs = remembering(2 * MOST_BASELINE_IDS + 500)
    assert news.look(runs) is None
    assert len(news.to_dict()["ids"]) <= MOST_BASELINE_IDS
    later = runs + [run(each) for each in range(len(runs), len(runs) + 1_500)]
    for fresh in news.look(later) or []:
        news.told(fresh)

    for each in (later[-900:], later, later[:10], later):
        assert news.look(each) is None


def test_a_slow_file_that_a_look_missed_is_still_told() -> None:
    news = UnreportedFiles(None, ALL, None)
    news.look([])
    others = [run(each) for each in range(1, 2 * MOST_BASELINE_IDS + 500)]
    for fresh in news.look([run(0, "PROCESSING"), *others]) or []:
        news.told(fresh)

    assert news.look(others) is None
    assert ids(news.look([run(0), *others])) == ["id-0"]


def test_files_that_moengage_no_longer_lists_do_not_keep_the_memory_large() -> None:
    news, runs = remembering(2 * MOST_BASELINE_IDS + 500)
    listed = runs[1_000:]
    for _ in range(GONE_AFTER + 1):
        assert news.look(listed) is None

    assert len(news.to_dict()["ids"]) <= MOST_BASELINE_IDS
    assert news.look(runs) is None
