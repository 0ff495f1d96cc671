"""Waiting without a worker slot: how long a task may stay deferred, and Airflow's own trigger for a moment.

Airflow 2.11 counts ``execution_timeout`` from the start of the try. Airflow 3 starts it again whenever a deferred
task resumes, and does not enforce it while the task is deferred. Here it counts over the whole try.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import AirflowTaskTimeout

LEAST_DEFERRAL = timedelta(seconds=5)
"""A shorter deferral may end before the scheduler has seen that it began: Airflow then fails the task."""

GRACE = timedelta(minutes=5)
"""A trigger ends a wait itself. If its triggerer is gone, Airflow does so this much later."""


def started_at(context: Mapping[str, Any]) -> datetime:
    """Return when the try began; a resume from a deferral does not change it."""
    return getattr(context.get("ti"), "start_date", None) or datetime.now(UTC)


def execution_timeout_at(task: Any, context: Mapping[str, Any]) -> float | None:
    """Return when a task's execution_timeout is reached, as UTC epoch seconds; None if it has none."""
    if task.execution_timeout is None:
        return None
    return float((started_at(context) + task.execution_timeout).timestamp())


def resume(task: Any, context: Mapping[str, Any], now: datetime, wait: str = "it was deferred") -> None:
    """Continue a try that was deferred: call this before anything is sent.

    :param now: the current time, with its zone.
    :param wait: what the task did meanwhile, for the message.
    :raises AirflowTaskTimeout: if the execution_timeout was reached meanwhile.
    """
    limit = execution_timeout_at(task, context)
    if limit is None:
        return
    left = limit - now.timestamp()
    if left <= 0:
        raise AirflowTaskTimeout(f"The task has reached its execution_timeout while {wait}")
    if threading.current_thread() is threading.main_thread() and signal.getitimer(signal.ITIMER_REAL)[0] > left:
        signal.setitimer(signal.ITIMER_REAL, left)  # Airflow's own timer, which counts from the resume


def wakes_at(moment: datetime, task: Any, context: Mapping[str, Any], now: datetime) -> datetime:
    """Return when a deferral until ``moment`` ends: at the execution_timeout if that is earlier."""
    limit = execution_timeout_at(task, context)
    bounded = moment if limit is None else min(moment, datetime.fromtimestamp(limit, UTC))
    return max(bounded, now + LEAST_DEFERRAL)


def airflow_timeout(give_up_at: datetime, task: Any, context: Mapping[str, Any], now: datetime) -> timedelta:
    """Return the timeout of a deferral: Airflow ends it if no triggerer has, some minutes after ``give_up_at`` or
    the execution_timeout.
    """
    limit = execution_timeout_at(task, context)
    bounded = give_up_at if limit is None else min(give_up_at, datetime.fromtimestamp(limit, UTC))
    return max(bounded - now, LEAST_DEFERRAL) + GRACE


def wait_until(moment: datetime) -> Any:
    """Return a trigger that fires at ``moment``, which has a time zone."""
    try:
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger
    except ImportError:  # Airflow 2 has it in its core
        from airflow.triggers.temporal import DateTimeTrigger  # type: ignore[import-not-found, no-redef, unused-ignore]
    return DateTimeTrigger(moment=moment)
