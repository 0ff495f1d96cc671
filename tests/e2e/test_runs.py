"""Runs of every kind: scheduled, manual, backfill, cleared, interrupted, and waiting for a slot."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from devtools.standalone_airflow import until
from tests.e2e.local_airflow import SLOTS, SYNC, TASK, Place

ALL_NUMBERS = list(range(1, 401))
A_BATCH = 25
"""The most elements of the long sync that a request body can contain."""


def numbers(place: Place) -> list[int]:
    """Return the customers of the long sync that have arrived."""
    return [element["attributes"]["number"] for element in place.workspace.elements]


def day(offset: int) -> datetime:
    """Return midnight of an earlier day."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=offset)


def test_the_scheduled_run_sends_its_interval(place: Place, scheduled: dict[str, Any]) -> None:
    since, until = (datetime.fromisoformat(scheduled[f"data_interval_{end}"]) for end in ("start", "end"))

    assert scheduled["state"] == "success", place.airflow.log(SYNC)
    assert until - since == timedelta(days=1)
    assert scheduled["arrived"] == Counter(place.warehouse.baskets(since, until))
    assert list(scheduled["by_day"]) == [f"{since:%Y-%m-%d}"]
    assert scheduled["watermark"] == until


def test_a_manual_run_without_a_date_sends_new_purchases(place: Place) -> None:
    since = place.watermark
    place.warehouse.buy(1)
    first = place.run(place.run_manually())
    place.warehouse.buy(2)
    second = place.run(place.run_manually())

    assert (first["logical_date"], second["logical_date"]) == (None, None)
    moment = datetime.fromisoformat(first["run_after"])
    assert place.workspace.arrived() == Counter([*place.warehouse.baskets(since, moment), 2])
    assert 1 in place.workspace.arrived()
    assert place.watermark == datetime.fromisoformat(second["run_after"])


def test_a_backfill_sends_each_of_seven_days_once(place: Place) -> None:
    first, last = day(14), day(8)
    before = place.runs_before_a_backfill()
    watermark = place.watermark

    days = {"from_date": first.isoformat(), "to_date": last.isoformat()}
    place.airflow.call("POST", "/backfills", json={"dag_id": SYNC, **days})

    runs = place.backfilled(before, 7)
    place.each_day_arrived_once(first.date(), last.date(), runs)
    assert place.watermark == watermark


def test_a_retry_after_a_timeout_resumes(place: Place) -> None:
    place.workspace.add_fault("status", status=503, times=2)
    place.workspace.add_fault("slow", seconds=40, after=4)

    run = place.run_manually("long_sync", "sync")

    task = place.airflow.task("long_sync", run, "sync")
    report = place.airflow.xcom("long_sync", run, "sync")
    assert task["try_number"] == 2
    assert (report["accepted"], report["rejected"], report["resumed"]) == (400, 0, True)
    assert sorted(set(numbers(place))) == ALL_NUMBERS
    assert len(numbers(place)) <= 400 + 2 * A_BATCH
    assert "Resuming from an earlier try" in place.log("long_sync", run)


def test_a_sync_marked_failed_stops_and_a_clear_resumes_it(place: Place) -> None:
    place.workspace.add_fault("slow", seconds=2, times=None)
    run = place.airflow.trigger("long_sync")
    log = partial(place.log, "long_sync", run)
    until(lambda: len(numbers(place)) >= 2 * A_BATCH, "the first customers", log)

    place.airflow.mark_failed("long_sync", run, "sync")
    until(lambda: "The run ended early" in log(), "the sync to stop", log)
    when_stopped = len(numbers(place))
    place.workspace.clear_faults()
    place.airflow.clear("long_sync", run, "sync")
    place.airflow.until_task("long_sync", run, "sync", "success")

    report = place.airflow.xcom("long_sync", run, "sync")
    assert when_stopped < 400
    assert (report["accepted"], report["resumed"]) == (400, True)
    assert sorted(set(numbers(place))) == ALL_NUMBERS
    assert len(numbers(place)) <= 400 + 2 * A_BATCH


def test_a_clear_of_an_old_run_sends_its_purchases_again_and_keeps_the_watermark(place: Place) -> None:
    place.run_manually()
    place.workspace.reset()
    place.warehouse.buy(11)
    old = place.run_manually()
    place.warehouse.buy(12)
    place.run_manually()
    watermark = place.watermark

    place.airflow.clear(SYNC, old, TASK)
    until(lambda: place.airflow.task(SYNC, old, TASK)["try_number"] == 2, "the second try")
    place.airflow.until_task(SYNC, old, TASK, "success")

    assert place.workspace.arrived() == {11: 2, 12: 1}
    assert place.watermark == watermark


def test_a_sync_waits_for_a_slot_in_its_pool_and_then_sends_everything(place: Place) -> None:
    place.run_manually()
    place.workspace.reset()
    pool = "/pools/default_pool"
    place.airflow.call("PATCH", pool, params={"update_mask": "slots"}, json={"pool": "default_pool", "slots": 0})
    try:
        place.warehouse.buy(21)
        run = place.airflow.trigger(SYNC)
        until(lambda: place.airflow.task(SYNC, run, TASK)["state"] is not None, "the task to be scheduled")
        time.sleep(6)  # several rounds of the scheduler
        assert place.airflow.task(SYNC, run, TASK)["state"] in ("scheduled", "queued")
        assert not place.workspace.arrived()
        place.warehouse.buy(22)  # after the run was created: left to the next one
    finally:
        place.airflow.call(
            "PATCH", pool, params={"update_mask": "slots"}, json={"pool": "default_pool", "slots": SLOTS}
        )

    place.airflow.until_task(SYNC, run, TASK, "success")
    assert place.workspace.arrived() == {21: 1}
    place.run_manually()
    assert place.workspace.arrived() == {21: 1, 22: 1}
