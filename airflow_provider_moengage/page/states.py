"""What a sync has stored between its runs, its watermark and the state of ``changed_only``, and their reset."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_moengage.bulk.changed.folder import StateFolder
from airflow_provider_moengage.command.changes import delete_state, facts_of, is_state
from airflow_provider_moengage.command.watermark import StoredWatermark, forget, stored_watermarks
from airflow_provider_moengage.tasks.changes import state_path_of_task

RESETTER = "the MoEngage page of Airflow"


def watermarks(dag_id: str, task_id: str, map_index: int) -> list[StoredWatermark]:
    """Return the watermarks of a task instance; none before Airflow 3.3, or if it has no asset."""
    try:
        return [one for one in stored_watermarks(dag_id, task_id, _mapped(map_index)) if one.value is not None]
    except ValueError:
        return []


def forget_watermark(watermark: StoredWatermark, dag_id: str, task_id: str, map_index: int) -> None:
    """Let the next run begin as the first one did."""
    forget(watermark, dag_id, task_id, _mapped(map_index))


def changed_only_state(dag_id: str, task_id: str, map_index: int) -> dict[str, Any] | None:
    """Return what the state of ``changed_only`` holds, without its place; None if there is none in the folder of
    the deployment.
    """
    folder = _folder(dag_id, task_id, map_index)
    if folder is None:
        return None
    facts = facts_of(folder)
    return {name: facts[name] for name in ("users", "run", "due", "unfinished")}


def delete_changed_only_state(dag_id: str, task_id: str, map_index: int) -> bool:
    """Delete the state, so that the next run sends every row; return whether there was one.

    :raises MoEngageError: if a run is using it.
    """
    folder = _folder(dag_id, task_id, map_index)
    if folder is None:
        return False
    delete_state(folder, RESETTER)
    return True


def _mapped(map_index: int) -> int | None:
    return map_index if map_index >= 0 else None


def _folder(dag_id: str, task_id: str, map_index: int) -> StateFolder | None:
    path = conf.get("moengage", "changes_path", fallback="") or None
    if path is None:
        return None
    ti = SimpleNamespace(dag_id=dag_id, task_id=task_id, map_index=map_index)
    folder = StateFolder(state_path_of_task(path, {"ti": ti}))
    return folder if is_state(folder) else None
