"""Interim responses (1xx) are not the response: that comes later, on the same connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from select import select

import pytest

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.responses import Outcome
from tests.api.endpoints import ELEMENTS, ENDPOINTS, Endpoint, workspace
from tests.api.loopback import Act, loopback, send

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ODD = b"HTTP/1.1 199 Whatever\r\n\r\n"
SUCCESS = b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"status":"success"}'
DENIED = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("final", [SUCCESS, DENIED], ids=["success", "denied"])
@pytest.mark.parametrize(
    "interim",
    [EARLY_HINTS, PROCESSING, CONTINUE, ODD, CONTINUE + PROCESSING + 5 * EARLY_HINTS],
    ids=["103", "102", "100", "199", "several"],
)
def test_the_response_after_an_interim_one_counts(interim: bytes, final: bytes) -> None:
    with loopback(send(interim + final)) as server, closing(MoEngageClient(workspace(server.url))) as client:
        reply = client.bulk_import(ELEMENTS)

    assert reply.outcome is (Outcome.ACCEPTED if final is SUCCESS else Outcome.DENIED)


@contextmanager
def slow_finals(*finals: bytes) -> Iterator[str]:
    """A server that keeps its connection, and sends each response a while after an interim one."""
    asked_early: list[socket.socket] = []

    def serve() -> None:
        connection, _ = door.accept()
        with connection:
            for final in finals:
                request = b""
                while ELEMENTS not in request:
                    request += connection.recv(65_536)
                connection.sendall(EARLY_HINTS)
                asked_early.extend(select([connection], [], [], 0.05)[0])
                connection.sendall(final)

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        thread.join(5)
    assert asked_early == []


def test_a_request_never_gets_the_response_of_the_one_before() -> None:
    with slow_finals(SUCCESS, DENIED, SUCCESS) as url, closing(MoEngageClient(workspace(url))) as client:
        outcomes = [client.bulk_import(ELEMENTS).outcome for _ in range(3)]

    assert outcomes == [Outcome.ACCEPTED, Outcome.DENIED, Outcome.ACCEPTED]


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
@pytest.mark.parametrize(
    "act", [send(EARLY_HINTS), send(1_000 * PROCESSING + SUCCESS)], ids=["nothing after it", "without end"]
)
def test_without_a_response_the_outcome_is_unknown(endpoint: Endpoint, act: Act) -> None:
    with loopback(act) as server:
        outcome, _ = endpoint.ask(workspace(server.url))

    assert outcome is endpoint.unknown


@pytest.mark.parametrize("name", ["bulk import", "business event", "trigger of an import"])
def test_a_server_that_changes_the_protocol_has_not_answered(name: str) -> None:
    with loopback(send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + SUCCESS)) as server:
        outcome, _ = ENDPOINTS[name].ask(workspace(server.url))

    assert outcome is ENDPOINTS[name].unknown


def test_after_another_protocol_the_next_request_has_a_connection_of_its_own() -> None:
    def act(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" if not served else SUCCESS)
        served.append(connection.recv(1))  # nothing, because it is closed

    served: list[bytes] = []
    with loopback(act) as server, closing(MoEngageClient(workspace(server.url))) as client:
        outcomes = [client.bulk_import(ELEMENTS).outcome for _ in range(2)]

    assert outcomes == [Outcome.UNKNOWN, Outcome.ACCEPTED]
