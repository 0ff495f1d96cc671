"""Pages put together: each row once, in an end that is sure to come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.paging import MOST_PASSES, PASSES_APART, Page, Pages, Retries, read_complete


def pages() -> Pages[str]:
    return Pages(lambda row: row[:1])


def test_the_first_page_is_number_one_and_the_next_follows() -> None:
    mine = pages()

    assert mine.next_page == 1
    mine.take(["a"], has_more=True)
    assert mine.next_page == 2


def test_the_last_page_is_the_last() -> None:
    assert pages().take(["a"], has_more=False) is False


def test_a_page_with_news_may_have_another() -> None:
    assert pages().take(["a"], has_more=True) is True


def test_a_page_without_news_is_the_last_whatever_it_says() -> None:
    mine = pages()
    mine.take(["a", "b"], has_more=True)

    assert mine.take(["b", "a"], has_more=True) is False


def test_an_empty_page_is_the_last_whatever_it_says() -> None:
    assert pages().take([], has_more=True) is False


def test_a_row_that_moves_to_a_later_page_comes_once_as_it_was_read_last() -> None:
    mine = pages()
    mine.take(["a queued", "b queued"], has_more=True)
    mine.take(["b done", "c queued"], has_more=False)

    assert mine.rows == ["a queued", "b done", "c queued"]


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=4), min_size=1, max_size=5))
def test_a_server_that_always_has_more_is_left_after_each_row_was_seen_and_one_page(
    answers: list[list[str]],
) -> None:
    mine = pages()
    for number in count():
        if not mine.take(answers[number % len(answers)], has_more=True):
            break

    assert mine.next_page - 1 <= 8 + 1
    assert len(mine.rows) == len(set(mine.rows))


def reading(*passes: Sequence[Page[str]], waits: list[float] | None = None) -> Callable[[], list[str]]:
    """Return what reads a list that has these pages when it is read the first time, the second time and so on."""
    left = list(passes)
    pages: list[Page[str]] = []

    def ask(number: int) -> Page[str]:
        if number == 1:
            pages[:] = left.pop(0)
        if number > len(pages):
            raise ApiError(ErrorKind.NOT_FOUND, "no such page")
        return pages[number - 1]

    retries = Retries(pause=(waits if waits is not None else []).append)
    return lambda: read_complete(ask, str, retries, passes=MOST_PASSES)


def page(rows: str, total: int | None = None, *, has_more: bool | None = False) -> Page[str]:
    return Page(list(rows), has_more, total)


@pytest.mark.parametrize(
    "pages",
    [
        [page("", 0)],
        [page("ab", 2)],
        [page("ab")],
        [page("ab", 4, has_more=True), page("cd", 4)],
        [page("ab", 4), page("cd", 4)],  # more_files contradicts the total
        [page("ab", 2, has_more=True), page("cd", 4)],  # the total of each page
        [page("ab", 3, has_more=True), page("bc", 3)],
        [page("ab", has_more=None), page("cd", has_more=None)],
        [page("ab", 1)],
    ],
)
def test_a_list_that_has_all_that_it_reports_is_read_once(pages: list[Page[str]]) -> None:
    waits: list[float] = []

    assert reading(pages, waits=waits)() == sorted({row for each in pages for row in each.rows})
    assert waits == []


BAD = {
    "fewer rows than the total": [page("ab", 3)],
    "no rows but a total": [page("", 3)],
    "an empty page in between": [page("ab", 4, has_more=True), page("", 4, has_more=True), page("cd", 4)],
    "a page that repeats": [page("ab", 4, has_more=True), page("ab", 4, has_more=True)],
    "a page that repeats, and no total": [page("ab", has_more=True), page("ab", has_more=True)],
    "a row that moved, and no total": [page("ab", has_more=True), page("bc")],
    "an empty page that promises more": [page("", has_more=True)],
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_list_that_may_lack_rows_is_read_again_after_a_while(bad: list[Page[str]]) -> None:
    waits: list[float] = []

    assert set(reading(bad, bad, [page("abcd", 4)], waits=waits)()) == set("abcd")
    assert waits == [PASSES_APART] * 2


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_list_that_lacks_rows_each_time_is_an_error(bad: list[Page[str]]) -> None:
    with pytest.raises(ApiError, match="missing") as caught:
        reading(*[bad] * MOST_PASSES)()

    assert caught.value.kind is ErrorKind.SERVER


def test_what_an_earlier_pass_has_found_is_kept() -> None:
    assert set(reading([page("ax", 3)], [page("abc", 3)])()) == set("axbc")
