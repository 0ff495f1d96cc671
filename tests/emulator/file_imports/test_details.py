"""The import details: how far the last run of each import is, and what finds an import."""

from __future__ import annotations

import pytest

from airflow_provider_moengage.emulator import FileImport, ImportFile

START = 1_700_000_000  # 2023-11-14 22:13:20 UTC


@pytest.fixture(autouse=True)
def users(workspace):
    workspace.add_file_import(FileImport("i1", "Users", time_zone="Asia/Calcutta"))


def names(response):
    assert response.status_code == 200, response.text
    return [found["import_name"] for found in response.json()["data"]]


def only(door, **fields):
    (found,) = door.details(**fields).json()["data"]
    return found


def progress(door):
    found = only(door)
    return tuple(
        found[name]
        for name in ("last_run_status", "total_files", "processed_files", "total_rows", "processed_rows")
    )


def error(response):
    assert response.status_code == 400, response.text
    return response.json().get("error_type")


def test_an_import_that_never_ran_is_scheduled(door):
    assert only(door) == {
        "import_id": "i1",
        "import_name": "Users",
        "last_run_status": None,
        "import_type": "USERS",
        "schedule_type": "PERIODIC",
        "import_source": "S3",
        "total_files": 0,
        "processed_files": 0,
        "total_rows": 0,
        "processed_rows": 0,
        "created_at": "2023-11-14T22:13:20.000000",
        "last_run_at": None,
        "next_scheduled_at": "2023-11-15T00:00:00.000000",
        "created_by_email": "emulator@example.com",
        "status": "SCHEDULED",
        "time_zone": "Asia/Calcutta",
    }


def test_the_last_run_shows_how_far_it_is(door, workspace, clock):
    second = ImportFile("b.csv", steps=((1, "WAITING"), (3, "PROCESSING"), (20, "SUCCESSFUL")), total_rows=30)
    workspace.add_file_import(FileImport("i1", "Users", files=(ImportFile("a.csv"), second)))
    door.trigger_import()
    seen = {}
    for later in (0, 1, 2, 9, 10, 20):
        clock.now = START + later
        seen[later] = progress(door)

    assert seen == {
        0: ("QUEUED", 1, 0, 100, 0),
        1: ("QUEUED", 2, 0, 130, 0),
        2: ("PROCESSING", 2, 0, 130, 0),
        9: ("PROCESSING", 2, 0, 130, 0),
        10: ("PROCESSING", 2, 1, 130, 100),
        20: ("SUCCESSFUL", 2, 2, 130, 130),
    }
    assert only(door)["last_run_at"] == "2023-11-14T22:13:20.000000"
    assert only(door)["status"] == "SUCCESSFUL"


def test_only_the_last_run_shows(door, workspace, clock):
    workspace.run_file_import("i1", [ImportFile("a.csv", steps=((0, "FAILED"),))])
    assert progress(door) == ("FAILED", 1, 1, 100, 100)
    clock.now += 60.25
    workspace.run_file_import("i1", [ImportFile("b.csv", total_rows=7)])

    assert progress(door) == ("QUEUED", 1, 0, 7, 0)
    assert only(door)["last_run_at"] == "2023-11-14T22:14:20.250000"


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        (["SUCCESSFUL", "SUCCESSFUL"], "SUCCESSFUL"),
        (["FAILED", "FAILED"], "FAILED"),
        (["FAILED", "SUCCESSFUL"], "PARTIAL_SUCCESS"),
        (["SUCCESSFUL", "PARTIAL_SUCCESS"], "PARTIAL_SUCCESS"),
        (["PARTIAL_FAILURE", "PARTIAL_FAILURE"], "PARTIAL_SUCCESS"),
        (["SUCCESSFUL", "SCANNING"], "PROCESSING"),
        (["FAILED", "QUEUED"], "PROCESSING"),
        (["QUEUED", "WAITING"], "QUEUED"),
        ([], "FAILED"),
    ],
)
def test_a_run_of_several_files_has_one_status(door, workspace, ends, status):
    files = [ImportFile(f"{number}.csv", steps=((0, end),)) for number, end in enumerate(ends)]
    workspace.run_file_import("i1", files)
    assert only(door)["last_run_status"] == status


def test_a_run_whose_files_are_all_late_is_queued(door, workspace):
    workspace.run_file_import("i1", [ImportFile("late.csv", steps=((60, "SUCCESSFUL"),))])
    assert progress(door) == ("QUEUED", 0, 0, 0, 0)


def test_a_clock_that_goes_back_takes_the_progress_back(door, workspace, clock):
    workspace.run_file_import("i1")
    clock.now += 10
    assert only(door)["last_run_status"] == "SUCCESSFUL"
    clock.now -= 5
    assert only(door)["last_run_status"] == "PROCESSING"


def test_deleted_imports_are_not_listed_and_expired_ones_are_archived(door, workspace):
    workspace.run_file_import("i1")
    workspace.add_file_import(FileImport("i1", "Users", state="expired"))
    workspace.add_file_import(FileImport("i2", "Gone", state="deleted"))

    found = only(door)
    assert (found["import_name"], found["status"], found["last_run_status"]) == ("Users", "ARCHIVED", "QUEUED")
    assert found["next_scheduled_at"] is None
    assert names(door.details(schedule_status="ARCHIVED")) == ["Users"]
    assert names(door.details(schedule_status="QUEUED")) == []


def test_an_import_that_runs_once_is_not_scheduled_again(door, workspace):
    workspace.add_file_import(FileImport("i1", "Users", schedule_type="ONETIME"))
    assert only(door)["next_scheduled_at"] is None


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, ["Users", "Users of old", "Events", "Aux"]),
        ({"import_name": "Users"}, ["Users"]),
        ({"import_name": "Nobody"}, []),
        ({"import_type": "USERS"}, ["Users", "Users of old"]),
        ({"import_type": ["EVENTS", "AUX_DATA"]}, ["Events", "Aux"]),
        ({"import_type": []}, ["Users", "Users of old", "Events", "Aux"]),
        ({"schedule_type": "ONETIME"}, ["Users of old"]),
        ({"file_source": ["SFTP", "CSV"]}, ["Events", "Aux"]),
        ({"schedule_status": "SCHEDULED"}, ["Users", "Aux"]),
        ({"schedule_status": ["QUEUED", "FAILED"]}, ["Users of old", "Events"]),
        ({"schedule_status": "QUEUED", "import_type": "USERS"}, []),
    ],
)
def test_imports_are_found_by_filters(door, workspace, fields, found):
    workspace.add_file_import(FileImport("i2", "Users of old", schedule_type="ONETIME"))
    workspace.add_file_import(FileImport("i3", "Events", import_type="EVENTS", import_source="SFTP"))
    workspace.add_file_import(FileImport("i4", "Aux", import_type="AUX_DATA", import_source="CSV"))
    workspace.run_file_import("i2", [ImportFile("a.csv", steps=((0, "FAILED"),))])
    workspace.run_file_import("i3")

    response = door.details(**fields)
    assert names(response) == found
    assert response.json()["total_count"] == len(found)


def test_a_name_can_be_compared_in_part(door, workspace):
    workspace.add_file_import(FileImport("i2", "All Users of old"))
    workspace.configure(file_imports_by_name="contains")
    assert names(door.details(import_name="Users")) == ["Users", "All Users of old"]
    assert names(door.details(import_name="All")) == ["All Users of old"]


def test_imports_are_found_by_when_they_last_ran(door, workspace, clock):
    workspace.add_file_import(FileImport("i2", "Never"))
    workspace.run_file_import("i1")
    wanted = {"start_date": "14/11/2023", "end_date": "14/11/2023", "format": "DD/MM/YYYY"}
    assert names(door.details(date=wanted)) == ["Users"]
    clock.now += 86_400
    workspace.run_file_import("i1")

    assert names(door.details(date=wanted)) == []
    assert error(door.details(date={**wanted, "end_date": "31/12/2023"})) == "Difference exceeds 30 days"
    assert error(door.details(date={**wanted, "format": "DD-MM-YYYY"})) == "Invalid Date format"


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule_status": "successful"},
        {"schedule_status": ["WAITING"]},
        {"import_type": "PEOPLE"},
        {"file_source": [1]},
        {"schedule_type": {}},
        {"import_name": 7},
    ],
)
def test_a_value_that_a_filter_does_not_know_is_400(door, fields):
    response = door.details(**fields)
    assert error(response) is None
    assert response.json()["data"] == "Unable to process the request"


def test_pages_hold_50_imports(door, workspace):
    for number in range(120):
        workspace.add_file_import(FileImport(f"n{number}", f"Name {number}"))
    pages = [door.details(offset=offset).json() for offset in (1, "2", 3)]

    assert [len(page["data"]) for page in pages] == [50, 50, 21]
    assert [(page["offset"], page["more_files"]) for page in pages] == [(1, True), (2, True), (3, False)]
    assert {page["total_count"] for page in pages} == {121}
    assert error(door.details(offset=4)) == "Invalid Offset Value"


def test_a_full_last_page_has_no_page_after_it(door, workspace):
    workspace.configure(file_page_size=1)
    assert door.details().json()["more_files"] is False
    assert error(door.details(offset=2)) == "Invalid Offset Value"


@pytest.mark.parametrize("offset", [0, -1, "x", None, 2])
def test_a_wrong_offset_is_400(door, offset):
    assert error(door.details(offset=offset)) == "Invalid Offset Value"


def test_details_take_the_forms_of_the_history(door, workspace):
    workspace.configure(file_numbers_as_text=True, file_null_data=True)
    workspace.run_file_import("i1")
    body = door.details().json()

    assert (body["total_count"], body["more_files"]) == ("1", "false")
    counts = ("total_files", "processed_files", "total_rows", "processed_rows")
    assert [body["data"][0][name] for name in counts] == ["1", "0", "100", "0"]
    assert door.details(import_name="Nobody").json()["data"] is None


def test_the_details_have_a_limit_of_their_own(door, workspace, clock):
    assert {door.details().status_code for _ in range(50)} == {200}
    throttled = door.details()
    assert (throttled.status_code, throttled.headers["x-ratelimit-limit"]) == (429, "50")
    assert door.history().status_code == 200
    clock.now += 59.9
    assert door.details().status_code == 429
    clock.now += 0.1
    assert door.details().status_code == 200
    workspace.configure(file_imports_quota=((1, 60),))
    assert door.details().status_code == 429
