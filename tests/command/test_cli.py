"""Arguments, questions and errors of `moengage`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_provider_moengage.command.asking import is_confirmed
from airflow_provider_moengage.command.cli import main
from airflow_provider_moengage.exceptions import MoEngageFileNotFoundError
from tests.command.conftest import Run


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["preview", "dag.py", "task", "--rows", "0"], "expected a whole number from 1 to 10,000"),
        (["preview", "dag.py", "task", "--rows", "many"], "expected a whole number from 1 to 10,000"),
        (["preview", "dag.py", "task", "--since", "yesterday"], "expected a time such as"),
        (["preview", "dag.py", "task", "--since", "0001-01-01T00:00:00+14:00"], "expected a time such as"),
        (["watermark", "show", "dag", "task", "--map-index", "first"], "expected 0 or more"),
        (["watermark", "show", "dag", "task", "--map-index", "-1"], "expected 0 or more"),
        (["watermark", "set", "dag", "task", "later"], "expected a time such as"),
        (["rejects"], "required"),
        ([], "required"),
    ],
)
def test_a_wrong_argument_is_named(argv: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)

    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_the_origin_of_an_error_is_shown_on_request(moengage_command: Run, tmp_path: Path) -> None:
    argv = ["rejects", "summary", str(tmp_path / "none.ndjson")]

    assert moengage_command(*argv).status == 2
    with pytest.raises(MoEngageFileNotFoundError):
        moengage_command(*argv, "--traceback")


def test_an_answer_that_cannot_be_printed_goes_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "elements.ndjson"
    file.write_text('{"type": "customer", "customer_id": "u1"}\n')
    argv = ["rejects", "show", str(file)]

    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", None)
        assert main(argv) == 2
    closed = capsys.readouterr().err
    with Path("/dev/full").open("w", buffering=1) as full, monkeypatch.context() as patched:
        patched.setattr("sys.stdout", full)
        assert main(argv) == 2
        with suppress(OSError):
            full.close()
    no_space = capsys.readouterr().err

    assert "the standard output is closed" in closed
    assert no_space == "moengage: No space left on device\n"
    assert "u1" not in closed + no_space


@pytest.mark.parametrize(("typed", "agrees"), [("y\n", True), ("YES\n", True), ("\n", False), ("no\n", False)])
def test_a_person_at_a_terminal_is_asked(
    typed: str, agrees: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keyboard, terminal = os.openpty()
    with os.fdopen(terminal, "r") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        os.write(keyboard, typed.encode())

        assert is_confirmed("Delete it?", yes=False) is agrees

    os.close(keyboard)
    assert capsys.readouterr().err == "Delete it? [y/N] "
