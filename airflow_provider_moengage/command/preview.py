"""``moengage preview``: the first elements of a task, as they would be sent."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.bulk.mapping import MAPPINGS
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.run.preview import Previewed, preview
from airflow_provider_moengage.command.output import NOT_OK, OK, Output
from airflow_provider_moengage.operators.delivery import DeliveryOperator

if TYPE_CHECKING:
    from rich.table import Table

RUN_ID = "preview"


def show(options: argparse.Namespace) -> int:
    """Show the first elements of a task."""
    task = _task(Path(options.dag_file), options.task_id, options.dag_id)
    context = _context(task, options)
    task.render_template_fields(context)
    delivery, note = _options(task, context)
    per_row = len(_mappings(task))
    source = task.source_to_preview(context)
    found = list(islice(preview(source, delivery, options.rows * per_row), options.rows * per_row))
    rejected = sum(1 for one in found if one.line is None)
    lines: list[str | Table] = [line for one in found for line in _lines(one)]
    summary = f"{len(found):,} elements: {len(found) - rejected:,} would be sent, {rejected:,} rejected"
    Output(options).answer(
        {
            "elements": [_facts(one) for one in found],
            "would_be_sent": len(found) - rejected,
            "rejected": rejected,
            "data_interval_start": context["data_interval_start"].isoformat(),
            "data_interval_end": context["data_interval_end"].isoformat(),
        },
        [*lines, *([note] if note else []), summary],
    )
    return NOT_OK if rejected or not found else OK


def _lines(one: Previewed) -> list[str]:
    element = _as_text(one)
    findings = [f"    {finding.code}: {finding.message}" for finding in one.findings]
    state = "rejected" if one.line is None else ("warning" if findings else "sent")
    return [f"{one.position:>6,}  {state:<8}  {element}", *findings]


def _facts(one: Previewed) -> dict[str, Any]:
    return {
        "position": one.position,
        "is_rejected": one.line is None,
        "element": json.loads(_as_text(one)),
        "findings": [{"code": str(finding.code), "message": finding.message} for finding in one.findings],
    }


def _as_text(one: Previewed) -> str:
    if one.line is not None:
        return one.line.decode()
    from airflow_provider_moengage.bulk.elements.json_value import to_json_value

    return json.dumps(to_json_value(one.given), ensure_ascii=False)


def _task(file: Path, task_id: str, dag_id: str | None) -> DeliveryOperator:
    """Return a task of a Dag file.

    :raises FileNotFoundError: if there is no such file.
    :raises ValueError: naming what is wrong with it.
    """
    if not file.is_file():
        raise FileNotFoundError(f"DAG_FILE {str(file)!r}: no such file")
    dags = _dags(file)
    if dag_id is not None:
        dags = {dag_id: dags[dag_id]} if dag_id in dags else {}
    having = {name: dag for name, dag in dags.items() if task_id in dag.task_dict}
    if not having:
        known = sorted(f"{name}: {', '.join(sorted(dag.task_dict))}" for name, dag in dags.items())
        raise ValueError(f"TASK_ID {task_id!r}: no such task; the file has {'; '.join(known) or 'no such Dag'}")
    if len(having) > 1:
        raise ValueError(f"TASK_ID {task_id!r}: several Dags have it ({', '.join(sorted(having))}); add --dag-id")
    [dag] = having.values()
    task = dag.task_dict[task_id]
    if hasattr(task, "partial_kwargs"):  # in every version of Airflow
        raise ValueError(f"TASK_ID {task_id!r}: a mapped task has no arguments before it runs")
    if not isinstance(task, DeliveryOperator):
        raise ValueError(
            f"TASK_ID {task_id!r}: {type(task).__name__} sends no elements, so there is nothing to show"
        )
    return task


def _dags(file: Path) -> Mapping[str, Any]:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef, attr-defined, unused-ignore]
    bag = DagBag(str(file), safe_mode=False, load_op_links=False)
    if bag.import_errors:
        raise ValueError(f"DAG_FILE {str(file)!r}: {'; '.join(bag.import_errors.values()).strip()}")
    return dict(bag.dags)


def _context(task: DeliveryOperator, options: argparse.Namespace) -> Any:
    """Return what templates see, as far as there is no run: its dates, params, variables and connections."""
    until = options.until or datetime.now(UTC).replace(microsecond=0)
    since = options.since or until - timedelta(days=1)
    if since >= until:
        raise ValueError("--since: expected a time before --until")
    dag = task.dag
    params = {**_params(dag), **_params(task), **_given_params(options.params)}
    run = SimpleNamespace(
        run_id=RUN_ID,
        dag_id=dag.dag_id,
        run_type="manual",
        logical_date=since,
        data_interval_start=since,
        data_interval_end=until,
        run_after=until,
        start_date=until,
        conf={},
    )
    ti = SimpleNamespace(
        dag_id=dag.dag_id,
        task_id=task.task_id,
        run_id=RUN_ID,
        map_index=-1,
        try_number=1,
        max_tries=0,
        start_date=until,
        task=task,
        xcom_pull=_no_xcom,
    )
    return {
        "dag": dag,
        "task": task,
        "ti": ti,
        "task_instance": ti,
        "dag_run": run,
        "run_id": RUN_ID,
        "logical_date": since,
        "data_interval_start": since,
        "data_interval_end": until,
        "params": params,
        **_dates(since),
        **_accessors(),
    }


def _params(owner: Any) -> dict[str, Any]:
    params = owner.params
    return dict(params.dump() if hasattr(params, "dump") else params)


def _given_params(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        params = json.loads(text)
    except ValueError:
        params = None
    if not isinstance(params, dict):
        raise ValueError("--params: expected a JSON object")
    return params


def _no_xcom(*_: Any, **__: Any) -> Any:
    raise ValueError("A template reads another task's result, which only a run has")


def _dates(moment: datetime) -> dict[str, str]:
    ds, ts = moment.strftime("%Y-%m-%d"), moment.isoformat()
    return {
        "ds": ds,
        "ds_nodash": ds.replace("-", ""),
        "ts": ts,
        "ts_nodash": moment.strftime("%Y%m%dT%H%M%S"),
        "ts_nodash_with_tz": ts.replace("-", "").replace(":", ""),
    }


def _accessors() -> dict[str, Any]:
    try:
        from airflow.sdk.execution_time import macros
        from airflow.sdk.execution_time.context import ConnectionAccessor, VariableAccessor
    except ImportError:  # Airflow 2
        from airflow import macros  # type: ignore[no-redef, attr-defined, unused-ignore]
        from airflow.utils.context import (  # type: ignore[no-redef, attr-defined, unused-ignore]
            ConnectionAccessor,
            VariableAccessor,
        )
    var = {"value": VariableAccessor(deserialize_json=False), "json": VariableAccessor(deserialize_json=True)}
    return {"macros": macros, "var": var, "conn": ConnectionAccessor()}


def _options(task: DeliveryOperator, context: Any) -> tuple[DeliveryOptions, str | None]:
    """Return the task's options, and what could not be known without its connection."""
    from dataclasses import replace

    from airflow_provider_moengage.hooks.moengage import MoEngageHook

    given = task.delivery_options(context)
    if given.identifiers is not None:
        return given, None
    try:
        identifiers = MoEngageHook(task.moengage_conn_id).settings.identifiers
    except Exception as error:  # noqa: BLE001 (Airflow's secrets backends raise errors of their own)
        name = type(error).__name__
        return given, (
            f"Connection {task.moengage_conn_id!r} could not be read ({name}); its identifiers may change what is"
            " rejected"
        )
    return replace(given, identifiers=identifiers), None


def _mappings(task: DeliveryOperator) -> list[Any]:
    """Return what each row of a query becomes; elements of a list become themselves."""
    given = getattr(task, "mapping", None)
    return list(given) if isinstance(given, list | tuple) else [given if isinstance(given, MAPPINGS) else None]
