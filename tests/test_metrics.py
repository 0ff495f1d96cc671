"""The metrics that are sent through Airflow's Stats: to a real StatsD socket, and as the docs page lists them."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_moengage import metrics
from airflow_provider_moengage.api.file_imports import FileRun, ImportRef
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.emulator import BusinessEvent, Fault
from airflow_provider_moengage.exceptions import (
    MoEngageImportFailedError,
    MoEngageOutcomeUnknownError,
    MoEngageRateLimitError,
    MoEngageRejectsError,
)
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.polling.selection import Selection
from airflow_provider_moengage.polling.success_policy import Policy
from airflow_provider_moengage.tasks.file_import_wait import FileWait
from tests.delivering import MoEngage, customer
from tests.statsd import StatsD, send_stats_to, statsd_server
from tests.task import Task

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "reference" / "metrics.md"


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsD]:
    with statsd_server() as server:
        send_stats_to(server, monkeypatch)
        yield server


def arrived(statsd: StatsD) -> dict[str, float]:
    """Return the sum of each counter and timer, and the last value of each gauge."""
    time.sleep(0.3)
    totals: dict[str, float] = {}
    for name, value, kind, _ in statsd.ours:
        totals[name] = float(value) + (0 if kind == "g" else totals.get(name, 0))
    return totals


def test_the_page_lists_exactly_what_is_sent() -> None:
    rows = re.findall(r"^\| `(moengage\.[a-z_.]+)` \| (\w+) \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)

    assert rows == [(metric.name, metric.kind, metric.unit) for metric in metrics.METRICS]


def test_the_grafana_dashboard_asks_for_metrics_that_are_sent() -> None:
    dashboard = json.loads((DOCS / "grafana" / "moengage.json").read_text())

    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = [re.findall(r"airflow_(moengage_[a-z_]+)", expression) for expression in expressions]
    assert all(len(names) == 1 for names in asked)
    sent = {metric.name.replace(".", "_"): metric.kind for metric in metrics.METRICS}
    for expression, [name] in zip(expressions, asked, strict=True):
        assert sent[name] == ("counter" if "increase(" in expression else "gauge"), expression


def test_every_metric_that_the_module_defines_is_in_the_list() -> None:
    defined = [value for value in vars(metrics).values() if isinstance(value, metrics.Metric)]

    assert {*defined, *metrics.RUNS.values()} == set(metrics.METRICS)


def test_a_run_is_counted(connected: MoEngage, statsd: StatsD) -> None:
    elements = [customer("null"), *(customer(f"user-{n}") for n in range(5))]

    report = MoEngageHook().bulk_import(elements, max_rejects=1)

    sent = arrived(statsd)
    assert (sent["moengage.bulk.accepted"], sent["moengage.bulk.rejected"]) == (5, 1)
    assert sent["moengage.bulk.requests"] == report.requests
    assert sent["moengage.bulk.bytes"] == report.bytes
    assert 0 <= sent["moengage.bulk.duration"] <= report.elapsed_seconds * 1_000 + 1
    assert sent["moengage.bulk.share_of_limit"] == 0
    kinds = {name: kind for name, _, kind, _ in statsd.ours}
    letters = {"counter": "c", "gauge": "g", "timer": "ms"}
    assert kinds == {metric.name: letters[metric.kind] for metric in metrics.METRICS if metric.name in kinds}
    assert {tuple(tags.items()) for *_, tags in statsd.ours} == {(("conn_id", "moengage_default"),)}


def test_a_run_that_fails_is_counted_up_to_its_failure(connected: MoEngage, statsd: StatsD) -> None:
    task = BulkImportOperator(task_id="send", elements=[customer("null"), customer("ann")])

    with pytest.raises(MoEngageRejectsError):
        task.execute(Task().context)

    sent = arrived(statsd)
    assert (sent["moengage.bulk.accepted"], sent["moengage.bulk.rejected"]) == (1, 1)


def test_a_long_run_tells_how_far_it_is(in_small_batches: MoEngage, statsd: StatsD) -> None:
    MoEngageHook().bulk_import([customer(f"user-{n}") for n in range(6_000)], concurrency=1)

    time.sleep(0.3)
    accepted = [float(value) for name, value, _, _ in statsd.ours if name == "moengage.bulk.accepted"]
    assert len(accepted) > 2
    assert sum(accepted) == 6_000
    shares = [float(value) for name, value, _, _ in statsd.ours if name == "moengage.bulk.share_of_limit"]
    assert max(shares) == 0.4
    assert statsd.last_of("moengage.bulk.done") == 6_000
    assert statsd.last_of("moengage.bulk.throttled_seconds") > 60
    assert statsd.sum_of("moengage.bulk.throttled") > 60_000


def test_elements_of_earlier_tries_are_not_counted_again(statsd: StatsD) -> None:
    watch = metrics.BulkMetrics("c")
    watch(DeliveryReport(accepted=600, rejected=2, elapsed_seconds=11), 0.0)
    watch(DeliveryReport(accepted=1_000, rejected=2, elapsed_seconds=31), 0.5)
    watch.end()

    sent = arrived(statsd)
    assert sent["moengage.bulk.accepted"] == 400
    assert sent["moengage.bulk.rejected"] == 0
    assert sent["moengage.bulk.done"] == 1_002
    assert sent["moengage.bulk.duration"] == 20_000


def test_a_dry_run_is_not_counted(connected: MoEngage, statsd: StatsD) -> None:
    MoEngageHook().bulk_import([customer("ann")], dry_run=True)

    assert arrived(statsd) == {}


def test_errors_of_the_backend_are_ignored(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise OSError

    for how in ("incr", "gauge", "timing"):
        monkeypatch.setattr(f"airflow.providers.common.compat.sdk.Stats.{how}", broken, raising=False)

    assert MoEngageHook().bulk_import([customer("ann")]).accepted == 1


@pytest.fixture
def movies(connected: MoEngage) -> Iterator[MoEngage]:
    workspace = connected.emulator.workspace
    workspace.add_business_event(BusinessEvent("New movie", attributes=None, campaigns=("c",)))
    workspace.configure(v1_trigger_quota=((1, 3_600),))
    yield connected
    workspace.configure(v1_trigger_quota=())


def test_business_events_are_counted_by_outcome(
    movies: MoEngage, statsd: StatsD, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = MoEngageHook()
    movies.emulator.workspace.add_fault(Fault("status", status=500, path="/v1.0/business_event"))
    with pytest.raises(MoEngageOutcomeUnknownError):
        hook.trigger_business_event("New movie")
    hook.trigger_business_event("New movie")
    with pytest.raises(MoEngageRateLimitError):
        hook.trigger_business_event("New movie")
    with pytest.raises(TaskDeferred):
        BusinessEventOperator(task_id="t", event_name="New movie").execute(Task().context)

    assert arrived(statsd) == {
        "moengage.business_event.unknown": 1,
        "moengage.business_event.fired": 1,
        "moengage.business_event.over_quota": 2,
        "moengage.business_event.quota_deferrals": 1,
    }


def test_files_of_imports_are_counted_by_status(statsd: StatsD, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = FileWait("c", ImportRef("import_id", "i"), Selection(), Policy())
    files = [
        FileRun("1", "a.csv", "SUCCESSFUL"),
        FileRun("2", "b.csv", "SUCCESSFUL"),
        FileRun("3", "c.csv", "PARTIAL_SUCCESS", failed_rows=7),
        FileRun("4", "d.csv", "FAILED"),
    ]

    with pytest.raises(MoEngageImportFailedError):
        wait.judged(files, logging.getLogger())

    assert arrived(statsd) == {
        "moengage.file_import.runs.successful": 2,
        "moengage.file_import.runs.partial_success": 1,
        "moengage.file_import.runs.failed": 1,
        "moengage.file_import.failed_rows": 7,
    }
