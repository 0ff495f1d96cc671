"""Values that cannot be compared, and names of a subclass of str, are rejected at worst and never crash a run."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from airflow_provider_moengage.bulk.elements.checks import prepare
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from tests.delivering import MoEngage, customer, event

pandas = pytest.importorskip("pandas")
numpy = pytest.importorskip("numpy")

NA = pandas.NA
DEVICE = {
    "type": "device",
    "customer_id": "u",
    "device_id": "d",
    "attributes": {"platform": "iOS", "push_id": "p"},
}


def with_action(**fields: Any) -> dict[str, Any]:
    element = event("u")
    element["actions"][0].update(fields)
    return element


ODD: dict[str, Any] = {
    "customer id": customer(NA),
    "identifier": {"type": "customer", "attributes": {"u_em": NA}},
    "user_identifiers": {**event("u"), "customer_id": None, "user_identifiers": {"u_em": NA}},
    "device id": {**DEVICE, "device_id": NA},
    "push id": {**DEVICE, "attributes": {"platform": "iOS", "push_id": NA}},
    "platform": with_action(platform=NA),
    "offset": with_action(user_timezone_offset=NA),
    "time": with_action(current_time=NA),
    "attribute": customer("u", score=NA),
}


@pytest.mark.parametrize("element", ODD.values(), ids=ODD)
def test_a_missing_value_of_pandas_is_rejected(element: Any) -> None:
    findings = prepare(element).findings

    assert any(not finding.is_warning for finding in findings)


class Name(StrEnum):
    TIER = "tier"


NAMES = {"StrEnum": Name.TIER, "numpy": numpy.str_("tier")}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_of_a_subclass_of_str_is_sent_as_text(moengage: MoEngage, name: Any) -> None:
    mapped = CustomerMapping(customer_id="id", attributes={name: "v"}).compile(["id", "v"])(["u-2", "gold"])

    moengage.deliver(
        [{"type": "customer", "customer_id": "u-1", "attributes": {name: "gold", "n": {name: 1}}}, mapped]
    )

    assert [element["attributes"] for element in moengage.arrived] == [
        {"tier": "gold", "n": {"tier": 1}},
        {"tier": "gold"},
    ]
