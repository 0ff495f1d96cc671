"""The page's app, mounted below Airflow's API server. Only that imports this module.

Each endpoint needs a session, and shows what its user may read in Airflow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep  # noqa: TC002 (FastAPI reads it)
from airflow.api_fastapi.core_api.security import GetUserDep  # noqa: TC002 (FastAPI reads it)
from airflow.providers.common.compat.sdk import AirflowException
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse

from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.page.access import (
    RUNS,
    may_access_asset,
    may_edit_dag,
    may_read,
    readable_dags,
    requires_dag,
    requires_edit,
    requires_same_origin,
    requires_user,
)
from airflow_provider_moengage.page.receipts import LONGEST_WINDOW, event_run, import_run, quotas
from airflow_provider_moengage.page.rejects import read_rejects, rejects_file
from airflow_provider_moengage.page.runs import sync_run
from airflow_provider_moengage.page.states import (
    changed_only_state,
    delete_changed_only_state,
    forget_watermark,
    watermarks,
)
from airflow_provider_moengage.page.stored import (
    StoredRun,
    note,
    provider_tasks,
    returned_by,
    returned_since,
    runs_of,
)
from airflow_provider_moengage.page.synced_tasks import EVENT, IMPORT, SEGMENT, SYNC, ProviderTask
from airflow_provider_moengage.storage import StorageError

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
    app.get("/api/imports")(_imports)
    app.get("/api/events")(_events)
    task = "/api/dags/{dag_id}/tasks/{task_id}"
    app.get(f"{task}/runs", dependencies=[Depends(requires_dag(*RUNS))])(_runs)
    app.get(f"{task}/rejects", dependencies=[Depends(requires_dag(*RUNS, DagAccessEntity.TASK_LOGS))])(_rejects)
    app.get(f"{task}/state", dependencies=[Depends(requires_dag(*RUNS))])(_state)
    changing = [Depends(requires_same_origin), Depends(requires_edit)]
    app.post(f"{task}/watermark/reset", dependencies=changing)(_reset_watermark)
    app.post(f"{task}/changes/reset", dependencies=changing)(_reset_changes)
    return app


def _index() -> FileResponse:
    return FileResponse(FILES / "index.html", media_type="text/html")


def _file(name: str) -> FileResponse:
    if name not in _SERVED:
        raise HTTPException(404, "There is no such file")
    return FileResponse(FILES / name, media_type=_SERVED[name])


def _syncs(user: GetUserDep, session: SessionDep) -> dict[str, Any]:
    """Every sync of the Dags that the user may read, with its last runs if the user may read these."""
    return {"syncs": _listed(user, session, (SYNC, SEGMENT), lambda run, task: sync_run(run, task.kind))}


def _imports(user: GetUserDep, session: SessionDep) -> dict[str, Any]:
    """The same for file imports."""
    return {"imports": _listed(user, session, (IMPORT,), lambda run, _: import_run(run))}


def _events(user: GetUserDep, session: SessionDep) -> dict[str, Any]:
    """The same for business events, with the quotas that they have used."""
    tasks = [task for task in provider_tasks(session, readable_dags(user)) if task.kind == EVENT]
    visible = [task for task in tasks if may_read(user, task.dag_id, RUNS)]
    now = datetime.now(UTC)
    used = quotas(visible, returned_since(session, visible, now - LONGEST_WINDOW), now)
    return {"events": _listed(user, session, (EVENT,), lambda run, _: event_run(run)), "quotas": used}


def _listed(
    user: Any, session: Any, kinds: tuple[str, ...], shown: Callable[[StoredRun, ProviderTask], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the tasks of these kinds with their last runs; None for runs that the user may not read."""
    tasks = [task for task in provider_tasks(session, readable_dags(user)) if task.kind in kinds]
    visible = {dag_id for dag_id in {task.dag_id for task in tasks} if may_read(user, dag_id, RUNS)}
    runs = runs_of(session, [task for task in tasks if task.dag_id in visible], _LAST_RUNS)
    rows = []
    for task in tasks:
        found = runs.get((task.dag_id, task.task_id), [])
        last = [shown(run, task) for run in found] if task.dag_id in visible else None
        rows.append({**_task_facts(task), "runs": last})
    return rows


def _runs(
    dag_id: str, task_id: str, session: SessionDep, count: Annotated[int, Query(ge=1, le=_MOST_RUNS)] = 50
) -> dict[str, Any]:
    """The last runs of one sync."""
    task = _task(session, dag_id, task_id, (SYNC, SEGMENT))
    runs = runs_of(session, [task], count).get((dag_id, task_id), [])
    return {**_task_facts(task), "runs": [sync_run(run, task.kind) for run in runs]}


def _rejects(dag_id: str, task_id: str, session: SessionDep, run_id: str, map_index: int = -1) -> dict[str, Any]:
    """The rejects of a run by code and message, and the structure of the first elements."""
    task = _task(session, dag_id, task_id, (SYNC, SEGMENT))
    report = returned_by(session, task, run_id, map_index)
    reported = report.get("rejects_path") if isinstance(report, dict) else None
    path = rejects_file(task, run_id, map_index, reported)
    if path is None:
        raise HTTPException(404, "It is not known where the rejects of this run are: the Dag sets no rejects_path")
    try:
        return read_rejects(path)
    except FileNotFoundError:
        raise HTTPException(404, "This run has no rejects file, or it was deleted") from None
    except (AirflowException, StorageError, ValueError):
        raise HTTPException(
            503, "The API server cannot read the rejects file; the command moengage rejects shows it elsewhere"
        ) from None


def _state(dag_id: str, task_id: str, user: GetUserDep, session: SessionDep) -> dict[str, Any]:
    """The watermark of a sync, and what it knows for sending only what changed."""
    _task(session, dag_id, task_id, (SYNC, SEGMENT))
    edits = may_edit_dag(user, dag_id)
    found = [one for one in watermarks(dag_id, task_id) if may_access_asset(user, one.asset_id, "GET")]
    return {
        "watermarks": [
            {
                "asset": one.asset,
                "moment": one.value,
                "may_reset": edits and may_access_asset(user, one.asset_id, "DELETE"),
            }
            for one in found
        ],
        "changes": _or_unreadable(lambda: changed_only_state(dag_id, task_id)),
        "may_reset_changes": edits,
    }


def _or_unreadable(read: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return what is read of a storage; the API server may not reach it."""
    try:
        return read()
    except (AirflowException, StorageError, OSError, ValueError):
        return {"is_unreadable": True}


@dataclass(frozen=True)
class Confirmation:
    """The body of a reset: the task's ID once more, so that nobody resets a task by mistake."""

    confirm: str


def _reset_watermark(
    dag_id: str, task_id: str, body: Confirmation, user: GetUserDep, session: SessionDep
) -> dict[str, Any]:
    """Forget the watermark: the next run begins as the first one did."""
    task = _confirmed(session, dag_id, task_id, body)
    found = watermarks(dag_id, task_id)
    if len(found) != 1:
        raise HTTPException(409, "Expected a task with one watermark")
    if not may_access_asset(user, found[0].asset_id, "DELETE"):
        raise HTTPException(403, "Forbidden")
    forget_watermark(found[0], dag_id, task_id)
    note(session, "moengage.reset_watermark", task, user.get_name())
    return {"reset": True}


def _reset_changes(
    dag_id: str, task_id: str, body: Confirmation, user: GetUserDep, session: SessionDep
) -> dict[str, Any]:
    """Delete the state of changed_only: the next run sends every row, and removes nobody."""
    task = _confirmed(session, dag_id, task_id, body)
    try:
        if not delete_changed_only_state(dag_id, task_id):
            raise HTTPException(409, "There is no state in the folder of the deployment")
    except MoEngageError:
        raise HTTPException(409, "A run is using the state; nothing was deleted") from None
    note(session, "moengage.reset_changes", task, user.get_name())
    return {"reset": True}


def _confirmed(session: Any, dag_id: str, task_id: str, body: Confirmation) -> ProviderTask:
    task = _task(session, dag_id, task_id, (SYNC, SEGMENT))
    if body.confirm != task_id:
        raise HTTPException(400, "The ID of the task, which confirms the reset, is another one")
    return task


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
