"""The fields of a connection: what is read from them, and the errors for wrong ones."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_moengage.bulk.rate_limit.pacer import Limits
from airflow_provider_moengage.exceptions import MoEngageRequestError
from airflow_provider_moengage.hooks.connection import read_connection
from airflow_provider_moengage.hooks.moengage import MoEngageHook

KEY = "a-key-nobody-may-see"


def connection(**changes: Any) -> Connection:
    fields = {"conn_id": "crm", "conn_type": "moengage", "login": "WS1", "password": KEY}
    extra = changes.pop("extra", {"data_center": "2"})
    return Connection(**{**fields, **changes}, extra=json.dumps(extra))


def test_workspace_key_and_data_center_are_enough() -> None:
    settings = read_connection(connection())

    assert (settings.workspace_id, settings.data_api_key, settings.data_center) == ("WS1", KEY, "02")
    assert settings.campaign_api_key == KEY
    assert (settings.base_url, settings.timeout, settings.limits) == (None, 30.0, Limits(60_000, 60_000))
    assert settings.dashboard_url == "https://dashboard-02.moengage.com"


def test_every_field_is_read() -> None:
    extra = {
        "data_center": "DC-04",
        "campaign_api_key": "other",
        "timeout": "12.5",
        "users_per_minute": 120_000,
        "events_per_minute": "90000",
    }

    settings = read_connection(connection(host="http://127.0.0.1:8123/", extra=extra))

    assert (settings.data_center, settings.campaign_api_key, settings.timeout) == ("04", "other", 12.5)
    assert settings.limits == Limits(120_000, 90_000)
    assert settings.base_url == "http://127.0.0.1:8123"


def test_a_base_url_makes_the_data_center_optional() -> None:
    settings = read_connection(connection(host="http://127.0.0.1:8123", extra={}))

    assert settings.data_center is None
    assert settings.dashboard_url == "http://127.0.0.1:8123"


@pytest.mark.parametrize("untouched", [None, "", "  "])
def test_a_field_left_untouched_on_the_form_is_not_set(untouched: str | None) -> None:
    extra = dict.fromkeys(("campaign_api_key", "timeout", "users_per_minute", "events_per_minute"), untouched)

    settings = read_connection(connection(extra={**extra, "data_center": "01"}))

    assert (settings.campaign_api_key, settings.timeout, settings.limits) == (KEY, 30.0, Limits())


WRONG = {
    "no workspace": ({"login": None}, "login"),
    "no key": ({"password": " "}, "password"),
    "no data center": ({"extra": {}}, "data_center"),
    "unknown data center": ({"extra": {"data_center": "7"}}, "data_center.*01-06, 101"),
    "timeout not a number": ({"extra": {"data_center": "1", "timeout": "soon"}}, "timeout"),
    "timeout 0": ({"extra": {"data_center": "1", "timeout": 0}}, "timeout"),
    "limit 0": ({"extra": {"data_center": "1", "users_per_minute": 0}}, "users_per_minute"),
    "limit not a number": ({"extra": {"data_center": "1", "events_per_minute": "nan"}}, "events_per_minute"),
    "host without scheme": ({"host": "gateway.example.com"}, "host"),
    "host with path": ({"host": "https://gateway.example.com/v1"}, "host"),
    "host with a password": ({"host": "https://:pw@gateway.example.com"}, "host: contains credentials"),
    "host incomplete": ({"host": "http://[::1"}, "host"),
    "host with an invalid port": ({"host": "http://gateway.example.com:99999"}, "host"),
    "host with a space": ({"host": "http://gate way.example.com"}, "host"),
    "host with empty parts": ({"host": "http://gateway..com"}, "host"),
    "another port": ({"host": "https://gateway.example.com:1", "port": 2}, "port: differs"),
    "no port": ({"host": "https://gateway.example.com", "port": 70_000}, "port: is not a whole number"),
    "another scheme": ({"host": "https://gateway.example.com", "schema": "http"}, "schema: differs"),
    "schema": ({"host": "https://gateway.example.com", "schema": "x"}, "schema: is neither"),
    "timeout too long": ({"extra": {"data_center": "1", "timeout": 1e12}}, "timeout"),
    "host with a user": ({"host": "https://me:pw@gateway.example.com"}, "host: contains credentials"),
}


@pytest.mark.parametrize(("changes", "field"), WRONG.values(), ids=WRONG)
def test_an_error_names_the_field_and_the_connection(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(MoEngageRequestError, match=f"Connection 'crm', field {field}") as caught:
        read_connection(connection(**changes))

    assert KEY not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_settings_do_not_show_their_keys() -> None:
    assert KEY not in repr(read_connection(connection()))


NUMBERS = ("timeout", "users_per_minute", "events_per_minute")


@pytest.mark.parametrize("name", ["data_center", *NUMBERS, "import_time_zone", "host", "port", "schema"])
@pytest.mark.parametrize("pasted", [KEY, f"{KEY}\n", f"dc1 {KEY}", f"é {KEY}"])
def test_a_key_in_a_wrong_field_is_not_shown(name: str, pasted: str) -> None:
    given = connection(host="https://gateway.example.com", port=1)
    if name in ("host", "port", "schema"):
        setattr(given, name, pasted)
    else:
        given.extra = json.dumps({"data_center": "1", name: pasted})

    with pytest.raises(MoEngageRequestError, match=f"field {name}") as raised:
        read_connection(given)

    assert KEY not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("given", ["u_em, loyalty_id", ["u_em", "loyalty_id"]])
def test_identifiers_are_a_list_or_text_with_commas(given: Any) -> None:
    settings = read_connection(connection(extra={"data_center": "1", "identifiers": given}))

    assert settings.identifiers == ("u_em", "loyalty_id")


@pytest.mark.parametrize("given", [None, "", "  ", []])
def test_without_identifiers_the_documented_ones_apply(given: Any) -> None:
    assert read_connection(connection(extra={"data_center": "1", "identifiers": given})).identifiers is None


@pytest.mark.parametrize("given", ["a,b,c,d,e,f", ["a", 5], "a,,b"])
def test_wrong_identifiers_are_an_error_of_the_field(given: Any) -> None:
    with pytest.raises(MoEngageRequestError, match="Connection 'crm', field identifiers: "):
        read_connection(connection(extra={"data_center": "1", "identifiers": given}))


def test_the_zone_of_file_imports_has_its_iana_name() -> None:
    settings = read_connection(connection(extra={"data_center": "1", "import_time_zone": " Asia/Kolkata "}))

    assert settings.import_time_zone == settings.workspace.import_time_zone == "Asia/Kolkata"


@pytest.mark.parametrize("given", [None, "", "  "])
def test_without_a_zone_of_file_imports_it_is_not_known(given: Any) -> None:
    assert (
        read_connection(connection(extra={"data_center": "1", "import_time_zone": given})).import_time_zone is None
    )


@pytest.mark.parametrize("given", ["PST", "+05:30", "asia", "Asia", "../Asia/Kolkata", "localtime", 5.5, ["UTC"]])
def test_a_zone_that_does_not_exist_is_an_error_of_the_field(given: Any) -> None:
    with pytest.raises(
        MoEngageRequestError, match="Connection 'crm', field import_time_zone: is not the IANA name"
    ):
        read_connection(connection(extra={"data_center": "1", "import_time_zone": given}))


HOSTS = {
    "host and port": ({"host": "http://127.0.0.1", "port": 8133}, "http://127.0.0.1:8133"),
    "host with the same port": ({"host": "http://127.0.0.1:8133", "port": 8133}, "http://127.0.0.1:8133"),
    "schema": ({"host": "gateway.example.com", "schema": "https", "port": 444}, "https://gateway.example.com:444"),
    "this machine": ({"host": "localhost", "port": 8133}, "http://localhost:8133"),
    "IPv6": ({"host": "http://[::1]", "port": 8133}, "http://[::1]:8133"),
    "IPv6 as Airflow reads a URI": ({"host": "::1", "port": 8133}, "http://[::1]:8133"),
    "only a port": ({"port": 443}, None),
}


@pytest.mark.parametrize(("changes", "url"), HOSTS.values(), ids=HOSTS)
def test_host_port_and_schema_all_count(changes: dict[str, Any], url: str | None) -> None:
    assert read_connection(connection(**changes)).base_url == url


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("moengage://WS:k@127.0.0.1:8133/", "http://127.0.0.1:8133"),
        ("moengage://WS:k@[::1]:8133/http", "http://[::1]:8133"),
        ("moengage://WS:k@gateway.example.com:8133/https", "https://gateway.example.com:8133"),
        ("moengage://http://WS:k@127.0.0.1:8133/", "http://127.0.0.1:8133"),
    ],
)
def test_a_uri_has_host_and_port(uri: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CRM", uri)

    assert MoEngageHook("crm").settings.base_url == url
