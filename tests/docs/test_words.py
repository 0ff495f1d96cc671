"""No page of the documentation is too long to read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import PROJECT

DOCS = PROJECT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts and page.name != "changelog.md")
MOST_WORDS = 1500
_UNSEEN = re.compile(r"<!--.*?-->|^```\{toctree\}.*?^```|<[^<>\n]+>|^\([\w-]+\)=$", re.DOTALL | re.MULTILINE)
_TARGET = re.compile(r"\]\([^)\s]*\)")


def words(text: str) -> int:
    """Count the words that a reader sees, also those in tables and code.

    Left out are comments, tables of contents, HTML tags, the targets of links, and what has no letter and no
    digit, such as the lines of a table.
    """
    seen = _TARGET.sub("]", _UNSEEN.sub("", text))
    return sum(any(sign.isalnum() for sign in word) for word in seen.split())


def test_words_are_what_a_reader_sees() -> None:
    assert words("(here)=\n# A title\n\n<!-- not run: x -->\n| [two words](page.md#there) | 3 |\n|---|---|\n") == 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_is_short(page: Path) -> None:
    assert words(page.read_text()) <= MOST_WORDS
