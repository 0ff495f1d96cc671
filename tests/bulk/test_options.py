from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_moengage.bulk.options import OPTION_NAMES, DeliveryOptions, check_parsed_options


class ResultOfATask:
    def iter_references(self) -> list[Any]:
        return []


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("concurrency", None, None),
        ("concurrency", "None", None),
        ("concurrency", 1, 1),
        ("concurrency", 64, 64),
        ("concurrency", 8.0, 8),
        ("concurrency", "8", 8),
        ("delivery", "at_least_once", "at_least_once"),
        *(("validation", value, value) for value in ("strict", "warn", "off")),
        ("max_rejects", 0, 0),
        ("max_rejects", 5, 5),
        ("max_rejects", "5", 5),
        ("max_rejects", 0.05, 0.05),
        ("max_rejects", "0.05", 0.05),
        ("max_rejects", 1.0, 1),
        ("rejects_path", None, None),
        ("rejects_path", "s3://bucket/rejects", "s3://bucket/rejects"),
        ("dry_run", True, True),
        ("dry_run", "True", True),
        ("dry_run", " false ", False),
    ],
)
def test_an_option_may_be_a_value_or_rendered_text(name: str, given: Any, taken: Any) -> None:
    value = getattr(DeliveryOptions(**{name: given}), name)

    assert (value, type(value)) == (taken, type(taken))


BAD: list[tuple[str, Any]] = [
    *(("concurrency", bad) for bad in (0, -1, 65, 1.5, "four", "", True, float("nan"), [4], 10**400)),
    *(("delivery", bad) for bad in ("at_least", "AT_LEAST_ONCE", "", None, 1, ["at_least_once"])),
    *(("validation", bad) for bad in ("Strict", "on", "", None, True, ["warn"])),
    *(("max_rejects", bad) for bad in (-1, -0.1, 1.5, "many", "", None, True, "nan", float("inf"), 10**400, [1])),
    *(("rejects_path", bad) for bad in ("", "  ")),
    *(("dry_run", bad) for bad in ("yes", "", 1, 0, None, "{{")),
]


@pytest.mark.parametrize(("name", "bad"), BAD, ids=lambda value: repr(value)[:20])
def test_a_bad_value_names_its_option(name: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} .*: expected"):
        DeliveryOptions(**{name: bad})


@pytest.mark.parametrize(("name", "bad"), [("concurrency", 0), ("max_rejects", -1), ("dry_run", "yes")])
def test_a_bad_value_is_found_when_the_dag_is_parsed(name: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} "):
        check_parsed_options({name: bad})


@pytest.mark.parametrize("later", ["{{ params.x }}", "a{% if x %}b{% endif %}", ResultOfATask()])
@pytest.mark.parametrize("name", OPTION_NAMES)
def test_an_unresolved_value_is_not_checked_when_the_dag_is_parsed(name: str, later: Any) -> None:
    check_parsed_options({name: later})


@pytest.mark.parametrize(
    ("max_rejects", "rejected", "elements", "allowed"),
    [
        (0, 0, 0, True),
        (0, 0, 100, True),
        (0, 1, 100, False),
        (3, 3, 3, True),
        (3, 4, 1_000_000, False),
        (1, 1, 10, True),
        (1, 2, 10, False),
        (0.1, 0, 0, True),
        (0.1, 10, 100, True),
        (0.1, 11, 100, False),
        (0.1, 1, 9, False),
        (0.29, 29, 100, True),
        (0.57, 57, 100, True),
        (0.001, 1, 1_000, True),
        (0.001, 1, 999, False),
    ],
)
def test_rejects_are_allowed_up_to_a_count_or_a_fraction(
    max_rejects: float, rejected: int, elements: int, allowed: bool
) -> None:
    assert DeliveryOptions(max_rejects=max_rejects).allows(rejected, elements) is allowed
