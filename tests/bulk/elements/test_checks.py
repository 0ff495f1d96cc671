from __future__ import annotations

import copy
import datetime as dt
import json
from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from airflow_provider_moengage.bulk.elements.checks import Prepared, prepare
from airflow_provider_moengage.bulk.elements.encoding import Encoder, Unreadable
from airflow_provider_moengage.bulk.elements.event_time import event_time
from airflow_provider_moengage.bulk.elements.fast_path import prepare_elements
from airflow_provider_moengage.bulk.elements.rules import (
    REFUSED_CUSTOMER_IDS,
    RESERVED_ATTRIBUTE_NAMES,
    WARNINGS,
    Code,
    WorkspaceRules,
)
from tests.names import name_of

TIME = "2020-05-31T16:33:35Z"


def customer(attributes: Any = None, **fields: Any) -> dict[str, Any]:
    return {"type": "customer", "customer_id": "u-1", "attributes": attributes or {}, **fields}


def action(attributes: Any = None, **fields: Any) -> dict[str, Any]:
    return {"action": "Buy", "attributes": attributes or {}, "current_time": TIME, **fields}


def event(*actions: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "event", "customer_id": "u-1", "actions": list(actions), **fields}


def device(attributes: Any = None, **fields: Any) -> dict[str, Any]:
    required = {"platform": "ANDROID", "push_id": "p-1", **(attributes or {})}
    return {"type": "device", "customer_id": "u-1", "device_id": "d-1", "attributes": required, **fields}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def without(element: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in element.items() if name not in names}


def codes(element: object, **options: Any) -> list[str]:
    return [str(finding.code) for finding in prepare(element, **options).findings]


ADD, REMOVE = "addValueToArrayField", "removeValueFromArrayField"
OPT_IN = {"platform": "iOS", "active": "true"}
MANY = {f"a{number}": number for number in range(101)}
URL = "https://example.com/"

ACCEPTED: dict[str, Any] = {
    "customer": customer({"u_em": "jane@example.com", "age": 30, "vip": True, "left": None}),
    "customer without attributes": customer(),
    "customer with nothing but an id": without(customer(), "attributes"),
    "customer updated only if existing": customer(update_existing_only=True),
    "customer whose attributes identify": {"type": "customer", "attributes": {"moe_mobile": "+49"}},
    "customer identified by mail": {"type": "customer", "customer_id": None, "attributes": {"u_em": "a@b"}},
    "customer with opt-ins": customer(platforms=[OPT_IN, {"platform": "ANDROID"}, {"platform": "web"}]),
    "customer with opt-ins in attributes": customer({"platforms": [OPT_IN]}),
    "customer to unset": customer(unset_attributes=[{"type": "equals", "attr": "x", "case_sensitive": True}]),
    "customer id that contains a refused one": customer(customer_id="guest-1"),
    "customer id 3": customer(customer_id=3),
    "user attribute of moengage": customer({"moe_sub_w": "x", "moe_hard_bounce": False}),
    "user attribute named almost like a blocked one": customer({"ID": 1, "ids": 2, "__id": 3}),
    "200 characters of a name": customer({"n" * 200: 1}),
    "512 characters of a value": customer({"a": "v" * 512}),
    "512 characters of a URL": customer({"a": URL + "u" * (512 - len(URL))}),
    "50 items of a list": customer({"a": ["v"] * 50}),
    "512 characters of an item": customer({"a": ["v" * 512]}),
    "times as text that MoEngage reads": customer({"a": "2026-08-14T13:20:19Z", "b": "2026-08-14T13:20:19.123Z"}),
    "texts with a colon": customer({"a": "Lisbon, floor: 3", "b": "2026-08-14 13:20 was the time"}),
    "a day as text": customer({"a": "2026-08-14", "b": "14/08/2026"}),
    "decimals that doubles hold": customer({"a": Decimal("12.50"), "b": Decimal("12345678901234567890")}),
    "numbers of a list": customer({"a": [1, 2.5, Decimal("0.5")]}),
    "256 user attributes and MoEngage's own": customer(
        {**{f"a{number}": 1 for number in range(256)}, "u_em": "a@b", "moe_sub_w": "x"}
    ),
    "attributes to unset in every way": customer(
        {"x": 1, "y": None, REMOVE: {"tags": "a"}},
        unset_attributes=[
            {"type": "prefix", "attr": "a_", "case_sensitive": False},
            {"type": "suffix", "attr": "_z"},
            {"type": "contains", "attr": "X", "case_sensitive": True},
            {"type": "equals", "attr": "y", "case_sensitive": True},
            {"type": "equals", "attr": "tags", "case_sensitive": True},
        ],
    ),
    "nothing to unset": customer(unset_attributes=[]),
    "event of a user with five identifiers": without(
        event(action(), user_identifiers={f"i{number}": "x" for number in range(5)}), "customer_id"
    ),
    "event": event(action({"price": 9.5})),
    "event of two actions": event(action(), action(action="Return")),
    "event without attributes": event(without(action(), "attributes")),
    "event of an identified user": without(event(action(), user_identifiers={"u_em": "a@b"}), "customer_id"),
    "event of a device": event(action(), device_id="d-1"),
    "event attribute id": event(action({"id": 1, "_id": 2, "status": "x", "source": "y"})),
    "100 event attributes": event(action({f"a{number}": 1 for number in range(100)})),
    "200 characters of an event": event(action(action="e" * 200)),
    "event with user_time": event(action(user_time=TIME)),
    "event with the user's time only": event(without(action(user_time=TIME), "current_time")),
    "event on no platform": event(action(platform="")),
    "event on a platform in another case": event(action(platform="android"), action(platform=" IOS")),
    "opt-ins in another case": customer(platforms=[OPT_IN, {"platform": "Android"}, {"platform": ""}]),
    "lists of a customer edited": customer({ADD: {"tags": "a"}, REMOVE: {"offers": "b"}, "other": ["x"]}),
    "two levels of objects": customer({"a": {"b": {"c": 1}}, "d": [{"e": {"f": 1}}]}),
    "100 objects": customer({"a": [{"b": 1}] * 100}),
    "MoEngage's own names": customer({"moe_os_type": 1, "moe_project_name": "p", "moe_mweb": True}),
    "what MoEngage keeps of a device": device({"os_version": "1", "idfv": "x", "moe_gaid": "g"}),
    **{f"event on {name}": event(action(platform=name)) for name in ("ANDROID", "iOS", "web", "TV", "unknown")},
    **{
        f"offset {offset!r}": event(action(user_timezone_offset=offset))
        for offset in (-54_000, 0, 54_000, "19800", "-54000", "+3600", 3600.0)
    },
    "device": device(),
    "device with opt-in": device({"moe_push_opted": "True", "model": "x"}),
    "element that is another kind of mapping": MappingProxyType(customer()),
}

REFUSED: dict[str, tuple[Any, list[Code]]] = {
    **{
        f"unset_attributes {number}": (customer({"x": 1}, unset_attributes=unset), [Code.ATTRIBUTES_INVALID])
        for number, unset in enumerate(
            [
                "x",
                {"type": "equals", "attr": "x"},
                ["x"],
                [{"attr": "x"}],
                [{"type": "equals"}],
                [{"type": "regex", "attr": "y"}],
                [{"type": "prefix", "attr": ""}],
                [{"type": "contains", "attr": " "}],
                [{"type": "equals", "attr": 1}],
                [{"type": "equals", "attr": "y", "case_sensitive": "true"}],
                [{"type": "equals", "attr": "y"}, None],
            ]
        )
    },
    "six identifiers": (
        without(event(action(), user_identifiers={f"i{number}": "x" for number in range(6)}), "customer_id"),
        [Code.ATTRIBUTES_INVALID],
    ),
    "a blank identifier": (
        {"type": "customer", "attributes": {"u_em": " "}},
        [Code.CUSTOMER_ID_MISSING],
    ),
    "a blank identifier of an event": (
        without(event(action(), user_identifiers={"u_em": "\t "}), "customer_id"),
        [Code.CUSTOMER_ID_MISSING],
    ),
    **{
        f"element {type(element).__name__}": (element, [Code.ELEMENT_INVALID])
        for element in (None, "text", 5, [customer()], b"{}")
    },
    "no type": (without(customer(), "type"), [Code.TYPE_INVALID]),
    "type in another case": (customer(type="Customer"), [Code.TYPE_INVALID]),
    "type that is not text": (customer(type=["customer"]), [Code.TYPE_INVALID]),
    "customer without id": (without(customer(), "customer_id"), [Code.CUSTOMER_ID_MISSING]),
    "customer with null id": (customer(customer_id=None), [Code.CUSTOMER_ID_MISSING]),
    "customer with NaN id": (customer(customer_id=float("nan")), [Code.CUSTOMER_ID_MISSING]),
    "customer with empty identifier": (
        {"type": "customer", "attributes": {"u_em": "", "moe_mobile": None}},
        [Code.CUSTOMER_ID_MISSING],
    ),
    "customer with an attribute that identifies nobody": (
        {"type": "customer", "attributes": {"u_n": "Jane"}},
        [Code.CUSTOMER_ID_MISSING],
    ),
    "event without user": (without(event(action()), "customer_id"), [Code.CUSTOMER_ID_MISSING]),
    "event with empty identifiers": (
        without(event(action(), user_identifiers={"u_em": None}), "customer_id"),
        [Code.CUSTOMER_ID_MISSING],
    ),
    "device without user": (without(device(), "customer_id"), [Code.CUSTOMER_ID_MISSING]),
    "customer id that is a list": (customer(customer_id=["u"]), [Code.VALUE_NOT_ENCODABLE]),
    "customer id that is a time": (customer(customer_id=dt.datetime(2020, 1, 1)), [Code.VALUE_NOT_ENCODABLE]),
    "customer id that is not text": (customer(customer_id=b"\xff"), [Code.VALUE_NOT_ENCODABLE]),
    "attributes null": (customer() | {"attributes": None}, [Code.ATTRIBUTES_INVALID]),
    "attributes list": (customer() | {"attributes": ["a"]}, [Code.ATTRIBUTES_INVALID]),
    "event attributes list": (event(action() | {"attributes": ["a"]}), [Code.ATTRIBUTES_INVALID]),
    "device without attributes": (without(device(), "attributes"), [Code.ATTRIBUTES_INVALID]),
    **{
        f"user attribute {name!r}": (customer({name: 1}), [Code.ATTRIBUTE_NAME_BLOCKED])
        for name in ("id", "_id", "", " ")
    },
    "empty event attribute": (event(action({"": 1})), [Code.ATTRIBUTE_NAME_BLOCKED]),
    "empty device attribute": (device({"": 1}), [Code.ATTRIBUTE_NAME_BLOCKED]),
    "no actions": (without(event(), "actions"), [Code.EVENT_ACTIONS_EMPTY]),
    "actions empty": (event(), [Code.EVENT_ACTIONS_EMPTY]),
    "actions null": (event() | {"actions": None}, [Code.EVENT_ACTIONS_EMPTY]),
    "actions an object": (event() | {"actions": action()}, [Code.EVENT_ACTIONS_EMPTY]),
    "action text": (event("Buy"), [Code.EVENT_ACTIONS_EMPTY]),
    **{
        f"action named {name!r}": (event(action(action=name)), [Code.EVENT_ACTION_NAME_EMPTY])
        for name in ("", "  ", None, 5)
    },
    "action without name": (event(without(action(), "action")), [Code.EVENT_ACTION_NAME_EMPTY]),
    "second action is checked": (event(action(), action(action="")), [Code.EVENT_ACTION_NAME_EMPTY]),
    "event time null": (event(action(current_time=None)), [Code.EVENT_TIME_INVALID]),
    "event time text": (event(action(current_time="yesterday")), [Code.EVENT_TIME_INVALID]),
    "user time": (event(action(user_time="31.05.2020")), [Code.EVENT_TIME_INVALID]),
    **{
        f"offset {offset!r}": (event(action(user_timezone_offset=offset)), [Code.TIMEZONE_OFFSET_INVALID])
        for offset in (-54_001, 54_001, "54001", "+05:30", "", None, True, 3600.5, [3600])
    },
    **{f"event on {name!r}": (event(action(platform=name)), [Code.PLATFORM_INVALID]) for name in (1, ["web"])},
    **{
        f"device on {name!r}": (device({"platform": name}), [Code.PLATFORM_INVALID])
        for name in ("android", "IOS", "Windows", "unknown", 1)
    },
    "opt-ins that are not a list": (customer(platforms=OPT_IN), [Code.PLATFORM_INVALID]),
    "opt-ins that are text": (customer(platforms=["iOS"]), [Code.PLATFORM_INVALID]),
    "opt-ins among the attributes": (customer({"platforms": [{"platform": 1}]}), [Code.PLATFORM_INVALID]),
    **{
        f"event of {moment}": (event(action(current_time=moment)), [Code.EVENT_TIME_FUTURE])
        for moment in ("2099-01-01T00:00:00Z", 4_000_000_000, dt.date(2099, 1, 1))
    },
    "event with a future user time": (event(action(user_time="2099-01-01T00:00:00Z")), [Code.EVENT_TIME_FUTURE]),
    "list added to and removed from": (
        customer({ADD: {"tags": "a"}, REMOVE: {"tags": "b"}}),
        [Code.ARRAY_EDIT_CONFLICT],
    ),
    "list set and added to": (customer({ADD: {"tags": "a"}, "tags": ["b"]}), [Code.ARRAY_EDIT_CONFLICT]),
    "list set and removed from": (customer({REMOVE: {"tags": "a"}, "tags": ["b"]}), [Code.ARRAY_EDIT_CONFLICT]),
    **{
        f"{name} added to": (customer({ADD: {name: "a"}}), [Code.ARRAY_EDIT_CONFLICT])
        for name in ("u_em", "moe_mobile", "moe_own", "INSTALL", "uid")
    },
    "array edits that are text": (customer({ADD: "tags"}), [Code.ATTRIBUTES_INVALID]),
    "nested too deep": (customer({"a": nested(101)}), [Code.VALUE_NOT_ENCODABLE]),
    "objects nested too deep": (customer({"a": nested(5_000)}), [Code.VALUE_NOT_ENCODABLE]),
    "identifier that has lost digits": (
        {"type": "customer", "attributes": {"u_mb": float(2**53)}},
        [Code.VALUE_NOT_ENCODABLE],
    ),
    "device without device_id": (without(device(), "device_id"), [Code.DEVICE_FIELD_MISSING]),
    "device with empty device_id": (device(device_id=""), [Code.DEVICE_FIELD_MISSING]),
    "device with NaN device_id": (device(device_id=float("nan")), [Code.DEVICE_FIELD_MISSING]),
    "device without platform": (device({"platform": None}), [Code.DEVICE_FIELD_MISSING]),
    "device without push_id": (device({"push_id": ""}), [Code.DEVICE_FIELD_MISSING]),
    "NaN": (customer({"a": float("nan")}), [Code.VALUE_NOT_FINITE]),
    "infinity in an event": (event(action({"a": float("inf")})), [Code.VALUE_NOT_FINITE]),
    "NaN within a list": (customer({"a": [1.0, float("nan")]}), [Code.VALUE_NOT_FINITE]),
    "NaN within an object": (customer({"a": {"b": Decimal("NaN")}}), [Code.VALUE_NOT_FINITE]),
    "NaN outside of the attributes": (customer(update_existing_only=float("nan")), [Code.VALUE_NOT_FINITE]),
    "NaN in a user identifier": (event(action(), user_identifiers={"x": float("nan")}), [Code.VALUE_NOT_FINITE]),
    "object": (customer({"a": object()}), [Code.VALUE_NOT_ENCODABLE]),
    "complex number": (event(action({"a": 1j})), [Code.VALUE_NOT_ENCODABLE]),
    "bytes that are not text": (device({"model": b"\xff"}), [Code.VALUE_NOT_ENCODABLE]),
    "attribute name that is not text": (customer({5: 1}), [Code.VALUE_NOT_ENCODABLE]),
    "field name that is not text": (customer() | {5: 1}, [Code.VALUE_NOT_ENCODABLE]),
    "action's field name that is not text": (event(action() | {5: 1}), [Code.VALUE_NOT_ENCODABLE]),
    "action's field": (event(action(app_version=object())), [Code.VALUE_NOT_ENCODABLE]),
    "what a driver cannot read": (customer({"a": Unreadable("an infinite date")}), [Code.VALUE_NOT_READABLE]),
    "what a driver cannot read, in a list": (customer({"a": [Unreadable("a date")]}), [Code.VALUE_NOT_READABLE]),
    "an id as a float that has lost digits": (
        customer(customer_id=float(1234567890123456789)),
        [Code.VALUE_NOT_ENCODABLE],
    ),
    **{
        f"an inexact id {value!r}": (customer(customer_id=value), [Code.VALUE_NOT_ENCODABLE])
        for value in (2.0**53, -(2.0**53), 42.5, Decimal("42.50"), np.float64(2**53), np.float32(2**24))
    },
    **{
        f"a device id {value!r}": (device(device_id=value), [Code.VALUE_NOT_ENCODABLE])
        for value in (True, np.bool_(False), 0.5)
    },
    "an inexact user identifier": (
        without(event(action(), user_identifiers={"u_mb": float(2**60)}), "customer_id"),
        [Code.VALUE_NOT_ENCODABLE],
    ),
    "an id that a driver cannot read": (customer(customer_id=Unreadable("text")), [Code.VALUE_NOT_READABLE]),
    "a time that a driver cannot read": (
        event(action(current_time=Unreadable("an infinite moment"))),
        [Code.VALUE_NOT_READABLE, Code.EVENT_TIME_INVALID],
    ),
    "key of an object in an attribute": (customer({"a": {5: 1}}), [Code.VALUE_NOT_ENCODABLE]),
    "several": (
        {"type": "device", "attributes": {"model": float("nan")}},
        [Code.VALUE_NOT_FINITE, Code.CUSTOMER_ID_MISSING] + [Code.DEVICE_FIELD_MISSING] * 3,
    ),
}

WARNED: dict[str, tuple[Any, list[Code]]] = {
    **{name: (customer({name: 1}), [Code.ATTRIBUTE_NAME_RESERVED]) for name in sorted(RESERVED_ATTRIBUTE_NAMES)},
    "own name with the system's prefix": (customer({"moe_tier": 1}), [Code.ATTRIBUTE_NAME_MOE_PREFIX]),
    "event's name with the system's prefix": (event(action({"moe_x": 1})), [Code.ATTRIBUTE_NAME_MOE_PREFIX]),
    "device's name with the system's prefix": (device({"moe_x": 1}), [Code.ATTRIBUTE_NAME_MOE_PREFIX]),
    "201 characters of a user attribute's name": (customer({"n" * 201: 1}), [Code.NAME_TRUNCATED]),
    "201 characters of an event attribute's name": (event(action({"n" * 201: 1})), [Code.NAME_TRUNCATED]),
    "201 characters of an event's name": (event(action(action="n" * 201)), [Code.NAME_TRUNCATED]),
    "513 characters": (customer({"a": "v" * 513}), [Code.VALUE_TRUNCATED]),
    "513 characters in an event": (event(action({"a": "v" * 513})), [Code.VALUE_TRUNCATED]),
    "513 characters as bytes": (customer({"a": b"v" * 513}), [Code.VALUE_TRUNCATED]),
    "513 characters of a URL": (customer({"a": URL + "u" * (513 - len(URL))}), [Code.URL_TOO_LONG]),
    "51 items": (customer({"a": ["v"] * 51}), [Code.LIST_TRUNCATED]),
    "51 items of a tuple": (customer({"a": ("v",) * 51}), [Code.LIST_TRUNCATED]),
    "an item of 513 characters": (customer({"a": ["v" * 513]}), [Code.LIST_TRUNCATED]),
    "text and numbers": (customer({"a": ["1", 1]}), [Code.LIST_MIXED_TYPES]),
    "numbers and truths": (customer({"a": [True, 1]}), [Code.LIST_MIXED_TYPES]),
    "101 event attributes": (event(action(MANY)), [Code.TOO_MANY_ATTRIBUTES]),
    "a fraction that no double holds": (customer({"a": Decimal("8.3333333333333333")}), [Code.NUMBER_ROUNDED]),
    "a fraction in an object": (customer({"a": {"b": [Decimal("0.12345678901234567")]}}), [Code.NUMBER_ROUNDED]),
    "a fraction of an event": (event(action({"a": Decimal("8.3333333333333333")})), [Code.NUMBER_ROUNDED]),
    **{
        f"text like a time, {text}": (customer({"a": text}), [Code.VALUE_LOOKS_LIKE_TIME])
        for text in (
            "2026-08-14 13:20:19",
            "2026-08-14T13:20:19",
            "2026-08-14T13:20:19+05:30",
            "2026-08-14 13:20:19.123 UTC",
            "2026-08-14T13:20Z",
            "14/08/2026 13:20",
            "2026/08/14 13:20:19 +0530",
        )
    },
    "text like a time in an event": (event(action({"a": "2026-08-14 13:20"})), [Code.VALUE_LOOKS_LIKE_TIME]),
    "bytes like a time": (customer({"a": b"2026-08-14 13:20"}), [Code.VALUE_LOOKS_LIKE_TIME]),
    "event without time": (event(without(action(), "current_time")), [Code.EVENT_TIME_MISSING]),
    **{f"event on {name!r}": (event(action(platform=name)), [Code.PLATFORM_UNKNOWN]) for name in ("Windows", "x")},
    "opt-ins on TV": (customer(platforms=[{"platform": "TV", "active": "true"}]), [Code.PLATFORM_UNKNOWN]),
    "opt-ins among the attributes": (customer({"platforms": [{"platform": "x"}]}), [Code.PLATFORM_UNKNOWN]),
    "event named with the system's prefix": (
        event(action(action="moe_x")),
        [Code.ATTRIBUTE_NAME_MOE_PREFIX],
    ),
    "event named with a dot": (event(action(action="order.paid")), [Code.NAME_TRUNCATED]),
    "three levels of objects": (customer({"a": {"b": {"c": {"d": 1}}}}), [Code.OBJECT_TOO_DEEP]),
    "three levels in a list": (customer({"a": [{"b": {"c": {"d": 1}}}]}), [Code.OBJECT_TOO_DEEP]),
    "three levels in an event": (event(action({"a": {"b": {"c": {"d": 1}}}})), [Code.OBJECT_TOO_DEEP]),
    "an object of 101 keys": (customer({"a": {f"k{at}": 1 for at in range(101)}}), [Code.TOO_MANY_ATTRIBUTES]),
    "an object of 25 kB": (customer({"a": {"b": "x" * 25_000}}), [Code.VALUE_TRUNCATED]),
    **{f"a key with {sign}": (customer({"a": {f"b{sign}": 1}}), [Code.NAME_TRUNCATED]) for sign in "$.%#"},
    "101 objects": (customer({"a": [{"b": 1}] * 101}), [Code.LIST_TRUNCATED]),
    **{
        f"{name} of a user": (customer({name: "x"}), [Code.ATTRIBUTE_WRITTEN_ONCE])
        for name in ("publisher_name", "campaign_name", "u_l_a", "cr_t", "moe_gaid", "advertising_identifier")
    },
    "a device's own attribute": (device({"color": "red"}), [Code.ATTRIBUTE_DROPPED]),
    **{
        f"set and unset by {kind}": (
            customer({"loyalty_tier": 1}, unset_attributes=[{"type": kind, "attr": attr, **case}]),
            [Code.ATTRIBUTE_DROPPED],
        )
        for kind, attr, case in [
            ("prefix", "loyalty_", {"case_sensitive": True}),
            ("suffix", "_tier", {"case_sensitive": True}),
            ("contains", "alty", {"case_sensitive": True}),
            ("equals", "LOYALTY_tier", {"case_sensitive": False}),
            ("equals", "Loyalty_Tier", {}),
        ]
    },
    "added to a list and unset": (
        customer({ADD: {"tags": "x"}}, unset_attributes=[{"type": "equals", "attr": "tags"}]),
        [Code.ATTRIBUTE_DROPPED],
    ),
    "257 attributes of a user": (
        customer({f"a{number}": 1 for number in range(257)}),
        [Code.TOO_MANY_ATTRIBUTES],
    ),
    "set and unset": (
        customer({"x": 1}, unset_attributes=[{"type": "equals", "attr": "x", "case_sensitive": True}]),
        [Code.ATTRIBUTE_DROPPED],
    ),
}


@pytest.mark.parametrize("element", ACCEPTED.values(), ids=ACCEPTED)
def test_a_valid_element_has_no_findings(element: object) -> None:
    assert codes(element) == []


@pytest.mark.parametrize(("element", "found"), REFUSED.values(), ids=REFUSED)
def test_an_invalid_element_has_an_error(element: object, found: list[Code]) -> None:
    assert codes(element) == found
    assert not WARNINGS & set(found)


@pytest.mark.parametrize(("element", "found"), WARNED.values(), ids=WARNED)
def test_an_element_that_moengage_would_alter_has_a_warning(element: object, found: list[Code]) -> None:
    assert codes(element) == found
    assert set(found) <= WARNINGS


def test_every_rule_has_a_case_here() -> None:
    covered = {code for table in (REFUSED, WARNED) for _, found in table.values() for code in found}

    # The size is known only after encoding, a refusal only after sending; refused ids have their own table.
    after_sending = {Code.REFUSED_BY_SERVER, Code.OUTCOME_UNKNOWN}
    elsewhere = {Code.ELEMENT_TOO_LARGE, Code.CUSTOMER_ID_REFUSED, *after_sending}
    assert set(Code) - elsewhere == covered


@pytest.mark.parametrize("customer_id", sorted(REFUSED_CUSTOMER_IDS))
@pytest.mark.parametrize("make", [customer, lambda **fields: event(action(), **fields), device])
def test_an_id_that_moengage_drops_is_rejected(make: Any, customer_id: str) -> None:
    assert codes(make(customer_id=customer_id)) == [Code.CUSTOMER_ID_REFUSED]


@pytest.mark.parametrize("customer_id", ["GUEST", " guest ", "Null", "   ", 0, 1, 2, -1, 1.0, True, b"none"])
def test_an_id_that_moengage_drops_is_rejected_in_every_form(customer_id: object) -> None:
    assert codes(customer(customer_id=customer_id)) == [Code.CUSTOMER_ID_REFUSED]


def test_the_documented_refused_ids_are_all_known() -> None:
    documented = 'unknown guest null 0 1 true false user_attribute_unique_id (empty) na n/a "" dummy_seller_code'
    documented += " user_id id customer_id uid userid none -2 -1 2"

    assert {*documented.split(), ""} == REFUSED_CUSTOMER_IDS


class Tier(StrEnum):
    GOLD = "gold"


class Kind(str, Enum):  # noqa: UP042 (its str() is its name)
    EVENT = "event"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("u-1", "u-1"),
        (" u-1 ", " u-1 "),
        (42, "42"),
        (42.0, "42"),
        (10**20, "1" + "0" * 20),
        (Decimal(42), "42"),
        (Decimal("42.00"), "42"),
        (Decimal("4.2E+2"), "420"),
        (Decimal(2**53 + 1), str(2**53 + 1)),
        (Decimal(2**53 + 1).quantize(Decimal("0.01")), str(2**53 + 1)),
        (Decimal(10**23), "1" + "0" * 23),  # as a double it is 99999999999999991611392
        (Decimal("1E+30"), "1" + "0" * 30),
        (UUID("12345678-1234-5678-1234-567812345678"), "12345678-1234-5678-1234-567812345678"),
        (b"u-1", "u-1"),
        (bytearray(b"u-1"), "u-1"),
        (memoryview(b"u-1"), "u-1"),
        (Tier.GOLD, "gold"),
    ],
    ids=name_of,
)
@pytest.mark.parametrize("name", ["customer_id", "device_id"])
def test_an_id_is_sent_as_text(name: str, given: object, sent: str) -> None:
    prepared = prepare(device(**{name: given}))

    assert (prepared.element[name], prepared.findings) == (sent, [])


@pytest.mark.parametrize(
    ("form", "value", "sent"),
    [
        ("int64", 42, "42"),
        ("uint8", 42, "42"),
        ("float64", 42.0, "42"),
        ("float32", 42.0, "42"),
        ("str_", "u-1", "u-1"),
        ("bytes_", b"u-1", "u-1"),
    ],
)
def test_an_id_of_numpy_is_sent_as_text(form: str, value: object, sent: str) -> None:
    numpy = pytest.importorskip("numpy")

    assert prepare(customer(customer_id=getattr(numpy, form)(value))).element["customer_id"] == sent


@pytest.mark.parametrize("customer_id", [None, float("nan"), Decimal("NaN")])
def test_a_null_id_is_omitted_if_something_else_identifies_the_user(customer_id: object) -> None:
    sent = prepare(event(action(), customer_id=customer_id, user_identifiers={"u_em": "a@b"})).element

    assert "customer_id" not in sent


def test_a_null_device_id_is_omitted_from_an_event() -> None:
    assert "device_id" not in prepare(event(action(), device_id=float("nan"))).element


@pytest.mark.parametrize(
    "element",
    [
        customer(customer_id=10**5_000),
        customer({"a": 1}, customer_id=["u"] * 3),
        {"type": "customer", "attributes": {"uid": 10**5_000}},
        event(action(), user_identifiers={"u_em": 10**5_000}),
    ],
    ids=["customer id", "list", "identifying attribute", "identifier"],
)
def test_an_absurd_id_does_not_raise(element: dict[str, Any]) -> None:
    assert isinstance(prepare(element), Prepared)


@pytest.mark.parametrize("where", ["attributes", "actions", "customer_id", "user_identifiers", "extra"])
def test_an_object_that_contains_itself_is_not_encodable(where: str) -> None:
    element = event(action())
    endless: list[Any] = []
    endless.append(endless)
    element[where] = {"a": endless} if where in ("attributes", "user_identifiers") else endless

    assert Code.VALUE_NOT_ENCODABLE in codes(element)


def test_half_a_surrogate_pair_passes_the_checks_but_not_the_encoder() -> None:
    prepared = prepare(customer({"a": "\ud83d"}))

    with pytest.raises(UnicodeEncodeError):
        Encoder().lines([prepared.element])


def test_findings_name_attributes_and_never_hold_a_value() -> None:
    secret = "jane@example.com"
    element = {
        "type": secret,
        "customer_id": [secret],
        "attributes": {
            "a": {1: secret},
            "b": secret * 100,
            "c": [secret * 100, 1] * 50,
            "d": secret.encode() + b"\xff",
        },
        "platforms": secret,
    }
    elements = [
        element,
        {**element, "type": "customer"},
        {**event(action(action=secret * 20, platform=secret, current_time=secret, user_timezone_offset=secret))},
        [secret],
    ]

    messages = [finding.message for element in elements for finding in prepare(element).findings]

    assert len(messages) > 10
    assert "jane" not in "".join(messages)


def test_the_given_element_is_not_changed() -> None:
    moment = dt.datetime(2020, 1, 1)
    element = event(action({"at": moment, "tags": ("a",)}, current_time=moment), customer_id=42, device_id=None)
    before = copy.deepcopy(element)

    prepare(element)

    assert element == before


@pytest.mark.parametrize(
    ("element", "kind", "actions"),
    [
        (customer(), "customer", 0),
        (event(action()), "event", 1),
        (event(action(), action(), action()), "event", 3),
        (event() | {"actions": (action(), action())}, "event", 2),
        (event(action()) | {"type": Kind.EVENT}, "event", 1),
        (device(), "device", 0),
        (customer(type="person"), "customer", 0),
    ],
)
def test_a_prepared_element_has_its_kind_and_its_number_of_actions(
    element: object, kind: str, actions: int
) -> None:
    prepared = prepare(element, rules_apply=False)

    assert (prepared.kind, prepared.actions) == (kind, actions)


def test_actions_in_an_array_are_counted_and_checked() -> None:
    numpy = pytest.importorskip("numpy")
    prepared = prepare(event() | {"actions": numpy.array([action(), action({"a": "v" * 513})], dtype=object)})

    assert prepared.actions == 2
    assert [finding.code for finding in prepared.findings] == [Code.VALUE_TRUNCATED]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (customer(customer_id=42), event(action(), customer_id="42"), True),
        (customer(customer_id=42), device(customer_id=42.0), True),
        (customer(customer_id="a"), customer(customer_id="b"), False),
        (
            {"type": "event", "user_identifiers": {"u_em": "a", "u_mb": "1"}},
            {"type": "event", "user_identifiers": {"u_mb": "1", "u_em": "a"}},
            True,
        ),
        (
            {"type": "customer", "attributes": {"u_em": "a", "age": 1}},
            {"type": "customer", "attributes": {"u_em": "a", "age": 2}},
            True,
        ),
        (
            {"type": "customer", "attributes": {"u_em": "a"}},
            {"type": "event", "user_identifiers": {"u_em": "a"}},
            True,
        ),
        (
            {"type": "customer", "attributes": {"u_em": "a"}},
            {"type": "customer", "attributes": {"u_em": "b"}},
            False,
        ),
    ],
)
def test_elements_of_different_users_are_distinguished(one: object, other: object, same: bool) -> None:
    assert (prepare(one).user == prepare(other).user) is same


@pytest.mark.parametrize(
    "element",
    [
        customer(type="person"),
        customer(customer_id="guest"),
        without(customer(), "customer_id", "attributes"),
        event(action(current_time="yesterday", platform="x", user_timezone_offset="x")),
        event(),
        device({"push_id": None, "id": 1, "": 2}),
        customer({"a": "v" * 513, "b": ["v", 1] * 50, "moe_x": 1}),
        customer(platforms="x"),
    ],
)
def test_without_rules_everything_that_can_be_encoded_passes(element: object) -> None:
    assert codes(element, rules_apply=False) == []


@pytest.mark.parametrize(
    ("element", "found"),
    [
        ([1], Code.ELEMENT_INVALID),
        (customer({"a": float("nan")}), Code.VALUE_NOT_FINITE),
        (customer({"a": object()}), Code.VALUE_NOT_ENCODABLE),
    ],
)
def test_without_rules_a_value_that_cannot_be_encoded_is_still_found(element: object, found: Code) -> None:
    assert codes(element, rules_apply=False) == [found]


UTC = dt.UTC
MOMENT = dt.datetime(2020, 5, 31, 16, 33, 35, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2020-05-31T16:33:35Z", MOMENT),
        ("2020-05-31T16:33:35", MOMENT),
        ("2020-05-31 16:33:35", MOMENT),
        (" 2020-05-31T16:33:35Z ", MOMENT),
        ("2020-05-31T18:33:35+02:00", MOMENT),
        ("2020-05-31T16:33:35.250Z", MOMENT.replace(microsecond=250_000)),
        ("2020-05-31", dt.datetime(2020, 5, 31, tzinfo=UTC)),
        ("20200531T163335Z", MOMENT),
        (1_590_942_815, MOMENT),
        (1_590_942_815.25, MOMENT.replace(microsecond=250_000)),
        (Decimal("1590942815.000001"), MOMENT.replace(microsecond=1)),
        ("1590942815", MOMENT),
        ("1590942815.5", MOMENT.replace(microsecond=500_000)),
        (1_590_942_815_000, MOMENT),
        ("1590942815250", MOMENT.replace(microsecond=250_000)),
        (99_999_999_999, dt.datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC)),
        (100_000_000_000, dt.datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
        (0, dt.datetime(1970, 1, 1, tzinfo=UTC)),
        (dt.datetime(2020, 5, 31, 16, 33, 35), MOMENT),
        (MOMENT.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30))), MOMENT),
        (dt.date(2020, 5, 31), dt.datetime(2020, 5, 31, tzinfo=UTC)),
    ],
    ids=name_of,
)
def test_the_time_of_an_event_is_read(given: object, moment: dt.datetime) -> None:
    read = event_time(given)

    assert (read, read and read.tzinfo) == (moment, UTC)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "yesterday",
        "31.05.2020",
        "05/31/2020",
        "2020-13-01",
        "16:33:35",
        "12345678901234567890",
        "20200531163335",  # a compact date and time, not milliseconds in the year 2610
        20_200_531_163_335,
        20_200_531,  # a date key, not a second in August 1970
        Decimal(20_200_531),
        20_200_531.0,
        202_005_311_633,
        "202005311633",
        1_590_942_815_000_000,
        -1,
        True,
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        1e300,
        10**400,
        b"2020-05-31",
        [2020],
        dt.time(16, 33),
        dt.timedelta(1),
        dt.datetime.max.replace(tzinfo=dt.timezone(-dt.timedelta(hours=1))),
    ],
    ids=name_of,
)
def test_a_value_that_is_not_a_time_is_not_read_as_one(given: object) -> None:
    assert event_time(given) is None


def sent(element: object, **options: Any) -> Any:
    [line] = Encoder().lines([prepare(element, **options).element]).splitlines()
    return json.loads(line)


def test_a_time_is_sent_in_the_format_that_moengage_reads() -> None:
    assert sent(event(action(current_time="2020-05-31 18:33:35+02:00")))["actions"][0]["current_time"] == TIME


KOLKATA = dt.timezone(dt.timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    "given",
    [
        "2020-05-31 16:33:35",
        "2020-05-31T16:33:35+05:30",
        dt.datetime(2020, 5, 31, 16, 33, 35),
        dt.datetime(2020, 5, 31, 16, 33, 35, tzinfo=KOLKATA),
        1_590_942_815,
    ],
    ids=name_of,
)
def test_a_users_local_time_is_sent_as_the_clock_showed_it(given: object) -> None:
    assert sent(event(action(user_time=given)))["actions"][0]["user_time"] == TIME


NOW = dt.datetime(2020, 5, 31, 20, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("field", "minutes", "found"),
    [
        ("current_time", 15, []),
        ("current_time", 16, [Code.EVENT_TIME_FUTURE]),
        ("user_time", 15 * 60, []),  # the clock on the wall in the far east
        ("user_time", 16 * 60, [Code.EVENT_TIME_FUTURE]),
    ],
)
def test_an_event_may_be_ahead_of_the_clock_by_a_quarter_of_an_hour(
    field: str, minutes: int, found: list[Code]
) -> None:
    workspace = WorkspaceRules(clock=NOW.timestamp)
    element = without(event(action(**{field: NOW + dt.timedelta(minutes=minutes)})), "device_id")

    assert codes(element, workspace=workspace) == found
    assert [
        finding.code for prepared in prepare_elements([element], True, workspace).flawed.values()
        for finding in prepared.findings
    ] == found  # fmt: skip


@pytest.mark.parametrize(
    ("given", "platform"),
    [("android", "ANDROID"), ("IOS ", "iOS"), ("Web", "web"), ("tv", "TV"), ("Windows",) * 2],
)
def test_a_platform_of_an_event_is_written_as_moengage_does(given: str, platform: str) -> None:
    assert sent(event(action(platform=given)))["actions"][0]["platform"] == platform


def test_an_empty_platform_is_left_out() -> None:
    assert "platform" not in sent(event(action(platform=" ")))["actions"][0]


@pytest.mark.parametrize("where", ["element", "attributes"])
def test_opt_ins_are_written_as_moengage_does(where: str) -> None:
    given = [{"platform": "android", "active": "true"}, {"platform": "", "active": "true"}]
    element = customer({"platforms": given}) if where == "attributes" else customer(platforms=given)

    found = sent(element)

    assert (found["attributes"] if where == "attributes" else found)["platforms"] == [
        {"platform": "ANDROID", "active": "true"}
    ]


def test_an_attribute_that_the_workspace_has_chosen_identifies_a_user() -> None:
    workspace = WorkspaceRules(identifiers=frozenset({"loyalty_id"}))
    by_loyalty_id = {"type": "customer", "attributes": {"loyalty_id": "L-1"}}
    by_mail = {"type": "customer", "attributes": {"u_em": "a@b"}}
    purchase = without(event(action()), "customer_id")

    assert codes(by_loyalty_id, workspace=workspace) == []
    assert codes(by_mail, workspace=workspace) == [Code.CUSTOMER_ID_MISSING]
    assert codes({**purchase, "user_identifiers": {"loyalty_id": "L-1"}}, workspace=workspace) == []
    assert codes({**purchase, "user_identifiers": {"u_em": "a@b"}}, workspace=workspace) == [
        Code.CUSTOMER_ID_MISSING
    ]
    assert codes(by_loyalty_id) == [Code.CUSTOMER_ID_MISSING]


def test_a_users_identifiers_are_sent_as_text() -> None:
    element = without(event(action(), user_identifiers={"u_mb": 491711234567.0}), "customer_id")

    assert sent(element)["user_identifiers"] == {"u_mb": "491711234567"}


def test_times_of_pandas_and_numpy_are_read() -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    moments = [
        pandas.Timestamp("2020-05-31 16:33:35"),
        pandas.Timestamp("2020-05-31 18:33:35", tz="Europe/Berlin"),
        numpy.datetime64("2020-05-31T16:33:35", "ns"),
        numpy.int64(1_590_942_815),
    ]

    sent = [
        prepare(event(action(current_time=moment))).element["actions"][0]["current_time"] for moment in moments
    ]

    assert sent == [MOMENT] * 4


def test_an_event_at_nat_is_rejected() -> None:
    pandas = pytest.importorskip("pandas")

    assert Code.EVENT_TIME_INVALID in codes(event(action(current_time=pandas.NaT)))


@pytest.mark.parametrize("mapping", [dict, OrderedDict, MappingProxyType])
def test_attributes_may_be_any_mapping(mapping: type[Mapping[str, Any]]) -> None:
    element = customer(mapping({"at": dt.datetime(2020, 1, 1), "moe_x": 1}))  # type: ignore[call-arg]
    prepared = prepare(element)

    assert [finding.code for finding in prepared.findings] == [Code.ATTRIBUTE_NAME_MOE_PREFIX]
    assert b'"at":"2020-01-01T00:00:00Z"' in Encoder().lines([prepared.element])
