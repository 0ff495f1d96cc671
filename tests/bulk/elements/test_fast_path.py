"""The fast path and the generated code agree with the full check."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.elements.checks import prepare
from airflow_provider_moengage.bulk.elements.encoding import Encoder
from airflow_provider_moengage.bulk.elements.fast_path import PreparedElements, prepare_elements
from airflow_provider_moengage.bulk.elements.row_codegen import row_preparer
from airflow_provider_moengage.bulk.elements.rules import (
    DOCUMENTED,
    IDENTIFYING_ATTRIBUTES,
    WARNINGS,
    WorkspaceRules,
)
from airflow_provider_moengage.bulk.mapping import (
    Column,
    CustomerMapping,
    DeviceMapping,
    ElementMapping,
    EventMapping,
    compile_mappings,
)


class Tier(enum.Enum):
    GOLD = "gold"


WEST = dt.timezone(dt.timedelta(hours=-9))


class Text(str):
    """A subclass of str."""

    __slots__ = ()


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["x" * 512, "x" * 513, "https://a/" + "b" * 510, "", " ", 'é\n"\\', Text("t"), "null"])
    | st.floats()
    | st.decimals(allow_nan=True, allow_infinity=True)
    | st.sampled_from(
        [
            Decimal("1.10"),
            Decimal("1E+400"),
            Decimal("1E+5"),
            Decimal("123456789012345.67"),
            Decimal("0." + "1" * 600),
            Decimal("-0.00"),
            Decimal("sNaN"),
        ]
    )
    | st.datetimes()
    | st.datetimes(
        timezones=st.sampled_from([dt.UTC, ZoneInfo("Asia/Kolkata"), dt.timezone(dt.timedelta(hours=-9))])
    )
    | st.dates()
    | st.times()
    | st.timedeltas(max_value=dt.timedelta(days=100), min_value=dt.timedelta(days=-100))
    | st.uuids()
    | st.binary(max_size=5)
    | st.lists(st.integers() | st.text(max_size=3), max_size=3)
    | st.lists(st.just("item"), min_size=51, max_size=51)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
    | st.sampled_from([Tier.GOLD, np.int64(5), np.float64("nan"), np.str_("n"), (1, 2), object()])
)
TIMES = (
    st.datetimes()
    | st.datetimes(timezones=st.just(dt.UTC))
    | st.dates()
    | st.sampled_from(
        [
            "2024-05-31",
            "2024-05-31 16:33:35",
            "2024-05-31T16:33:35+05:30",
            "20240531",
            1590943415,
            "1590943415",
            "",
            None,
        ]
    )
    | VALUES
)
IDS = (
    st.sampled_from(["ann", "bob", "", " Guest ", "n/a", 42, 42.0, Decimal(42), None, True, float("nan")]) | VALUES
)
NAMES = ["tier", "email", "status", "moe_own", "platforms", "x" * 201, 'a "quoted" name', "uid"]
EVENTS = st.sampled_from(["Buy", "", " ", "x" * 201, 5, None, Text("Buy")])


def outcome(elements: Sequence[Any], result: PreparedElements) -> list[Any]:
    """Return, for each element, what is sent, its weight, its user and its findings."""
    outcomes = []
    for at, element in enumerate(result.elements):
        findings = result.flawed[at].findings if at in result.flawed else []
        weight = result.weights[at]
        outcomes.append(
            [
                sent(element),
                (weight.kind, weight.actions, set(weight.warnings)),
                result.users[at],
                {(finding.code, finding.message) for finding in findings},
            ]
        )
    assert len(result.weights) == len(result.users) == len(result.elements) == len(elements)
    return outcomes


def sent(element: Any) -> Any:
    """Return an element as MoEngage reads it."""
    try:
        [line] = Encoder().lines([element]).splitlines()
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        return type(error)
    return msgspec.json.decode(line)


def fully_checked(
    elements: Sequence[Any], rules_apply: bool, workspace: WorkspaceRules = DOCUMENTED
) -> PreparedElements:
    """Return the elements after the full check."""
    result = PreparedElements()
    for element in elements:
        result.add(prepare(element, rules_apply=rules_apply, workspace=workspace))
    return result


def encoded_at_once(elements: Sequence[Any], rules_apply: bool) -> PreparedElements:
    """Return the elements as they are prepared when a generator yields them."""
    return prepare_elements(iter(elements), rules_apply, DOCUMENTED, encoder=Encoder())


def comparable(outcomes: list[Any]) -> list[Any]:
    """Leave out what is sent of an element with an error: nothing is."""
    return [
        [None if any(code not in WARNINGS for code, _ in found) else element, *rest, found]
        for element, *rest, found in outcomes
    ]


ATTRIBUTES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4)
CUSTOMERS = st.fixed_dictionaries(
    {"type": st.just("customer"), "customer_id": IDS, "attributes": ATTRIBUTES | st.none()},
    optional={"update_existing_only": st.booleans(), "platforms": VALUES},
)
ACTIONS = st.fixed_dictionaries(
    {"action": EVENTS, "current_time": TIMES},
    optional={"attributes": ATTRIBUTES | st.none(), "platform": st.sampled_from(["web", "moon"])},
)
EVENT_ELEMENTS = st.fixed_dictionaries(
    {"type": st.just("event"), "customer_id": IDS, "actions": st.lists(ACTIONS | VALUES, max_size=3)},
    optional={"user_identifiers": st.dictionaries(st.just("u_em"), st.text(max_size=4))},
)
OTHERS: st.SearchStrategy[Any] = st.sampled_from(
    [{}, None, 5, "customer", [], {"type": "customer"}, {"type": []}, {"type": Text("customer")}]
)


COLUMNS = ["user_id", "at", "name", *NAMES]
MAPPINGS: list[ElementMapping] = [
    CustomerMapping(attributes=["tier", "email"]),
    CustomerMapping(attributes=["tier", "status"], update_existing_only=True, unset_nulls=True),
    CustomerMapping(attributes=["user_id", "at", "platforms", "moe_own"]),
    CustomerMapping(attributes={'a "quoted" name': "tier"}),
    CustomerMapping(attributes={"u_em": "tier"}, user_identifiers={"u_em": "email"}),
    CustomerMapping(customer_id=None, user_identifiers={"uid": "uid"}),
    EventMapping(action="Buy", time="at"),
    EventMapping(action="x" * 201, time="at", attributes=["tier"]),
    EventMapping(action=Column("name"), time="at", attributes=["at", "name"], platform="web", app_version="1"),
    EventMapping(action="Buy", time="at", attributes=[], platform=Column("tier"), device_id="email"),
    EventMapping(action="Buy", time="at", attributes=[], platform=Column("tier")),
    EventMapping(action="Buy", time="at", attributes=[], device_id="email"),
    EventMapping(action="Buy", time="at", attributes=[], user_identifiers={"u_em": "email"}),
    EventMapping(action="Buy", time="at", customer_id=None, user_identifiers={"u_em": "email"}),
    CustomerMapping(attributes=["tier"], add_to_lists={"tags": "email"}, remove_from_lists={"offers": "status"}),
    DeviceMapping(device_id="tier", attributes={"platform": "email", "push_id": "uid"}),
]
PLAIN_ROW = (
    "u-1",
    dt.datetime(2024, 5, 31, tzinfo=dt.UTC),
    "Buy",
    "gold",
    "a@b",
    5,
    None,
    None,
    None,
    None,
    UUID(int=5),
)
DOCUMENTED_TIMES = ["2024-05-31T16:33:35Z", "2024-05-31T16:33:35.123456Z"]
"""Texts that MoEngage reads as times."""
ODD_VALUES = [
    *DOCUMENTED_TIMES,
    "2024-05-31T16:33:35+05:30",
    "2024-05-31 16:33",
    "thirteen char: text",
    None,
    True,
    5,
    2**70,
    1.5,
    float("nan"),
    float("-inf"),
    "x" * 512,
    "x" * 513,
    "https://a/" + "b" * 510,
    Text("t"),
    Decimal("1.10"),
    Decimal("123456789012345"),
    Decimal("1234567890.12345"),
    Decimal("9007199254740993"),
    Decimal("0.1000000000000000055511151231257827"),
    Decimal("1E+5"),
    Decimal("1E+400"),
    Decimal("0." + "1" * 600),
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("-Infinity"),
    dt.datetime(2024, 5, 31, 16, 33, 35),
    dt.datetime(2024, 5, 31, 16, 33, 35, tzinfo=dt.UTC),
    dt.datetime(2024, 5, 31, 16, 33, 35, tzinfo=WEST),
    dt.datetime(2024, 5, 31, 16, 33, 35, 5, tzinfo=ZoneInfo("UTC")),
    dt.datetime(1, 1, 1, tzinfo=ZoneInfo("Asia/Kolkata")),
    dt.date(2024, 5, 31),
    dt.time(16, 33),
    dt.timedelta(hours=1),
    UUID(int=5),
    b"text",
    b"\xff",
    ["a", 5],
    ["item"] * 51,
    {"a": 1.5},
    {"a": {"b": {"c": 1}}},
    [{"a": 1}] * 101,
    dt.time(16, 33, tzinfo=WEST),
    Tier.GOLD,
    np.float64("nan"),
    np.str_("n"),
    object(),
]
ODD_TIMES = [
    *ODD_VALUES,
    dt.datetime(2099, 1, 1, tzinfo=dt.UTC),
    "2099-01-01",
    4_000_000_000,
    "2024-05-31",
    "2024-05-31 16:33:35",
    " 2024-05-31T16:33:35+05:30 ",
    "20240531",
    "yesterday",
    "",
    1590943415,
    1590943415000,
    "1590943415",
]
ODD_IDS = [*ODD_VALUES, "", " Guest ", "n/a", "TRUE", "ann", 42, 42.0, Decimal(42), Decimal("4E+1"), -1]
ODD_NAMES = [
    "addValueToArrayField",
    "removeValueFromArrayField",
    "publisher_name",
    "moe_os_type",
    "id",
    "",
    " ",
    "x" * 200,
    "x" * 201,
    "moe_own",
    "moe_mobile",
    "status",
    "platforms",
    5,
    Text("tier"),
    Tier.GOLD,
]
A_TIME = dt.datetime(2024, 5, 31, tzinfo=dt.UTC)


def a_customer(**changes: Any) -> dict[str, Any]:
    return {"type": "customer", "customer_id": "ann", "attributes": {"tier": "gold"}, **changes}


def an_event(**changes: Any) -> dict[str, Any]:
    action = {"action": "Buy", "current_time": A_TIME, "attributes": {"tier": "gold"}, **changes}
    return {"type": "event", "customer_id": "ann", "actions": [action]}


NOT_ATTRIBUTES: list[Any] = [None, [], "tier"]

ELEMENTS: list[Any] = [
    *[a_customer(attributes={"tier": value}) for value in ODD_VALUES],
    *[a_customer(attributes={name: "gold"}) for name in ODD_NAMES],
    *[a_customer(customer_id=value) for value in ODD_IDS],
    *[a_customer(type=kind) for kind in ("Customer", Text("customer"), 5, None)],
    *[a_customer(attributes=value) for value in [{}, *NOT_ATTRIBUTES]],
    a_customer(update_existing_only=float("nan")),
    a_customer(update_existing_only=True),
    {"type": "customer", "customer_id": "ann"},
    {"type": "customer", "attributes": {"u_em": "a@b"}, "x": 1},
    *[an_event(attributes={"tier": value}) for value in ODD_VALUES],
    *[an_event(attributes={name: "gold"}) for name in ODD_NAMES],
    *[an_event(attributes={f"name {number}": 1 for number in range(count)}) for count in (0, 100, 101)],
    *[an_event(current_time=value) for value in ODD_TIMES],
    *[
        an_event(action=name)
        for name in ("moe_x", "order.paid", "", " ", "x" * 200, "x" * 201, 5, None, Text("Buy"), ["Buy"])
    ],
    *[
        an_event(platform=value)
        for value in ("web", "android", "", "moon", None, 5, Text("web"), np.array([1, 2]))
    ],
    *[an_event(attributes=value) for value in NOT_ATTRIBUTES],
    *[an_event() | {"customer_id": value} for value in ODD_IDS],
    *[an_event() | {"actions": value} for value in (None, [], [5], an_event()["actions"] * 2, "Buy")],
    an_event() | {"actions": [*an_event()["actions"], *an_event(current_time="2024-05-31")["actions"]]},
    {"type": "event", "customer_id": "ann", "actions": [{"action": "Buy"}]},
    {"type": "event", "customer_id": "ann", "actions": [{"current_time": A_TIME}]},
    {"type": "device", "customer_id": "ann", "device_id": "d", "attributes": {"platform": "web", "push_id": "p"}},
]


@pytest.mark.parametrize("rules_apply", [True, False], ids=["rules", "no rules"])
@pytest.mark.parametrize("element", ELEMENTS, ids=range(len(ELEMENTS)))
def test_the_fast_path_agrees_with_the_full_check_on_an_element(element: Any, rules_apply: bool) -> None:
    assert outcome([element], prepare_elements([element], rules_apply)) == outcome(
        [element], fully_checked([element], rules_apply)
    )


@pytest.mark.parametrize("rules_apply", [True, False], ids=["rules", "no rules"])
@pytest.mark.parametrize("element", ELEMENTS, ids=range(len(ELEMENTS)))
def test_what_is_encoded_at_once_agrees_with_what_is_encoded_later(element: Any, rules_apply: bool) -> None:
    assert comparable(outcome([element], encoded_at_once([element], rules_apply))) == comparable(
        outcome([element], fully_checked([element], rules_apply))
    )


WORKSPACES = {
    "before the events": WorkspaceRules(clock=dt.datetime(2024, 5, 31, tzinfo=dt.UTC).timestamp),
    "with identifiers of its own": WorkspaceRules(identifiers=frozenset({"tier", "email"})),
}


@pytest.mark.parametrize("workspace", WORKSPACES.values(), ids=WORKSPACES)
def test_all_ways_follow_the_rules_of_the_workspace(workspace: WorkspaceRules) -> None:
    assert outcome(ELEMENTS, prepare_elements(ELEMENTS, True, workspace)) == outcome(
        ELEMENTS, fully_checked(ELEMENTS, True, workspace)
    )
    for mapping in MAPPINGS:
        recipe = mapping.compile(COLUMNS)
        rows = [
            *[(PLAIN_ROW[0], value, *PLAIN_ROW[2:]) for value in ODD_TIMES],
            *[(value, *PLAIN_ROW[1:]) for value in ODD_IDS],
        ]
        found = outcome(rows, row_preparer([recipe])(rows, True, workspace))
        identifiers = workspace.identifiers
        if recipe.kind == "customer":
            known = IDENTIFYING_ATTRIBUTES if identifiers is None else identifiers
            identifiers = known & set(recipe.identified_by)
        of_mapping = replace(workspace, identifiers=identifiers)

        assert found == outcome(rows, fully_checked([recipe(row) for row in rows], True, of_mapping))


@pytest.mark.parametrize("rules_apply", [True, False], ids=["rules", "no rules"])
@pytest.mark.parametrize("mapping", range(len(MAPPINGS)))
def test_the_generated_code_agrees_with_the_full_check_on_a_row(mapping: int, rules_apply: bool) -> None:
    recipes = compile_mappings([MAPPINGS[mapping]], COLUMNS)
    rows = [
        *[(value, *PLAIN_ROW[1:]) for value in ODD_IDS],
        *[(PLAIN_ROW[0], value, *PLAIN_ROW[2:]) for value in ODD_TIMES],
        *[(*PLAIN_ROW[:2], value, *PLAIN_ROW[3:]) for value in ODD_VALUES],
        *[(*PLAIN_ROW[:at], value, *PLAIN_ROW[at + 1 :]) for at in range(3, len(COLUMNS)) for value in ODD_VALUES],
    ]
    elements = [recipe(row) for row in rows for recipe in recipes]

    fast = outcome(elements, row_preparer(recipes)(rows, rules_apply))

    for row, one, other in zip(rows, fast, outcome(elements, fully_checked(elements, rules_apply)), strict=True):
        assert one == other, row


@settings(deadline=None, max_examples=60)
@given(st.lists(CUSTOMERS | EVENT_ELEMENTS | OTHERS, max_size=6), st.booleans())
def test_the_fast_path_agrees_with_the_full_check_on_random_elements(
    elements: list[Any], rules_apply: bool
) -> None:
    assert outcome(elements, prepare_elements(elements, rules_apply)) == outcome(
        elements, fully_checked(elements, rules_apply)
    )


ROWS = st.lists(st.tuples(IDS, TIMES, EVENTS, *([VALUES] * len(NAMES))), max_size=5)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(MAPPINGS), min_size=1, max_size=2), ROWS, st.booleans())
def test_the_generated_code_agrees_with_the_full_check_on_random_rows(
    mappings: list[ElementMapping], rows: list[tuple[Any, ...]], rules_apply: bool
) -> None:
    recipes = compile_mappings(mappings, COLUMNS)
    elements = [recipe(row) for row in rows for recipe in recipes]

    result = row_preparer(recipes)(rows, rules_apply)

    assert outcome(elements, result) == outcome(elements, fully_checked(elements, rules_apply))


@pytest.mark.parametrize(
    "mapping",
    [MAPPINGS[0], EventMapping(action="Buy", time="at", attributes=["tier"]), MAPPINGS[8]],
    ids=["user", "event", "event's name"],
)
def test_an_ordinary_row_takes_the_generated_code(mapping: ElementMapping) -> None:
    result = row_preparer([mapping.compile(COLUMNS)])([PLAIN_ROW], True)

    assert isinstance(result.elements[0], msgspec.Struct)


@pytest.mark.parametrize("text", [*DOCUMENTED_TIMES, "thirteen char: text"])
def test_a_text_with_a_colon_needs_no_full_check_unless_it_is_a_time_that_moengage_does_not_read(
    text: str,
) -> None:
    mapping = CustomerMapping(customer_id="uid", attributes=["tier"])
    prepare_row = row_preparer([mapping.compile(["uid", "tier"])])
    result = prepare_row([("u-1", text), ("u-1", "2024-05-31T16:33:35+05:30")], True)

    assert [isinstance(element, msgspec.Struct) for element in result.elements] == [True, False]


def test_an_ordinary_element_is_sent_unchanged() -> None:
    given = {"type": "customer", "customer_id": "ann", "attributes": {"spent": Decimal("1.10"), "tier": "gold"}}

    assert prepare_elements([given], True).elements[0] is given


def test_the_given_element_is_not_changed() -> None:
    time = "2024-05-31 16:33:35"
    action = {"action": "Buy", "current_time": time}
    given = {"type": "event", "customer_id": "ann", "actions": [action]}

    [event] = prepare_elements([given], True).elements

    assert action["current_time"] == time
    assert event["actions"][0]["current_time"] == dt.datetime(2024, 5, 31, 16, 33, 35, tzinfo=dt.UTC)


def test_a_query_with_one_column_works() -> None:
    [recipe] = compile_mappings([CustomerMapping()], ["user_id"])

    result = row_preparer([recipe])([("u-1",)], True)

    assert sent(result.elements[0]) == {"type": "customer", "customer_id": "u-1", "attributes": {}}
