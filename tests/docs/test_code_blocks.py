"""Every code block of the README and the pages runs, or a mark says why it does not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import PAGES, PROJECT, Block, all_blocks

MOST_NOT_RUN = 2
"""Blocks that are marked as not run. README and changelog state this number; each needs a reason."""

BLOCKS = all_blocks()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The outcome of each block: all of them run in one process, in the order of their pages."""
    home = tmp_path_factory.mktemp("airflow-of-the-docs")
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "PYTHONPATH": str(PROJECT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.running"],
        env={**os.environ, **settings},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULTS ")]
    assert lines, done.stdout[-5000:] + done.stderr[-5000:]
    yield json.loads(lines[0].removeprefix("RESULTS "))
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_a_block_does_what_the_page_says(block: Block, results: dict[str, Any]) -> None:
    outcome, details = results[block.name]

    if outcome == "not run":
        pytest.skip(f"{block.name}: {details}")
    assert outcome == "run", details


def test_few_blocks_are_not_run() -> None:
    marked = [f"{block.name}: {block.not_run}" for block in BLOCKS if block.not_run]
    by_language = Counter(block.language for block in BLOCKS)

    print(f"{len(BLOCKS)} blocks {dict(by_language)}; not run: {len(marked)}", *marked, sep="\n")
    assert len(marked) <= MOST_NOT_RUN, marked


def test_every_block_names_its_language() -> None:
    known = {"python", "bash", "shell", "console", "text", "json", "ini", "yaml", "sql"}

    assert [block.name for block in BLOCKS if block.language not in known] == []


def test_examples_and_make_targets_that_pages_name_exist() -> None:
    """Example Dags and make targets that a page names outside its blocks."""
    makefile = (PROJECT / "Makefile").read_text()
    for page in PAGES:
        _check_names(page, makefile)


def _check_names(page: Path, makefile: str) -> None:
    import re

    text = page.read_text()
    for example in re.findall(r"`(example_dags/\w+\.py)`", text):
        assert (PROJECT / example).exists(), f"{page.name}: {example}"
    for target in re.findall(r"`make ([\w-]+)", text):
        assert f"\n{target}:" in makefile, f"{page.name}: make {target}"
