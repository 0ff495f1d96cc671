"""Members of segments, delivered within the limit of requests."""

from __future__ import annotations

import json

import pytest

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.responses import Outcome
from airflow_provider_moengage.api.users.cohorts import Cohort, CohortSync, member_line
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.bulk.members import Members
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.run.context import RunContext
from airflow_provider_moengage.bulk.run.delivery import Delivery
from airflow_provider_moengage.bulk.run.lane import Requests
from airflow_provider_moengage.bulk.sources import Numbered
from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.hooks.cohorts import requests_of
from tests.delivering import MoEngage, customer

PATH = "/v1/integrations/cohortsync"


def deliver(
    moengage: MoEngage, users: list[str], *, most_bytes: int = 128_000, lanes: int | None = 1
) -> DeliveryReport:
    limits, requests = requests_of(CohortSync(Cohort("c1", "Likely to leave")))
    small = Requests(*(request._replace(largest_body=most_bytes) for request in requests))
    workspace = Workspace("EMULATOR", "emulator-data-key", base_url=moengage.emulator.url, timeout=10.0)
    client = MoEngageClient(workspace, now=moengage.clock.time)
    options = DeliveryOptions(concurrency=lanes)
    context = RunContext.create(options, limits, moengage.log, moengage.clock, requests=small)
    source = Members(Numbered([customer(user) for user in users]))
    try:
        return Delivery(context, source, client, Rejects(None)).run()
    finally:
        client.close()


@pytest.mark.parametrize("lanes", [1, 4, None])
def test_a_run_sends_no_more_than_300_requests_a_minute(moengage: MoEngage, lanes: int | None) -> None:
    moengage.reset()
    began_at = moengage.clock.monotonic()
    users = [f"u-{number:04}" for number in range(700)]

    report = deliver(moengage, users, most_bytes=170, lanes=lanes)

    assert (report.accepted, report.requests) == (700, 700)
    assert moengage.emulator.workspace.counts.throttled == 0
    assert moengage.clock.monotonic() - began_at >= 120
    assert moengage.emulator.workspace.segments == {"c1": set(users)}


def test_others_that_send_make_a_run_slower_and_lose_nobody(moengage: MoEngage) -> None:
    moengage.reset(cohort_quota=[[40, 60]])
    users = [f"u-{number:04}" for number in range(150)]

    assert deliver(moengage, users, most_bytes=170).accepted == 150
    assert moengage.emulator.workspace.counts.throttled < 10
    assert moengage.emulator.workspace.segments == {"c1": set(users)}


def test_a_body_that_is_refused_is_halved_until_the_member_is_alone(moengage: MoEngage) -> None:
    moengage.reset()
    moengage.emulator.workspace.add_fault(Fault("refuse", customer_id="u-5", times=None))
    report = deliver(moengage, [f"u-{number}" for number in range(64)])

    assert (report.accepted, report.rejected, report.rejects) == (63, 1, {"refused_by_server": 1})


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"kind": "status", "status": 401}, Outcome.DENIED),
        ({"kind": "status", "status": 403}, Outcome.DENIED),
        ({"kind": "status", "status": 413}, Outcome.TOO_LARGE),
        ({"kind": "status", "status": 415}, Outcome.UNEXPECTED),
        ({"kind": "status", "status": 429}, Outcome.THROTTLED),
        ({"kind": "status", "status": 500}, Outcome.SERVER_ERROR),
        ({"kind": "cut_before"}, Outcome.UNKNOWN),
        ({"kind": "html"}, Outcome.UNKNOWN),
        ({"kind": "refuse", "customer_id": "ann"}, Outcome.REFUSED),
    ],
)
def test_each_answer_has_its_meaning(moengage: MoEngage, fault: dict[str, object], outcome: Outcome) -> None:
    moengage.reset()
    moengage.emulator.workspace.add_fault(Fault(**fault))  # type: ignore[arg-type]
    workspace = Workspace("EMULATOR", "emulator-data-key", base_url=moengage.emulator.url, timeout=10.0)
    client = MoEngageClient(workspace, now=moengage.clock.time)
    before, after = Cohort("c1", "Likely to leave").envelope("add_members")
    body = before + member_line("ann") + after
    try:
        assert client.sync_cohort(body).outcome is outcome
        moengage.emulator.workspace.clear_faults()
        assert client.fork().sync_cohort(body).outcome is Outcome.ACCEPTED
    finally:
        client.close()


def test_an_envelope_is_json_whatever_the_texts_are() -> None:
    texts = ('a "b" \\', "Grüße 😀", "]}}")
    before, after = Cohort(*texts).envelope("remove_members")

    found = json.loads(before + member_line('x"\\') + after)["parameters"]

    assert tuple(found[name] for name in ("cohort_id", "cohort_name", "cohort_description")) == texts
    assert found["members"] == [{"uid": 'x"\\'}]
