"""Measures the time and modules that importing the operators adds to a Dag file with ``airflow.sdk``.

Each measurement runs in its own process, forked from one that has imported what any Dag imports; the value is the
median of eleven, in CPU time. Operators of other providers are measured the same way. Third-party packages are
those that belong neither to Python, nor to Airflow and its providers, nor to this provider.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks import warehouse  # noqa: F401 (sets Airflow's environment)
from benchmarks.table import Row

GROUP = "Import cost of a Dag file, in addition to airflow.sdk"
ROUNDS = 11

PUBLIC = (
    "airflow_provider_moengage.bulk.mapping",
    "airflow_provider_moengage.exceptions",
    "airflow_provider_moengage.hooks.moengage",
    "airflow_provider_moengage.notifications.business_event",
    "airflow_provider_moengage.operators.bulk_import",
    "airflow_provider_moengage.operators.business_event",
    "airflow_provider_moengage.operators.file_import",
    "airflow_provider_moengage.sensors.file_import",
    "airflow_provider_moengage.transfers.sql_to_moengage",
    "airflow_provider_moengage.transfers.sql_to_moengage_file",
    "airflow_provider_moengage.triggers.file_import",
    "airflow_provider_moengage.triggers.file_import_event",
)
ONE = ("airflow_provider_moengage.transfers.sql_to_moengage",)

_RIVALS = (
    ("HttpOperator", ("airflow.providers.http.operators.http",)),
    ("SQLExecuteQueryOperator", ("airflow.providers.common.sql.operators.sql",)),
)

_SCRIPT = """
import json, os, sys, time
from airflow.sdk import DAG, Asset, BaseHook, BaseNotifier, BaseOperator, BaseSensorOperator, task
from airflow.triggers.base import BaseEventTrigger
for _ in range({rounds}):
    if os.fork():
        os.wait()
        continue
    before, began = set(sys.modules), time.process_time()
    for name in {names!r}:
        __import__(name)
    seconds = time.process_time() - began
    print("LOADED", json.dumps([seconds, sorted(set(sys.modules) - before)]), flush=True)
    os._exit(0)
"""


@dataclass(frozen=True)
class Loaded:
    """What importing some modules loads."""

    milliseconds: float
    modules: int
    third_party: list[str]
    """Packages."""

    @property
    def text(self) -> str:
        """All of it."""
        packages = counted(len(self.third_party), "third-party package")
        return f"{self.milliseconds:.0f} ms, {self.modules} modules, {packages}"


def rows() -> list[Row]:
    """Measure everything."""
    if find_spec("airflow.sdk") is None:
        return [Row(GROUP, "all public modules", "skipped: Airflow 3 only")]
    found: list[Row] = []
    rivals = [(name, _loaded(names)) for name, names in _RIVALS if _is_installed(names[0])]
    for what, names in (("SqlToMoEngageOperator", ONE), ("all public modules", PUBLIC)):
        ours = _loaded(names)
        compared: Sequence[tuple[str, Loaded | None]] = rivals or [("", None)]
        for rival, theirs in compared:
            found.append(
                Row(
                    GROUP,
                    what,
                    ours.text,
                    rival,
                    "" if theirs is None else theirs.text,
                    "" if theirs is None else f"{ours.milliseconds / theirs.milliseconds:.2f} x",
                    "no third-party package",
                    not ours.third_party,
                    ours.milliseconds,
                    None if theirs is None else theirs.milliseconds,
                )
            )
        if ours.third_party:
            print(f"  {what} loads {', '.join(ours.third_party)}", file=sys.stderr)
    return found


def counted(number: int, noun: str) -> str:
    """Write a count: ``no module``, ``1 module``, ``2 modules``."""
    return f"{number or 'no'} {noun}{'s' if number > 1 else ''}"


def _loaded(names: Sequence[str]) -> Loaded:
    command = [sys.executable, "-c", _SCRIPT.format(rounds=ROUNDS, names=tuple(names))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.removeprefix("LOADED ") for line in done.stdout.splitlines() if line.startswith("LOADED ")]
    seconds, (modules, *_) = zip(*map(json.loads, lines), strict=True)
    known = {*sys.stdlib_module_names, "airflow", "airflow_provider_moengage"}
    packages = {name.partition(".")[0] for name in modules} - known
    return Loaded(statistics.median(seconds) * 1000, len(modules), sorted(packages))


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False
