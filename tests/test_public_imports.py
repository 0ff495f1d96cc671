"""Names stay importable from every module path that the reference has ever shown."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGE = "airflow_provider_moengage"
REFERENCE = Path(__file__).parent.parent / "docs" / "reference" / "index.md"

PUBLIC = [
    ("api.campaigns.models", "Campaign"),
    ("api.campaigns.models", "CampaignStats"),
    ("api.file_imports", "FileRun"),
    ("api.file_imports", "ImportDetails"),
    ("api.users.reading", "User"),
    ("bulk.changes", "ChangedOnly"),
    ("bulk.mapping", "Column"),
    ("bulk.mapping", "CustomerMapping"),
    ("bulk.mapping", "DeviceMapping"),
    ("bulk.mapping", "EventMapping"),
    ("bulk.options", "DeliveryOptions"),
    ("bulk.report", "DeliveryReport"),
    ("bulk.expect", "Expect"),
    ("bulk.results", "ResultsTable"),
    ("emulator", "BusinessEvent"),
    ("emulator", "Campaign"),
    ("emulator", "Credentials"),
    ("emulator", "Emulator"),
    ("emulator", "Fault"),
    ("emulator", "Profile"),
    ("emulator", "Settings"),
    ("emulator.business_events", "BusinessEvent"),
    ("emulator.campaigns", "Campaign"),
    ("emulator.clock", "AcceleratedClock"),
    ("emulator.faults", "Fault"),
    ("emulator.file_import_catalog", "FileTrigger"),
    ("emulator.file_import_runs", "FileRun"),
    ("emulator.file_imports", "FileImport"),
    ("emulator.file_imports", "ImportFile"),
    ("emulator.firings", "Firing"),
    ("emulator.received", "ReceivedElement"),
    ("emulator.server", "Emulator"),
    ("emulator.settings", "Settings"),
    ("emulator.workspace", "Counts"),
    ("emulator.workspace", "Credentials"),
    ("emulator.workspace", "RequestRecord"),
    ("emulator.workspace", "Workspace"),
    ("exceptions", "MoEngageArrivalError"),
    ("exceptions", "MoEngageAuthError"),
    ("exceptions", "MoEngageError"),
    ("exceptions", "MoEngageFileFormatError"),
    ("exceptions", "MoEngageFileNotFoundError"),
    ("exceptions", "MoEngageImportFailedError"),
    ("exceptions", "MoEngageImportNotFoundError"),
    ("exceptions", "MoEngageOutcomeUnknownError"),
    ("exceptions", "MoEngageRateLimitError"),
    ("exceptions", "MoEngageRejectsError"),
    ("exceptions", "MoEngageRemovalError"),
    ("exceptions", "MoEngageRequestError"),
    ("exceptions", "MoEngageServerError"),
    ("exceptions", "MoEngageVolumeError"),
    ("get_provider_info", "get_provider_info"),
    ("hooks.moengage", "MoEngageHook"),
    ("links.dashboard", "MoEngageDashboardLink"),
    ("notifications.business_event", "MoEngageBusinessEventNotifier"),
    ("operators.bulk_import", "BulkImportOperator"),
    ("operators.business_event", "BusinessEventOperator"),
    ("operators.file_import", "TriggerFileImportOperator"),
    ("sensors.file_import", "FileImportRunSensor"),
    ("transfers.moengage_arrival_check", "MoEngageArrivalCheckOperator"),
    ("sensors.users_erased", "UsersErasedSensor"),
    ("transfers.moengage_campaign_stats", "MoEngageCampaignStatsOperator"),
    ("transfers.shards", "plan_shards"),
    ("transfers.sql_to_moengage", "SqlToMoEngageOperator"),
    ("transfers.sql_to_moengage_cohort", "SqlToMoEngageCohortOperator"),
    ("transfers.sql_to_moengage_erasure", "SqlToMoEngageErasureOperator"),
    ("transfers.sql_to_moengage_file", "SqlToMoEngageFileOperator"),
    ("triggers.file_import", "FileImportRunEventTrigger"),
    ("triggers.file_import", "FileImportRunTrigger"),
]


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_a_public_name_is_importable_from_its_documented_module(module: str, name: str) -> None:
    if name == "FileImportRunEventTrigger" and find_spec("airflow.sdk") is None:
        pytest.skip("event triggers need Airflow 3")

    assert getattr(import_module(f"{PACKAGE}.{module}"), name).__name__ == name


@pytest.mark.parametrize(("module", "name"), [pair for pair in PUBLIC if pair[0].startswith("emulator.")])
def test_a_name_of_the_emulator_is_the_same_under_every_path(module: str, name: str) -> None:
    exported = getattr(import_module(f"{PACKAGE}.emulator"), name)
    assert exported is getattr(import_module(f"{PACKAGE}.{module}"), name)


def test_the_retry_policy_is_importable() -> None:
    pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="retry policies need Airflow 3.3")

    assert hasattr(import_module(f"{PACKAGE}.retry_policy"), "MoEngageRetryPolicy")


def test_every_name_on_the_page_of_the_reference_is_tested() -> None:
    rows = re.findall(rf"^\| \[(.+?)\]\(.*?\) \| `{PACKAGE}\.([\w.]+)` \|$", REFERENCE.read_text(), re.MULTILINE)
    listed = {(module, name) for names, module in rows for name in re.findall(r"`(\w+)`", names)}

    assert len(rows) > 10
    assert listed - set(PUBLIC) == {("retry_policy", "MoEngageRetryPolicy")}
