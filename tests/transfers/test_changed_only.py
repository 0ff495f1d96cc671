"""SqlToMoEngageOperator(changed_only=...): what a run sends, and what it refuses."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage.bulk.changed import lease
from airflow_provider_moengage.bulk.changes import ChangedOnly, OnNewColumns
from airflow_provider_moengage.bulk.mapping import CustomerMapping, DeviceMapping, EventMapping
from airflow_provider_moengage.bulk.run.reader import Reader
from airflow_provider_moengage.exceptions import MoEngageError, MoEngageRejectsError, MoEngageRequestError
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from devtools.fake_clock import FakeClock
from tests.delivering import MoEngage, connection_to
from tests.import_files.test_folder import attach


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    with sqlite3.connect(path) as database:
        database.executescript(
            """
            CREATE TABLE users (id INTEGER PRIMARY KEY, plan TEXT);
            INSERT INTO users VALUES (11, 'gold'), (12, 'silver'), (13, 'bronze');
            """
        )
    yield database
    database.close()


def logged(caplog: pytest.LogCaptureFixture, capsys: Any) -> str:
    """Return what was logged: Airflow 3 writes it to the output, Airflow 2 to the logger."""
    captured = capsys.readouterr()
    return f"{caplog.text}{captured.out}{captured.err}"


class Sync:
    """A sync whose runs follow each other, day by day."""

    def __init__(self, moengage: MoEngage, folder: Path) -> None:
        self.moengage = moengage
        self.folder = folder
        self.day = 0
        self._seen = 0

    def run(
        self,
        sql: str = "SELECT * FROM users",
        *,
        day: int | None = None,
        option: ChangedOnly | None = None,
        run_type: str = "scheduled",
        map_index: int = -1,
        task_id: str = "sync",
        **options: Any,
    ) -> dict[str, Any]:
        self.day = self.day + 1 if day is None else day
        given = {"mapping": CustomerMapping(customer_id="id"), "key_columns": ["id"], **options}
        operator = SqlToMoEngageOperator(
            task_id=task_id,
            sql=sql,
            conn_id="warehouse",
            changed_only=option or ChangedOnly(path=str(self.folder)),
            **given,
        )
        ti = SimpleNamespace(dag_id="dag", run_id=f"run {self.day}", task_id=task_id, map_index=map_index)
        context: Any = {
            "ti": ti,
            "dag": SimpleNamespace(start_date=None),
            "dag_run": SimpleNamespace(
                run_id=ti.run_id, run_type=run_type, logical_date=datetime(2026, 1, self.day, tzinfo=UTC)
            ),
            "params": {"resync": True, "keep": False},
        }
        operator.render_template_fields(context)
        return operator.execute(context)

    @property
    def sent(self) -> list[dict[str, Any]]:
        """Attributes and ids of the users that arrived since the last look."""
        new = self.moengage.arrived[self._seen :]
        self._seen += len(new)
        return [{"id": element["customer_id"], **element["attributes"]} for element in new]

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def sync(connected: MoEngage, warehouse: sqlite3.Connection, tmp_path: Path) -> Sync:
    return Sync(connected, tmp_path / "changes")


def test_the_first_run_sends_all_and_the_next_only_what_changed(sync: Sync, warehouse: sqlite3.Connection) -> None:
    first = sync.run()
    assert len(sync.sent) == 3

    warehouse.executescript(
        "UPDATE users SET plan = 'gold' WHERE id = 12; DELETE FROM users WHERE id = 13;"
        "INSERT INTO users VALUES (14, 'silver')"
    )
    second = sync.run()

    counted = ("accepted", "rejected", "unchanged", "new", "changed", "removed")
    assert [first[name] for name in counted] == [3, 0, 0, 3, 0, 0]
    assert [second[name] for name in counted] == [2, 0, 1, 1, 1, 1]
    assert sync.sent == [{"id": "12", "plan": "gold"}, {"id": "14", "plan": "silver"}]


def test_a_dry_run_has_the_counts_of_the_run_that_follows_and_writes_nothing(
    sync: Sync, warehouse: sqlite3.Connection, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    dry_first = sync.run(dry_run=True)
    assert not sync.folder.exists()
    first = sync.run()
    warehouse.executescript("UPDATE users SET plan = 'x' WHERE id = 12; DELETE FROM users WHERE id = 13")
    files = {path: path.read_bytes() for path in sync.files}

    dry = sync.run(dry_run=True)

    assert {path: path.read_bytes() for path in sync.files} == files
    in_words = "; 1 no longer in the query: stay in MoEngage;"
    assert in_words in logged(caplog, capsys)
    caplog.clear()
    second = sync.run()
    assert in_words in logged(caplog, capsys)
    for predicted, real in ((dry_first, first), (dry, second)):
        for name in ("accepted", "rejected", "unchanged", "new", "changed", "removed"):
            assert predicted[name] == real[name]


def test_a_dry_run_may_compare_with_the_state_of_the_task_that_sends_later(
    sync: Sync, warehouse: sqlite3.Connection
) -> None:
    sync.run()
    warehouse.execute("UPDATE users SET plan = 'x' WHERE id = 12")
    warehouse.commit()
    option = ChangedOnly(path=sync.folder, task_id="sync")

    before = sync.run(dry_run=True, option=option, task_id="look")

    assert (before["changed"], before["unchanged"]) == (1, 2)
    with pytest.raises(ValueError, match="task_id: only a dry run may use the state of another task"):
        sync.run(option=option, task_id="look")
    assert sync.run()["changed"] == 1


def test_a_rejected_element_is_sent_again_by_the_next_run_until_it_is_accepted(
    sync: Sync, warehouse: sqlite3.Connection
) -> None:
    sync.run()
    warehouse.execute("UPDATE users SET plan = 'x' WHERE id = 12")
    warehouse.execute("INSERT INTO users VALUES (0, 'refused')")
    warehouse.commit()
    for _ in range(2):
        with pytest.raises(MoEngageRejectsError):
            sync.run()
    warehouse.execute("DELETE FROM users WHERE id = 0")
    warehouse.commit()

    report = sync.run()

    assert (report["accepted"], report["unchanged"], report["removed"]) == (0, 3, 0)


def test_users_and_devices_of_one_row_are_compared_apart(sync: Sync, warehouse: sqlite3.Connection) -> None:
    warehouse.executescript(
        "CREATE TABLE phones (id INTEGER, device_id TEXT, push_id TEXT, platform TEXT, plan TEXT);"
        "INSERT INTO phones VALUES (11, 'a', 'p1', 'iOS', 'gold'), (12, 'b', 'p2', 'ANDROID', 'silver')"
    )
    mappings = [
        CustomerMapping(customer_id="id", attributes=["plan"]),
        DeviceMapping(customer_id="id", attributes=["platform", "push_id"]),
    ]
    sync.run("SELECT * FROM phones", mapping=mappings)
    warehouse.execute("UPDATE phones SET push_id = 'p3' WHERE id = 11")
    warehouse.commit()

    report = sync.run("SELECT * FROM phones", mapping=mappings)

    assert (report["devices"], report["customers"], report["unchanged"]) == (1, 0, 3)


@pytest.mark.parametrize("key_columns", [["id"], None, ["plan", "id"]])
def test_any_order_of_the_rows_will_do(
    sync: Sync, warehouse: sqlite3.Connection, key_columns: list[str] | None
) -> None:
    sync.run(key_columns=key_columns)
    report = sync.run("SELECT * FROM users ORDER BY id DESC", key_columns=None)

    assert (report["accepted"], report["unchanged"]) == (0, 3)


def test_of_several_rows_of_a_user_the_last_one_counts_in_every_run(
    sync: Sync, warehouse: sqlite3.Connection, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse.executescript(
        "CREATE TABLE seen (n INTEGER PRIMARY KEY, id INTEGER, plan TEXT);"
        "INSERT INTO seen VALUES (1, 11, 'a'), (2, 12, 'x'), (3, 11, 'b'), (4, 12, 'x')"
    )
    query = "SELECT id, plan, n FROM seen"
    options: dict[str, Any] = {
        "mapping": CustomerMapping(customer_id="id", attributes=["plan"]),
        "key_columns": ["n"],
    }
    sync.run(query, **options)
    last = {}
    for _ in range(2):
        last.update({user["id"]: user["plan"] for user in sync.sent})
        assert last == {"11": "b", "12": "x"}
        sync.run(query, **options)
    assert [user["id"] for user in sync.sent] == ["11", "11"]
    assert "The query has several rows of 2 users: the last row of each counts" in logged(caplog, capsys)
    warehouse.execute("DELETE FROM seen WHERE n = 3")
    warehouse.commit()
    sync.run(query, **options)
    assert sync.sent == [{"id": "11", "plan": "a"}]


@pytest.mark.parametrize(
    ("action", "sent"), [("send", [{"plan": "gold", "age": 1}]), ("ignore", []), ("fail", ValueError)]
)
def test_a_new_column_is_sent_ignored_or_refused_before_anything_is_sent(
    sync: Sync,
    warehouse: sqlite3.Connection,
    capsys: Any,
    caplog: pytest.LogCaptureFixture,
    action: OnNewColumns,
    sent: Any,
) -> None:
    sync.run("SELECT * FROM users WHERE id = 11")
    sync.sent  # noqa: B018 (forgets them)
    option = ChangedOnly(path=sync.folder, on_new_columns=action)
    query = "SELECT id, plan, 1 AS age FROM users WHERE id = 11"
    if action == "fail":
        with pytest.raises(ValueError, match=r"new columns: age\. Nothing was sent"):
            sync.run(query, option=option)
        return
    for _ in range(2):
        sync.run(query, option=option)

    assert sync.sent == [{"id": "11", **one} for one in sent]
    assert "New columns are" in logged(caplog, capsys)


@pytest.mark.parametrize("action", ["send", "ignore", "fail"])
def test_the_column_of_the_id_in_another_case_is_no_new_attribute(
    sync: Sync, capsys: Any, caplog: pytest.LogCaptureFixture, action: OnNewColumns
) -> None:
    option = ChangedOnly(path=sync.folder, on_new_columns=action)
    sync.run("SELECT id, plan FROM users")

    for _ in range(2):
        report = sync.run("SELECT id AS ID, plan FROM users", option=option)
        assert report["unchanged"] == 3
    assert "New columns" not in logged(caplog, capsys)


@pytest.mark.parametrize("why", ["resync", "mapping"])
def test_a_resync_and_another_mapping_send_all_and_remove_nobody(
    sync: Sync, warehouse: sqlite3.Connection, why: str
) -> None:
    sync.run()
    warehouse.execute("DELETE FROM users WHERE id = 13")
    warehouse.commit()
    options: dict[str, Any] = {"option": ChangedOnly(path=sync.folder, resync="{{ params.resync }}")}
    if why == "mapping":
        options = {"mapping": CustomerMapping(customer_id="id", attributes={"tier": "plan"})}

    report = sync.run(**options)

    assert (report["accepted"], report["unchanged"], report["removed"]) == (2, 0, 0)
    options.pop("option", None)
    assert sync.run(**options)["removed"] == 1


def test_a_query_without_rows_removes_nobody(sync: Sync, warehouse: sqlite3.Connection) -> None:
    sync.run()

    assert sync.run("SELECT * FROM users WHERE id < 0")["removed"] == 0
    assert sync.run()["unchanged"] == 3


def test_a_backfill_of_one_part_forgets_nobody(sync: Sync) -> None:
    sync.run()

    assert sync.run("SELECT * FROM users WHERE id = 11", run_type="backfill")["removed"] == 0
    assert sync.run()["unchanged"] == 3


@pytest.mark.parametrize(("before", "after"), [(None, "brand-a"), ("brand-a", None), ("brand-a", "brand-b")])
def test_a_state_of_another_project_is_refused(sync: Sync, before: str | None, after: str | None) -> None:
    sync.run(project_code=before)
    assert len(sync.sent) == 3

    with pytest.raises(MoEngageRequestError, match="of another project_code, so nothing was sent"):
        sync.run(project_code=after)
    assert not sync.sent
    assert sync.run(project_code=before)["unchanged"] == 3


def test_a_state_of_another_workspace_is_refused(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    sync.run()
    other = json.loads(connection_to(sync.moengage)) | {"login": "ANOTHER"}
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps(other))

    with pytest.raises(MoEngageRequestError, match="of another workspace, so nothing was sent"):
        sync.run()


def test_a_run_of_an_earlier_date_is_refused(sync: Sync) -> None:
    sync.run(day=9)
    sync.sent  # noqa: B018 (forgets them)

    with pytest.raises(MoEngageRequestError, match=r"of a later run \(dag.sync, run run 9\), so nothing was sent"):
        sync.run(day=8)
    assert sync.sent == []
    assert sync.run(day=9)["unchanged"] == 3  # a Clear


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("damage", [_cut, _flip, Path.unlink])
@pytest.mark.parametrize("name", ["part", "manifest"])
def test_a_damaged_state_sends_all_removes_nobody_and_says_so(
    sync: Sync,
    warehouse: sqlite3.Connection,
    capsys: Any,
    caplog: pytest.LogCaptureFixture,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    sync.run()
    damage([file for file in sync.files if file.name.startswith(name)][-1])
    warehouse.execute("DELETE FROM users WHERE id = 13")
    warehouse.commit()

    report = sync.run()

    assert (report["accepted"], report["unchanged"], report["removed"]) == (2, 0, 0)
    assert re.search("damaged|No earlier run has read all rows", logged(caplog, capsys))
    assert sync.run()["unchanged"] == 2


class _RenewingClock(FakeClock):
    """While a run waits, another one renews its lease."""

    def __init__(self, lease: Path) -> None:
        super().__init__()
        self._lease = lease

    def wait(self, stopped: Any, seconds: float) -> bool:
        content = json.loads(self._lease.read_text())
        self._lease.write_text(json.dumps({**content, "renewals": content["renewals"] + 1}))
        return super().wait(stopped, seconds)


@pytest.mark.parametrize("is_alive", [True, False])
def test_the_second_of_two_runs_at_once_fails_by_name_and_one_after_a_kill_takes_over(
    sync: Sync, monkeypatch: pytest.MonkeyPatch, is_alive: bool
) -> None:
    sync.run()
    [folder] = sync.folder.iterdir()
    left = folder / "lease.json"
    assert not left.exists()
    left.write_text(json.dumps({"token": "x", "run": "dag.sync, run other", "renewals": 3}))
    clock = _RenewingClock(left) if is_alive else FakeClock()
    monkeypatch.setattr("airflow_provider_moengage.bulk.run.context.SystemClock", lambda: clock)

    if is_alive:
        with pytest.raises(
            MoEngageError, match=r"Nothing was sent because dag\.sync, run other is using the state"
        ):
            sync.run()
        assert left.exists()
    else:
        assert sync.run()["unchanged"] == 3


def test_the_state_has_no_id_and_no_value_and_only_its_owner_reads_it(
    sync: Sync, warehouse: sqlite3.Connection
) -> None:
    warehouse.execute("INSERT INTO users VALUES (770077, 'a-secret-plan')")
    warehouse.commit()
    sync.run()

    for file in sync.files:
        data = file.read_bytes()
        assert b"770077" not in data
        assert b"a-secret-plan" not in data
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    [folder] = sync.folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    [part] = [file for file in sync.files if file.name.startswith("part")]
    assert part.stat().st_size < 4 * 24 + 100


def test_only_two_generations_are_kept(sync: Sync) -> None:
    for _ in range(5):
        sync.run()

    names = [file.name.split("-")[0] for file in sync.files]
    assert sorted(names) == ["begun", "begun", "manifest", "manifest", "part", "part"]


def test_arguments_that_do_not_go_together_are_named_when_the_dag_is_parsed(sync: Sync) -> None:
    event = EventMapping(action="Purchase", time="at")
    with pytest.raises(ValueError, match="changed_only: expected mappings of customers and devices only"):
        sync.run(mapping=[CustomerMapping(), event])
    with pytest.raises(ValueError, match=r"changed_only: expected ChangedOnly\(\.\.\.\), not bool"):
        sync.run(option=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"changed_only.on_removed 'erase': expected"):
        ChangedOnly(on_removed="erase")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"changed_only.path: expected a folder for the state"):
        sync.run(option=ChangedOnly())


def test_the_folder_may_be_set_for_the_deployment(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MOENGAGE__CHANGES_PATH", str(sync.folder))
    sync.run(option=ChangedOnly())

    assert sync.run(option=ChangedOnly())["unchanged"] == 3


def test_an_object_store_will_do(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    attach("memory", monkeypatch)
    option = ChangedOnly(path="memory://bucket/changes")
    sync.run(option=option)

    assert sync.run(option=option)["unchanged"] == 3


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_sent(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync.folder.write_text("a file")

    with pytest.raises(MoEngageRequestError, match=r"could not be opened \(Not a directory\); nothing was sent"):
        sync.run()
    assert sync.sent == []


def test_a_lease_is_renewed_while_the_run_waits(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED_EVERY", 0.01)
    seen = set()

    def slow(self: Any, elements: Any) -> Any:
        [file] = sync.folder.glob("*/lease.json")
        for _ in range(500):
            with suppress(ValueError):
                seen.add(json.loads(file.read_text())["renewals"])
            if len(seen) > 2:
                break
            threading.Event().wait(0.01)
        return changed(self, elements)

    changed = Reader.changed
    monkeypatch.setattr(Reader, "changed", slow)
    sync.run()

    assert len(seen) > 2
    assert not list(sync.folder.glob("*/lease.json"))


def test_map_indexes_of_a_task_have_states_of_their_own(sync: Sync) -> None:
    sync.run(map_index=0)
    assert sync.run(map_index=1)["new"] == 3
    assert sync.run(map_index=0)["unchanged"] == 3
