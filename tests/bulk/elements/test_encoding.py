from __future__ import annotations

import datetime as dt
from collections import OrderedDict, UserDict
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest

from airflow_provider_moengage.bulk.elements.encoding import Encoder, NotEncodableError, NotFiniteError, to_plain
from tests.names import name_of

UUID_TEXT = "12345678-1234-5678-1234-567812345678"
INDIA = dt.timezone(dt.timedelta(hours=5, minutes=30))


class DateTime(dt.datetime):
    pass


class Date(dt.date):
    pass


class Price(Decimal):
    pass


class OwnUUID(UUID):
    pass


class Text(str):
    __slots__ = ()


class Tier(StrEnum):
    GOLD = "gold"


class Level(IntEnum):
    TOP = 3


class Since(Enum):
    START = dt.datetime(2020, 1, 1)


class Ratio(float):
    pass


def sent(value: object) -> str:
    [line] = Encoder().lines([to_plain(value)]).splitlines()
    return line.decode()


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "null"),
        (True, "true"),
        (42, "42"),
        (-7, "-7"),
        (2**64, "18446744073709551616"),
        (1.5, "1.5"),
        ("text", '"text"'),
        ("a\nb", '"a\\nb"'),
        ("日本 ☕", '"日本 ☕"'),
        # datetimes
        (dt.datetime(2020, 5, 31, 16, 33, 35), '"2020-05-31T16:33:35Z"'),
        (dt.datetime(2020, 5, 31, 16, 33, 35, tzinfo=dt.UTC), '"2020-05-31T16:33:35Z"'),
        (dt.datetime(2020, 5, 31, 16, 33, 35, tzinfo=INDIA), '"2020-05-31T11:03:35Z"'),
        (dt.datetime(2020, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")), '"2020-07-01T10:00:00Z"'),
        (dt.datetime(2020, 10, 25, 2, 30, fold=0, tzinfo=ZoneInfo("Europe/Berlin")), '"2020-10-25T00:30:00Z"'),
        (dt.datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")), '"2020-10-25T01:30:00Z"'),
        (dt.datetime(2020, 5, 31, 16, 33, 35, 250_000), '"2020-05-31T16:33:35.250000Z"'),
        (dt.datetime(2020, 5, 31, 16, 33, 35, 1), '"2020-05-31T16:33:35.000001Z"'),
        (DateTime(2020, 5, 31, 16, 33, 35), '"2020-05-31T16:33:35Z"'),
        (DateTime(2020, 5, 31, 16, 33, 35, tzinfo=INDIA), '"2020-05-31T11:03:35Z"'),
        (DateTime(2020, 5, 31, 16, 33, 35, tzinfo=dt.UTC), '"2020-05-31T16:33:35Z"'),
        (dt.date(2020, 5, 31), '"2020-05-31"'),
        (dt.date(812, 1, 2), '"0812-01-02"'),
        (Date(2020, 5, 31), '"2020-05-31"'),
        (dt.time(16, 33), '"16:33:00"'),
        # Decimal: always a number, a whole one with all its digits
        (Decimal(5), "5"),
        (Decimal("-0"), "0"),
        (Decimal("12.50"), "12.5"),
        (Decimal("0.1"), "0.1"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-7"), "1e-7"),
        (Decimal(2**53), str(2**53)),
        (Decimal(2**53 + 1), str(2**53 + 1)),
        (Decimal("12345678901234567890123.00"), "12345678901234567890123"),
        (Decimal("0.1234567890123456789"), "0.12345678901234568"),
        (Decimal("8.3333333333333333"), "8.333333333333334"),
        (Decimal("15.0000000000000000"), "15"),
        (Decimal("12345678901234567.89"), "1.2345678901234568e16"),
        (Decimal("1E-400"), "0.0"),
        (Decimal("-1E+307"), "-1" + "0" * 307),
        (Price("12.50"), "12.5"),
        # ids, names, bytes
        (UUID(UUID_TEXT), f'"{UUID_TEXT}"'),
        (OwnUUID(UUID_TEXT), f'"{UUID_TEXT}"'),
        (Tier.GOLD, '"gold"'),
        (Level.TOP, "3"),
        (Since.START, '"2020-01-01T00:00:00Z"'),
        (Text("text"), '"text"'),
        (Ratio(0.5), "0.5"),
        ("é".encode(), '"é"'),
        (bytearray(b"text"), '"text"'),
        (memoryview(b"text"), '"text"'),
        # containers
        ((1, "a"), '[1,"a"]'),
        ({1}, "[1]"),
        (frozenset(["a"]), '["a"]'),
        ([dt.date(2020, 1, 1), [Decimal("0.5")]], '["2020-01-01",[0.5]]'),
        ({"a": {"b": (b"c",)}}, '{"a":{"b":["c"]}}'),
        ({Text("a"): Tier.GOLD}, '{"a":"gold"}'),
        (OrderedDict(a=1), '{"a":1}'),
        (UserDict({"a": Decimal(1)}), '{"a":1}'),
        (MappingProxyType({"a": b"b"}), '{"a":"b"}'),
    ],
    ids=name_of,
)
def test_a_value_is_sent_as(value: object, line: str) -> None:
    assert sent(value) == line


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        Ratio("nan"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        Price("NaN"),
        [1.0, float("nan")],
        {"a": {"b": float("inf")}},
    ],
    ids=name_of,
)
def test_a_value_that_is_not_finite_is_never_sent_as_null(value: object) -> None:
    with pytest.raises(NotFiniteError):
        to_plain(value)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        1j,
        b"\xff",
        memoryview(b"\xff"),
        {1: "a"},
        {"a": {b"b": 1}},
        [object()],
        range(3),
        int,
        len,
        msgspec.Raw(b"{}"),
        dt.datetime.max.replace(tzinfo=dt.timezone(-dt.timedelta(hours=1))),
        dt.datetime.min.replace(tzinfo=INDIA),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_json_cannot_represent_is_refused(value: object) -> None:
    with pytest.raises(NotEncodableError):
        to_plain(value)


def test_an_error_names_the_type_and_never_the_value() -> None:
    class Person:
        def __repr__(self) -> str:
            return "jane@example.com"

    with pytest.raises(NotEncodableError) as caught:
        to_plain(Person())

    assert "Person" in str(caught.value)
    assert "jane" not in str(caught.value)


def test_bytes_that_are_not_text_are_not_quoted_in_the_error() -> None:
    with pytest.raises(NotEncodableError) as caught:
        to_plain(b"jane\xff")

    assert "jane" not in str(caught.value)
    assert caught.value.__suppress_context__  # the decoder's own error holds the bytes


def test_an_object_that_contains_itself_raises_a_recursion_error() -> None:
    endless: list[Any] = []
    endless += [endless, endless]

    with pytest.raises(RecursionError):
        to_plain(endless)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda numpy: numpy.int64(7), "7"),
        (lambda numpy: numpy.uint8(7), "7"),
        (lambda numpy: numpy.float64(1.5), "1.5"),
        (lambda numpy: numpy.float32(0.5), "0.5"),
        (lambda numpy: numpy.bool_(True), "true"),
        (lambda numpy: numpy.str_("text"), '"text"'),
        (lambda numpy: numpy.bytes_(b"text"), '"text"'),
        (lambda numpy: numpy.array([1, 2]), "[1,2]"),
        (lambda numpy: numpy.array(["a", "b"]), '["a","b"]'),
        (lambda numpy: numpy.array([[1], [2]]), "[[1],[2]]"),
        (lambda numpy: numpy.array(5), "5"),
        (lambda numpy: numpy.array([dt.date(2020, 1, 1), None], dtype=object), '["2020-01-01",null]'),
        (lambda numpy: numpy.datetime64("2020-05-31T16:33:35.25", "ns"), '"2020-05-31T16:33:35.250000Z"'),
        (lambda numpy: numpy.datetime64("2020-05-31T16:33:35", "s"), '"2020-05-31T16:33:35Z"'),
        (lambda numpy: numpy.datetime64("2020-05-31"), '"2020-05-31T00:00:00Z"'),
        (lambda numpy: numpy.array(["2020-05-31"], dtype="datetime64[ns]"), '["2020-05-31T00:00:00Z"]'),
        (lambda numpy: {"a": numpy.int64(1)}, '{"a":1}'),
    ],
)
def test_a_value_of_numpy_is_sent_as(make: Any, line: str) -> None:
    assert sent(make(pytest.importorskip("numpy"))) == line


@pytest.mark.parametrize(
    "make",
    [
        lambda numpy: numpy.float64("nan"),
        lambda numpy: numpy.float32("inf"),
        lambda numpy: numpy.array([1.0, numpy.nan]),
        lambda numpy: numpy.datetime64("NaT"),
        lambda numpy: numpy.array(["2020-05-31", "NaT"], dtype="datetime64[ns]"),
        lambda numpy: numpy.timedelta64("NaT"),
    ],
)
def test_a_numpy_value_that_is_not_finite_is_never_sent_as_null(make: Any) -> None:
    with pytest.raises(NotFiniteError):
        to_plain(make(pytest.importorskip("numpy")))


@pytest.mark.parametrize(
    "make",
    [
        lambda numpy: numpy.complex128(1j),
        lambda numpy: numpy.array([1j]),
        lambda numpy: numpy.longdouble(1),
        lambda numpy: numpy.datetime64("300000-01-01"),
        lambda numpy: numpy.float64,
        lambda numpy: type("OfAnotherLibrary", (), {"dtype": "int"})(),
    ],
)
def test_a_numpy_value_that_json_cannot_represent_is_refused(make: Any) -> None:
    with pytest.raises(NotEncodableError):
        to_plain(make(pytest.importorskip("numpy")))


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda pandas: pandas.Timestamp("2020-05-31 16:33:35"), '"2020-05-31T16:33:35Z"'),
        (lambda pandas: pandas.Timestamp("2020-05-31 16:33:35", tz="Asia/Kolkata"), '"2020-05-31T11:03:35Z"'),
        (lambda pandas: pandas.Timestamp("2020-05-31 16:33:35", tz="UTC"), '"2020-05-31T16:33:35Z"'),
        (lambda pandas: pandas.Timestamp("2020-05-31 16:33:35.123456789"), '"2020-05-31T16:33:35.123456Z"'),
        (lambda pandas: pandas.Series([1, 2]), "[1,2]"),
        (lambda pandas: pandas.Series(pandas.to_datetime(["2020-05-31"], utc=True)), '["2020-05-31T00:00:00Z"]'),
    ],
)
def test_a_value_of_pandas_is_sent_as(make: Any, line: str) -> None:
    assert sent(make(pytest.importorskip("pandas"))) == line


def test_nat_is_never_sent() -> None:
    with pytest.raises(NotFiniteError):
        to_plain(pytest.importorskip("pandas").NaT)


def test_the_missing_value_of_pandas_is_never_sent() -> None:
    with pytest.raises(NotEncodableError):
        to_plain(pytest.importorskip("pandas").NA)


def test_every_element_is_one_line() -> None:
    elements = [{"a": "one\ntwo\r\n\u2028"}, {}, {"b": ["x\n"]}]

    lines = Encoder().lines(elements).split(b"\n")

    assert lines.pop() == b""
    assert [msgspec.json.decode(line) for line in lines] == elements


def test_no_elements_become_no_lines() -> None:
    assert Encoder().lines([]) == b""


@pytest.mark.parametrize("element", [{"a": "\ud800"}, {"\udfff": 1}])
def test_half_a_surrogate_pair_is_not_encoded(element: object) -> None:
    with pytest.raises(UnicodeEncodeError):
        Encoder().lines([element])
