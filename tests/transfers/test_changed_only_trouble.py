"""SqlToMoEngageOperator(changed_only=...) when storage fails, runs come out of order, or a folder is shared."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from airflow_provider_moengage.bulk.changed import lease
from airflow_provider_moengage.bulk.changed.folder import Manifest, StateFolder
from airflow_provider_moengage.bulk.changed.state import SyncState
from airflow_provider_moengage.bulk.changes import ChangedOnly
from airflow_provider_moengage.bulk.mapping import CustomerMapping, DeviceMapping
from airflow_provider_moengage.bulk.run.reader import Reader
from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.tasks.changes import _due_at
from tests.transfers.test_changed_only import Sync, logged, sync, warehouse

__all__ = ["sync", "warehouse"]


class StoreError(Exception):
    """An error as some object stores raise it: no OSError."""


def _raise(*_: Any, **__: Any) -> Any:
    raise StoreError("the store is gone")


@pytest.mark.parametrize("fails", ["names", "read", "write_document", "new_file", "commit", "open"])
def test_an_error_of_the_storage_is_named_and_the_next_run_sends_what_is_missing(
    sync: Sync, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    sync.run()
    with monkeypatch.context() as patch:
        patch.setattr(StateFolder, fails, _raise)
        with pytest.raises(MoEngageError, match="StoreError"):
            sync.run("SELECT id, 'new' AS plan FROM users")

    report = sync.run("SELECT id, 'newer' AS plan FROM users")

    assert report["accepted"] == 3
    assert [file.name for file in sync.files if file.name == "lease.json"] == []


def test_a_state_that_is_stored_but_not_cleaned_up_is_a_success(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(StateFolder, "clean_up", _raise)
        sync.run()

    assert sync.run()["unchanged"] == 3


class _FullDisk:
    """A file on a disk that is full."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        if len(data) > 20:
            raise OSError(28, "No space left on device")
        return self._file.write(data)

    def flush(self) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        self._file.close()
        raise OSError(28, "No space left on device")


def test_a_full_disk_fails_the_run_by_name_and_leaves_no_lease(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StateFolder.new_file
    with monkeypatch.context() as patch:
        patch.setattr(StateFolder, "new_file", lambda self, name: _FullDisk(real(self, name)))
        with pytest.raises(MoEngageError, match="No space left on device"):
            sync.run()

    assert not list(sync.folder.glob("*/lease.json"))
    assert not list(sync.folder.glob("*/part-*"))
    assert sync.run()["accepted"] == 3


def test_a_lease_is_renewed_again_after_the_storage_has_failed(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWED_EVERY", 0.01)
    state = StateFolder(sync.folder)
    state.make()
    mine = lease.Lease(state, "run", "token", SimpleNamespace())
    mine.take(SimpleNamespace(is_made=False), SimpleNamespace())  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr(StateFolder, "read_document", _raise)
        threading.Event().wait(0.1)
    before = json.loads((sync.folder / "lease.json").read_text())["renewals"]

    for _ in range(500):
        threading.Event().wait(0.01)
        if json.loads((sync.folder / "lease.json").read_text())["renewals"] > before:
            break
    else:
        pytest.fail("the lease is not renewed any more")
    mine.release()
    assert not (sync.folder / "lease.json").exists()


@pytest.mark.parametrize("key", ["id", "plan"])
@pytest.mark.parametrize("kind", ["part", "ids"])
def test_a_file_of_the_run_that_vanishes_meanwhile_is_named_and_nothing_is_sent_again(
    sync: Sync, monkeypatch: pytest.MonkeyPatch, kind: str, key: str
) -> None:
    real = SyncState.note_accepted

    def losing(state: SyncState, records: bytes) -> None:
        real(state, records)
        [file] = sync.folder.glob(f"*/{kind}-00000002-*")
        file.unlink()

    option = ChangedOnly(path=str(sync.folder), on_removed="delete" if kind == "ids" else "keep")
    with monkeypatch.context() as patch:
        patch.setattr(SyncState, "note_accepted", losing)
        with pytest.raises(MoEngageError, match=rf"removed or damaged .*\({kind}-00000002-.*\), so its result"):
            sync.run(key_columns=[key], option=option)
    assert len(sync.sent) == 3

    again = sync.run(day=1, key_columns=[key], option=option)

    assert again["accepted"] == 3  # by the try before
    assert sync.sent == []
    assert sync.run(key_columns=[key], option=option)["unchanged"] == 3


@pytest.mark.parametrize(
    "name",
    [
        "journal-00000001-copy.bin",
        "journal-00000001-1.bin",
        "part-copy.bin",
        "manifest-00000001.json.bak",
        "notes.txt",
        "manifest-99999999.json",
    ],
)
def test_files_of_others_in_the_folder_change_nothing_for_long(sync: Sync, name: str) -> None:
    sync.run()
    [folder] = sync.folder.iterdir()
    (folder / name).write_bytes(b"not ours")
    sync.run()

    assert sync.run()["unchanged"] == 3


def test_two_mappings_of_users_in_one_row_are_both_sent_after_a_run_that_failed(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = [
        CustomerMapping(customer_id="id", attributes={"plan": "plan"}),
        CustomerMapping(customer_id="id", attributes={"plan": "better"}),
    ]
    query = "SELECT id, plan, 'a' AS better FROM users"
    sync.run("SELECT id, plan, 'b' AS better FROM users", mapping=mapping)
    with monkeypatch.context() as patch:
        patch.setattr(StateFolder, "commit", _raise)
        with pytest.raises(MoEngageError):
            sync.run(query, mapping=mapping)

    sync.run(query, mapping=mapping)

    assert {user["id"]: user["plan"] for user in sync.sent} == {"11": "a", "12": "a", "13": "a"}


def _at(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 1, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    "runs",
    [
        pytest.param(
            [
                {"logical_date": _at(5), "data_interval_end": _at(6), "run_after": _at(6)},
                {"logical_date": _at(6, 10), "data_interval_end": _at(6), "run_after": _at(6, 10)},
                {"logical_date": _at(6), "data_interval_end": _at(7), "run_after": _at(7)},
            ],
            id="a manual run between two scheduled ones",
        ),
        pytest.param(
            [
                {"logical_date": _at(5), "data_interval_end": _at(6)},
                {"logical_date": None, "data_interval_end": None, "run_after": _at(6, 10)},
                {"logical_date": _at(7), "data_interval_end": _at(7)},
            ],
            id="without a logical date",
        ),
    ],
)
def test_runs_are_ordered_by_when_they_were_due(runs: list[dict[str, Any]]) -> None:
    due = [_due_at(SimpleNamespace(**run)) for run in runs]

    assert due == sorted(due, key=str)
    assert len(set(due)) == len(due)


@pytest.mark.parametrize("validation", ["strict", "off"])
def test_a_device_without_an_id_is_a_reject_whatever_the_validation(sync: Sync, validation: str) -> None:
    query = "SELECT id, NULL AS device_id, 'iOS' AS platform, 'token' AS push_id FROM users WHERE id = 11"
    mapping = DeviceMapping(customer_id="id", attributes=["platform", "push_id"])

    report = sync.run(query, mapping=mapping, key_columns=None, validation=validation, max_rejects=1)

    assert (report["accepted"], report["rejected"]) == (0, 1)


def test_a_row_that_changes_back_after_an_unknown_outcome_is_sent(sync: Sync) -> None:
    sync.run()
    sync.moengage.emulator.workspace.add_fault(Fault("cut_after", times=1))
    unknown = sync.run("SELECT id, 'new' AS plan FROM users", delivery="at_most_once", max_rejects=9)
    assert unknown["rejects"] == {"outcome_unknown": 3}

    assert sync.run()["accepted"] == 3
    assert [user["plan"] for user in sync.sent][-3:] == ["gold", "silver", "bronze"]


def test_a_try_that_another_one_has_taken_over_sends_and_stores_nothing(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync.run()
    before = len(sync.sent)
    manifests = [file.name for file in sync.files if file.name.startswith("manifest")]
    reading = Reader.changed

    def taken_over(reader: Any, elements: Any) -> Any:
        [left] = [file for file in sync.files if file.name == "lease.json"]
        left.write_text(json.dumps({**json.loads(left.read_text()), "token": "another"}))
        return reading(reader, elements)

    monkeypatch.setattr(Reader, "changed", taken_over)
    with pytest.raises(MoEngageError, match="Another try of this task has taken over"):
        sync.run("SELECT id, 'new' AS plan FROM users")

    assert (before, sync.sent) == (3, [])
    assert [file.name for file in sync.files if file.name.startswith("manifest")] == manifests


@pytest.mark.parametrize(("delivery", "sent_again"), [("at_most_once", 0), ("at_least_once", 3)])
def test_what_a_killed_try_had_in_flight_is_sent_again_only_at_least_once(
    sync: Sync, monkeypatch: pytest.MonkeyPatch, delivery: str, sent_again: int
) -> None:
    def killed(*_: Any) -> None:
        raise RuntimeError("killed after the request was accepted")

    with monkeypatch.context() as patch:
        patch.setattr(SyncState, "note_accepted", killed)
        with pytest.raises(RuntimeError):
            sync.run(delivery=delivery)
    assert len(sync.sent) == 3

    report = sync.run(day=sync.day, delivery=delivery, max_rejects=9)

    assert len(sync.sent) == report["accepted"] == sent_again
    assert report["rejects"].get("outcome_unknown", 0) == 3 - sent_again
    assert report["resumed"]


@pytest.mark.parametrize("unreadable", ["NULL", "11.5", "x'ff'"])
def test_a_row_without_a_readable_id_removes_nobody(sync: Sync, unreadable: str) -> None:
    sync.run()

    query = f"SELECT id, plan FROM users WHERE id = 11 UNION ALL SELECT {unreadable}, 'x'"
    assert sync.run(query, key_columns=None, max_rejects=9)["removed"] == 0
    assert sync.run("SELECT * FROM users WHERE id = 11")["removed"] == 2


def _newest_manifest(sync: Sync) -> Path:
    return max(file for file in sync.files if file.name.startswith("manifest-"))


@pytest.mark.parametrize("runs", [2, 3, 4])
def test_a_state_without_its_newest_manifest_is_damaged_and_not_an_older_one(
    sync: Sync, runs: int, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    for run in range(runs):
        sync.run(f"SELECT id, '{run}' AS plan FROM users")
    _newest_manifest(sync).unlink()

    before = f"SELECT id, '{runs - 2}' AS plan FROM users WHERE id <> 13"
    report = sync.run(before)  # equal to the generation that is left

    assert (report["accepted"], report["unchanged"], report["removed"]) == (2, 0, 0)
    assert "is damaged; sending everything again" in logged(caplog, capsys)
    assert sync.run(before)["unchanged"] == 2


def test_all_manifests_missing_is_damage_and_the_next_run_compares_again(
    sync: Sync, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    sync.run()
    sync.run()
    for file in [file for file in sync.files if file.name.startswith("manifest-")]:
        file.unlink()
    assert sync.run()["accepted"] == 3
    assert "is damaged; sending everything again" in logged(caplog, capsys)
    caplog.clear()
    assert sync.run()["unchanged"] == 3
    assert "damaged" not in logged(caplog, capsys)


@pytest.mark.parametrize("runs", [0, 1, 2, 3])
@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_run_that_was_killed_is_no_damage(
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: Any,
    runs: int,
    is_damaged: bool,
) -> None:
    for run in range(runs):
        sync.run(f"SELECT id, '{run}' AS plan FROM users")
    if is_damaged and runs:
        _newest_manifest(sync).unlink()
    killed = "SELECT id, 'killed' AS plan FROM users"
    with monkeypatch.context() as patch:
        patch.setattr(StateFolder, "commit", _killed_after_the_first(StateFolder.commit))
        patch.setattr(StateFolder, "remove", lambda *_: None)
        for _ in range(2):  # a part is left by each
            with pytest.raises(KeyboardInterrupt):
                sync.run(killed, day=runs + 1)
    logged(caplog, capsys)
    caplog.clear()

    report = sync.run(killed, day=runs + 1)

    assert len(sync.sent) == 3 * (runs + 1)  # the third try sends nothing again
    assert report["accepted"] == 3
    assert "damaged" not in logged(caplog, capsys)


def _killed_after_the_first(commit: Any) -> Any:
    def commits(folder: StateFolder, manifest: Manifest) -> None:
        if manifest.part is not None:
            raise KeyboardInterrupt
        commit(folder, manifest)

    return commits
