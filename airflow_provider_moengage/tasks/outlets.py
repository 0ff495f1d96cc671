"""What the events of a task's assets tell: how much was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FIGURES = ("accepted", "rejected", "customers", "events", "devices", "dry_run")
"""Of the report: counts only."""


def tell_outlets(context: Mapping[str, Any], outlets: Sequence[Any], figures: Mapping[str, Any], log: Any) -> None:
    """Put figures into the events of the task's outlets. It never fails the task: what it was for is done."""
    from airflow.providers.common.compat.sdk import Asset

    events = context.get("outlet_events")
    for asset in outlets:
        if events is None or not isinstance(asset, Asset):
            continue  # an alias has no event of its own
        try:
            event = events[asset]
            event.extra = {**event.extra, **figures}
        except Exception as error:
            log.warning("The asset's event is without figures (%s)", type(error).__name__)
