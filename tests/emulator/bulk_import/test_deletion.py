"""``POST /v1/customer/delete`` of the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from airflow_provider_moengage.emulator import Fault
from tests.emulator.client import WORKSPACE_ID

if TYPE_CHECKING:
    import requests

    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

ANN = {"type": "customer", "customer_id": "ann", "attributes": {}}
DAY = 86_400


def delete(
    client: Client, user: Any = "ann", *, kind: Any = "customer_id", app: str = WORKSPACE_ID
) -> requests.Response:
    body = msgspec.json.encode({"identity_type": kind, "identity_value": user})
    return client.raw(body, path=f"/v1/customer/delete?app_id={app}")


def error_type(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["type"]


def test_a_deletion_is_accepted_and_the_user_is_gone_a_day_later(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    client.bulk(ANN)
    for _ in range(2):  # until then, a second one is accepted too
        response = delete(client)
        assert (response.status_code, response.json()["status"]) == (200, "success")
        clock.now += DAY / 2

    assert error_type(delete(client)) == (400, "Not Found")
    assert workspace.deleted_users == ["ann", "ann"]


def test_the_control_api_lists_the_deletions(client: Client) -> None:
    for name in ("ann", "bea"):
        client.bulk({**ANN, "customer_id": name})
        delete(client, name)

    assert client.control("GET", "deletions").json() == {"deletions": ["ann", "bea"]}
    assert client.control("GET", "deletions?since=1").json() == {"deletions": ["bea"]}


def test_a_user_who_is_sent_again_within_the_day_is_gone_and_later_is_there(
    client: Client, clock: FakeClock
) -> None:
    client.bulk(ANN)
    delete(client)
    clock.now += DAY / 2
    client.bulk(ANN)
    clock.now += DAY / 2
    assert error_type(delete(client)) == (400, "Not Found")

    client.bulk(ANN)
    assert delete(client).status_code == 200


@pytest.mark.parametrize("kind", ["customer_id", "moengage_id"])
def test_an_unknown_user_is_not_found(client: Client, workspace: Workspace, kind: str) -> None:
    assert error_type(delete(client, "nobody", kind=kind)) == (400, "Not Found")
    assert workspace.deleted_users == []


@pytest.mark.parametrize(
    ("user", "kind", "error"),
    [
        ("", "customer_id", "MissingAttributeError"),
        (None, "customer_id", "MissingAttributeError"),
        ("ann", None, "MissingAttributeError"),
        ("ann", "email", "ValueError"),
        (7, "customer_id", "ValueError"),
    ],
)
def test_a_wrong_body_is_refused(client: Client, user: Any, kind: Any, error: str) -> None:
    client.bulk(ANN)

    assert error_type(delete(client, user, kind=kind)) == (400, error)


@pytest.mark.parametrize(("body", "error"), [(b"{", "Malformed JSON"), (b"[]", "TypeError")])
def test_a_body_that_is_no_object_is_refused(client: Client, body: bytes, error: str) -> None:
    path = f"/v1/customer/delete?app_id={WORKSPACE_ID}"

    assert error_type(client.raw(body, path=path)) == (400, error)


def test_another_workspace_is_refused(client: Client) -> None:
    assert delete(client, app="OTHER").status_code == 401
    body = msgspec.json.encode({"identity_type": "customer_id", "identity_value": "ann"})
    assert client.raw(body, path="/v1/customer/delete").status_code == 401


def test_5000_a_minute_are_accepted(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    assert workspace.settings.delete_quota == ((5_000, 60),)
    workspace.configure(delete_quota=[[2, 60]], retry_after="seconds")
    client.bulk(ANN)
    assert [delete(client).status_code for _ in range(3)] == [200, 200, 429]

    throttled = delete(client)

    assert throttled.headers["retry-after"] == "60"
    assert set(throttled.json()) == {"status", "title", "description"}
    clock.now += 60
    assert delete(client).status_code == 200


def test_faults_hit_it(client: Client, workspace: Workspace) -> None:
    client.bulk(ANN)
    workspace.add_fault(Fault("refuse", customer_id="ann"))
    assert delete(client).status_code == 400
    workspace.add_fault(Fault("status", status=429, path="/v1/customer/delete"))
    assert delete(client).json()["title"] == "Rate limit exceeded"
    assert workspace.deleted_users == []
    workspace.add_fault(Fault("status_after", status=502))
    assert delete(client).status_code == 502
    assert workspace.deleted_users == ["ann"]


def test_a_reset_forgets_deletions(client: Client, workspace: Workspace) -> None:
    client.bulk(ANN)
    delete(client)
    workspace.reset()

    assert workspace.deleted_users == []
    assert error_type(delete(client)) == (400, "Not Found")
