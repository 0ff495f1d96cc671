"""Metrics for StatsD, Datadog or OpenTelemetry, sent through the backend that Airflow itself uses."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from airflow_provider_moengage.bulk.report import DeliveryReport

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    :param kind: ``counter``, ``gauge`` or ``timer``.
    :param unit: of its values; a timer's are milliseconds.
    """

    name: str
    kind: str
    unit: str


ACCEPTED = Metric("moengage.bulk.accepted", "counter", "elements")
REJECTED = Metric("moengage.bulk.rejected", "counter", "elements")
REQUESTS = Metric("moengage.bulk.requests", "counter", "requests")
RETRIES = Metric("moengage.bulk.retries", "counter", "requests")
BYTES = Metric("moengage.bulk.bytes", "counter", "bytes")
DONE = Metric("moengage.bulk.done", "gauge", "elements")
SHARE_OF_LIMIT = Metric("moengage.bulk.share_of_limit", "gauge", "0 to 1")
THROTTLED_SECONDS = Metric("moengage.bulk.throttled_seconds", "gauge", "seconds")
ELAPSED_SECONDS = Metric("moengage.bulk.elapsed_seconds", "gauge", "seconds")
THROTTLED = Metric("moengage.bulk.throttled", "timer", "milliseconds")
DURATION = Metric("moengage.bulk.duration", "timer", "milliseconds")
TRIGGERED_EVENTS = Metric("moengage.business_event.fired", "counter", "events")
PARTIAL = Metric("moengage.business_event.partial", "counter", "events")
UNKNOWN = Metric("moengage.business_event.unknown", "counter", "events")
OVER_QUOTA = Metric("moengage.business_event.over_quota", "counter", "events")
QUOTA_DEFERRALS = Metric("moengage.business_event.quota_deferrals", "counter", "deferrals")
TRIGGERED = Metric("moengage.file_import.triggered", "counter", "imports")
RUNS = {
    status: Metric(f"moengage.file_import.runs.{status.lower()}", "counter", "files")
    for status in ("SUCCESSFUL", "PARTIAL_SUCCESS", "FAILED")
}
FAILED_ROWS = Metric("moengage.file_import.failed_rows", "counter", "rows")
STATS_DAYS = Metric("moengage.campaign_stats.days", "counter", "days")
STATS_ROWS = Metric("moengage.campaign_stats.rows", "counter", "rows")
STATS_REQUESTS = Metric("moengage.campaign_stats.requests", "counter", "requests")
STATS_THROTTLED = Metric("moengage.campaign_stats.throttled", "counter", "requests")
ARRIVED = Metric("moengage.arrival.arrived", "counter", "users")
MISSING = Metric("moengage.arrival.missing", "counter", "users")
DIFFERING = Metric("moengage.arrival.differing", "counter", "users")
ERASURE_REQUESTS = Metric("moengage.erasure.requests", "counter", "requests")
ERASURE_ACCEPTED = Metric("moengage.erasure.accepted", "counter", "requests")
ERASURE_NOT_FOUND = Metric("moengage.erasure.not_found", "counter", "requests")
ERASURE_REFUSED = Metric("moengage.erasure.refused", "counter", "requests")
ERASURE_UNKNOWN = Metric("moengage.erasure.unknown", "counter", "requests")
ERASURE_GONE = Metric("moengage.erasure.gone", "gauge", "users")
ERASURE_REMAINING = Metric("moengage.erasure.remaining", "gauge", "users")

METRICS = (
    *(ACCEPTED, REJECTED, REQUESTS, RETRIES, BYTES),
    *(DONE, SHARE_OF_LIMIT, THROTTLED_SECONDS, ELAPSED_SECONDS),
    *(THROTTLED, DURATION),
    *(TRIGGERED_EVENTS, PARTIAL, UNKNOWN, OVER_QUOTA, QUOTA_DEFERRALS),
    *(TRIGGERED, *RUNS.values(), FAILED_ROWS),
    *(STATS_DAYS, STATS_ROWS, STATS_REQUESTS, STATS_THROTTLED),
    *(ARRIVED, MISSING, DIFFERING),
    *(ERASURE_REQUESTS, ERASURE_ACCEPTED, ERASURE_NOT_FOUND, ERASURE_REFUSED, ERASURE_UNKNOWN),
    *(ERASURE_GONE, ERASURE_REMAINING),
)
"""Every metric that the package sends."""


class Metrics:
    """Sends metrics, tagged with the connection and, inside a task, with the task. Errors are ignored.

    :param conn_id: the workspace's connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._tags = {"conn_id": conn_id, **_task_tags()}

    def count(self, metric: Metric, number: int = 1) -> None:
        """Add to a counter."""
        self._send("incr", metric, number)

    def gauge(self, metric: Metric, value: float) -> None:
        """Set a gauge."""
        self._send("gauge", metric, value)

    def time(self, metric: Metric, seconds: float) -> None:
        """Record a duration."""
        self._send("timing", metric, seconds * 1_000)

    def _send(self, how: str, metric: Metric, value: float) -> None:
        try:
            from airflow.providers.common.compat.sdk import Stats

            getattr(Stats, how)(metric.name, value, tags=self._tags)
        except Exception as error:  # noqa: BLE001 (an error of the metrics backend never fails a task)
            _log.debug("%s could not be sent (%s)", metric.name, type(error).__name__)


class BulkMetrics:
    """Sends the metrics of a delivery with each progress line, and at the end. A dry run sends nothing.

    :param conn_id: the workspace's connection.
    """

    def __init__(self, conn_id: str) -> None:
        self._metrics = Metrics(conn_id)
        self._first: DeliveryReport | None = None
        self.report: DeliveryReport | None = None
        """The latest counts."""

    def __call__(self, report: DeliveryReport, share_of_limit: float) -> None:
        """Send what has changed since the last call. The first call has counts that earlier tries sent."""
        before, self.report = self.report, report
        if before is None or self._first is None:
            self._first = report
            return
        if report.dry_run:
            return
        send = self._metrics
        send.count(ACCEPTED, report.accepted - before.accepted)
        send.count(REJECTED, report.rejected - before.rejected)
        send.count(REQUESTS, report.requests - before.requests)
        send.count(RETRIES, report.retries - before.retries)
        send.count(BYTES, report.bytes - before.bytes)
        send.gauge(DONE, report.accepted + report.rejected)
        send.gauge(SHARE_OF_LIMIT, round(share_of_limit, 3))
        send.gauge(THROTTLED_SECONDS, report.throttled_seconds)
        send.gauge(ELAPSED_SECONDS, report.elapsed_seconds)

    def end(self) -> None:
        """Record the duration of this try."""
        first, last = self._first, self.report
        if first is None or last is None or last.dry_run:
            return
        self._metrics.gauge(SHARE_OF_LIMIT, 0)
        self._metrics.time(THROTTLED, last.throttled_seconds - first.throttled_seconds)
        self._metrics.time(DURATION, last.elapsed_seconds - first.elapsed_seconds)


def _task_tags() -> dict[str, str]:
    try:
        from airflow.providers.common.compat.sdk import get_current_context

        task: Any = get_current_context()["ti"]
        return {"dag_id": str(task.dag_id), "task_id": str(task.task_id)}
    except Exception:  # noqa: BLE001 (Airflow versions raise different errors outside a task)
        return {}
