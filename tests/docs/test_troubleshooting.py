"""The messages that the troubleshooting pages quote are literally in the package, and the other way round."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import PROJECT
from tests.docs.messages import unsaid, warnings_and_errors

PAGES = sorted((PROJECT / "docs" / "troubleshooting").glob("*.md"))
QUOTES_PER_ROW = re.compile(r"`((?:[^`])+)`")


def text() -> str:
    """Return the text of all pages."""
    return "\n".join(page.read_text() for page in PAGES)


def quoted() -> list[str]:
    """Return the messages in the first column of the pages' tables."""
    rows = [line for line in text().splitlines() if line.startswith("| `")]
    cells = [re.split(r"(?<!\\)\|", row)[1].replace("\\|", "|") for row in rows]
    return [message for cell in cells for message in QUOTES_PER_ROW.findall(cell)]


@pytest.mark.parametrize("message", quoted())
def test_the_package_has_this_message(message: str) -> None:
    assert unsaid(message) == []


def test_the_pages_have_their_tables() -> None:
    assert len(quoted()) > 100
    assert unsaid("MoEngage was not told: the moon is down") != []


def own_words(message: str) -> list[str]:
    """Return the first three words of each constant part of a message."""
    pieces = [piece.strip(" .,:;()").split()[:3] for piece in message.split("...")]
    return [" ".join(words) for words in pieces if len(words) == 3]


@pytest.mark.parametrize("message", [message for message in warnings_and_errors() if own_words(message)])
def test_the_pages_have_each_error_and_warning(message: str) -> None:
    pages = re.sub(r"\s+", " ", text())

    assert any(words in pages for words in own_words(message))


def test_the_guide_leads_to_each_page() -> None:
    guide = (PROJECT / "docs" / "troubleshooting.md").read_text()

    assert [page.name for page in PAGES if f"(troubleshooting/{page.name})" not in guide] == []
