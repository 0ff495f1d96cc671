"""The messages that the troubleshooting page quotes are literally in the package."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import PROJECT
from tests.docs.messages import unsaid, warnings_and_errors

PAGE = PROJECT / "docs" / "troubleshooting.md"
QUOTES_PER_ROW = re.compile(r"`((?:[^`])+)`")


def quoted() -> list[str]:
    """Return the messages in the first column of the page's tables."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    cells = [re.split(r"(?<!\\)\|", row)[1].replace("\\|", "|") for row in rows]
    return [message for cell in cells for message in QUOTES_PER_ROW.findall(cell)]


@pytest.mark.parametrize("message", quoted())
def test_the_package_has_this_message(message: str) -> None:
    assert unsaid(message) == []


def test_the_page_has_its_tables() -> None:
    assert len(quoted()) > 100
    assert unsaid("MoEngage was not told: the moon is down") != []


def own_words(message: str) -> list[str]:
    """Return the first three words of each constant part of a message."""
    pieces = [piece.strip(" .,:;()").split()[:3] for piece in message.split("...")]
    return [" ".join(words) for words in pieces if len(words) == 3]


@pytest.mark.parametrize("message", [message for message in warnings_and_errors() if own_words(message)])
def test_the_page_has_each_error_and_warning(message: str) -> None:
    page = re.sub(r"\s+", " ", PAGE.read_text())

    assert any(words in page for words in own_words(message))
