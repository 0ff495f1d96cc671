"""The file run history: filters, pages, and the formats that MoEngage's reference leaves open."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_moengage.emulator import Fault, FileImport, ImportFile

if TYPE_CHECKING:
    import requests

    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

START = 1_700_000_000  # 2023-11-14 22:13:20 UTC
DAY = 86_400


def scripted(count: int, *, status: str = "SUCCESSFUL", prefix: str = "f") -> list[ImportFile]:
    return [ImportFile(f"{prefix}{number:03}.csv", steps=((0, status),)) for number in range(count)]


@pytest.fixture(autouse=True)
def users(workspace: Workspace) -> None:
    workspace.add_file_import(FileImport("i1", "Users"))


def names(response: requests.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [file["file_name"] for file in response.json()["data"]]


def error_type(response: requests.Response) -> Any:
    assert response.status_code == 400, response.text
    assert response.json()["status"] == "FAILURE"
    return response.json()["error_type"]


def test_files_are_found_by_import_id_or_name_and_the_id_takes_precedence(
    client: Client, workspace: Workspace
) -> None:
    workspace.add_file_import(FileImport("i2", "Others"))
    workspace.run_file_import("i1", scripted(1, prefix="a"))
    workspace.run_file_import("i2", scripted(1, prefix="b"))

    assert names(client.history("i1")) == ["a000.csv"]
    assert names(client.history(None, import_name="Others")) == ["b000.csv"]
    assert names(client.history("i1", import_name="Others")) == ["a000.csv"]
    assert error_type(client.history("i3", import_name="Others")) == "Import Doesn't Exist"


@pytest.mark.parametrize("fields", [{}, {"import_name": "Nobody"}, {"import_name": 7}, {"import_name": "users"}])
def test_an_import_that_does_not_exist_is_400(client: Client, fields: dict[str, Any]) -> None:
    response = client.history(None, **fields)
    assert error_type(response) == "Import Doesn't Exist"
    assert response.json()["message"] == "No import exist in the database with the given query parameters."


def test_a_deleted_import_does_not_exist_and_an_expired_one_does(client: Client, workspace: Workspace) -> None:
    workspace.run_file_import("i1")
    workspace.add_file_import(FileImport("i1", "Users", state="expired"))
    assert len(names(client.history())) == 1
    workspace.add_file_import(FileImport("i1", "Users", state="deleted"))
    assert error_type(client.history()) == "Import Doesn't Exist"
    assert error_type(client.history(None, import_name="Users")) == "Import Doesn't Exist"


def test_an_import_that_never_ran_has_an_empty_history(client: Client) -> None:
    response = client.history()
    assert response.status_code == 200
    assert response.json() == {
        "status": "success",
        "total_count": 0,
        "data": [],
        "offset": 1,
        "more_files": False,
    }


def test_pages_hold_50_files(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_order="oldest")
    workspace.run_file_import("i1", scripted(120))
    pages = [client.history(offset=offset).json() for offset in (1, 2, 3)]

    assert [len(page["data"]) for page in pages] == [50, 50, 20]
    assert [page["more_files"] for page in pages] == [True, True, False]
    assert [page["offset"] for page in pages] == [1, 2, 3]
    assert {page["total_count"] for page in pages} == {120}
    seen = [file["file_name"] for page in pages for file in page["data"]]
    assert seen == [f"f{number:03}.csv" for number in range(120)]


def test_a_full_last_page_has_no_more_files(client: Client, workspace: Workspace) -> None:
    workspace.run_file_import("i1", scripted(50))
    page = client.history().json()
    assert (len(page["data"]), page["more_files"]) == (50, False)
    assert error_type(client.history(offset=2)) == "Import Doesn't Exist"


@pytest.mark.parametrize("offset", [3, 0, -1, "x", True, 1.5])
def test_an_invalid_offset_reports_that_the_import_does_not_exist(
    client: Client, workspace: Workspace, offset: Any
) -> None:
    workspace.configure(file_page_size=2)
    workspace.run_file_import("i1", scripted(4))
    assert error_type(client.history(offset=offset)) == "Import Doesn't Exist"


def test_an_offset_may_be_a_string(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_page_size=3)
    workspace.run_file_import("i1", scripted(4))
    assert len(names(client.history(offset="2"))) == 1


def test_the_newest_files_come_first(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    for run in "abc":
        workspace.run_file_import("i1", scripted(2, prefix=run))
        clock.now += 60
    assert names(client.history()) == ["c001.csv", "c000.csv", "b001.csv", "b000.csv", "a001.csv", "a000.csv"]
    workspace.configure(file_order="oldest")
    assert names(client.history())[:3] == ["a000.csv", "a001.csv", "b000.csv"]


def test_a_shuffled_history_has_the_same_order_each_time(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_order="shuffled", file_page_size=15)
    workspace.run_file_import("i1", scripted(30))
    first, again, rest = (names(client.history(offset=offset)) for offset in (1, 1, 2))

    assert first == again
    assert sorted(first + rest) == [f"f{number:03}.csv" for number in range(30)]
    assert first + rest not in (sorted(first + rest), sorted(first + rest, reverse=True))


@pytest.mark.parametrize(
    ("status", "found"),
    [("SUCCESSFUL", "SUCCESSFUL"), ("PARTIAL_SUCCESS", "PARTIAL_SUCCESS"), ("PARTIAL_SUCCESS", "PARTIAL_FAILURE")],
)
def test_files_are_filtered_by_status(client: Client, workspace: Workspace, status: str, found: str) -> None:
    workspace.run_file_import("i1", [*scripted(1, status=found), *scripted(1, status="FAILED", prefix="x")])
    assert names(client.history(file_status=[status])) == ["f000.csv"]
    assert len(names(client.history(file_status=[status, "FAILED"]))) == 2
    assert len(names(client.history(file_status=[]))) == 2
    assert client.history(file_status=[status]).json()["total_count"] == 1


@pytest.mark.parametrize("wanted", ["SUCCESSFUL", ["successful"], ["PARTIAL_FAILURE"], [1], {}])
def test_an_unknown_status_filter_is_400(client: Client, wanted: Any) -> None:
    response = client.history(file_status=wanted)
    assert response.status_code == 400
    assert response.json() == {
        "success": False,
        "status_code": "400 Bad Request",
        "data": "Unable to process the request",
    }


def dates(start: Any, end: Any, form: str = "YYYY-MM-DD") -> dict[str, Any]:
    return {"start_date": start, "end_date": end, "format": form}


@pytest.mark.parametrize(
    ("day", "form"),
    [
        ("2023-11-14", "YYYY-MM-DD"),
        ("2023/11/14", "YYYY/MM/DD"),
        ("14/11/2023", "DD/MM/YYYY"),
        ("14-11-2023", "DD-MM-YYYY"),
    ],
)
def test_all_documented_date_formats_are_read(
    client: Client, workspace: Workspace, clock: FakeClock, day: str, form: str
) -> None:
    workspace.run_file_import("i1", scripted(1, prefix="in"))
    clock.now += DAY
    workspace.run_file_import("i1", scripted(1, prefix="after"))

    assert names(client.history(date=dates(day, day, form))) == ["in000.csv"]
    seconds = f"{form} hh:mm:ss"
    assert names(client.history(date=dates(f"{day} 22:13:20", f"{day} 22:13:20", seconds))) == ["in000.csv"]
    assert names(client.history(date=dates(f"{day} 22:13:21", f"{day} 23:00:00", seconds))) == []
    assert names(client.history(date=dates(f"{day} 00:00:00", f"{day} 22:13:19", seconds))) == []


def test_the_last_day_of_a_date_range_is_included(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    for moment in (1_699_919_999.9, 1_699_920_000, 1_700_006_399.9, 1_700_006_400):
        clock.now = moment
        workspace.run_file_import("i1", scripted(1, prefix=f"{moment}-"))
    found = names(client.history(date=dates("2023-11-14", "2023-11-14")))
    assert found == ["1700006399.9-000.csv", "1699920000-000.csv"]


def test_the_date_filter_uses_when_a_file_arrived(client: Client, workspace: Workspace, clock: FakeClock) -> None:
    late = ImportFile("late.csv", steps=((DAY, "QUEUED"),))
    workspace.run_file_import("i1", [late])
    clock.now += DAY
    assert names(client.history(date=dates("2023-11-15", "2023-11-15"))) == ["late.csv"]
    assert names(client.history(date=dates("2023-11-14", "2023-11-14"))) == []


def test_a_date_range_is_at_most_30_days(client: Client, workspace: Workspace) -> None:
    workspace.run_file_import("i1", scripted(1))
    assert names(client.history(date=dates("2023-10-20", "2023-11-19"))) == ["f000.csv"]
    assert error_type(client.history(date=dates("2023-10-20", "2023-11-20"))) == "Difference exceeds 30 days"
    form = "DD/MM/YYYY hh:mm:ss"
    month = dates("20/10/2023 10:00:00", "19/11/2023 10:00:00", form)
    assert len(names(client.history(date=month))) == 1
    over = dates("20/10/2023 10:00:00", "19/11/2023 10:00:01", form)
    assert error_type(client.history(date=over)) == "Difference exceeds 30 days"


@pytest.mark.parametrize(
    "wanted",
    [
        dates("2023-11-14", "2023-11-15", "YYYY-DD-MM"),
        dates("2023-11-14", "2023-11-15", "yyyy-mm-dd"),
        dates("14/11/2023", "15/11/2023"),
        dates("2023-11-14", "2023-11-31"),
        dates("2023-11-1", "2023-11-14"),
        dates("2023-11-14 00:00:00", "2023-11-15 00:00:00"),
        dates("2023-11-14", "2023-11-15", "YYYY-MM-DD hh:mm:ss"),
        dates("2023-11-15", "2023-11-14"),
        dates(20231114, 20231115),
        dates("2023-11-14", None),
        {"start_date": "2023-11-14", "end_date": "2023-11-15"},
        {"start_date": "2023-11-14", "format": "YYYY-MM-DD"},
        {},
        "2023-11-14",
    ],
)
def test_a_wrong_date_is_400(client: Client, wanted: Any) -> None:
    assert error_type(client.history(date=wanted)) == "Invalid Date format"


@pytest.mark.parametrize("filters", [{"file_status": ["FAILED"]}, {"date": dates("2020-01-01", "2020-01-02")}])
def test_filters_without_a_match_return_an_empty_page_or_a_missing_import(
    client: Client, workspace: Workspace, filters: dict[str, Any]
) -> None:
    workspace.run_file_import("i1", scripted(1))
    assert names(client.history(**filters)) == []
    workspace.configure(file_no_match="missing")

    assert error_type(client.history(**filters)) == "Import Doesn't Exist"
    assert names(client.history()) == ["f000.csv"]
    assert names(client.history(file_status=["SUCCESSFUL"])) == ["f000.csv"]


def test_an_import_that_never_ran_exists_with_either_no_match_setting(
    client: Client, workspace: Workspace
) -> None:
    workspace.configure(file_no_match="missing")
    assert names(client.history()) == []


def test_a_setting_returns_counts_as_strings(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_numbers_as_text=True, file_page_size=1)
    workspace.run_file_import("i1", [*scripted(1), ImportFile("g.csv", steps=((0, "SUCCESSFUL"),), failed_rows=4)])
    first, last = (client.history(offset=offset).json() for offset in (1, 2))

    assert (first["total_count"], first["more_files"], last["more_files"]) == ("2", "true", "false")
    (file,) = first["data"]
    assert (file["total_rows"], file["added_rows"], file["failed_rows"]) == ("100", "96", "4")
    assert (file["skipped_rows"], file["updated_rows"], file["aux_data_added_count"]) == ("0", "0", "0")
    assert file["aux_data_failed_count"] == "0"


def test_a_setting_returns_null_for_an_empty_page(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_null_data=True)
    assert client.history().json()["data"] is None
    workspace.run_file_import("i1", scripted(1))
    assert len(client.history().json()["data"]) == 1


def test_a_setting_reports_partial_files_as_partial_failure(client: Client, workspace: Workspace) -> None:
    workspace.run_file_import("i1", [*scripted(1, status="PARTIAL_SUCCESS"), *scripted(1)])
    workspace.configure(file_partial_word="PARTIAL_FAILURE")

    files = client.history().json()["data"]
    assert [file["file_status"] for file in files] == ["SUCCESSFUL", "PARTIAL_FAILURE"]
    assert files[1]["completed_at"] is not None
    assert len(names(client.history(file_status=["PARTIAL_SUCCESS"]))) == 1


def test_the_history_is_limited_to_50_requests_per_minute(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.configure(retry_after="seconds")
    answers = [client.history() for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    assert [answers[n].headers["x-ratelimit-remaining"] for n in (0, 49)] == ["49", "0"]
    clock.now += 10
    response = client.history()

    assert response.status_code == 429
    body = response.json()
    assert body["error"].pop("request_id")
    assert body == {
        "status": "fail",
        "error": {
            "message": "Rate limits exceeded, please try after some time",
            "type": "Rate Limits Exceeded",
        },
    }
    limits = {name: response.headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset")}
    assert limits == {"limit": "50", "remaining": "0", "reset": "50"}
    assert response.headers["Retry-After"] == "50"
    assert workspace.counts.throttled == 1
    assert client.details().status_code == 200
    clock.now += 50
    assert client.history().status_code == 200


def test_the_settings_choose_the_format_of_the_limit_headers(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_history_quota=((1, 60),), reset_header="epoch")
    assert client.history().headers["x-ratelimit-reset"] == str(START + 60)
    workspace.configure(envoy=True)
    throttled = client.history()
    assert throttled.headers["x-envoy-ratelimited"] == "true"
    assert "x-ratelimit-reset" not in throttled.headers


def test_limit_headers_describe_the_tightest_window(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.configure(file_history_quota=((2, 60), (3, 600)))
    assert client.history().headers["x-ratelimit-limit"] == "2"
    client.history()
    clock.now += 60
    last = client.history()
    assert (last.headers["x-ratelimit-limit"], last.headers["x-ratelimit-remaining"]) == ("3", "0")
    throttled = client.history()
    assert (throttled.status_code, throttled.headers["x-ratelimit-reset"]) == (429, "540")


def test_a_refused_query_uses_the_limit_but_a_wrong_key_does_not(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_history_quota=((2, 60),))
    for _ in range(3):
        client.file_imports("import/run/history", b"{}", auth=("EMULATOR", "wrong"))
    assert error_type(client.history("nothing")) == "Import Doesn't Exist"
    assert [client.history().status_code for _ in range(2)] == [200, 429]


def test_the_limit_can_be_lifted(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_history_quota=None)
    answers = [client.history() for _ in range(51)]
    assert {answer.status_code for answer in answers} == {200}
    assert "x-ratelimit-limit" not in answers[0].headers


@pytest.mark.parametrize("path", ["import/run/history", "import/status"])
def test_a_body_that_is_not_a_json_object_is_400(client: Client, path: str) -> None:
    for body in (b"", b"{", b"[]", b'"\xff"'):
        assert client.file_imports(path, body).json()["data"] == "Unable to process the request"


def test_another_content_type_is_415_in_the_format_of_each_endpoint(client: Client) -> None:
    sent = {"headers": {"Content-Type": "text/plain"}}
    history, details = (
        client.file_imports(path, b"{}", **sent) for path in ("import/run/history", "import/status")
    )
    assert (history.status_code, details.status_code) == (415, 415)
    assert history.json()["error_description"] == "Content type is not supported"
    assert details.json()["description"] == "Content type is not supported"


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        ("Asia/Kolkata", "2026-03-08T15:29:59.000000", "2026-03-08T15:30:01.000000"),
        ("America/Los_Angeles", "2026-03-08T01:59:59.000000", "2026-03-08T03:00:01.000000"),
    ],
)
def test_times_are_those_of_the_zone_on_both_sides_of_a_clock_change(
    client: Client, workspace: Workspace, clock: FakeClock, zone: str, before: str, after: str
) -> None:
    change = datetime(2026, 3, 8, 10, tzinfo=UTC).timestamp()  # in Los Angeles
    workspace.configure(file_time_zone=zone)
    clock.now = change - 1
    workspace.run_file_import("i1", [ImportFile("a.csv", steps=((0, "QUEUED"), (2, "SUCCESSFUL")))])
    clock.now = change + 1
    (file,) = client.history().json()["data"]

    assert (file["scheduled_at"], file["completed_at"]) == (before, after)


def test_a_date_filter_is_read_in_the_zone(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_time_zone="Asia/Kolkata")
    workspace.run_file_import("i1", scripted(1))  # 03:43 on the next day
    found = {
        day: names(client.history(date={"start_date": day, "end_date": day, "format": "YYYY-MM-DD"}))
        for day in ("2023-11-14", "2023-11-15")
    }

    assert found == {"2023-11-14": [], "2023-11-15": ["f000.csv"]}


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_a_day_at_the_end_of_the_calendar_is_no_fault(client: Client, workspace: Workspace, day: str) -> None:
    workspace.configure(file_time_zone="Asia/Kolkata")
    response = client.history(date={"start_date": day, "end_date": day, "format": "YYYY-MM-DD"})

    assert response.status_code in (200, 400)


def test_ids_of_files_begin_with_the_time_at_which_they_appeared(
    client: Client, workspace: Workspace, clock: FakeClock
) -> None:
    workspace.run_file_import("i1", [ImportFile("a.csv", steps=((7, "SUCCESSFUL"),))])
    clock.now = START + 7
    (file,) = client.history().json()["data"]

    assert int(file["id"][:8], 16) == START + 7
    assert len(file["id"]) == 24


def test_ids_of_files_can_tell_no_time(client: Client, workspace: Workspace) -> None:
    workspace.add_file_import(FileImport("i1", "Users", file_ids="random"))
    workspace.run_file_import("i1", scripted(2))
    ids = [file["id"] for file in client.history().json()["data"]]

    assert all(abs(int(each[:8], 16) - START) > DAY for each in ids)


@pytest.mark.parametrize("zone", ["", "Asia", "asia", "../etc", "+05:30", "Mars/Base", "\0"])
def test_a_zone_that_does_not_exist_is_refused(workspace: Workspace, zone: str) -> None:
    with pytest.raises(ValueError, match=r"file_time_zone .*expected the IANA name"):
        workspace.configure(file_time_zone=zone)


def test_a_setting_shows_a_file_where_the_references_sample_has_it(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_data="items", file_order="oldest")
    assert "items" not in client.history().json()
    workspace.run_file_import("i1", scripted(2))

    bodies = [client.history(offset=page).json() for page in (1, 2)]
    assert [body["data"] for body in bodies] == [None, None]
    assert [body["items"]["properties"]["file_name"] for body in bodies] == ["f000.csv", "f001.csv"]
    assert [(body["total_count"], body["more_files"]) for body in bodies] == [(2, True), (2, False)]


def test_a_setting_counts_files_that_are_nowhere(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_data="nowhere")
    workspace.run_file_import("i1", scripted(2))
    body = client.history().json()

    assert (body["total_count"], body["data"], "items" in body) == (2, None, False)


def test_a_setting_refuses_every_date(client: Client, workspace: Workspace) -> None:
    workspace.configure(file_dates="refuse")
    dates = {"start_date": "2023-11-14", "end_date": "2023-11-15", "format": "YYYY-MM-DD"}
    response = client.history(date=dates)

    assert error_type(response) == "Invalid Date format"
    assert "YYYY-MM-DDTHH:MM:SS.ssssss" in response.json()["message"]
    assert error_type(client.details(date=dates)) == "Invalid Date format"
    assert names(client.history()) == []


def test_an_exhausted_file_has_ended_as_a_failed_one(client: Client, workspace: Workspace) -> None:
    workspace.run_file_import("i1", [ImportFile("a.csv", steps=((0, "EXHAUSTED"),), total_rows=7)])
    [file] = client.history().json()["data"]

    assert (file["file_status"], file["failed_rows"], file["added_rows"]) == ("EXHAUSTED", 7, 0)
    assert file["completed_at"] is not None
    assert client.details().json()["data"][0]["last_run_status"] == "FAILED"


def test_a_pending_file_is_under_way(client: Client, workspace: Workspace) -> None:
    workspace.run_file_import("i1", [ImportFile("a.csv", steps=((0, "PENDING"),))])

    assert client.history().json()["data"][0]["completed_at"] is None
    assert client.details().json()["data"][0]["last_run_status"] == "QUEUED"


@pytest.mark.parametrize("field", ["data", "message"])
def test_the_404_of_a_query_has_its_text_in_either_field(client: Client, workspace: Workspace, field: str) -> None:
    workspace.configure(file_not_found=field)
    workspace.add_fault(Fault("status", status=404))

    assert client.history().json()[field].startswith("Resource not found")
