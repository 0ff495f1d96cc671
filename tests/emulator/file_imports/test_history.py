"""The file run history: its filters, its pages, and the forms that the documents leave open."""

from __future__ import annotations

import pytest

from airflow_provider_moengage.emulator import FileImport, ImportFile

START = 1_700_000_000  # 2023-11-14 22:13:20 UTC
DAY = 86_400


def scripted(count, *, status="SUCCESSFUL", prefix="f"):
    return [ImportFile(f"{prefix}{number:03}.csv", steps=((0, status),)) for number in range(count)]


@pytest.fixture(autouse=True)
def users(workspace):
    workspace.add_file_import(FileImport("i1", "Users"))


def names(response):
    assert response.status_code == 200, response.text
    return [file["file_name"] for file in response.json()["data"]]


def error(response):
    assert response.status_code == 400, response.text
    assert response.json()["status"] == "FAILURE"
    return response.json()["error_type"]


def test_files_are_found_by_id_or_name_and_the_id_wins(door, workspace):
    workspace.add_file_import(FileImport("i2", "Others"))
    workspace.run_file_import("i1", scripted(1, prefix="a"))
    workspace.run_file_import("i2", scripted(1, prefix="b"))

    assert names(door.history("i1")) == ["a000.csv"]
    assert names(door.history(None, import_name="Others")) == ["b000.csv"]
    assert names(door.history("i1", import_name="Others")) == ["a000.csv"]
    assert error(door.history("i3", import_name="Others")) == "Import Doesn't Exist"


@pytest.mark.parametrize("fields", [{}, {"import_name": "Nobody"}, {"import_name": 7}, {"import_name": "users"}])
def test_an_import_that_does_not_exist_is_400(door, fields):
    response = door.history(None, **fields)
    assert error(response) == "Import Doesn't Exist"
    assert response.json()["message"] == "No import exist in the database with the given query parameters."


def test_a_deleted_import_does_not_exist_and_an_expired_one_does(door, workspace):
    workspace.run_file_import("i1")
    workspace.add_file_import(FileImport("i1", "Users", state="expired"))
    assert len(names(door.history())) == 1
    workspace.add_file_import(FileImport("i1", "Users", state="deleted"))
    assert error(door.history()) == "Import Doesn't Exist"
    assert error(door.history(None, import_name="Users")) == "Import Doesn't Exist"


def test_an_import_that_never_ran_has_an_empty_history(door):
    response = door.history()
    assert response.status_code == 200
    assert response.json() == {
        "status": "success",
        "total_count": 0,
        "data": [],
        "offset": 1,
        "more_files": False,
    }


def test_pages_hold_50_files(door, workspace):
    workspace.configure(file_order="oldest")
    workspace.run_file_import("i1", scripted(120))
    pages = [door.history(offset=offset).json() for offset in (1, 2, 3)]

    assert [len(page["data"]) for page in pages] == [50, 50, 20]
    assert [page["more_files"] for page in pages] == [True, True, False]
    assert [page["offset"] for page in pages] == [1, 2, 3]
    assert {page["total_count"] for page in pages} == {120}
    seen = [file["file_name"] for page in pages for file in page["data"]]
    assert seen == [f"f{number:03}.csv" for number in range(120)]


def test_a_full_last_page_has_no_more_files(door, workspace):
    workspace.run_file_import("i1", scripted(50))
    page = door.history().json()
    assert (len(page["data"]), page["more_files"]) == (50, False)
    assert error(door.history(offset=2)) == "Import Doesn't Exist"


@pytest.mark.parametrize("offset", [3, 0, -1, "x", True, 1.5])
def test_an_offset_past_the_end_or_wrong_says_that_the_import_does_not_exist(door, workspace, offset):
    workspace.configure(file_page_size=2)
    workspace.run_file_import("i1", scripted(4))
    assert error(door.history(offset=offset)) == "Import Doesn't Exist"


def test_an_offset_may_be_text(door, workspace):
    workspace.configure(file_page_size=3)
    workspace.run_file_import("i1", scripted(4))
    assert len(names(door.history(offset="2"))) == 1


def test_the_newest_files_come_first(door, workspace, clock):
    for run in "abc":
        workspace.run_file_import("i1", scripted(2, prefix=run))
        clock.now += 60
    assert names(door.history()) == ["c001.csv", "c000.csv", "b001.csv", "b000.csv", "a001.csv", "a000.csv"]
    workspace.configure(file_order="oldest")
    assert names(door.history())[:3] == ["a000.csv", "a001.csv", "b000.csv"]


def test_a_shuffled_history_is_in_no_order_and_the_same_each_time(door, workspace):
    workspace.configure(file_order="shuffled", file_page_size=15)
    workspace.run_file_import("i1", scripted(30))
    first, again, rest = (names(door.history(offset=offset)) for offset in (1, 1, 2))

    assert first == again
    assert sorted(first + rest) == [f"f{number:03}.csv" for number in range(30)]
    assert first + rest not in (sorted(first + rest), sorted(first + rest, reverse=True))


@pytest.mark.parametrize(
    ("status", "found"),
    [("SUCCESSFUL", "SUCCESSFUL"), ("PARTIAL_SUCCESS", "PARTIAL_SUCCESS"), ("PARTIAL_SUCCESS", "PARTIAL_FAILURE")],
)
def test_files_are_filtered_by_status(door, workspace, status, found):
    workspace.run_file_import("i1", [*scripted(1, status=found), *scripted(1, status="FAILED", prefix="x")])
    assert names(door.history(file_status=[status])) == ["f000.csv"]
    assert len(names(door.history(file_status=[status, "FAILED"]))) == 2
    assert len(names(door.history(file_status=[]))) == 2
    assert door.history(file_status=[status]).json()["total_count"] == 1


@pytest.mark.parametrize("wanted", ["SUCCESSFUL", ["successful"], ["PARTIAL_FAILURE"], [1], {}])
def test_a_status_that_the_filter_does_not_know_is_400(door, wanted):
    response = door.history(file_status=wanted)
    assert response.status_code == 400
    assert response.json() == {
        "success": False,
        "status_code": "400 Bad Request",
        "data": "Unable to process the request",
    }


def dates(start, end, form="YYYY-MM-DD"):
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
def test_all_documented_date_formats_are_read(door, workspace, clock, day, form):
    workspace.run_file_import("i1", scripted(1, prefix="in"))
    clock.now += DAY
    workspace.run_file_import("i1", scripted(1, prefix="after"))

    assert names(door.history(date=dates(day, day, form))) == ["in000.csv"]
    seconds = f"{form} hh:mm:ss"
    assert names(door.history(date=dates(f"{day} 22:13:20", f"{day} 22:13:20", seconds))) == ["in000.csv"]
    assert names(door.history(date=dates(f"{day} 22:13:21", f"{day} 23:00:00", seconds))) == []
    assert names(door.history(date=dates(f"{day} 00:00:00", f"{day} 22:13:19", seconds))) == []


def test_the_last_day_counts_whole(door, workspace, clock):
    for moment in (1_699_919_999.9, 1_699_920_000, 1_700_006_399.9, 1_700_006_400):
        clock.now = moment
        workspace.run_file_import("i1", scripted(1, prefix=f"{moment}-"))
    found = names(door.history(date=dates("2023-11-14", "2023-11-14")))
    assert found == ["1700006399.9-000.csv", "1699920000-000.csv"]


def test_the_date_of_a_file_is_when_it_came(door, workspace, clock):
    late = ImportFile("late.csv", steps=((DAY, "QUEUED"),))
    workspace.run_file_import("i1", [late])
    clock.now += DAY
    assert names(door.history(date=dates("2023-11-15", "2023-11-15"))) == ["late.csv"]
    assert names(door.history(date=dates("2023-11-14", "2023-11-14"))) == []


def test_dates_30_days_apart_are_the_most(door, workspace):
    workspace.run_file_import("i1", scripted(1))
    assert names(door.history(date=dates("2023-10-20", "2023-11-19"))) == ["f000.csv"]
    assert error(door.history(date=dates("2023-10-20", "2023-11-20"))) == "Difference exceeds 30 days"
    form = "DD/MM/YYYY hh:mm:ss"
    month = dates("20/10/2023 10:00:00", "19/11/2023 10:00:00", form)
    assert len(names(door.history(date=month))) == 1
    over = dates("20/10/2023 10:00:00", "19/11/2023 10:00:01", form)
    assert error(door.history(date=over)) == "Difference exceeds 30 days"


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
def test_a_wrong_date_is_400(door, wanted):
    assert error(door.history(date=wanted)) == "Invalid Date format"


@pytest.mark.parametrize("filters", [{"file_status": ["FAILED"]}, {"date": dates("2020-01-01", "2020-01-02")}])
def test_filters_that_match_nothing_are_an_empty_page_or_a_missing_import(door, workspace, filters):
    workspace.run_file_import("i1", scripted(1))
    assert names(door.history(**filters)) == []
    workspace.configure(file_no_match="missing")

    assert error(door.history(**filters)) == "Import Doesn't Exist"
    assert names(door.history()) == ["f000.csv"]
    assert names(door.history(file_status=["SUCCESSFUL"])) == ["f000.csv"]


def test_an_import_that_never_ran_is_there_even_where_no_match_is_a_missing_import(door, workspace):
    workspace.configure(file_no_match="missing")
    assert names(door.history()) == []


def test_counts_can_be_text(door, workspace):
    workspace.configure(file_numbers_as_text=True, file_page_size=1)
    workspace.run_file_import("i1", [*scripted(1), ImportFile("g.csv", steps=((0, "SUCCESSFUL"),), failed_rows=4)])
    first, last = (door.history(offset=offset).json() for offset in (1, 2))

    assert (first["total_count"], first["more_files"], last["more_files"]) == ("2", "true", "false")
    (file,) = first["data"]
    assert (file["total_rows"], file["added_rows"], file["failed_rows"]) == ("100", "96", "4")
    assert (file["skipped_rows"], file["updated_rows"], file["aux_data_added_count"]) == ("0", "0", "0")
    assert file["aux_data_failed_count"] == "0"


def test_an_empty_page_can_be_null(door, workspace):
    workspace.configure(file_null_data=True)
    assert door.history().json()["data"] is None
    workspace.run_file_import("i1", scripted(1))
    assert len(door.history().json()["data"]) == 1


def test_a_file_taken_in_part_can_go_by_the_other_word(door, workspace):
    workspace.run_file_import("i1", [*scripted(1, status="PARTIAL_SUCCESS"), *scripted(1)])
    workspace.configure(file_partial_word="PARTIAL_FAILURE")

    files = door.history().json()["data"]
    assert [file["file_status"] for file in files] == ["SUCCESSFUL", "PARTIAL_FAILURE"]
    assert files[1]["completed_at"] is not None
    assert len(names(door.history(file_status=["PARTIAL_SUCCESS"]))) == 1


def test_the_history_takes_50_requests_a_minute(door, workspace, clock):
    workspace.configure(retry_after="seconds")
    answers = [door.history() for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    assert [answers[n].headers["x-ratelimit-remaining"] for n in (0, 49)] == ["49", "0"]
    clock.now += 10
    response = door.history()

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
    assert door.details().status_code == 200
    clock.now += 50
    assert door.history().status_code == 200


def test_the_limit_headers_take_the_form_that_the_settings_ask_for(door, workspace):
    workspace.configure(file_history_quota=((1, 60),), reset_header="epoch")
    assert door.history().headers["x-ratelimit-reset"] == str(START + 60)
    workspace.configure(envoy=True)
    throttled = door.history()
    assert throttled.headers["x-envoy-ratelimited"] == "true"
    assert "x-ratelimit-reset" not in throttled.headers


def test_a_limit_with_several_windows_tells_of_the_tightest(door, workspace, clock):
    workspace.configure(file_history_quota=((2, 60), (3, 600)))
    assert door.history().headers["x-ratelimit-limit"] == "2"
    door.history()
    clock.now += 60
    last = door.history()
    assert (last.headers["x-ratelimit-limit"], last.headers["x-ratelimit-remaining"]) == ("3", "0")
    throttled = door.history()
    assert (throttled.status_code, throttled.headers["x-ratelimit-reset"]) == (429, "540")


def test_a_refused_query_counts_and_a_wrong_key_does_not(door, workspace):
    workspace.configure(file_history_quota=((2, 60),))
    for _ in range(3):
        door._file_imports("import/run/history", b"{}", auth=("EMULATOR", "wrong"))
    assert error(door.history("nothing")) == "Import Doesn't Exist"
    assert [door.history().status_code for _ in range(2)] == [200, 429]


def test_the_limit_can_be_lifted(door, workspace):
    workspace.configure(file_history_quota=None)
    answers = [door.history() for _ in range(51)]
    assert {answer.status_code for answer in answers} == {200}
    assert "x-ratelimit-limit" not in answers[0].headers


@pytest.mark.parametrize("path", ["import/run/history", "import/status"])
def test_a_body_that_is_no_json_object_is_400(door, path):
    for body in (b"", b"{", b"[]", b'"\xff"'):
        assert door._file_imports(path, body).json()["data"] == "Unable to process the request"


def test_a_body_that_does_not_say_that_it_is_json_is_415_in_each_ones_own_words(door):
    sent = {"headers": {"Content-Type": "text/plain"}}
    history, details = (
        door._file_imports(path, b"{}", **sent) for path in ("import/run/history", "import/status")
    )
    assert (history.status_code, details.status_code) == (415, 415)
    assert history.json()["error_description"] == "Content type is not supported"
    assert details.json()["description"] == "Content type is not supported"
