"""Every operator in a whole Airflow, ended by SIGTERM before, while and after it sends, and by its timeout."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from airflow_provider_moengage.emulator import BusinessEvent, Emulator, Fault, FileImport, ImportFile
from devtools.standalone_airflow import Standalone, until
from tests.standalone.test_business_events import is_connected

OPERATORS = ("bulk", "sync", "cohort", "files", "event", "import", "sensor")
MOMENTS = ("before", "while", "after")
ROWS = 400
BATCH = 25
"""The most elements of 4,000 bytes that a request body can contain."""


MEMBERS = 32
"""The same of members with such IDs."""


class Ends:
    """What the tasks of a run have sent and published."""

    def __init__(self, airflow: Standalone, emulator: Emulator) -> None:
        self._airflow = airflow
        self._workspace = emulator.workspace
        self._port = int(emulator.url.rpartition(":")[2])
        self.folder = airflow.home / "ends"

    def count(self, operator: str, moment: str) -> int:
        """Return what one task has sent: elements, events, imports, or files."""
        if operator in ("bulk", "sync"):
            elements = [received.element for received in self._workspace.elements]
            prefix = f"{operator}_{moment} "
            return sum(str(element.get("customer_id")).startswith(prefix) for element in elements)
        if operator == "cohort":
            return len(self._workspace.segments.get(f"cohort_{moment}", ()))
        if operator == "event":
            return sum(firing.event_name == f"Event {moment}" for firing in self._workspace.firings)
        if operator == "import":
            return sum(trigger.import_id == f"import_{moment}" for trigger in self._workspace.file_triggers)
        return len(self._files(operator, moment, "[!.]*"))

    def partial_files(self, moment: str) -> list[Path]:
        return self._files("files", moment, ".*")

    def pid(self, operator: str, moment: str) -> int | None:
        file = self.folder / f"{operator}_{moment}.pid"
        text = file.read_text() if file.exists() else ""
        return int(text) if text else None

    def is_under_way(self, operator: str, moment: str) -> bool:
        pid = self.pid(operator, moment)
        if pid is None:
            return False
        if operator in ("bulk", "sync", "cohort"):
            return self.count(operator, moment) > 0
        if operator == "files":
            return bool(self.partial_files(moment))
        return not psutil.pid_exists(pid) or is_connected(psutil.Process(pid), self._port)

    def terminate(self, operator: str, moment: str) -> None:
        pid = self.pid(operator, moment)
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        (self.folder / f"{operator}_{moment}.go").touch()

    def _files(self, operator: str, moment: str, pattern: str) -> list[Path]:
        return list((self.folder / f"{operator}_{moment}").glob(pattern))


@pytest.fixture
def ends(airflow: Standalone, emulator: Emulator) -> Ends:
    workspace = emulator.workspace
    workspace.reset()
    workspace.configure(v1_trigger_quota=(), retry_after="none", file_cooldown_seconds=300)
    for moment in (*MOMENTS, "timeout"):
        workspace.add_business_event(BusinessEvent(f"Event {moment}", attributes=None, campaigns=("c",)))
        done = ImportFile("users_{run}.csv", steps=((0, "SUCCESSFUL"),))
        never = ImportFile("users_{run}.csv", steps=((0, "QUEUED"), (10**6, "SUCCESSFUL")))
        workspace.add_file_import(FileImport(f"import_{moment}", f"Import {moment}", (done,)))
        waited = done if moment == "after" else never
        workspace.add_file_import(FileImport(f"wait_{moment}", f"Wait {moment}", (waited,)))
        workspace.run_file_import(f"wait_{moment}")
    return Ends(airflow, emulator)


def test_each_operator_sends_nothing_after_sigterm(airflow: Standalone, emulator: Emulator, ends: Ends) -> None:
    workspace = emulator.workspace
    for path in (
        "/v1/transition",
        "/v1/integrations/cohortsync",
        "/v1.0/business_event",
        "/v1.0/data/fileimports",
    ):
        workspace.add_fault(Fault("slow", seconds=1, times=None, path=path))
    run = airflow.trigger("terminated")
    at_kill: dict[tuple[str, str], int] = {}
    ready: dict[str, Callable[[str, str], bool]] = {
        "before": lambda *task: ends.pid(*task) is not None,
        "while": ends.is_under_way,
        "after": lambda *task: ends.pid(*task) is not None,
    }

    def each_is_terminated() -> bool:
        for task in [(operator, moment) for operator in OPERATORS for moment in MOMENTS]:
            if task not in at_kill and ready[task[1]](*task):
                at_kill[task] = ends.count(*task)
                ends.terminate(*task)
        return len(at_kill) == len(OPERATORS) * len(MOMENTS)

    until(each_is_terminated, "each task to be terminated", lambda: f"{at_kill}\n{airflow.log('terminated')}")
    states = {
        (operator, moment): airflow.until_task("terminated", run, f"{operator}_{moment}", "failed", "success")[
            "state"
        ]
        for operator in OPERATORS
        for moment in MOMENTS
    }

    for operator in OPERATORS:
        assert states[operator, "before"] == "failed", operator
        assert ends.count(operator, "before") == 0, operator
        assert states[operator, "after"] == "success", operator
        assert ends.count(operator, "after") == at_kill[operator, "after"], operator
    for operator in ("bulk", "sync", "cohort"):
        most = MEMBERS if operator == "cohort" else BATCH
        assert states[operator, "while"] == "failed"
        assert at_kill[operator, "while"] <= ends.count(operator, "while") <= at_kill[operator, "while"] + 2 * most
        assert ends.count(operator, "after") == ROWS
        counts = airflow.xcom("terminated", run, f"{operator}_while", "moengage_report")
        assert 0 < counts["accepted"] <= ends.count(operator, "while")
    assert states["files", "while"] == states["sensor", "while"] == "failed"
    assert ends.count("files", "while") == 0
    assert ends.partial_files("while") == []
    assert ends.count("files", "after") == ends.count("event", "after") == ends.count("import", "after") == 1
    assert ends.count("event", "while") <= 1
    assert ends.count("import", "while") <= 1


def test_an_execution_timeout_ends_each_operator(airflow: Standalone, emulator: Emulator, ends: Ends) -> None:
    workspace = emulator.workspace
    used_up = {"Retry-After": "60"}
    workspace.add_fault(Fault("status", status=429, headers=used_up, times=None, path="/v1.0/business_event"))
    workspace.add_fault(Fault("slow", seconds=4, times=None, path="/v1/transition"))
    workspace.add_fault(Fault("slow", seconds=4, times=None, path="/v1/integrations/cohortsync"))
    workspace.run_file_import("import_timeout")
    run = airflow.trigger("timed_out")

    for operator in OPERATORS:
        task = airflow.until_task("timed_out", run, f"{operator}_timeout", "failed", "success")
        assert task["state"] == "failed", operator

    sent = {operator: ends.count(operator, "timeout") for operator in OPERATORS}
    assert 0 < sent["bulk"] < ROWS
    assert 0 < sent["sync"] < ROWS
    assert 0 < sent["cohort"] < ROWS
    for operator in ("bulk", "sync", "cohort"):
        counts = airflow.xcom("timed_out", run, f"{operator}_timeout", "moengage_report")
        assert 0 < counts["accepted"] <= sent[operator]
    assert {operator: sent[operator] for operator in ("files", "event", "import")} == dict.fromkeys(
        ("files", "event", "import"), 0
    )
    assert ends.partial_files("timeout") == []

    def is_logged(why: str) -> bool:
        return f"has reached its execution_timeout {why}" in airflow.log("timed_out")

    for why in ("while it waited for the cooldown", "while it was deferred"):
        until(partial(is_logged, why), f"the timeout {why} in the log", lambda: airflow.log("timed_out"))
