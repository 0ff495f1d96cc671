"""No server holds a request longer than its timeout, at whatever point it begins to drip."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import ssl
import threading
import time
import warnings
from pathlib import Path

import pytest

from airflow_provider_moengage.api import client as client_module
from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.api.file_imports_client import FileImportsClient
from airflow_provider_moengage.api.session import open_session
from airflow_provider_moengage.api.transport.failures import NoAnswerError
from tests.api.endpoints import ENDPOINTS, Endpoint, workspace
from tests.api.loopback import Act, answer, keep_silent, loopback
from tests.api.test_client import certificate, tls

__all__ = ["certificate", "tls"]

TIMEOUT = 0.3
PATIENCE = 3.0
"""Seconds within which a request of this timeout must be over, also on a busy machine."""


def drip(begin: bytes, drop: bytes) -> Act:
    """Send the beginning, then a drop now and then until the other side has had enough."""

    def act(connection: socket.socket) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(drop)
            time.sleep(0.02)

    return act


HEAD = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "before the status line": drip(b"", b"H"),
    "status line": drip(b"HTTP/1.1 200 O", b"K"),
    "headers": drip(HEAD + b"X-Drip: ", b"x"),
    "many headers": drip(HEAD, b"X: y\r\n"),
    "interim responses": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": drip(HEAD + b"Content-Length: 99999\r\n\r\n", b" "),
    "body of a connection that closes": drip(HEAD + b"Connection: close\r\nContent-Length: 99999\r\n\r\n", b" "),
    "body without a length": drip(HEAD + b'\r\n{"status":"success"}', b" "),
    "chunks": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "size of a chunk": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "extension of a chunk": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
    "trailers": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "compressed body": drip(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 99999\r\n\r\n", b"\x1f"),
    "nothing": keep_silent,
}


@pytest.fixture(autouse=True)
def _short_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "TEST_TIMEOUT", TIMEOUT)


@pytest.mark.parametrize("act", DRIPS.values(), ids=DRIPS)
@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_a_server_that_drips_holds_a_request_no_longer_than_its_timeout(endpoint: Endpoint, act: Act) -> None:
    with loopback(act) as server:
        begun = time.monotonic()
        outcome, message = endpoint.ask(workspace(server.url, TIMEOUT))
        took = time.monotonic() - begun

    assert (outcome, message) == (endpoint.unknown, "no response within the timeout")
    assert TIMEOUT * 0.9 < took < PATIENCE


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_a_tls_handshake_that_drips_ends_in_time_and_nothing_was_sent(endpoint: Endpoint) -> None:
    record = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"

    def handshake(connection: socket.socket) -> socket.socket:
        connection.recv(65_536)
        drip(record, b"\x00")(connection)
        return connection

    with loopback(keep_silent, wrap=handshake) as server:
        begun = time.monotonic()
        outcome, message = endpoint.ask(workspace(server.url.replace("http:", "https:"), TIMEOUT))
        took = time.monotonic() - begun

    assert (outcome, message) == (endpoint.not_sent, "no connection within the timeout")
    assert took < PATIENCE


def test_a_proxy_that_drips_its_tunnel_ends_in_time_and_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with loopback(drip(b"HTTP/1.1 200 Connected\r\n", b"X: y\r\n")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        endpoint = ENDPOINTS["business event"]
        begun = time.monotonic()
        outcome, message = endpoint.ask(workspace("https://moengage.test", TIMEOUT))
        took = time.monotonic() - begun

    assert (outcome, message) == (endpoint.not_sent, "no connection within the timeout")
    assert took < PATIENCE


def test_a_body_that_drips_through_tls_ends_in_time(
    tls: ssl.SSLContext, certificate: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    endpoint = ENDPOINTS["bulk import"]
    with loopback(DRIPS["body"], wrap=lambda door: tls.wrap_socket(door, server_side=True)) as server:
        begun = time.monotonic()
        outcome, message = endpoint.ask(workspace(server.url.replace("http:", "https:"), TIMEOUT))
        took = time.monotonic() - begun

    assert (outcome, message) == (endpoint.unknown, "no response within the timeout")
    assert took < PATIENCE


def test_a_server_that_reads_slowly_holds_a_request_no_longer_than_its_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:

        def sip() -> None:
            connection, _ = door.accept()
            with connection, contextlib.suppress(OSError):
                while connection.recv(1_000):
                    time.sleep(0.05)

        thread = threading.Thread(target=sip, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
        session = open_session(url, "WS", "key")
        begun = time.monotonic()
        with pytest.raises(NoAnswerError) as caught:
            session.ask(
                "POST", f"http://127.0.0.1:{door.getsockname()[1]}/", data=b"x" * 30_000_000, timeout=TIMEOUT
            )
        took = time.monotonic() - begun
        session.close()
        thread.join(5)

    assert caught.value.is_sent
    assert took < PATIENCE


def test_a_response_just_in_time_is_not_cut_and_the_connection_serves_the_next_request() -> None:
    with loopback(answer()) as server:
        session = open_session(server.url, "WS", "key")
        answers = [session.ask("POST", server.url, data=b"{}", timeout=5.0) for _ in range(3)]
        session.close()

    assert [each.content for each in answers] == [b'{"status":"success"}'] * 3


def test_a_request_that_another_thread_waits_for_can_be_cut() -> None:
    with loopback(keep_silent) as server:
        client = FileImportsClient(workspace(server.url, timeout=60.0))
        errors: list[ApiError] = []

        def ask() -> None:
            try:
                client.file_runs({"import_id": "i"}, page=1)
            except ApiError as error:
                errors.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        while not server.requests:
            time.sleep(0.005)
        client.close()
        thread.join(5)

        assert not thread.is_alive()
    assert len(errors) == 1


def test_no_socket_and_no_thread_is_left_behind() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for act in (DRIPS["body"], DRIPS["body of a connection that closes"], answer(), answer(500, b"")):
            with loopback(act) as server:
                before = descriptors()
                ENDPOINTS["bulk import"].ask(workspace(server.url, TIMEOUT))
                gc.collect()
                until = time.monotonic() + 5
                while descriptors() > before and time.monotonic() < until:
                    time.sleep(0.01)  # the server closes its end
                assert descriptors() <= before
    until = time.monotonic() + 5
    while "moengage-deadlines" in [each.name for each in threading.enumerate()] and time.monotonic() < until:
        time.sleep(0.01)
    assert "moengage-deadlines" not in [each.name for each in threading.enumerate()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_was_forked_during_a_request_has_deadlines_of_its_own() -> None:
    with loopback(keep_silent) as silent, loopback(DRIPS["body"]) as dripping:
        waiting = threading.Thread(target=lambda: ENDPOINTS["bulk import"].ask(workspace(silent.url, 1.0)))
        waiting.start()
        while not silent.requests:
            time.sleep(0.005)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                outcome, _ = ENDPOINTS["bulk import"].ask(workspace(dripping.url, TIMEOUT))
                os._exit(0 if outcome is ENDPOINTS["bulk import"].unknown else 1)
            finally:
                os._exit(2)
        until = time.monotonic() + 10
        ended = (0, 0)
        while ended[0] == 0 and time.monotonic() < until:
            ended = os.waitpid(child, os.WNOHANG)
            time.sleep(0.01)
        if ended[0] == 0:
            os.kill(child, 9)
            os.waitpid(child, 0)
        waiting.join(5)

    assert ended == (child, 0)
