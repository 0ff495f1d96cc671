from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.packing import LARGEST_ELEMENT, Batch, Line, Packer, pack_together
from airflow_provider_moengage.bulk.rules import LARGEST_BODY

PLENTY = 10**9
EMPTY_BODY = len(b'{"type":"transition","elements":[]}')


def line(size: int = 20, position: int = 0, kind: str = "customer", actions: int = 0) -> Line:
    """An element that takes so many bytes."""
    data = msgspec.json.encode({"a": "x" * (size - len('{"a":""}'))})
    assert len(data) == size
    return Line(position, data, kind, actions)


def pack(lines: Iterable[Line], most_users: int = PLENTY, most_events: int = PLENTY) -> list[list[Line]]:
    packer = Packer(most_users, most_events)
    full = [packer.add(each) for each in lines]
    return [batch.lines for batch in [*full, packer.take()] if batch is not None]


def test_a_body_is_what_moengage_documents() -> None:
    batch = Batch([Line(0, b'{"type":"customer"}', "customer", 0), Line(1, b'{"type":"event"}', "event", 1)])

    assert msgspec.json.decode(batch.body) == {
        "type": "transition",
        "elements": [{"type": "customer"}, {"type": "event"}],
    }


def test_the_largest_body_is_100_000_bytes_and_the_largest_element_fills_it() -> None:
    assert LARGEST_BODY == 100_000
    assert len(Batch([line(LARGEST_ELEMENT)]).body) == 100_000


@pytest.mark.parametrize(
    ("sizes", "packed"),
    [
        ([50_000, 100_000 - EMPTY_BODY - 1 - 50_000], [2]),
        ([50_000, 100_000 - EMPTY_BODY - 50_000], [1, 1]),
        ([100_000 - EMPTY_BODY], [1]),
        ([100_000 - EMPTY_BODY, 20], [1, 1]),
        ([20, 100_000 - EMPTY_BODY], [1, 1]),
        ([33_321, 33_321, 33_321], [3]),
        ([33_321, 33_321, 33_322], [2, 1]),
        ([], []),
    ],
)
def test_a_body_is_filled_to_the_last_byte_and_not_one_more(sizes: list[int], packed: list[int]) -> None:
    bodies = pack(line(size) for size in sizes)

    assert [len(lines) for lines in bodies] == packed
    assert all(len(Batch(lines).body) <= 100_000 for lines in bodies)


def test_a_body_that_is_exactly_full_has_100_000_bytes() -> None:
    [lines] = pack([line(33_321)] * 3)

    assert len(Batch(lines).body) == 100_000


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(10, 60_000), max_size=40))
def test_every_line_is_in_one_body_and_in_order(sizes: list[int]) -> None:
    lines = [line(size, position) for position, size in enumerate(sizes)]

    bodies = pack(lines)

    assert [each for body in bodies for each in body] == lines
    assert all(len(Batch(body).body) <= 100_000 for body in bodies)
    for body, following in pairwise(bodies):
        assert len(Batch([*body, following[0]]).body) > 100_000


def test_bodies_of_a_long_run_are_full() -> None:
    bodies = pack(line(150 + number % 101) for number in range(10_000))

    full = [len(Batch(lines).body) for lines in bodies[:-1]]
    assert sum(full) / len(full) >= 0.998 * 100_000


@pytest.mark.parametrize(
    ("kind", "actions", "users"), [("customer", 0, 1), ("device", 0, 1), ("event", 1, 0), ("event", 7, 0)]
)
def test_customers_and_devices_count_as_users_and_actions_as_events(kind: str, actions: int, users: int) -> None:
    batch = Batch([line(kind=kind, actions=actions)] * 3)

    assert (batch.users, batch.events) == (3 * users, 3 * actions)


@pytest.mark.parametrize(
    ("lines", "packed"),
    [
        ([line()] * 5, [2, 2, 1]),
        ([line(kind="device")] * 3, [2, 1]),
        ([line(kind="event", actions=1)] * 5, [3, 2]),
        ([line(kind="event", actions=2)] * 2, [1, 1]),
        ([line(kind="event", actions=9), line(kind="event", actions=1)], [1, 1]),
        ([line(kind="event", actions=1), line(kind="event", actions=9)], [1, 1]),
        ([line(), line(), *[line(kind="event", actions=1)] * 3], [5]),
    ],
    ids=["users", "devices", "events", "actions", "over the cap first", "over the cap last", "both budgets"],
)
def test_a_body_holds_no_more_than_the_caps_of_users_and_events(lines: list[Line], packed: list[int]) -> None:
    assert [len(body) for body in pack(lines, most_users=2, most_events=3)] == packed


def test_a_cap_counts_anew_for_each_body() -> None:
    packer = Packer(2, 2)
    packer.add(line())
    packer.take()

    assert [packer.add(line()), packer.add(line())] == [None, None]


def test_taking_from_an_empty_packer_gives_nothing() -> None:
    assert Packer(PLENTY, PLENTY).take() is None


@pytest.mark.parametrize(("size", "halves"), [(2, (1, 1)), (3, (1, 2)), (10, (5, 5))])
def test_halves_hold_everything_in_order(size: int, halves: tuple[int, int]) -> None:
    lines = [line(position=position) for position in range(size)]

    first, second = Batch(lines).halves()

    assert (len(first.lines), len(second.lines)) == halves
    assert first.lines + second.lines == lines


@pytest.mark.parametrize(
    ("leftovers", "most_users", "most_events", "packed"),
    [
        ([], PLENTY, PLENTY, []),
        ([[line()] * 2, [line()]], PLENTY, PLENTY, [3]),
        ([[line(50_000)], [line(49_964)]], PLENTY, PLENTY, [2]),
        ([[line(50_000)], [line(49_965)]], PLENTY, PLENTY, [1, 1]),
        ([[line()] * 2, [line()] * 2, [line()]], 3, PLENTY, [2, 3]),
        ([[line(kind="event", actions=2)], [line(kind="event", actions=2)]], PLENTY, 3, [1, 1]),
        ([[line(kind="event", actions=5)], [line()]], PLENTY, 3, [1, 1]),
    ],
)
def test_leftovers_go_together_as_far_as_a_body_holds_them(
    leftovers: list[list[Line]], most_users: int, most_events: int, packed: list[int]
) -> None:
    bodies = pack_together([Batch(lines) for lines in leftovers], most_users, most_events)

    assert [len(body.lines) for body in bodies] == packed
    assert all(len(body.body) <= 100_000 for body in bodies)


def test_leftovers_keep_their_order_and_lose_nothing() -> None:
    leftovers = [Batch([line(30_000, position=lane * 10 + number) for number in range(2)]) for lane in range(4)]

    bodies = pack_together(leftovers, PLENTY, PLENTY)

    positions = [each.position for body in bodies for each in body.lines]
    assert positions == [0, 1, 10, 11, 20, 21, 30, 31]


def test_leftovers_that_go_together_go_in_the_order_of_the_source() -> None:
    leftovers = [Batch([line(position=0), line(position=3)]), Batch([line(position=1), line(position=2)])]

    [body] = pack_together(leftovers, PLENTY, PLENTY)

    assert [each.position for each in body.lines] == [0, 1, 2, 3]
