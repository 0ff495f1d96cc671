"""The fenced blocks of the pages, and the paragraph before each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

PROJECT = Path(__file__).parent.parent.parent
PAGES = [
    PROJECT / "README.md",
    *sorted((PROJECT / "docs").glob("*.md")),
    *sorted((PROJECT / "docs" / "reference").glob("*.md")),
]

MARKUP = {"mermaid", "{toctree}", "{raw}", "{include}", "{evidence}"}
"""What Sphinx or GitHub renders: not code."""

_FENCE = re.compile(r"```(\S*)[^`]*")
_MARK = re.compile(r"<!-- (not run|fails): (.+?) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    :param line: line number of its fence, from 1.
    :param before: the paragraph before it, including marks.
    """

    page: str
    line: int
    language: str
    text: str
    before: str

    @property
    def name(self) -> str:
        """Page and line."""
        return f"{self.page}.md:{self.line}"

    @property
    def not_run(self) -> str | None:
        """Why it is not run, if a mark says so."""
        return self._marked("not run")

    @property
    def fails(self) -> bool:
        """Whether a mark says that it must fail."""
        return self._marked("fails") is not None

    @property
    def saved_as(self) -> str | None:
        """The file that the page says to save it as, unless that is in the Dag folder."""
        found = re.search(r"[Ss]aved? (?:this |it )?as\s+`([\w./]+\.py)`", self.before)
        return found[1] if found and "dags/" not in found[1] else None

    @property
    def is_test(self) -> bool:
        """Whether pytest runs it."""
        return "def test_" in self.text

    @property
    def is_dag_code(self) -> bool:
        """Whether it belongs in a Dag file."""
        return self.language == "python" and not self.saved_as and not self.is_test

    @property
    def needs_airflow(self) -> tuple[int, int]:
        """The lowest Airflow version, from the paragraph before it: "On Airflow 3.3 ...". 2.0 if it names none."""
        found = re.search(r"\bon\s+Airflow\s+(\d)(?:\.(\d+))?", self.before, re.IGNORECASE)
        return (int(found[1]), int(found[2] or 0)) if found else (2, 0)

    @property
    def dag_ids(self) -> list[str]:
        """The Dags that it defines; a generated name if it has tasks only."""
        named = re.findall(r"\bDAG\(\s*\"(\w+)\"", self.text)
        return named or [f"{self.page.replace('-', '_')}_{self.line}"]

    @property
    def makes_its_dags(self) -> bool:
        """Whether it defines its own Dags."""
        return bool(re.search(r"\bDAG\(", self.text))

    def _marked(self, mark: str) -> str | None:
        return next((found[2] for found in _MARK.finditer(self.before) if found[1] == mark), None)


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in order, without markup."""
    opened: tuple[int, str, str] | None = None
    lines: list[str] = []
    before: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if opened is None and (fence := _FENCE.fullmatch(line.strip())):
            opened, lines = (number, fence[1], _last_paragraph(before)), []
        elif opened is not None and line.strip() == "```":
            if opened[1] not in MARKUP:
                yield Block(page.stem, opened[0], opened[1], dedent("\n".join(lines) + "\n"), opened[2])
            opened, before = None, []
        elif opened is not None:
            lines.append(line)
        else:
            before.append(line)


def all_blocks() -> list[Block]:
    """Return the blocks of all pages."""
    return [block for page in PAGES for block in blocks_of(page)]


def _last_paragraph(lines: list[str]) -> str:
    """Return the last paragraph and the marks after it."""
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip())
    last = paragraphs.pop()
    while paragraphs and last.startswith("<!--") and last.count("\n\n") < 2:
        last = f"{paragraphs.pop()}\n\n{last}"
        if not last.startswith("<!--"):
            break
    return last
