"""Behind a proxy, urllib3 gives a connection that was cut the name of one that was never made."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from airflow_provider_moengage.api.business_events import (
    TriggerRequest,
)
from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.responses import Outcome
from airflow_provider_moengage.api.trigger_outcomes import TriggerOutcome
from airflow_provider_moengage.api.workspace import Workspace
from tests.api.loopback import Act, Loopback, cut, loopback, reset, send
from tests.api.test_client import certificate, tls

__all__ = ["certificate", "tls"]

EVENT = TriggerRequest("New movie")
CUTS = {"closed": cut, "reset": reset}


@contextmanager
def client_of(url: str, proxy: Loopback, monkeypatch: pytest.MonkeyPatch) -> Iterator[MoEngageClient]:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    client = MoEngageClient(Workspace("WS", "key", base_url=url, timeout=5, campaign_api_key="key"))
    try:
        yield client
    finally:
        client.close()


@pytest.mark.parametrize("act", CUTS.values(), ids=CUTS)
def test_a_cut_after_the_body_is_unknown_behind_a_proxy_too(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback(act) as proxy, client_of("http://moengage.test", proxy, monkeypatch) as client:
        assert client.trigger_business_event(EVENT).outcome is TriggerOutcome.UNKNOWN
        assert client.bulk_import(b"{}").outcome is Outcome.UNKNOWN

    assert len(proxy.requests) == 2


@pytest.mark.parametrize("act", CUTS.values(), ids=CUTS)
def test_a_cut_inside_a_tls_tunnel_is_unknown(
    act: Act, tls: ssl.SSLContext, certificate: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tunnel(connection: socket.socket) -> socket.socket:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        return tls.wrap_socket(connection, server_side=True)

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with loopback(act, wrap=tunnel) as proxy, client_of("https://127.0.0.1", proxy, monkeypatch) as client:
        assert client.trigger_business_event(EVENT).outcome is TriggerOutcome.UNKNOWN

    assert len(proxy.requests) == 1


def test_a_proxy_that_refuses_the_tunnel_means_surely_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    with loopback(refusal) as proxy, client_of("https://moengage.test", proxy, monkeypatch) as client:
        reply = client.trigger_business_event(EVENT)

    assert (reply.outcome, reply.message) == (TriggerOutcome.NOT_SENT, "the proxy refused the connection")


def test_a_missing_file_of_certificates_means_surely_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    client = MoEngageClient(Workspace("WS", "key", base_url="https://127.0.0.1:9", campaign_api_key="key"))

    reply = client.trigger_business_event(EVENT)

    assert (reply.outcome, reply.message) == (
        TriggerOutcome.NOT_SENT,
        "the file with TLS certificates (REQUESTS_CA_BUNDLE) does not exist",
    )
