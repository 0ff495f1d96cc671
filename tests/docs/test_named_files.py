"""The files that the pages for contributors name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import PROJECT

PACKAGE = PROJECT / "airflow_provider_moengage"
ARCHITECTURE = [PROJECT / "docs" / "architecture.md", *sorted((PROJECT / "docs" / "architecture").glob("*.md"))]
PAGES = [
    PROJECT / "AGENTS.md",
    PROJECT / "CONTRIBUTING.md",
    *ARCHITECTURE,
    *sorted((PROJECT / "docs" / "decisions").glob("*.md")),
]


def named(page: Path) -> list[str]:
    """Return the paths in backticks. A name without its folder is fine if the page has the whole path, too."""
    quoted = re.findall(r"`([\w./-]+)`", page.read_text())
    paths = {path for path in quoted if re.search(r"\w\.(py|md|rst|js|html|toml|yaml|svg)$|\w/$", path)}
    return sorted(path for path in paths if not any(other.endswith(f"/{path}") for other in paths))


@pytest.mark.parametrize(
    ("page", "path"),
    [pytest.param(page, path, id=f"{page.stem}-{path}") for page in PAGES for path in named(page)],
)
def test_a_named_file_exists(page: Path, path: str) -> None:
    assert (PROJECT / path).exists() or (PACKAGE / path).exists(), f"{page.name}: {path}"


def test_the_architecture_pages_name_files() -> None:
    assert sum(len(named(page)) for page in ARCHITECTURE) > 60
