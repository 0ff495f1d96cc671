"""Incremental syncs in a complete Airflow: scheduled, manual, backfilled and cleared runs of the example."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.emulator import Emulator
from devtools.standalone_airflow import Standalone, until

EXAMPLE, TASK = "incremental_sync", "purchases"


@pytest.fixture(autouse=True)
def _fresh(emulator: Emulator) -> None:
    emulator.workspace.reset()


class Sync:
    """The example Dag, its source, and what arrives."""

    def __init__(self, airflow: Standalone, emulator: Emulator, warehouse: Path) -> None:
        self.airflow = airflow
        self._emulator = emulator
        self._warehouse = warehouse

    def buy(self, basket: int, time: str | None = None) -> None:
        """Add a purchase."""
        time = time or f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
        with closing(sqlite3.connect(self._warehouse)) as database, database:
            database.execute("INSERT INTO purchases VALUES (7, 1, ?, 1, 1, 1, 0, ?)", [basket, time])

    def arrived(self, action: str = "Purchase") -> Counter[int]:
        """Count the arrivals of each basket that a test has added."""
        received = [each.element for each in self._emulator.workspace.elements]
        actions = [action for element in received if element["type"] == "event" for action in element["actions"]]
        baskets = [each["attributes"]["basket_id"] for each in actions if each["action"] == action]
        return Counter(basket for basket in baskets if basket)

    def run_manually(self) -> str:
        run = self.airflow.trigger(EXAMPLE)
        self.airflow.until_task(EXAMPLE, run, TASK, "success")
        return run

    def backfill(self, dag_id: str, task_id: str, first: str, last: str, count: int, state: str) -> list[str]:
        """Backfill some days; return the runs once their tasks have ended."""
        days = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
        self.airflow.call("POST", "/backfills", json={"dag_id": dag_id, **days})

        def runs() -> list[str]:
            return [run for run in self.airflow.runs(dag_id) if run.startswith("backfill")]

        until(lambda: len(runs()) == count, "the backfill's runs", lambda: str(runs()))
        for run in runs():
            self.airflow.until_task(dag_id, run, task_id, state)
        return runs()

    def run(self, run_id: str) -> dict[str, Any]:
        run: dict[str, Any] = self.airflow.call("GET", f"/dags/{EXAMPLE}/dagRuns/{run_id}")
        return run

    @property
    def state(self) -> str:
        """Path of the watermark in the REST API."""
        asset = asset_id(self.airflow, "warehouse_purchases")
        return f"/assets/{asset}/state-store/moengage:{EXAMPLE}:{TASK}"

    @property
    def watermark(self) -> datetime:
        return datetime.fromisoformat(self.airflow.call("GET", self.state)["value"])


@pytest.fixture
def sync(airflow: Standalone, emulator: Emulator, warehouse: Path) -> Sync:
    """The example, after its scheduled run."""
    until(lambda: bool(airflow.runs(EXAMPLE)), "the scheduled run", partial(airflow.log, EXAMPLE))
    scheduled = next(run for run in airflow.runs(EXAMPLE) if run.startswith("scheduled"))
    if airflow.until_task(EXAMPLE, scheduled, TASK, "success", "failed")["state"] == "failed":
        airflow.clear(EXAMPLE, scheduled, TASK)  # Airflow starts it before its own API server is ready
        airflow.until_task(EXAMPLE, scheduled, TASK, "success")
    return Sync(airflow, emulator, warehouse)


def asset_id(airflow: Standalone, name: str) -> int:
    assets = airflow.call("GET", "/assets", params={"name_pattern": name})["assets"]
    [number] = [asset["id"] for asset in assets if asset["name"] == name]
    return int(number)


def test_scheduled_and_manual_runs_send_each_purchase_once(sync: Sync) -> None:
    [scheduled] = [sync.run(run) for run in sync.airflow.runs(EXAMPLE) if run.startswith("scheduled")]
    assert sync.airflow.xcom(EXAMPLE, scheduled["dag_run_id"], TASK)["events"] == 1
    assert sync.watermark == datetime.fromisoformat(scheduled["data_interval_end"])

    sync.buy(1)
    first = sync.run_manually()
    assert sync.run(first)["logical_date"] is None
    assert sync.watermark == datetime.fromisoformat(sync.run(first)["run_after"])
    sync.buy(2)
    sync.buy(3)
    second = sync.run_manually()

    assert sync.arrived() == {1: 1, 2: 1, 3: 1}
    assert sync.watermark == datetime.fromisoformat(sync.run(second)["run_after"])


def test_a_clear_of_an_old_run_sends_its_purchases_again(sync: Sync) -> None:
    sync.buy(11)
    old = sync.run_manually()
    sync.buy(12)
    sync.run_manually()
    watermark = sync.watermark

    sync.airflow.clear(EXAMPLE, old, TASK)
    until(lambda: sync.airflow.task(EXAMPLE, old, TASK)["try_number"] == 2, "the second try")
    sync.airflow.until_task(EXAMPLE, old, TASK, "success")

    assert sync.arrived() == {11: 2, 12: 1}
    assert sync.watermark == watermark


def test_a_watermark_can_be_set_back(sync: Sync) -> None:
    watermark = sync.watermark
    sync.buy(31)
    sync.run_manually()

    sync.airflow.call("PUT", sync.state, json={"value": watermark.isoformat()})
    sync.run_manually()

    assert sync.arrived() == {31: 2}


def test_a_backfill_sends_each_day_once_and_keeps_the_watermark(sync: Sync) -> None:
    for day in range(4, 9):
        sync.buy(100 + day, f"2026-01-0{day} 12:00:00")
    watermark = sync.watermark

    sync.backfill(EXAMPLE, TASK, "2026-01-05", "2026-01-07", 3, "success")

    assert sync.arrived() == {105: 1, 106: 1, 107: 1}
    assert sync.watermark == watermark


def test_a_backfill_without_intervals_reports_what_the_dag_needs(sync: Sync) -> None:
    sync.backfill("no_intervals", "sync", "2026-02-01", "2026-02-01", 1, "failed")

    log = sync.airflow.log("no_intervals")
    assert "has no data interval, so it has nothing to send" in log
    assert "schedule=CronDataIntervalTimetable(...)" in log


def test_a_dag_on_the_events_of_its_source_does_not_trigger_itself(sync: Sync) -> None:
    source = asset_id(sync.airflow, "source")
    sync.buy(21)
    sync.airflow.call("POST", "/assets/events", json={"asset_id": source})
    until(lambda: bool(sync.airflow.runs("by_source")), "the Dag to run")
    [run] = sync.airflow.runs("by_source")
    sync.airflow.until_task("by_source", run, "sync", "success")

    assert sync.arrived("By source")[21] == 1
    events = sync.airflow.call("GET", "/assets/events", params={"asset_id": source})
    assert events["total_entries"] == 1
