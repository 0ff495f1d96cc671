"""What a second reading of MoEngage's documents added or corrected about elements, one test for each fact.

MoEngage API reference, "Bulk Import"; user guide, "User attributes", "Object data type", "User identity
resolution" and "Portfolio". The whole tables of cases are in ``test_checks.py``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_moengage.bulk.elements.checks import prepare
from airflow_provider_moengage.bulk.elements.rules import DOCUMENTED, WARNINGS, Code, WorkspaceRules


def customer(attributes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "customer", "customer_id": "user-1", "attributes": attributes, **fields}


def event(action: str = "Purchase", attributes: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    entry = {"action": action, "attributes": attributes or {}, "current_time": "2026-01-05T10:00:00Z", **fields}
    return {"type": "event", "customer_id": "user-1", "actions": [entry]}


def device(**attributes: Any) -> dict[str, Any]:
    required = {"platform": "ANDROID", "push_id": "token", **attributes}
    return {"type": "device", "customer_id": "user-1", "device_id": "d-1", "attributes": required}


def codes(element: dict[str, Any], workspace: WorkspaceRules = DOCUMENTED) -> list[Code]:
    return [finding.code for finding in prepare(element, workspace=workspace).findings]


def test_2nd_a_customer_needs_only_type_and_customer_id() -> None:
    assert codes({"type": "customer", "customer_id": "user-1"}) == []
    assert codes({"type": "customer", "customer_id": "user-1", "update_existing_only": True}) == []


@pytest.mark.parametrize("name", ["moe_mobile", "u_em", "u_mb", "uid", "loyalty_id"])
def test_2nd_any_text_attribute_that_the_workspace_has_chosen_identifies_a_user(name: str) -> None:
    workspace = replace(DOCUMENTED, identifiers=frozenset({name}))
    by_attribute = {"type": "customer", "attributes": {name: "x-1"}}
    by_identifier = {**event(), "user_identifiers": {name: "x-1"}}
    del by_identifier["customer_id"]

    assert codes(by_attribute, workspace) == codes(by_identifier, workspace) == []
    assert codes({"type": "customer", "attributes": {"other": "x-1"}}, workspace) == [Code.CUSTOMER_ID_MISSING]


def test_2nd_a_workspace_has_at_most_five_identifiers() -> None:
    identifiers = {f"i{number}": "x" for number in range(6)}

    assert codes({**event(), "user_identifiers": identifiers}) == [Code.ATTRIBUTES_INVALID]


@pytest.mark.parametrize(
    ("given", "sent"), [("Android", "ANDROID"), ("IOS", "iOS"), ("Web", "web"), ("tv", "TV"), ("", None)]
)
def test_2nd_the_platform_of_an_event_is_written_as_documented_and_left_out_if_empty(
    given: str, sent: str | None
) -> None:
    prepared = prepare(event(platform=given))

    assert prepared.findings == []
    assert prepared.element["actions"][0].get("platform") == sent


def test_2nd_another_platform_is_a_warning_of_an_event_and_an_error_of_a_device() -> None:
    assert codes(event(platform="Windows")) == [Code.PLATFORM_UNKNOWN]
    assert codes(device(platform="Windows")) == [Code.PLATFORM_INVALID]
    assert Code.PLATFORM_UNKNOWN in WARNINGS
    assert Code.PLATFORM_INVALID not in WARNINGS


def test_2nd_of_a_device_only_nine_attributes_are_kept() -> None:
    kept = "model moe_push_opted moe_push_provisional_opted app_version os_version moe_gaid idfv"

    assert codes(device(**dict.fromkeys(kept.split(), "x"))) == []
    assert codes(device(color="red")) == [Code.ATTRIBUTE_DROPPED]


def test_2nd_an_event_may_not_be_named_with_moengages_prefix_or_a_dot() -> None:
    assert codes(event("moe_purchase")) == [Code.ATTRIBUTE_NAME_MOE_PREFIX]
    assert codes(event("order.paid")) == [Code.NAME_TRUNCATED]


@pytest.mark.parametrize(
    "name", ["moe_os_type", "moe_project_name", "moe_push_provisional_opted", "moe_mweb", "moe_geo_location"]
)
def test_2nd_a_name_of_moengages_own_is_no_finding(name: str) -> None:
    assert codes(customer({name: "x"})) == []
    assert codes(customer({f"{name}_": "x"})) == [Code.ATTRIBUTE_NAME_MOE_PREFIX]


def test_2nd_ids_of_one_character_pass_unless_they_are_among_the_refused_ones() -> None:
    assert codes(customer({}, customer_id="7")) == []
    assert codes(customer({}, customer_id="2")) == [Code.CUSTOMER_ID_REFUSED]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"key": "x" * 25_000}, Code.VALUE_TRUNCATED),
        ({f"k{number}": 1 for number in range(101)}, Code.TOO_MANY_ATTRIBUTES),
        ({"a": {"b": {"c": 1}}}, Code.OBJECT_TOO_DEEP),
        ({"a.b": 1}, Code.NAME_TRUNCATED),
        ([{"a": 1}] * 101, Code.LIST_TRUNCATED),
    ],
)
def test_2nd_an_object_has_limits_of_its_own(value: Any, code: Code) -> None:
    assert codes(customer({"address": {"city": "Lisbon", "geo": {"lat": 38.7}}})) == []
    assert codes(customer({"address": value})) == [code]


@pytest.mark.parametrize(
    "name", ["publisher_name", "campaign_name", "u_l_a", "cr_t", "moe_gaid", "advertising_identifier"]
)
def test_2nd_what_moengage_writes_once_is_a_warning(name: str) -> None:
    assert codes(customer({name: "x"})) == [Code.ATTRIBUTE_WRITTEN_ONCE]


def test_2nd_unsetting_wins_over_setting_in_one_element() -> None:
    unset = [{"type": "equals", "attr": "tier", "case_sensitive": True}]

    assert codes(customer({"tier": "gold"}, unset_attributes=unset)) == [Code.ATTRIBUTE_DROPPED]
    assert codes({"type": "customer", "customer_id": "user-1", "unset_attributes": unset}) == []
