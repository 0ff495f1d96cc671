from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

if TYPE_CHECKING:
    import requests

    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client

PATH = "/v1/integrations/authentication"
PROBE = {"app_id": "EMULATOR", "app_secret": "emulator-data-key", "source": "Airflow", "region": "01"}
APP_KEY = {"MOE-APPKEY": "EMULATOR"}


def ask(
    client: Client, probe: dict[str, Any] = PROBE, headers: dict[str, str] | None = APP_KEY
) -> requests.Response:
    return client.raw(msgspec.json.encode(probe), path=PATH, headers=headers)


def test_valid_credentials_return_the_app_name(client: Client, workspace: Workspace) -> None:
    response = ask(client)

    assert response.status_code == 200
    assert response.json()["status"] == "success"
    assert response.json()["app_name"]
    assert (workspace.counts.requests, workspace.counts.accepted_requests) == (1, 0)


def test_a_wrong_secret_is_401(client: Client) -> None:
    response = ask(client, {**PROBE, "app_secret": "wrong"})

    assert (response.status_code, response.json()["status"]) == (401, "fail")
    assert response.json()["error"]["request_id"]


def test_a_wrong_password_is_401(client: Client) -> None:
    client.session.auth = ("EMULATOR", "wrong")
    assert ask(client).status_code == 401


def test_the_app_key_header_is_required(client: Client) -> None:
    response = ask(client, headers=None)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "Missing header value")


def test_a_different_app_key_is_409(client: Client) -> None:
    assert ask(client, headers={"MOE-APPKEY": "OTHER"}).status_code == 409


@pytest.mark.parametrize("name", list(PROBE))
def test_each_field_is_required(client: Client, name: str) -> None:
    response = ask(client, {key: value for key, value in PROBE.items() if key != name})

    assert response.status_code == 400
    assert name in response.json()["error"]["message"]


def test_a_body_that_is_not_json_is_400_or_415(client: Client) -> None:
    assert client.raw(b"{", path=PATH, headers=APP_KEY).status_code == 400
    assert client.raw(b"{}", path=PATH, headers={**APP_KEY, "Content-Type": "text/plain"}).status_code == 415


def test_a_setting_returns_failures_as_200_with_status_error(client: Client, workspace: Workspace) -> None:
    workspace.configure(test_connection_errors_as_200=True)
    response = ask(client, {**PROBE, "app_secret": "wrong"})

    assert (response.status_code, response.json()["status"]) == (200, "error")
    assert workspace.counts.refused == 1
