"""`moengage rejects`: a rejects file of a real run, against the emulator."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import MoEngageRejectsError
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from tests.command.conftest import Run
from tests.delivering import MoEngage, connection_to, customer, event

BAD = [{"type": "customer", "attributes": {"plan": "VIP"}}, customer("", plan="secret plan")]


@pytest.fixture
def rejects(moengage: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(moengage))
    file = tmp_path / "rejects.ndjson"
    moengage.deliver([customer("u1"), *BAD, *BAD[:1]], rejects=file, max_rejects=9)
    moengage.reset()
    return file


def test_a_summary_counts_codes_and_shows_no_personal_data(rejects: Path, moengage_command: Run) -> None:
    shown = moengage_command("rejects", "summary", str(rejects))
    counted = moengage_command("rejects", "summary", str(rejects), "--json").json

    assert shown.status == 0
    assert "3 rejects" in shown.out
    assert "secret plan" not in shown.out
    assert counted["codes"] == {"customer_id_missing": 2, "customer_id_refused": 1}
    assert [(one["count"], one["code"]) for one in counted["messages"]] == [
        (2, "customer_id_missing"),
        (1, "customer_id_refused"),
    ]


def test_rejects_are_shown_with_their_elements_by_code(rejects: Path, moengage_command: Run) -> None:
    shown = moengage_command("rejects", "show", str(rejects), "--code", "customer_id_refused")
    some = moengage_command("rejects", "show", str(rejects), "--rows", "2", "--json").json
    none = moengage_command("rejects", "show", str(rejects), "--code", "other")

    assert shown.status == 0
    assert shown.out.startswith("position 2\n  customer_id_refused: ")
    assert json.dumps(BAD[1]) in shown.out
    assert [(one["position"], one["element"]) for one in some["rejects"]] == [(1, BAD[0]), (2, BAD[1])]
    assert (none.status, none.out) == (1, "No such rejects\n")


def test_a_replay_sends_what_was_fixed_and_keeps_what_is_rejected_again(
    rejects: Path, moengage: MoEngage, moengage_command: Run, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in rejects.read_text().splitlines()]
    lines[0]["element"]["customer_id"] = "u2"
    rejects.write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = tmp_path / "again.ndjson"

    asked = moengage_command("rejects", "replay", str(rejects))
    checked = moengage_command("rejects", "replay", str(rejects), "--dry-run")
    assert moengage.arrived == []
    sent = moengage_command("rejects", "replay", str(rejects), "--yes", "--rejects-path", str(again), "--json")

    assert asked.status == 2
    assert "Send 3 elements to the workspace of connection 'moengage_default'?" in asked.err
    assert "Add --yes" in asked.err
    assert checked.status == sent.status == 1
    assert (sent.json["accepted"], sent.json["rejected"]) == (1, 2)
    assert moengage.arrived == [lines[0]["element"]]
    assert len(again.read_text().splitlines()) == 2


@pytest.mark.parametrize("project", [None, "brand-a"])
def test_the_error_of_too_many_rejects_names_the_commands_that_count_and_send_them(
    moengage: MoEngage,
    moengage_command: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    project: str | None,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", connection_to(moengage))
    file = tmp_path / "some rejects.ndjson"
    with pytest.raises(MoEngageRejectsError) as raised:
        MoEngageHook("shop", project_code=project).bulk_import(BAD, rejects_path=str(file))
    assert "Correct them in that file, and send them" in str(raised.value)
    (summary, replay) = (
        shlex.split(command) for command in re.findall("`moengage (.+?)`", str(raised.value), re.DOTALL)
    )
    file.write_text(
        file.read_text().replace('{"type": "customer",', '{"type": "customer", "customer_id": "u2",', 1)
    )

    counted = moengage_command(*summary, "--json").json
    sent = moengage_command(*replay, "--yes", "--json").json

    assert counted["codes"] == {"customer_id_missing": 1, "customer_id_refused": 1}
    assert (sent["accepted"], sent["rejected"]) == (1, 1)
    assert moengage.emulator.workspace.counts.projects == ({} if project is None else {project: 1})


def test_what_may_have_arrived_is_not_to_be_sent_again(
    moengage: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(moengage))
    moengage.emulator.workspace.add_fault(Fault(kind="status_after", times=1, status=502))
    file = tmp_path / "rejects.ndjson"

    with pytest.raises(
        MoEngageRejectsError, match=r"take out those that have arrived \(outcome_unknown\), and send"
    ):
        MoEngageHook().bulk_import([customer("u1")], rejects_path=str(file), delivery="at_most_once")


@pytest.mark.parametrize("rejects_path", [None, "rejects.ndjson"])
@pytest.mark.parametrize("good", [customer("u1"), event("u1")], ids=["users", "events"])
def test_the_error_of_too_many_rejects_warns_of_a_clear_if_it_would_double_events(
    moengage: MoEngage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    good: dict[str, Any],
    rejects_path: str | None,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(moengage))
    path = None if rejects_path is None else str(tmp_path / rejects_path)

    with pytest.raises(MoEngageRejectsError) as raised:
        MoEngageHook().bulk_import([good, *BAD], rejects_path=path)

    assert ("Do not clear the task" in str(raised.value)) == (good["type"] == "event")


def test_after_a_dry_run_the_source_is_to_be_corrected(
    moengage: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(moengage))

    with pytest.raises(MoEngageRejectsError, match=r"rejects summary .*Correct them in the source") as raised:
        MoEngageHook().bulk_import(BAD, rejects_path=str(tmp_path / "rejects.ndjson"), dry_run=True)
    assert "replay" not in str(raised.value)


def test_a_replay_goes_to_the_project_that_is_named(
    moengage: MoEngage, moengage_command: Run, tmp_path: Path, rejects: Path
) -> None:
    file = tmp_path / "fixed.ndjson"
    file.write_text(json.dumps({"position": 0, "codes": [], "messages": [], "element": customer("u1")}) + "\n")
    replay = ("rejects", "replay", str(file), "--project-code", "brand-a")

    asked = moengage_command(*replay)
    sent = moengage_command(*replay, "--yes")
    wrong = moengage_command(*replay[:-1], "a\nb", "--yes")

    assert "Send 1 element to project 'brand-a' of the workspace of connection" in asked.err
    assert (sent.status, moengage.emulator.workspace.counts.projects) == (0, {"brand-a": 1})
    assert (wrong.status, "project_code: expected" in wrong.err) == (2, True)


def test_what_is_read_is_not_overwritten(rejects: Path, moengage: MoEngage, moengage_command: Run) -> None:
    shown = moengage_command("rejects", "replay", str(rejects), "--yes", "--rejects-path", str(rejects))

    assert shown.status == 2
    assert "is one of the files to read" in shown.err
    assert moengage.arrived == []


def test_what_a_second_replay_would_read_is_not_written(
    rejects: Path, moengage: MoEngage, moengage_command: Run
) -> None:
    pattern, again = f"{rejects.parent}/*.ndjson", f"{rejects.parent}/again.ndjson"

    shown = moengage_command("rejects", "replay", pattern, "--yes", "--rejects-path", again)

    assert shown.status == 2
    assert f"--rejects-path {again!r}: matches path {pattern!r}" in shown.err
    assert moengage.arrived == []


def test_a_file_that_is_not_there_is_named(moengage_command: Run, tmp_path: Path) -> None:
    for command in ("summary", "show", "replay"):
        shown = moengage_command("rejects", command, str(tmp_path / "none.ndjson"))
        assert shown.status == 2
        assert "none.ndjson" in shown.err
        assert "Traceback" not in shown.err


def test_other_lines_count_as_elements_without_findings(moengage_command: Run, tmp_path: Path) -> None:
    file = tmp_path / "elements.ndjson"
    lines: list[Any] = [customer("u1"), "not json at all"]
    file.write_text(json.dumps(lines[0]) + "\n" + lines[1] + "\n")

    shown = moengage_command("rejects", "show", str(file), "--json")

    assert [one["element"] for one in shown.json["rejects"]] == lines


def test_control_characters_of_a_file_do_not_reach_the_terminal(moengage_command: Run, tmp_path: Path) -> None:
    file = tmp_path / "rejects.ndjson"
    line = {"position": 0, "codes": ["x\x1b[31m"], "messages": ["red\x1b[2J"], "element": {"type": "\x1b]0;t\x07"}}
    file.write_text(json.dumps(line) + "\n")

    for command in ("summary", "show"):
        assert "\x1b" not in moengage_command("rejects", command, str(file)).out


def test_lines_that_somebody_has_edited_are_shown_as_far_as_they_go(moengage_command: Run, tmp_path: Path) -> None:
    file = tmp_path / "rejects.ndjson"
    lines: list[dict[str, Any]] = [
        {"position": "7", "codes": None, "messages": None, "element": customer("u1")},
        {"position": 1.5, "codes": ["a", 3, None], "messages": "none", "element": customer("u2")},
        {"codes": {"a": 1}, "messages": [["x"]], "element": None},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    counted = moengage_command("rejects", "summary", str(file), "--json")
    text = moengage_command("rejects", "summary", str(file))
    shown = moengage_command("rejects", "show", str(file))

    assert (counted.status, counted.json["rejects"], counted.json["codes"]) == (0, 3, {"a": 1})
    assert "2 lines without a code" in text.out
    assert (shown.status, shown.out.count("without a position")) == (0, 3)


@pytest.mark.parametrize("content", [b"id,plan\n1,gold\n", b"\x89PNG\r\n\x1a\n", b"[1, 2]\n3\n" * 20])
def test_a_file_that_is_no_ndjson_is_refused_by_name(
    rejects: Path, moengage: MoEngage, moengage_command: Run, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "users.csv"
    file.write_bytes(content)

    for command in (["summary"], ["show"], ["show", "--code", "x"], ["replay", "--yes"], ["replay", "--dry-run"]):
        refused = moengage_command("rejects", command[0], str(file), *command[1:])
        assert (refused.status, "no line is a JSON object" in refused.err) == (2, True)
    assert moengage.arrived == []


def test_an_error_does_not_reach_the_terminal_with_control_characters(moengage_command: Run) -> None:
    refused = moengage_command("rejects", "summary", "/none/\x1b[31m\x1b]0;t\x07.ndjson")

    assert (refused.status, "\x1b" in refused.err, "no such file" in refused.err) == (2, False, True)
