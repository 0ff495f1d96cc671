from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_moengage.command.cli import main


@dataclass(frozen=True)
class Answer:
    """What a command printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def moengage_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Return a function that runs the command in this process."""
    before = dict(os.environ)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*argv: str) -> Answer:
        capsys.readouterr()
        status = main(argv)
        printed = capsys.readouterr()
        return Answer(status, printed.out, printed.err)

    yield run
    for name in set(os.environ) - set(before):
        del os.environ[name]
