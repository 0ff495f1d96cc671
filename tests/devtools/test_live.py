"""``make live``, against the emulator in place of a real workspace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_moengage.emulator import BusinessEvent, Fault, FileImport, ImportFile
from devtools.live import STEPS, TEST_USER, main
from tests.delivering import MoEngage

KEYS = ("emulator-data-key", "emulator-campaign-key")
DONE = ImportFile("users_{run}.csv", steps=((0, "SUCCESSFUL"),))


@pytest.fixture
def workspace(moengage: MoEngage) -> MoEngage:
    workspace = moengage.emulator.workspace
    workspace.clear_business_events()
    workspace.clear_file_imports()
    workspace.add_business_event(BusinessEvent("Sale", {"city": "string"}, ("c1",)))
    workspace.add_file_import(FileImport("i1", "Users", files=(DONE, DONE)))
    workspace.run_file_import("i1")
    return moengage


def variables(workspace: MoEngage, **more: str) -> dict[str, str]:
    return {
        "MOENGAGE_WORKSPACE_ID": "EMULATOR",
        "MOENGAGE_DATA_API_KEY": KEYS[0],
        "MOENGAGE_CAMPAIGN_API_KEY": KEYS[1],
        "MOENGAGE_HOST": workspace.emulator.url,
        **more,
    }


def table(text: str) -> dict[str, list[str]]:
    """Return the words of each line, by its step, without log lines."""
    lines = {line[:16].strip(): line[17:].split() for line in text.splitlines()}
    return {step: words for step, words in lines.items() if step in STEPS}


def test_all_steps_pass_and_nothing_is_triggered(workspace: MoEngage, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(variables(workspace))

    shown = capsys.readouterr().out
    assert status == 0
    assert [(step, words[0]) for step, words in table(shown).items()] == [
        (step, "passed") for step in ("connection test", "bulk import", "run history", "business event")
    ]
    assert not any(key in shown for key in KEYS)
    assert [element["customer_id"] for element in workspace.arrived] == [TEST_USER]
    assert (workspace.emulator.workspace.firings, workspace.emulator.workspace.file_triggers) == ([], [])


def test_user_import_and_event_can_be_named(workspace: MoEngage, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"MOENGAGE_TEST_USER": "me", "MOENGAGE_IMPORT_ID": "i1", "MOENGAGE_BUSINESS_EVENT": "Sale"}

    status = main(variables(workspace, **more))

    shown = capsys.readouterr().out
    assert status == 0
    assert [element["customer_id"] for element in workspace.arrived] == ["me"]
    assert "2 files of one import (SUCCESSFUL)" in shown
    assert "city (string); it was not triggered" in shown


def test_a_workspace_without_imports_passes(workspace: MoEngage, capsys: pytest.CaptureFixture[str]) -> None:
    workspace.emulator.workspace.clear_file_imports()

    assert main(variables(workspace)) == 0
    assert "the workspace has no file imports" in capsys.readouterr().out


def test_each_step_fails_on_its_own_and_shows_no_key(
    workspace: MoEngage, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.emulator.workspace.add_fault(Fault("status", status=401, times=None, path="/v1/transition"))

    status = main(variables(workspace, MOENGAGE_BUSINESS_EVENT="Nothing", MOENGAGE_IMPORT_ID="i9"))

    shown = capsys.readouterr().out
    assert status == 1
    assert [words[0] for words in table(shown).values()] == ["passed", "FAILED", "FAILED", "FAILED"]
    assert not any(key in shown for key in KEYS)


def test_without_variables_it_is_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main({"HOME": "/root"}) == 0
    assert capsys.readouterr().out.startswith("Skipped: no workspace is given.")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"MOENGAGE_WORKSPACE_ID": "WS"}, "MOENGAGE_DATA_API_KEY, MOENGAGE_DATA_CENTER"),
        ({"MOENGAGE_WORKSPACE_ID": "WS", "MOENGAGE_HOST": "http://127.0.0.1:1"}, "MOENGAGE_DATA_API_KEY"),
        ({"MOENGAGE_DATA_CENTER": "01", "MOENGAGE_DATA_API_KEY": "key"}, "MOENGAGE_WORKSPACE_ID"),
    ],
)
def test_a_missing_variable_is_named(
    given: dict[str, str], missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given) == 2
    assert capsys.readouterr().err == f"Not set: {missing}\n"


def test_the_command_of_the_makefile_runs_it(workspace: MoEngage) -> None:
    root = Path(__file__).parents[2]
    environ = {**os.environ, **variables(workspace)}

    ran = subprocess.run(
        [sys.executable, "-m", "devtools.live"], cwd=root, env=environ, capture_output=True, text=True, timeout=120
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("passed") == 4
    assert "-m devtools.live" in (root / "Makefile").read_text()
