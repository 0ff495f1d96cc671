"""The emulator in the same process: uvicorn on a thread, started and stopped by a ``with`` block."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING, Self

import uvicorn

from airflow_provider_moengage.emulator.app import create_app
from airflow_provider_moengage.emulator.dashboard.origin_guard import AllowedHosts
from airflow_provider_moengage.emulator.settings import Credentials, Settings
from airflow_provider_moengage.emulator.workspace import Workspace, Workspaces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

_KEEP_ALIVE_SECONDS = 75
_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


class Emulator:
    """A MoEngage workspace on localhost.

    ::

        with Emulator(Settings(users_per_minute=1000)) as emulator:
            requests.post(f"{emulator.url}/v1/transition/EMULATOR", ...)
            assert emulator.workspace.counts.customers == 1

    It can be started and stopped several times; it keeps its port and everything it received.

    :param settings: of the default workspace.
    :param credentials: of the default workspace.
    :param clock: returns epoch seconds; used for limits and times of arrival.
    :param host: address to listen on.
    :param port: 0: a free port, chosen at the first start.
    :param allow: names and addresses, besides localhost and ``host``, by which requests may address it, such as
        the name of a container. Others are refused, so that no web page can reach it by a name of its own.
    :raises ValueError: if one of these is not a host name or an address.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        credentials: Credentials | None = None,
        clock: Callable[[], float] = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        allow: Sequence[str] = (),
    ) -> None:
        self._clock = clock
        self._host = host
        self._port = port
        self._hosts = AllowedHosts(host, allow)
        self._running: _Running | None = None
        self.workspace = Workspace(credentials or Credentials(), settings or Settings(), clock)
        self.workspaces = Workspaces(self.workspace)

    @property
    def url(self) -> str:
        """The base URL, for the host of an Airflow connection."""
        if not self._port:
            raise RuntimeError(
                "url: the port is known only after the start; use the emulator as a context manager"
            )
        host = _EVERY_INTERFACE.get(self._host, self._host)
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    def add_workspace(self, credentials: Credentials, settings: Settings | None = None) -> Workspace:
        """Add a workspace next to the default one.

        :raises ValueError: if its id is taken.
        """
        workspace = Workspace(credentials, settings or Settings(), self._clock)
        self.workspaces.add(workspace)
        return workspace

    def start(self) -> None:
        """Start to listen; return when the server is ready.

        :raises OSError: if it cannot listen on this host and port.
        """
        if self._running is not None:
            raise RuntimeError("start: the emulator is already running")
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, self._port), family=family)
        # asyncio sets this only if the socket has its protocol set. Without it an answer takes 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = listener.getsockname()[1]
        self._running = _Running(create_app(self.workspaces, self._hosts), listener)

    def stop(self) -> None:
        """Cut all connections and stop the server; does nothing if it is not running."""
        if self._running is not None:
            self._running.end()
            self._running = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Running:
    """A running server and its thread."""

    def __init__(self, app: Callable[..., object], listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            log_level="error",
            server_header=False,
            date_header=False,  # the application sends one, of the emulated clock
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._serve, args=(listener,), name="moengage-emulator", daemon=True
        )
        self._thread.start()
        self._server.ready.wait()
        if not self._server.started:
            raise RuntimeError("the emulator's server did not start; see the log of uvicorn.error")

    def end(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _serve(self, listener: socket.socket) -> None:
        try:
            with listener:
                asyncio.run(self._server.serve(sockets=[listener]))
        finally:
            self._server.ready.set()


class _Server(uvicorn.Server):
    """Signals when it is ready, and does not wait for clients when it stops."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await super().shutdown(sockets)
