"""What hooks return goes through Airflow's own XCom serialization, without a change of its allow list."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from airflow_provider_moengage.api.campaigns.models import Campaign, CampaignStats
from airflow_provider_moengage.api.file_imports import FileRun, ImportDetails
from airflow_provider_moengage.bulk.report import DeliveryReport

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

RETURNED = [
    DeliveryReport(accepted=2, customers=2, warnings={"name_truncated": 1}),
    FileRun("1", "a.csv", "SUCCESSFUL", scheduled_at=NOON, total_rows=3),
    ImportDetails("i", "Users", last_run_at=NOON),
    Campaign("c1", "Weekly offer", "EMAIL", "ACTIVE", "PERIODIC"),
    CampaignStats("c1", 1, "ANDROID", "en", "A", date(2026, 1, 1), date(2026, 1, 2), {"performance_sent": 3}),
]


def _exists(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its package does not exist
        return False


def through_xcom(value: Any) -> Any:
    """Serialize and deserialize a value as Airflow does with an XCom."""
    names = ("airflow.sdk.serde", "airflow.serialization.serde")
    found = next((name for name in names if _exists(name)), None)
    if found is None:
        pytest.skip("this Airflow has its serialization elsewhere")
    serde: Any = import_module(found)
    return serde.deserialize(json.loads(json.dumps(serde.serialize(value))))


@pytest.mark.parametrize("value", RETURNED, ids=lambda value: type(value).__name__)
def test_a_downstream_task_reads_what_a_task_returned(value: Any) -> None:
    assert through_xcom([value]) == [value.to_dict()]


@pytest.mark.parametrize("value", RETURNED, ids=lambda value: type(value).__name__)
def test_airflow_2_writes_it_as_plain_json(value: Any) -> None:
    assert json.loads(json.dumps(value)) == value.to_dict()
