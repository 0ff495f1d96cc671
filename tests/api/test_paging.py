"""Pages put together: each row once, in an end that is sure to come."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_moengage.api.paging import Pages


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
