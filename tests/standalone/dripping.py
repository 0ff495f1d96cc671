"""Servers that answer a run history, and drip one byte at a time once they are told to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.api.loopback import answer, loopback

PAUSE = 0.2
"""Seconds between two bytes."""

_HISTORY = {"status": "success", "total_count": 1, "more_files": False, "offset": 1}
_FILE = {"id": "f1", "file_name": "u.csv", "scheduled_at": "2026-01-01T00:00:00"}
_BEGUN = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Header: ",
)
"""What a dripping answer begins with: the drops follow in its body or in a header."""


class DrippingServers:
    """Servers of one file, which is queued until they are told that it has ended.

    :param number: how many.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._drips = threading.Event()
        self._has_ended = threading.Event()
        self._lock = threading.Lock()
        self._under_way = 0
        self.urls: list[str] = []

    @contextmanager
    def running(self) -> Iterator[DrippingServers]:
        with ExitStack() as servers:
            for number in range(self._number):
                serve = loopback(lambda connection, number=number: self._answer(number, connection))  # type: ignore[misc]
                self.urls.append(servers.enter_context(serve).url)
            try:
                yield self
            finally:
                self.end()

    @property
    def under_way(self) -> int:
        """How many servers drip to somebody who still listens."""
        with self._lock:
            return self._under_way

    def drip(self) -> None:
        """Drip from now on, and never complete an answer."""
        self._drips.set()

    def end(self) -> None:
        """Cut what drips, and answer from now on that the file has ended."""
        self._has_ended.set()
        self._drips.clear()

    def _answer(self, number: int, connection: socket.socket) -> None:
        if not self._drips.is_set():
            status = "SUCCESSFUL" if self._has_ended.is_set() else "QUEUED"
            answer(200, json.dumps({**_HISTORY, "data": [{**_FILE, "file_status": status}]}).encode())(connection)
            return
        self._count(1)
        try:
            connection.sendall(_BEGUN[number % len(_BEGUN)])
            while not self._has_ended.wait(PAUSE):
                connection.sendall(b"x")
        finally:
            self._count(-1)

    def _count(self, by: int) -> None:
        with self._lock:
            self._under_way += by
