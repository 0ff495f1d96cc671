"""What a journal says of users that were sent more than once."""

from __future__ import annotations

from airflow_provider_moengage.bulk.changed.journal import ACCEPTED, NOT_ACCEPTED, SENT, accepted, block, unsettled

USER, OTHER = b"u" * 16, b"o" * 16
OLD, NEW = b"1" * 8, b"2" * 8


def test_an_acceptance_settles_all_that_was_sent_of_the_user_before() -> None:
    first = block(SENT, USER + OLD) + block(SENT, OTHER + OLD)
    second = block(SENT, USER + NEW) + block(ACCEPTED, USER + NEW)

    assert unsettled([first]) == {USER: {OLD}, OTHER: {OLD}}
    assert unsettled([first, second]) == {OTHER: {OLD}}
    assert list(accepted([first, second])) == [USER + NEW]


def test_a_refusal_settles_only_what_was_refused() -> None:
    data = block(SENT, USER + OLD) + block(SENT, USER + NEW) + block(NOT_ACCEPTED, USER + NEW)

    assert unsettled([data]) == {USER: {OLD}}
    assert unsettled([data + block(NOT_ACCEPTED, USER + OLD)]) == {}


def test_a_block_that_is_not_whole_ends_a_journal() -> None:
    data = block(SENT, USER + OLD) + block(SENT, OTHER + NEW)

    assert unsettled([data[:-1]]) == {USER: {OLD}}
