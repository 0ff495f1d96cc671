"""What a run that sends only changed rows remembers of requests, of rejects and of users in several rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.bulk.changed.folder import StateFolder
from airflow_provider_moengage.bulk.changed.lookup import bloom
from airflow_provider_moengage.bulk.changed.lookup import known as known_module
from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
from airflow_provider_moengage.bulk.changed.sync_run import Changes, SyncRun
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.bulk.run import delivery
from airflow_provider_moengage.emulator.faults import Fault
from tests.delivering import MoEngage, customer

Sync = Callable[..., DeliveryReport]


@pytest.fixture
def sync(moengage: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sync:
    """Deliver plans of users, in order, and compare them with what earlier runs have delivered."""
    monkeypatch.setattr(delivery, "_LAST_WAIT", 0.1)

    def run(
        *rows: tuple[str, Any],
        run: int = 1,
        may_repeat: bool = False,
        reads_all: bool = True,
        mapping: str = "m",
        **options: Any,
    ) -> DeliveryReport:
        this = SyncRun(
            run=f"run {run}",
            tries=f"run {run}",
            moment=f"2026-01-{run:02}T00:00:00.000000+00:00",
            workspace="w",
            mapping=mapping,
            encoding=1,
            reads_all=reads_all,
        )
        columns = NewColumns("send", moengage.log)
        changes = Changes(StateFolder(tmp_path / "state"), this, columns, may_repeat)
        elements = [customer(user, plan=plan) for user, plan in rows]
        return moengage.deliver(elements, changes=changes, **options)

    return run


def had(moengage: MoEngage) -> dict[str, Any]:
    """Return the plan that MoEngage has of each user."""
    return {element["customer_id"]: element["attributes"]["plan"] for element in moengage.arrived}


@pytest.mark.parametrize("next_run", [2, 3], ids=["a retry", "the next run"])
@pytest.mark.parametrize("later", [401, 429], ids=["denied", "throttled, then denied"])
def test_a_refusal_says_nothing_about_an_earlier_request_whose_outcome_is_unknown(
    moengage: MoEngage, sync: Sync, later: int, next_run: int
) -> None:
    sync(("user-7", "gold"))
    moengage.emulator.workspace.add_fault(Fault(kind="cut_after"))
    for status in {later, 401}:
        moengage.emulator.workspace.add_fault(Fault(kind="status", status=status))
    with pytest.raises(ApiError):
        sync(("user-7", "silver"), run=2)
    assert had(moengage) == {"user-7": "silver"}

    sync(("user-7", "gold"), run=next_run)

    assert had(moengage) == {"user-7": "gold"}


@pytest.mark.parametrize("runs", [(2, 2, 2), (2, 2, 3), (2, 3, 3), (2, 3, 4)])
def test_a_refusal_says_nothing_about_a_request_of_an_earlier_try_or_run(
    moengage: MoEngage, sync: Sync, runs: tuple[int, int, int]
) -> None:
    sync(("user-7", "gold"))
    add = moengage.emulator.workspace.add_fault
    for faults, run in (("cut_after", runs[0]), (None, runs[1])):
        if faults:
            add(Fault(kind="cut_after"))
        add(Fault(kind="status", status=401))
        with suppress(ApiError):
            sync(("user-7", "silver"), run=run)
    assert had(moengage) == {"user-7": "silver"}

    sync(("user-7", "gold"), run=runs[2])

    assert had(moengage) == {"user-7": "gold"}


def test_a_user_in_two_rows_has_the_last_one_although_an_earlier_try_sent_it(
    moengage: MoEngage, sync: Sync
) -> None:
    sync(("user-7", "gold"), may_repeat=True)
    moengage.emulator.workspace.add_fault(Fault(kind="status", status=401, after=1))
    others = [(f"user-{number}", "x" * 200) for number in range(100, 1_500)]
    with pytest.raises(ApiError):
        sync(("user-7", "silver"), *others, run=2, may_repeat=True, concurrency=1)
    assert had(moengage)["user-7"] == "silver"

    sync(("user-7", "gold"), *others, ("user-7", "silver"), run=2, may_repeat=True)

    assert had(moengage)["user-7"] == "silver"


def test_a_row_that_changes_back_is_sent_although_a_rejected_one_of_the_user_followed(
    moengage: MoEngage, sync: Sync
) -> None:
    others = [(f"user-{number}", "x" * 200) for number in range(100, 1_500)]
    sync(("user-7", "bronze"), may_repeat=True)
    moengage.emulator.workspace.add_fault(Fault(kind="status", status=401, after=1))
    with pytest.raises(ApiError):
        sync(("user-7", "gold"), *others, run=2, may_repeat=True, concurrency=1)
    rows = [("user-7", "silver"), *others, ("user-7", float("nan")), *others[:1]]
    sync(*rows, run=3, may_repeat=True, max_rejects=9)

    sync(("user-7", "gold"), *others, run=4, may_repeat=True)

    assert had(moengage)["user-7"] == "gold"


@pytest.mark.parametrize("apart", [0, 3, 400], ids=["together", "near", "in other chunks"])
@pytest.mark.parametrize(
    "plans", [("silver", "gold"), ("gold", "silver"), ("gold", "silver", "gold"), ("silver", "gold", "silver")]
)
def test_the_last_row_of_a_user_counts_although_an_earlier_one_is_as_in_the_last_run(
    moengage: MoEngage, sync: Sync, plans: tuple[str, ...], apart: int
) -> None:
    others = [(f"user {number}", "gold") for number in range(1_500)]
    sync(*others[:20], ("user", "gold"), *others[20:], may_repeat=True)
    rows = others[:20]
    for number, plan in enumerate(plans):
        rows += [("user", plan), *others[20 + number * apart :][:apart]]
    rows += others[20 + len(plans) * apart :]

    for run in (2, 3):
        sync(*rows, run=run, may_repeat=True)

        assert had(moengage)["user"] == plans[-1]


@pytest.mark.parametrize("mapping", ["m", "another one"])
def test_rows_in_the_same_order_need_no_index(
    moengage: MoEngage, sync: Sync, mapping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(f"user {number}", "gold") for number in range(3_000)]
    sync(*rows)
    monkeypatch.setattr(known_module, "DiskIndex", None)

    report = sync(*rows, ("new", "gold"), run=2, mapping=mapping)

    assert report.unchanged == (3_000 if mapping == "m" else 0)
    assert report.new == 1


def test_users_who_may_be_in_several_rows_count_as_new_although_the_filter_is_full(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bloom, "_BITS", 1 << 10)
    monkeypatch.setattr(bloom, "_EXACT", 0)

    report = sync(*((f"user-{number}", "gold") for number in range(3_000)), may_repeat=True)

    assert (report.new, report.changed) == (3_000, 0)


def test_damage_that_no_row_was_compared_with_removes_nobody(sync: Sync, tmp_path: Path) -> None:
    users = [(f"user-{number:05}", "gold") for number in range(30_000)]
    sync(*users)
    [part] = (tmp_path / "state").glob("part-*")
    data = bytearray(part.read_bytes())
    data[-100_000] ^= 1
    part.write_bytes(data)

    report = sync(*users[:100], run=2)

    assert (report.unchanged, report.removed) == (100, 0)


@pytest.mark.parametrize("outcome", ["accepted", "unknown"])
@pytest.mark.parametrize("before", [["gold"], ["silver", "gold"]], ids=["one row", "two rows"])
@pytest.mark.parametrize("next_run", [2, 3], ids=["a retry", "the next run"])
def test_what_a_failed_try_has_sent_is_remembered_although_the_row_is_not_read_again(
    moengage: MoEngage, sync: Sync, before: list[str], next_run: int, outcome: str
) -> None:
    others = [(f"user-{number}", "x" * 200) for number in range(100, 1_500)]
    sync(*(("user-7", plan) for plan in before), may_repeat=True)
    if outcome == "unknown":
        moengage.emulator.workspace.add_fault(Fault(kind="cut_after"))
    moengage.emulator.workspace.add_fault(Fault(kind="status", status=401, after=int(outcome == "accepted")))
    with pytest.raises(ApiError):
        sync(("user-7", "bronze"), *others, run=2, may_repeat=True, concurrency=1)
    assert had(moengage)["user-7"] == "bronze"
    sync(("user-8", "gold"), run=next_run, may_repeat=True, reads_all=False)

    sync(("user-7", "gold"), run=4, may_repeat=True)

    assert had(moengage)["user-7"] == "gold"
