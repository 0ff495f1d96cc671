"""Waits until a time without holding a worker slot, with Airflow's own trigger."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def wait_until(moment: datetime) -> Any:
    """Return a trigger that fires at ``moment``, which has a time zone."""
    try:
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger
    except ImportError:  # Airflow 2 has it in its core
        from airflow.triggers.temporal import DateTimeTrigger  # type: ignore[import-not-found, no-redef, unused-ignore]
    return DateTimeTrigger(moment=moment)
