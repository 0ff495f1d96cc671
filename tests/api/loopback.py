"""A server of one socket and canned bytes, for what no well-behaved server does."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Act = Callable[[socket.socket], None]
Wrap = Callable[[socket.socket], socket.socket]


@dataclass
class Loopback:
    url: str
    requests: list[bytes] = field(default_factory=list)

    @property
    def head(self) -> str:
        """The first request's line and headers."""
        return self.requests[0].partition(b"\r\n\r\n")[0].decode()

    @property
    def body(self) -> bytes:
        """The first request's body."""
        return self.requests[0].partition(b"\r\n\r\n")[2]

    def header(self, name: str) -> str | None:
        for line in self.head.splitlines()[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name.lower():
                return value
        return None


@contextmanager
def loopback(act: Act, wrap: Wrap = lambda connection: connection) -> Iterator[Loopback]:
    """Serve on a free port: read each request whole, then do ``act`` with the connection and close it."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        server = Loopback(f"http://127.0.0.1:{door.getsockname()[1]}")
        thread = threading.Thread(target=_serve, args=(door, server, act, wrap), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            assert not thread.is_alive()


def answer(status: int = 200, body: bytes = b'{"status":"success"}', *headers: str) -> Act:
    # Says that it closes: a client that sends its next request on this connection would find it cut, now and then.
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return send("\r\n".join(lines).encode() + body)


def send(raw: bytes) -> Act:
    return lambda connection: connection.sendall(raw)


def in_turn(*acts: Act) -> Act:
    """Do one after the other, a connection each."""
    left = iter(acts)
    return lambda connection: next(left)(connection)


def cut(connection: socket.socket) -> None:
    """Close without a word."""


def reset(connection: socket.socket) -> None:
    """Close so that the other side gets an error instead of an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def keep_silent(connection: socket.socket) -> None:
    """Wait until the other side has had enough."""
    connection.recv(1)


def _serve(door: socket.socket, server: Loopback, act: Act, wrap: Wrap) -> None:
    while True:
        try:
            connection, _ = door.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(5)
            with contextlib.suppress(OSError):
                talk = wrap(connection)
                server.requests.append(_read_request(talk))
                act(talk)
                talk.close()


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.decode().splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    while len(body) < length and (more := connection.recv(65536)):
        data += more
        body += more
    return data
