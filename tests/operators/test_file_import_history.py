"""TriggerFileImportOperator and run histories that lack files, or list them late: only its own run decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import MoEngageImportFailedError, MoEngageServerError
from tests.delivering import MoEngage, connection_to
from tests.operators.test_file_import import (  # noqa: F401 (fixture)
    HISTORY,
    configure,
    execute,
    file,
    fired,
    imports,
    names,
    pass_time,
    resume,
    triggers,
)
from tests.task import Task

Rows = list[dict[str, Any]]


def answer(
    moengage: MoEngage, *rows: dict[str, Any], after: int = 0, times: int | None = 1, **fields: Any
) -> None:
    """Have MoEngage answer requests for the run history with these rows, some of which may be missing."""
    body = {
        "status": "success",
        "total_count": len(rows),
        "data": rows,
        "offset": 1,
        "more_files": False,
        **fields,
    }
    fault = Fault("status", status=200, body=json.dumps(body), path=HISTORY, after=after, times=times)
    moengage.emulator.workspace.add_fault(fault)


def shown(
    moengage: MoEngage, id_: str, status: str, *, ago: timedelta, zone: str = "UTC", **fields: Any
) -> dict[str, Any]:
    """Return a file of a run history."""
    at = datetime.fromtimestamp(moengage.clock.time(), UTC) - ago
    local = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat()
    ended = None if status == "PROCESSING" else local
    names = {"id": id_, "file_name": f"{id_}.csv", "scheduled_at": local, "completed_at": ended}
    return {**names, "file_status": status, "total_rows": 10, **fields}


INCOMPLETE: dict[str, Callable[[MoEngage], dict[str, Any]]] = {
    "fewer files than the total": lambda _: {"data": [], "total_count": 1},
    "no list, and a total": lambda _: {"data": None, "total_count": "1"},
    "no list and no total": lambda _: {"data": None, "total_count": None},
    "a file that cannot be read": lambda _: {"data": [None], "total_count": None},
    "an empty page that promises more": lambda _: {"data": [], "total_count": None, "more_files": "true"},
}


@pytest.mark.parametrize("bad", INCOMPLETE.values(), ids=INCOMPLETE)
def test_2nd_a_baseline_without_a_file_is_read_again(imports: MoEngage, bad: Any) -> None:  # noqa: F811
    configure(imports, file(status="FAILED"))
    answer(imports, **bad(imports))
    before = imports.clock.time()

    with pytest.raises(MoEngageImportFailedError, match=r"users_2\.csv"):
        execute(Task(), wait_for_completion=True)

    assert triggers(imports) == 1
    assert imports.clock.time() - before < 120


@pytest.mark.parametrize("bad", INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_baseline_that_stays_incomplete_fails_before_anything_is_triggered(
    imports: MoEngage,  # noqa: F811
    bad: Any,
) -> None:
    answer(imports, times=None, **bad(imports))

    with pytest.raises(MoEngageServerError, match="import was not triggered by this call"):
        execute(Task(), wait_for_completion=True)

    assert triggers(imports) == 0


def test_a_poll_that_lacks_a_file_does_not_decide(imports: MoEngage) -> None:  # noqa: F811
    configure(imports, file("a_{run}.csv", after=2), file("b_{run}.csv", after=2, status="FAILED"))
    good = shown(imports, "a", "SUCCESSFUL", ago=timedelta())
    answer(imports, good, after=1, total_count=3)

    with pytest.raises(MoEngageImportFailedError, match=r"b_2\.csv"):
        execute(Task(), wait_for_completion=True)


OLD, LATE, OWN = "f-old", "f-late", "f-own"


def look_back(moengage: MoEngage, zone: str) -> None:
    """Have MoEngage list a file of the run before only after the import was triggered again."""
    old = shown(moengage, OLD, "SUCCESSFUL", ago=timedelta(minutes=10), zone=zone)
    late = shown(moengage, LATE, "SUCCESSFUL", ago=timedelta(minutes=10), zone=zone)
    own = shown(moengage, OWN, "FAILED", ago=timedelta(seconds=-1), zone=zone)
    answer(moengage, old)
    answer(moengage, old, late)
    answer(moengage, old, late, own, times=None)


def connect(moengage: MoEngage, monkeypatch: pytest.MonkeyPatch, zone: str | None) -> None:
    extra = {} if zone is None else {"import_time_zone": zone}
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(moengage, extra=extra))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/Los_Angeles"])
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_late_file_of_the_run_before_is_not_taken_for_this_one(
    imports: MoEngage,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    zone: str,
    deferrable: bool,
) -> None:
    connect(imports, monkeypatch, zone)
    look_back(imports, zone)
    task = Task()
    options = {"wait_for_completion": True, "deferrable": deferrable}

    def run() -> None:
        try:
            execute(task, **options)
        except TaskDeferred as deferred:
            resume(task, deferred, event=fired(deferred, timeout_at=None), **options)

    with pytest.raises(MoEngageImportFailedError) as ended:
        run()

    assert [each["id"] for each in ended.value.files] == [OWN]


def test_where_the_zone_is_not_known_a_late_file_cannot_be_told_from_a_new_one(
    imports: MoEngage,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect(imports, monkeypatch, None)
    look_back(imports, "Asia/Kolkata")

    assert names(execute(Task(), wait_for_completion=True)) == [(f"{LATE}.csv", "SUCCESSFUL")]


def test_a_lost_call_that_was_refused_is_not_taken_for_a_run_because_of_a_late_file(
    imports: MoEngage,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect(imports, monkeypatch, "UTC")
    old, late = (shown(imports, name, "SUCCESSFUL", ago=timedelta(minutes=4)) for name in (OLD, LATE))
    imports.emulator.workspace.run_file_import("users-import")
    imports.emulator.workspace.add_fault(Fault("cut_before", path="/v1.0/data/fileimports/trigger"))
    answer(imports, old)
    answer(imports, old, late, times=None)

    execute(Task())

    assert triggers(imports) == 1


def test_the_hour_that_clocks_repeat_hides_no_file(
    imports: MoEngage,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    zone = "America/Los_Angeles"
    connect(imports, monkeypatch, zone)
    second = datetime(2025, 11, 2, 9, 30, tzinfo=UTC).timestamp()  # 1:30 for the second time
    pass_time(imports, (second - imports.clock.time()) % (366 * 86_400 * 10))
    answer(imports)
    own = shown(imports, OWN, "FAILED", ago=timedelta(), zone=zone)
    assert "T01:30" in own["scheduled_at"]
    answer(imports, own, times=None)

    with pytest.raises(MoEngageImportFailedError):
        execute(Task(), wait_for_completion=True)


def test_a_run_is_found_although_the_clock_of_the_worker_is_years_off(
    imports: MoEngage,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect(imports, monkeypatch, "UTC")
    clock = imports.clock

    class Ahead:
        wait = staticmethod(clock.wait)

        def time(self) -> float:
            return clock.time() + 3 * 366 * 86_400

    monkeypatch.setattr("airflow_provider_moengage.tasks.file_import_start.CLOCK", Ahead())

    result = execute(Task(), wait_for_completion=True)

    assert names(result) == [("users_2.csv", "SUCCESSFUL")]
    assert result["is_own_clock"] is True
