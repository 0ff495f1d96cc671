"""`moengage changes`: the states of real runs, against the emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_moengage.bulk.changed import lease
from airflow_provider_moengage.bulk.changed.folder import StateFolder
from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
from airflow_provider_moengage.bulk.changed.sync_run import Changes, SyncRun
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.command import changes as command
from devtools.fake_clock import FakeClock
from tests.command.conftest import Run
from tests.delivering import MoEngage, customer


def sync(moengage: MoEngage, folder: Path, number: int, users: int = 5) -> DeliveryReport:
    run = SyncRun(f"shop.sync, run {number}", f"run {number}", f"2026-01-0{number}T00:00:00+00:00", "w", "m", 1)
    changes = Changes(StateFolder(folder), run, NewColumns("send", moengage.log), may_repeat=False)
    elements = [*(customer(f"u{user}", plan="gold") for user in range(users)), customer("", plan="gold")]
    return moengage.deliver(elements, changes=changes, max_rejects=10)


def test_it_shows_what_a_state_knows(moengage: MoEngage, tmp_path: Path, moengage_command: Run) -> None:
    sync(moengage, tmp_path / "a", 1)
    sync(moengage, tmp_path / "a", 2, users=7)
    sync(moengage, tmp_path / "b", 1)

    [one] = moengage_command("changes", "show", str(tmp_path / "a"), "--json").json["states"]
    every = moengage_command("changes", "show", str(tmp_path), "--json").json["states"]
    text = moengage_command("changes", "show", str(tmp_path / "a"))

    assert one == {
        "state": str(tmp_path / "a"),
        "users": 7,
        "run": "shop.sync, run 2",
        "due": "2026-01-02T00:00:00+00:00",
        "unfinished": "no",
    }
    assert [state["users"] for state in every] == [7, 5]
    assert text.status == 0
    assert "shop.sync, run 2" in text.out


def test_it_tells_of_a_damaged_state_and_of_none(
    moengage: MoEngage, tmp_path: Path, moengage_command: Run
) -> None:
    sync(moengage, tmp_path / "a", 1)
    [part] = (tmp_path / "a").glob("part-*")
    part.write_bytes(part.read_bytes()[:-3])

    [one] = moengage_command("changes", "show", str(tmp_path / "a"), "--json").json["states"]
    text = moengage_command("changes", "show", str(tmp_path / "a"))
    none = moengage_command("changes", "show", str(tmp_path / "none"))
    for manifest in (tmp_path / "a").glob("manifest-*"):
        manifest.write_bytes(b"{")
    worse = moengage_command("changes", "show", str(tmp_path / "a"))

    assert one["users"] is None
    for each in (text, worse):
        assert each.status == 1
        assert f"The state in {tmp_path / 'a'} is damaged; the next run sends all users again whose" in each.out
    assert (none.status, none.out) == (1, "There is no state\n")


def test_after_a_reset_the_next_run_sends_every_row(
    moengage: MoEngage, tmp_path: Path, moengage_command: Run
) -> None:
    sync(moengage, tmp_path / "a", 1)

    asked = moengage_command("changes", "reset", str(tmp_path / "a"))
    unchanged = sync(moengage, tmp_path / "a", 2)
    (tmp_path / "a" / "mine.csv").write_text("a file of somebody else")
    (tmp_path / "a" / "a folder").mkdir()
    done = moengage_command("changes", "reset", str(tmp_path / "a"), "--yes")
    after = sync(moengage, tmp_path / "a", 3)

    assert asked.status == 2
    assert "Add --yes" in asked.err
    assert (unchanged.accepted, unchanged.unchanged) == (0, 5)
    assert done.status == 0
    assert {file.name for file in (tmp_path / "a").iterdir()} >= {"mine.csv", "a folder"}
    assert (after.accepted, after.unchanged, after.removed) == (5, 0, 0)


@pytest.mark.parametrize("place", [".", "none", "file"])
def test_only_the_state_of_one_sync_can_be_reset(
    moengage: MoEngage, tmp_path: Path, moengage_command: Run, place: str
) -> None:
    sync(moengage, tmp_path / "a", 1)
    (tmp_path / "file").write_text("mine")

    done = moengage_command("changes", "reset", str(tmp_path / place), "--yes")

    assert done.status == 2
    assert "holds no state" in done.err
    assert (tmp_path / "file").exists()
    assert StateFolder(tmp_path / "a").generations()


def test_a_state_in_use_is_not_reset(
    moengage: MoEngage, tmp_path: Path, moengage_command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(moengage, tmp_path / "a", 1)
    folder = StateFolder(tmp_path / "a")

    class Clock(FakeClock):
        def wait(self, event: object, seconds: float) -> bool:
            folder.write_document("lease.json", {"token": "t", "run": "shop.sync, run 2", "renewals": 2})
            return super().wait(event, seconds)  # type: ignore[arg-type]

    folder.write_document("lease.json", {"token": "t", "run": "shop.sync, run 2", "renewals": 1})
    monkeypatch.setattr(command, "SystemClock", Clock)
    monkeypatch.setattr(lease, "RENEWED_EVERY", 1.0)

    done = moengage_command("changes", "reset", str(tmp_path / "a"), "--yes")

    assert done.status == 2
    assert "shop.sync, run 2 is using the state; nothing was deleted" in done.err
    assert folder.generations()


def test_after_a_reset_that_is_interrupted_the_next_run_sends_every_row(
    moengage: MoEngage, tmp_path: Path, moengage_command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, removals = StateFolder.remove, 0

    def remove_some(folder: StateFolder, name: str) -> None:
        nonlocal removals
        removals += not name.startswith("lease")
        if removals > allowed:
            raise OSError("interrupted")
        remove(folder, name)

    for allowed in range(1, 4):
        folder, removals = tmp_path / str(allowed), 0
        sync(moengage, folder, 1)
        monkeypatch.setattr(StateFolder, "remove", remove_some)
        assert moengage_command("changes", "reset", str(folder), "--yes").status == 2 or removals <= allowed
        monkeypatch.setattr(StateFolder, "remove", remove)
        after = sync(moengage, folder, 2)
        assert (after.accepted, after.unchanged, after.removed) == (5, 0, 0)
