"""The emulator as a web application: the MoEngage API with faults, and the control API."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_moengage.emulator.dashboard.control_api import CONTROL_PATH, control_routes
from airflow_provider_moengage.emulator.dashboard.origin_guard import AllowedHosts, OriginGuard
from airflow_provider_moengage.emulator.http import Answer, Call, failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.types import ASGIApp

    from airflow_provider_moengage.emulator.family import Family
    from airflow_provider_moengage.emulator.workspace import Workspaces


def create_app(workspaces: Workspaces, hosts: AllowedHosts | None = None) -> ASGIApp:
    """Return the ASGI application that serves ``workspaces``.

    :param hosts: by which names it may be addressed; None: localhost.
    """
    endpoints = [
        Route(endpoint.path, _exchange(endpoint.key, workspaces), methods=[endpoint.method])
        for endpoint in workspaces.default.endpoints
    ]
    app = Starlette(
        routes=[*endpoints, *control_routes(workspaces)],
        exception_handlers={HTTPException: _unrouted(workspaces.default.families)},
    )
    return OriginGuard(app, hosts or AllowedHosts(), CONTROL_PATH)


def _exchange(endpoint_key: tuple[str, str], workspaces: Workspaces) -> Callable[[Request], Awaitable[Response]]:
    async def exchange(request: Request) -> Response:
        workspace_id = request.path_params.get("workspace_id") or request.query_params.get("app_id")
        workspace = workspaces.addressed(workspace_id, request.headers)
        try:
            body, size = await _read_body(request, workspace.settings.hard_body_limit)
        except ClientDisconnect:
            return Response()
        fault = workspace.next_fault(request.url.path)
        if fault is not None and fault.kind == "slow":
            await _wait_for_disconnect(request, fault.seconds)
        import_id = request.path_params.get("import_id")
        call = Call(request.url.path, request.query_params, workspace_id, request.headers, body, size, import_id)
        answer = workspace.serve(call, endpoint_key, fault)
        if answer is None:
            await _cut(request)
            return Response()
        return _response(answer, workspace.time())

    return exchange


async def _read_body(request: Request, most: int | None) -> tuple[bytes, int]:
    """Return the body, truncated after ``most`` bytes, and its whole size.

    The body is read to its end because a client reads the answer only after sending everything.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        if most is None or size <= most:
            chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks), size


async def _wait_for_disconnect(request: Request, seconds: float) -> None:
    """Wait for ``seconds``, or until the client disconnects."""
    try:
        async with asyncio.timeout(seconds):
            await _disconnected(request)
    except TimeoutError:
        return


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


async def _cut(request: Request) -> None:
    """Cut the TCP connection without an answer.

    ASGI has no message for this. Uvicorn's ``receive`` is a method of the object that has the transport, with
    both h11 and httptools.
    """
    transport = getattr(getattr(request.receive, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("a cut fault needs uvicorn: serve the emulator with its own command or Emulator")
    transport.abort()
    await _disconnected(request)


def _response(answer: Answer, now: float | None = None) -> Response:
    headers = {"Date": formatdate(now, usegmt=True), **answer.headers}
    return Response(answer.body, status_code=answer.status, headers=headers, media_type=answer.media_type)


def _unrouted(families: Iterable[Family]) -> Callable[[Request, Exception], Response]:
    """Return the handler of requests that match no route."""

    def answer(request: Request, error: Exception) -> Response:
        status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
        path = request.url.path
        for family in families:
            if family.base_path is not None and path.startswith(family.base_path):
                return _response(family.failure(status, path))
        message = "Resource not found" if status == 404 else detail
        return _response(failure(status, message, message))

    return answer
