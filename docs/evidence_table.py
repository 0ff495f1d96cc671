"""A directive that lists what the documentation promises, and the tests that show it, from tests/evidence.toml."""

from __future__ import annotations

import tomllib
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from docutils.nodes import Node

CLAIMS = Path(__file__).parent.parent / "tests" / "evidence.toml"


def claims(file: Path = CLAIMS) -> list[dict[str, Any]]:
    """Return the claims in the order of the file: ``page``, ``section``, ``claim`` and ``tests``."""
    found: list[dict[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8"))["claims"]
    return found


def markdown(listed: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a heading for each page, and a table for each of its sections."""
    lines = []
    for page, of_page in groupby(listed, key=lambda claim: claim["page"]):
        lines += [f"## Claims of [{page}]({page}.md)", ""]
        for section, of_section in groupby(of_page, key=lambda claim: claim["section"]):
            lines += [f"**{section}**", "", "| claim | tests |", "|---|---|"]
            lines += [f"| {claim['claim']} | {_names(claim['tests'])} |" for claim in of_section]
            lines += [""]
    return lines


def _names(tests: list[str]) -> str:
    """Return the tests, each on a line of its own. A file is named once, before the first of its tests."""
    named, last = [], None
    for test in tests:
        file, _, function = test.partition("::")
        named.append(f"`::{function}`" if function and file == last else f"`{test}`")
        last = file
    return "<br>".join(named)


class EvidenceTable(SphinxDirective):
    """``{evidence}``: the tables."""

    def run(self) -> list[Node]:
        """Parse the tables as a part of the page."""
        self.env.note_dependency(str(CLAIMS))
        return self.parse_text_to_nodes(
            StringList(markdown(claims()), source=str(CLAIMS)), allow_section_headings=True
        )


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("evidence", EvidenceTable)
    return {"parallel_read_safe": True}
