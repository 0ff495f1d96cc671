"""Any value, however hostile, rejects its own element at worst: no run ends with an error of a value's class."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from airflow_provider_moengage.bulk.elements.fast_path import prepare_elements
from airflow_provider_moengage.bulk.elements.row_codegen import row_preparer
from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from tests.delivering import MoEngage

ELEMENTS = 15_000


class HostileError(Exception):
    """What the methods of hostile values raise."""


def _raise(*_: Any, **__: Any) -> Any:
    raise HostileError


def hostile(base: type, *methods: str) -> type:
    return type(f"Hostile{base.__name__}", (base,), dict.fromkeys(methods, _raise))


class Zone(dt.tzinfo):
    utcoffset = dst = tzname = _raise


class EmptyZone(dt.tzinfo):
    def utcoffset(self, _: dt.datetime | None) -> None:
        return None

    def dst(self, _: dt.datetime | None) -> None:
        return None

    def tzname(self, _: dt.datetime | None) -> None:
        return None


class OddEnum(Enum):
    ITEM = object()


class EnumWithoutValue(Enum):
    ITEM = 1

    @property
    def value(self) -> Any:
        raise HostileError


class NoClass:
    __class__ = property(_raise)


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise HostileError


class OfNamelessType(metaclass=Nameless):
    __str__ = __repr__ = _raise


class AnyType:
    dtype = "float64"

    def tolist(self) -> Any:
        return self


class Endless(list):  # type: ignore[type-arg]
    def __iter__(self) -> Iterator[int]:
        while True:
            yield 1


def released() -> memoryview:
    view = memoryview(b"text")
    view.release()
    return view


def deep(levels: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


def endless() -> Any:
    items: list[Any] = []
    items += [items, {"a": items}]
    return items


def laughs() -> Any:
    items: list[Any] = ["ha"]
    for _ in range(60):
        items = [items, items]
    return items


REJECTED: dict[str, Callable[[], Any]] = {
    "object": hostile(object, "__str__", "__repr__", "__len__", "__iter__", "__eq__", "__hash__", "__bool__"),
    "class": NoClass,
    "nameless type": OfNamelessType,
    "dict": lambda: hostile(dict, "items", "keys", "__iter__", "__getitem__")(a=1),
    "list": lambda: hostile(list, "__iter__", "__len__")([1]),
    "attribute lookup": hostile(object, "__getattribute__"),
    "datetime": lambda: dt.datetime(2024, 1, 1, tzinfo=Zone()),
    "time": lambda: dt.time(1, 2, tzinfo=Zone()),
    "float": lambda: hostile(float, "__float__", "__sub__")(1.5),
    "enum": lambda: OddEnum.ITEM,
    "enum without value": lambda: EnumWithoutValue.ITEM,
    "released": released,
    "numpy look-alike": AnyType,
    "generator": lambda: (number for number in range(3)),
    "deep list": lambda: deep(1_000, lambda value: [value]),
    "deep object": lambda: deep(5_000, lambda value: {"a": value}),
    "cycle": endless,
    "surrogate": lambda: "\ud800",
    "surrogate in a list": lambda: ["\udfff"],
    "surrogate as key": lambda: {"\ud800": 1},
    "huge integer": lambda: 10**5_000,
    "huge integer in a list": lambda: [10**5_000],
    "bytes": lambda: b"\xff",
    "NaN": lambda: float("nan"),
    "signalling NaN": lambda: Decimal("sNaN"),
    "keys": lambda: {1: "a", "1": "b"},
    "key of an odd type": lambda: {(1, 2): "a"},
    "complex": lambda: 1j,
    "exception": HostileError,
    "type": lambda: int,
}
"""Values that cannot be sent."""

SENT: dict[str, tuple[Callable[[], Any], Any]] = {
    "text": (lambda: "text", "text"),
    "text subclass": (lambda: hostile(str, "__str__", "__len__", "__iter__", "strip")("text"), "text"),
    "int subclass": (lambda: hostile(int, "__str__", "__int__", "__index__", "bit_length")(5), 5),
    "big integer": (lambda: 2**100, 2**100),
    "ordered": (lambda: OrderedDict(a=[1, 2]), {"a": [1, 2]}),
    "counter": (lambda: Counter("a"), {"a": 1}),
    "tuple": (lambda: (1, 2), [1, 2]),
    "null": (lambda: None, None),
    "truth": (lambda: True, True),
    "buffer": (lambda: memoryview(b"abc"), "abc"),
    "number": (lambda: Decimal("1.25"), 1.25),
    "datetime": (lambda: dt.datetime(2024, 1, 1), "2024-01-01T00:00:00Z"),
    "time without offset": (lambda: dt.time(1, 2, tzinfo=EmptyZone()), "01:02:00"),
    "numpy": (lambda: np.int64(7), 7),
    "deep": (lambda: deep(90, lambda value: [value]), deep(90, lambda value: [value])),
}
"""Values that are sent, and what arrives."""


def shapes(value: Any) -> list[Any]:
    """Elements with a value at each place where it must be checked."""
    return [
        {"type": "customer", "customer_id": "u-1", "attributes": {"a": value}},
        {"type": "customer", "customer_id": "u-1", "attributes": {"a": [value]}},
        {"type": "customer", "customer_id": "u-1", "attributes": {"a": {"b": value}}},
        {"type": "customer", "customer_id": "u-1", "attributes": value},
        {"type": "customer", "customer_id": value, "attributes": {}},
        {"type": value, "customer_id": "u-1", "attributes": {}},
        {"type": "customer", "customer_id": "u-1", "attributes": {}, "platforms": value},
        {"type": "customer", "customer_id": "u-1", "attributes": {"addValueToArrayField": value}},
        {"type": "customer", "customer_id": "u-1", "attributes": {}, "unset_attributes": [value]},
        {"type": "customer", "attributes": {"u_em": value}},
        {"type": "device", "customer_id": "u-1", "device_id": value, "attributes": {"platform": value}},
        {"type": "event", "customer_id": "u-1", "actions": value},
        {"type": "event", "customer_id": "u-1", "actions": [value]},
        {"type": "event", "user_identifiers": {"u_em": value}, "actions": [{"action": "a", "current_time": 1e9}]},
        *[
            {
                "type": "event",
                "customer_id": "u-1",
                "actions": [{"action": "a", "current_time": 1e9} | {name: value}],
            }
            for name in (
                "action",
                "current_time",
                "user_time",
                "user_timezone_offset",
                "platform",
                "attributes",
                "x",
            )
        ],
        value,
    ]


@pytest.mark.parametrize("make", REJECTED.values(), ids=REJECTED)
def test_a_hostile_value_ends_no_run_wherever_it_stands(
    moengage: MoEngage, tmp_path: Path, make: Callable[[], Any]
) -> None:
    elements = shapes(make())
    if type(elements[-1]) is str:
        elements.pop()
    path = tmp_path / "rejects.ndjson"

    for given in (list(elements), (element for element in elements)):
        moengage.reset()
        report = moengage.deliver(given, rejects=path)

        assert report.accepted + report.rejected == len(elements)
        assert report.accepted == len(moengage.arrived)
        assert len([json.loads(line) for line in path.read_text().splitlines()]) == report.rejected
        assert report.rejected >= 4


@pytest.mark.parametrize("value", [Endless([1]), laughs()], ids=["endless", "a billion laughs"])
@pytest.mark.parametrize("field", ["attributes", "actions", "extra"])
def test_a_value_without_end_is_rejected(moengage: MoEngage, tmp_path: Path, field: str, value: Any) -> None:
    element = {"type": "event", "customer_id": "u-1", field: {"a": value} if field == "attributes" else value}

    report = moengage.deliver([element], rejects=tmp_path / "rejects.ndjson")

    assert (report.accepted, report.rejected) == (0, 1)


@pytest.mark.parametrize("make", REJECTED.values(), ids=REJECTED)
def test_a_hostile_value_of_a_row_ends_no_run(make: Callable[[], Any]) -> None:
    value = make()
    for mapping in (
        CustomerMapping(customer_id="id"),
        CustomerMapping(customer_id="id", user_identifiers={"u_em": "a"}, attributes=[]),
        EventMapping(action="Buy", time="at", customer_id="id"),
    ):
        recipe = mapping.compile(["id", "at", "a"])
        rows = [("u-1", 1e9, value), ("u-1", value, 1), (value, 1e9, 1), ("u-1", 1e9, 1)]

        for rules_apply in (True, False):
            prepared = row_preparer([recipe])(rows, rules_apply)

            assert len(prepared.elements) == 4
            assert 3 not in prepared.flawed


def test_thousands_of_random_elements_arrive_as_they_were_yielded_or_are_rejected(
    moengage: MoEngage, tmp_path: Path
) -> None:
    chance = random.Random(20_261_126)  # noqa: S311 (repeatable, not secret)
    expected: list[str] = []
    rejected: list[int] = []
    shared: dict[str, Any] = {"type": "customer", "customer_id": "", "attributes": {}}

    def elements() -> Iterator[Any]:
        for position in range(ELEMENTS):
            is_good = chance.random() < 0.7
            names = chance.sample(sorted(SENT), 3)
            attributes = {f"a{at}": SENT[name][0]() for at, name in enumerate(names)}
            arrives = {f"a{at}": SENT[name][1] for at, name in enumerate(names)}
            if not is_good:
                bad = REJECTED[chance.choice(sorted(REJECTED))]()
                attributes["a1"] = chance.choice([bad, [bad], {"b": bad}])
            user = f"u-{chance.randrange(2_000)}"
            kind = chance.choice(["customer", "event", "shared"])
            if kind == "event":
                action = {"action": "Buy", "current_time": "2024-01-01T00:00:00Z", "attributes": attributes}
                element: dict[str, Any] = {"type": "event", "customer_id": user, "actions": [action]}
                sent: dict[str, Any] = {**element, "actions": [{**action, "attributes": arrives}]}
            else:
                element = shared if kind == "shared" else {"type": "customer"}
                element["customer_id"] = user
                element["attributes"] = attributes
                sent = {"type": "customer", "customer_id": user, "attributes": arrives}
            if is_good:
                expected.append(text(sent))
            else:
                rejected.append(position)
            yield element
            attributes.clear()

    path = tmp_path / "rejects.ndjson"

    report = moengage.deliver(elements(), rejects=path)

    assert report.accepted + report.rejected == ELEMENTS
    assert [json.loads(line)["position"] for line in path.read_text().splitlines()] == rejected
    assert Counter(map(text, moengage.arrived)) == Counter(expected)


def text(element: Any) -> str:
    return json.dumps(element, sort_keys=True)


def test_prepared_lists_of_hostile_elements_can_be_encoded() -> None:
    for make in REJECTED.values():
        for rules_apply in (True, False):
            prepared = prepare_elements(shapes(make())[:-1], rules_apply)
            for at, element in enumerate(prepared.elements):
                if at not in prepared.flawed:
                    try:
                        msgspec.json.encode(element)
                    except (ValueError, TypeError, OverflowError, RecursionError):
                        continue  # the packer rejects it alone
