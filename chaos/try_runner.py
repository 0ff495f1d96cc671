"""The process that runs each try of a task as the scheduler and the LocalExecutor would.

It reads commands line by line: create a run of a Dag, then run one try after the other. The scheduler's part is
short: its own functions set the next try number and the state *scheduled*, and after the try they process the
executor's message, so that a killed task is up for retry. In between, Airflow's executor code runs as in a worker
of the LocalExecutor: its supervisor forks a process, in which the task runner parses the Dag file and executes the
task, and talks to an API server on its behalf.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer commands until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever Airflow prints goes to the log
    airflow = _Airflow()
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(getattr(airflow, command.pop("command"))(**command)), file=answers)


class _Airflow:
    def __init__(self) -> None:
        from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
        from airflow.utils.session import create_session

        for name in _IMPORTED_BY_TASKS:
            import_module(name)
        self._executor: Any = _untyped("airflow.executors.local_executor").LocalExecutor()
        self._session = create_session
        manager: Any = _untyped("airflow.dag_processing.bundles.manager").DagBundlesManager()
        manager.sync_bundles_to_db()
        for bundle in manager.get_all_dag_bundles():
            bundle.initialize()
            bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
            if bag.import_errors:
                raise SystemExit(f"the Dags cannot be imported: {bag.import_errors}")
            sync_bag_to_db(bag, bundle.name, bundle.version)

    def create_run(self, dag_id: str) -> dict[str, Any]:
        """Create a run of a Dag."""
        from airflow.models.dagbag import DBDagBag
        from airflow.sdk import timezone
        from airflow.utils.state import DagRunState
        from airflow.utils.types import DagRunTriggeredByType, DagRunType

        with self._session() as session:
            dag: Any = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
            run = dag.create_dagrun(
                run_id=f"manual__{uuid.uuid4()}",
                run_after=timezone.utcnow(),
                run_type=DagRunType.MANUAL,
                state=DagRunState.RUNNING,
                triggered_by=DagRunTriggeredByType.TEST,
                session=session,
            )
            return {"run_id": run.run_id}

    def run_try(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Run the next try of the run's task, and return what the database holds after it."""
        from airflow.executors.base_executor import BaseExecutor
        from airflow.executors.workloads import ExecuteTask
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
        from airflow.models.dagbag import DBDagBag
        from airflow.utils.state import TaskInstanceState

        with self._session() as session:
            task = self._task(session, dag_id, run_id)
            task.dag_run.schedule_tis([task], session=session)
            session.commit()
            session.refresh(task)
            task.state = TaskInstanceState.QUEUED
            session.commit()
            workload = ExecuteTask.make(task, generator=self._executor.jwt_generator)
        exit_code: int | None = None
        try:
            exit_code = int(BaseExecutor.run_workload(workload))
        except Exception as error:
            print(f"the executor failed: {error!r}", file=sys.stderr)
        # A worker of the LocalExecutor reports this for every task whose supervisor has ended.
        state = workload.failure_state if exit_code is None else workload.success_state
        with self._session() as session:
            self._executor.change_state(workload.key, state)
            SchedulerJobRunner.process_executor_events(
                executor=self._executor, job_id=None, scheduler_dag_bag=DBDagBag(), session=session
            )
        with self._session() as session:
            task = self._task(session, dag_id, run_id)
            return {
                "state": str(task.state),
                "try_number": task.try_number,
                "exit_code": exit_code,
                "log": str(Path(os.environ["AIRFLOW_HOME"], "logs", workload.log_path or "")),
                "report": self._report(session, dag_id, run_id),
            }

    def _task(self, session: Any, dag_id: str, run_id: str) -> Any:
        from airflow.models.dagbag import DBDagBag
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        run.dag = DBDagBag().get_dag_for_run(run, session=session)
        [task] = run.get_task_instances(session=session)
        task.task = run.dag.get_task(task.task_id)
        return task

    def _report(self, session: Any, dag_id: str, run_id: str) -> Any:
        from airflow.models.xcom import XComModel
        from sqlalchemy import select

        query = select(XComModel.value).where(
            XComModel.dag_id == dag_id, XComModel.run_id == run_id, XComModel.key == "return_value"
        )
        value = session.scalar(query)
        return json.loads(value) if isinstance(value, str) else value


def _untyped(module: str) -> Any:
    return import_module(module)


_IMPORTED_BY_TASKS = (
    "airflow.providers.sqlite.hooks.sqlite",
    "airflow.sdk.execution_time.task_runner",
    "airflow_provider_moengage.bulk.run.delivery",
    "airflow_provider_moengage.hooks.moengage",
    "airflow_provider_moengage.operators.bulk_import",
    "airflow_provider_moengage.tasks.checkpoint_stores",
    "airflow_provider_moengage.sources.ndjson",
    "airflow_provider_moengage.sources.sql_rows",
    "airflow_provider_moengage.transfers.sql_to_moengage",
)
"""What each forked task process would import again; importing it once saves a second for each try."""


if __name__ == "__main__":
    main()
