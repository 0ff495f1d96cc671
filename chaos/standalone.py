"""One sync under `airflow standalone`: its scheduler detects that a task process was killed, and retries it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from chaos.configurations import CONFIGURATIONS, Setup
from chaos.deployment import DAGS, environment_of
from chaos.killing import Pace, RunRecord
from chaos.result import RunResult
from chaos.workspace import Workspace
from devtools.standalone_airflow import Standalone, standalone, until

_CONFIGURATION = CONFIGURATIONS[0]
_WITHIN = 600.0
"""Seconds that a try may take."""


def under_a_scheduler(
    setup: Setup, workspace: Workspace, kills: int, seed: int, report: Callable[[str], None]
) -> RunResult:
    """Kill a sync's task process that many times, and check the result."""
    generator = random.Random(f"{seed} standalone")
    source, rejects = setup.source(_CONFIGURATION), setup.rejects(_CONFIGURATION)
    record = RunRecord(workspace, source)
    record.start(rejects, generator.randrange(2**31))
    pace = Pace.guessed(source.elements)
    dag_id = _CONFIGURATION.name
    given = environment_of(setup, workspace)
    environment = {name: value for name, value in given.items() if os.environ.get(name) != value}
    with standalone(DAGS, environment) as airflow:
        until(lambda: airflow.has_dag(dag_id), f"the Dag {dag_id}")
        setup.start_file.unlink(missing_ok=True)
        run_id = airflow.trigger(dag_id)
        while True:
            until(setup.start_file.exists, "the task to start", lambda: airflow.log(dag_id)[-3_000:])
            began = time.monotonic()
            pid = int(setup.start_file.read_text())
            setup.start_file.unlink()
            is_last = len(record.tries) >= kills
            seconds = _WITHIN if is_last else generator.uniform(0, 0.6) * record.left / pace.per_second
            state = _wait(airflow, dag_id, run_id, seconds)
            was_killed = state == "running"
            if was_killed:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            ran = time.monotonic() - began
            record.end_try(was_killed=was_killed, seconds=ran)
            report(f"airflow standalone: try {len(record.tries)} ran {ran:.2f} s, {record.share:.1%} arrived")
            if state == "success":
                return record.result(_CONFIGURATION, rejects, airflow.xcom(dag_id, run_id, "sync"))
            if state == "failed" or is_last:
                result = record.counts()
                result.problems.append(f"the task ended as {state}:\n{airflow.log(dag_id)[-3_000:]}")
                return result


def _wait(airflow: Standalone, dag_id: str, run_id: str, seconds: float) -> str:
    """Wait for that many seconds, or until the task has ended; return its state."""
    deadline = time.monotonic() + seconds
    state = "running"
    while state in ("running", "queued") and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.5))
        if deadline - time.monotonic() > 1:
            state = airflow.task(dag_id, run_id, "sync")["state"] or "queued"
    return "running" if state == "queued" else state
