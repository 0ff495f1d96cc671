"""The page's app, mounted below Airflow's API server. Only that imports this module.

Each endpoint needs a session, and shows what its user may read in Airflow.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep  # noqa: TC002 (FastAPI reads it)
from airflow.api_fastapi.core_api.security import GetUserDep  # noqa: TC002 (FastAPI reads it)
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse

from airflow_provider_moengage.page.access import RUNS, may_read, readable_dags, requires_runs, requires_user
from airflow_provider_moengage.page.runs import sync_run
from airflow_provider_moengage.page.stored import provider_tasks, runs_of
from airflow_provider_moengage.page.synced_tasks import SEGMENT, SYNC, ProviderTask

FILES = Path(__file__).parent / "files"
_SERVED = {"page.js": "text/javascript", "view.js": "text/javascript", "page.css": "text/css"}

_LAST_RUNS = 10
"""Runs of each sync in the list."""

_MOST_RUNS = 200

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
    app.get("/api/syncs")(_syncs)
    app.get("/api/dags/{dag_id}/tasks/{task_id}/runs", dependencies=[Depends(requires_runs())])(_runs)
    return app


def _index() -> FileResponse:
    return FileResponse(FILES / "index.html", media_type="text/html")


def _file(name: str) -> FileResponse:
    if name not in _SERVED:
        raise HTTPException(404, "There is no such file")
    return FileResponse(FILES / name, media_type=_SERVED[name])


def _syncs(user: GetUserDep, session: SessionDep) -> dict[str, Any]:
    """Every sync of the Dags that the user may read, with its last runs if the user may read these."""
    tasks = [task for task in provider_tasks(session, readable_dags(user)) if task.kind in (SYNC, SEGMENT)]
    open_dags = {dag_id for dag_id in {task.dag_id for task in tasks} if may_read(user, dag_id, RUNS)}
    runs = runs_of(session, [task for task in tasks if task.dag_id in open_dags], _LAST_RUNS)
    rows = []
    for task in tasks:
        found = runs.get((task.dag_id, task.task_id), [])
        shown = [sync_run(run, task.kind) for run in found] if task.dag_id in open_dags else None
        rows.append({**_task_facts(task), "runs": shown})
    return {"syncs": rows}


def _runs(
    dag_id: str, task_id: str, session: SessionDep, count: Annotated[int, Query(ge=1, le=_MOST_RUNS)] = 50
) -> dict[str, Any]:
    """The last runs of one sync."""
    task = _task(session, dag_id, task_id, (SYNC, SEGMENT))
    runs = runs_of(session, [task], count).get((dag_id, task_id), [])
    return {**_task_facts(task), "runs": [sync_run(run, task.kind) for run in runs]}


def _task(session: Any, dag_id: str, task_id: str, kinds: tuple[str, ...]) -> ProviderTask:
    for task in provider_tasks(session, {dag_id}):
        if task.task_id == task_id and task.kind in kinds:
            return task
    raise HTTPException(404, "There is no such task")


def _task_facts(task: ProviderTask) -> dict[str, Any]:
    return {
        "dag_id": task.dag_id,
        "task_id": task.task_id,
        "kind": task.kind,
        "operator": task.operator,
        "moengage_conn_id": task.moengage_conn_id,
        "is_mapped": task.is_mapped,
    }
