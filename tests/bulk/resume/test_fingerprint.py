"""Fingerprints are equal for equal inputs in any process, and differ for others."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest

from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.bulk.resume.fingerprint import fingerprint, fingerprint_of_elements

_SCRIPT = """
from airflow_provider_moengage.bulk.resume.fingerprint import fingerprint, fingerprint_of_elements
from airflow_provider_moengage.bulk.mapping import CustomerMapping
tags = {"a", "b", "c", "d", "e"}
print(fingerprint("sql", {"p": tags}, CustomerMapping(attributes=frozenset(tags))))
print(fingerprint_of_elements([{"tags": tags}]))
print(fingerprint_of_elements([{"tags": tags, "odd": object}]))
"""


def test_a_set_has_the_same_fingerprint_in_all_processes() -> None:
    fingerprints = {
        subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(fingerprints) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "b"),
        (["a", "b"], ["ab"]),
        ({"p": 1}, {"p": 2}),
        (CustomerMapping(attributes=["a"]), CustomerMapping(attributes=["b"])),
        (CustomerMapping(), EventMapping(action="Purchase", time="at")),
        (Decimal("1.0"), Decimal("1.5")),
    ],
)
def test_other_inputs_have_other_fingerprints(one: object, other: object) -> None:
    assert fingerprint(one) == fingerprint(one)
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize("last", [{"a": 2}, {"b": 1}, {"a": float("nan")}, {"a": object()}, "a", None])
def test_the_fingerprint_of_a_list_covers_all_of_it(last: object) -> None:
    elements = [{"a": 1}] * 2_500

    assert fingerprint_of_elements(elements) != fingerprint_of_elements([*elements[:-1], last])
    assert fingerprint_of_elements(elements) != fingerprint_of_elements(elements[:-1])
