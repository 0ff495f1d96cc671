from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.arguments import (
    boolean,
    flag,
    is_task_output,
    is_unresolved,
    non_empty,
    number,
    one_of,
    path_text,
    seconds,
    whole,
)


class TaskOutput:
    def iter_references(self) -> list[Any]:
        return []


@pytest.mark.parametrize("value", ["{{ params.x }}", "a{% if x %}b{% endif %}", TaskOutput()])
def test_a_template_and_a_tasks_output_are_unresolved(value: object) -> None:
    assert is_unresolved(value)


@pytest.mark.parametrize("value", ["text", "{ }", 5, None, ["{{ x }}"]])
def test_a_plain_value_is_resolved(value: object) -> None:
    assert not is_unresolved(value)
    assert not is_task_output(value)


def test_a_path_object_becomes_text_and_anything_else_stays() -> None:
    output = TaskOutput()

    assert path_text(Path("/data/rows")) == "/data/rows"
    assert path_text("s3://bucket/{{ ds }}") == "s3://bucket/{{ ds }}"
    assert path_text(output) is output
    assert path_text(None) is None


@pytest.mark.parametrize(("given", "expected"), [(True, True), ("True", True), (" false ", False)])
def test_a_flag_may_be_a_rendered_template(given: object, expected: bool) -> None:
    assert flag("dry_run", given) is expected


@pytest.mark.parametrize(("given", "expected"), [(7, 7), (7.0, 7), ("7", 7)])
def test_a_whole_number_may_be_a_rendered_template(given: object, expected: int) -> None:
    assert whole("shards", given, 1, 10) == expected


@pytest.mark.parametrize(("given", "expected"), [(0, 0.0), (1.5, 1.5), (timedelta(minutes=1), 60.0)])
def test_seconds_may_be_a_timedelta(given: object, expected: float) -> None:
    assert seconds("timeout", given) == expected


WRONG: list[tuple[Callable[[str, Any], object], Any, str]] = [
    *((non_empty, bad, "a non-empty string") for bad in ("", " ", None, 1, ["a"])),
    *((boolean, bad, "True or False") for bad in ("True", 1, None)),
    *((flag, bad, "True or False") for bad in ("yes", "", 1, None, "{{")),
    *((lambda name, value: one_of(name, value, ("a", "b")), bad, "'a' or 'b'") for bad in ("c", None, ["a"])),
    *((lambda name, value: number(name, value, "a number"), bad, "a number") for bad in ("x", "inf", True, [1])),
    *(
        (lambda name, value: whole(name, value, 1, 9), bad, "a whole number from 1 to 9")
        for bad in (0, 10, 1.5, "many", "nan", True, None, 10**400)
    ),
    *((seconds, bad, "seconds, or a timedelta, of 0 or more") for bad in (-1, float("inf"), "5", True, None)),
]


@pytest.mark.parametrize(("check", "bad", "expected"), WRONG)
def test_a_wrong_value_is_named_with_what_is_expected(
    check: Callable[[str, Any], object], bad: Any, expected: str
) -> None:
    with pytest.raises(ValueError, match=rf"^argument .*: expected {expected}$"):
        check("argument", bad)
