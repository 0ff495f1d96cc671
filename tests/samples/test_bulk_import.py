"""MoEngage API reference, "Bulk Import" and the pages of single users, events and devices: its samples."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.received.values import sentence
from airflow_provider_moengage.api.responses import Outcome, read_reply
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from tests.delivering import MoEngage
from tests.operators.test_bulk_import import context
from tests.samples.samples import cases, filled, load

SAMPLES = load("bulk_import")
IDENTIFIERS = ("moe_mobile",)
PLATFORMS = ("ANDROID", "iOS", "web", "TV")


@pytest.fixture
def workspace(connected: MoEngage) -> MoEngage:
    """A workspace that identifies users by mobile number as well, as the samples do."""
    connected.reset(identifiers=IDENTIFIERS)
    return connected


def wrong_positions(elements: list[dict[str, Any]]) -> set[int]:
    """Return the elements that MoEngage's page calls an error ("Create Device", response ``invalid_platform``)."""
    devices = ((at, it["attributes"]) for at, it in enumerate(elements) if it["type"] == "device")
    return {at for at, attributes in devices if attributes["platform"] not in PLATFORMS}


def rejected(path: Path) -> dict[int, list[str]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["position"]: line["codes"] for line in lines}


@pytest.mark.parametrize("fill", [False, True], ids=["verbatim", "filled"])
@pytest.mark.parametrize("sample", cases(SAMPLES["requests"]))
def test_the_operator_sends_each_element_but_what_the_page_calls_an_error(
    workspace: MoEngage, tmp_path: Path, sample: dict[str, Any], fill: bool
) -> None:
    elements = (filled(sample) if fill else sample)["body"]["elements"]
    path = tmp_path / "rejects.ndjson"

    report = BulkImportOperator(
        task_id="send", elements=elements, max_rejects=len(elements), rejects_path=str(path)
    ).execute(context())

    assert set(rejected(path)) <= wrong_positions(elements), rejected(path)
    assert report["accepted"] + report["rejected"] == len(elements)
    assert len(workspace.arrived) == report["accepted"]


@pytest.mark.parametrize("sample", cases(SAMPLES["requests"]))
def test_the_hook_sends_a_filled_sample_whole(workspace: MoEngage, sample: dict[str, Any]) -> None:
    given = filled(sample)["body"]["elements"]
    elements = [element for at, element in enumerate(given) if at not in wrong_positions(given)]

    report = MoEngageHook().bulk_import(elements)

    assert (report.accepted, report.rejected) == (len(elements), 0)
    ids = [element.get("customer_id") for element in elements]
    assert sorted(map(str, ids)) == sorted(str(element.get("customer_id")) for element in workspace.arrived)


@pytest.mark.parametrize("fill", [False, True], ids=["verbatim", "filled"])
@pytest.mark.parametrize("sample", cases(SAMPLES["requests"]))
def test_the_emulator_accepts_the_sample_as_it_is(workspace: MoEngage, sample: dict[str, Any], fill: bool) -> None:
    body = (filled(sample) if fill else sample)["body"]

    with closing(MoEngageHook().get_conn()) as client:
        reply = client.bulk_import(json.dumps(body).encode())

    is_wrong = bool(wrong_positions(body["elements"]))
    assert reply.outcome is Outcome.ACCEPTED or (is_wrong and reply.outcome is Outcome.REFUSED)


READ_AS = {
    200: Outcome.ACCEPTED,
    400: Outcome.REFUSED,
    401: Outcome.DENIED,
    403: Outcome.DENIED,
    413: Outcome.TOO_LARGE,
    415: Outcome.UNEXPECTED,
    429: Outcome.THROTTLED,
    500: Outcome.SERVER_ERROR,
}


@pytest.mark.parametrize("sample", cases(SAMPLES["responses"]))
def test_a_response_is_read_as_what_its_page_says(sample: dict[str, Any]) -> None:
    reply = read_reply(sample["status"], {}, json.dumps(sample["body"]).encode(), scrub=Scrub(()), now=0.0)

    error = sample["body"].get("error", {})
    expected = {READ_AS[sample["status"]]}
    if error.get("type") == "Malformed JSON":
        expected.add(Outcome.UNEXPECTED)
    assert reply.outcome in expected
    assert reply.request_id == error.get("request_id")
    if sample["status"] == 400:
        assert reply.error_type == error["type"]
        assert sentence(reply.said, between=": ") == f"{error['type']}: {error['message']}"
