"""What the public MoEngage destinations of RudderStack and Segment make of the calls identify, track and alias.

The data is our own; its shapes are theirs. RudderStack flattens traits and properties (``address.city``,
``products[0].sku``), or keeps them nested, and passes on the platform that the device's library reports. Segment
passes on traits and properties as they are. An alias is a request of its own, which merges two users; here it is
the attribute that a bulk import can set on the user that is kept.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_moengage.api.responses import Outcome
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from tests.delivering import MoEngage
from tests.samples.samples import cases, load

SAMPLES = cases(load("customer_data_platforms")["requests"])


@pytest.mark.parametrize("validation", ["off", "warn"])
@pytest.mark.parametrize("sample", SAMPLES)
def test_no_element_is_rejected(connected: MoEngage, sample: dict[str, Any], validation: str) -> None:
    elements = sample["body"]["elements"]

    report = MoEngageHook().bulk_import(elements, validation=validation)

    assert (report.accepted, report.rejected) == (len(elements), 0)
    assert len(connected.arrived) == len(elements)


@pytest.mark.parametrize("sample", SAMPLES)
def test_nothing_of_an_element_is_lost_on_the_way(connected: MoEngage, sample: dict[str, Any]) -> None:
    MoEngageHook().bulk_import(sample["body"]["elements"])

    sent = {json.dumps(names_of(element)) for element in sample["body"]["elements"]}
    assert {json.dumps(names_of(element)) for element in connected.arrived} == sent


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_emulator_accepts_it_as_it_is(connected: MoEngage, sample: dict[str, Any]) -> None:
    with closing(MoEngageHook().get_conn()) as client:
        reply = client.bulk_import(json.dumps(sample["body"]).encode())

    assert reply.outcome is Outcome.ACCEPTED


def names_of(element: dict[str, Any]) -> list[str]:
    """Return the type and the names of all attributes that have a value."""
    parts = [element.get("attributes", {}), *(it.get("attributes", {}) for it in element.get("actions", []))]
    return [element["type"], *sorted(name for part in parts for name, value in part.items() if value is not None)]
