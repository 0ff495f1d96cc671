"""The counts in the events of a task's assets; tests/airflow checks the events of a whole run."""

from __future__ import annotations

import logging
from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.tasks.outlets import add_to_asset_events
from tests.delivering import MoEngage, customer
from tests.task import Task

if TYPE_CHECKING:
    import pytest


class Events(defaultdict[str, Any]):
    def __init__(self) -> None:
        super().__init__(lambda: SimpleNamespace(extra={"mine": 1}))

    def __getitem__(self, asset: Any) -> Any:
        return super().__getitem__(asset.uri)


def test_the_event_of_each_asset_gets_the_counts_and_keeps_its_own_extra(connected: MoEngage) -> None:
    events = Events()
    task = BulkImportOperator(
        task_id="send",
        elements=[customer("ann"), customer("null")],
        max_rejects=1,
        outlets=[Asset("profiles"), AssetAlias("alias")],
    )

    context: Any = {**Task().context, "outlet_events": events}
    task.execute(context)

    [(_, event)] = events.items()
    assert event.extra == {
        "mine": 1,
        "accepted": 1,
        "rejected": 1,
        "customers": 1,
        "events": 0,
        "devices": 0,
        "dry_run": False,
    }


def test_an_error_of_the_event_is_logged_and_does_not_fail_the_task(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __getitem__(self, asset: Any) -> Any:
            raise KeyError(asset)

    add_to_asset_events(
        {"outlet_events": Broken()}, [Asset("profiles")], {"accepted": 1}, logging.getLogger("outlets")
    )

    assert "The counts could not be added to the asset's event (KeyError)" in caplog.text
