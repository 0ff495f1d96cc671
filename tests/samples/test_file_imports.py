"""MoEngage API reference, "Trigger File Imports", "Import File Run History" and "Import Details": the samples."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import Triggering
from airflow_provider_moengage.api.file_imports_client import FileImportsClient
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.emulator import FileImport, ImportFile
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from tests.api.loopback import answer, loopback
from tests.delivering import MoEngage
from tests.samples.samples import cases, filled, load
from tests.task import Task

SAMPLES = load("file_imports")
BASE = "/v1.0/data/fileimports"
AUTH = ("EMULATOR", "emulator-data-key")
DONE = ImportFile("filename.csv", steps=((0, "SUCCESSFUL"),), total_rows=10)


@pytest.fixture
def workspace(connected: MoEngage) -> MoEngage:
    """A workspace with an import of the samples' name, which has run once."""
    workspace = connected.emulator.workspace
    workspace.clear_file_imports()
    workspace.add_file_import(FileImport("i1", "Nightly users", files=(DONE,)))
    workspace.add_file_import(FileImport("i2", "test_import", files=(DONE,)))
    workspace.run_file_import("i1")
    connected.clock.wait(threading.Event(), 301)
    return connected


def post(workspace: MoEngage, path: str, body: Any = None) -> requests.Response:
    url = f"{workspace.emulator.url}{BASE}/{path}"
    return requests.post(url, json=body, auth=AUTH, headers={"MOE-APPKEY": AUTH[0]}, timeout=5)


def read(sample: dict[str, Any], ask: Callable[[FileImportsClient], Any]) -> Any:
    """Return what the client makes of a response."""
    with loopback(answer(sample["status"], json.dumps(sample["body"]).encode())) as server:
        client = FileImportsClient(Workspace("WS", "key", base_url=server.url, timeout=5.0))
        with closing(client):
            return ask(client)


def test_the_operator_triggers_an_import_and_reads_the_history(workspace: MoEngage) -> None:
    result = TriggerFileImportOperator(task_id="trigger", import_id="i1").execute(Task().context)

    assert result["import_id"] == "i1"
    assert len(workspace.emulator.workspace.file_triggers) == 1


def test_the_emulator_answers_a_trigger_with_the_samples(workspace: MoEngage) -> None:
    said = {(it["status"], it["sample"]): it["body"] for it in SAMPLES["trigger"]["responses"]}

    assert post(workspace, "trigger/i1").json() == said[200, "success_response"]
    assert post(workspace, "trigger/i1").json() == said[400, "exceeded_user_limit"]
    assert post(workspace, "trigger/nothing").json() == said[400, "invalid_scheduleid"]


TRIGGERED_AS = {
    "success_response": Triggering.TRIGGERED,
    "exceeded_user_limit": Triggering.RAN_RECENTLY,
    "invalid_scheduleid": Triggering.GONE,
}
BY_STATUS = {
    401: Triggering.DENIED,
    403: Triggering.DENIED,
    404: Triggering.REFUSED,
    405: Triggering.REFUSED,
    500: Triggering.UNKNOWN,
}


@pytest.mark.parametrize("sample", cases(SAMPLES["trigger"]["responses"]))
def test_a_response_to_a_trigger_is_read_as_what_its_page_says(sample: dict[str, Any]) -> None:
    reply = read(sample, lambda client: client.trigger("i1"))

    assert reply.triggering is (TRIGGERED_AS.get(sample["sample"]) or BY_STATUS[sample["status"]])


def test_the_sample_query_of_the_history_is_the_hooks_own(workspace: MoEngage) -> None:
    [sample] = SAMPLES["history"]["requests"]
    query = filled(sample)["body"]
    by_hook = {name: query[name] for name in ("import_name", "file_status")}

    [run] = MoEngageHook().iter_file_runs(**by_hook)

    assert (run.file_name, run.file_status, run.total_rows) == ("filename.csv", "SUCCESSFUL", 10)


def test_the_sample_query_of_the_history_has_a_date_that_its_page_calls_an_error(workspace: MoEngage) -> None:
    [sample] = SAMPLES["history"]["requests"]
    dated = {**filled(sample)["body"], "import_id": "i1"}
    undated = {name: value for name, value in dated.items() if name != "date"}

    refused, answered = (post(workspace, "import/run/history", body) for body in (dated, undated))

    assert (refused.status_code, refused.json()["error_type"]) == (400, "Invalid Date format")
    assert (answered.status_code, len(answered.json()["data"])) == (200, 1)


HISTORY = SAMPLES["history"]["responses"]
HISTORY_PAGES = [it for it in HISTORY if it["status"] == 200]
KINDS = {
    400: ErrorKind.REQUEST,
    401: ErrorKind.AUTHENTICATION,
    403: ErrorKind.AUTHENTICATION,
    404: ErrorKind.REQUEST,
    415: ErrorKind.REQUEST,
    429: ErrorKind.RATE_LIMIT,
}


def kind_of(sample: dict[str, Any]) -> ErrorKind:
    is_absent = sample["body"].get("error_type") == "Import Doesn't Exist"
    return ErrorKind.NOT_FOUND if is_absent else KINDS[sample["status"]]


@pytest.mark.parametrize("sample", cases([it for it in HISTORY if it["status"] != 200]))
def test_a_failure_of_the_history_is_read_as_what_its_page_says(sample: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        read(sample, lambda client: client.file_runs({"import_id": "i1"}, page=1))

    assert (caught.value.kind, caught.value.status_code) == (kind_of(sample), sample["status"])


# The first one is indented wrongly in the reference: its file is under "items", and "data" is null.
@pytest.mark.parametrize("sample", cases(HISTORY_PAGES))
def test_a_page_of_the_history_is_read_however_its_page_writes_it(sample: dict[str, Any]) -> None:
    page = read(sample, lambda client: client.file_runs({"import_id": "i1"}, page=1))

    [run] = page.rows
    assert (run.id, run.file_name, run.file_status) == ("672561rr0abd2da34cf7f7df", "filename.csv", "SUCCESSFUL")
    assert (run.file_size, run.total_rows, run.aux_data_added_count) == (1_544, 10, 10)
    assert (page.has_more, page.total) == (False, 1)


@pytest.mark.parametrize("sample", cases(SAMPLES["details"]["requests"]))
def test_the_emulator_answers_the_sample_query_of_the_details(workspace: MoEngage, sample: dict[str, Any]) -> None:
    response = post(workspace, "import/status", sample["body"])

    assert (response.status_code, response.json()["status"]) == (200, "success")


DETAILS = SAMPLES["details"]["responses"]


@pytest.mark.parametrize("sample", cases([it for it in DETAILS if it["status"] != 200]))
def test_a_failure_of_the_details_is_read_as_what_its_page_says(sample: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        read(sample, lambda client: client.imports({}, page=1))

    assert (caught.value.kind, caught.value.status_code) == (kind_of(sample), sample["status"])


@pytest.mark.parametrize("sample", cases([it for it in DETAILS if it["status"] == 200]))
def test_a_page_of_the_details_is_read(sample: dict[str, Any]) -> None:
    imports, has_more = read(sample, lambda client: client.imports({}, page=1))

    assert [details.import_name for details in imports] == ["Special", "Duplicate_special"]
    assert {(details.last_run_status, details.time_zone) for details in imports} == {("FAILED", "Asia/Calcutta")}
    assert not has_more


@pytest.mark.parametrize("sample", [it for it in DETAILS if it["status"] == 200])
def test_2nd_times_of_the_details_are_the_workspaces_and_the_next_run_is_in_utc(sample: dict[str, Any]) -> None:
    special, _ = read(sample, lambda client: client.imports({}, page=1))[0]

    made_at = datetime.fromtimestamp(int("67348ff2", 16), UTC)  # the id begins with it
    assert special.import_id.startswith("67348ff2")
    assert special.created_at == made_at.replace(microsecond=635_000)
    assert special.last_run_at - special.created_at < timedelta(seconds=2)
    assert special.next_scheduled_at == made_at.replace(microsecond=619_000)
