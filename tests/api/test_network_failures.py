"""Kinds of failures of network and environment, on every endpoint: an outcome, never another exception."""

from __future__ import annotations

import logging
import socket
import ssl
from enum import Enum
from pathlib import Path

import pytest

from airflow_provider_moengage.api.workspace import Workspace
from tests.api.endpoints import ENDPOINTS, KEY, Endpoint, workspace
from tests.api.loopback import Act, cut, loopback, reset, send
from tests.api.test_client import certificate, tls

__all__ = ["certificate", "tls"]

Monkey = pytest.MonkeyPatch
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)

HEAD = b"HTTP/1.1 200 OK\r\n"
CUT = "the connection was cut"
NO_HTTP = "the response is not valid HTTP"

AFTER_THE_REQUEST: dict[str, tuple[Act, str]] = {
    "cut": (cut, CUT),
    "reset": (reset, CUT),
    "length beyond the body": (send(HEAD + b"Content-Length: 99\r\n\r\n{}"), CUT),
    "two lengths": (send(HEAD + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}"), NO_HTTP),
    "cut between chunks": (send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"), CUT),
    "chunk without a size": (send(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"), CUT),
    "negative chunk": (send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n"), NO_HTTP),
    "HTTP/0.9": (send(b'{"status":"success"}'), NO_HTTP),
    "another protocol": (send(b"SSH-2.0-OpenSSH_9.6\r\n"), NO_HTTP),
    "binary": (send(bytes(range(128, 256)) + b"\r\n\r\n"), NO_HTTP),
    "no status": (send(b"HTTP/1.1 abc OK\r\n\r\n"), NO_HTTP),
    "status of two digits": (send(b"HTTP/1.1 20 OK\r\n\r\n"), NO_HTTP),
    "HTTP/9": (send(b"HTTP/9 200 OK\r\n\r\n"), NO_HTTP),
}


@every_endpoint
@pytest.mark.parametrize(("act", "said"), AFTER_THE_REQUEST.values(), ids=AFTER_THE_REQUEST)
def test_a_failure_after_the_request_is_an_unknown_outcome(
    endpoint: Endpoint, act: Act, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with loopback(act) as server:
        outcome, message = endpoint.ask(workspace(server.url))

    assert (outcome, message) == (endpoint.unknown, said)
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return f"127.0.0.1:{door.getsockname()[1]}"


def _environment(monkeypatch: Monkey, **variables: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


HTTPS = "https://127.0.0.1:9"
NO_FILE = "the file with TLS certificates (REQUESTS_CA_BUNDLE) does not exist"
BAD_FILE = "the file with TLS certificates (REQUESTS_CA_BUNDLE) cannot be read"
BAD_URL = "the URL is not valid"
BAD_PROXY = "the URL of the proxy is not valid: check the environment variables http_proxy and https_proxy"
NO_PROXY = "the proxy refused the connection"
REFUSED = "the connection was refused"

# URL, environment, what is said, and whether it lasts until somebody changes something
BEFORE_THE_REQUEST: dict[str, tuple[str, dict[str, str], str, bool]] = {
    "refused": ("http://{closed}", {}, REFUSED, False),
    "refused, IPv6": ("http://[::1]:9", {}, REFUSED, False),
    "host that is not in DNS": ("http://nowhere.invalid", {}, "the host name could not be resolved", False),
    "label of 64 characters": (f"http://{'a' * 64}.example", {}, BAD_URL, True),
    "empty label": ("http://a..example", {}, BAD_URL, True),
    "no host": ("http://", {}, BAD_URL, True),
    "scheme of another protocol": ("ftp://127.0.0.1:9", {}, BAD_URL, True),
    "no certificates": (HTTPS, {"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}, NO_FILE, True),
    "no certificates, curl's variable": (HTTPS, {"CURL_CA_BUNDLE": "/nowhere/ca.pem"}, NO_FILE, True),
    "certificates that are none": ("https://{open}", {"REQUESTS_CA_BUNDLE": "{garbage}"}, BAD_FILE, True),
    "no proxy there": ("http://api.example", {"http_proxy": "http://{closed}"}, NO_PROXY, False),
    "no proxy there, TLS": ("https://api.example", {"https_proxy": "http://{closed}"}, NO_PROXY, False),
    "proxy without a host": ("http://api.example", {"http_proxy": "http://"}, BAD_PROXY, True),
    "proxy with a bad port": ("http://api.example", {"http_proxy": "http://p:99999"}, BAD_PROXY, True),
    "proxy in a bad bracket": ("https://api.example", {"https_proxy": "http://[bad"}, BAD_PROXY, True),
    "proxy with a long label": ("http://api.example", {"http_proxy": f"http://{'a' * 64}.org"}, BAD_PROXY, True),
    "proxy of another protocol": ("http://api.example", {"http_proxy": "gopher://p:70"}, BAD_PROXY, True),
}  # fmt: skip


@every_endpoint
@pytest.mark.parametrize(
    ("url", "variables", "said", "is_lasting"), BEFORE_THE_REQUEST.values(), ids=BEFORE_THE_REQUEST
)
def test_a_failure_before_the_request_means_surely_not_sent(
    endpoint: Endpoint,
    url: str,
    variables: dict[str, str],
    said: str,
    is_lasting: bool,
    tmp_path: Path,
    monkeypatch: Monkey,
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with loopback(cut) as server:
        names = {"closed": closed_port(), "garbage": str(tmp_path / "ca.pem"), "open": server.url[7:]}
        _environment(monkeypatch, **{name: value.format(**names) for name, value in variables.items()})
        outcome, message = endpoint.ask(workspace(url.format(**names)))

    assert (outcome, message) == (endpoint.lasting if is_lasting else endpoint.not_sent, said)


@every_endpoint
def test_certificates_that_cannot_be_read_mean_surely_not_sent(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: Monkey
) -> None:
    """A file whose content no user can read, not even root."""
    (tmp_path / "ca.pem").symlink_to("/proc/self/mem")
    with loopback(cut) as server:
        _environment(monkeypatch, REQUESTS_CA_BUNDLE=str(tmp_path / "ca.pem"))
        outcome, message = endpoint.ask(workspace(server.url.replace("http:", "https:")))

    assert (outcome, message) == (endpoint.lasting, BAD_FILE)


@every_endpoint
def test_a_certificate_that_is_not_trusted_means_surely_not_sent(
    endpoint: Endpoint, tls: ssl.SSLContext, monkeypatch: Monkey
) -> None:
    _environment(monkeypatch)
    with loopback(cut, wrap=lambda door: tls.wrap_socket(door, server_side=True)) as server:
        outcome, message = endpoint.ask(workspace(server.url.replace("http:", "https:")))

    assert (outcome, message) == (endpoint.not_sent, "the TLS certificate is not trusted")


@every_endpoint
@pytest.mark.parametrize(
    "act", [cut, reset, send(b"HTTP/1.1 400 Bad Request\r\n\r\n")], ids=["cut", "reset", "HTTP"]
)
def test_a_server_without_tls_means_surely_not_sent(endpoint: Endpoint, act: Act, monkeypatch: Monkey) -> None:
    _environment(monkeypatch)

    def no_tls(connection: socket.socket) -> socket.socket:
        connection.recv(65_536)
        act(connection)
        connection.close()
        return connection

    with loopback(act, wrap=no_tls) as server:
        outcome, message = endpoint.ask(workspace(server.url.replace("http:", "https:")))

    assert outcome is endpoint.not_sent
    assert message in ("the TLS connection failed", CUT)


@every_endpoint
@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"502 Bad Gateway", b"403 Forbidden"])
def test_a_tunnel_that_a_proxy_refuses_means_surely_not_sent(
    endpoint: Endpoint, status: bytes, monkeypatch: Monkey
) -> None:
    with loopback(send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")) as proxy:
        _environment(monkeypatch, https_proxy=proxy.url.replace("//", "//user:p%40ss@"))
        outcome, message = endpoint.ask(workspace("https://moengage.test"))

    assert (outcome, message) == (endpoint.not_sent, "the proxy refused the connection")


@every_endpoint
@pytest.mark.parametrize("act", [cut, reset, send(b"no HTTP\r\n\r\n")], ids=["cut", "reset", "no HTTP"])
def test_a_tunnel_that_fails_means_surely_not_sent(endpoint: Endpoint, act: Act, monkeypatch: Monkey) -> None:
    with loopback(act) as proxy:
        _environment(monkeypatch, https_proxy=proxy.url)
        outcome, _ = endpoint.ask(workspace("https://moengage.test"))

    assert outcome is endpoint.not_sent


@every_endpoint
@pytest.mark.parametrize(
    "header",
    [
        b"X: caf\xe9",
        b"X: \xff\xfe",
        b"no colon",
        b": no name",
        b"X: " + b"y" * 60_000,
        b"X: \x00\x01",
        b"Date: soon",
    ],
    ids=["Latin-1", "no text", "no colon", "no name", "long", "control characters", "date"],
)
def test_strange_headers_of_a_response_raise_nothing_and_are_not_logged(
    endpoint: Endpoint, header: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    echo = KEY.encode()
    raw = b"HTTP/1.1 503 X\r\nContent-Length: 2\r\n" + header + b"\r\n" + echo + b"\r\nContent-Length: 2\r\n\r\n{}"
    with loopback(send(raw)) as server:
        said: Enum | None = None
        try:
            said, _ = endpoint.ask(workspace(server.url))
        except AssertionError:
            pytest.fail("a 503 is a response")

    assert said is not None
    assert KEY not in caplog.text


def test_a_workspace_id_with_a_line_break_is_refused_without_quoting_it() -> None:
    place = Workspace("W\r\nX: y", KEY, "01", "http://127.0.0.1:9", campaign_api_key=KEY)
    outcome, message = ENDPOINTS["trigger of an import"].ask(place)

    assert (outcome, message) == (
        ENDPOINTS["trigger of an import"].not_sent,
        "the workspace ID cannot be part of a header",
    )
