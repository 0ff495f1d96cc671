"""The endpoints that list tasks and their runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from airflow.api_fastapi.common.db.common import SessionDep  # noqa: TC002 (FastAPI reads it)
from airflow.api_fastapi.core_api.security import GetUserDep  # noqa: TC002 (FastAPI reads it)
from fastapi import HTTPException, Query

from airflow_provider_moengage.page.access import RUNS, may_read, readable_dags
from airflow_provider_moengage.page.receipts import LONGEST_WINDOW, event_run, import_run, quotas
from airflow_provider_moengage.page.runs import instances_of, sync_run
from airflow_provider_moengage.page.stored import StoredRun, provider_tasks, returned_since, runs_of
from airflow_provider_moengage.page.synced_tasks import EVENT, IMPORT, SEGMENT, SYNC, ProviderTask

_LAST_RUNS = 10
"""Runs of each sync in the list."""

_MOST_RUNS = 200
_MOST_INSTANCES = 500


def syncs(user: GetUserDep, session: SessionDep) -> dict[str, Any]:
    """Every sync of the Dags that the user may read, with its last runs if the user may read these."""
    return {"syncs": _listed(user, session, (SYNC, SEGMENT), lambda run, task: sync_run(run, task.kind))}


def imports(user: GetUserDep, session: SessionDep) -> dict[str, Any]:
    """The same for file imports."""
    return {"imports": _listed(user, session, (IMPORT,), lambda run, _: import_run(run))}


def events(user: GetUserDep, session: SessionDep) -> dict[str, Any]:
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
    stored = runs_of(session, [task for task in tasks if task.dag_id in visible], _LAST_RUNS)
    rows = []
    for task in tasks:
        found = stored.get((task.dag_id, task.task_id), [])
        last = [shown(run, task) for run in found] if task.dag_id in visible else None
        rows.append({**_task_facts(task), "runs": last})
    return rows


def runs(
    dag_id: str, task_id: str, session: SessionDep, count: Annotated[int, Query(ge=1, le=_MOST_RUNS)] = 50
) -> dict[str, Any]:
    """The last runs of one sync."""
    task = sync_of(session, dag_id, task_id)
    found = runs_of(session, [task], count).get((dag_id, task_id), [])
    return {**_task_facts(task), "runs": [sync_run(run, task.kind) for run in found]}


def instances(dag_id: str, task_id: str, session: SessionDep, run_id: str) -> dict[str, Any]:
    """The instances of a mapped sync in one run."""
    task = sync_of(session, dag_id, task_id)
    found = runs_of(session, [task], 1, run_id).get((dag_id, task_id))
    if not found:
        raise HTTPException(404, "There is no such run")
    rows = instances_of(found[0], task.kind)
    return {
        **_task_facts(task),
        "count": len(rows),
        "run": sync_run(found[0], task.kind),
        "instances": rows[:_MOST_INSTANCES],
    }


def sync_of(session: Any, dag_id: str, task_id: str) -> ProviderTask:
    """Return a sync; 404 if there is none."""
    for task in provider_tasks(session, {dag_id}):
        if task.task_id == task_id and task.kind in (SYNC, SEGMENT):
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
