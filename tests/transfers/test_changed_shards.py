"""SqlToMoEngageOperator(changed_only=...) with key_range: the shards of a run share one state."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_moengage.bulk.changed import lease
from airflow_provider_moengage.bulk.changed.shards.state import ShardState
from airflow_provider_moengage.bulk.changes import ChangedOnly
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.bulk.run.delivery import Delivery
from airflow_provider_moengage.emulator.faults import Fault
from airflow_provider_moengage.exceptions import (
    MoEngageError,
    MoEngageRejectsError,
    MoEngageRemovalError,
    MoEngageRequestError,
)
from airflow_provider_moengage.transfers.shards import plan_shards
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from devtools.fake_clock import FakeClock
from tests.delivering import MoEngage
from tests.import_files.test_folder import attach

SQL = "SELECT id, plan FROM users"


class Sharded:
    """A sync whose runs are split into shards."""

    def __init__(self, moengage: MoEngage, warehouse: sqlite3.Connection, folder: Path) -> None:
        self.moengage = moengage
        self.warehouse = warehouse
        self.folder = folder
        self.run_number = 0
        self.has_dates = False
        self.options: dict[str, Any] = {"on_removed": "unset", "max_removed": 1.0}
        self._seen = 0

    def plan(self, shards: int) -> list[dict[str, Any]]:
        return plan_shards(conn_id="warehouse", sql=SQL, key_columns=["id"], shards=shards)

    def begin(self) -> None:
        self.run_number += 1

    def shard(
        self,
        number: int,
        key_range: dict[str, Any] | None,
        *,
        epoch: int = 0,
        run: int | None = None,
        clear: int = 0,
        **options: Any,
    ) -> dict[str, Any]:
        """Run one task, of the current run if no other is given.

        :param epoch: how often the task was cleared.
        :param clear: how often the Dag run was cleared, as far as Airflow counts that.
        """
        given = {
            "sql": SQL,
            "mapping": CustomerMapping(customer_id="id", attributes=["plan"]),
            "key_columns": ["id"],
            "changed_only": ChangedOnly(**{"path": self.folder, **self.options}),
            **options,
        }
        operator = SqlToMoEngageOperator(
            task_id="sync", conn_id="warehouse", key_range=json.loads(json.dumps(key_range)), **given
        )
        at = self.run_number if run is None else run
        run_id = f"run {at}"
        ti = SimpleNamespace(
            dag_id="dag", run_id=run_id, task_id="sync", map_index=number, max_tries=epoch, try_number=1
        )
        context: Any = {"ti": ti, "dag": SimpleNamespace(start_date=None), "params": {}, "task": operator}
        moment = datetime(2026, 1, at, tzinfo=UTC) if self.has_dates else None
        context["dag_run"] = SimpleNamespace(
            run_id=run_id, run_type="scheduled", logical_date=moment, run_after=None, clear_number=clear
        )
        operator.render_template_fields(context)
        return operator.execute(context)

    def run(self, shards: int = 3, **options: Any) -> list[dict[str, Any]]:
        """Run all tasks of a new run."""
        self.begin()
        return [self.shard(number, one, **options) for number, one in enumerate(self.plan(shards))]

    def arrived(self) -> dict[str, Any]:
        """Return what has arrived since the last look: the plan of each user, None if it was unset."""
        new = self.moengage.arrived[self._seen :]
        self._seen += len(new)
        return {
            element["customer_id"]: None if "unset_attributes" in element else element["attributes"]["plan"]
            for element in new
        }


@pytest.fixture
def sync(connected: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, plan TEXT)")
    database.executemany("INSERT INTO users VALUES (?, 'gold')", [(number,) for number in range(100, 160)])
    yield Sharded(connected, database, tmp_path / "changes")
    database.close()


def test_each_shard_sends_what_changed_and_the_last_one_removes(sync: Sharded) -> None:
    first = sync.run()
    assert [one["new"] for one in first] == [20, 20, 20]
    assert len(sync.arrived()) == 60
    sync.warehouse.executescript(
        "UPDATE users SET plan = 'x' WHERE id = 145; DELETE FROM users WHERE id IN (105, 125);"
        "INSERT INTO users VALUES (160, 'gold')"
    )
    ranges = sync.plan(3)
    sync.begin()
    reports = [sync.shard(number, ranges[number]) for number in (2, 0, 1)]

    assert [one["removed"] for one in reports] == [0, 0, 2]
    assert sum(one["unchanged"] for one in reports) == 57
    assert sync.arrived() == {"145": "x", "160": "gold", "105": None, "125": None}
    assert all(one["accepted"] == 0 for one in sync.run())
    assert sync.arrived() == {}


@pytest.mark.parametrize("shards", [1, 2, 5, 7])
def test_other_ranges_send_nothing_needless_and_remove_nobody_wrongly(sync: Sharded, shards: int) -> None:
    sync.run(4)
    sync.arrived()
    sync.warehouse.executescript("DELETE FROM users WHERE id = 111; UPDATE users SET plan = 'x' WHERE id = 150")

    reports = sync.run(shards)

    assert sync.arrived() == {"111": None, "150": "x"}
    assert sum(one["removed"] for one in reports) == 1
    assert sum(one["unchanged"] for one in reports) == 58


def test_a_task_that_reads_all_rows_continues_from_shards_and_the_other_way_round(sync: Sharded) -> None:
    sync.run(3)
    sync.arrived()
    sync.warehouse.execute("DELETE FROM users WHERE id = 130")
    sync.begin()
    whole = sync.shard(-1, None)
    sync.warehouse.execute("DELETE FROM users WHERE id = 131")
    sharded = sync.run(2)

    assert (whole["unchanged"], whole["removed"]) == (59, 1)
    assert (sum(one["unchanged"] for one in sharded), sum(one["removed"] for one in sharded)) == (58, 1)


def test_if_one_shard_fails_nobody_is_removed_and_the_others_send_nothing_again(sync: Sharded) -> None:
    sync.run()
    sync.arrived()
    sync.warehouse.executescript("DELETE FROM users WHERE id < 104; UPDATE users SET plan = 'x' WHERE id > 155")
    ranges = sync.plan(3)
    sync.begin()
    for number in (0, 2):
        assert sync.shard(number, ranges[number])["removed"] == 0
    assert len(sync.arrived()) == 4

    sync.begin()  # the next run, with other ranges
    reports = [sync.shard(number, one) for number, one in enumerate(sync.plan(2))]

    assert sync.arrived() == dict.fromkeys(map(str, range(100, 104)))
    assert [one["accepted"] for one in reports] == [0, 0]


def test_max_removed_counts_all_shards_before_the_first_removal(sync: Sharded) -> None:
    sync.options["max_removed"] = 4
    sync.run()
    sync.arrived()
    sync.warehouse.execute("DELETE FROM users WHERE id % 20 < 2")
    sync.begin()
    ranges = sync.plan(3)
    sync.shard(0, ranges[0])
    sync.shard(1, ranges[1])
    with pytest.raises(MoEngageRemovalError, match="6 users would be removed"):
        sync.shard(2, ranges[2])
    assert sync.arrived() == {}

    sync.options["max_removed"] = 6
    assert sum(one["removed"] for one in sync.run()) == 6


def test_a_removal_that_fails_is_made_by_the_next_run(sync: Sharded) -> None:
    sync.run()
    sync.arrived()
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")
    sync.begin()
    ranges = sync.plan(2)
    sync.shard(0, ranges[0])
    sync.moengage.emulator.workspace.add_fault(Fault("refuse", times=None, customer_id="100"))
    with pytest.raises(MoEngageRemovalError, match="1 user could not be removed"):
        sync.shard(1, ranges[1])
    sync.moengage.emulator.workspace.clear_faults()
    assert sum(one["removed"] for one in sync.run(2)) == 1
    assert sync.arrived() == {"100": None}


@pytest.mark.parametrize("on_removed", ["keep", "unset", "delete"])
@pytest.mark.parametrize("later", ["a shard", "a whole task"])
def test_a_shard_of_an_earlier_run_sends_and_removes_nothing_once_a_later_run_has_begun(
    sync: Sharded, on_removed: str, later: str
) -> None:
    sync.options["on_removed"] = on_removed
    sync.run(2)
    ranges = sync.plan(2)
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")
    sync.begin()
    sync.shard(0, ranges[0])
    sync.warehouse.executescript(
        "INSERT INTO users VALUES (100, 'back'); UPDATE users SET plan = 'x' WHERE id = 101"
    )
    sync.begin()
    if later == "a shard":
        sync.shard(0, ranges[0])
    else:
        sync.moengage.emulator.workspace.add_fault(Fault("status", status=401, times=None))
        with pytest.raises(MoEngageError, match="401"):
            sync.shard(-1, None)
        sync.moengage.emulator.workspace.clear_faults()
    sync.arrived()
    state = _files(sync.folder)

    for number in (1, 0):
        with pytest.raises(MoEngageRequestError, match=r"A later run \(dag\.sync, run run 3\) has begun"):
            sync.shard(number, ranges[number], run=2, epoch=1, clear=1)

    assert sync.arrived() == {}
    assert sync.moengage.emulator.workspace.deleted_users == []
    assert _files(sync.folder) == state
    sync.warehouse.execute("DELETE FROM users WHERE id = 159")
    if later == "a shard":
        assert sync.shard(1, ranges[1])["removed"] == 1
    else:
        assert sum(one["removed"] for one in sync.run(2)) == 1
    assert all(one["accepted"] == one["removed"] == 0 for one in sync.run(3))


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("later", ["shards", "a whole task"])
@pytest.mark.parametrize("earlier", ["shards", "a whole task"])
def test_a_run_of_an_earlier_date_is_refused_while_a_later_one_is_under_way(
    sync: Sharded, later: str, earlier: str
) -> None:
    sync.has_dates = True
    sync.run(2)
    ranges = sync.plan(2)
    sync.warehouse.executescript("UPDATE users SET plan = 'x' WHERE id IN (100, 159)")
    sync.begin()
    sync.begin()
    if later == "shards":
        assert sync.shard(0, ranges[0])["changed"] == 1
    else:
        sync.moengage.emulator.workspace.add_fault(Fault("status", status=401, times=None))
        with pytest.raises(MoEngageError, match="401"):
            sync.shard(-1, None)
        sync.moengage.emulator.workspace.clear_faults()
    sync.arrived()
    sync.warehouse.executescript("UPDATE users SET plan = 'of the earlier run'")
    state = _files(sync.folder)

    number, key_range = (1, ranges[1]) if earlier == "shards" else (-1, None)
    for dry_run in (False, True):
        with pytest.raises(MoEngageRequestError, match=r"A later run \(dag\.sync, run run 3\) has begun"):
            sync.shard(number, key_range, run=2, dry_run=dry_run)

    assert sync.arrived() == {}
    assert _files(sync.folder) == state
    if later == "shards":
        sync.shard(1, ranges[1])
    else:
        sync.shard(-1, None)
    sync.begin()
    assert sync.shard(-1, None)["unchanged"] == 30 + 30 * (later != "shards")


@pytest.mark.parametrize("counted", [True, False], ids=["clears are counted", "clears are not counted"])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_if_a_run_is_cleared_all_of_its_shards_have_to_be_done_again(
    sync: Sharded, first: int, counted: bool
) -> None:
    """Until then, a user has come back whose shard has not read the row yet."""
    sync.run()
    sync.arrived()
    ranges = sync.plan(3)
    sync.begin()
    sync.warehouse.execute("DELETE FROM users WHERE id IN (100, 120, 150)")
    for number in (0, 1):
        sync.shard(number, ranges[number])
    sync.warehouse.execute("INSERT INTO users VALUES (100, 'gold'), (120, 'gold')")

    clear = {"clear": 1 if counted else 0}
    others = [number for number in range(3) if number != first]
    reports = [sync.shard(number, ranges[number], epoch=1, **clear) for number in (first, *others)]

    assert [one["removed"] for one in reports] == [0, 0, 1]
    assert sync.arrived() == {"150": None}


def test_if_only_the_failed_shard_is_cleared_the_next_run_removes(sync: Sharded) -> None:
    sync.run(2)
    sync.arrived()
    ranges = sync.plan(2)
    sync.begin()
    sync.warehouse.executescript("DELETE FROM users WHERE id = 100; UPDATE users SET plan = 'x' WHERE id > 157")
    sync.shard(0, ranges[0])

    assert sync.shard(1, ranges[1], epoch=1, clear=1)["removed"] == 0

    assert sync.arrived() == {"158": "x", "159": "x"}
    reports = sync.run(3)
    assert (sum(one["accepted"] for one in reports), sum(one["removed"] for one in reports)) == (0, 1)


def test_a_shard_whose_dag_run_was_cleared_while_it_waited_counts_from_then_on(sync: Sharded) -> None:
    sync.run(2)
    ranges = sync.plan(2)
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")
    sync.begin()
    sync.shard(0, ranges[0], clear=1, epoch=1)

    assert sync.shard(1, ranges[1], clear=0)["removed"] == 1


def test_a_cleared_run_with_other_ranges_removes_when_they_are_complete(sync: Sharded) -> None:
    sync.run(3)
    sync.arrived()
    old = sync.plan(3)
    sync.begin()
    for number in (0, 1):
        sync.shard(number, old[number])
    sync.warehouse.execute("DELETE FROM users WHERE id IN (100, 139, 140)")
    new = sync.plan(2)

    reports = [sync.shard(number, new[number], epoch=1, clear=1) for number in (1, 0)]

    assert [one["removed"] for one in reports] == [0, 3]
    assert sync.arrived() == {"100": None, "139": None, "140": None}


def test_a_shard_that_is_not_part_of_the_chain_keeps_the_result_waiting(sync: Sharded) -> None:
    """Ranges of one's own may overlap."""
    sync.run(2)
    ranges = [*sync.plan(2), {"after": [140], "up_to": [150]}]
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")
    sync.begin()
    sync.warehouse.execute("UPDATE users SET plan = 'x' WHERE id = 145")
    sync.moengage.emulator.workspace.add_fault(Fault("status", status=401, times=None))
    with pytest.raises(MoEngageError, match="401"):
        sync.shard(2, ranges[2])
    sync.moengage.emulator.workspace.clear_faults()

    assert [sync.shard(number, ranges[number])["removed"] for number in (0, 1)] == [0, 0]
    assert sync.shard(2, ranges[2])["removed"] == 1


def test_resync_sends_all_and_removes_nobody(sync: Sharded) -> None:
    sync.run(2)
    sync.arrived()
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")
    sync.options["resync"] = True
    reports = sync.run(2)
    assert (sum(one["accepted"] for one in reports), sum(one["removed"] for one in reports)) == (59, 0)
    sync.options["resync"] = False
    assert sum(one["removed"] for one in sync.run(2)) == 1


def test_a_row_without_a_key_fails_the_first_shard_and_nobody_is_removed(sync: Sharded) -> None:
    sync.options["on_removed"] = "delete"
    sync.warehouse.executescript("CREATE TABLE others AS SELECT id, plan FROM users")
    query: dict[str, Any] = {"sql": "SELECT id, plan FROM others"}
    sync.run(2, **query)
    ranges = sync.plan(2)
    sync.warehouse.execute("UPDATE others SET id = NULL WHERE id = 150")
    sync.begin()

    assert sync.shard(1, ranges[1], **query)["removed"] == 0
    with pytest.raises(ValueError, match="some rows of the query have a NULL"):
        sync.shard(0, ranges[0], **query)

    assert sync.moengage.emulator.workspace.deleted_users == []


def test_a_shard_that_hangs_while_it_removes_is_stopped_by_one_that_runs_again(
    sync: Sharded, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync.run(2)
    sync.arrived()
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")
    sync.begin()
    ranges = sync.plan(2)
    sync.shard(0, ranges[0])
    clock = FakeClock()
    monkeypatch.setattr("airflow_provider_moengage.bulk.run.context.SystemClock", lambda: clock)
    remove = Delivery._remove

    def hanging(delivery: Delivery, *given: Any) -> None:
        monkeypatch.setattr(Delivery, "_remove", remove)
        sync.warehouse.execute("INSERT INTO users VALUES (100, 'back')")
        sync.shard(0, ranges[0], epoch=1)  # nobody renews the lease while the fake clock passes
        remove(delivery, *given)

    monkeypatch.setattr(Delivery, "_remove", hanging)
    with pytest.raises(MoEngageError, match="Another try of this task has taken over"):
        sync.shard(1, ranges[1])
    assert sync.arrived() == {"100": "back"}


def test_a_mark_that_is_damaged_counts_as_one_of_another_run(sync: Sharded) -> None:
    sync.run(2)
    ranges = sync.plan(2)
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")
    sync.begin()
    sync.shard(0, ranges[0])
    [state] = sync.folder.iterdir()
    max(state.glob("begun-*")).write_text("{}")

    assert sync.shard(1, ranges[1])["removed"] == 0
    assert sum(one["removed"] for one in sync.run(2)) == 1


def test_a_shard_that_runs_again_is_not_done_until_it_is(sync: Sharded) -> None:
    sync.run(2)
    sync.arrived()
    ranges = sync.plan(2)
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")
    sync.begin()
    sync.shard(0, ranges[0])
    sync.warehouse.execute("INSERT INTO users VALUES (100, 'back')")
    sync.shard(0, ranges[0], epoch=1)
    assert sync.arrived() == {"100": "back"}

    sync.shard(1, ranges[1])

    assert sync.arrived() == {}
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")
    assert sum(one["removed"] for one in sync.run(2)) == 1


def test_two_runs_at_once_cannot_both_store_a_result(sync: Sharded, monkeypatch: pytest.MonkeyPatch) -> None:
    sync.run(2)
    ranges = sync.plan(2)
    [state] = sync.folder.iterdir()
    (state / "lease-0.json").write_text(json.dumps({"token": "x", "run": "another run", "renewals": 3}))
    clock = FakeClock()
    real = clock.wait

    def renewing(event: Any, seconds: float) -> Any:
        (state / "lease-0.json").write_text(json.dumps({"token": "x", "run": "another run", "renewals": 4}))
        return real(event, seconds)

    monkeypatch.setattr(clock, "wait", renewing)
    monkeypatch.setattr("airflow_provider_moengage.bulk.run.context.SystemClock", lambda: clock)
    sync.begin()
    with pytest.raises(MoEngageError, match="Nothing was sent because another run is using the state"):
        sync.shard(1, ranges[1])

    monkeypatch.setattr(clock, "wait", real)
    assert sync.shard(1, ranges[1])["unchanged"] == 30  # the other one was killed
    assert not list(state.glob("lease*"))


def test_a_shard_does_not_begin_while_the_result_of_its_run_is_stored(
    sync: Sharded, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync.run(2)
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")
    sync.begin()
    ranges = sync.plan(2)
    sync.shard(0, ranges[0])
    monkeypatch.setattr(lease, "RENEWED_EVERY", 0.02)
    tried: list[str] = []
    remove = Delivery._remove

    def removing(delivery: Delivery, *given: Any) -> None:
        with pytest.raises(MoEngageError, match="is using the state"):
            sync.shard(0, ranges[0], epoch=1)
        tried.append("shard 0")
        remove(delivery, *given)

    monkeypatch.setattr(Delivery, "_remove", removing)
    assert sync.shard(1, ranges[1])["removed"] == 1
    assert tried == ["shard 0"]


def test_a_row_without_a_readable_id_in_any_shard_removes_nobody(sync: Sharded) -> None:
    def by_number(number: int, ranges: list[dict[str, Any]]) -> Any:
        sql = "SELECT id AS number, nullif(id, 101) AS id, plan FROM users"
        return sync.shard(number, ranges[number], sql=sql, key_columns=["number"])

    sync.options = {}
    sync.run(2)
    ranges = sync.plan(2)
    sync.warehouse.execute("DELETE FROM users WHERE id = 159")
    sync.begin()
    with pytest.raises(MoEngageRejectsError):
        by_number(0, ranges)
    assert by_number(1, ranges)["removed"] == 0
    assert sum(one["removed"] for one in sync.run(2)) == 1


def test_the_state_has_no_key_of_a_range(sync: Sharded) -> None:
    sync.options = {}
    sync.run(3)
    sync.begin()
    sync.shard(0, sync.plan(3)[0])

    content = b"".join(file.read_bytes() for file in sync.folder.rglob("*") if file.is_file())
    assert b"done-" not in content
    for number in (119, 120, 139, 140):
        assert f"[{number}]".encode() not in content
    assert all(file.stat().st_mode & 0o077 == 0 for file in sync.folder.rglob("*"))


@pytest.mark.parametrize(
    ("number", "key_range", "message"),
    [
        (-1, {"after": None, "up_to": [5]}, "changed_only: key_range is only possible in a mapped task"),
        (0, {"starting_at": [5]}, "changed_only: expected ranges of plan_shards"),
    ],
)
def test_ranges_that_others_cannot_complete_are_refused(
    sync: Sharded, number: int, key_range: dict[str, Any], message: str
) -> None:
    sync.begin()
    with pytest.raises(ValueError, match=message):
        sync.shard(number, key_range)
    assert sync.arrived() == {}


def test_removals_need_a_key_that_stays_in_its_range(sync: Sharded) -> None:
    with pytest.raises(ValueError, match="with key_range, expected key_columns with customer_id only"):
        sync.shard(0, {"after": None, "up_to": None}, key_columns=["plan", "id"])


@pytest.mark.parametrize("shards", [2, 3])
def test_an_object_store_will_do(sync: Sharded, monkeypatch: pytest.MonkeyPatch, shards: int) -> None:
    attach("memory", monkeypatch)
    sync.options["path"] = f"memory://shards-{shards}/changes"
    sync.run(2)
    sync.arrived()
    sync.warehouse.executescript("DELETE FROM users WHERE id = 100; UPDATE users SET plan = 'x' WHERE id = 159")
    assert sum(one["removed"] for one in sync.run(shards)) == 1
    assert sync.arrived() == {"100": None, "159": "x"}


def test_a_dry_run_of_a_shard_counts_its_rows_and_writes_nothing(sync: Sharded) -> None:
    sync.run(2)
    sync.warehouse.execute("UPDATE users SET plan = 'x' WHERE id = 100")
    files = {path: path.read_bytes() for path in sync.folder.rglob("*") if path.is_file()}

    reports = sync.run(2, dry_run=True)

    assert [(one["changed"], one["unchanged"], one["removed"]) for one in reports] == [(1, 29, 0), (0, 30, 0)]
    assert {path: path.read_bytes() for path in sync.folder.rglob("*") if path.is_file()} == files


@pytest.mark.parametrize(("damaged", "removed_later"), [(0, 0), (1, 1)])
def test_a_damaged_part_sends_its_users_and_removes_nobody(
    sync: Sharded, damaged: int, removed_later: int
) -> None:
    sync.run(2)
    sync.arrived()
    [state] = sync.folder.iterdir()
    newest = max(state.glob("manifest-*.json"))
    part = state / json.loads(newest.read_text())["parts"][damaged]
    data = bytearray(part.read_bytes())
    data[40] ^= 1
    part.write_bytes(data)
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")

    assert sum(one["removed"] for one in sync.run(2)) == 0
    users = range(101, 130) if damaged == 0 else range(130, 160)
    assert set(sync.arrived()) == set(map(str, users))
    # If it is not known any more that MoEngage has the user, the user stays.
    assert sum(one["removed"] for one in sync.run(2)) == removed_later


@pytest.mark.parametrize(("kind", "is_lost"), [("part", True), ("part", False), ("ids", True)])
def test_a_file_of_a_shard_that_vanishes_is_named_and_a_clear_of_all_shards_heals(
    sync: Sharded, kind: str, is_lost: bool
) -> None:
    sync.run(2)
    sync.warehouse.executescript("DELETE FROM users WHERE id = 100; UPDATE users SET plan = 'x' WHERE id = 159")
    ranges = sync.plan(2)
    sync.begin()
    sync.shard(0, ranges[0])
    sync.arrived()
    [state] = sync.folder.iterdir()
    [file] = state.glob(f"{kind}-00000003-*")
    if is_lost:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-3])

    with pytest.raises(AirflowFailException, match=rf"^Files of other .*{file.name}.* clear all shards"):
        sync.shard(1, ranges[1])

    assert sync.arrived() == {"159": "x"}
    reports = [sync.shard(number, ranges[number], epoch=1, clear=1) for number in (0, 1)]
    assert [one["removed"] for one in reports] == [0, 1]
    assert sync.arrived() == {"100": None}
    assert all(one["accepted"] == one["removed"] == 0 for one in sync.run(2))


@pytest.mark.parametrize("lost", ["its own file", "all files", "a file of a shard that runs again"])
def test_lost_files_that_a_retry_writes_again_leave_it_to_a_retry(
    sync: Sharded, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    sync.run(2)
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")
    ranges = sync.plan(2)
    sync.begin()
    sync.shard(0, ranges[0])
    sync.arrived()
    [state] = sync.folder.iterdir()
    [other] = state.glob("part-00000003-*")
    monkeypatch.setattr(lease, "RENEWED_EVERY", 0.02)
    compare = ShardState._compare_all
    is_cleared = lost == "a file of a shard that runs again"

    def losing(shard: ShardState, done: Any) -> None:
        monkeypatch.setattr(ShardState, "_compare_all", compare)
        for file in state.glob("part-00000003-*"):
            if lost == "all files" or (file == other) == is_cleared:
                file.unlink()
        if is_cleared:
            with pytest.raises(MoEngageError, match="is using the state"):
                sync.shard(0, ranges[0], epoch=1)
        compare(shard, done)

    monkeypatch.setattr(ShardState, "_compare_all", losing)
    with pytest.raises(MoEngageError, match=r"^Files of this run in .* A retry") as caught:
        sync.shard(1, ranges[1])

    assert not isinstance(caught.value, AirflowFailException)
    if lost == "all files":  # the retry finds that the other shard's file is not there
        with pytest.raises(AirflowFailException, match=r"^Files of other shards"):
            sync.shard(1, ranges[1])
        return
    reports = [sync.shard(1, ranges[1])]
    if is_cleared:
        reports.append(sync.shard(0, ranges[0], epoch=1))
    assert [one["removed"] for one in reports][-1] == 1
    assert sync.arrived() == {"100": None}


def test_a_user_in_two_shards_counts_once_and_is_sent_until_the_rows_agree(sync: Sharded) -> None:
    sync.options = {}
    sync.warehouse.executescript(
        "CREATE TABLE visits (n INTEGER PRIMARY KEY, id INTEGER, plan TEXT);"
        "INSERT INTO visits VALUES (1, 11, 'a'), (2, 12, 'x'), (3, 11, 'b'), (4, 13, 'x')"
    )

    def run() -> int:
        sync.begin()
        ranges = [{"after": None, "up_to": [2]}, {"after": [2], "up_to": None}]
        sql = "SELECT n, id, plan FROM visits"
        return sum(sync.shard(at, one, sql=sql, key_columns=["n"])["accepted"] for at, one in enumerate(ranges))

    assert [run() for _ in range(3)] == [4, 2, 2]
    sync.warehouse.execute("UPDATE visits SET plan = 'b' WHERE n = 1")
    assert run() == 1
    assert [run() for _ in range(2)] == [0, 0]
    sync.warehouse.execute("UPDATE visits SET plan = 'c' WHERE id = 11")
    assert (run(), run()) == (1, 0)


def test_a_lost_older_manifest_sends_all_again_once_and_stops_no_run(sync: Sharded) -> None:
    for _ in range(2):
        sync.run(2)
    [state] = sync.folder.iterdir()
    min(state.glob("manifest-*.json")).unlink()
    sync.warehouse.execute("DELETE FROM users WHERE id = 100")

    for _ in range(3):
        reports = sync.run(2)

    assert (sum(one["accepted"] for one in reports), sum(one["unchanged"] for one in reports)) == (0, 59)
    sync.warehouse.execute("DELETE FROM users WHERE id = 101")
    assert sum(one["removed"] for one in sync.run(2)) == 1
