"""The emulator as a web application: the MoEngage API with its faults, and the control API beside it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_moengage.emulator.bulk_import.endpoint import bulk_import
from airflow_provider_moengage.emulator.business_events.lists import list_business_events, search_business_events
from airflow_provider_moengage.emulator.business_events.triggers import trigger_v1, trigger_v5
from airflow_provider_moengage.emulator.connection_test import authenticate
from airflow_provider_moengage.emulator.dashboard.control_api import control_routes
from airflow_provider_moengage.emulator.file_imports.answers import (
    BASE,
    DETAILS,
    HISTORY,
    TRIGGER,
    file_import_failure,
)
from airflow_provider_moengage.emulator.file_imports.details import import_details
from airflow_provider_moengage.emulator.file_imports.history import file_run_history
from airflow_provider_moengage.emulator.file_imports.trigger import trigger_file_import
from airflow_provider_moengage.emulator.http import Answer, Call, failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_moengage.emulator.workspace import Endpoint, Workspaces


def create_app(workspaces: Workspaces) -> Starlette:
    """Return the ASGI application that serves ``workspaces``."""
    return Starlette(
        routes=[
            _api("/v1/transition/{workspace_id}", bulk_import, workspaces),
            _api("/v1/transition", bulk_import, workspaces),
            _api("/v1/integrations/authentication", authenticate, workspaces),
            _api("/v1.0/business_event/trigger", trigger_v1, workspaces),
            _api("/v5/business-events/triggers", trigger_v5, workspaces),
            _api("/v5/business-events", list_business_events, workspaces, method="GET"),
            _api("/v5/business-events/search", search_business_events, workspaces),
            _api(f"{TRIGGER}{{import_id}}", trigger_file_import, workspaces),
            _api(HISTORY, file_run_history, workspaces),
            _api(DETAILS, import_details, workspaces),
            *control_routes(workspaces),
        ],
        exception_handlers={HTTPException: _unknown},
    )


def _api(path: str, endpoint: Endpoint, workspaces: Workspaces, method: str = "POST") -> Route:
    return Route(path, _exchange(endpoint, workspaces), methods=[method])


def _exchange(endpoint: Endpoint, workspaces: Workspaces) -> Callable[[Request], Awaitable[Response]]:
    async def exchange(request: Request) -> Response:
        workspace_id = request.path_params.get("workspace_id") or request.query_params.get("app_id")
        workspace = workspaces.addressed(workspace_id, request.headers)
        try:
            body, size = await _read_body(request, workspace.settings.hard_body_limit)
        except ClientDisconnect:
            return Response()
        fault = workspace.next_fault(request.url.path)
        if fault is not None and fault.kind == "slow":
            await _wait_for_leave(request, fault.seconds)
        import_id = request.path_params.get("import_id")
        call = Call(request.url.path, request.query_params, workspace_id, request.headers, body, size, import_id)
        answer = workspace.serve(call, endpoint, fault)
        if answer is None:
            await _cut(request)
            return Response()
        return _response(answer)

    return exchange


async def _read_body(request: Request, most: int | None) -> tuple[bytes, int]:
    """Return the body, cut off where it passes ``most`` bytes, and its whole size.

    It is read to its end, since a client reads no answer before it has sent all.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        if most is None or size <= most:
            chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks), size


async def _wait_for_leave(request: Request, seconds: float) -> None:
    """Wait until the client goes away, at most ``seconds``: nobody is there to be kept waiting then."""
    try:
        async with asyncio.timeout(seconds):
            await _leave(request)
    except TimeoutError:
        return


async def _leave(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


async def _cut(request: Request) -> None:
    """Cut the TCP connection, sending nothing.

    ASGI has no word for it; uvicorn's ``receive`` is a method of the object that holds the transport, with
    h11 as with httptools.
    """
    transport = getattr(getattr(request.receive, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("a cut fault needs uvicorn: serve the emulator with its own command or Emulator")
    transport.abort()
    await _leave(request)


def _response(answer: Answer) -> Response:
    return Response(
        answer.body, status_code=answer.status, headers=dict(answer.headers), media_type=answer.media_type
    )


def _unknown(request: Request, error: Exception) -> Response:
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    if request.url.path.startswith(BASE):
        return _response(file_import_failure(status, request.url.path))
    message = "Resource not found" if status == 404 else detail
    return _response(failure(status, message, message))
