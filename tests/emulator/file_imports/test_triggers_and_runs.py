"""Triggers of file imports, their runs, and the status of a run's files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_moengage.emulator import Credentials, FileImport, ImportFile

if TYPE_CHECKING:
    import requests

    from airflow_provider_moengage.emulator import Emulator, Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

START = 1_700_000_000
COOLDOWN = {"status": "fail", "error_type": "ALREADY_EXISTS", "message": "Import has run in the last 5 min."}
NOT_FOUND = {
    "status": "fail",
    "error_type": "NOT_FOUND",
    "message": "This import is either deleted or expired.",
}


@pytest.fixture(autouse=True)
def users(workspace: Workspace) -> None:
    workspace.add_file_import(FileImport("i1", "Users"))


def refusal(response: requests.Response) -> Any:
    assert response.status_code == 400
    return response.json()


def statuses(client: Client, import_id: str = "i1") -> list[str]:
    return [file["file_status"] for file in client.history(import_id).json()["data"]]


def names(client: Client, import_id: str = "i1") -> list[str]:
    return [file["file_name"] for file in client.history(import_id).json()["data"]]


def test_a_trigger_starts_a_run_without_returning_its_id(client: Client, workspace: Workspace) -> None:
    response = client.trigger_import()

    assert response.status_code == 200
    assert response.json() == {"status": "success", "message": "Triggered Import Successfully"}
    assert statuses(client) == ["QUEUED"]
    (trigger,) = workspace.file_triggers
    assert (trigger.number, trigger.import_id, trigger.received_at) == (1, "i1", START)
    assert (workspace.counts.file_triggers, workspace.counts.file_runs) == (1, 1)
    assert [record.accepted for record in workspace.requests] == [True, False]
    assert workspace.counts.accepted_requests == 1


def test_a_file_is_queued_then_processed_then_done(client: Client, clock: FakeClock) -> None:
    client.trigger_import()
    seen = []
    for later in (0, 1.9, 2, 9.9, 10, 3_600):
        clock.now = START + later
        seen += statuses(client)
    assert seen == ["QUEUED", "QUEUED", "PROCESSING", "PROCESSING", "SUCCESSFUL", "SUCCESSFUL"]


def test_row_counts_and_completed_at_are_set_with_a_terminal_status(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    file = ImportFile(
        "users.csv",
        steps=((0, "PROCESSING"), (8.5, "PARTIAL_SUCCESS")),
        status_msg="4 rows failed",
        total_rows=20,
        updated_rows=3,
        failed_rows=4,
        skipped_rows=1,
        file_size=777,
    )
    workspace.add_file_import(FileImport("i1", "Users", files=(file,)))
    client.trigger_import()
    (running,) = client.history().json()["data"]
    clock.now += 9
    (done,) = client.history().json()["data"]

    assert len(running["id"]) == 24
    assert running == {
        "id": running["id"],
        "file_name": "users.csv",
        "scheduled_at": "2023-11-14T22:13:20.000000",
        "completed_at": None,
        "type": "USERS",
        "file_size": "777",
        "file_status": "PROCESSING",
        "status_msg": "",
        "total_rows": 0,
        "skipped_rows": 0,
        "updated_rows": 0,
        "failed_rows": 0,
        "aux_data_added_count": 0,
        "aux_data_failed_count": 0,
        "added_rows": 0,
    }
    assert done == {
        **running,
        "completed_at": "2023-11-14T22:13:28.500000",
        "file_status": "PARTIAL_SUCCESS",
        "status_msg": "4 rows failed",
        "total_rows": 20,
        "skipped_rows": 1,
        "updated_rows": 3,
        "failed_rows": 4,
        "added_rows": 12,
    }


@pytest.mark.parametrize(
    ("options", "added", "failed"),
    [
        ({}, 100, 0),
        ({"steps": ((0, "FAILED"),)}, 0, 100),
        ({"steps": ((0, "FAILED"),), "updated_rows": 30, "failed_rows": 10}, 0, 70),
        ({"added_rows": 5, "failed_rows": 95}, 5, 95),
    ],
)
def test_unspecified_rows_count_as_added_or_as_failed_if_the_file_failed(
    client: Client, workspace: Workspace, clock: FakeClock, options: dict[str, Any], added: int, failed: int
) -> None:
    workspace.add_file_import(FileImport("i1", "Users", files=(ImportFile("users.csv", **options),)))
    client.trigger_import()
    clock.now += 10

    (file,) = client.history().json()["data"]
    assert (file["total_rows"], file["added_rows"], file["failed_rows"]) == (100, added, failed)


def test_auxiliary_data_has_its_own_row_counts(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    file = ImportFile("aux.csv", total_rows=10, failed_rows=3)
    workspace.add_file_import(FileImport("i1", "Users", files=(file,), import_type="AUX_DATA"))
    client.trigger_import()
    clock.now += 10

    (file,) = client.history().json()["data"]
    assert (file["type"], file["aux_data_added_count"], file["aux_data_failed_count"]) == ("AUX_DATA", 7, 3)


def test_a_late_file_is_not_in_the_history_before_it_arrives(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    late = ImportFile("late.csv", steps=((45, "QUEUED"), (50, "SUCCESSFUL")))
    workspace.add_file_import(FileImport("i1", "Users", files=(ImportFile("first.csv"), late)))
    client.trigger_import()
    clock.now += 44
    assert names(client) == ["first.csv"]
    clock.now += 1

    assert names(client) == ["late.csv", "first.csv"]
    assert client.history().json()["data"][0]["scheduled_at"] == "2023-11-14T22:14:05.000000"


def test_an_unknown_status_is_not_terminal(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    file = ImportFile("users.csv", steps=((0, "SCANNING"), (5, "SUCCESSFUL")))
    workspace.add_file_import(FileImport("i1", "Users", files=(file,)))
    client.trigger_import()

    (scanned,) = client.history().json()["data"]
    assert (scanned["file_status"], scanned["completed_at"]) == ("SCANNING", None)
    clock.now += 5
    assert statuses(client) == ["SUCCESSFUL"]


def test_the_last_of_several_steps_at_the_same_time_applies(client: Client, workspace: Workspace) -> None:
    file = ImportFile("users.csv", steps=((0, "QUEUED"), (0, "SUCCESSFUL")))
    workspace.add_file_import(FileImport("i1", "Users", files=(file,)))
    client.trigger_import()
    assert statuses(client) == ["SUCCESSFUL"]


def test_placeholders_give_each_run_its_own_file_names(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    files = (ImportFile("users_{run}.csv"), ImportFile("users_{date}.csv"), ImportFile("{odd}.csv"))
    workspace.add_file_import(FileImport("i1", "Users", files=files))
    workspace.configure(file_order="oldest")
    client.trigger_import()
    clock.now += 300
    client.trigger_import()

    assert names(client) == [
        "users_1.csv",
        "users_20231114_2213.csv",
        "{odd}.csv",
        "users_2.csv",
        "users_20231114_2218.csv",
        "{odd}.csv",
    ]
    ids = [file["id"] for file in client.history().json()["data"]]
    assert len(set(ids)) == 6


def test_a_trigger_is_refused_for_five_minutes(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    client.trigger_import()
    clock.now += 299.9
    assert refusal(client.trigger_import()) == COOLDOWN
    assert (workspace.counts.file_runs, workspace.counts.refused) == (1, 1)
    assert workspace.requests[-1].accepted is False
    clock.now = START + 300
    assert client.trigger_import().status_code == 200


def test_a_refused_trigger_does_not_extend_the_cooldown(client: Client, clock: FakeClock) -> None:
    client.trigger_import()
    clock.now += 200
    client.trigger_import()
    clock.now += 100
    assert client.trigger_import().status_code == 200


def test_a_dashboard_run_starts_the_cooldown_too(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    workspace.run_file_import("i1")
    clock.now += 299
    assert refusal(client.trigger_import()) == COOLDOWN
    clock.now += 1
    assert client.trigger_import().status_code == 200


def test_each_import_has_its_own_cooldown(client: Client, workspace: Workspace) -> None:
    workspace.add_file_import(FileImport("i2", "Events", import_type="EVENTS"))
    assert [client.trigger_import(name).status_code for name in ("i1", "i2", "i1")] == [200, 200, 400]


def test_the_cooldown_can_be_set(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    workspace.configure(file_cooldown_seconds=20)
    client.trigger_import()
    clock.now += 19
    assert refusal(client.trigger_import()) == COOLDOWN
    clock.now += 1
    assert client.trigger_import().status_code == 200


def test_a_trigger_is_refused_while_a_run_is_in_progress(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    slow = ImportFile("slow.csv", steps=((0, "QUEUED"), (400, "PROCESSING"), (900, "FAILED")))
    workspace.add_file_import(FileImport("i1", "Users", files=(slow, ImportFile("quick.csv"))))
    client.trigger_import()
    for moment in (399, 400, 899):
        clock.now = START + moment
        assert refusal(client.trigger_import()) == COOLDOWN
    clock.now = START + 900
    assert client.trigger_import().status_code == 200


@pytest.mark.parametrize(
    "options", [{"state": "deleted"}, {"state": "expired"}, {"schedule_type": "ONETIME"}, {"import_id": "i2"}]
)
def test_inactive_one_time_and_unknown_imports_cannot_be_triggered(
    client: Client, workspace: Workspace, options: dict[str, Any]
) -> None:
    workspace.clear_file_imports()
    workspace.add_file_import(FileImport(**{"import_id": "i1", "import_name": "Users", **options}))

    assert refusal(client.trigger_import()) == NOT_FOUND
    assert (workspace.file_triggers, workspace.counts.file_runs) == ([], 0)


def test_an_id_with_special_characters_is_found(client: Client, workspace: Workspace) -> None:
    workspace.add_file_import(FileImport("an id?#%", "Odd"))
    assert client.trigger_import("an%20id%3F%23%25").status_code == 200


def test_a_dashboard_run_can_use_other_files(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    first = workspace.run_file_import("i1")
    second = workspace.run_file_import("i1", [ImportFile("other_{run}.csv", steps=((0, "SUCCESSFUL"),))])

    assert (first.number, first.began_at, first.triggered) == (1, START, False)
    assert [file.file_name for file in second.files] == ["other_2.csv"]
    assert names(client) == ["other_2.csv", "registered_user_data_20231114_2213.csv"]
    assert (workspace.counts.file_runs, workspace.counts.file_triggers) == (2, 0)
    clock.now += 300
    client.trigger_import()
    assert names(client)[0] == "registered_user_data_20231114_2218.csv"


@pytest.mark.parametrize("options", [{"state": "deleted"}, {"state": "expired"}, {"import_id": "i2"}])
def test_the_dashboard_cannot_run_an_inactive_import(workspace: Workspace, options: dict[str, Any]) -> None:
    workspace.clear_file_imports()
    workspace.add_file_import(FileImport(**{"import_id": "i1", "import_name": "Users", **options}))
    with pytest.raises(ValueError, match="'i1'"):
        workspace.run_file_import("i1")


def test_a_changed_import_keeps_its_runs(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    client.trigger_import()
    workspace.add_file_import(FileImport("i1", "Renamed", files=(ImportFile("new_{run}.csv"),)))
    assert len(names(client)) == 1
    clock.now += 300
    client.trigger_import()

    assert names(client)[0] == "new_2.csv"
    assert len(names(client)) == 2
    assert [known.import_name for known in workspace.file_imports] == ["Renamed"]


def test_import_names_are_unique_but_file_names_need_not_be(workspace: Workspace) -> None:
    workspace.add_file_import(FileImport("i2", "Others"))
    with pytest.raises(ValueError, match="import_name 'Users': import 'i1' has it"):
        workspace.add_file_import(FileImport("i3", "Users"))
    workspace.add_file_import(FileImport("i1", "Users", state="deleted"))
    workspace.add_file_import(FileImport("i3", "Users"))


def test_deleting_imports_deletes_their_runs(client: Client, workspace: Workspace) -> None:
    client.trigger_import()
    workspace.clear_file_imports()
    assert workspace.file_imports == ()
    workspace.add_file_import(FileImport("i1", "Users"))
    assert names(client) == []


def test_reset_deletes_runs_and_triggers_but_keeps_imports(client: Client, workspace: Workspace) -> None:
    client.trigger_import()
    before = workspace.file_imports
    workspace.reset()

    assert workspace.file_imports == before
    assert (workspace.file_triggers, workspace.counts.file_triggers, workspace.counts.file_runs) == ([], 0, 0)
    assert names(client) == []
    assert client.trigger_import().status_code == 200
    assert workspace.file_triggers[0].number == 1


def test_only_the_last_runs_and_triggers_are_kept_but_all_are_counted(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.add_file_import(FileImport("i1", "Users", files=(ImportFile("{run}.csv"),)))
    workspace.configure(keep_file_runs=2)
    for _ in range(3):
        client.trigger_import()
        clock.now += 300

    assert names(client) == ["3.csv", "2.csv"]
    assert [trigger.number for trigger in workspace.file_triggers] == [2, 3]
    assert workspace.counts.file_triggers == 3
    workspace.configure(keep_file_runs=0)
    assert (names(client), workspace.file_triggers) == ([], [])
    assert client.details().json()["data"][0]["last_run_status"] == "SUCCESSFUL"


@pytest.mark.parametrize(
    ("sent", "title"),
    [
        ({"headers": {"MOE-APPKEY": None}}, "HeaderMissing"),
        ({"headers": {"MOE-APPKEY": "OTHER"}}, "HeaderMismatch"),
        ({"auth": ("EMULATOR", "wrong")}, "AuthenticationInvalid"),
        ({"auth": ("EMULATOR", "emulator-campaign-key")}, "AuthenticationInvalid"),
        ({"auth": ("OTHER", "emulator-data-key"), "headers": {"MOE-APPKEY": "OTHER"}}, "AuthenticationInvalid"),
        ({"auth": lambda request: request}, "AuthenticationInvalid"),
    ],
)
@pytest.mark.parametrize("path", ["trigger/i1", "import/run/history", "import/status"])
def test_the_401_says_whether_the_key_or_the_header_is_wrong(
    client: Client, workspace: Workspace, path: str, sent: dict[str, Any], title: str
) -> None:
    response = client.file_imports(path, b"{}", **sent)

    assert (response.status_code, response.json()["title"]) == (401, title)
    assert response.json()["description"]
    assert (workspace.counts.file_runs, workspace.counts.refused) == (0, 1)


def test_each_workspace_has_its_own_imports(
    shared_emulator: Emulator, client: Client, workspace: Workspace
) -> None:
    workspaces = shared_emulator.workspaces
    other = workspaces.get("OTHER") or shared_emulator.add_workspace(
        Credentials("OTHER", "other-key", "other-campaign-key")
    )
    other.add_file_import(FileImport("theirs", "Users"))

    sent = {"auth": ("OTHER", "other-key"), "headers": {"MOE-APPKEY": "OTHER"}}
    assert refusal(client.trigger_import("i1", **sent)) == NOT_FOUND
    assert refusal(client.trigger_import("theirs")) == NOT_FOUND
    other.reset()
    assert client.trigger_import("theirs", **sent).status_code == 200


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"file_name": ""}, "file_name"),
        ({"steps": ()}, "steps"),
        ({"steps": ((0, "QUEUED", 1),)}, "steps"),
        ({"steps": (("0", "QUEUED"),)}, "steps"),
        ({"steps": "QUEUED"}, "steps"),
        ({"steps": ((-1, "QUEUED"),)}, "steps"),
        ({"steps": ((5, "QUEUED"), (4, "SUCCESSFUL"))}, "in ascending order"),
        ({"total_rows": -1}, "total_rows"),
        ({"added_rows": -1}, "added_rows"),
        ({"file_size": -1}, "file_size"),
        ({"total_rows": 10, "failed_rows": 8, "skipped_rows": 3}, "total_rows 10: .* already 11"),
    ],
)
def test_the_error_for_an_invalid_file_names_the_argument(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ImportFile(**{"file_name": "users.csv", **options})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"import_id": ""}, "import_id"),
        ({"import_name": ""}, "import_name"),
        ({"import_type": "PEOPLE"}, "import_type"),
        ({"schedule_type": "HOURLY"}, "schedule_type"),
        ({"import_source": "FTP"}, "import_source"),
        ({"state": "paused"}, "state"),
        ({"files": ("users.csv",)}, "files"),
        ({"files": ImportFile("users.csv")}, "files"),
        ({"steps_seconds": (0, 2)}, "steps_seconds"),
        ({"steps_seconds": (0, 5, 2)}, "steps_seconds"),
        ({"folder": "/data/my folder"}, "folder"),
        ({"folder": os.fsdecode(b"/data/J\xf6rg")}, "folder .*: expected a path in UTF-8"),
        ({"id_column": ""}, "id_column"),
        ({"time_column": ""}, "time_column"),
    ],
)
def test_the_error_for_an_invalid_import_names_the_argument(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        FileImport(**{"import_id": "i1", "import_name": "Users", **options})
