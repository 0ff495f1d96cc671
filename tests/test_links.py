"""The link of each task to MoEngage's dashboard."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage.get_provider_info import get_provider_info
from airflow_provider_moengage.links.dashboard import MoEngageDashboardLink
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from airflow_provider_moengage.sensors.users_erased import UsersErasedSensor
from airflow_provider_moengage.transfers.moengage_arrival_check import MoEngageArrivalCheckOperator
from airflow_provider_moengage.transfers.moengage_campaign_stats import MoEngageCampaignStatsOperator
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from airflow_provider_moengage.transfers.sql_to_moengage_cohort import SqlToMoEngageCohortOperator
from airflow_provider_moengage.transfers.sql_to_moengage_erasure import SqlToMoEngageErasureOperator
from airflow_provider_moengage.transfers.sql_to_moengage_file import SqlToMoEngageFileOperator

TASKS = (
    BulkImportOperator,
    SqlToMoEngageOperator,
    SqlToMoEngageCohortOperator,
    SqlToMoEngageErasureOperator,
    SqlToMoEngageFileOperator,
    BusinessEventOperator,
    TriggerFileImportOperator,
    FileImportRunSensor,
    MoEngageCampaignStatsOperator,
    MoEngageArrivalCheckOperator,
    UsersErasedSensor,
)


def link_of(operator: Any) -> str:
    return MoEngageDashboardLink().get_link(operator, ti_key=SimpleNamespace())


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "moengage", "login": "WORKSPACE", "password": "a-secret-key"}
    there = {"data_center": "03", "campaign_api_key": "another-key"}
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps({**connection, "extra": there}))
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", json.dumps({**connection, "extra": {"data_center": "77"}}))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_the_link(task: Any) -> None:
    [link] = task.operator_extra_links

    assert link.name == "MoEngage dashboard"
    assert isinstance(link, MoEngageDashboardLink)
    assert "moengage_conn_id" in task.template_fields


def test_the_link_is_registered_with_airflow() -> None:
    kind = MoEngageDashboardLink

    assert get_provider_info()["extra-links"] == [f"{kind.__module__}.{kind.__qualname__}"]


def test_it_opens_the_data_centers_dashboard_and_contains_no_key() -> None:
    link = link_of(BusinessEventOperator(task_id="t", event_name="e"))

    assert link == "https://dashboard-03.moengage.com"


@pytest.mark.parametrize("conn_id", ["missing", "broken", "{{ params.conn }}", None])
def test_without_a_connection_there_is_no_link_and_no_failure(conn_id: Any) -> None:
    assert link_of(SimpleNamespace(moengage_conn_id=conn_id)) == ""
    assert link_of(SimpleNamespace()) == ""
