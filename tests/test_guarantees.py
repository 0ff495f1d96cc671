"""The page of guarantees claims nothing without a test: those that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "guarantees.md"


def named() -> list[tuple[str, str]]:
    """The tests that the page names: file and function. A bare ``::name`` is in the file named before it."""
    found, file = [], ""
    for path, name in re.findall(r"`([\w/]+\.py)?(?:::(test_\w+))?`", PAGE.read_text()):
        file = path or file
        if path or name:
            found.append((file, name))
    return found


@pytest.mark.parametrize(("file", "name"), named())
def test_a_test_that_the_page_names_is_there(file: str, name: str) -> None:
    assert f"def {name}" in (TESTS / file).read_text()


def test_the_page_names_its_tests() -> None:
    assert len(named()) > 25
