"""Imports that watch a real folder: which files a run takes, and what MoEngage's rules make of them."""

from __future__ import annotations

import json
import os
import sys
import tracemalloc
from datetime import UTC, datetime

import pytest

from airflow_provider_moengage.emulator import FileImport, ImportFile
from airflow_provider_moengage.emulator.file_imports import file_rules as import_file_rules
from airflow_provider_moengage.emulator.file_imports.folder import prefix_of

IDS = [f"u{number}" for number in range(1, 8)]


def csv(*rows, header="customer_id,name"):
    return "".join(f"{row}\n" for row in (header, *rows))


GOOD = csv(*(f"{customer},Somebody" for customer in IDS))


def ndjson(*rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def users(workspace, folder):
    workspace.add_file_import(FileImport("i1", "Users", folder=str(folder)))
    workspace.configure(file_order="oldest")


def put(folder, name, text):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def take(door, clock):
    """Trigger a run and return its files as they end."""
    assert door.trigger_import().status_code == 200
    before = clock.now
    clock.now += 300
    files = door.history().json()["data"]
    return [file for file in files if file["scheduled_at"] == _text(before)]


def _text(epoch):
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def judged(door, clock, folder, text, name="users_20240101.csv"):
    put(folder, name, text)
    (file,) = take(door, clock)
    return file


def failed(file, said):
    assert file["file_status"] == "FAILED", file
    assert said in file["status_msg"]
    assert (file["total_rows"], file["added_rows"], file["failed_rows"]) == (0, 0, 0)


def names(files):
    return [file["file_name"] for file in files]


def test_a_run_takes_the_files_of_the_folder_with_their_real_counts(door, clock, folder):
    put(folder, "users_20240101.csv", GOOD)
    put(folder, "people_20240101.json", ndjson(*({"customer_id": customer} for customer in IDS[:5])))
    first, second = take(door, clock)

    assert (first["file_name"], first["file_status"], first["added_rows"]) == (
        "people_20240101.json",
        "SUCCESSFUL",
        5,
    )
    assert second["file_name"] == "users_20240101.csv"
    assert (second["total_rows"], second["added_rows"], second["failed_rows"]) == (7, 7, 0)
    assert (second["file_size"], second["status_msg"]) == (str(len(GOOD)), "")


def test_the_files_of_a_folder_have_the_times_of_the_import(door, workspace, clock, folder):
    workspace.add_file_import(FileImport("i1", "Users", folder=str(folder), steps_seconds=(1, 3, 8)))
    put(folder, "users_20240101.csv", GOOD)
    door.trigger_import()
    start, seen = clock.now, []
    for later in (0, 1, 3, 7.5, 8):
        clock.now = start + later
        seen.append([file["file_status"] for file in door.history().json()["data"]])
    assert seen == [[], ["QUEUED"], ["PROCESSING"], ["PROCESSING"], ["SUCCESSFUL"]]


def test_a_file_is_read_when_the_run_begins(door, clock, folder):
    put(folder, "users_20240101.csv", GOOD)
    door.trigger_import()
    put(folder, "users_20240101.csv", "nothing good")
    clock.now += 10
    assert door.history().json()["data"][0]["file_status"] == "SUCCESSFUL"


def test_a_file_name_that_was_seen_is_skipped_whatever_came_of_it(door, clock, folder):
    put(folder, "bad_20240101.csv", "")
    put(folder, "good_20240101.csv", GOOD)
    assert names(take(door, clock)) == ["bad_20240101.csv", "good_20240101.csv"]
    put(folder, "bad_20240101.csv", GOOD)
    put(folder, "good_20240102.csv", GOOD)
    assert names(take(door, clock)) == ["good_20240102.csv"]


def test_a_run_without_new_files_takes_none_and_fails(door, clock, folder):
    put(folder, "users_20240101.csv", GOOD)
    take(door, clock)
    assert take(door, clock) == []
    (found,) = door.details().json()["data"]
    assert (found["last_run_status"], found["total_files"]) == ("FAILED", 0)


def test_a_folder_that_is_not_there_has_no_files(door, workspace, clock, folder):
    workspace.add_file_import(FileImport("i1", "Users", folder=str(folder / "nowhere")))
    assert take(door, clock) == []


def test_reset_forgets_the_names_that_were_seen(door, workspace, clock, folder):
    put(folder, "users_20240101.csv", GOOD)
    take(door, clock)
    workspace.reset()
    assert names(take(door, clock)) == ["users_20240101.csv"]


def test_names_are_seen_by_import_and_also_after_the_import_changed(door, workspace, clock, folder):
    put(folder, "users_20240101.csv", GOOD)
    take(door, clock)
    workspace.add_file_import(FileImport("i1", "Users", folder=str(folder), import_source="SFTP"))
    assert take(door, clock) == []
    workspace.add_file_import(FileImport("i2", "Others", folder=str(folder)))
    assert [file.file_name for file in workspace.run_file_import("i2").files] == ["users_20240101.csv"]


def test_the_dashboards_run_takes_the_folder_unless_it_is_given_files(workspace, folder):
    put(folder, "users_20240101.csv", GOOD)
    assert [file.file_name for file in workspace.run_file_import("i1", [ImportFile("x.csv")]).files] == ["x.csv"]
    assert [file.file_name for file in workspace.run_file_import("i1").files] == ["users_20240101.csv"]


def test_a_run_takes_at_most_100_files_by_name(door, workspace, clock, folder):
    workspace.configure(file_page_size=200)
    for number in range(103):
        put(folder, f"users{number:03}_20240101.csv", GOOD)
    assert names(take(door, clock)) == [f"users{number:03}_20240101.csv" for number in range(100)]
    assert names(take(door, clock)) == [f"users{number:03}_20240101.csv" for number in range(100, 103)]


def test_a_date_is_one_of_the_documented_forms():
    known = {
        "users_01_2024.csv": "users",
        "users_31012024.csv": "users",
        "users_20240131.json": "users",
        "users_jan_2022.csv": "users",
        "registered_user_data_20240131_2359.csv": "registered_user_data",
        "Two words_20240131.csv": "Two words",
        "a-b_20240131.csv": "a-b",
    }
    unknown = [
        "users.csv",
        "20240131.csv",
        "_20240131.csv",
        "users20240131.csv",
        "users_2024-01-31.csv",
        "users_20241301.csv",
        "users_20240131_2460.csv",
        "users_13_2024.csv",
        "users_Jan_2022.csv",
        "users_abc_2022.csv",
        "users_20240131.txt",
        "users_20240131.CSV",
        "users_20240131.csv.tmp",
        "users_20240131.csv.pgp",
        "users_20240131",
        ".users_20240131.csv",
        "manifest.json",
    ]
    assert {name: prefix_of(name) for name in known} == known
    assert {name: prefix_of(name) for name in unknown} == dict.fromkeys(unknown)


def test_what_is_no_data_file_is_not_taken(door, clock, folder):
    (folder / "folder_20240101.csv").mkdir()
    for name in ("users.csv", "manifest.json", ".users_20240101.csv", "users_20240101.csv.tmp"):
        put(folder, name, GOOD)
    assert take(door, clock) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every name is text")
def test_a_file_whose_name_is_not_utf_8_is_not_taken(door, clock, folder):
    put(folder, os.fsdecode(b"J\xf6rg_20240101.csv"), GOOD)
    put(folder, "Jörg_20240101.csv", GOOD)
    assert names(take(door, clock)) == ["Jörg_20240101.csv"]
    assert door.control("POST", "file_imports/run", {"import_id": "i1"}).json()["files"] == []
    assert door.control("GET", "picture").status_code == 200


def test_a_prefix_with_other_characters_fails_but_for_events_which_go_by_their_name(
    door, workspace, clock, folder
):
    failed(judged(door, clock, folder, GOOD, "my-users_20240101.csv"), "prefix")
    workspace.add_file_import(FileImport("i1", "Users", folder=str(folder), import_type="EVENTS"))
    rows = csv(*(f"{customer},2024-01-01T00:00:00Z" for customer in IDS), header="customer_id,current_time")
    assert judged(door, clock, folder, rows, "Add-to-cart_20240101.csv")["file_status"] == "SUCCESSFUL"


def test_rows_without_an_id_fail_and_the_file_does_well_in_part(door, clock, folder):
    file = judged(door, clock, folder, csv("u1,A", ",B", "u3,C", "  ,D", "u5,E"))

    assert file["file_status"] == "PARTIAL_SUCCESS"
    assert (file["total_rows"], file["added_rows"], file["failed_rows"]) == (5, 3, 2)
    assert file["status_msg"] == "2 of 5 rows failed; the first is row 2: customer_id is empty"


def test_a_bar_in_a_cell_fails_its_row(door, clock, folder):
    file = judged(door, clock, folder, csv("u1,A", "u2,B|C", 'u3,"D"', "u4,", "u5,E"))
    assert (file["added_rows"], file["failed_rows"]) == (4, 1)
    assert file["status_msg"].endswith("row 2: a cell contains |")


def test_a_row_of_another_width_fails(door, clock, folder):
    file = judged(door, clock, folder, csv("u1,A", "u2", "u3,C,D", "u4,D", "u5,E"))
    assert (file["added_rows"], file["failed_rows"]) == (3, 2)
    assert file["status_msg"].endswith("row 2: it has 1 cells, the header 2")


def test_a_file_of_which_all_rows_fail_has_failed(door, clock, folder):
    file = judged(door, clock, folder, csv(*[",A"] * 6))
    assert (file["file_status"], file["total_rows"], file["failed_rows"]) == ("FAILED", 6, 6)
    assert "6 of 6 rows failed" in file["status_msg"]


def test_cells_may_be_quoted_and_hold_commas_and_lines(door, clock, folder):
    rows = [f'{customer},"a, ""b""\r\nc\n\nd"' for customer in IDS]
    file = judged(door, clock, folder, csv(*rows))
    assert (file["file_status"], file["added_rows"]) == ("SUCCESSFUL", 7)


def test_the_last_line_may_have_no_end(door, clock, folder):
    assert judged(door, clock, folder, GOOD.rstrip("\n"))["added_rows"] == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no header row"),
        ("\n" + GOOD, "no header row"),
        (
            csv(*[f"{customer},1,2" for customer in IDS], header="customer_id,a,a"),
            "column a is repeated",
        ),
        (csv(*IDS, header="id"), "column customer_id is missing"),
        (csv(*IDS, header="Customer_Id"), "column customer_id is missing"),
        (GOOD.replace("\n", "\r\n"), "Lines must end with \\n"),
        (GOOD[:-1] + "\r\n", "Lines must end with \\n"),
        (GOOD[:-1] + "\r", "Lines must end with \\n"),
        (GOOD.replace("\n", "\r"), "Lines must end with \\n"),
        (GOOD.replace("u3,Somebody\n", "u3,Somebody\n\n"), "Row 4 is blank"),
        (GOOD + "\n", "Row 8 is blank"),
        (GOOD.encode().replace(b"Somebody", b"J\xf6rg"), "not UTF-8"),
        (GOOD.encode("utf-16"), "not UTF-8"),
        (csv(*[f"{customer},A" for customer in IDS[:4]]), "The file has 4 data rows; the minimum is 5"),
        (csv(*[f'{customer},"A' for customer in IDS]), "not valid CSV"),
        (csv(*[f'{customer},"A"B' for customer in IDS]), "not valid CSV"),
    ],
)
def test_a_csv_that_breaks_a_rule_fails_and_says_which(door, clock, folder, text, said):
    failed(judged(door, clock, folder, text), said)


def test_five_rows_are_enough(door, clock, folder):
    assert judged(door, clock, folder, csv(*[f"{customer},A" for customer in IDS[:5]]))["added_rows"] == 5


def test_a_cell_of_128_kb_fails_the_file(door, clock, folder):
    rows = [f"{customer},A" for customer in IDS[:5]]
    just_under = "ä" * 65_535 + "a"
    assert judged(door, clock, folder, csv(*rows, f"u6,{just_under}"))["added_rows"] == 6
    over = csv(*rows, f"u6,{just_under}a")
    failed(judged(door, clock, folder, over, "users_20240102.csv"), "row 6 has 128 KB")
    far_over = csv(*rows, f"u6,{'a' * 200_000}")
    failed(judged(door, clock, folder, far_over, "users_20240103.csv"), "field larger")


def test_many_cells_together_may_pass_128_kb(door, clock, folder):
    wide = csv(*[f"{customer},{'a' * 100_000},{'b' * 100_000}" for customer in IDS], header="customer_id,a,b")
    assert judged(door, clock, folder, wide)["added_rows"] == 7


def test_a_file_of_200_mb_fails(door, clock, folder):
    with (folder / "users_20240101.csv").open("wb") as file:
        file.truncate(200_000_000)
    (file,) = take(door, clock)
    failed(file, "200,000,000 bytes")
    assert file["file_size"] == "200000000"


@pytest.mark.no_cover
def test_a_line_without_end_fails_before_it_is_all_in_memory(door, clock, folder):
    with (folder / "users_20240101.json").open("wb") as file:
        file.truncate(90_000_000)
    tracemalloc.start()
    (file,) = take(door, clock)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    failed(file, "A line is longer than any row can be")
    assert peak < 85_000_000


def test_a_line_may_be_as_long_as_any_row_can_be(door, clock, folder, monkeypatch):
    header = "customer_id,name\n"
    monkeypatch.setattr(import_file_rules, "_LINE_LIMIT", len(header))
    assert judged(door, clock, folder, GOOD)["added_rows"] == 7
    monkeypatch.setattr(import_file_rules, "_LINE_LIMIT", len(header) - 1)
    failed(judged(door, clock, folder, GOOD, "users_20240102.csv"), "A line is longer")


@pytest.mark.no_cover
def test_a_long_file_takes_no_more_memory_than_a_short_one(door, clock, folder):
    put(folder, "users_20240101.csv", csv(*[f"{customer},Somebody" for customer in IDS * 30_000]))
    tracemalloc.start()
    (file,) = take(door, clock)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert file["added_rows"] == 210_000
    assert peak < 1_000_000


def test_a_file_that_can_not_be_read_fails(door, clock, folder, monkeypatch):
    put(folder, "users_20240101.csv", GOOD)

    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    (file,) = take(door, clock)
    failed(file, "The file cannot be read: Permission denied")


EVENT_HEADER = "customer_id,current_time,price"


@pytest.fixture
def events(workspace, folder):
    workspace.add_file_import(FileImport("i1", "Users", import_type="EVENTS", folder=str(folder)))


@pytest.mark.usefixtures("events")
def test_events_need_an_id_and_a_time(door, clock, folder):
    time = "2024-01-01T00:00:00Z"
    rows = csv(f"u1,{time},1", f",{time},2", "u3,,3", f"u4,{time},4", f"u5,{time},5", header=EVENT_HEADER)
    file = judged(door, clock, folder, rows, "Buy_20240101.csv")
    assert (file["type"], file["added_rows"], file["failed_rows"]) == ("EVENTS", 3, 2)
    failed(judged(door, clock, folder, GOOD, "Buy_20240102.csv"), "column current_time is missing")


@pytest.mark.usefixtures("events")
def test_json_events_need_an_id_and_a_time(door, clock, folder):
    time = "2024-01-01T00:00:00Z"
    rows = [{"customer_id": "u1", "current_time": time}] * 5 + [{"customer_id": "u1"}, {"current_time": time}]
    file = judged(door, clock, folder, ndjson(*rows), "Buy_20240101.json")
    assert (file["added_rows"], file["failed_rows"]) == (5, 2)
    assert file["status_msg"].endswith("row 6: current_time is empty")


def test_the_id_and_the_time_may_have_other_columns(door, workspace, clock, folder):
    workspace.add_file_import(
        FileImport("i1", "Users", import_type="EVENTS", folder=str(folder), id_column="uid", time_column="at")
    )
    rows = csv(*[f"{customer},1700000000" for customer in IDS], header="uid,at")
    assert judged(door, clock, folder, rows)["added_rows"] == 7


def test_auxiliary_data_takes_csv_alone_and_needs_no_id(door, workspace, clock, folder):
    workspace.add_file_import(FileImport("i1", "Users", import_type="AUX_DATA", folder=str(folder)))
    put(folder, "aux_20240101.json", ndjson(*[{"sku": number} for number in range(5)]))
    put(folder, "aux_20240102.csv", csv(*IDS, header="sku"))
    first, second = take(door, clock)

    failed(first, "must be CSV")
    assert (second["aux_data_added_count"], second["added_rows"]) == (7, 7)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "Line 4 is not one JSON object"),
        ("[1]", "Line 4 is not one JSON object"),
        ('{"customer_id": "u4"', "Line 4 is not one JSON object"),
        ('{"customer_id": "u4"}{"customer_id": "u5"}', "Line 4 is not one JSON object"),
        ('{"customer_id": "u4", "bio": "' + "a" * 131_072 + '"}', "A cell of row 4 has 128 KB or more"),
        ('{"customer_id": "u4", "all": [' + "1," * 70_000 + "1]}", "A cell of row 4 has 128 KB or more"),
    ],
)
def test_a_json_file_that_breaks_a_rule_fails_and_says_which(door, clock, folder, line, said):
    lines = [json.dumps({"customer_id": customer}) for customer in IDS]
    lines[3] = line
    text = "".join(f"{line}\n" for line in lines)
    failed(judged(door, clock, folder, text, "users_20240101.json"), said)


def test_a_json_file_in_another_encoding_or_with_few_rows_fails(door, clock, folder):
    rows = ndjson(*[{"customer_id": customer} for customer in IDS])
    failed(judged(door, clock, folder, rows.encode("utf-16"), "users_20240101.json"), "not UTF-8")
    few = ndjson(*[{"customer_id": customer} for customer in IDS[:4]])
    failed(judged(door, clock, folder, few, "users_20240102.json"), "4 data rows")


def test_json_rows_fail_without_an_id_or_with_a_bar_outside_an_array(door, clock, folder):
    rows = [
        {"customer_id": "u1", "tags": ["a|b"]},
        {"customer_id": None},
        {"customer_id": " "},
        {"name": "nobody"},
        {"customer_id": "u5", "name": "a|b"},
        {"customer_id": 0},
        {"customer_id": "u7", "bio": "a" * 131_071},
    ]
    file = judged(door, clock, folder, ndjson(*rows), "users_20240101.json")
    assert (file["file_status"], file["added_rows"], file["failed_rows"]) == ("PARTIAL_SUCCESS", 3, 4)
