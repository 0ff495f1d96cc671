"""What a web page of another site sends through a browser: by a name of its own, by forms, by scripts."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from airflow_provider_moengage.emulator import Emulator
from airflow_provider_moengage.emulator.cli import main
from airflow_provider_moengage.emulator.dashboard.origin_guard import AllowedHosts

EVERYTHING = [
    ("GET", "/"),
    ("GET", "/_emulator/connection"),
    ("GET", "/_emulator/elements"),
    ("GET", "/_emulator/elements?last=10"),
    ("GET", "/_emulator/picture"),
    ("GET", "/_emulator/requests"),
    ("GET", "/_emulator/deletions"),
    ("GET", "/_emulator/firings"),
    ("GET", "/_emulator/page/page.js"),
    ("POST", "/_emulator/reset"),
    ("DELETE", "/_emulator/faults"),
    ("POST", "/v1/transition/EMULATOR"),
    ("POST", "/v1.0/business_event/trigger"),
    ("GET", "/v5/business-events"),
    ("GET", "/nothing"),
]


def status(
    emulator: Emulator, method: str, path: str, *headers: tuple[str, str], body: bytes | None = None
) -> int:
    return answer(emulator, method, path, *headers, body=body)[0]


def answer(
    emulator: Emulator, method: str, path: str, *headers: tuple[str, str], body: bytes | None = None
) -> tuple[int, str]:
    """Send exactly these headers, and Host unless it is among them."""
    address = urlsplit(emulator.url).netloc
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        if not any(name == "Host" for name, _ in headers):
            connection.putheader("Host", address)
        for name, value in headers:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(allow=("moengage", "emulator.example.com", "10.1.2.3")) as emulator:
        yield emulator


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_a_name_that_points_to_this_machine_reads_and_changes_nothing(
    emulator: Emulator, method: str, path: str
) -> None:
    assert status(emulator, method, path, ("Host", "evil.example")) == 403


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8123",
        "LOCALHOST.",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.8.9.10",
        "[::1]",
        "[::1]:8123",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "moengage",
        "Moengage:8123",
        "emulator.example.com",
        "10.1.2.3:80",
    ],
)
def test_localhost_and_the_names_of_allow_are_served(emulator: Emulator, host: str) -> None:
    assert status(emulator, "GET", "/_emulator/health", ("Host", host)) == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost.evil.example",
        "evil.localhost",
        "localhost@evil.example",
        "localhost:8123@evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1:x",
        "[::1",
        "[::1]evil.example",
        "[::1]x:80",
        "0.0.0.0",
        "10.1.2.4",
        "2130706433",
        "0x7f000001",
        "api-01.moengage.com",
        "sub.emulator.example.com",
        "localhost, evil.example",
    ],
)
def test_any_other_host_is_refused(emulator: Emulator, host: str) -> None:
    code, text = answer(emulator, "GET", "/_emulator/connection", ("Host", host))

    assert code == 403
    assert json.loads(text)["error"].startswith("Host: ")
    assert "key" not in text


def test_two_hosts_are_refused(emulator: Emulator) -> None:
    hosts = (("Host", "localhost"), ("Host", "evil.example"))

    assert status(emulator, "GET", "/_emulator/connection", *hosts) in (400, 403)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://evil.example",
        "http://localhost",
        "http://localhost:1",
        "http://127.0.0.1:1",
        "null",
        "file://",
        "chrome-extension://abc",
        "",
    ],
)
@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_another_origin_reads_and_changes_nothing(emulator: Emulator, method: str, path: str, origin: str) -> None:
    assert status(emulator, method, path, ("Origin", origin)) == 403


def test_the_own_page_and_a_named_proxy_may_send(emulator: Emulator) -> None:
    origins = (emulator.url, "https://emulator.example.com", "http://moengage:8123")

    assert [status(emulator, "POST", "/_emulator/reset", ("Origin", origin)) for origin in origins] == [200] * 3


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(("method", "path"), EVERYTHING[1:10])
def test_another_site_cannot_load_the_control_api_as_a_script_or_an_image(
    emulator: Emulator, method: str, path: str, site: str
) -> None:
    assert status(emulator, method, path, ("Sec-Fetch-Site", site)) == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_the_page_and_a_typed_address_can(emulator: Emulator, site: str) -> None:
    assert status(emulator, "GET", "/_emulator/summary", ("Sec-Fetch-Site", site)) == 200


def test_a_link_from_another_site_opens_the_page(emulator: Emulator) -> None:
    headers = (("Sec-Fetch-Site", "cross-site"), ("Accept", "text/html"))

    code, page = answer(emulator, "GET", "/", *headers)
    assert (code, "<html" in page) == (200, True)


def test_a_form_of_another_site_cannot_add_a_fault(emulator: Emulator) -> None:
    form = ("Content-Type", "text/plain")

    assert status(emulator, "POST", "/_emulator/faults", form, body=b'{"kind": "status"}') == 415
    assert emulator.workspace.faults == ()


def test_an_emulator_on_every_interface_answers_to_the_address_that_received_the_connection() -> None:
    hosts = AllowedHosts("0.0.0.0")

    assert hosts.allows("192.168.1.7", "192.168.1.7")
    assert not hosts.allows("192.168.1.8", "192.168.1.7")
    assert not hosts.allows("evil.example", "192.168.1.7")


def test_an_emulator_on_every_interface_still_refuses_names() -> None:
    with Emulator(host="0.0.0.0") as emulator:
        assert status(emulator, "GET", "/_emulator/health") == 200
        assert status(emulator, "GET", "/_emulator/health", ("Host", "evil.example")) == 403


def test_the_address_it_listens_on_is_served() -> None:
    hosts = AllowedHosts("192.168.1.7")

    assert hosts.allows("192.168.1.7", "192.168.1.7")
    assert not hosts.allows("192.168.1.8", "192.168.1.8")


@pytest.mark.parametrize("name", ["", "http://localhost", "name:8123", "*", "a b", "a/b", "a..b"])
def test_a_name_to_allow_that_is_not_a_host_is_an_error(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"^allow "):
        Emulator(allow=(name,))
    with pytest.raises(SystemExit):
        main(["--port", "0", f"--allow={name}"])

    assert "expected a host name or an address" in capsys.readouterr().err
