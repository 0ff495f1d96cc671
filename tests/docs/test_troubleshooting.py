"""The messages that the pages quote are those of the package, as they stand."""

from __future__ import annotations

import re

import pytest

from tests.docs.blocks import PROJECT
from tests.docs.messages import unsaid

PAGE = PROJECT / "docs" / "troubleshooting.md"
QUOTES_PER_ROW = re.compile(r"`((?:[^`])+)`")


def quoted() -> list[str]:
    """The messages in the first column of the page's tables."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    cells = [re.split(r"(?<!\\)\|", row)[1].replace("\\|", "|") for row in rows]
    return [message for cell in cells for message in QUOTES_PER_ROW.findall(cell)]


@pytest.mark.parametrize("message", quoted())
def test_the_package_still_says_it(message: str) -> None:
    assert unsaid(message) == []


def test_the_page_has_its_tables() -> None:
    assert len(quoted()) > 100
    assert unsaid("MoEngage was not told: the moon is down") != []
