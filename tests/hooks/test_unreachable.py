"""What the environment does wrong reaches the user as an error of this package, from every method of the hook."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_moengage.exceptions import MoEngageError, MoEngageServerError
from airflow_provider_moengage.hooks.moengage import MoEngageHook

ELEMENT = {"type": "customer", "customer_id": "u1", "attributes": {"u_n": "Jane"}}

ASKS: dict[str, Callable[[MoEngageHook], Any]] = {
    "bulk import": lambda hook: hook.bulk_import([ELEMENT]),
    "users": lambda hook: list(hook.iter_users(["u1"])),
    "deletion": lambda hook: hook.delete_user("u1"),
    "business event": lambda hook: hook.trigger_business_event("New movie"),
    "event list": lambda hook: hook.check_business_event("New movie", {}),
    "trigger of an import": lambda hook: hook.trigger_file_import("i"),
    "run history": lambda hook: list(hook.iter_file_runs("i")),
    "import details": lambda hook: list(hook.iter_imports()),
}

WRONG: dict[str, tuple[str, dict[str, str], str]] = {
    "no file of certificates": (
        "https://127.0.0.1:9",
        {"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"},
        "does not exist",
    ),
    "label of 64 characters": (f"http://{'a' * 64}.example", {}, "the URL is not valid"),
    "proxy without a host": ("http://api.example", {"http_proxy": "http://"}, "the URL of the proxy is not valid"),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize(("host", "variables", "said"), WRONG.values(), ids=WRONG)
def test_what_only_the_environment_can_put_right_fails_at_once_within_the_tree_of_errors(
    ask: Callable[[MoEngageHook], Any],
    host: str,
    variables: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    connection = {"conn_type": "moengage", "login": "WS", "password": "a-secret", "host": host}
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps(connection))
    hook = MoEngageHook()
    monkeypatch.setattr("time.sleep", lambda _: None)

    with pytest.raises(MoEngageError, match=said) as caught:
        ask(hook)

    assert isinstance(caught.value, MoEngageServerError), "Airflow may retry it on another worker"
    assert hook.test_connection()[0] is False
    assert said in hook.test_connection()[1]
