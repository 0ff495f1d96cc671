"""What a key is: its columns, its values and their JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_moengage.sources.sql_key import (
    KeyColumns,
    KeyRange,
    RowNumbers,
    check_key,
    digest,
    key_from_json,
    key_to_json,
)


@pytest.mark.parametrize(
    "names",
    [
        [],
        "",
        [""],
        None,
        5,
        {"a"},
        [1],
        ["a", "a"],
        ["a", '"A"'],
        "a; DROP TABLE b",
        "t.a",
        "a b",
        '"a"b"',
        '"%"',
        "1a",
    ],
)
def test_names_that_are_not_columns_are_refused(names: Any) -> None:
    with pytest.raises(ValueError, match=r"^key_columns: "):
        KeyColumns(names)


def test_columns_are_found_by_name_without_quotes_and_in_any_case() -> None:
    columns = KeyColumns(["order_id", '"Order Id"', "`x-y`", "[z]"])

    assert columns.indexes(["z", "x-y", "Order Id", "ORDER_ID"]) == [3, 2, 1, 0]
    assert KeyColumns("n$_1") == KeyColumns(["n$_1"])


def test_a_column_that_the_query_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match=r"^key_columns: the query has no column 'Order Id'; it has a, b"):
        KeyColumns(["a", '"Order Id"']).indexes(["a", "b"])


KEY = (
    "a'b",
    "🦊\0",
    7,
    -(2**63) + 1,
    2**63,
    True,
    False,
    Decimal("1.50"),
    datetime(2026, 1, 2, 3, 4, 5, 6),
    datetime(2026, 1, 2, tzinfo=UTC),
    datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    date(2026, 1, 2),
    time(3, 4, 5, 6),
    time(3, tzinfo=UTC),
    UUID(int=1),
    b"\0\xff",
)


def test_a_key_comes_back_from_json_as_it_was() -> None:
    stored = json.loads(json.dumps(key_to_json(KEY)))

    assert key_from_json(stored) == KEY
    assert [type(value) for value in key_from_json(stored)] == [type(value) for value in KEY]
    assert [str(value) for value in key_from_json(stored)] == [str(value) for value in KEY]


def test_every_value_but_text_and_whole_numbers_is_stored_with_its_type() -> None:
    json_form = key_to_json(("a", 1, True, 2**63, Decimal("1.50"), date(2026, 1, 31), b"\xff"))

    assert json_form == [
        "a",
        1,
        {"bool": "True"},
        {"int": "9223372036854775808"},
        {"decimal": "1.50"},
        {"date": "2026-01-31"},
        {"bytes": "ff"},
    ]


def test_a_timestamp_in_a_repeated_hour_keeps_its_offset() -> None:
    moment = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))

    [again] = key_from_json(key_to_json((moment,)))

    assert again.utcoffset() == timedelta(hours=1)


class Tier(IntEnum):
    GOLD = 3


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (Tier.GOLD, 3),
        (Name("a"), "a"),
        (memoryview(b"ab"), b"ab"),
        (bytearray(b"ab"), b"ab"),
    ],
)
def test_a_drivers_own_type_is_stored_as_the_plain_one(given: Any, kept: Any) -> None:
    [stored] = key_to_json((given,))
    [again] = key_from_json(json.loads(json.dumps([stored])))

    assert type(stored) in (int, str, dict)
    assert again == kept
    assert type(again) is type(kept)


def test_types_of_numpy_and_pandas_are_stored_as_plain_ones() -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    for wrapped, kept in (
        (numpy.int64(5), 5),
        (numpy.bool_(True), True),
        (numpy.str_("a"), "a"),
        (pandas.Timestamp("2026-01-02 03:04:05.000006"), datetime(2026, 1, 2, 3, 4, 5, 6)),
    ):
        test_a_drivers_own_type_is_stored_as_the_plain_one(wrapped, kept)


@pytest.mark.parametrize(
    "value",
    [
        0.7,
        float("nan"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
        None,
        timedelta(seconds=12345),
        [12345],
        {"a": 12345},
        12345j,
    ],
)
def test_a_value_that_cannot_be_stored_is_refused_by_its_column_and_type(value: Any) -> None:
    kind = type(value).__name__
    with pytest.raises(
        ValueError, match=rf"^key_columns: column 'Total' .* {kind} .* CAST it in the query"
    ) as refused:
        key_to_json((1, value), ["id", '"Total"'])
    with pytest.raises(ValueError, match=r"^key_columns: column 2 "):
        digest((1, value), 0)

    assert "12345" not in str(refused.value)


def test_values_of_numpy_and_pandas_that_are_too_fine_are_refused() -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    for value in (
        numpy.datetime64("2026-01-02T03:04:05.000012345", "ns"),
        numpy.timedelta64(12345, "ns"),
        numpy.array([12345]),
        pandas.Timestamp("2026-01-02 03:04:05.000012345"),
        pandas.NaT,
    ):
        test_a_value_that_cannot_be_stored_is_refused_by_its_column_and_type(value)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "a",
        [],
        {"a": 1},
        [None],
        [True],
        [1.5],
        [[1]],
        [{}],
        [{"secret": "1"}],
        [{"date": "secret"}],
        [{"decimal": "secret"}],
        [{"decimal": 1.5}],
        [{"uuid": 5}],
        [{"bool": "secret"}],
        [{"date": "2026-01-01", "int": "1"}],
    ],
)
def test_anything_but_a_key_is_refused_without_its_value(given: Any) -> None:
    with pytest.raises(ValueError, match=r"expected a key as a list|expected each value of a key") as refused:
        key_from_json(given)

    assert "secret" not in str(refused.value)


def test_a_range_comes_back_from_its_dict() -> None:
    key_range = KeyRange(after=(1, date(2026, 1, 1)), up_to=(2, date(2026, 1, 2)))

    assert key_range.to_dict() == {"after": [1, {"date": "2026-01-01"}], "up_to": [2, {"date": "2026-01-02"}]}
    for one in (key_range, KeyRange(), KeyRange(starting_at=("a",))):
        assert KeyRange.from_dict(one.to_dict()) == one
    assert KeyRange.from_dict({"up_to": [5]}) == KeyRange(up_to=(5,))


@pytest.mark.parametrize("given", [None, [], {"before": [1]}, {"after": 5}, {"after": [None]}, {"up_to": []}])
def test_anything_but_a_range_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^key_range: "):
        KeyRange.from_dict(given)


def test_a_null_in_a_key_is_reported_by_column_and_row() -> None:
    numbers = RowNumbers(KeyColumns(["a", '"b c"']), is_part=True)
    check_key((0, ""), 1, numbers)

    with pytest.raises(
        ValueError,
        match=r"column 'b c' is NULL in row 12 \(ORDER BY a, \"b c\" within key_range\) of the query; "
        r".*\(WHERE \"b c\" IS NOT NULL",
    ):
        check_key((5, None), 11, numbers)


def test_a_digest_is_the_same_in_every_process() -> None:
    program = (
        "from datetime import date; from airflow_provider_moengage.sources.sql_key import digest;"
        "print(digest(('ß', 7, date(2026, 1, 2)), 1).hex())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == digest(("ß", 7, date(2026, 1, 2)), 1).hex() == "2447b07ddf8cd173"


def test_keys_and_elements_have_different_digests() -> None:
    keys = [("1",), (1,), (1, 1), (11,), ("1", "1"), (Decimal(1),), (True,), (date(2026, 1, 1),), ("2026-01-01",)]

    digests = [digest(key, number) for key in keys for number in (0, 1)]

    assert {len(one) for one in digests} == {8}
    assert len(set(digests)) == len(digests)
