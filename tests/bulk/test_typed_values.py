"""Columns whose type a mapping states: each value is read as that type, or its row is rejected."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.bulk.mapping import Column, CustomerMapping, EventMapping, compile_mappings
from airflow_provider_moengage.bulk.typed_values import TYPES, reader


class Hostile:
    """A value whose methods raise."""

    def _raise(self, *_: Any) -> Any:
        raise RuntimeError

    __eq__ = __int__ = __str__ = __iter__ = __len__ = __getattr__ = _raise
    __hash__ = None  # type: ignore[assignment]


NEW_YEAR = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

READ: list[tuple[str, Any, Any]] = [
    ("text", 42, "42"),
    ("text", 42.0, "42"),
    ("text", np.float32(42), "42"),
    ("text", 0.5, "0.5"),
    ("integer", np.float32(42), 42),
    ("text", Decimal("42.50"), "42.50"),
    ("text", True, "true"),
    ("text", "as it is", "as it is"),
    ("text", b"bytes", "bytes"),
    ("text", dt.date(2026, 1, 1), "2026-01-01"),
    ("text", NEW_YEAR, "2026-01-01T00:00:00Z"),
    ("text", UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ("text", {"a": [1, None]}, '{"a":[1,null]}'),
    ("integer", "42", 42),
    ("integer", " -7 ", -7),
    ("integer", 42.0, 42),
    ("integer", Decimal("12345678901234567890"), 12345678901234567890),
    ("integer", True, 1),
    ("number", "8.25", Decimal("8.25")),
    ("number", 1, 1),
    ("number", 0.5, 0.5),
    ("number", Decimal("0.5"), Decimal("0.5")),
    ("boolean", "Yes", True),
    ("boolean", "f", False),
    ("boolean", 0, False),
    ("boolean", Decimal(1), True),
    ("boolean", b"1", True),
    ("datetime", "2026-01-01 00:00:00", NEW_YEAR),
    ("datetime", "2026-01-01T05:30:00+05:30", NEW_YEAR),
    ("datetime", 1767225600, NEW_YEAR),
    ("datetime", dt.date(2026, 1, 1), NEW_YEAR),
    ("datetime", dt.datetime(2026, 1, 1), NEW_YEAR),  # noqa: DTZ001 (a driver's, without a zone)
    ("date", "2026-01-01", dt.date(2026, 1, 1)),
    ("date", NEW_YEAR, dt.date(2026, 1, 1)),
    ("date", dt.date(2026, 1, 1), dt.date(2026, 1, 1)),
    ("date", "2026-01-01T23:00:00Z", dt.date(2026, 1, 1)),
    ("json", '{"a": [1, 2]}', {"a": [1, 2]}),
    ("json", b"[true]", [True]),
    ("json", {"a": 1}, {"a": 1}),
    ("json", 5, 5),
]

REFUSED: list[tuple[str, Any]] = [
    ("text", b"\xff"),
    ("text", float("nan")),
    ("text", object()),
    ("integer", "4.2"),
    ("integer", "four"),
    ("integer", ""),
    ("integer", 4.5),
    ("integer", 2.0**60),
    ("integer", 2.0**53),
    ("text", 2.0**53),
    ("text", 1234567890123456789.0),
    ("text", np.float32(2**24)),
    ("integer", float("inf")),
    ("number", "NaN"),
    ("number", "1e999999999x"),
    ("number", float("inf")),
    ("number", dt.date(2026, 1, 1)),
    ("boolean", "maybe"),
    ("boolean", 2),
    ("boolean", ""),
    ("datetime", "yesterday"),
    ("datetime", "24:00"),
    ("datetime", True),
    ("date", "2026-13-01"),
    ("json", "{'a': 1}"),
    ("json", ""),
    ("json", "[" * 100_000),
]


@pytest.mark.parametrize(("type_name", "given", "read"), READ)
def test_a_value_is_read_as_the_type(type_name: str, given: Any, read: Any) -> None:
    found = reader("a", type_name)(given)

    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(("type_name", "given"), REFUSED)
def test_what_cannot_be_read_is_unreadable_and_not_quoted(type_name: str, given: Any) -> None:
    found = reader("plan", type_name)(given)

    assert found == Unreadable(f"a value that cannot be read as type={type_name!r}", "plan")


@pytest.mark.parametrize("type_name", TYPES)
def test_what_the_driver_could_not_read_stays_unreadable(type_name: str) -> None:
    unreadable = Unreadable("an infinite date", "when")

    assert reader("when", type_name)(unreadable) is unreadable


@pytest.mark.parametrize(
    "arguments", [{"name": ""}, {"name": "a", "type": "string"}, {"name": "a", "type": "JSON"}, {"name": 1}]
)
def test_a_column_that_cannot_be_is_an_error_when_the_dag_is_parsed(arguments: Any) -> None:
    with pytest.raises(ValueError, match=r"^Column\.(name|type)"):
        Column(**arguments)


def test_typed_columns_follow_the_querys_own_once_each() -> None:
    typed: dict[tuple[int, str], int] = {}
    plan = Column("plan", type="json")
    customer = CustomerMapping(customer_id="id", attributes={"plan": plan, "also": plan, "raw": "plan"})
    event = EventMapping(
        action=Column("what", type="text"),
        time="at",
        customer_id="id",
        attributes=[plan, Column("n", type="integer")],
    )

    recipes = compile_mappings([customer, event], ["id", "plan", "what", "at", "n"], typed)

    assert typed == {(1, "json"): 5, (2, "text"): 6, (4, "integer"): 7}
    assert recipes[0].attributes == [("plan", 5), ("also", 5), ("raw", 1)]
    assert recipes[1].attributes == [("plan", 5), ("n", 7)]
    assert ("action", 6) in recipes[1].always


@pytest.mark.parametrize("type_name", TYPES)
def test_a_value_whose_methods_raise_rejects_its_row(type_name: str) -> None:
    assert isinstance(reader("c", type_name)(Hostile()), Unreadable)
