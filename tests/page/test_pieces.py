"""What the page makes of serialized tasks, stored values and rejects, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.page.conftest import HAS_PAGES

if not HAS_PAGES:
    pytest.skip("Airflow has pages of plugins from 3.1 on", allow_module_level=True)

from airflow_provider_moengage.page.receipts import event_run, import_run, quotas
from airflow_provider_moengage.page.rejects import masked, rejects_file
from airflow_provider_moengage.page.runs import sync_run
from airflow_provider_moengage.page.stored import StoredRun, StoredTry
from airflow_provider_moengage.page.synced_tasks import EVENT, SEGMENT, SYNC, ProviderTask, tasks_of

NOW = datetime(2026, 11, 27, tzinfo=UTC)
REPORT = {"accepted": 1, "rejected": 0, "rejects": {}}


def run(*values: Any, state: str | None = "success") -> StoredRun:
    tries = [StoredTry(index, state, NOW, NOW, value) for index, value in enumerate(values)]
    return StoredRun("run", NOW, None, tries)


def task(**changes: Any) -> ProviderTask:
    return ProviderTask(
        **{"dag_id": "d", "task_id": "t", "kind": SYNC, "operator": "O", "is_mapped": False, **changes}
    )


def serialized(**fields: Any) -> dict[str, Any]:
    return {"dag": {"tasks": [{"__var": {"task_id": "t", **fields}}]}}


def test_a_task_is_of_this_provider_by_its_module_or_by_its_link() -> None:
    fields = {"template_fields": ["elements", "validation"]}
    link = {"MoEngage dashboard": "_link_MoEngageDashboardLink"}

    assert len(list(tasks_of("d", serialized(_task_module="airflow_provider_moengage.x", **fields)))) == 1
    assert len(list(tasks_of("d", serialized(_task_module="ours", _operator_extra_links=link, **fields)))) == 1
    for other in ("airflow_provider_moengage_of_others", "ours"):
        assert list(tasks_of("d", serialized(_task_module=other, **fields))) == []
    assert list(tasks_of("d", None)) == []


def test_arguments_of_a_mapped_task_count_and_templates_do_not() -> None:
    module = {"_task_module": "airflow_provider_moengage.x", "template_fields": ["validation"]}
    [mapped] = tasks_of("d", serialized(partial_kwargs={"moengage_conn_id": "other"}, _is_mapped=True, **module))
    [templated] = tasks_of("d", serialized(rejects_path="{{ var.value.folder }}", **module))

    assert (mapped.moengage_conn_id, mapped.is_mapped, mapped.has_own_rejects_path) == ("other", True, False)
    assert (templated.rejects_path, templated.has_own_rejects_path) == (None, True)


@pytest.mark.parametrize("value", [None, "text", [1], {"accepted": 1}, {"files": []}])
def test_what_is_no_report_has_no_counts(value: Any) -> None:
    assert "accepted" not in sync_run(run(value), SYNC)


def test_wrong_values_in_a_report_are_left_out() -> None:
    broken = {
        "accepted": "many",
        "rejected": -3,
        "rejects": {"Ada <ada@example.com>": 1, "customer_id_missing": True, "value_not_finite": 2},
        "warnings": ["x"],
        "elapsed_seconds": float("nan"),
        "customers": True,
    }

    shown = sync_run(run(broken), SYNC)

    assert (shown["accepted"], shown["rejected"], shown["customers"]) == (0, 0, 0)
    assert (shown["rejects"], shown["warnings"]) == ({"value_not_finite": 2}, {})
    assert (shown["elapsed_seconds"], shown["rate"]) == (0.0, None)


def test_the_share_of_the_limit_counts_the_scarcer_one() -> None:
    report = {**REPORT, "customers": 30_000, "actions": 90_000, "elapsed_seconds": 120}

    assert sync_run(run(report), SYNC)["share_of_limit"] == 0.75
    assert sync_run(run({**REPORT, "requests": 150, "elapsed_seconds": 5}), SEGMENT)["share_of_limit"] == 0.5
    assert sync_run(run({**report, "dry_run": True}), SYNC)["share_of_limit"] is None


def test_the_state_of_a_mapped_task_is_that_of_its_worst_instance() -> None:
    tries = [StoredTry(index, state, NOW, None) for index, state in enumerate(("success", "running", "failed"))]

    shown = sync_run(StoredRun("run", NOW, NOW, tries), SYNC)
    assert (shown["state"], shown["ended_at"]) == ("failed", None)
    assert sync_run(run(None, state=None), SYNC)["state"] is None


def test_no_value_of_an_element_is_left() -> None:
    element = {
        "type": "event",
        "customer_id": "ada",
        "actions": [
            {"action": "Buy", "attributes": {"n": 1.5, "gift": True, "note": None, "deep": {"er": {"est": 1}}}}
        ],
        "many": list(range(200)),
    }

    assert masked(element) == {
        "type": "event",
        "customer_id": "text of 3",
        "actions": [
            {
                "action": "text of 3",
                "attributes": {"n": "number", "gift": "true or false", "note": None, "deep": "object of 1"},
            }
        ],
        "many": "list of 200",
    }
    assert masked({"type": "ada@example.com"}) == {"type": "text of 15"}
    assert masked("ada@example.com") == "text of 15"


def test_a_run_shows_only_its_own_rejects_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__MOENGAGE__REJECTS_PATH", raising=False)
    literal = rejects_file(task(rejects_path="s3://b/r", has_own_rejects_path=True), "run", -1, None)
    assert literal is not None
    assert literal.startswith("s3://b/r/d__run__t__")
    name = literal.rpartition("/")[2]
    templated = task(has_own_rejects_path=True)

    assert rejects_file(templated, "run", -1, f"gs://x/{name}") == f"gs://x/{name}"
    for other in ("/etc/passwd", "gs://x/other__run__t__12345678.ndjson", None, 7):
        assert rejects_file(templated, "run", -1, other) is None
    assert rejects_file(task(), "run", -1, f"gs://x/{name}") is None
    monkeypatch.setenv("AIRFLOW__MOENGAGE__REJECTS_PATH", "gs://all")
    assert rejects_file(task(), "run", -1, "/etc/passwd") == f"gs://all/{name}"
    own = task(rejects_path="/r/own.ndjson", has_own_rejects_path=True)
    assert rejects_file(own, "run", -1, None) == "/r/own.ndjson"


def test_quotas_count_what_is_within_each_window() -> None:
    v5 = task(kind=EVENT, api_version="v5", moengage_conn_id="c")
    answer = {"api_version": "v5", "triggered_campaign_ids": ["a", "b", "c"]}
    ago = [timedelta(minutes=1), timedelta(minutes=30), timedelta(hours=5)]
    returned: list[tuple[ProviderTask, datetime, Any]] = [(v5, NOW - each, answer) for each in ago]
    returned += [(v5, NOW, {**answer, "dry_run": True}), (v5, NOW, None), (v5, NOW, {"api_version": "v9"})]

    found = {row["window"]: (row["used"], row["quota"]) for row in quotas([v5], returned, NOW)}

    assert found == {"5 minutes": (3, 10), "an hour": (6, 50), "a day": (9, 200)}


def test_files_of_a_sensor_and_of_a_trigger_are_read_alike() -> None:
    file = {"file_name": "a.csv", "file_status": "FAILED", "total_rows": 2, "failed_rows": "two", "other": "x"}

    for value in ([file], {"import_id": "i", "triggered_at": "2026-11-27T00:00:00Z", "files": [file]}):
        [shown] = import_run(run(value))["files"]
        assert (shown["file_name"], shown["total_rows"], shown["failed_rows"]) == ("a.csv", 2, None)
        assert "other" not in shown
    assert import_run(run({"import_id": "i", "files": []}))["files"] == []


def test_a_task_that_does_not_wait_for_its_import_knows_no_files() -> None:
    for value in (None, {"import_id": "i", "triggered_at": "2026-11-27T00:00:00Z", "baseline": []}):
        assert import_run(run(value))["files"] is None


def test_an_event_that_returned_nothing_has_a_state_only() -> None:
    assert event_run(run(None, state="failed"))["state"] == "failed"
    assert event_run(run({"event_name": "E", "dry_run": True}))["dry_run"] is True
