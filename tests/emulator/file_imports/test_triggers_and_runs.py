"""Triggers of file imports, their runs, and what becomes of a run's files."""

from __future__ import annotations

import os

import pytest

from airflow_provider_moengage.emulator import Credentials, FileImport, ImportFile

START = 1_700_000_000
COOLDOWN = {"status": "fail", "error_type": "ALREADY_EXISTS", "message": "Import has run in the last 5 min."}
NOT_FOUND = {
    "status": "fail",
    "error_type": "NOT_FOUND",
    "message": "This import is either deleted or expired.",
}


@pytest.fixture(autouse=True)
def users(workspace):
    workspace.add_file_import(FileImport("i1", "Users"))


def refusal(response):
    assert response.status_code == 400
    return response.json()


def statuses(door, import_id="i1"):
    return [file["file_status"] for file in door.history(import_id).json()["data"]]


def names(door, import_id="i1"):
    return [file["file_name"] for file in door.history(import_id).json()["data"]]


def test_a_trigger_begins_a_run_and_does_not_name_it(door, workspace):
    response = door.trigger_import()

    assert response.status_code == 200
    assert response.json() == {"status": "success", "message": "Triggered Import Successfully"}
    assert statuses(door) == ["QUEUED"]
    (trigger,) = workspace.file_triggers
    assert (trigger.number, trigger.import_id, trigger.received_at) == (1, "i1", START)
    assert (workspace.counts.file_triggers, workspace.counts.file_runs) == (1, 1)
    assert [record.accepted for record in workspace.requests] == [True, False]
    assert workspace.counts.accepted_requests == 1


def test_a_file_is_queued_processed_and_done_by_the_clock(door, clock):
    door.trigger_import()
    seen = []
    for later in (0, 1.9, 2, 9.9, 10, 3_600):
        clock.now = START + later
        seen += statuses(door)
    assert seen == ["QUEUED", "QUEUED", "PROCESSING", "PROCESSING", "SUCCESSFUL", "SUCCESSFUL"]


def test_row_counts_and_completed_at_come_with_a_terminal_status(door, workspace, clock):
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
    door.trigger_import()
    (running,) = door.history().json()["data"]
    clock.now += 9
    (done,) = door.history().json()["data"]

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
def test_rows_that_are_not_told_apart_were_added_or_failed_with_their_file(
    door, workspace, clock, options, added, failed
):
    workspace.add_file_import(FileImport("i1", "Users", files=(ImportFile("users.csv", **options),)))
    door.trigger_import()
    clock.now += 10

    (file,) = door.history().json()["data"]
    assert (file["total_rows"], file["added_rows"], file["failed_rows"]) == (100, added, failed)


def test_auxiliary_data_has_counts_of_its_own(door, workspace, clock):
    file = ImportFile("aux.csv", total_rows=10, failed_rows=3)
    workspace.add_file_import(FileImport("i1", "Users", files=(file,), import_type="AUX_DATA"))
    door.trigger_import()
    clock.now += 10

    (file,) = door.history().json()["data"]
    assert (file["type"], file["aux_data_added_count"], file["aux_data_failed_count"]) == ("AUX_DATA", 7, 3)


def test_a_late_file_is_not_in_the_history_before_it_comes(door, workspace, clock):
    late = ImportFile("late.csv", steps=((45, "QUEUED"), (50, "SUCCESSFUL")))
    workspace.add_file_import(FileImport("i1", "Users", files=(ImportFile("first.csv"), late)))
    door.trigger_import()
    clock.now += 44
    assert names(door) == ["first.csv"]
    clock.now += 1

    assert names(door) == ["late.csv", "first.csv"]
    assert door.history().json()["data"][0]["scheduled_at"] == "2023-11-14T22:14:05.000000"


def test_an_unknown_status_is_not_terminal(door, workspace, clock):
    file = ImportFile("users.csv", steps=((0, "SCANNING"), (5, "SUCCESSFUL")))
    workspace.add_file_import(FileImport("i1", "Users", files=(file,)))
    door.trigger_import()

    (scanned,) = door.history().json()["data"]
    assert (scanned["file_status"], scanned["completed_at"]) == ("SCANNING", None)
    clock.now += 5
    assert statuses(door) == ["SUCCESSFUL"]


def test_of_two_steps_at_one_time_the_second_counts(door, workspace):
    file = ImportFile("users.csv", steps=((0, "QUEUED"), (0, "SUCCESSFUL")))
    workspace.add_file_import(FileImport("i1", "Users", files=(file,)))
    door.trigger_import()
    assert statuses(door) == ["SUCCESSFUL"]


def test_each_run_names_its_files_anew(door, workspace, clock):
    files = (ImportFile("users_{run}.csv"), ImportFile("users_{date}.csv"), ImportFile("{odd}.csv"))
    workspace.add_file_import(FileImport("i1", "Users", files=files))
    workspace.configure(file_order="oldest")
    door.trigger_import()
    clock.now += 300
    door.trigger_import()

    assert names(door) == [
        "users_1.csv",
        "users_20231114_2213.csv",
        "{odd}.csv",
        "users_2.csv",
        "users_20231114_2218.csv",
        "{odd}.csv",
    ]
    ids = [file["id"] for file in door.history().json()["data"]]
    assert len(set(ids)) == 6


def test_a_trigger_is_refused_for_five_minutes(door, workspace, clock):
    door.trigger_import()
    clock.now += 299.9
    assert refusal(door.trigger_import()) == COOLDOWN
    assert (workspace.counts.file_runs, workspace.counts.refused) == (1, 1)
    assert workspace.requests[-1].accepted is False
    clock.now = START + 300
    assert door.trigger_import().status_code == 200


def test_a_refused_trigger_does_not_put_the_next_one_off(door, clock):
    door.trigger_import()
    clock.now += 200
    door.trigger_import()
    clock.now += 100
    assert door.trigger_import().status_code == 200


def test_the_cooldown_counts_from_a_run_of_the_dashboard_too(door, workspace, clock):
    workspace.run_file_import("i1")
    clock.now += 299
    assert refusal(door.trigger_import()) == COOLDOWN
    clock.now += 1
    assert door.trigger_import().status_code == 200


def test_each_import_cools_down_on_its_own(door, workspace):
    workspace.add_file_import(FileImport("i2", "Events", import_type="EVENTS"))
    assert [door.trigger_import(name).status_code for name in ("i1", "i2", "i1")] == [200, 200, 400]


def test_the_cooldown_can_be_set(door, workspace, clock):
    workspace.configure(file_cooldown_seconds=20)
    door.trigger_import()
    clock.now += 19
    assert refusal(door.trigger_import()) == COOLDOWN
    clock.now += 1
    assert door.trigger_import().status_code == 200


def test_an_import_that_still_runs_is_not_triggered(door, workspace, clock):
    slow = ImportFile("slow.csv", steps=((0, "QUEUED"), (400, "PROCESSING"), (900, "FAILED")))
    workspace.add_file_import(FileImport("i1", "Users", files=(slow, ImportFile("quick.csv"))))
    door.trigger_import()
    for moment in (399, 400, 899):
        clock.now = START + moment
        assert refusal(door.trigger_import()) == COOLDOWN
    clock.now = START + 900
    assert door.trigger_import().status_code == 200


@pytest.mark.parametrize(
    "options", [{"state": "deleted"}, {"state": "expired"}, {"schedule_type": "ONETIME"}, {"import_id": "i2"}]
)
def test_what_is_not_active_or_not_periodic_or_unknown_is_not_triggered(door, workspace, options):
    workspace.clear_file_imports()
    workspace.add_file_import(FileImport(**{"import_id": "i1", "import_name": "Users", **options}))

    assert refusal(door.trigger_import()) == NOT_FOUND
    assert (workspace.file_triggers, workspace.counts.file_runs) == ([], 0)


def test_an_id_with_odd_characters_is_found(door, workspace):
    workspace.add_file_import(FileImport("an id?#%", "Odd"))
    assert door.trigger_import("an%20id%3F%23%25").status_code == 200


def test_the_dashboard_runs_an_import_as_it_is_or_with_other_files(door, workspace, clock):
    first = workspace.run_file_import("i1")
    second = workspace.run_file_import("i1", [ImportFile("other_{run}.csv", steps=((0, "SUCCESSFUL"),))])

    assert (first.number, first.began_at, first.triggered) == (1, START, False)
    assert [file.file_name for file in second.files] == ["other_2.csv"]
    assert names(door) == ["other_2.csv", "registered_user_data_20231114_2213.csv"]
    assert (workspace.counts.file_runs, workspace.counts.file_triggers) == (2, 0)
    clock.now += 300
    door.trigger_import()
    assert names(door)[0] == "registered_user_data_20231114_2218.csv"


@pytest.mark.parametrize("options", [{"state": "deleted"}, {"state": "expired"}, {"import_id": "i2"}])
def test_the_dashboard_runs_no_import_that_is_not_active(workspace, options):
    workspace.clear_file_imports()
    workspace.add_file_import(FileImport(**{"import_id": "i1", "import_name": "Users", **options}))
    with pytest.raises(ValueError, match="'i1'"):
        workspace.run_file_import("i1")


def test_a_changed_import_keeps_its_runs(door, workspace, clock):
    door.trigger_import()
    workspace.add_file_import(FileImport("i1", "Renamed", files=(ImportFile("new_{run}.csv"),)))
    assert len(names(door)) == 1
    clock.now += 300
    door.trigger_import()

    assert names(door)[0] == "new_2.csv"
    assert len(names(door)) == 2
    assert [known.import_name for known in workspace.file_imports] == ["Renamed"]


def test_a_file_name_of_two_imports_is_no_clash_but_an_import_name_is(workspace):
    workspace.add_file_import(FileImport("i2", "Others"))
    with pytest.raises(ValueError, match="import_name 'Users': import 'i1' has it"):
        workspace.add_file_import(FileImport("i3", "Users"))
    workspace.add_file_import(FileImport("i1", "Users", state="deleted"))
    workspace.add_file_import(FileImport("i3", "Users"))


def test_imports_forgotten_lose_their_runs(door, workspace):
    door.trigger_import()
    workspace.clear_file_imports()
    assert workspace.file_imports == ()
    workspace.add_file_import(FileImport("i1", "Users"))
    assert names(door) == []


def test_reset_forgets_runs_and_triggers_and_keeps_imports(door, workspace):
    door.trigger_import()
    before = workspace.file_imports
    workspace.reset()

    assert workspace.file_imports == before
    assert (workspace.file_triggers, workspace.counts.file_triggers, workspace.counts.file_runs) == ([], 0, 0)
    assert names(door) == []
    assert door.trigger_import().status_code == 200
    assert workspace.file_triggers[0].number == 1


def test_the_last_runs_and_triggers_are_kept_and_all_are_counted(door, workspace, clock):
    workspace.add_file_import(FileImport("i1", "Users", files=(ImportFile("{run}.csv"),)))
    workspace.configure(keep_file_runs=2)
    for _ in range(3):
        door.trigger_import()
        clock.now += 300

    assert names(door) == ["3.csv", "2.csv"]
    assert [trigger.number for trigger in workspace.file_triggers] == [2, 3]
    assert workspace.counts.file_triggers == 3
    workspace.configure(keep_file_runs=0)
    assert (names(door), workspace.file_triggers) == ([], [])
    assert door.details().json()["data"][0]["last_run_status"] == "SUCCESSFUL"


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
def test_a_wrong_key_or_header_is_401_that_says_which(door, workspace, path, sent, title):
    response = door._file_imports(path, b"{}", **sent)

    assert (response.status_code, response.json()["title"]) == (401, title)
    assert response.json()["description"]
    assert (workspace.counts.file_runs, workspace.counts.refused) == (0, 1)


def test_every_workspace_has_imports_of_its_own(emulator_of_the_session, door, workspace):
    workspaces = emulator_of_the_session.workspaces
    other = workspaces.get("OTHER") or emulator_of_the_session.add_workspace(
        Credentials("OTHER", "other-key", "other-campaign-key")
    )
    other.add_file_import(FileImport("theirs", "Users"))

    sent = {"auth": ("OTHER", "other-key"), "headers": {"MOE-APPKEY": "OTHER"}}
    assert refusal(door.trigger_import("i1", **sent)) == NOT_FOUND
    assert refusal(door.trigger_import("theirs")) == NOT_FOUND
    other.reset()
    assert door.trigger_import("theirs", **sent).status_code == 200


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
def test_a_file_that_makes_no_sense_is_an_error_that_names_the_argument(options, named):
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
def test_an_import_that_makes_no_sense_is_an_error_that_names_the_argument(options, named):
    with pytest.raises(ValueError, match=named):
        FileImport(**{"import_id": "i1", "import_name": "Users", **options})
