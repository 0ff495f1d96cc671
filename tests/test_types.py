"""A type checker finds an option that is misspelt, before Airflow parses the Dag."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]

DAG = """\
from airflow_provider_moengage.bulk.changes import ChangedOnly
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from airflow_provider_moengage.transfers.sql_to_moengage_cohort import SqlToMoEngageCohortOperator
from airflow_provider_moengage.transfers.sql_to_moengage_erasure import SqlToMoEngageErasureOperator

SQL = "SELECT user_id FROM users"
BulkImportOperator(task_id="a", elements=[], delivery="at_most_once", validation="strict")
BulkImportOperator(task_id="b", elements=[], delivery="at_most_ones")
SqlToMoEngageOperator(task_id="c", sql=SQL, conn_id="w", mapping=CustomerMapping(), validation="strikt")
ChangedOnly(on_removed="unset", on_new_columns="fail")
ChangedOnly(on_removed="remove")
ChangedOnly(on_new_columns="drop")
SqlToMoEngageCohortOperator(task_id="d", sql=SQL, conn_id="w", cohort_id="vip", mode="mirrors")
SqlToMoEngageErasureOperator(task_id="e", sql=SQL, conn_id="w", max_users=1, method="opengpdr")
BusinessEventOperator(task_id="f", event_name="Sale", api_version="v2")
TriggerFileImportOperator(task_id="g", import_id="nightly", on_cooldown="waits")
"""
WRONG = ["at_most_ones", "strikt", "remove", "drop", "mirrors", "opengpdr", "v2", "waits"]


def test_a_misspelt_option_is_found_by_mypy(tmp_path: Path) -> None:
    dag = tmp_path / "misspelt.py"
    dag.write_text(DAG)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--no-error-summary", str(dag)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    found = [line for line in done.stdout.splitlines() if "misspelt.py" in line and "error" in line]
    lines = DAG.splitlines()
    assert len(found) == len(WRONG), done.stdout + done.stderr
    for wrong, error in zip(WRONG, found, strict=True):
        number = int(error.split(":")[1])
        assert wrong in lines[number - 1]
        assert "arg-type" in error


def test_no_example_has_to_silence_a_type_checker() -> None:
    """`make types` checks them."""
    assert not [path for path in (PROJECT / "example_dags").glob("*.py") if "type: ignore" in path.read_text()]
