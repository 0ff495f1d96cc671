"""What Airflow's database has of this provider's tasks: the only module of the page that uses Airflow's ORM.

Every attribute here exists in Airflow 3.1 to 3.4; tables and columns of the same names do not.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import String, case, cast, func, or_, select

from airflow_provider_moengage.page.synced_tasks import LINK, PACKAGE, ProviderTask, tasks_of
from airflow_provider_moengage.results.failed_run import REPORT_KEY

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

RETURN_VALUE = "return_value"

_AT_ONCE = 200
"""Serialized Dags that one query reads."""

_MOST_KNOWN = 20_000
_known: dict[tuple[str, str], tuple[ProviderTask, ...]] = {}
"""The tasks of a Dag by its ID and the digest of what it is: to read all Dags of a deployment takes seconds."""


@dataclass(frozen=True, slots=True)
class StoredTry:
    """A task instance: what its last try has left.

    :param value: the value that it returned, or the report that it pushed before it failed, if that is JSON in
        Airflow's database.
    """

    map_index: int
    state: str | None
    started_at: datetime | None
    ended_at: datetime | None
    value: Any = None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A task in a Dag run; a mapped task has several tries."""

    run_id: str
    run_after: datetime
    logical_date: datetime | None
    tries: list[StoredTry] = field(default_factory=list)


def provider_tasks(session: Session, dag_ids: Collection[str]) -> list[ProviderTask]:
    """Return the tasks of this provider in these Dags, as they are now."""
    newest = (
        select(SerializedDagModel.dag_id, func.max(SerializedDagModel.created_at).label("newest"))
        .group_by(SerializedDagModel.dag_id)
        .subquery()
    )
    query = (
        select(SerializedDagModel.dag_id, SerializedDagModel.dag_hash, SerializedDagModel.id)
        .join(
            newest,
            (newest.c.dag_id == SerializedDagModel.dag_id) & (newest.c.newest == SerializedDagModel.created_at),
        )
        .join(DagModel, DagModel.dag_id == SerializedDagModel.dag_id)
        .where(DagModel.is_stale.is_(False))
    )
    found = {row[0]: (row[1], row[2]) for row in session.execute(query) if row[0] in dag_ids}
    unknown = {row_id: dag_id for dag_id, (digest, row_id) in found.items() if (dag_id, digest) not in _known}
    if len(_known) + len(unknown) > _MOST_KNOWN:
        _known.clear()
        unknown = {row_id: dag_id for dag_id, (_, row_id) in found.items()}
    row_ids = list(unknown)
    for start in range(0, len(row_ids), _AT_ONCE):
        some = row_ids[start : start + _AT_ONCE]
        tasks = _read(session, some)
        for dag_id in (unknown[row_id] for row_id in some):
            _known[(dag_id, found[dag_id][0])] = tasks.get(dag_id, ())
    return [task for dag_id, (digest, _) in sorted(found.items()) for task in _known.get((dag_id, digest), ())]


def _read(session: Session, row_ids: Sequence[Any]) -> dict[str, tuple[ProviderTask, ...]]:
    """Return the tasks of some serialized Dags. The database leaves out those without any, unless the Dags are
    compressed.
    """
    text = cast(SerializedDagModel._data, String)  # noqa: SLF001 (`data` is no column)
    rows = session.scalars(
        select(SerializedDagModel).where(
            SerializedDagModel.id.in_(row_ids),
            or_(SerializedDagModel._data.is_(None), text.contains(PACKAGE), text.contains(LINK)),  # noqa: SLF001
        )
    )
    return {row.dag_id: tuple(tasks_of(row.dag_id, row.data)) for row in rows}


def runs_of(
    session: Session, tasks: Sequence[ProviderTask], count: int, run_id: str | None = None
) -> dict[tuple[str, str], list[StoredRun]]:
    """Return the last runs of tasks, newest first, by Dag and task ID.

    :param count: Dag runs to look at for each Dag.
    :param run_id: the only one to look at.
    """
    wanted = {(task.dag_id, task.task_id) for task in tasks}
    dag_ids, task_ids = {dag_id for dag_id, _ in wanted}, {task_id for _, task_id in wanted}
    place = func.row_number().over(partition_by=DagRun.dag_id, order_by=DagRun.run_after.desc())
    ranked = (
        select(DagRun.dag_id, DagRun.run_id, DagRun.run_after, DagRun.logical_date, place.label("place"))
        .where(DagRun.dag_id.in_(dag_ids), *([] if run_id is None else [DagRun.run_id == run_id]))
        .subquery()
    )
    last = select(ranked).where(ranked.c.place <= count).subquery()
    runs: dict[tuple[str, str], dict[str, StoredRun]] = defaultdict(dict)
    values = _values(session, last, wanted, task_ids)
    query = (
        select(
            *(TaskInstance.dag_id, TaskInstance.task_id, TaskInstance.run_id, TaskInstance.map_index),
            *(TaskInstance.state, TaskInstance.start_date, TaskInstance.end_date),
            *(last.c.run_after, last.c.logical_date),
        )
        .join(last, (last.c.dag_id == TaskInstance.dag_id) & (last.c.run_id == TaskInstance.run_id))
        .where(TaskInstance.task_id.in_(task_ids))
    )
    for *identity, state, started_at, ended_at, run_after, logical_date in session.execute(query):
        dag_id, task_id, run_id, map_index = identity
        if (dag_id, task_id) in wanted:
            run = runs[(dag_id, task_id)].setdefault(run_id, StoredRun(run_id, run_after, logical_date))
            text, value = None if state is None else str(state), values.get(tuple(identity))
            run.tries.append(StoredTry(map_index, text, started_at, ended_at, value))
    return {
        task: sorted(found.values(), key=lambda run: run.run_after, reverse=True) for task, found in runs.items()
    }


def _values(session: Session, last: Any, wanted: Collection[Any], task_ids: Collection[str]) -> dict[Any, Any]:
    """Return what the tasks of runs have left, by Dag, task, run and map index."""
    query = (
        select(*_XCOM, XComModel.value)
        .join(last, (last.c.dag_id == XComModel.dag_id) & (last.c.run_id == XComModel.run_id))
        .where(XComModel.key.in_(_LEFT), XComModel.task_id.in_(task_ids), *_LAST_TRY)
        .order_by(_RETURNED_LAST)
    )
    return {tuple(row[:4]): _decoded(row[4]) for row in session.execute(query) if tuple(row[:2]) in wanted}


def left_by(session: Session, task: ProviderTask, run_id: str, map_index: int) -> Any:
    """Return what a task instance has returned, or pushed before it failed; None if it has not."""
    query = select(XComModel.value).where(
        XComModel.key.in_(_LEFT),
        XComModel.dag_id == task.dag_id,
        XComModel.task_id == task.task_id,
        XComModel.run_id == run_id,
        XComModel.map_index == map_index,
        *_LAST_TRY,
    )
    return _decoded(next(reversed(session.scalars(query.order_by(_RETURNED_LAST)).all()), None))


def note(session: Session, event: str, task: ProviderTask, user: str) -> None:
    """Write a change into Airflow's audit log."""
    session.add(Log(event=event, dag_id=task.dag_id, task_id=task.task_id, owner=user, owner_display_name=user))
    session.commit()


def returned_since(
    session: Session, tasks: Sequence[ProviderTask], since: datetime
) -> Iterator[tuple[ProviderTask, datetime, Any]]:
    """Yield what tasks have returned since a moment, and when."""
    wanted = {(task.dag_id, task.task_id): task for task in tasks}
    query = select(XComModel.dag_id, XComModel.task_id, XComModel.timestamp, XComModel.value).where(
        XComModel.key == RETURN_VALUE,
        XComModel.timestamp >= since,
        XComModel.dag_id.in_({dag_id for dag_id, _ in wanted}),
        XComModel.task_id.in_({task_id for _, task_id in wanted}),
    )
    for dag_id, task_id, moment, value in session.execute(query):
        if (task := wanted.get((dag_id, task_id))) is not None:
            yield task, moment, _decoded(value)


_LAST_TRY = (
    [XComModel.task_instance_id.in_(select(TaskInstance.id).where(TaskInstance.working_set.is_(True)))]
    if hasattr(TaskInstance, "working_set")
    else []
)
"""Airflow 3.4 keeps what earlier tries have returned, also after a task was cleared."""

_LEFT = (RETURN_VALUE, REPORT_KEY)
_RETURNED_LAST = case((XComModel.key == RETURN_VALUE, 1), else_=0)
"""What a task has returned takes the place of what an earlier try of it may have left."""

_XCOM = (XComModel.dag_id, XComModel.task_id, XComModel.run_id, XComModel.map_index)


def _decoded(value: Any) -> Any:
    """Return what a worker stored, which is JSON in text; None for what only a backend of XComs can read."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None
