"""What a generator has yielded is what is sent, whatever it does with its objects afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.emulator import Fault
from tests.delivering import MoEngage, customer, event

NUMBER = 2_500


def whole() -> Iterator[dict[str, Any]]:
    element: dict[str, Any] = {"type": "customer", "attributes": {"tier": "gold"}}
    for number in range(NUMBER):
        element["customer_id"] = f"u-{number}"
        yield element


def attributes() -> Iterator[dict[str, Any]]:
    shared: dict[str, Any] = {}
    for number in range(NUMBER):
        shared["number"] = number
        yield {"type": "customer", "customer_id": f"u-{number}", "attributes": shared}


def lists_and_objects() -> Iterator[dict[str, Any]]:
    items: list[int] = []
    address: dict[str, Any] = {"lines": []}
    for number in range(NUMBER):
        items[:] = [number]
        address["lines"][:] = [str(number)]
        yield customer(f"u-{number}", items=items, address=address)


def actions() -> Iterator[dict[str, Any]]:
    element = event("u-0")
    for number in range(NUMBER):
        element["customer_id"] = f"u-{number}"
        element["actions"][0]["attributes"]["number"] = number
        yield element
        element["actions"][0]["attributes"].clear()


def emptied() -> Iterator[dict[str, Any]]:
    for number in range(NUMBER):
        element = customer(f"u-{number}", tier="gold")
        yield element
        element["attributes"]["tier"] = "changed"
        element.clear()


def as_text(element: Any) -> str:
    return json.dumps(element, sort_keys=True)


@pytest.mark.parametrize("make", [whole, attributes, lists_and_objects, actions, emptied])
@pytest.mark.parametrize("lanes", [1, 4])
def test_what_was_yielded_is_what_is_sent(
    moengage: MoEngage, make: Callable[[], Iterator[dict[str, Any]]], lanes: int
) -> None:
    yielded = []

    def remembered() -> Iterator[dict[str, Any]]:
        for element in make():
            yielded.append(as_text(element))
            yield element

    report = moengage.deliver(remembered(), concurrency=lanes)

    assert report.accepted == NUMBER
    assert sorted(map(as_text, moengage.arrived)) == sorted(yielded)


def test_one_object_yielded_again_is_sent_again(moengage: MoEngage) -> None:
    element = customer("u-1", tier="gold")

    report = moengage.deliver(element for _ in range(3))

    assert (report.accepted, moengage.arrived) == (3, [element] * 3)


def test_rejects_hold_what_was_yielded(moengage: MoEngage, tmp_path: Path) -> None:
    def bad() -> Iterator[dict[str, Any]]:
        element = customer("u-0")
        for number in range(NUMBER):
            element["customer_id"] = None if number % 2 else f"u-{number}"
            element["attributes"]["number"] = number
            yield element
        element.clear()

    path = tmp_path / "rejects.ndjson"

    report = moengage.deliver(bad(), rejects=path)

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert (report.accepted, report.rejected) == (NUMBER / 2, NUMBER / 2)
    assert [line["position"] for line in lines] == list(range(1, NUMBER, 2))
    assert [line["element"]["attributes"]["number"] for line in lines] == list(range(1, NUMBER, 2))


def test_what_is_too_large_is_kept_as_it_was_yielded(moengage: MoEngage, tmp_path: Path) -> None:
    def large() -> Iterator[dict[str, Any]]:
        element = customer("u-0")
        for number in range(10):
            element["customer_id"] = f"u-{number}"
            element["attributes"]["notes"] = ["x" * 500] * (300 if number == 5 else 1)
            yield element

    path = tmp_path / "rejects.ndjson"

    report = moengage.deliver(large(), rejects=path)

    [line] = [json.loads(line) for line in path.read_text().splitlines()]
    assert (report.rejected, line["position"], line["codes"]) == (1, 5, ["element_too_large"])
    assert (line["element"]["customer_id"], len(line["element"]["attributes"]["notes"])) == ("u-5", 300)


def test_what_is_split_after_a_refusal_is_what_was_yielded(moengage: MoEngage, tmp_path: Path) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="refuse", customer_id="u-777", times=None))
    path = tmp_path / "rejects.ndjson"

    report = moengage.deliver(whole(), rejects=path)

    [line] = [json.loads(line) for line in path.read_text().splitlines()]
    assert (report.accepted, line["position"], line["codes"]) == (NUMBER - 1, 777, ["refused_by_server"])
    assert line["element"] == {"type": "customer", "customer_id": "u-777", "attributes": {"tier": "gold"}}
    assert {element["customer_id"] for element in moengage.arrived} == {
        f"u-{number}" for number in range(NUMBER) if number != 777
    }


def test_a_dry_run_predicts_the_run(moengage: MoEngage) -> None:
    def some() -> Iterator[dict[str, Any]]:
        for number, element in enumerate(whole()):
            yield element if number % 10 else {**element, "customer_id": None}

    dry = moengage.deliver(some(), dry_run=True)
    report = moengage.deliver(some())

    assert (dry.accepted, dry.rejects) == (report.accepted, report.rejects)
