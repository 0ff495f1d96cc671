"""A response is read up to a bound, on the wire and unpacked, and memory stays flat."""

from __future__ import annotations

import gzip
import socket
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from airflow_provider_moengage.api.session import MOST_COOKIE_BYTES, open_session
from airflow_provider_moengage.api.transport.body import MOST_BYTES
from airflow_provider_moengage.api.transport.failures import NoAnswerError
from tests.api.endpoints import ENDPOINTS, Endpoint, workspace
from tests.api.loopback import Act, answer, loopback

TOO_LARGE = "the response is larger than 4 MB"
SUCCESS = b'{"status":"success","data":[],"message":"ok"}'
MB = 1024 * 1024


def bomb(window_bits: int) -> bytes:
    """A success of 200 MB, packed into 200 kB."""
    packer = zlib.compressobj(9, wbits=window_bits)
    parts = [packer.compress(SUCCESS[:-1] + b',"x":"')]
    parts += [packer.compress(b"0" * MB) for _ in range(200)]
    return b"".join([*parts, packer.compress(b'"}'), packer.flush()])


def endless(begin: bytes, piece: bytes) -> Act:
    def act(connection: socket.socket) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(piece)

    return act


GZIP, DEFLATE, RAW = bomb(31), bomb(15), bomb(-15)
HEAD = b"HTTP/1.1 200 OK\r\n"
BOMBS = {
    "gzip": answer(200, GZIP, "Content-Encoding: gzip"),
    "GZIP": answer(200, GZIP, "Content-Encoding: GZIP"),
    "x-gzip": answer(200, GZIP, "Content-Encoding: x-gzip"),
    "deflate": answer(200, DEFLATE, "Content-Encoding: deflate"),
    "raw deflate": answer(200, RAW, "Content-Encoding: deflate"),
    "a length of 300 MB": endless(HEAD + b"Content-Length: 314572800\r\n\r\n", b"0" * 65_536),
    "no length": endless(HEAD + b"\r\n", b"0" * 65_536),
    "endless chunks": endless(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"0" * 65_536 + b"\r\n"
    ),
    "one huge chunk": endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n7fffffff\r\n", b"0" * 65_536),
}


@pytest.mark.parametrize("act", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_a_response_beyond_the_bound_is_not_read(endpoint: Endpoint, act: Act) -> None:
    with loopback(act) as server:
        place = workspace(server.url)
        tracemalloc.start()
        try:
            outcome, message = endpoint.ask(place)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert (outcome, message) == (endpoint.unknown, TOO_LARGE)
    assert peak < 8 * MOST_BYTES


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip, deflate, gzip", "compress", "\xff"])
def test_a_compression_that_was_not_asked_for_is_not_unpacked(coding: str) -> None:
    raw = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 200000\r\n\r\n".encode("latin-1")
    with loopback(lambda connection: connection.sendall(raw + b"0" * 200_000)) as server:
        outcome, message = ENDPOINTS["bulk import"].ask(workspace(server.url))

    assert outcome is ENDPOINTS["bulk import"].unknown
    assert message == "the response is compressed in a form that the request does not accept"


@pytest.mark.parametrize(
    "act",
    [
        endless(HEAD + b"X: ", b"x" * 65_536),
        endless(HEAD, b"X-Header: " + b"x" * 60_000 + b"\r\n"),
        endless(b"HTTP/1.1 200 ", b"O" * 65_536),
        endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 65_536),
    ],
    ids=["one header", "many headers", "status line", "size of a chunk"],
)
def test_headers_have_the_bounds_of_pythons_http_client(act: Act) -> None:
    with loopback(act) as server:
        place = workspace(server.url)
        tracemalloc.start()
        try:
            outcome, message = ENDPOINTS["bulk import"].ask(place)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert (outcome, message) == (ENDPOINTS["bulk import"].unknown, "the response is not valid HTTP")
    assert peak < 32 * MB


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZip, identity": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    "": bytes,
}


@pytest.mark.parametrize("coding", PACKED)
def test_a_compressed_response_within_the_bound_is_read(coding: str) -> None:
    body = b'{"status":"success","x":"' + b"0" * (MOST_BYTES - 27) + b'"}'
    with loopback(answer(200, PACKED[coding](body), f"Content-Encoding: {coding}")) as server:
        session = open_session(server.url, "WS", "key")
        content = session.ask("POST", server.url, data=b"{}", timeout=10.0).content
        session.close()

    assert content == body
    assert server.header("accept-encoding") == "gzip, deflate"


@pytest.mark.parametrize(
    "body",
    [gzip.compress(SUCCESS)[:-9], gzip.compress(SUCCESS) * 2, b"no gzip", SUCCESS],
    ids=["cut", "twice", "not gzip", "plain"],  # the header of gzip holds the time
)
def test_a_damaged_compressed_response_is_no_success(body: bytes) -> None:
    with loopback(answer(200, body, "Content-Encoding: gzip")) as server:
        session = open_session(server.url, "WS", "key")
        with pytest.raises(NoAnswerError, match="could not be decompressed") as caught:
            session.ask("POST", server.url, data=b"{}", timeout=10.0)
        session.close()

    assert caught.value.is_sent


def test_cookies_are_bounded_and_strange_ones_are_not_kept() -> None:
    cookies = [f"Set-Cookie: c{number}={'v' * 300}" for number in range(60)]
    cookies += ["Set-Cookie: big=" + "v" * 5_000, "Set-Cookie: odd=a\x01b", "Set-Cookie: latin=caf\xe9"]
    raw = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(SUCCESS)}", *cookies, "", ""]).encode("latin-1")
    with loopback(lambda connection: connection.sendall(raw + SUCCESS)) as server:
        session = open_session(server.url, "WS", "key")
        for _ in range(3):
            session.ask("POST", server.url, data=b"{}", timeout=5.0)
        kept = {each.name: each.value or "" for each in session.cookies}
        session.close()

    assert 0 < sum(len(name) + len(value) for name, value in kept.items()) <= MOST_COOKIE_BYTES
    assert {"big", "odd", "latin"}.isdisjoint(kept)
    assert len(server.requests) == 3
