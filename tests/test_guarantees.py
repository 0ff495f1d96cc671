"""What the documentation promises is shown by tests that exist, and only the page that lists them names tests."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PROJECT = TESTS.parent
DOCS = PROJECT / "docs"
CLAIMS = tomllib.loads((TESTS / "evidence.toml").read_text())["claims"]
FOR_CONTRIBUTORS = {"architecture", "contributing", "evidence"}


@pytest.mark.parametrize("test", sorted({test for claim in CLAIMS for test in claim["tests"]}))
def test_what_shows_a_claim_exists(test: str) -> None:
    if test.startswith("make "):
        assert f"\n{test.removeprefix('make ')}:" in (PROJECT / "Makefile").read_text()
        return
    path, _, name = test.partition("::")
    assert (TESTS / path).exists()
    assert not name or f"def {name}(" in (TESTS / path).read_text()


def test_claims_are_of_pages_that_exist_and_each_page_has_its_claims_together() -> None:
    pages = [claim["page"] for claim in CLAIMS]

    assert {page for page in pages if not (DOCS / f"{page}.md").exists()} == set()
    assert sum(page != before for page, before in zip(pages, [None, *pages], strict=False)) == len(set(pages))
    assert len(CLAIMS) > 70


@pytest.mark.parametrize("page", sorted({*DOCS.glob("*.md"), PROJECT / "README.md"}), ids=lambda page: page.stem)
def test_pages_for_users_name_no_tests(page: Path) -> None:
    if page.stem not in FOR_CONTRIBUTORS:
        assert re.findall(r"`?(?:[\w/]*::test_\w+|[\w/]*/test_\w+\.py)", page.read_text()) == []
