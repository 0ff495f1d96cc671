"""``moengage watermark``: where a task's next run begins."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

from airflow_provider_moengage.command.asking import is_confirmed
from airflow_provider_moengage.command.output import NOT_OK, OK, Output, table
from airflow_provider_moengage.tasks.watermark import watermark_key


@dataclass(frozen=True, slots=True)
class StoredWatermark:
    """A watermark in Airflow's database.

    :param asset_id: number of the asset whose state holds it.
    :param asset: the asset's name.
    :param value: the moment as text; None if there is none.
    """

    asset_id: int
    asset: str
    value: str | None


def show(options: argparse.Namespace) -> int:
    """Show a task's watermark."""
    return _answer(options, _stored(options))


def set_to(options: argparse.Namespace) -> int:
    """Move a task's watermark to a moment."""
    moment = options.moment.isoformat()
    [before] = _one(options)
    question = (
        f"Move the watermark from {before.value or 'nowhere'} to {moment}? Rows between the two are sent again, or"
        " never."
    )
    if not is_confirmed(question, yes=options.yes):
        return NOT_OK
    backend, scope = _backend(before)
    backend.set(scope, _key(options), json.dumps(moment))
    return _answer(options, _stored(options))


def reset(options: argparse.Namespace) -> int:
    """Forget a task's watermark."""
    [before] = _one(options)
    question = (
        f"Forget the watermark {before.value or '(there is none)'}? The next run begins as the first one did."
    )
    if not is_confirmed(question, yes=options.yes):
        return NOT_OK
    forget(before, options.dag_id, options.task_id, options.map_index)
    return _answer(options, _stored(options))


def forget(stored: StoredWatermark, dag_id: str, task_id: str, map_index: int | None) -> None:
    """Delete a watermark."""
    backend, scope = _backend(stored)
    backend.delete(scope, watermark_key(dag_id, task_id, map_index))


def _answer(options: argparse.Namespace, stored: list[StoredWatermark]) -> int:
    rows = [(one.asset, one.value or "none yet") for one in stored]
    Output(options).answer(
        {"watermarks": [{"asset": one.asset, "watermark": one.value} for one in stored]},
        [table(("asset", "watermark"), rows)],
    )
    return OK if any(one.value for one in stored) else NOT_OK


def _key(options: argparse.Namespace) -> str:
    return watermark_key(options.dag_id, options.task_id, options.map_index)


def _one(options: argparse.Namespace) -> list[StoredWatermark]:
    stored = _stored(options)
    if len(stored) > 1:
        having = [one for one in stored if one.value is not None]
        if len(having) != 1:
            names = ", ".join(one.asset for one in stored)
            raise ValueError(
                f"TASK_ID {options.task_id!r}: it has several assets ({names}), and it cannot be known which one"
                " holds the watermark; change it in Airflow's page of that asset"
            )
        return having
    return stored


def _stored(options: argparse.Namespace) -> list[StoredWatermark]:
    return stored_watermarks(options.dag_id, options.task_id, options.map_index)


def stored_watermarks(dag_id: str, task_id: str, map_index: int | None) -> list[StoredWatermark]:
    """Return the watermarks of a task: one for each asset that it reads or writes.

    :raises ValueError: if Airflow has no such store, Dag or task.
    """
    try:
        from airflow.models.asset import AssetModel, TaskInletAssetReference, TaskOutletAssetReference
        from airflow.state import AssetScope, get_state_backend
        from airflow.utils.session import create_session
        from sqlalchemy import select
    except ImportError:
        raise ValueError("This version of Airflow stores no watermark; Airflow 3.3 and later do") from None
    backend = get_state_backend()
    found: list[Any] = []
    with create_session() as session:
        for reference in (TaskInletAssetReference, TaskOutletAssetReference):
            query = (
                select(AssetModel.id, AssetModel.name)
                .join(reference, reference.asset_id == AssetModel.id)
                .where(reference.dag_id == dag_id, reference.task_id == task_id)
                .order_by(AssetModel.name)
            )
            found += session.execute(query).all()
    if not found:
        raise ValueError(
            f"DAG_ID {dag_id!r}, TASK_ID {task_id!r}: Airflow knows no asset of such a task; the"
            " argument watermark gives it one"
        )
    key = watermark_key(dag_id, task_id, map_index)
    return [
        StoredWatermark(asset_id, name, _moment(backend.get(AssetScope(asset_id=asset_id), key)))
        for asset_id, name in dict.fromkeys((row[0], row[1]) for row in found)
    ]


def _moment(stored: str | None) -> str | None:
    return None if stored is None else str(json.loads(stored))


def _backend(stored: StoredWatermark) -> tuple[Any, Any]:
    from airflow.state import AssetScope, get_state_backend

    return get_state_backend(), AssetScope(asset_id=stored.asset_id)
