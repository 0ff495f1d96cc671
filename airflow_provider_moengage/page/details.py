"""The endpoints that show and change what a sync has left in files and states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow.api_fastapi.common.db.common import SessionDep  # noqa: TC002 (FastAPI reads it)
from airflow.api_fastapi.core_api.security import GetUserDep  # noqa: TC002 (FastAPI reads it)
from airflow.providers.common.compat.sdk import AirflowException
from fastapi import HTTPException

from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.page.access import may_access_asset, may_edit_dag
from airflow_provider_moengage.page.lists import sync_of
from airflow_provider_moengage.page.rejects import read_rejects, rejects_file
from airflow_provider_moengage.page.states import (
    changed_only_state,
    delete_changed_only_state,
    forget_watermark,
    watermarks,
)
from airflow_provider_moengage.page.stored import left_by, note
from airflow_provider_moengage.page.synced_tasks import ProviderTask
from airflow_provider_moengage.storage import StorageError


def rejects(dag_id: str, task_id: str, session: SessionDep, run_id: str, map_index: int = -1) -> dict[str, Any]:
    """The rejects of a run by code and message, and the structure of the first elements."""
    task = sync_of(session, dag_id, task_id)
    report = left_by(session, task, run_id, map_index)
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


def state(dag_id: str, task_id: str, user: GetUserDep, session: SessionDep, map_index: int = -1) -> dict[str, Any]:
    """The watermark of a sync, and what it knows for sending only what changed."""
    sync_of(session, dag_id, task_id)
    edits = may_edit_dag(user, dag_id)
    found = [one for one in watermarks(dag_id, task_id, map_index) if may_access_asset(user, one.asset_id, "GET")]
    return {
        "watermarks": [
            {
                "asset": one.asset,
                "moment": one.value,
                "may_reset": edits and may_access_asset(user, one.asset_id, "DELETE"),
            }
            for one in found
        ],
        "changes": _or_unreadable(lambda: changed_only_state(dag_id, task_id, map_index)),
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
    """The body of a reset: the task's ID once more, so that nobody resets a task by mistake; and which
    instance of a mapped task, -1 for a task that is not mapped.
    """

    confirm: str
    map_index: int = -1


def reset_watermark(
    dag_id: str, task_id: str, body: Confirmation, user: GetUserDep, session: SessionDep
) -> dict[str, Any]:
    """Forget the watermark: the next run begins as the first one did."""
    task = _confirmed(session, dag_id, task_id, body)
    found = watermarks(dag_id, task_id, body.map_index)
    if len(found) != 1:
        raise HTTPException(409, "Expected a task with one watermark")
    if not may_access_asset(user, found[0].asset_id, "DELETE"):
        raise HTTPException(403, "Forbidden")
    forget_watermark(found[0], dag_id, task_id, body.map_index)
    note(session, "moengage.reset_watermark", task, user.get_name())
    return {"reset": True}


def reset_changes(
    dag_id: str, task_id: str, body: Confirmation, user: GetUserDep, session: SessionDep
) -> dict[str, Any]:
    """Delete the state of changed_only: the next run sends every row, and removes nobody."""
    task = _confirmed(session, dag_id, task_id, body)
    try:
        if not delete_changed_only_state(dag_id, task_id, body.map_index):
            raise HTTPException(409, "There is no state in the folder of the deployment")
    except MoEngageError:
        raise HTTPException(409, "A run is using the state; nothing was deleted") from None
    note(session, "moengage.reset_changes", task, user.get_name())
    return {"reset": True}


def _confirmed(session: Any, dag_id: str, task_id: str, body: Confirmation) -> ProviderTask:
    task = sync_of(session, dag_id, task_id)
    if body.confirm != task_id:
        raise HTTPException(400, "The ID of the task, which confirms the reset, is another one")
    return task
