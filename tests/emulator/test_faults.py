from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_moengage.emulator import Fault

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client

ALICE = {"type": "customer", "customer_id": "alice", "attributes": {}}
BOB = {"type": "customer", "customer_id": "bob", "attributes": {}}


def statuses(client: Client, count: int) -> list[int]:
    return [client.bulk(ALICE).status_code for _ in range(count)]


def test_status_responds_instead_of_the_api_and_accepts_nothing(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=500))

    assert statuses(client, 2) == [500, 200]
    assert (workspace.counts.customers, workspace.counts.faulted) == (1, 1)
    first, second = workspace.requests
    assert (first.status, first.accepted, first.fault) == (500, False, "status")
    assert (second.status, second.accepted, second.fault) == (200, True, None)


def test_status_can_set_headers_and_body(client: Client, workspace: Workspace) -> None:
    fault = Fault(
        "status", status=429, headers={"Retry-After": "7", "Content-Type": "application/json"}, body="{}"
    )
    workspace.add_fault(fault)
    response = client.bulk(ALICE)

    assert (response.status_code, response.headers["Retry-After"], response.json()) == (429, "7", {})
    assert response.headers["Content-Type"] == "application/json"
    assert workspace.counts.throttled == 0


def test_status_without_a_body_uses_moengages_failure_body(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=403))
    assert client.bulk(ALICE).json()["error"]["message"] == "Forbidden"


def test_status_after_accepts_and_then_fails(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status_after"))

    assert client.bulk(ALICE).status_code == 502
    assert workspace.counts.customers == 1
    (record,) = workspace.requests
    assert (record.status, record.accepted, record.fault) == (502, True, "status_after")


def test_cut_before_accepts_nothing_and_sends_no_response(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("cut_before"))

    with pytest.raises(requests.ConnectionError):
        client.bulk(ALICE)
    assert workspace.counts.elements == 0
    (record,) = workspace.requests
    assert (record.status, record.accepted, record.fault) == (None, False, "cut_before")
    assert client.bulk(ALICE).status_code == 200


def test_cut_after_accepts_but_sends_no_response(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("cut_after"))

    with pytest.raises(requests.ConnectionError):
        client.bulk(ALICE, BOB)
    assert workspace.counts.elements == 2
    assert [received.element for received in workspace.elements] == [ALICE, BOB]
    assert workspace.requests[0].status is None


def test_cut_reads_a_large_body_first(client: Client, workspace: Workspace) -> None:
    workspace.configure(body_limit=None, hard_body_limit=None)
    workspace.add_fault(Fault("cut_before"))

    with pytest.raises(requests.ConnectionError):
        client.raw(b"x" * 5_000_000)
    assert workspace.requests[0].size == 5_000_000


def test_slow_delays_the_usual_response(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("slow", seconds=0.05))
    response = client.bulk(ALICE)

    assert response.status_code == 200
    assert response.elapsed.total_seconds() >= 0.05
    assert workspace.requests[0].fault == "slow"


def test_slow_accepts_even_if_the_client_gave_up(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("slow", seconds=30))

    with pytest.raises(requests.Timeout):
        client.bulk(ALICE, timeout=0.05)
    client.session.close()
    assert client.bulk(BOB).status_code == 200
    assert {received.element["customer_id"] for received in workspace.elements} == {"alice", "bob"}


def test_html_is_a_200_that_accepts_nothing(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("html"))
    response = client.bulk(ALICE)

    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert response.text.startswith("<!doctype html>")
    assert workspace.counts.elements == 0


def test_refuse_refuses_every_body_that_contains_the_customer(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("refuse", times=None, customer_id="bob"))
    refused = client.bulk(ALICE, BOB)

    assert refused.status_code == 400
    assert (refused.json()["error"]["type"], refused.json()["error"]["message"]) == (
        "TypeError",
        "expected string",
    )
    assert client.bulk(ALICE).status_code == 200
    assert client.bulk(BOB).status_code == 400
    assert [record.fault for record in workspace.requests] == ["refuse", None, "refuse"]
    assert (workspace.counts.refused, workspace.counts.customers) == (2, 1)


def test_refuse_counts_only_refused_bodies(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("refuse", times=1, customer_id="bob"))
    assert [client.bulk(element).status_code for element in (ALICE, BOB, BOB)] == [200, 400, 200]


def test_refuse_follows_the_setting_for_refusals_as_200(client: Client, workspace: Workspace) -> None:
    workspace.configure(failures_as_200=True)
    workspace.add_fault(Fault("refuse", customer_id="bob"))
    assert client.bulk(BOB).json()["status"] == "fail"


def test_faults_apply_in_the_order_they_were_added(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", times=2, status=500))
    workspace.add_fault(Fault("status", status=503, after=1))
    assert statuses(client, 5) == [500, 500, 200, 503, 200]


def test_after_skips_requests(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=500, after=2))
    assert statuses(client, 4) == [200, 200, 500, 200]


def test_an_unlimited_fault_is_outside_the_queue(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=503, times=None, after=1))
    workspace.add_fault(Fault("status", status=500))
    assert statuses(client, 4) == [500, 200, 503, 503]
    workspace.clear_faults()
    assert statuses(client, 1) == [200]


def test_a_seed_makes_random_faults_repeatable(client: Client, workspace: Workspace) -> None:
    fault = Fault("status", status=500, times=None, probability=0.5, seed=7)
    workspace.add_fault(fault)
    first = statuses(client, 20)
    workspace.clear_faults()
    workspace.add_fault(fault)

    assert statuses(client, 20) == first
    assert 500 in first
    assert 200 in first


def test_faults_hit_every_api_endpoint_but_not_the_control_api(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=500))

    assert client.control("GET", "summary").status_code == 200
    response = client.raw(b"{}", path="/v1/integrations/authentication")
    assert response.status_code == 500


def test_a_fault_with_a_path_hits_only_requests_under_it(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=500, after=1, path="/v1/transition"))
    probe = client.raw(b"{}", path="/v1/integrations/authentication")

    assert probe.status_code != 500
    assert statuses(client, 3) == [200, 500, 200]


def test_a_fault_with_a_path_does_not_delay_others(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=500, path="/v5/"))
    workspace.add_fault(Fault("status", status=503))
    assert statuses(client, 2) == [503, 200]
    assert workspace.faults == (Fault("status", status=500, path="/v5/"),)


def test_an_unlimited_fault_with_a_path_hits_only_requests_under_it(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", status=500, times=None, path="/v5/"))
    workspace.add_fault(Fault("refuse", times=None, customer_id="bob", path="/v5/"))
    assert [client.bulk(element).status_code for element in (ALICE, BOB)] == [200, 200]


def test_pending_faults_show_their_remaining_times(client: Client, workspace: Workspace) -> None:
    workspace.add_fault(Fault("status", times=3, status=500))
    client.bulk(ALICE)
    assert workspace.faults == (Fault("status", times=2, status=500),)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"times": 0}, "times"),
        ({"after": -1}, "after"),
        ({"status": 100}, "status"),
        ({"probability": 0}, "probability"),
        ({"kind": "refuse"}, "customer_id"),
        ({"path": "v5/"}, "path"),
    ],
)
def test_the_error_for_an_invalid_fault_names_the_argument(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Fault(**{"kind": "status", **options})
