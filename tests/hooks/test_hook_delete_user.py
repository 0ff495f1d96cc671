"""MoEngageHook.delete_user: what each response means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from tests.api.loopback import answer, loopback
from tests.delivering import MoEngage, connection_to, customer

USER = "jane@example.com"


def test_a_user_is_deleted_by_one_request(connected: MoEngage) -> None:
    connected.deliver([customer(USER)])

    assert MoEngageHook().delete_user(USER) is True
    assert connected.emulator.workspace.deleted_users == [USER]
    assert MoEngageHook().delete_user("nobody") is False


def test_the_request_names_workspace_project_and_user(monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback(answer(200, b'{"status": "success"}')) as server:
        fields = {"conn_type": "moengage", "login": "WS", "password": "key", "host": server.url}
        connection = json.dumps({**fields, "extra": {"project_code": "eu"}})
        monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection)
        MoEngageHook().delete_user(USER)

    assert server.head.startswith("POST /v1/customer/delete?app_id=WS HTTP/1.1\r\n")
    assert server.header("moe-project-code") == "eu"
    assert json.loads(server.body) == {"identity_type": "customer_id", "identity_value": USER}


@pytest.mark.parametrize("wrong", ["", " ", None, 7])
def test_an_id_that_is_none_is_refused_before_anything_is_sent(connected: MoEngage, wrong: Any) -> None:
    with pytest.raises(ValueError, match="customer_id: expected the ID of a user"):
        MoEngageHook().delete_user(wrong)
    assert connected.emulator.workspace.counts.requests == 0


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (Fault("status", status=401), MoEngageAuthError, "do not match"),
        (Fault("status", status=404), MoEngageRequestError, "did not come from MoEngage's API"),
        (Fault("status", status=429), MoEngageRateLimitError, "rate limit is used up"),
        (Fault("status", status=503), MoEngageServerError, "it is not known whether"),
        (Fault("status_after", status=502), MoEngageServerError, "it is not known whether"),
        (Fault("cut_after"), MoEngageServerError, "it is not known whether"),
        (Fault("html"), MoEngageServerError, "it is not known whether"),
        (Fault("refuse", customer_id=USER), MoEngageRequestError, "refused to delete a user"),
    ],
    ids=lambda value: f"{value.kind} {value.status or ''}" if isinstance(value, Fault) else None,
)
def test_a_failure_has_its_exception_and_no_id(
    connected: MoEngage, fault: Fault, error: type[MoEngageError], message: str
) -> None:
    connected.deliver([customer(USER)])
    connected.emulator.workspace.add_fault(fault)

    with pytest.raises(error, match=message) as caught:
        MoEngageHook().delete_user(USER)

    assert USER not in str(caught.value)


def test_no_connection_deletes_nobody(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = json.loads(connection_to(connected)) | {"host": "http://127.0.0.1:9"}
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps(nowhere))

    with pytest.raises(MoEngageServerError, match="nobody was deleted"):
        MoEngageHook().delete_user(USER)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"status": "success"}, True),
        (400, {"status": "fail", "error": {"type": "Not Found", "message": "x"}}, False),
        (200, {"status": "fail", "error": {"type": "Not Found", "message": "x"}}, False),
        (404, {"status": "fail", "error": {"type": "Not Found", "message": "x"}}, MoEngageRequestError),
        (400, {"status": "fail", "error": {"type": "Resource not found"}}, MoEngageRequestError),
        (400, {"status": "fail", "error": {"type": "Strange", "message": "Not Found here"}}, MoEngageRequestError),
        (400, {"message": "Not Found"}, MoEngageRequestError),  # of proxies and gateways
        (400, {"error": "Not Found", "status": 400, "path": "/v1/customer/delete"}, MoEngageRequestError),
        (400, {"error": {"type": "Not Found", "message": "no route"}}, MoEngageRequestError),
        (400, {"status": "fail", "title": "Not Found"}, MoEngageRequestError),
        (200, {"status": "fail", "error": {"type": "", "message": "Not Found"}}, MoEngageRequestError),
        (200, {"status": "success", "title": "Not Found"}, MoEngageServerError),
        (200, {}, MoEngageServerError),
    ],
)
def test_only_a_400_of_the_type_not_found_says_that_there_is_no_such_user(
    monkeypatch: pytest.MonkeyPatch, status: int, body: Any, expected: Any
) -> None:
    with loopback(answer(status, json.dumps(body).encode())) as server:
        fields = {"conn_type": "moengage", "login": "WS", "password": "key", "host": server.url}
        monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps(fields))
        if isinstance(expected, bool):
            assert MoEngageHook().delete_user(USER) is expected
        else:
            with pytest.raises(expected):
                MoEngageHook().delete_user(USER)
