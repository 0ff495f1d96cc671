"""Pages that name a test for each claim: these tests exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGES = [TESTS.parent / "docs" / name for name in ("guarantees.md", "incremental.md", "many-workers.md")]


def named(page: Path) -> list[tuple[str, str]]:
    """Return file and function of each test that a page names. A bare ``::name`` is in the file named before."""
    found, file = [], ""
    for path, name in re.findall(r"`((?!example_dags)[\w/]+\.py)?(?:::(test_\w+))?`", page.read_text()):
        file = path or file
        if path or name:
            found.append((file, name))
    return found


@pytest.mark.parametrize(("file", "name"), [test for page in PAGES for test in named(page)])
def test_a_test_that_a_page_names_exists(file: str, name: str) -> None:
    assert f"def {name}" in (TESTS / file).read_text()


def test_the_pages_name_their_tests() -> None:
    assert all(len(named(page)) >= least for page, least in zip(PAGES, (30, 25, 5), strict=True))
