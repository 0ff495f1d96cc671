"""Adds counts of what was written to the events of a task's assets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_moengage.bulk.clock import Log

COUNTS = ("accepted", "rejected", "customers", "events", "devices", "dry_run")
"""The fields of the report that an event gets."""


def add_to_asset_events(
    context: Mapping[str, Any], outlets: Sequence[Any], counts: Mapping[str, Any], log: Log
) -> None:
    """Add counts to the events of the task's outlets. An error is logged, because the task's work is done."""
    from airflow.providers.common.compat.sdk import Asset

    events = context.get("outlet_events")
    for asset in outlets:
        if events is None or not isinstance(asset, Asset):
            continue  # an alias has no event of its own
        try:
            event = events[asset]
            event.extra = {**event.extra, **counts}
        except Exception as error:  # noqa: BLE001 (no error may fail the task)
            log.warning("The counts could not be added to the asset's event (%s)", type(error).__name__)
