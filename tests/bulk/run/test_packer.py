from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.batch import Batch, Elements
from airflow_provider_moengage.bulk.elements.encoding import Encoder
from airflow_provider_moengage.bulk.elements.rules import LARGEST_BODY
from airflow_provider_moengage.bulk.elements.weight import Weight, events_of, users_of, weight
from airflow_provider_moengage.bulk.run.packer import LARGEST_ELEMENT, Packer, pack_together

PLENTY = 10**9
EMPTY_BODY = len(b'{"type":"transition","elements":[]}')


class One(NamedTuple):
    """An element, its weight and its position."""

    element: Any
    weight: Weight
    position: int


def one(size: int = 20, position: int = 0, kind: str = "customer", actions: int = 0) -> One:
    """Return an element of that many bytes."""
    element = {"a": "x" * (size - len('{"a":""}'))}
    assert len(msgspec.json.encode(element)) == size
    return One(element, weight(kind, actions), position)


def elements(ones: Sequence[One]) -> Elements:
    users = [f"user-{each.position}" for each in ones]
    return Elements(
        [each.element for each in ones], [each.position for each in ones], [each.weight for each in ones], users
    )


class Packing:
    """A packer and the elements that it refused."""

    def __init__(self, most_users: int = PLENTY, most_events: int = PLENTY) -> None:
        self.refused: list[tuple[int, Any]] = []
        self.packer = Packer(
            most_users, most_events, Encoder(), lambda position, _, why: self.refused.append((position, why))
        )

    def pack(self, ones: Sequence[One], at_once: int = 1_000) -> list[Batch]:
        parts = [elements(ones[start : start + at_once]) for start in range(0, len(ones), at_once)]
        full = [batch for part in parts for batch in self.packer.add(part)]
        last = self.packer.take()
        return full if last is None else [*full, last]


def pack(ones: Sequence[One], most_users: int = PLENTY, most_events: int = PLENTY) -> list[Batch]:
    return Packing(most_users, most_events).pack(ones)


def test_a_body_has_the_documented_form() -> None:
    customer, event = {"type": "customer"}, {"type": "event"}
    [batch] = pack([One(customer, weight("customer", 0), 0), One(event, weight("event", 1), 1)])

    assert msgspec.json.decode(batch.body) == {"type": "transition", "elements": [customer, event]}


def test_the_largest_body_is_100_000_bytes_and_the_largest_element_fills_it() -> None:
    assert LARGEST_BODY == 100_000
    assert [len(batch.body) for batch in pack([one(LARGEST_ELEMENT)])] == [100_000]


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
def test_a_body_is_filled_to_the_last_byte_and_no_further(sizes: list[int], packed: list[int]) -> None:
    bodies = pack([one(size) for size in sizes])

    assert list(map(len, bodies)) == packed
    assert all(len(batch.body) <= 100_000 for batch in bodies)


def test_a_body_that_is_exactly_full_has_100_000_bytes() -> None:
    [batch] = pack([one(33_321)] * 3)

    assert len(batch.body) == 100_000


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(10, 60_000) | st.integers(10, 300), max_size=400), st.sampled_from([1, 7, 1_000]))
def test_every_element_is_in_one_body_and_in_order(sizes: list[int], at_once: int) -> None:
    ones = [one(size, position) for position, size in enumerate(sizes)]

    bodies = Packing().pack(ones, at_once)

    assert [position for body in bodies for position in body.positions] == list(range(len(ones)))
    sent = [element for body in bodies for element in msgspec.json.decode(body.body)["elements"]]
    assert sent == [each.element for each in ones]
    assert all(len(body.body) <= 100_000 for body in bodies)
    for body, following in pairwise(bodies):
        assert len(body.body) + 1 + len(following.lines[0]) > 100_000


def test_bodies_of_a_long_run_are_full() -> None:
    bodies = pack([one(150 + number % 101) for number in range(10_000)])

    full = [len(batch.body) for batch in bodies[:-1]]
    assert sum(full) / len(full) >= 0.998 * 100_000


def test_an_element_that_no_body_can_hold_is_refused_and_the_others_are_packed() -> None:
    packing = Packing()
    broken = One({"a": "\ud83d"}, weight("customer", 0), 3)

    bodies = packing.pack([one(position=0), one(LARGEST_ELEMENT + 1, 1), one(position=2), broken, one(position=4)])

    assert [body.positions for body in bodies] == [[0, 2, 4]]
    [(large, size), (unreadable, error)] = packing.refused
    assert (large, size, unreadable) == (1, LARGEST_ELEMENT + 1, 3)
    assert isinstance(error, UnicodeEncodeError)


def packed_one_by_one(
    ones: Sequence[One], most_users: int, most_events: int
) -> tuple[list[bytes], list[tuple[int, Any]]]:
    """Pack in the plainest way: an element goes into the last body if that has room and the limits allow it."""
    bodies: list[list[bytes]] = []
    refused: list[tuple[int, Any]] = []
    size = users = events = 0
    for each in ones:
        try:
            line = msgspec.json.encode(each.element)
        except UnicodeEncodeError as error:
            refused.append((each.position, type(error)))
            continue
        if len(line) > LARGEST_ELEMENT:
            refused.append((each.position, len(line)))
            continue
        more_users, more_events = each.weight.users, each.weight.actions
        has_room = size + 1 + len(line) <= LARGEST_BODY
        if not bodies or not has_room or users + more_users > most_users or events + more_events > most_events:
            bodies.append([])
            size, users, events = EMPTY_BODY - 1, 0, 0
        bodies[-1].append(line)
        size, users, events = size + 1 + len(line), users + more_users, events + more_events
    prefix, suffix = b'{"type":"transition","elements":[', b"]}"
    return [prefix + b",".join(lines) + suffix for lines in bodies], refused


SIZES = st.one_of(
    st.integers(10, 300),
    st.integers(10, 60_000),
    st.sampled_from([0, 49_982, 49_983, LARGEST_ELEMENT - 1, LARGEST_ELEMENT, LARGEST_ELEMENT + 1, 250_000]),
)
"""Bytes of an element; 0 for one that cannot be encoded."""
WEIGHTS = st.sampled_from([("customer", 0), ("device", 0), ("event", 1), ("event", 9)])
UNENCODABLE = {"a": "\ud83d"}


@settings(deadline=None, max_examples=300)
@given(
    given_ones=st.lists(st.tuples(SIZES, WEIGHTS), max_size=300),
    at_once=st.sampled_from([1, 7, 64, 1_000]),
    most=st.sampled_from([(PLENTY, PLENTY), (3, 5), (40, PLENTY), (PLENTY, 40)]),
)
def test_bodies_and_rejects_are_those_of_packing_one_by_one(
    given_ones: list[tuple[int, tuple[str, int]]], at_once: int, most: tuple[int, int]
) -> None:
    ones = [
        one(size, position, *kind) if size else One(UNENCODABLE, weight(*kind), position)
        for position, (size, kind) in enumerate(given_ones)
    ]
    packing = Packing(*most)

    bodies = packing.pack(ones, at_once)

    refused = [(position, why if isinstance(why, int) else type(why)) for position, why in packing.refused]
    assert ([body.body for body in bodies], refused) == packed_one_by_one(ones, *most)


@settings(deadline=None, max_examples=100)
@given(
    given_ones=st.lists(st.tuples(st.integers(10, 60_000) | st.integers(10, 300), WEIGHTS), max_size=300),
    most=st.sampled_from([(PLENTY, PLENTY), (3, 5)]),
)
def test_lines_are_packed_like_the_elements_that_they_are(
    given_ones: list[tuple[int, tuple[str, int]]], most: tuple[int, int]
) -> None:
    ones = [one(size, position, *kind) for position, (size, kind) in enumerate(given_ones)]
    given_elements = elements(ones)
    lines = [msgspec.json.encode(element) for element in given_elements.elements]
    packing = Packing(*most)

    full = list(
        packing.packer.add_lines(
            Batch(lines, given_elements.positions, given_elements.weights, given_elements.users)
        )
    )

    last = packing.packer.take()
    bodies = full if last is None else [*full, last]
    assert [body.body for body in bodies] == packed_one_by_one(ones, *most)[0]
    assert [position for body in bodies for position in body.positions] == list(range(len(ones)))


@pytest.mark.parametrize(
    ("kind", "actions", "users"), [("customer", 0, 1), ("device", 0, 1), ("event", 1, 0), ("event", 7, 0)]
)
def test_customers_and_devices_count_as_users_and_actions_as_events(kind: str, actions: int, users: int) -> None:
    weights = [weight(kind, actions)] * 3

    assert (users_of(weights), events_of(weights)) == (3 * users, 3 * actions)


@pytest.mark.parametrize(
    ("ones", "packed"),
    [
        ([one()] * 5, [2, 2, 1]),
        ([one(kind="device")] * 3, [2, 1]),
        ([one(kind="event", actions=1)] * 5, [3, 2]),
        ([one(kind="event", actions=2)] * 2, [1, 1]),
        ([one(kind="event", actions=9), one(kind="event", actions=1)], [1, 1]),
        ([one(kind="event", actions=1), one(kind="event", actions=9)], [1, 1]),
        ([one(), one(), *[one(kind="event", actions=1)] * 3], [5]),
    ],
    ids=["users", "devices", "events", "actions", "over the cap first", "over the cap last", "both budgets"],
)
def test_a_body_holds_no_more_users_and_events_than_allowed(ones: list[One], packed: list[int]) -> None:
    assert list(map(len, pack(ones, most_users=2, most_events=3))) == packed
    assert list(map(len, Packing(2, 3).pack(ones, at_once=1))) == packed


def test_the_caps_apply_to_each_body_separately() -> None:
    packing = Packing(2, 2)

    assert [len(packing.pack([one()])), len(packing.pack([one(), one()]))] == [1, 1]


def test_an_empty_packer_has_no_body() -> None:
    assert Packing().packer.take() is None


def test_parts_of_a_batch_hold_its_elements_in_order() -> None:
    [batch] = pack([one(20 + position, position) for position in range(10)])

    first, rest, apart = batch.part(slice(None, 3)), batch.part(slice(3, None)), list(batch.each())

    assert [first.positions, rest.positions] == [[0, 1, 2], [3, 4, 5, 6, 7, 8, 9]]
    assert list(map(len, first.lines)) == [20, 21, 22]
    assert first.lines + rest.lines == batch.lines == [line for each in apart for line in each.lines]
    assert [each.users for each in apart] == [[f"user-{position}"] for position in range(10)]


@pytest.mark.parametrize(
    ("leftovers", "most_users", "most_events", "packed"),
    [
        ([], PLENTY, PLENTY, []),
        ([[one()] * 2, [one()]], PLENTY, PLENTY, [3]),
        ([[one(50_000)], [one(49_964)]], PLENTY, PLENTY, [2]),
        ([[one(50_000)], [one(49_965)]], PLENTY, PLENTY, [1, 1]),
        ([[one()] * 2, [one()] * 2, [one()]], 3, PLENTY, [2, 3]),
        ([[one(kind="event", actions=2)], [one(kind="event", actions=2)]], PLENTY, 3, [1, 1]),
        ([[one(kind="event", actions=5)], [one()]], PLENTY, 3, [1, 1]),
    ],
)
def test_leftovers_are_combined_as_far_as_a_body_holds_them(
    leftovers: list[list[One]], most_users: int, most_events: int, packed: list[int]
) -> None:
    batches = [batch for ones in leftovers for batch in pack(ones)]

    bodies = pack_together(batches, most_users, most_events)

    assert list(map(len, bodies)) == packed
    assert all(len(body.body) <= 100_000 for body in bodies)


def test_leftovers_keep_their_order_and_lose_nothing() -> None:
    leftovers = [
        batch
        for lane in range(4)
        for batch in pack([one(30_000, position=lane * 10 + number) for number in range(2)])
    ]

    bodies = pack_together(leftovers, PLENTY, PLENTY)

    assert [position for body in bodies for position in body.positions] == [0, 1, 10, 11, 20, 21, 30, 31]


def test_combined_leftovers_are_in_the_order_of_the_source() -> None:
    leftovers = [
        *pack([one(20, position=0), one(23, position=3)]),
        *pack([one(21, position=1), one(22, position=2)]),
    ]

    [body] = pack_together(leftovers, PLENTY, PLENTY)

    assert list(body.positions) == [0, 1, 2, 3]
    assert list(map(len, body.lines)) == [20, 21, 22, 23]
    assert list(body.users) == ["user-0", "user-1", "user-2", "user-3"]
