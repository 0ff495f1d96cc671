"""The project of a portfolio: which requests name it, how, and that one project's state is never another's."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any, Literal

import pytest

from airflow_provider_moengage.api.workspace import LONGEST_PROJECT_CODE, Workspace, read_project_code
from airflow_provider_moengage.bulk.mapping import Column
from airflow_provider_moengage.emulator import BusinessEvent, FileImport, ImportFile
from airflow_provider_moengage.exceptions import MoEngageRequestError
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from airflow_provider_moengage.import_files.project_column import ProjectColumn
from airflow_provider_moengage.notifications.business_event import MoEngageBusinessEventNotifier
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.operators.business_event import BusinessEventOperator
from airflow_provider_moengage.operators.file_import import TriggerFileImportOperator
from airflow_provider_moengage.sensors.file_import import FileImportRunSensor
from airflow_provider_moengage.transfers.sql_to_moengage_cohort import SqlToMoEngageCohortOperator
from airflow_provider_moengage.transfers.sql_to_moengage_file import SqlToMoEngageFileOperator
from airflow_provider_moengage.triggers.file_import import FileImportRunTrigger
from tests.delivering import MoEngage, connection_to, customer
from tests.import_files.reader import read_folder
from tests.openapi.traffic import contract_is_kept, recorded_problems  # noqa: F401 (fixtures)
from tests.task import Task

BRAND = "Brand A&B/1"
"""A code that a URL has to quote."""

SECRET = "not-a-code\n"


@pytest.fixture
def world(connected: MoEngage) -> MoEngage:
    workspace = connected.emulator.workspace
    workspace.add_business_event(BusinessEvent("Sale", {"city": "string"}, campaigns=("c",)))
    workspace.clear_file_imports()
    workspace.add_file_import(
        FileImport("users", "Users", (ImportFile("users_{run}.csv", steps=((0, "SUCCESSFUL"),)),))
    )
    workspace.configure(file_cooldown_seconds=0)
    return connected


def projects(world: MoEngage) -> list[str | None]:
    """The projects of the requests, in order, each once."""
    return list(dict.fromkeys(request.project_code for request in world.emulator.workspace.requests))


def run(operator: Any, task: Task | None = None, **params: Any) -> Any:
    context: Any = (task or Task(retries=0)).context
    context["params"] = params
    operator.render_template_fields(context)
    return operator.execute(context)


# what a code is


@pytest.mark.parametrize(
    ("given", "code"), [(None, None), ("None", None), ("brand-a", "brand-a"), (" b ", "b"), (7, "7")]
)
def test_a_code_is_text_or_none(given: Any, code: str | None) -> None:
    assert read_project_code(given) == code


@pytest.mark.parametrize(
    "given", ["", "  ", SECRET * 2, "a\r\nX-Other: 1", "brand-é", "x" * (LONGEST_PROJECT_CODE + 1), True, 1.5, []]
)
def test_anything_else_is_an_error_of_the_argument_that_does_not_show_it(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^project_code: expected ") as caught:
        read_project_code(given)

    assert SECRET.strip() not in str(caught.value)


OPERATORS: dict[type, dict[str, Any]] = {
    BulkImportOperator: {"task_id": "t", "elements": []},
    BusinessEventOperator: {"task_id": "t", "event_name": "Sale"},
    TriggerFileImportOperator: {"task_id": "t", "import_id": "users"},
    FileImportRunSensor: {"task_id": "t", "import_id": "users"},
    SqlToMoEngageFileOperator: {
        "task_id": "t",
        "sql": "SELECT 1",
        "conn_id": "w",
        "folder": "/tmp/f",
        "id_column": "u",
    },
    SqlToMoEngageCohortOperator: {"task_id": "t", "sql": "SELECT 1", "conn_id": "w", "cohort_id": "c"},
    MoEngageBusinessEventNotifier: {"event_name": "Sale"},
}


@pytest.mark.parametrize("kind", OPERATORS)
def test_a_wrong_code_fails_when_the_dag_is_parsed(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"^project_code: expected "):
        kind(**OPERATORS[kind], project_code=SECRET * 2)


def test_a_wrong_code_of_the_connection_names_the_field(
    connected: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connection_to(connected, extra={"project_code": SECRET * 2})
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection)

    with pytest.raises(MoEngageRequestError, match="field project_code: expected a project's code"):
        MoEngageHook().bulk_import([customer("ann")])


# which requests name it


def test_2nd_a_bulk_import_names_workspace_and_project_in_the_query(world: MoEngage) -> None:
    report = MoEngageHook(project_code=BRAND).bulk_import([customer("ann"), customer("bob")])

    assert report.accepted == 2
    assert [(request.path, request.project_code) for request in world.emulator.workspace.requests] == [
        ("/v1/transition", BRAND)
    ]
    assert world.emulator.workspace.counts.projects == {BRAND: 2}


def test_without_a_project_the_workspace_stays_in_the_path(world: MoEngage) -> None:
    MoEngageHook().bulk_import([customer("ann")])

    assert [(request.path, request.project_code) for request in world.emulator.workspace.requests] == [
        ("/v1/transition/EMULATOR", None)
    ]
    assert world.emulator.workspace.counts.projects == {}


@pytest.mark.parametrize("api_version", ["v1", "v5"])
def test_2nd_business_events_name_the_project_in_a_header(
    world: MoEngage, api_version: Literal["v1", "v5"]
) -> None:
    hook = MoEngageHook(project_code=BRAND)
    hook.check_business_event("Sale", {"city": "Graz"})
    hook.trigger_business_event("Sale", {"city": "Graz"}, triggered_by="a@b.com", api_version=api_version)

    assert projects(world) == [BRAND]
    assert [firing.project_code for firing in world.emulator.workspace.firings] == [BRAND]


def test_2nd_file_imports_name_the_project_in_a_header(world: MoEngage) -> None:
    hook = MoEngageHook(project_code=BRAND)
    hook.trigger_file_import("users")
    list(hook.iter_file_runs("users"))
    list(hook.iter_imports())

    assert projects(world) == [BRAND]
    assert [trigger.project_code for trigger in world.emulator.workspace.file_triggers] == [BRAND]


def test_the_argument_wins_over_the_connection(world: MoEngage, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connection_to(world, extra={"project_code": "brand-b"})
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection)
    MoEngageHook().bulk_import([customer("ann")])
    MoEngageHook(project_code=BRAND).bulk_import([customer("ann")])

    assert projects(world) == ["brand-b", BRAND]


TASKS: dict[type, dict[str, Any]] = {
    BulkImportOperator: {"elements": [customer("ann")]},
    BusinessEventOperator: {"event_name": "Sale", "check_event": True},
    TriggerFileImportOperator: {"import_id": "users", "wait_for_completion": True, "deferrable": False},
    FileImportRunSensor: {"import_id": "users", "poke_interval": 0.01, "timeout": 5},
}


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize(
    ("param", "named"), [(BRAND, BRAND), (None, "brand-b")], ids=["a code", "None: the connection's"]
)
def test_operators_take_it_from_a_template(
    world: MoEngage, monkeypatch: pytest.MonkeyPatch, kind: Any, param: Any, named: str
) -> None:
    connection = connection_to(world, extra={"project_code": "brand-b"})
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection)
    world.emulator.workspace.run_file_import("users")
    operator = kind(task_id="task", project_code="{{ params.project }}", **TASKS[kind])

    run(operator, project=param)

    assert projects(world) == [named]


def test_a_notifier_takes_it_from_a_template(world: MoEngage) -> None:
    notifier = MoEngageBusinessEventNotifier(event_name="Sale", project_code="{{ params.project }}")
    context: Any = {**Task().context, "dag": None, "params": {"project": BRAND}}
    notifier.render_template_fields(context)
    notifier.notify(context)

    assert projects(world) == [BRAND]


def test_a_deferred_wait_names_it_too(world: MoEngage) -> None:
    world.emulator.workspace.run_file_import("users")
    options: dict[str, Any] = {"moengage_conn_id": "moengage_default", "what": ("import_id", "users")}
    stored = FileImportRunTrigger(**options, selection={}, project_code=BRAND).serialize()[1]

    async def fired() -> list[Any]:
        return [event.payload async for event in FileImportRunTrigger(**stored).run()]

    assert [event["status"] for event in asyncio.run(fired())] == ["finished"]
    assert projects(world) == [BRAND]


def test_a_trigger_without_a_project_is_stored_as_by_earlier_versions() -> None:
    options: dict[str, Any] = {"moengage_conn_id": "moengage_default", "what": ("import_id", "users")}

    assert "project_code" not in FileImportRunTrigger(**options, selection={}).serialize()[1]


# whose state it is


def test_a_retry_of_another_project_starts_from_the_beginning(world: MoEngage, tmp_path: Path) -> None:
    elements = [customer(f"user {number}") for number in range(10)]
    task = Task(has_store=False)

    def send(project: str | None) -> dict[str, Any]:
        operator = BulkImportOperator(
            task_id="send", elements=elements, checkpoint_path=str(tmp_path), project_code=project
        )
        task.retry()
        sent: dict[str, Any] = run(operator, task)
        return sent

    send("brand-a")
    send("brand-b")
    send(None)

    assert world.emulator.workspace.counts.projects == {"brand-a": 10, "brand-b": 10}
    assert len(world.arrived) == 30
    send(None)
    assert len(world.arrived) == 30, "the same project: an earlier try has delivered everything"


# files


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "warehouse.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE users (user_id TEXT, tier TEXT, score REAL)")
        database.executemany("INSERT INTO users VALUES (?, 'gold', 1.5)", [(f"user {n}",) for n in range(6)])
    database.close()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))


def export(folder: Path, sql: str = "SELECT * FROM users", **options: Any) -> list[dict[str, Any]]:
    given = {"task_id": "export", "conn_id": "warehouse", "id_column": "user_id", **options}
    operator = SqlToMoEngageFileOperator(sql=sql, folder=folder, **given)
    run(operator)
    return list(read_folder(folder))


@pytest.mark.parametrize("file_format", ["csv", "json"])
@pytest.mark.parametrize(
    "attributes",
    [None, ["tier"], {"level": "tier"}, {"level": Column("tier", type="text")}],
    ids=["all", "list", "mapping", "typed"],
)
def test_2nd_each_row_of_a_file_has_the_project(
    warehouse: None, tmp_path: Path, file_format: str, attributes: Any
) -> None:
    rows = export(
        tmp_path / "users", project_code="brand-a", file_format=file_format, attributes=attributes,
        manifest_path=str(tmp_path / "manifest.json"),
    )  # fmt: skip

    assert [row["moe_project_name"] for row in rows] == ["brand-a"] * 6
    assert [row["user_id"] for row in rows] == [f"user {n}" for n in range(6)]
    assert {row.get("tier", row.get("level")) for row in rows} == {"gold"}
    mapping = json.loads((tmp_path / "manifest.json").read_text())["mapping"]
    [column] = [column for column in mapping if column["column"] == "moe_project_name"]
    assert column["moe_attr"] == "moe_project_name"


def test_a_file_has_the_project_of_the_connection(
    warehouse: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "moengage", "extra": {"project_code": "brand-b"}}
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", json.dumps(connection))

    assert {row["moe_project_name"] for row in export(tmp_path / "users")} == {"brand-b"}


def test_a_file_has_no_such_column_without_a_project(warehouse: None, tmp_path: Path) -> None:
    assert all("moe_project_name" not in row for row in export(tmp_path / "users", moengage_conn_id="absent"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"project_code": "a|b"}, r"project_code: contains a vertical bar"),
        ({"sql": "SELECT *, 'b' AS MOE_PROJECT_NAME FROM users"}, "project_code: the query has a column"),
        ({"attributes": {"moe_project_name": "tier"}}, "project_code: attributes has moe_project_name"),
    ],
)
def test_a_file_has_one_column_for_it(
    warehouse: None, tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        export(tmp_path / "users", **{"project_code": "brand-a", **options})
    assert not (tmp_path / "users").exists() or not list((tmp_path / "users").iterdir())


def test_without_a_project_nothing_is_added_to_a_file() -> None:
    column = ProjectColumn(None, ["user_id", "tier"])
    row = ("ann", 1)

    assert column.row(row) is row
    assert column.attributes(None) is None


def test_workspaces_of_two_projects_differ() -> None:
    workspace = Workspace("w", "k", project_code="a")

    assert workspace.in_project("b") != workspace
    assert workspace.in_project(None) is workspace
    assert Workspace("w", "k").project_headers == {}
