"""A total deadline for each request, whatever the server does: when it passes, the socket is cut.

Timeouts of sockets only bound the silence between two bytes. A server that sends a byte now and then, in its TLS
handshake, headers or body, would hold a request forever, and a thread with it. One thread of the process watches
all requests under way; it ends when there are none.
"""

from __future__ import annotations

import contextlib
import functools
import http
import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

if TYPE_CHECKING:
    from urllib3 import HTTPConnectionPool


class Exchange:
    """A request under way, and how far it got.

    :param timeout: seconds it may take in total. The resolution of the host's name is up to the operating system,
        and cannot be cut; nothing is sent after it if it took too long.
    :param has_body: whether the request has a body; without all of it, a server cannot process the request.
    """

    __slots__ = ("_has_head", "_orphans", "deadline", "has_body", "is_connected", "is_cut", "is_sent", "wire")

    def __init__(self, timeout: float, *, has_body: bool) -> None:
        self.deadline = time.monotonic() + timeout
        self.has_body = has_body
        self.is_connected = False
        """Whether the connection was made, with its TLS handshake and the proxy's tunnel."""
        self.is_sent = False
        """Whether MoEngage may have received the whole request."""
        self.is_cut = False
        """Whether the deadline has passed, so that what was received may be incomplete."""
        self.wire: socket.socket | None = None
        self._has_head = False
        self._orphans: list[socket.socket] = []

    def hold(self, wire: socket.socket) -> None:
        """Remember the socket to cut.

        :raises TimeoutError: if the deadline has passed.
        """
        self.wire = wire
        if self.is_cut:
            raise TimeoutError

    def sends(self, wire: socket.socket | None) -> None:
        """Note that the head of the request, or then a part of its body, is sent next.

        :raises TimeoutError: if the deadline has passed.
        """
        if wire is not None:
            self.hold(wire)
        self.is_connected = True
        if self._has_head or not self.has_body:
            self.is_sent = True
        self._has_head = True

    def cut(self) -> None:
        """Cut the connection, so that whoever waits for it goes on."""
        self.is_cut = True
        if self.wire is not None:
            with contextlib.suppress(OSError):
                self.wire.shutdown(socket.SHUT_RDWR)

    def adopt(self, wire: socket.socket) -> bool:
        """Return whether the socket is in use here; it is closed at the end then."""
        if wire is not self.wire:
            return False
        self._orphans.append(wire)
        return True

    def end(self) -> None:
        """Close what nobody else closes."""
        self.wire = None
        for wire in self._orphans:
            wire.close()
        self._orphans.clear()


class Deadlines:
    """Cuts exchanges whose time is up."""

    def __init__(self) -> None:
        # `with` on a plain lock, not on the condition: a signal handler may raise anywhere and must leave it free.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._open: set[Exchange] = set()
        self._wakes_at = float("inf")
        self._thread: threading.Thread | None = None

    def add(self, exchange: Exchange) -> None:
        """Watch an exchange."""
        with self._lock:
            self._open.add(exchange)
            if exchange.deadline < self._wakes_at:  # seldom: requests of one timeout end in order
                self._wakes_at = exchange.deadline
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="moengage-deadlines", daemon=True)
                    self._thread.start()
                else:
                    self._changed.notify()

    def remove(self, exchange: Exchange) -> None:
        """Watch an exchange no longer; its socket is not touched after that."""
        with self._lock:
            self._open.discard(exchange)

    def cut(self, exchange: Exchange) -> None:
        """Cut an exchange now, unless it has ended."""
        with self._lock:
            if exchange in self._open:
                exchange.cut()

    def _run(self) -> None:
        with self._lock:
            while self._open:
                now = time.monotonic()
                for late in [each for each in self._open if each.deadline <= now]:
                    late.cut()
                    self._open.discard(late)
                self._wakes_at = min((each.deadline for each in self._open), default=float("inf"))
                if self._open:
                    self._changed.wait(self._wakes_at - now)
            self._thread = None
            self._wakes_at = float("inf")


_watch = Deadlines()
_here = threading.local()


def _start_over() -> None:
    """Forget the thread and the lock of the parent process, which a fork copies in any state."""
    global _watch  # noqa: PLW0603 (of the process)
    _watch = Deadlines()
    _here.exchange = None


os.register_at_fork(after_in_child=_start_over)


@contextmanager
def under_deadline(exchange: Exchange) -> Iterator[None]:
    """Make requests of this thread part of the exchange, and cut it if its deadline passes."""
    watch = _watch
    _here.exchange = exchange
    watch.add(exchange)
    try:
        yield
    finally:
        watch.remove(exchange)
        _here.exchange = None
        exchange.end()


def cut(exchange: Exchange) -> None:
    """Cut an exchange of any thread, unless it has ended."""
    _watch.cut(exchange)


_MOST_INTERIM = 100
"""Interim responses to one request. Servers send one or two."""


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        for _ in range(_MOST_INTERIM):
            super().begin()
            if self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
                self.headers = self.msg = None  # type: ignore[assignment]  # interim, as 103: the response is to come
                continue
            break
        else:
            raise http.client.HTTPException
        if self.status < 200:
            self.will_close = True  # what follows is not HTTP
        # urllib3 would log malformed headers, which may quote the request.
        self.msg.defects.clear()
        self.msg.set_payload("")


class _Connection(HTTPConnection):
    """A connection that the exchange of its thread can cut, and that tells it how far the request got."""

    response_class = _Response
    _is_connecting = False
    _wire: socket.socket | None = None

    def connect(self) -> None:
        self._is_connecting = True
        try:
            super().connect()
        finally:
            self._is_connecting = False

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        # A duplicate: TLS takes the socket apart, and urllib3 may close it before the response is read to its end.
        self._wire = made.dup()
        if (exchange := _exchange()) is not None:
            try:
                exchange.hold(self._wire)
            except TimeoutError:
                made.close()
                raise
        return made

    def send(self, data: Any) -> None:
        if self.sock is None and self.auto_open:
            self.connect()
        if not self._is_connecting and (exchange := _exchange()) is not None:  # otherwise: to a proxy
            exchange.sends(self._wire)
        super().send(data)

    def close(self) -> None:
        super().close()
        wire, self._wire = self._wire, None
        if wire is not None:
            exchange = _exchange()
            if exchange is None or not exchange.adopt(wire):
                wire.close()


class Adapter(HTTPAdapter):
    """Sends requests over connections that have a deadline, also through a proxy. Repeats none."""

    def __init__(self) -> None:
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the pools."""
        super().init_poolmanager(*args, **kwargs)
        _watch_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the pools for a proxy."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        _watch_pools(manager)
        return manager


def _exchange() -> Exchange | None:
    return getattr(_here, "exchange", None)


def _watch_pools(manager: Any) -> None:
    manager.pool_classes_by_scheme = {
        scheme: _watched(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
    }


@functools.cache
def _watched(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """Return the pool with watched connections, whatever they are: plain, TLS, or SOCKS."""
    made: Any = pool.ConnectionCls
    if issubclass(made, _Connection):
        return pool
    connection = type(f"Watched{made.__name__}", (_Connection, made), {})
    return type(f"Watched{pool.__name__}", (pool,), {"ConnectionCls": connection})
