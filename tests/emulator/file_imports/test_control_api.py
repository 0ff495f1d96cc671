"""File imports over the control API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_moengage.emulator import FileImport, ImportFile

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock


def test_an_import_can_be_created_changed_and_deleted(client: Client, workspace: Workspace) -> None:
    file = {"file_name": "users_{run}.csv", "steps": [[0, "QUEUED"], [4.5, "FAILED"]], "status_msg": "bad"}
    shown = client.control("POST", "file_imports", {"import_id": "i1", "import_name": "Users", "files": [file]})

    assert shown.status_code == 200
    assert workspace.file_imports == (
        FileImport(
            "i1",
            "Users",
            files=(ImportFile("users_{run}.csv", steps=((0, "QUEUED"), (4.5, "FAILED")), status_msg="bad"),),
        ),
    )
    (found,) = client.control("GET", "file_imports").json()["file_imports"]
    assert (found["state"], found["schedule_type"], found["folder"]) == ("active", "PERIODIC", None)
    assert client.control("POST", "file_imports", found).json() == shown.json()

    client.control("POST", "file_imports", {"import_id": "i1", "import_name": "Renamed", "state": "expired"})
    assert [known.import_name for known in workspace.file_imports] == ["Renamed"]
    assert client.control("DELETE", "file_imports").json() == {"file_imports": []}


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"import_id": "i1"},
        {"import_id": "", "import_name": "Users"},
        {"import_id": "i1", "import_name": "Users", "nothing": 1},
        {"import_id": "i1", "import_name": "Users", "files": [{"file_name": "a.csv", "steps": []}]},
        {"import_id": "i1", "import_name": "Users", "import_type": "PEOPLE"},
        7,
    ],
)
def test_a_wrong_import_is_400(client: Client, workspace: Workspace, payload: Any) -> None:
    response = client.control("POST", "file_imports", payload)
    assert (response.status_code, response.json()["error"][:13]) == (400, "file import: ")
    assert workspace.file_imports == ()


def test_a_duplicate_name_is_400(client: Client, workspace: Workspace) -> None:
    workspace.add_file_import(FileImport("i1", "Users"))
    response = client.control("POST", "file_imports", {"import_id": "i2", "import_name": "Users"})
    assert (response.status_code, "import_name 'Users'" in response.json()["error"]) == (400, True)


def test_the_dashboard_can_run_an_import(client: Client, workspace: Workspace) -> None:
    workspace.add_file_import(FileImport("i1", "Users"))
    first = client.control("POST", "file_imports/run", {"import_id": "i1"}).json()
    other = {"import_id": "i1", "files": [{"file_name": "other.csv"}]}
    second = client.control("POST", "file_imports/run", other).json()

    assert (first["number"], first["import_id"], first["triggered"]) == (1, "i1", False)
    assert first["files"][0]["file_name"] == "registered_user_data_20231114_2213.csv"
    assert (second["number"], second["files"][0]["file_name"]) == (2, "other.csv")
    assert client.history().json()["total_count"] == 2


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"import_id": "i2"}, "import_id 'i2'"),
        ({"import_id": "i1", "files": [{"name": "a.csv"}]}, "files: "),
        ({"import_id": "i1", "files": {}}, "files: "),
        ({"import_id": "i1", "file": []}, "not file"),
        ({"import_id": 1}, "body: "),
        ({}, "body: "),
        (None, "body: "),
    ],
)
def test_an_invalid_run_request_is_400_and_starts_nothing(
    client: Client, workspace: Workspace, payload: Any, said: str
) -> None:
    workspace.add_file_import(FileImport("i1", "Users"))
    response = client.control("POST", "file_imports/run", payload)
    assert (response.status_code, said in response.json()["error"]) == (400, True)
    assert workspace.counts.file_runs == 0


def test_since_returns_only_later_triggers(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    for import_id in ("i1", "i2"):
        workspace.add_file_import(FileImport(import_id, import_id))
        client.trigger_import(import_id)
        clock.now += 5
    workspace.run_file_import("i1")

    triggers = client.control("GET", "file_triggers").json()["file_triggers"]
    assert triggers == [
        {"number": 1, "import_id": "i1", "received_at": 1_700_000_000.0, "project_code": None},
        {"number": 2, "import_id": "i2", "received_at": 1_700_000_005.0, "project_code": None},
    ]
    assert client.control("GET", "file_triggers?since=1").json()["file_triggers"] == triggers[1:]
    summary = client.control("GET", "summary").json()
    assert (summary["file_triggers"], summary["file_runs"]) == (2, 3)


@pytest.mark.parametrize(
    "payload",
    [
        {"file_cooldown_seconds": -1},
        {"file_history_quota": [50, 60]},
        {"file_imports_quota": [[50, 0]]},
        {"file_page_size": 0},
        {"file_order": "random"},
        {"file_no_match": "none"},
        {"file_partial_word": "PARTIAL"},
        {"file_imports_by_name": "regex"},
        {"keep_file_runs": -1},
    ],
)
def test_the_error_for_an_invalid_setting_names_it(client: Client, workspace: Workspace, payload: Any) -> None:
    before = workspace.settings
    response = client.control("POST", "settings", payload)
    assert (response.status_code, next(iter(payload)) in response.json()["error"]) == (400, True)
    assert workspace.settings == before


def test_the_home_page_lists_the_endpoints(client: Client) -> None:
    home = requests.get(client.url, timeout=5).text
    for path in (
        "/v1.0/data/fileimports/trigger/{import_id}",
        "/_emulator/file_imports/run",
        "file_triggers?since=N",
    ):
        assert path in home
