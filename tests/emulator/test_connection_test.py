from __future__ import annotations

import msgspec
import pytest

PATH = "/v1/integrations/authentication"
PROBE = {"app_id": "EMULATOR", "app_secret": "emulator-data-key", "source": "Airflow", "region": "01"}
APP_KEY = {"MOE-APPKEY": "EMULATOR"}


def ask(door, probe=PROBE, headers=APP_KEY):
    return door.raw(msgspec.json.encode(probe), path=PATH, headers=headers)


def test_right_credentials_are_confirmed_with_the_apps_name(door, workspace):
    response = ask(door)

    assert response.status_code == 200
    assert response.json()["status"] == "success"
    assert response.json()["app_name"]
    assert (workspace.counts.requests, workspace.counts.accepted_requests) == (1, 0)


def test_a_wrong_secret_is_401(door):
    response = ask(door, {**PROBE, "app_secret": "wrong"})

    assert (response.status_code, response.json()["status"]) == (401, "fail")
    assert response.json()["error"]["request_id"]


def test_a_wrong_password_is_401(door):
    door.session.auth = ("EMULATOR", "wrong")
    assert ask(door).status_code == 401


def test_the_app_key_header_is_required(door):
    response = ask(door, headers=None)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "Missing header value")


def test_an_app_key_that_differs_is_409(door):
    assert ask(door, headers={"MOE-APPKEY": "OTHER"}).status_code == 409


@pytest.mark.parametrize("name", list(PROBE))
def test_every_field_is_required(door, name):
    response = ask(door, {key: value for key, value in PROBE.items() if key != name})

    assert response.status_code == 400
    assert name in response.json()["error"]["message"]


def test_a_body_that_is_not_json_is_400_or_415(door):
    assert door.raw(b"{", path=PATH, headers=APP_KEY).status_code == 400
    assert door.raw(b"{}", path=PATH, headers={**APP_KEY, "Content-Type": "text/plain"}).status_code == 415


def test_failures_can_come_as_200_with_status_error(door, workspace):
    workspace.configure(test_connection_errors_as_200=True)
    response = ask(door, {**PROBE, "app_secret": "wrong"})

    assert (response.status_code, response.json()["status"]) == (200, "error")
    assert workspace.counts.refused == 1
