"""SqlToMoEngageCohortOperator: who is added to a segment, who is removed, and when nobody is."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.bulk.changed.state import SyncState
from airflow_provider_moengage.bulk.changes import ChangedOnly
from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import (
    MoEngageError,
    MoEngageRejectsError,
    MoEngageRemovalError,
    MoEngageRequestError,
)
from airflow_provider_moengage.transfers.sql_to_moengage_cohort import SqlToMoEngageCohortOperator
from tests.delivering import MoEngage
from tests.transfers.test_changed_only import logged, warehouse

__all__ = ["warehouse"]

PATH = "/v1/integrations/cohortsync"
ALL = "SELECT id FROM users"
WITHOUT_13 = "SELECT id FROM users WHERE id <> 13"
ONLY_11 = "SELECT id FROM users WHERE id = 11"
NOBODY = "SELECT id FROM users WHERE id = 0"


class Segment:
    """A segment whose runs follow each other, day by day. All may leave, unless a test says otherwise."""

    def __init__(self, moengage: MoEngage, folder: Path) -> None:
        self.moengage = moengage
        self.folder = folder
        self.day = 0

    def run(
        self,
        sql: str = ALL,
        *,
        day: int | None = None,
        map_index: int = -1,
        run_type: str = "scheduled",
        **options: Any,
    ) -> dict[str, Any]:
        self.day = self.day + 1 if day is None else day
        given: dict[str, Any] = {"cohort_id": "c1", "max_removed": 1.0, "user_id": "id", **options}
        if given.get("mode", "mirror") == "mirror":
            given.setdefault("changed_only", ChangedOnly(path=str(self.folder)))
        operator = SqlToMoEngageCohortOperator(task_id="sync", sql=sql, conn_id="warehouse", **given)
        ti = SimpleNamespace(
            dag_id="dag", run_id=f"run {self.day}", task_id="sync", map_index=map_index, max_tries=0, try_number=1
        )
        context: Any = {
            "ti": ti,
            "dag": SimpleNamespace(start_date=None),
            "dag_run": SimpleNamespace(
                run_id=ti.run_id, run_type=run_type, logical_date=datetime(2026, 1, self.day, tzinfo=UTC)
            ),
            "params": {"none": None, "segment": "c1"},
        }
        operator.render_template_fields(context)
        return operator.execute(context)

    @property
    def members(self) -> set[str]:
        return set(self.moengage.emulator.workspace.segments.get("c1", ()))

    @property
    def requests(self) -> int:
        return len(self.moengage.emulator.workspace.requests)


@pytest.fixture
def segment(connected: MoEngage, warehouse: sqlite3.Connection, tmp_path: Path) -> Segment:
    return Segment(connected, tmp_path / "changes")


def test_mirror_adds_who_is_new_and_removes_who_has_left(
    segment: Segment, warehouse: sqlite3.Connection, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = segment.run()
    assert segment.members == {"11", "12", "13"}
    warehouse.executescript("DELETE FROM users WHERE id = 13; INSERT INTO users VALUES (14, 'x')")

    second = segment.run()

    counts = ("accepted", "rejected", "unchanged", "removed", "requests")
    assert [first[name] for name in counts] == [3, 0, 0, 0, 1]
    assert [second[name] for name in counts] == [1, 0, 2, 1, 2]
    assert segment.members == {"11", "12", "14"}
    assert "; 1 no longer in the query: removed from the segment;" in logged(caplog, capsys)


def test_who_comes_back_is_added_again(segment: Segment) -> None:
    segment.run()
    segment.run(WITHOUT_13)
    assert segment.members == {"11", "12"}
    assert segment.run(WITHOUT_13)["requests"] == 0

    assert segment.run()["accepted"] == 1
    assert segment.members == {"11", "12", "13"}


def test_add_and_remove_keep_no_state(segment: Segment, tmp_path: Path) -> None:
    assert segment.run(mode="add")["accepted"] == 3
    assert segment.run(ONLY_11, mode="add")["accepted"] == 1
    assert segment.members == {"11", "12", "13"}

    removed = segment.run(ONLY_11, mode="remove")

    assert (removed["accepted"], removed["removed"]) == (1, 0)
    assert segment.members == {"12", "13"}
    assert not segment.folder.exists()


def test_the_body_is_as_documented(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[Any] = []
    send = MoEngageClient.sync_cohort

    def noting(self: MoEngageClient, body: bytes) -> Any:
        bodies.append(json.loads(body))
        return send(self, body)

    monkeypatch.setattr(MoEngageClient, "sync_cohort", noting)
    segment.run(ONLY_11, cohort_name="Likely to leave", cohort_description="by score", mode="add")
    segment.run(ONLY_11, mode="remove")

    assert bodies == [
        {
            "action": "add_members",
            "partner": "airflow-provider-moengage",
            "parameters": {
                "cohort_id": "c1",
                "cohort_name": "Likely to leave",
                "cohort_description": "by score",
                "members": [{"uid": "11"}],
            },
        },
        {
            "action": "remove_members",
            "partner": "airflow-provider-moengage",
            "parameters": {"cohort_id": "c1", "cohort_name": "c1", "members": [{"uid": "11"}]},
        },
    ]


MANY = (
    "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 30999)"
    " SELECT 'user-' || i || substr('xxxxxxxxxxxxxxxxxxxx', 1, i % 20) AS id FROM n"
)
FEW = "SELECT 'user-1000' AS id"


@pytest.mark.parametrize("concurrency", [1, 3])
def test_bodies_are_as_full_as_allowed(segment: Segment, concurrency: int) -> None:
    segment.run(MANY, concurrency=concurrency)
    segment.run(FEW, concurrency=concurrency)

    requests = segment.moengage.emulator.workspace.requests
    assert all(request.accepted for request in requests)
    full = [request.size for request in requests if request.size > 100_000]
    assert len(full) >= len(requests) - 2 * concurrency
    assert max(full) <= 128_000
    assert min(full) > 128_000 - 50  # the next member had no room
    assert segment.members == {"user-1000"}


@pytest.mark.parametrize("validation", ["warn", "off"])
@pytest.mark.parametrize("sent_by", ["add", "mirror"])
def test_empty_and_hostile_ids_are_rejects(
    segment: Segment, warehouse: sqlite3.Connection, tmp_path: Path, sent_by: str, validation: str
) -> None:
    warehouse.executescript("CREATE TABLE odd (id)")
    ids = [None, "", "  ", "null", "undefined-ok", 'a"b\\', "\u0000x", "emoji \U0001f600", b"\xff", 3.5, "unknown"]
    warehouse.executemany("INSERT INTO odd VALUES (?)", [(each,) for each in ids])
    warehouse.commit()
    path = tmp_path / "rejects.ndjson"

    report = segment.run(
        "SELECT id FROM odd", mode=sent_by, validation=validation, max_rejects=100, rejects_path=str(path)
    )

    rejected = [json.loads(line) for line in path.read_text().splitlines()]
    assert report["accepted"] + report["rejected"] == len(ids)
    assert report["rejected"] == len(rejected) >= 5
    assert {"undefined-ok", 'a"b\\', "emoji \U0001f600"} <= segment.members
    assert not segment.members & {"", "null", "unknown", "None"}
    assert all("uid" in reject["element"] and "type" not in reject["element"] for reject in rejected)


def test_a_reject_does_not_ask_for_a_bulk_import(segment: Segment, tmp_path: Path) -> None:
    with pytest.raises(MoEngageRejectsError, match="Correct them in the source") as raised:
        segment.run("SELECT '' AS id", mode="add", rejects_path=str(tmp_path / "rejects.ndjson"))
    assert "replay" not in str(raised.value)


@pytest.mark.parametrize("row", ["NULL", "x'ff'"])
def test_a_row_whose_id_cannot_be_read_removes_nobody(segment: Segment, row: str) -> None:
    segment.run()
    with pytest.raises(MoEngageRemovalError, match="could not be read"):
        segment.run(f"{ONLY_11} UNION ALL SELECT {row}", max_rejects=9)
    assert segment.members == {"11", "12", "13"}


def test_whom_moengage_refuses_is_a_reject_and_stays_in_the_query(segment: Segment) -> None:
    segment.run()
    segment.moengage.emulator.workspace.add_fault(Fault("refuse", customer_id="13", times=20))
    report = segment.run(changed_only=ChangedOnly(path=str(segment.folder), resync=True), max_rejects=1)
    assert (report["accepted"], report["rejected"]) == (2, 1)
    segment.moengage.emulator.workspace.clear_faults()

    assert segment.run()["removed"] == 0
    assert segment.members == {"11", "12", "13"}


def test_who_cannot_be_removed_fails_the_task_and_is_tried_again(segment: Segment) -> None:
    segment.run()
    segment.moengage.emulator.workspace.add_fault(Fault("refuse", customer_id="13", times=20))
    with pytest.raises(MoEngageRemovalError, match="could not be removed") as raised:
        segment.run(ONLY_11)
    assert "moengage changes reset" in str(raised.value)
    assert segment.members == {"11", "13"}
    segment.moengage.emulator.workspace.clear_faults()

    assert segment.run(ONLY_11)["removed"] == 1
    assert segment.members == {"11"}


# Guards.


def test_a_first_run_removes_nobody(segment: Segment) -> None:
    segment.run(mode="add")
    segment.run(ONLY_11)
    assert segment.members == {"11", "12", "13"}


def test_an_empty_result_removes_nobody(segment: Segment) -> None:
    segment.run()
    with pytest.raises(MoEngageRemovalError, match=r"no rows.*set max_removed=1\.0"):
        segment.run(NOBODY, max_removed=0.99)
    assert segment.members == {"11", "12", "13"}


@pytest.mark.parametrize(("most", "says"), [(0.5, "fraction of max_removed=0.5"), (1, "count of max_removed=1")])
def test_more_than_max_removed_fails_and_removes_nobody(
    segment: Segment, warehouse: sqlite3.Connection, most: float, says: str
) -> None:
    segment.run()
    warehouse.executescript("INSERT INTO users VALUES (14, 'x')")
    with pytest.raises(MoEngageRemovalError, match=says):
        segment.run("SELECT id FROM users WHERE id IN (11, 14)", max_removed=most)
    assert segment.members == {"11", "12", "13", "14"}

    assert segment.run("SELECT id FROM users WHERE id IN (11, 14)")["removed"] == 2
    assert segment.members == {"11", "14"}


def test_five_percent_may_leave_by_default(segment: Segment) -> None:
    segment.run()
    with pytest.raises(MoEngageRemovalError, match=r"max_removed=0\.05"):
        segment.run(WITHOUT_13, max_removed=0.05)
    assert SqlToMoEngageCohortOperator(task_id="t", sql="x", conn_id="c", cohort_id="c").max_removed == 0.05


def test_another_segment_begins_anew(segment: Segment) -> None:
    segment.run()
    assert segment.run(ONLY_11, cohort_id="c2")["accepted"] == 1
    assert segment.moengage.emulator.workspace.segments == {"c1": {"11", "12", "13"}, "c2": {"11"}}


def test_a_damaged_state_removes_nobody(segment: Segment) -> None:
    segment.run()
    for part in segment.folder.rglob("part-*.bin"):
        part.write_bytes(part.read_bytes()[:-1])
    segment.run(ONLY_11)
    assert segment.members == {"11", "12", "13"}


def test_lost_ids_remove_nobody(segment: Segment) -> None:
    segment.run()
    for file in segment.folder.rglob("ids-*.bin"):
        file.unlink()
    with pytest.raises(MoEngageRemovalError, match=r"IDs of 2 users are not in the state.*moengage changes reset"):
        segment.run(ONLY_11)
    assert segment.members == {"11", "12", "13"}


def test_a_run_that_ends_early_removes_nobody(segment: Segment, warehouse: sqlite3.Connection) -> None:
    segment.run()
    warehouse.executescript("INSERT INTO users VALUES (14, 'x')")
    segment.moengage.emulator.workspace.add_fault(Fault("status", status=401, path=PATH, times=1))
    with pytest.raises(MoEngageError):
        segment.run("SELECT id FROM users WHERE id IN (11, 14)")
    assert segment.members == {"11", "12", "13"}


def test_a_backfill_removes_nobody(segment: Segment) -> None:
    segment.run()
    segment.run(ONLY_11, run_type="backfill")
    assert segment.members == {"11", "12", "13"}


def test_a_mapped_task_cannot_mirror(segment: Segment) -> None:
    with pytest.raises(MoEngageRequestError, match="mapped task"):
        segment.run(map_index=0)
    assert segment.requests == 0
    assert segment.run(map_index=0, mode="add")["accepted"] == 3


def test_a_dry_run_predicts_and_changes_nothing(segment: Segment) -> None:
    segment.run()
    dry = segment.run(ONLY_11, dry_run=True)
    assert (dry["unchanged"], dry["removed"]) == (1, 2)
    assert segment.members == {"11", "12", "13"}
    assert segment.run(ONLY_11)["removed"] == 2


class _Killed(BaseException):
    """The worker is killed."""


@pytest.mark.parametrize("where", ["before adding", "after adding", "before removing", "after removing", "commit"])
@pytest.mark.parametrize("query_of_retry", ["same", "all"])
def test_a_retry_after_a_kill_ends_in_the_right_membership(
    segment: Segment,
    warehouse: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    query_of_retry: str,
) -> None:
    segment.run()
    warehouse.executescript("INSERT INTO users VALUES (14, 'x')")
    some = "SELECT id FROM users WHERE id IN (11, 14)"
    send, commit = MoEngageClient.sync_cohort, SyncState.commit

    def killed(self: MoEngageClient, body: bytes) -> Any:
        action = "adding" if b"add_members" in body else "removing"
        if where == f"before {action}":
            raise _Killed
        reply = send(self, body)
        if where == f"after {action}":
            raise _Killed
        return reply

    def killed_before_commit(self: SyncState, *given: Any, **named: Any) -> Any:
        if where == "commit":
            raise _Killed
        return commit(self, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(MoEngageClient, "sync_cohort", killed)
        patched.setattr(SyncState, "commit", killed_before_commit)
        with pytest.raises(_Killed):
            segment.run(some, day=2)

    if query_of_retry == "same":
        segment.run(some, day=2)
        assert segment.members == {"11", "14"}
    else:
        segment.run(day=2)
        assert segment.members == {"11", "12", "13", "14"}
        segment.run(some, day=3)
        assert segment.members == {"11", "14"}


def test_a_lost_answer_is_sent_again(segment: Segment) -> None:
    segment.moengage.emulator.workspace.add_fault(Fault("status_after", status=502, path=PATH, times=1))
    report = segment.run()
    assert (report["accepted"], report["retries"]) == (3, 1)
    assert segment.members == {"11", "12", "13"}


# Limits.


def test_the_limit_counts_requests(connected: MoEngage) -> None:
    from airflow_provider_moengage.api.users.cohorts import Cohort, CohortSync
    from airflow_provider_moengage.hooks.cohorts import requests_of

    limits, requests = requests_of(CohortSync(Cohort("c1", "c1")))

    assert limits.users_per_minute == 300
    assert requests.elements.cost(None) == requests.removals.cost(None) == (1, 0)  # type: ignore[arg-type]


# Arguments.


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"mode": "replace"}, "mode 'replace'"),
        ({"cohort_id": ""}, "cohort_id"),
        ({"cohort_id": None}, "cohort_id"),
        ({"cohort_id": "a:b"}, "give the segment a cohort_name"),
        ({"cohort_name": "a|b"}, "cohort_name: MoEngage does not accept"),
        ({"cohort_name": " "}, "cohort_name"),
        ({"cohort_name": "x" * 1_001}, "at most 1,000"),
        ({"cohort_name": "a\nb"}, "printable"),
        ({"cohort_name": "\ud800"}, "printable"),
        ({"cohort_description": 7}, "cohort_description"),
        ({"user_id": ""}, "user_id"),
        ({"max_removed": -1}, "^max_removed -1"),
        ({"max_removed": True}, "^max_removed True"),
        ({"delivery": "at_most_once"}, "delivery"),
        ({"identifiers": ["u_em"]}, "identifiers"),
        ({"changed_only": True}, "changed_only: expected ChangedOnly"),
        ({"changed_only": ChangedOnly(on_removed="delete")}, "only path and resync"),
        ({"changed_only": ChangedOnly(max_removed=1.0)}, "only path and resync"),
        ({"changed_only": ChangedOnly(), "mode": "add"}, "keeps no state"),
        ({"changed_only": ChangedOnly(), "mode": "remove"}, "keeps no state"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(given: dict[str, Any], says: str) -> None:
    arguments = {"task_id": "t", "sql": "SELECT 1", "conn_id": "c", "cohort_id": "c1", **given}
    with pytest.raises(ValueError, match=says):
        SqlToMoEngageCohortOperator(**arguments)


def test_templates_are_checked_when_they_are_rendered(segment: Segment) -> None:
    segment.run(cohort_id="{{ params.segment }}", cohort_name="{{ params.none }}")
    assert segment.members == {"11", "12", "13"}
    with pytest.raises(ValueError, match="cohort_id None"):
        segment.run(cohort_id="{{ params.none }}")
    with pytest.raises(ValueError, match="cohort_name: MoEngage"):
        segment.run(cohort_name="{{ params.segment }}:")


def test_mirror_needs_a_folder(segment: Segment) -> None:
    with pytest.raises(ValueError, match="changes_path"):
        segment.run(changed_only=None)


def test_nothing_in_the_log_names_a_user(
    segment: Segment, caplog: pytest.LogCaptureFixture, capsys: Any, warehouse: sqlite3.Connection
) -> None:
    warehouse.executescript("INSERT INTO users VALUES (987654321, 'x')")
    segment.run()
    segment.moengage.emulator.workspace.add_fault(Fault("refuse", customer_id="987654321", times=20))
    with pytest.raises(MoEngageRemovalError) as raised:
        segment.run(ONLY_11)
    assert "987654321" not in logged(caplog, capsys) + str(raised.value)
