"""The notifier triggers an event when it is called, and never fails its caller."""

from __future__ import annotations

import asyncio
import json
from importlib.util import find_spec
from typing import Any

import pytest

from airflow_provider_moengage.emulator import BusinessEvent, Fault
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.notifications.business_event import MoEngageBusinessEventNotifier
from tests.delivering import MoEngage


@pytest.fixture
def workspace(connected: MoEngage) -> Any:
    workspace = connected.emulator.workspace
    workspace.add_business_event(BusinessEvent("Synced", attributes=None, campaigns=("c",)))
    return workspace


def context() -> Any:
    return {"dag": None, "ds": "2026-01-01"}


def notifier(**options: Any) -> MoEngageBusinessEventNotifier:
    given = {"event_name": "Synced", "event_attributes": {"day": "{{ ds }}"}}
    return MoEngageBusinessEventNotifier(**{**given, **options})


def test_a_callback_triggers_the_event_with_rendered_attributes(workspace: Any) -> None:
    notifier()(context())

    assert [firing.event_attributes for firing in workspace.firings] == [{"day": "2026-01-01"}]


def test_the_triggerer_can_call_it_too(workspace: Any) -> None:
    asyncio.run(notifier(event_attributes={}).async_notify(context()))

    assert workspace.counts.firings == 1


@pytest.mark.parametrize("fault", [Fault("status", status=500), Fault("cut_after"), Fault("status", status=429)])
def test_an_error_is_only_logged(
    workspace: Any, fault: Fault, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    workspace.add_fault(fault)

    notifier(event_attributes={}).notify(context())

    captured = capsys.readouterr()
    logged = caplog.text + captured.out + captured.err
    assert "MoEngage was not notified" in logged
    assert "Traceback" not in logged
    assert workspace.counts.requests == 1


def test_a_wrong_connection_is_only_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", raising=False)
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", json.dumps({"conn_type": "moengage"}))

    notifier(moengage_conn_id="broken").notify(context())


def test_a_template_that_fails_is_only_logged(
    workspace: Any, capsys: Any, caplog: pytest.LogCaptureFixture
) -> None:
    notifier(event_attributes={"day": "{{ nothing.here }}"})(context())

    captured = capsys.readouterr()
    assert "MoEngage was not notified: UndefinedError" in caplog.text + captured.out + captured.err


def test_attributes_may_be_a_template(workspace: Any) -> None:
    notifier(event_attributes="{{ ds }}")


def test_a_wrong_argument_next_to_a_template_is_named() -> None:
    with pytest.raises(ValueError, match="api_version 'v9'"):
        notifier(event_name="{{ ds }}", api_version="v9")


def test_a_wrong_argument_is_named_when_the_dag_is_parsed() -> None:
    with pytest.raises(ValueError, match="triggered_by: v5 requires"):
        notifier(api_version="v5")


@pytest.mark.skipif(find_spec("airflow.sdk") is None, reason="deadline alerts need Airflow 3")
def test_in_a_deadline_the_error_gets_out_because_nothing_else_reports_it(workspace: Any) -> None:
    deadline: Any = {"dag": None, "dag_run": {"dag_id": "d"}, "deadline": {"id": "1"}}
    workspace.add_fault(Fault("status", status=401))
    with pytest.raises(MoEngageError):
        notifier(event_attributes={})(deadline)
    workspace.add_fault(Fault("status", status=401))
    with pytest.raises(MoEngageError):
        asyncio.run(notifier(event_attributes={}).async_notify(deadline))
