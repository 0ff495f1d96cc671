"""SqlToMoEngageOperator(changed_only=ChangedOnly(on_removed=...)): who is removed, and when nobody is."""

from __future__ import annotations

import json
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.users.deletion import PER_MINUTE
from airflow_provider_moengage.bulk.changed.removed.ids import IdsWriter, read_ids
from airflow_provider_moengage.bulk.changed.state import SyncState
from airflow_provider_moengage.bulk.changes import ChangedOnly, OnRemoved
from airflow_provider_moengage.bulk.mapping import CustomerMapping, DeviceMapping
from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import (
    MoEngageError,
    MoEngageRejectsError,
    MoEngageRemovalError,
    MoEngageRequestError,
)
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.sources.sql_rows import KeyedRows
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage
from tests.import_files.test_folder import attach
from tests.transfers.test_changed_only import Sync, logged, warehouse

__all__ = ["warehouse"]


class Removing(Sync):
    """A sync of users that removes those who leave. All users may go, unless a test says otherwise."""

    action: OnRemoved = "unset"
    max_removed: float = 1.0

    def run(self, sql: str = "SELECT * FROM users", **options: Any) -> dict[str, Any]:
        option = ChangedOnly(path=str(self.folder), on_removed=self.action, max_removed=self.max_removed)
        return super().run(sql, **{"option": option, **options})

    @property
    def unset(self) -> list[tuple[str, list[str]]]:
        """IDs of the users who were unset since the last look, with the attributes."""
        new = self.moengage.arrived[self._seen :]
        self._seen += len(new)
        return [
            (element["customer_id"], [one["attr"] for one in element["unset_attributes"]])
            for element in new
            if "unset_attributes" in element
        ]


@pytest.fixture
def sync(connected: MoEngage, warehouse: sqlite3.Connection, tmp_path: Path) -> Removing:
    return Removing(connected, tmp_path / "changes")


WITHOUT_13 = "SELECT * FROM users WHERE id <> 13"
ONLY_11 = "SELECT * FROM users WHERE id = 11"


def test_a_user_whose_row_has_left_is_unset_once_and_is_new_if_it_comes_back(sync: Removing) -> None:
    sync.run()
    gone = sync.run(WITHOUT_13)
    assert (gone["removed"], gone["accepted"], gone["unchanged"]) == (1, 0, 2)
    assert sync.unset == [("13", ["plan"])]

    assert sync.run(WITHOUT_13)["removed"] == 0
    assert sync.unset == []

    back = sync.run()
    assert (back["new"], back["accepted"], back["removed"]) == (1, 1, 0)


def test_an_element_that_unsets_creates_no_user(sync: Removing) -> None:
    sync.run()
    sync.run(WITHOUT_13)

    [element] = [element for element in sync.moengage.arrived if "unset_attributes" in element]
    assert element == {
        "type": "customer",
        "customer_id": "13",
        "attributes": {},
        "update_existing_only": True,
        "unset_attributes": [{"type": "equals", "attr": "plan", "case_sensitive": True}],
    }


def test_removals_come_after_everything_else_was_sent(sync: Removing) -> None:
    sync.run()
    sync.run("SELECT id, 'new' AS plan FROM users WHERE id <> 12")

    kinds = [
        "unset" if "unset_attributes" in element else element["attributes"]["plan"]
        for element in sync.moengage.arrived[3:]
    ]
    assert kinds == ["new", "new", "unset"]


def test_the_attributes_of_the_mapping_are_unset_whatever_their_columns_are(sync: Removing) -> None:
    mapping = CustomerMapping(customer_id="id", attributes={"tier": "plan", "u_fn": "plan"})
    sync.run(mapping=mapping)
    sync.run(WITHOUT_13, mapping=mapping)

    assert sync.unset == [("13", ["tier", "u_fn"])]


def test_a_user_in_several_rows_is_removed_with_the_last_one(
    sync: Removing, warehouse: sqlite3.Connection
) -> None:
    warehouse.executescript(
        "CREATE TABLE seen (n INTEGER PRIMARY KEY, id INTEGER, plan TEXT);"
        "INSERT INTO seen VALUES (1, 11, 'a'), (2, 12, 'x'), (3, 11, 'b')"
    )
    options: dict[str, Any] = {
        "mapping": CustomerMapping(customer_id="id", attributes=["plan"]),
        "key_columns": ["n"],
    }
    sync.run("SELECT * FROM seen", **options)
    assert sync.run("SELECT * FROM seen WHERE n <> 3", **options)["removed"] == 0
    assert sync.run("SELECT * FROM seen WHERE id <> 11", **options)["removed"] == 1
    assert sync.unset == [("11", ["plan"])]


def test_an_id_that_the_database_calls_unique_and_moengage_does_not_is_removed_with_its_last_row(
    sync: Removing, warehouse: sqlite3.Connection
) -> None:
    """In SQLite 100 and '100' are two keys of one column, and one user in MoEngage."""
    warehouse.execute("CREATE TABLE either (id PRIMARY KEY, plan TEXT)")
    rows = [(number, "whole") for number in range(100, 18_000)]
    warehouse.executemany("INSERT INTO either VALUES (?, ?)", [*rows, ("100", "text"), ("101", "text")])
    warehouse.commit()
    everybody, numbers = "SELECT * FROM either", "SELECT * FROM either WHERE typeof(id) = 'integer'"

    sync.run(everybody)
    fewer = sync.run(numbers)

    assert (fewer["removed"], sync.unset) == (0, [])
    kept = {element["customer_id"]: element["attributes"]["plan"] for element in sync.moengage.arrived}
    assert (kept["100"], kept["101"]) == ("whole", "whole")


def test_a_dry_run_counts_who_would_be_removed_and_writes_nothing(
    sync: Removing, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sync.run()
    files = {path: path.read_bytes() for path in sync.files}

    assert sync.run(WITHOUT_13, dry_run=True)["removed"] == 1

    assert "; 1 no longer in the query: attributes would be unset;" in logged(caplog, capsys)
    assert {path: path.read_bytes() for path in sync.files} == files
    assert sync.unset == []
    sync.max_removed = 0
    with pytest.raises(MoEngageRemovalError, match="1 user would be removed, more than the count"):
        sync.run(WITHOUT_13, dry_run=True)


def test_a_rejected_row_is_a_row_of_its_user(sync: Removing) -> None:
    sync.run()

    query = "SELECT id, CASE id WHEN 13 THEN 9e999 ELSE plan END AS plan FROM users"
    assert sync.run(query, max_rejects=1)["removed"] == 0
    assert sync.run()["unchanged"] == 3


# -- When nobody is removed, and the next run compares again


@pytest.mark.parametrize("why", ["resync is set", "the mapping has changed since the last run"])
def test_a_run_that_sends_all_removes_nobody_and_says_so(
    sync: Removing, why: str, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sync.run()
    options: dict[str, Any] = {"mapping": CustomerMapping(customer_id="id", attributes={"tier": "plan"})}
    if "resync" in why:
        options = {"option": ChangedOnly(sync.folder, on_removed="unset", max_removed=1.0, resync=True)}

    assert sync.run(WITHOUT_13, **options)["removed"] == 0

    assert f"Nobody is removed in this run because {why}" in logged(caplog, capsys)
    options.pop("option", None)
    assert sync.run(WITHOUT_13, **options)["removed"] == 1


def test_a_first_run_removes_nobody_also_after_one_that_failed(
    sync: Removing, monkeypatch: pytest.MonkeyPatch, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SyncState, "commit", _killed)
        with pytest.raises(RuntimeError):
            sync.run()

    assert sync.run(WITHOUT_13)["removed"] == 0

    assert "Nobody is removed in this run because no earlier run has read all rows" in logged(caplog, capsys)
    assert sync.run(WITHOUT_13)["removed"] == 1
    assert sync.unset == [("13", ["plan"])]


@pytest.mark.parametrize("name", ["part", "manifest"])
def test_a_damaged_state_removes_nobody(
    sync: Removing, name: str, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sync.run()
    file = [file for file in sync.files if file.name.startswith(name)][-1]
    file.write_bytes(file.read_bytes()[:-3])

    assert sync.run(WITHOUT_13)["removed"] == 0

    assert "Nobody is removed in this run because" in logged(caplog, capsys)
    assert sync.unset == []


def test_damage_that_no_row_was_compared_with_removes_nobody(
    sync: Removing, warehouse: sqlite3.Connection, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse.executemany("INSERT INTO users VALUES (?, 'x')", [(number,) for number in range(1_000, 30_000)])
    warehouse.commit()
    sync.run()
    [part] = [file for file in sync.files if file.name.startswith("part")]
    data = bytearray(part.read_bytes())
    data[-100_000] ^= 1
    part.write_bytes(data)
    sync.unset  # noqa: B018 (forgets them)

    assert sync.run("SELECT * FROM users WHERE id < 1200 AND id <> 13")["removed"] == 0

    assert "Nobody is removed in this run because the state is damaged" in logged(caplog, capsys)
    assert sync.unset == []


def test_a_backfill_removes_nobody(sync: Removing, capsys: Any, caplog: pytest.LogCaptureFixture) -> None:
    sync.run()

    assert sync.run(ONLY_11, run_type="backfill")["removed"] == 0

    assert "because the run reads only a part of the rows" in logged(caplog, capsys)
    assert sync.run()["unchanged"] == 3


def test_a_read_over_two_connections_removes_nobody(
    sync: Removing, monkeypatch: pytest.MonkeyPatch, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sync.run()
    reading = KeyedRows.chunks

    def interrupted(self: KeyedRows, *arguments: Any) -> Any:
        self.was_interrupted = True
        return reading(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(KeyedRows, "chunks", interrupted)
        assert sync.run(WITHOUT_13)["removed"] == 0

    assert "because the connection to the database was lost meanwhile" in logged(caplog, capsys)
    assert sync.run(WITHOUT_13)["removed"] == 1


def test_a_read_that_ends_early_removes_nobody(sync: Removing, monkeypatch: pytest.MonkeyPatch) -> None:
    sync.run()
    reading = KeyedRows.chunks

    def broken(self: KeyedRows, *arguments: Any) -> Any:
        yield from reading(self, *arguments)
        raise RuntimeError("the database has gone")

    with monkeypatch.context() as patch:
        patch.setattr(KeyedRows, "chunks", broken)
        with pytest.raises(RuntimeError):
            sync.run(WITHOUT_13)

    assert sync.unset == []
    assert sync.run()["unchanged"] == 3


def test_a_try_after_one_that_was_killed_after_its_end_removes_nobody(sync: Removing) -> None:
    sync.run()
    sync.run(WITHOUT_13)

    assert sync.run(ONLY_11, day=sync.day)["removed"] == 0
    assert sync.run(ONLY_11)["removed"] == 1


def test_after_keep_the_first_run_stores_the_ids_and_the_next_one_removes(
    sync: Removing, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sync.run(option=ChangedOnly(sync.folder))
    assert not [file for file in sync.files if file.name.startswith("ids")]

    assert sync.run(WITHOUT_13)["removed"] == 0
    assert "because the last one stored no IDs. Users who have left until now stay in MoEngage: 1" in logged(
        caplog, capsys
    )
    assert sync.run(ONLY_11)["removed"] == 1
    assert sync.unset == [("12", ["plan"])]

    sync.run(option=ChangedOnly(sync.folder))
    assert not [file for file in sync.files if file.name.startswith("ids")]


# -- Guards: the task fails, nobody is removed, and all stay known


def _refused(sync: Removing, query: str, match: str, **options: Any) -> None:
    with pytest.raises(MoEngageRemovalError, match=match) as refused:
        sync.run(query, **options)
    assert refused.value.report is not None
    assert refused.value.report.removed == 0
    assert sync.unset == []


def test_more_than_a_count_fails_the_task_and_what_was_sent_is_stored(
    sync: Removing, warehouse: sqlite3.Connection
) -> None:
    sync.run()
    warehouse.execute("UPDATE users SET plan = 'new' WHERE id = 11")
    warehouse.commit()
    sync.max_removed = 1

    _refused(sync, ONLY_11, r"2 users would be removed, more than the count of changed_only\.max_removed=1")

    sync.max_removed = 2
    report = sync.run(ONLY_11)
    assert (report["unchanged"], report["removed"]) == (1, 2)
    assert sorted(sync.unset) == [("12", ["plan"]), ("13", ["plan"])]


@pytest.mark.parametrize(("fraction", "passes"), [(0.33, False), (0.34, True), (0.0, False)])
def test_more_than_a_fraction_of_the_users_known_fails_the_task(
    sync: Removing, fraction: float, passes: bool
) -> None:
    sync.run()
    sync.max_removed = fraction

    if passes:
        assert sync.run(WITHOUT_13)["removed"] == 1
    else:
        _refused(sync, WITHOUT_13, "1 user of 3 would be removed, more than the fraction of")


@pytest.mark.parametrize("most", [3, 0.99, 1.0])
def test_an_empty_query_fails_the_task_unless_all_may_be_removed(sync: Removing, most: float) -> None:
    sync.run()
    sync.max_removed = most

    if most == 1.0:
        assert sync.run("SELECT * FROM users WHERE id < 0")["removed"] == 3
        assert len(sync.unset) == 3
    else:
        _refused(sync, "SELECT * FROM users WHERE id < 0", "The query returned no rows, so nobody was removed: 3")
        assert sync.run()["unchanged"] == 3


@pytest.mark.parametrize("validation", ["warn", "off"])
@pytest.mark.parametrize("unreadable", ["NULL", "11.5", "x'ff'"])
def test_a_row_whose_id_cannot_be_read_fails_the_task_if_somebody_has_left(
    sync: Removing, unreadable: str, validation: str
) -> None:
    sync.run()
    options: dict[str, Any] = {"key_columns": None, "max_rejects": 9, "validation": validation}
    extra = f"UNION ALL SELECT {unreadable}, 'x'"

    assert sync.run(f"SELECT * FROM users {extra}", **options)["removed"] == 0
    _refused(sync, f"{WITHOUT_13} {extra}", "The ID of a row could not be read, so nobody was removed", **options)
    assert sync.run(WITHOUT_13)["removed"] == 1


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _forge(file: Path) -> None:
    """Another state's file: whole, and with other IDs."""
    writer = IdsWriter(file.open("wb"))
    writer.add(["11", "12", "99"])
    writer.close()


@pytest.mark.parametrize("damage", [_cut, _empty, _forge, Path.unlink])
def test_ids_that_are_lost_fail_the_task_only_if_they_are_needed(
    sync: Removing, damage: Callable[[Path], None]
) -> None:
    sync.run()
    [file] = [file for file in sync.files if file.name.startswith("ids")]
    damage(file)

    _refused(sync, WITHOUT_13, "The IDs of 1 user are not in the state, so nobody was removed: 1 user would be")
    _refused(sync, WITHOUT_13, "The IDs of 1 user are not in the state")
    assert sync.run()["unchanged"] == 3
    assert sync.run(WITHOUT_13)["removed"] == 1


def test_a_keep_run_that_was_killed_is_named_and_keep_for_one_run_ends_it(
    sync: Removing, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync.run()
    keep = ChangedOnly(sync.folder)
    with monkeypatch.context() as patch:
        patch.setattr(SyncState, "commit", _killed)
        with pytest.raises(RuntimeError):
            sync.run("SELECT * FROM users UNION SELECT 14, 'new'", option=keep)
    for _ in range(2):
        _refused(sync, "SELECT * FROM users", "A run with on_removed=.keep., which stores no IDs, ended early")

    sync.run(option=keep)
    assert sync.run()["removed"] == 0
    assert sync.run(WITHOUT_13)["removed"] == 1
    assert [user for user, _ in sync.unset] == ["13"]


def test_keep_for_one_run_lets_users_with_lost_ids_stay(sync: Removing) -> None:
    sync.run()
    [file] = [file for file in sync.files if file.name.startswith("ids")]
    file.unlink()
    _refused(sync, WITHOUT_13, "The IDs of 1 user are not in the state")

    assert sync.run(WITHOUT_13, option=ChangedOnly(sync.folder))["removed"] == 1
    assert sync.run(WITHOUT_13)["removed"] == 0
    assert sync.unset == []


def test_a_mapping_without_attributes_at_run_time_removes_nobody(sync: Removing) -> None:
    mapping = CustomerMapping(customer_id="id")
    sync.run("SELECT id FROM users", mapping=mapping)

    _refused(sync, "SELECT id FROM users WHERE id = 11", "The mapping has no attributes to unset", mapping=mapping)


def test_rejects_and_removals_are_counted_apart(sync: Removing, warehouse: sqlite3.Connection) -> None:
    warehouse.execute("INSERT INTO users VALUES (0, 'refused')")
    warehouse.commit()
    with pytest.raises(MoEngageRejectsError):
        sync.run()

    with pytest.raises(MoEngageRejectsError) as refused:
        sync.run(WITHOUT_13)

    report = refused.value.report
    assert report is not None
    assert (report.accepted, report.rejected, report.unchanged, report.removed) == (0, 1, 2, 1)


# -- Removals that fail


def _killed(*_: Any, **__: Any) -> Any:
    raise RuntimeError("killed")


def test_a_removal_that_moengage_refuses_fails_the_task_and_is_tried_again(sync: Removing) -> None:
    sync.run()
    sync.moengage.emulator.workspace.add_fault(Fault("refuse", times=None, customer_id="13"))
    with pytest.raises(
        MoEngageRemovalError, match=r"1 user could not be removed \(1 refused_by_server\)"
    ) as error:
        sync.run(ONLY_11)
    assert error.value.report is not None
    assert (error.value.report.removed, error.value.report.rejected) == (1, 0)
    assert [user for user, _ in sync.unset] == ["12"]

    sync.moengage.emulator.workspace.reset()
    sync._seen = 0
    assert sync.run(ONLY_11)["removed"] == 1
    assert [user for user, _ in sync.unset] == ["13"]


@pytest.mark.parametrize(("delivery", "again"), [("at_least_once", 1), ("at_most_once", 0)])
def test_a_removal_with_an_unknown_outcome(sync: Removing, delivery: str, again: int) -> None:
    sync.run(delivery=delivery)
    sync.unset  # noqa: B018 (forgets them)
    sync.moengage.emulator.workspace.add_fault(Fault("cut_after", times=1))

    if again:
        assert sync.run(WITHOUT_13, delivery=delivery)["removed"] == 1
    else:
        with pytest.raises(MoEngageRemovalError, match=r"could not be removed \(1 outcome_unknown\)"):
            sync.run(WITHOUT_13, delivery=delivery)
    assert len(sync.unset) == 1 + again
    assert sync.run(WITHOUT_13, delivery=delivery)["removed"] == 1 - again


@pytest.mark.parametrize(("delivery", "again"), [("at_least_once", 1), ("at_most_once", 0)])
def test_a_kill_between_a_removal_and_its_record(
    sync: Removing, monkeypatch: pytest.MonkeyPatch, delivery: str, again: int
) -> None:
    sync.run(delivery=delivery)

    with monkeypatch.context() as patch:
        patch.setattr(SyncState, "note_accepted", _killed)
        with pytest.raises(RuntimeError):
            sync.run(WITHOUT_13, delivery=delivery)
    assert len(sync.unset) == 1

    if again:
        assert sync.run(WITHOUT_13, day=sync.day, delivery=delivery)["removed"] == 1
    else:
        with pytest.raises(MoEngageRemovalError, match="1 outcome_unknown"):
            sync.run(WITHOUT_13, day=sync.day, delivery=delivery)
    assert len(sync.unset) == again


def test_a_kill_after_a_removal_was_recorded_neither_repeats_nor_forgets_it(
    sync: Removing, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync.run()
    with monkeypatch.context() as patch:
        patch.setattr(SyncState, "commit", _killed)
        with pytest.raises(RuntimeError):
            sync.run(WITHOUT_13)
    assert sync.unset == [("13", ["plan"])]

    assert sync.run(WITHOUT_13, day=sync.day)["removed"] == 1  # over all tries
    assert sync.unset == []
    assert sync.run()["new"] == 1


@pytest.mark.parametrize("is_retry", [True, False])
@pytest.mark.parametrize("record", ["note_accepted", "commit"])
def test_who_comes_back_after_a_kill_is_sent_although_the_row_is_as_before(
    sync: Removing, monkeypatch: pytest.MonkeyPatch, record: str, is_retry: bool
) -> None:
    sync.run()
    with monkeypatch.context() as patch:
        patch.setattr(SyncState, record, _killed)
        with pytest.raises(RuntimeError):
            sync.run(WITHOUT_13)
    assert len(sync.unset) == 1

    report = sync.run(day=sync.day if is_retry else None)

    assert (report["accepted"], report["removed"]) == (1, 0)
    assert report["new"] == (record == "commit")  # without a record, MoEngage may have the user as before
    assert sync.sent == [{"id": "13", "plan": "bronze"}]


@pytest.mark.parametrize("is_retry", [True, False])
def test_who_comes_back_in_several_rows_after_a_kill_is_sent(
    sync: Removing, warehouse: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, is_retry: bool
) -> None:
    warehouse.executescript(
        "CREATE TABLE seen (n INTEGER PRIMARY KEY, id INTEGER, plan TEXT);"
        "INSERT INTO seen VALUES (1, 11, 'x'), (2, 12, 'x'), (3, 11, 'x')"
    )
    options: dict[str, Any] = {
        "mapping": CustomerMapping(customer_id="id", attributes=["plan"]),
        "key_columns": ["n"],
    }
    sync.run("SELECT * FROM seen", **options)
    with monkeypatch.context() as patch:
        patch.setattr(SyncState, "commit", _killed)
        with pytest.raises(RuntimeError):
            sync.run("SELECT * FROM seen WHERE id = 12", **options)
    assert [user for user, _ in sync.unset] == ["11"]

    sync.run("SELECT * FROM seen", day=sync.day if is_retry else None, **options)

    assert sync.sent[-1] == {"id": "11", "plan": "x"}


@pytest.mark.parametrize("how", ["refused", "unsendable"])
def test_who_comes_back_after_a_kill_and_is_rejected_is_not_known(
    sync: Removing, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    sync.run()
    with monkeypatch.context() as patch:
        patch.setattr(SyncState, "commit", _killed)
        with pytest.raises(RuntimeError):
            sync.run(WITHOUT_13)
    query = "SELECT * FROM users"
    if how == "refused":
        sync.moengage.emulator.workspace.add_fault(Fault("refuse", times=None, customer_id="13"))
    else:
        query = "SELECT id, CASE id WHEN 13 THEN 9e999 ELSE plan END AS plan FROM users"
    assert sync.run(query, max_rejects=1)["rejected"] == 1
    sync.moengage.emulator.workspace.clear_faults()
    sync.unset  # noqa: B018 (forgets them)

    assert sync.run(WITHOUT_13)["removed"] == 0
    assert sync.unset == []
    assert sync.run()["new"] == 1


def test_the_limit_counts_what_earlier_tries_have_removed(sync: Removing, monkeypatch: pytest.MonkeyPatch) -> None:
    sync.run()
    sync.max_removed = 1
    with monkeypatch.context() as patch:
        patch.setattr(SyncState, "commit", _killed)
        with pytest.raises(RuntimeError):
            sync.run(WITHOUT_13)
    sync.unset  # noqa: B018 (forgets them)

    with pytest.raises(MoEngageRemovalError, match="2 users would be removed, more than the count"):
        sync.run(ONLY_11, day=sync.day)
    assert sync.unset == []


@pytest.mark.parametrize("is_retry", [True, False])
def test_a_user_whom_only_a_failed_try_has_sent_is_removed(
    sync: Removing, monkeypatch: pytest.MonkeyPatch, is_retry: bool
) -> None:
    sync.run()
    with monkeypatch.context() as patch:
        patch.setattr(SyncState, "commit", _killed)
        with pytest.raises(RuntimeError):
            sync.run("SELECT * FROM users UNION ALL SELECT 501, 'x'", key_columns=None)
    sync.unset  # noqa: B018 (forgets them)

    assert sync.run(day=sync.day if is_retry else None)["removed"] == 1
    assert sync.unset == [("501", ["plan"])]


def test_a_try_that_was_taken_over_removes_nobody(sync: Removing, monkeypatch: pytest.MonkeyPatch) -> None:
    sync.run()
    finding = SyncState.leavers

    def taken_over(state: SyncState) -> Any:
        [left] = [file for file in sync.files if file.name == "lease.json"]
        left.write_text(json.dumps({**json.loads(left.read_text()), "token": "another"}))
        return finding(state)

    monkeypatch.setattr(SyncState, "leavers", taken_over)
    with pytest.raises(MoEngageError, match="Another try of this task has taken over"):
        sync.run(WITHOUT_13)

    assert sync.unset == []


# -- Deletion


class Deleting(Removing):
    """A sync that deletes users who leave."""

    action = "delete"

    @property
    def deleted(self) -> list[str]:
        return self.moengage.emulator.workspace.deleted_users


@pytest.fixture
def deleting(sync: Removing) -> Deleting:
    return Deleting(sync.moengage, sync.folder)


def test_users_whose_rows_have_left_are_deleted_once_each_by_a_request_of_its_own(
    deleting: Deleting, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    deleting.run()
    report = deleting.run(ONLY_11)

    assert (report["removed"], report["accepted"], report["rejected"]) == (2, 0, 0)
    assert "; 2 no longer in the query: deletion accepted by MoEngage;" in logged(caplog, capsys)
    assert sorted(deleting.deleted) == ["12", "13"]
    assert deleting.unset == []
    deleting.run(ONLY_11)
    assert len(deleting.deleted) == 2
    assert deleting.run()["new"] == 2


def test_a_dry_run_deletes_nobody(deleting: Deleting) -> None:
    deleting.run()

    assert deleting.run(ONLY_11, dry_run=True)["removed"] == 2
    assert deleting.deleted == []


def test_a_user_who_is_deleted_already_is_done(deleting: Deleting) -> None:
    deleting.run()
    assert MoEngageHook().delete_user("13") is True
    deleting.moengage.clock.wait(threading.Event(), 86_401)
    assert MoEngageHook().delete_user("13") is False

    assert deleting.run(WITHOUT_13)["removed"] == 1


def test_a_deletion_that_moengage_refuses_fails_the_task_and_is_tried_again(deleting: Deleting) -> None:
    deleting.run()
    deleting.moengage.emulator.workspace.add_fault(Fault("refuse", times=None, customer_id="13"))
    for _ in range(2):
        with pytest.raises(MoEngageRemovalError, match=r"1 user could not be removed \(1 refused_by_server\)"):
            deleting.run(ONLY_11)
    assert deleting.deleted == ["12"]

    deleting.moengage.emulator.workspace.clear_faults()
    assert deleting.run(ONLY_11)["removed"] == 1
    assert deleting.deleted == ["12", "13"]


@pytest.mark.parametrize("status", [404, 401])
def test_an_answer_that_is_not_about_the_user_deletes_nobody_and_ends_the_run(
    deleting: Deleting, status: int
) -> None:
    deleting.run()
    deleting.moengage.emulator.workspace.add_fault(
        Fault("status", times=None, status=status, path="/v1/customer/delete")
    )
    with pytest.raises(MoEngageError, match=f"answered {status}"):
        deleting.run(WITHOUT_13)

    deleting.moengage.emulator.workspace.clear_faults()
    assert deleting.deleted == []
    assert deleting.run(WITHOUT_13)["removed"] == 1


def test_deletions_are_paced_at_5000_a_minute(
    deleting: Deleting, warehouse: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PER_MINUTE == 5_000
    monkeypatch.setattr("airflow_provider_moengage.bulk.run.delivery.DELETIONS_PER_MINUTE", 100)
    deleting.moengage.emulator.workspace.configure(delete_quota=[[100, 60]])
    clock = deleting.moengage.clock
    monkeypatch.setattr("airflow_provider_moengage.bulk.run.context.SystemClock", lambda: clock)
    warehouse.executemany("INSERT INTO users VALUES (?, 'x')", [(number,) for number in range(1_000, 1_250)])
    warehouse.commit()
    deleting.run()
    began_at = clock.time()

    report = deleting.run("SELECT * FROM users WHERE id < 1000")

    assert report["removed"] == len(set(deleting.deleted)) == 250
    assert report["retries"] == 0  # no 429
    assert clock.time() - began_at >= 120


@pytest.mark.parametrize(("delivery", "again"), [("at_least_once", 2), ("at_most_once", 0)])
def test_a_kill_between_a_deletion_and_its_record(
    deleting: Deleting, monkeypatch: pytest.MonkeyPatch, delivery: str, again: int
) -> None:
    deleting.run(delivery=delivery)
    with monkeypatch.context() as patch:
        patch.setattr(SyncState, "note_accepted", _killed)
        with pytest.raises(RuntimeError):
            deleting.run(ONLY_11, delivery=delivery, concurrency=1)
    first = len(deleting.deleted)
    assert first == 1

    if again:
        assert deleting.run(ONLY_11, day=deleting.day, delivery=delivery)["removed"] == 2
        assert sorted(set(deleting.deleted)) == ["12", "13"]
    else:
        with pytest.raises(MoEngageRemovalError, match="1 outcome_unknown"):
            deleting.run(ONLY_11, day=deleting.day, delivery=delivery)
        assert sorted(deleting.deleted) == ["12", "13"]


def test_a_try_that_is_taken_over_while_it_deletes_deletes_nobody_else(
    deleting: Deleting, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = attach("memory", monkeypatch)  # where what was accepted is not recorded at once
    option = ChangedOnly("memory://bucket/taken-over", on_removed="delete", max_removed=1.0)
    deleting.run(option=option)
    deletes = MoEngageClient.delete_user

    def taken_over(client: MoEngageClient, body: bytes) -> Any:
        [left] = [name for name in store.store if name.endswith("lease.json")]
        store.pipe_file(left, json.dumps({**json.loads(store.cat_file(left)), "token": "another"}).encode())
        return deletes(client, body)

    monkeypatch.setattr(MoEngageClient, "delete_user", taken_over)
    with pytest.raises(MoEngageError, match="Another try of this task has taken over"):
        deleting.run(ONLY_11, option=option, concurrency=1)

    assert len(deleting.deleted) == 1


@pytest.mark.parametrize("most", [1, 0.5])
def test_the_guards_of_unset_are_those_of_delete(deleting: Deleting, most: float) -> None:
    deleting.run()
    deleting.max_removed = most

    for query in (ONLY_11, "SELECT * FROM users WHERE id < 0"):
        with pytest.raises(MoEngageRemovalError, match="so nobody was removed"):
            deleting.run(query)
    assert deleting.deleted == []


# -- What is stored


def test_the_files_with_ids_are_private_and_have_nobody_who_was_removed(
    sync: Removing, warehouse: sqlite3.Connection
) -> None:
    sync.run()
    sync.run(WITHOUT_13)

    [file] = [file for file in sync.files if file.name.startswith("ids")]
    assert sorted(user for some in read_ids(file.open("rb")) for user in some) == ["11", "12"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in sync.files} == {0o600}


@pytest.mark.parametrize("action", ["unset", "delete"])
def test_an_object_store_will_do(sync: Removing, monkeypatch: pytest.MonkeyPatch, action: OnRemoved) -> None:
    attach("memory", monkeypatch)
    option = ChangedOnly(f"memory://bucket/{action}", on_removed=action, max_removed=1.0)
    sync.run(option=option)
    with monkeypatch.context() as patch:
        patch.setattr(SyncState, "commit", _killed)
        with pytest.raises(RuntimeError):
            sync.run(WITHOUT_13, option=option)
    done = len(sync.unset) + len(sync.moengage.emulator.workspace.deleted_users)

    assert sync.run(ONLY_11, option=option)["removed"] == 1
    assert done == 1


# -- Arguments


@pytest.mark.parametrize("given", [-1, 1.5, True, "0.05", None, float("nan"), 2.0])
def test_a_limit_that_is_neither_a_count_nor_a_fraction_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"changed_only\.max_removed .*: expected a count .* or a fraction"):
        ChangedOnly(max_removed=given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mapping": [CustomerMapping(customer_id="id"), DeviceMapping()]}, "exactly one CustomerMapping"),
        ({"mapping": DeviceMapping()}, "exactly one CustomerMapping"),
        (
            {"mapping": CustomerMapping(customer_id=None, user_identifiers={"u_em": "plan"})},
            "with customer_id and",
        ),
        ({"mapping": CustomerMapping(customer_id="id", user_identifiers={"u_em": "plan"})}, "without user_identi"),
        ({"mapping": CustomerMapping(customer_id="id", attributes=[])}, "there are no attributes to unset"),
    ],
)
def test_a_mapping_whose_users_cannot_be_removed_is_refused_when_the_dag_is_parsed(
    sync: Removing, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=f"changed_only.on_removed='unset': .*{message}"):
        sync.run(**options)


def test_a_watermark_is_refused_when_the_dag_is_parsed(sync: Removing) -> None:
    option = ChangedOnly(path=str(sync.folder), on_removed="unset")
    with pytest.raises(ValueError, match=r"changed_only\.on_removed='unset': cannot be combined with watermark"):
        SqlToMoEngageOperator(
            task_id="sync",
            conn_id="warehouse",
            sql="SELECT * FROM users WHERE at >= '{{ since }}' AND at < '{{ until }}'",
            mapping=CustomerMapping(customer_id="id"),
            watermark=Asset("warehouse_users"),
            changed_only=option,
        )


def test_a_mapped_task_is_refused_before_anything_is_sent(sync: Removing) -> None:
    with pytest.raises(MoEngageRequestError, match="is not possible in a mapped task, so nothing was sent"):
        sync.run(map_index=0)
    assert sync.sent == []
