"""The page's app, mounted below Airflow's API server. Only that imports this module.

Each endpoint needs a session, and shows what its user may read in Airflow.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse

from airflow_provider_moengage.page import details, lists
from airflow_provider_moengage.page.access import (
    RUNS,
    requires_dag,
    requires_edit,
    requires_same_origin,
    requires_user,
)

FILES = Path(__file__).parent / "files"
_SERVED = {"page.js": "text/javascript", "view.js": "text/javascript", "page.css": "text/css"}

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""The page loads nothing from other machines, and no other site can show it in a frame."""


@cache
def page_app() -> FastAPI:
    """Return the app."""
    app = FastAPI(
        title="MoEngage", dependencies=[Depends(requires_user)], openapi_url=None, docs_url=None, redoc_url=None
    )

    @app.middleware("http")
    async def add_headers(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    app.get("/")(_index)
    app.get("/files/{name}")(_file)
    app.get("/api/syncs")(lists.syncs)
    app.get("/api/imports")(lists.imports)
    app.get("/api/events")(lists.events)
    task = "/api/dags/{dag_id}/tasks/{task_id}"
    app.get(f"{task}/runs", dependencies=[Depends(requires_dag(*RUNS))])(lists.runs)
    app.get(f"{task}/instances", dependencies=[Depends(requires_dag(*RUNS))])(lists.instances)
    app.get(f"{task}/rejects", dependencies=[Depends(requires_dag(*RUNS, DagAccessEntity.TASK_LOGS))])(
        details.rejects
    )
    app.get(f"{task}/state", dependencies=[Depends(requires_dag(*RUNS))])(details.state)
    changing = [Depends(requires_same_origin), Depends(requires_edit)]
    app.post(f"{task}/watermark/reset", dependencies=changing)(details.reset_watermark)
    app.post(f"{task}/changes/reset", dependencies=changing)(details.reset_changes)
    return app


def _index() -> FileResponse:
    return FileResponse(FILES / "index.html", media_type="text/html")


def _file(name: str) -> FileResponse:
    if name not in _SERVED:
        raise HTTPException(404, "There is no such file")
    return FileResponse(FILES / name, media_type=_SERVED[name])
