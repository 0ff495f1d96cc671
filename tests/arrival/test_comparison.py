"""What counts as arrived: what MoEngage cuts or writes in another form, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_moengage.arrival.comparison import Expected, Names, is_same
from airflow_provider_moengage.bulk.elements.checks import prepare

LONG_URL = "https://example.com/" + "x" * 600


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("gold", "gold"),
        ("x" * 600, "x" * 512),
        (5, 5.0),
        (5.0, 5),
        (2**53, float(2**53)),
        (2**60 + 1, 2**60 + 1),
        (0.1 + 0.2, 0.3),
        (1e300, 1.0000000001e300),
        (True, True),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00.000Z"),
        ("2026-01-31T10:00:00.123456Z", "2026-01-31T10:00:00Z"),
        ("2026-01-31T10:00:00Z", "2026-01-31T15:30:00+05:30"),
        ("2026-01-31T10:00:00Z", "2026-01-31 10:00:00"),
        ("2026-01-31T10:00:00Z", "2026-01-31 10:00:00 UTC"),
        ("2026-01-31T10:00:00Z", 1769853600),
        ("2026-01-31T10:00:00Z", 1769853600000),
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        (["a", "y" * 600], ["a", "y" * 512]),
        (["a"] * 60, ["a"] * 50),
        ([{"a": 1}] * 60, [{"a": 1}] * 60),
        ({"a": {"b": 1}}, {"a": {"b": 1.0}, "c": 2}),
        (None, None),
    ],
)
def test_what_moengage_makes_of_a_value_is_the_same(sent: Any, found: Any) -> None:
    assert is_same(sent, found)


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("gold", "Gold"),
        ("gold", None),
        ("x" * 600, "x" * 511),
        ("5", 5),
        (5, "5"),
        (5, 6),
        (5, 5.0000000001),
        (123456789012, 123456789013),
        (123456789012.0, 123456789013),
        (2**60, float(2**60)),
        (2**60 + 1, 2**60),
        (2**60 + 1, float(2**60)),
        (0.1, 0.1001),
        ([123456789012], [123456789013]),
        ({"id": 123456789012}, {"id": 123456789013}),
        (True, 1),
        (1, True),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:02Z"),
        ("2026-01-31T10:00:00Z", "2026-13-31T10:00:00Z"),
        ("2026-01-31T10:00:00Z", 10**30),
        ("2026-01-31T10:00:00Z", ["2026-01-31T10:00:00Z"]),
        (["a", "b"], ["b", "a"]),
        (["a"], ["a", "b"]),
        (["a"], "a"),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, "a"),
        (None, 1),
    ],
)
def test_anything_else_differs(sent: Any, found: Any) -> None:
    assert not is_same(sent, found)


def expected(*elements: dict[str, Any], names: Names | None = None) -> Expected:
    user, names = Expected(), names or Names()
    for element in elements:
        prepared = prepare({"type": "customer", "customer_id": "ann", **element})
        user.add(prepared.element, prepared.findings, names)
    return user


def test_only_the_attributes_that_were_sent_are_compared() -> None:
    user = expected({"attributes": {"tier": "gold", "city": "Graz"}})

    assert user.differing({"tier": "silver", "city": "Graz", "other": 1}) == ["tier"]
    assert user.differing({"city": "Graz"}) == ["tier"]


def test_a_later_row_of_a_user_replaces_an_earlier_one() -> None:
    user = expected({"attributes": {"tier": "gold", "city": "Graz"}}, {"attributes": {"tier": "silver"}})

    assert user.differing({"tier": "silver", "city": "Graz"}) == []


def test_an_attribute_that_was_unset_has_to_be_gone() -> None:
    unset = [{"type": "equals", "attr": "tier", "case_sensitive": True}]
    user = expected({"attributes": {"tier": "gold"}}, {"attributes": {"city": "Graz"}, "unset_attributes": unset})

    assert user.differing({"tier": "gold", "city": "Graz"}) == ["tier"]
    assert user.differing({"city": "Graz"}) == []
    again = expected({"unset_attributes": unset}, {"attributes": {"tier": "gold"}})
    assert again.differing({"tier": "gold"}) == []


def test_a_name_that_moengage_cuts_is_looked_up_as_cut() -> None:
    user = expected({"attributes": {"n" * 250: 1}})

    assert user.differing({"n" * 200: 1}) == []


@pytest.mark.parametrize(
    ("attributes", "left_out"),
    [
        ({"user_id": "x"}, "user_id"),
        ({"moe_own": 1}, "moe_own"),
        ({"cr_t": "2026-01-01"}, "cr_t"),
        ({"link": LONG_URL}, "link"),
        ({"mixed": [1, "a"]}, "mixed"),
        ({"deep": {"a": {"b": {"c": {"d": 1}}}}}, "deep"),
        ({"addValueToArrayField": {"tags": "a"}}, "tags"),
        ({"removeValueFromArrayField": {"tags": "a"}}, "tags"),
    ],
)
def test_what_cannot_be_compared_is_named_and_left_out(attributes: Any, left_out: str) -> None:
    names = Names()

    user = expected({"attributes": {"tier": "gold", **attributes}}, names=names)

    assert user.differing({"tier": "gold"}) == []
    assert names.not_compared == {left_out}


def test_an_attribute_that_cannot_be_compared_in_one_row_is_left_out_for_the_user() -> None:
    names = Names()
    rows = [{"attributes": {"link": "a"}}, {"attributes": {"link": LONG_URL}}, {"attributes": {"link": "b"}}]

    assert expected(*rows, names=names).differing({}) == []


def test_opt_ins_of_platforms_are_not_compared() -> None:
    opt_ins = [{"platform": "iOS", "active": "true"}]

    assert expected({"attributes": {"platforms": opt_ins}}).differing({}) == []


def test_a_user_may_leave_attributes_out() -> None:
    names = Names(frozenset({"tier"}))
    unset = [{"type": "equals", "attr": "tier", "case_sensitive": True}]

    user = expected({"attributes": {"tier": "gold"}}, {"unset_attributes": unset}, names=names)

    assert user.differing({"tier": "silver"}) == []
    assert names.not_compared == {"tier"}


def test_a_user_who_is_not_created_may_be_missing() -> None:
    assert expected({"update_existing_only": True}).may_be_missing
    assert not expected({"update_existing_only": True}, {}).may_be_missing
