"""The bookkeeping of open elements, call by call."""

from __future__ import annotations

import pytest

from airflow_provider_moengage.bulk.resume.ledger import Ledger
from airflow_provider_moengage.bulk.sources import Chunk, Numbered, Remaining


class Keyed(Numbered):
    """Elements that are identified by a key, so that another reading may give them other positions."""

    def token(self, position: int, key: int) -> int:
        return key


def chunk(positions: range, keys: range | None = None, *, is_reread: bool = False) -> Chunk:
    return Chunk(positions, list(positions), keys=keys, is_reread=is_reread)


def remaining(ledger: Ledger, source: Numbered) -> Remaining:
    return source.remaining(ledger.bookmark())


def test_what_was_read_and_is_not_done_remains_up_to_the_last_element_sent() -> None:
    source = Numbered([])
    ledger = Ledger(source, at_most_once=False)
    ledger.add(chunk(range(10)))
    ledger.advance([4, 6])
    ledger.close([4, 6])

    left = remaining(ledger, source)

    assert (left.last[0], left.open, left.in_flight) == (6, {0, 1, 2, 3, 5}, set())


def test_elements_in_flight_remain_apart_from_the_open_ones() -> None:
    source = Numbered([])
    ledger = Ledger(source, at_most_once=True)
    ledger.add(chunk(range(4)))
    ledger.mark_in_flight([1, 2, 3])
    ledger.advance([1, 2, 3])
    ledger.clear_in_flight([2])

    left = remaining(ledger, source)

    assert (left.open, left.in_flight) == ({0, 2}, {1, 3})


@pytest.mark.parametrize(("at_most_once", "to_send", "unknown"), [(False, [1, 2], []), (True, [1], [2])])
def test_rereading_skips_what_is_done_and_never_sends_unknown_outcomes_at_most_once(
    at_most_once: bool, to_send: list[int], unknown: list[int]
) -> None:
    ledger = Ledger(Numbered([]), at_most_once=at_most_once)
    ledger.restore(Remaining((5, None), {1, 4}, {2}))

    sent, rejected = ledger.add_reread(chunk(range(3), is_reread=True))

    assert (list(sent.positions), list(rejected.positions)) == (to_send, unknown)
    assert ledger.unread == 1


def test_an_element_with_unknown_outcome_stays_in_flight_until_it_is_rejected() -> None:
    source = Numbered([])
    ledger = Ledger(source, at_most_once=True)
    ledger.restore(Remaining((5, None), {1}, {2}))
    ledger.add_reread(chunk(range(6), is_reread=True))

    before = remaining(ledger, source)
    ledger.close([2])
    after = remaining(ledger, source)

    assert (before.open, before.in_flight) == ({1}, {2})
    assert (after.open, after.in_flight) == ({1}, set())


def test_a_reread_element_remains_open_although_new_rows_have_moved_it_behind_the_last_one() -> None:
    source = Keyed([])
    ledger = Ledger(source, at_most_once=False)
    ledger.restore(Remaining((5, 5), {3, 4}))

    ledger.add_reread(chunk(range(8, 10), range(3, 5), is_reread=True))

    assert remaining(ledger, source).open == {3, 4}


def test_a_reread_element_does_not_move_the_last_one() -> None:
    source = Keyed([])
    ledger = Ledger(source, at_most_once=False)
    ledger.restore(Remaining((5, 5), {3, 4}))
    ledger.add_reread(chunk(range(8, 10), range(3, 5), is_reread=True))

    ledger.advance([8, 9])

    assert remaining(ledger, source).last[0] == 5


def test_elements_that_are_no_longer_in_the_source_are_dropped_and_counted() -> None:
    source = Numbered([])
    ledger = Ledger(source, at_most_once=False)
    ledger.restore(Remaining((5, None), {1}, {2}))

    assert ledger.drop_unread() == 2
    assert (ledger.unread, remaining(ledger, source).open) == (0, set())
