"""Which finished files an asset's trigger tells: each once, and nothing that was over before."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_moengage.api.file_imports import FileRun
from airflow_provider_moengage.polling.selection import MOST_BASELINE_IDS
from airflow_provider_moengage.polling.unreported_files import UnreportedFiles, memory_of

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
