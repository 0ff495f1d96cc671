"""The comparison with the last run, on random tables in random orders."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import blake2b

import pytest

from airflow_provider_moengage.bulk.changed.lookup import index as index_module
from airflow_provider_moengage.bulk.changed.lookup import known as known_module
from airflow_provider_moengage.bulk.changed.lookup.index import DiskIndex, repeated_keys
from airflow_provider_moengage.bulk.changed.lookup.known import Known
from airflow_provider_moengage.bulk.changed.records import UNKNOWN, packed

ORDERS = ("same", "shuffled", "reversed", "bursts", "rotated", "some moved", "empty", "almost sorted")


def key(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).digest()


def content(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=8).digest()


def element(row: tuple[int, int]) -> bytes:
    """Return the content of a row, which says who it is of."""
    return blake2b(repr(row).encode(), digest_size=8).digest()


def blocks(records: list[tuple[bytes, bytes]]) -> Iterator[bytes]:
    for at in range(0, len(records), 16):
        yield b"".join(key + content for key, content in records[at : at + 16])


def reordered(  # noqa: C901 (a list of orders)
    rows: list[tuple[int, int]], order: str, chance: random.Random
) -> list[tuple[int, int]]:
    if order == "shuffled":
        chance.shuffle(rows)
    elif order == "reversed":
        rows.reverse()
    elif order == "rotated" and rows:
        at = chance.randrange(len(rows))
        rows = rows[at:] + rows[:at]
    elif order == "bursts":
        for _ in range(3):
            at = chance.randrange(len(rows) + 1)
            if chance.random() < 0.5:
                rows[at:at] = [(chance.randrange(10**6, 10**12), 0) for _ in range(chance.randrange(800))]
            else:
                del rows[at : at + chance.randrange(800)]
    elif order == "some moved":
        for _ in range(len(rows) // 50):
            rows.insert(chance.randrange(len(rows)), rows.pop(chance.randrange(len(rows))))
    elif order == "almost sorted":
        rows.sort(key=lambda row: row[0] + chance.randrange(40))
    elif order == "empty":
        rows.clear()
    return rows


def compared(known: Known, rows: list[tuple[int, int]]) -> list[bytes | None]:
    """Return what the records have of rows, those first that have not changed."""
    users = known.keys([element(row) for row in rows])
    assert all(one in (None, key(number)) for one, (number, _) in zip(users, rows, strict=True))
    others = [at for at, one in enumerate(users) if one is None]
    found: list[bytes | None] = [element(row) for row in rows]
    before = known.contents([key(rows[at][0]) for at in others], len(rows))
    for at, what in zip(others, before, strict=True):
        found[at] = what
    return found


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("part", range(4))
def test_no_change_is_missed_and_removed_users_are_exact_in_any_order(order: str, part: int) -> None:
    for seed in range(part * 6, (part + 1) * 6):
        chance = random.Random(f"{order} {seed}")
        before = [(number, chance.randrange(3)) for number in range(chance.choice([0, 1, 5, 100, 1000, 3000]))]
        rows = [
            (number, what if chance.random() > 0.05 else what + 10)
            for number, what in before
            if chance.random() > 0.02
        ]
        for _ in range(chance.randrange(1 + len(before) // 20)):
            rows.insert(chance.randrange(len(rows) + 1), (chance.randrange(10**6, 10**12), 0))
        rows = list(dict(reordered(rows, order, chance)).items())
        records = [(key(row[0]), UNKNOWN if row[1] == 2 else element(row)) for row in before]
        known = Known(blocks(records), window=64, most_waiting=200)

        sent = []
        at = 0
        while at < len(rows):
            some = rows[at : at + chance.randrange(1, 60)]
            at += len(some)
            found = compared(known, some) if seed % 3 else known.contents([key(n) for n, _ in some])
            sent += [row for row, what in zip(some, found, strict=True) if what != element(row)]
        removed = [one for one, _ in known.unseen()]
        known.close()

        had = {number: what if what != 2 else None for number, what in before}
        assert {row for row in rows if had.get(row[0]) != row[1]} <= set(sent)
        assert sorted(removed) == sorted(key(n) for n in had.keys() - dict(rows).keys())
        if order in ("same", "almost sorted"):
            assert len(sent) == sum(had.get(n) != c for n, c in rows)


@pytest.mark.parametrize("held", [0, 1_000_000], ids=["in a file", "in memory"])
def test_an_index_finds_each_record_and_the_last_one_of_a_key(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "MOST_HELD", held)
    keys = [key(n) for n in range(5_000)]
    records = [packed(keys, [content(n) for n in range(5_000)]), packed(keys[:10], [content(7)] * 10)]
    index = DiskIndex(records)

    assert index.look_up([*keys, key(9_999)]) == [content(7)] * 10 + [content(n) for n in range(10, 5_000)] + [
        None
    ]
    assert list(index.unseen()) == []
    index.look_up(keys[:1])
    assert index.seen_again == {keys[0]}
    assert repeated_keys(records) == dict.fromkeys(keys[:10], content(7))
    index.close()


@pytest.mark.parametrize("users", [1_200, 1_500, 1_800, 2_500])
def test_users_whom_moengage_has_are_found_in_another_order_but_for_a_few(users: int) -> None:
    rows = list(range(users))
    random.Random(users).shuffle(rows)
    known = Known(blocks([(key(number), content(number)) for number in range(users)]), window=1_000)

    found = [known.contents([key(number) for number in rows[at : at + 50]]) for at in range(0, users, 50)]

    assert sum(contents.count(None) for contents in found) < 150
    assert list(known.unseen()) == []
    known.close()


@pytest.mark.parametrize("by_content", [True, False])
def test_memory_is_bounded_if_many_rows_have_left_and_none_is_new(by_content: bool) -> None:
    before = [(number, 0) for number in range(3_000)]
    rows = before[::2]
    records = [(key(row[0]), element(row)) for row in before]
    known = Known(blocks(records), window=64, most_waiting=200)

    for at in range(0, len(rows), 10):
        some = rows[at : at + 10]
        found = compared(known, some) if by_content else known.contents([key(number) for number, _ in some])
        assert None not in found

    assert known.is_indexed
    assert sorted(one for one, _ in known.unseen()) == sorted(key(number) for number, _ in before[1::2])
    known.close()


@pytest.mark.parametrize("order", ["same", "shuffled", "some moved"])
@pytest.mark.parametrize("most", [40_000, 3])
def test_keys_that_were_asked_for_twice_are_among_those_that_may_have_been(
    order: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_module, "_MOST_UNSURE", most)
    monkeypatch.setattr(known_module, "MOST_AGAIN", most)
    monkeypatch.setattr(index_module, "MOST_AGAIN", most)
    chance = random.Random(7)
    for _ in range(30):
        rows = reordered([(number, 0) for number in range(chance.randrange(1, 400))], order, chance)
        rows += chance.choices(rows, k=chance.randrange(3)) if rows else []
        keys = [key(number) for number, _ in rows]
        records = [(key(number), content(number)) for number in range(390)]
        known = Known(blocks(records), window=32, most_waiting=64)
        for at in range(0, len(keys), 20):
            known.contents(keys[at : at + 20])

        maybe = known.maybe_repeated()

        assert maybe is None or maybe >= {one for one in keys if keys.count(one) > 1}
        known.close()
