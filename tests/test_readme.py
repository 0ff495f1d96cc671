"""The README's Dag can be parsed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_readmes_dag_parses() -> None:
    pytest.importorskip("airflow.sdk", reason="the README is written for Airflow 3")
    [block] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)

    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
