"""The import details: the progress of the last run of each import, filters and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_moengage.emulator import FileImport, ImportFile

if TYPE_CHECKING:
    import requests

    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

START = 1_700_000_000  # 2023-11-14 22:13:20 UTC


@pytest.fixture(autouse=True)
def users(workspace: Workspace) -> None:
    workspace.add_file_import(FileImport("i1", "Users", time_zone="Asia/Calcutta"))


def names(response: requests.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [found["import_name"] for found in response.json()["data"]]


def only_import(client: Client, **fields: Any) -> Any:
    (found,) = client.details(**fields).json()["data"]
    return found


def progress(client: Client) -> tuple[Any, ...]:
    found = only_import(client)
    return tuple(
        found[name]
        for name in ("last_run_status", "total_files", "processed_files", "total_rows", "processed_rows")
    )


def error_type(response: requests.Response) -> Any:
    assert response.status_code == 400, response.text
    return response.json().get("error_type")


def test_an_import_that_never_ran_is_scheduled(client: Client) -> None:
    assert only_import(client) == {
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


@pytest.mark.parametrize(
    ("zone", "created_at", "last_run_at"),
    [
        ("Asia/Kolkata", "2023-11-15T03:43:20.000000", "2023-11-15T03:43:21.500000"),
        ("America/Los_Angeles", "2023-11-14T14:13:20.000000", "2023-11-14T14:13:21.500000"),
    ],
)
def test_times_are_those_of_the_zone_but_the_next_schedule_is_utc(
    client: Client, workspace: Workspace, clock: FakeClock, zone: str, created_at: str, last_run_at: str
) -> None:
    workspace.configure(file_time_zone=zone)
    workspace.add_file_import(FileImport("i1", "Users"))
    clock.now = START + 1.5
    workspace.run_file_import("i1")
    found = only_import(client)

    assert (found["created_at"], found["last_run_at"]) == (created_at, last_run_at)
    assert found["next_scheduled_at"] == "2023-11-15T00:00:00.000000"
    assert found["time_zone"] == zone


def test_an_import_can_show_another_zone_than_its_times_have_or_none(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_time_zone="Asia/Kolkata")
    for shown in ("America/Los_Angeles", ""):
        workspace.add_file_import(FileImport("i1", "Users", time_zone=shown))
        assert only_import(client)["time_zone"] == shown


def test_details_show_the_progress_of_the_last_run(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    second = ImportFile("b.csv", steps=((1, "WAITING"), (3, "PROCESSING"), (20, "SUCCESSFUL")), total_rows=30)
    workspace.add_file_import(FileImport("i1", "Users", files=(ImportFile("a.csv"), second)))
    client.trigger_import()
    seen = {}
    for later in (0, 1, 2, 9, 10, 20):
        clock.now = START + later
        seen[later] = progress(client)

    assert seen == {
        0: ("QUEUED", 1, 0, 100, 0),
        1: ("QUEUED", 2, 0, 130, 0),
        2: ("PROCESSING", 2, 0, 130, 0),
        9: ("PROCESSING", 2, 0, 130, 0),
        10: ("PROCESSING", 2, 1, 130, 100),
        20: ("SUCCESSFUL", 2, 2, 130, 130),
    }
    assert only_import(client)["last_run_at"] == "2023-11-14T22:13:20.000000"
    assert only_import(client)["status"] == "SUCCESSFUL"


def test_details_show_only_the_last_run(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    workspace.run_file_import("i1", [ImportFile("a.csv", steps=((0, "FAILED"),))])
    assert progress(client) == ("FAILED", 1, 1, 100, 100)
    clock.now += 60.25
    workspace.run_file_import("i1", [ImportFile("b.csv", total_rows=7)])

    assert progress(client) == ("QUEUED", 1, 0, 7, 0)
    assert only_import(client)["last_run_at"] == "2023-11-14T22:14:20.250000"


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
def test_the_status_of_a_run_combines_those_of_its_files(
    client: Client, workspace: Workspace, ends: list[str], status: str
) -> None:
    files = [ImportFile(f"{number}.csv", steps=((0, end),)) for number, end in enumerate(ends)]
    workspace.run_file_import("i1", files)
    assert only_import(client)["last_run_status"] == status


def test_a_run_is_queued_until_its_first_file_appears(client: Client, workspace: Workspace) -> None:
    workspace.run_file_import("i1", [ImportFile("late.csv", steps=((60, "SUCCESSFUL"),))])
    assert progress(client) == ("QUEUED", 0, 0, 0, 0)


def test_progress_goes_back_if_the_clock_does(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    workspace.run_file_import("i1")
    clock.now += 10
    assert only_import(client)["last_run_status"] == "SUCCESSFUL"
    clock.now -= 5
    assert only_import(client)["last_run_status"] == "PROCESSING"


def test_deleted_imports_are_not_listed_and_expired_ones_are_archived(
    client: Client, workspace: Workspace
) -> None:
    workspace.run_file_import("i1")
    workspace.add_file_import(FileImport("i1", "Users", state="expired"))
    workspace.add_file_import(FileImport("i2", "Gone", state="deleted"))

    found = only_import(client)
    assert (found["import_name"], found["status"], found["last_run_status"]) == ("Users", "ARCHIVED", "QUEUED")
    assert found["next_scheduled_at"] is None
    assert names(client.details(schedule_status="ARCHIVED")) == ["Users"]
    assert names(client.details(schedule_status="QUEUED")) == []


def test_a_one_time_import_is_not_scheduled_again(client: Client, workspace: Workspace) -> None:
    workspace.add_file_import(FileImport("i1", "Users", schedule_type="ONETIME"))
    assert only_import(client)["next_scheduled_at"] is None


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
def test_filters_select_imports(
    client: Client, workspace: Workspace, fields: dict[str, Any], found: list[str]
) -> None:
    workspace.add_file_import(FileImport("i2", "Users of old", schedule_type="ONETIME"))
    workspace.add_file_import(FileImport("i3", "Events", import_type="EVENTS", import_source="SFTP"))
    workspace.add_file_import(FileImport("i4", "Aux", import_type="AUX_DATA", import_source="CSV"))
    workspace.run_file_import("i2", [ImportFile("a.csv", steps=((0, "FAILED"),))])
    workspace.run_file_import("i3")

    response = client.details(**fields)
    assert names(response) == found
    assert response.json()["total_count"] == len(found)


def test_a_setting_makes_the_name_filter_match_parts_of_names(client: Client, workspace: Workspace) -> None:
    workspace.add_file_import(FileImport("i2", "All Users of old"))
    workspace.configure(file_imports_by_name="contains")
    assert names(client.details(import_name="Users")) == ["Users", "All Users of old"]
    assert names(client.details(import_name="All")) == ["All Users of old"]


def test_the_date_filter_selects_imports_by_their_last_run(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.add_file_import(FileImport("i2", "Never"))
    workspace.run_file_import("i1")
    wanted = {"start_date": "14/11/2023", "end_date": "14/11/2023", "format": "DD/MM/YYYY"}
    assert names(client.details(date=wanted)) == ["Users"]
    clock.now += 86_400
    workspace.run_file_import("i1")

    assert names(client.details(date=wanted)) == []
    assert error_type(client.details(date={**wanted, "end_date": "31/12/2023"})) == "Difference exceeds 30 days"
    assert error_type(client.details(date={**wanted, "format": "DD-MM-YYYY"})) == "Invalid Date format"


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
def test_an_unknown_filter_value_is_400(client: Client, fields: dict[str, Any]) -> None:
    response = client.details(**fields)
    assert error_type(response) is None
    assert response.json()["data"] == "Unable to process the request"


def test_pages_hold_50_imports(client: Client, workspace: Workspace) -> None:
    for number in range(120):
        workspace.add_file_import(FileImport(f"n{number}", f"Name {number}"))
    pages = [client.details(offset=offset).json() for offset in (1, "2", 3)]

    assert [len(page["data"]) for page in pages] == [50, 50, 21]
    assert [(page["offset"], page["more_files"]) for page in pages] == [(1, True), (2, True), (3, False)]
    assert {page["total_count"] for page in pages} == {121}
    assert error_type(client.details(offset=4)) == "Invalid Offset Value"


def test_a_full_last_page_has_no_page_after_it(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_page_size=1)
    assert client.details().json()["more_files"] is False
    assert error_type(client.details(offset=2)) == "Invalid Offset Value"


@pytest.mark.parametrize("offset", [0, -1, "x", None, 2])
def test_a_wrong_offset_is_400(client: Client, offset: Any) -> None:
    assert error_type(client.details(offset=offset)) == "Invalid Offset Value"


def test_the_format_settings_of_the_history_apply_to_the_details(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_numbers_as_text=True, file_null_data=True)
    workspace.run_file_import("i1")
    body = client.details().json()

    assert (body["total_count"], body["more_files"]) == ("1", "false")
    counts = ("total_files", "processed_files", "total_rows", "processed_rows")
    assert [body["data"][0][name] for name in counts] == ["1", "0", "100", "0"]
    assert client.details(import_name="Nobody").json()["data"] is None


def test_the_details_have_their_own_rate_limit(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    assert {client.details().status_code for _ in range(50)} == {200}
    throttled = client.details()
    assert (throttled.status_code, throttled.headers["x-ratelimit-limit"]) == (429, "50")
    assert client.history().status_code == 200
    clock.now += 59.9
    assert client.details().status_code == 429
    clock.now += 0.1
    assert client.details().status_code == 200
    workspace.configure(file_imports_quota=((1, 60),))
    assert client.details().status_code == 429
