"""Faults and unknown paths at the file import endpoints, and the formats of their responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from airflow_provider_moengage.emulator import Fault, FileImport

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator import Workspace
    from airflow_provider_moengage.emulator.faults import FaultKind
    from tests.emulator.client import Client

BASE = "/v1.0/data/fileimports"


@pytest.fixture(autouse=True)
def users(workspace: Workspace) -> None:
    workspace.add_file_import(FileImport("i1", "Users"))


def test_a_status_fault_on_the_trigger_starts_no_run(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=500, path=BASE))
    body = client.trigger_import().json()

    assert (body["title"], sorted(body)) == ("Server Error", ["code", "description", "title"])
    assert (workspace.counts.file_runs, workspace.counts.faulted) == (0, 1)
    assert client.trigger_import().status_code == 200


@pytest.mark.parametrize("kind", ["status_after", "cut_after"])
def test_a_trigger_takes_effect_even_if_its_response_is_lost(
    client: Client, workspace: Workspace, kind: FaultKind
) -> None:
    workspace.add_fault(Fault(kind))
    if kind == "cut_after":
        with pytest.raises(requests.ConnectionError):
            client.trigger_import()
    else:
        assert client.trigger_import().json()["title"] == "Bad Gateway"

    assert workspace.counts.file_triggers == 1
    assert (workspace.requests[0].accepted, workspace.requests[0].fault) == (True, kind)
    assert client.trigger_import().json()["error_type"] == "ALREADY_EXISTS"


def test_a_cut_before_fault_starts_no_run(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("cut_before"))
    with pytest.raises(requests.ConnectionError):
        client.trigger_import()
    assert workspace.counts.file_runs == 0


def test_slow_and_html_faults_apply_to_file_imports(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("slow", seconds=0.05, path=f"{BASE}/import/run"))
    workspace.add_fault(Fault("html", path=f"{BASE}/import/status"))

    assert client.history().elapsed.total_seconds() >= 0.05
    assert client.details().text.startswith("<!doctype html>")
    assert client.trigger_import().status_code == 200


def test_a_429_fault_has_the_format_of_a_real_429(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=429, headers={"Retry-After": "7"}, path=f"{BASE}/import"))
    response = client.history()

    assert (response.status_code, response.headers["Retry-After"]) == (429, "7")
    assert response.json()["error"]["type"] == "Rate Limits Exceeded"


@pytest.mark.parametrize(
    ("status", "triggered", "listed"),
    [
        (400, ("error_type", "NOT_FOUND"), ("data", "Unable to process the request")),
        (401, ("title", "AuthenticationInvalid"), ("title", "AuthenticationInvalid")),
        (404, ("message", "Resource not found"), ("data", "Resource not found.")),
        (405, ("message", "Method not allowed"), ("message", "Method not allowed")),
        (
            415,
            ("description", "Content type is not supported"),
            ("error_description", "Content type is not supported"),
        ),
        (503, ("title", "Service Unavailable"), ("title", "Service Unavailable")),
    ],
)
def test_each_status_fault_has_the_format_of_its_endpoint(
    client: Client, workspace: Workspace, status: int, triggered: tuple[str, str], listed: tuple[str, str]
) -> None:
    workspace.add_fault(Fault("status", status=status, headers={"X-Trace": "t"}, times=2))
    for response, (name, value) in ((client.trigger_import(), triggered), (client.history(), listed)):
        assert (response.status_code, response.json()[name]) == (status, value)
        assert response.headers["X-Trace"] == "t"


def test_a_403_fault_reports_a_blocked_client(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=403))
    assert client.details().json()["error"]["type"] == "BlockedClient"


def test_a_body_over_the_hard_limit_is_413(client: Client, workspace: Workspace) -> None:
    workspace.configure(hard_body_limit=10)
    assert client.history().status_code == 413


@pytest.mark.parametrize("path", ["trigger/", "trigger/a/b", "nothing"])
def test_an_unknown_path_is_404_in_the_file_import_format(client: Client, path: str) -> None:
    response = client.file_imports(path, b"{}")
    assert (response.status_code, response.json()["status"]) == (404, "fail")


def test_another_method_is_405(client: Client) -> None:
    response = client.session.get(f"{client.url}{BASE}/trigger/i1", timeout=5)
    assert (response.status_code, response.json()["message"]) == (405, "Method not allowed")
