"""``None`` out of a template, for every templated argument of every operator, sensor and notifier."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, TaskDeferred

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.emulator import BusinessEvent, FileImport, ImportFile
from airflow_provider_moengage.notifications.business_event import MoEngageBusinessEventNotifier
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from airflow_provider_moengage.transfers.sql_to_moengage_file import SqlToMoEngageFileOperator
from tests.delivering import MoEngage, customer
from tests.task import Task

TEMPLATE = " {{ params.nothing }} "

GOOD: dict[type, dict[str, Any]] = {
    BulkImportOperator: {"elements": [customer("ann")]},
    SqlToMoEngageOperator: {
        "sql": "SELECT user_id FROM users",
        "conn_id": "warehouse",
        "mapping": CustomerMapping(),
        "key_columns": ["user_id"],
    },
    SqlToMoEngageFileOperator: {
        "sql": "SELECT user_id FROM users",
        "conn_id": "warehouse",
        "id_column": "user_id",
        "folder": "incoming/users",
    },
    BusinessEventOperator: {"event_name": "New movie"},
    TriggerFileImportOperator: {"import_id": "users"},
    FileImportRunSensor: {"import_id": "users", "import_name": "Users", "poke_interval": 0.01, "timeout": 5},
}

OPTIONAL = {
    *("concurrency", "rejects_path", "checkpoint_path", "identifiers", "project_code"),
    *("parameters", "key_range", "manifest_path", "event_attributes", "triggered_by"),
    *("import_id", "import_name", "file_name", "since", "max_failed_rows"),
}
"""Arguments that may be None. Of the sensor's first two, the other one is given here."""

SHOWN_AS = {"is_dry_run": "dry_run"}


@pytest.fixture(autouse=True)
def _world(connected: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect("warehouse.db") as database:
        database.execute("CREATE TABLE users (user_id TEXT)")
        database.executemany("INSERT INTO users VALUES (?)", [(f"user {number}",) for number in range(6)])
    database.close()
    path = str(tmp_path / "warehouse.db")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": path}))
    workspace = connected.emulator.workspace
    workspace.add_business_event(BusinessEvent("New movie", attributes=None, campaigns=("c",)))
    workspace.clear_file_imports()
    file = ImportFile("users_{run}.csv", steps=((0, "SUCCESSFUL"),))
    workspace.add_file_import(FileImport("users", "Users", (file,)))
    workspace.run_file_import("users")
    workspace.configure(file_cooldown_seconds=0)


CASES = [
    (kind, name)
    for kind in GOOD
    for name in kind.template_fields  # type: ignore[attr-defined]
]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind.__name__}-{name}" for kind, name in CASES])
@pytest.mark.parametrize("template", [TEMPLATE, "{{ params.nothing }}"], ids=["spaces", "bare"])
def test_none_out_of_a_template_is_none_or_an_error_that_names_the_argument(
    kind: Any, name: str, template: str, tmp_path: Path
) -> None:
    argument = SHOWN_AS.get(name, name)
    given = {**GOOD[kind], argument: template}
    if name == "path":
        del given["elements"]
    context: Any = {**Task(retries=0).context, "params": {"nothing": None}}
    operator = kind(task_id="task", **given)
    operator.render_template_fields(context)

    def ends() -> str | None:
        try:
            operator.execute(context)
        except (AirflowSkipException, TaskDeferred):
            raise
        except Exception as error:
            return str(error)
        return None

    message = ends()
    is_optional = name in OPTIONAL and not (kind is TriggerFileImportOperator and name == "import_id")
    if is_optional or (kind is SqlToMoEngageFileOperator and name == "moengage_conn_id"):
        assert message is None
    else:
        assert message is not None
        assert message.startswith(argument), message
    assert not (tmp_path / "None").exists()
    assert not list(tmp_path.glob("**/*None*"))


def test_none_inside_a_mapping_or_list_is_none_and_text_that_was_given_stays(connected: MoEngage) -> None:
    operator = BusinessEventOperator(
        task_id="task",
        event_name="New movie",
        event_attributes={"a": "{{ params.nothing }}", "b": ["None", "{{ params.text }}"], "c": "None"},
    )
    context: Any = {**Task().context, "params": {"nothing": None, "text": "x"}}
    operator.render_template_fields(context)

    assert operator.event_attributes == {"a": None, "b": ["None", "x"], "c": "None"}


def test_a_query_parameter_that_is_null_is_null_and_not_the_word() -> None:
    operator = SqlToMoEngageOperator(
        task_id="task", parameters=["{{ params.nothing }}", 1], **GOOD[SqlToMoEngageOperator]
    )
    context: Any = {**Task().context, "params": {"nothing": None}}
    operator.render_template_fields(context)

    assert operator.parameters == [None, 1]


def test_the_notifier_does_the_same() -> None:
    notifier = MoEngageBusinessEventNotifier(event_name="New movie", triggered_by="{{ params.nothing }}")
    context: Any = {"dag": DAG("a_dag"), "params": {"nothing": None}}
    notifier.render_template_fields(context)

    assert notifier.triggered_by is None


def test_a_sensor_whose_trigger_was_skipped_says_so_or_waits_for_the_newest_files(
    connected: MoEngage, caplog: pytest.LogCaptureFixture
) -> None:
    def wait(**options: Any) -> Any:
        sensor = FileImportRunSensor(task_id="task", since="{{ params.nothing }}", **options)
        context: Any = {**Task().context, "params": {"nothing": None}}
        sensor.render_template_fields(context)
        return sensor.execute(context)

    with pytest.raises(ValueError, match=r"^since: came out as None.* Give import_id as well"):
        wait()

    assert [file["file_name"] for file in wait(import_id="users")] == ["users_1.csv"]
