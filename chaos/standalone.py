"""One sync under a whole Airflow: its scheduler finds out that a task process was killed, and tries again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from chaos.configurations import CONFIGURATIONS, Scene
from chaos.deployment import DAGS, environment_of
from chaos.killing import Account, Pace
from chaos.verdict import Verdict
from chaos.workspace import Workspace
from devtools.standalone_airflow import Standalone, standalone, until

_CONFIGURATION = CONFIGURATIONS[0]
_WITHIN = 600.0
"""Seconds that a try may take."""


def under_a_scheduler(
    scene: Scene, workspace: Workspace, kills: int, seed: int, told: Callable[[str], None]
) -> Verdict:
    """Kill a sync's task process so often, and judge what came of it."""
    chance = random.Random(f"{seed} standalone")
    source, rejects = scene.source(_CONFIGURATION), scene.rejects(_CONFIGURATION)
    account = Account(workspace, source)
    account.begin(rejects, chance.randrange(2**31))
    pace = Pace.guessed(source.elements)
    dag_id = _CONFIGURATION.name
    given = environment_of(scene, workspace)
    environment = {name: value for name, value in given.items() if os.environ.get(name) != value}
    with standalone(DAGS, environment) as airflow:
        until(lambda: airflow.has_dag(dag_id), f"the Dag {dag_id}")
        scene.mark.unlink(missing_ok=True)
        run_id = airflow.trigger(dag_id)
        while True:
            until(scene.mark.exists, "the task to begin", lambda: airflow.log(dag_id)[-3_000:])
            began = time.monotonic()
            pid = int(scene.mark.read_text())
            scene.mark.unlink()
            is_last = len(account.tries) >= kills
            seconds = _WITHIN if is_last else chance.uniform(0, 0.6) * account.left / pace.a_second
            state = _wait(airflow, dag_id, run_id, seconds)
            was_killed = state == "running"
            if was_killed:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            ran = time.monotonic() - began
            account.close_try(was_killed=was_killed, seconds=ran)
            told(f"airflow standalone: try {len(account.tries)} ran {ran:.2f} s, {account.share:.1%} arrived")
            if state == "success":
                report = airflow.xcom(dag_id, run_id, "sync")
                return account.verdict(_CONFIGURATION, rejects, report)
            if state == "failed" or is_last:
                verdict = account.figures()
                verdict.problems.append(f"the task ended as {state}:\n{airflow.log(dag_id)[-3_000:]}")
                return verdict


def _wait(airflow: Standalone, dag_id: str, run_id: str, seconds: float) -> str:
    """Wait so long, or until the task has ended; return its state."""
    deadline = time.monotonic() + seconds
    state = "running"
    while state in ("running", "queued") and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, 0.5))
        if deadline - time.monotonic() > 1:
            state = airflow.task(dag_id, run_id, "sync")["state"] or "queued"
    return "running" if state == "queued" else state
