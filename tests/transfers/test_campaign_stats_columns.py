# ruff: noqa: F811 (fixtures of another module)
"""Which campaigns a task replaces, and which columns the metrics get, whatever MoEngage returns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.transfers.test_campaign_stats import Warehouse, campaigns, interval, load, warehouse  # noqa: F401 (fixtures)
from tests.transfers.test_campaign_stats_incomplete import moengage, nested

pytestmark = pytest.mark.usefixtures("campaigns")


def served(stats: dict[str, Any]) -> dict[str, Any]:
    return {
        "response_id": "r",
        "total_campaigns": len(stats),
        "current_page": 1,
        "total_pages": 1,
        "data": {campaign_id: nested(groups) for campaign_id, groups in stats.items()},
    }


SENT = {"performance_stats": {"sent": 1}}


@pytest.mark.parametrize("prepared", [None, "CREATE TABLE stats (x int)"], ids=["with key", "without key"])
def test_campaigns_that_come_instead_of_those_asked_for_are_replaced_too(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, prepared: str | None
) -> None:
    if prepared:
        warehouse.select(prepared)
    with moengage(lambda _: served({"child 1": SENT, "child 2": SENT}), monkeypatch):
        for _ in range(2):
            assert load(campaign_details=False, campaign_ids=["parent"])["rows"] == 2

    assert warehouse.select("SELECT count(*), count(DISTINCT id) FROM stats") == [(2, 2)]


def test_a_campaign_that_comes_with_several_requests_is_one(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with moengage(lambda _: served({"child": SENT}), monkeypatch):
        result = load(campaign_details=False, campaign_ids=[f"parent {number}" for number in range(15)])

    assert result["rows"] == 1
    assert warehouse.select("SELECT campaign_id FROM stats") == [("child",)]


def test_no_metric_overwrites_a_column_that_is_not_one(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = {
        **SENT,
        "id": "7",
        "day": 3,
        "version": 9,
        "campaign_id": "123",
        "campaign_name": "2024",
        "type": 4,
        "campaign": {"id": 5},
        "metric": {"type": 6},
    }
    with moengage(lambda _: served({"c1": groups, "c2": groups}), monkeypatch):
        for _ in range(2):
            load(campaign_details=False)

    columns = "campaign_id, day, version, campaign_name, metric_type, performance_sent"
    assert warehouse.select(f"SELECT {columns} FROM stats ORDER BY 1") == [
        ("c1", "2026-11-01", 1, None, "TOTAL", 1.0),
        ("c2", "2026-11-01", 1, None, "TOTAL", 1.0),
    ]
    assert warehouse.select("SELECT count(DISTINCT id), min(length(id)) FROM stats") == [(2, 32)]
    assert warehouse.select("SELECT DISTINCT variation_version, metric_metric_type FROM stats") == [(9.0, 6.0)]


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("moment", ["2026-10-31T18:30:00+00:00", datetime(2026, 10, 31, 18, 30, tzinfo=UTC)])
def test_a_time_with_a_zone_is_the_day_in_the_workspaces(moment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with moengage(lambda _: served({"c1": SENT}), monkeypatch) as server:
        result = load(campaign_details=False, start=moment, end=moment, time_zone="Asia/Kolkata")

    assert result["days"] == ["2026-11-01"]
    assert b'"start_date":"2026-11-01"' in server.requests[0]


@pytest.mark.usefixtures("warehouse")
def test_a_time_with_a_zone_is_the_day_in_the_dags(monkeypatch: pytest.MonkeyPatch) -> None:
    context = interval("2026-11-01", "2026-11-02", "Asia/Kolkata")
    moment = str(context["data_interval_start"])
    with moengage(lambda _: served({"c1": SENT}), monkeypatch):
        assert load(context, campaign_details=False, start=moment, end=moment)["days"] == ["2026-11-01"]
        assert load(context, campaign_details=False, start="2026-11-01", end="2026-11-01T23:00")["days"] == [
            "2026-11-01"
        ]
