"""An HTTP server in its own process that accepts every request, after a given latency, using little CPU time.

It reads only the length of a request and counts elements by a word that each contains once. `GET /` returns the
counts and resets them. Latency is awaited, not slept, so any number of requests may wait at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests

_MARK = b'"customer_id"'
_ANSWER = b'{"status":"success","message":"Your payload is received"}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Counts:
    """What a server has received since the last call."""

    requests: int
    bytes: int
    elements: int
    cpu_seconds: float
    first_at: float
    """When the first request was complete, by the machine's monotonic clock; 0 if there was none."""


@dataclass(frozen=True)
class Loopback:
    """A running server."""

    url: str

    def counts(self) -> Counts:
        """Return the counts and reset them."""
        return Counts(**requests.get(self.url, timeout=10).json())


@contextmanager
def loopback(latency: float = 0.0) -> Iterator[Loopback]:
    """Run a server.

    :param latency: seconds from a complete request to its response.
    """
    command = [sys.executable, "-m", "benchmarks.loopback", "--latency", str(latency)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Loopback(process.stdout.readline().strip())
    finally:
        process.terminate()
        process.wait()


class _Server:
    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.reset()

    def reset(self) -> None:
        self.requests = self.bytes = self.elements = 0
        self.first_at = 0.0
        self._cpu_before = time.process_time()

    def take_counts(self) -> bytes:
        cpu = time.process_time() - self._cpu_before
        counts = Counts(self.requests, self.bytes, self.elements, cpu, self.first_at)
        self.reset()
        return json.dumps(counts.__dict__).encode()


class _Connection(asyncio.Protocol):
    """One connection: reads a head and its body, responds, and repeats."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._head = b""
        self._missing = 0
        self._end = b""
        """The last bytes of the body so far: a mark may be split between two chunks."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.WriteTransport):
            raise TypeError(f"expected a transport to write to, not {type(transport).__name__}")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            data = self._after_head(data)
        if self._missing and data:
            self._count(data)

    def _after_head(self, data: bytes) -> bytes:
        head, found, rest = (self._head + data).partition(b"\r\n\r\n")
        if not found:
            self._head = head
            return b""
        self._head = b""
        if head.startswith(b"GET"):
            self._answer(self._server.take_counts())
            return b""
        length = _LENGTH.search(head)
        assert length is not None
        self._missing = int(length[1])
        return rest

    def _count(self, data: bytes) -> None:
        server = self._server
        server.bytes += len(data)
        server.elements += (self._end + data[: len(_MARK) - 1]).count(_MARK) + data.count(_MARK)
        self._end = data[1 - len(_MARK) :]
        self._missing -= len(data)
        if self._missing == 0:
            self._end = b""
            server.requests += 1
            server.first_at = server.first_at or time.monotonic()
            if server.latency:
                asyncio.get_running_loop().call_later(server.latency, self._answer, _ANSWER)
            else:
                self._answer(_ANSWER)

    def _answer(self, content: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(_HEAD % len(content) + content)


async def _serve(latency: float) -> None:
    server = _Server(latency)
    listener = await asyncio.get_running_loop().create_server(lambda: _Connection(server), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    asyncio.run(_serve(parser.parse_args().latency))
