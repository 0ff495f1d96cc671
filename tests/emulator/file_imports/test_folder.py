"""Imports with a local folder: which files a run imports, and how MoEngage's file rules apply to them."""

from __future__ import annotations

import json
import os
import sys
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_moengage.emulator import FileImport, ImportFile
from airflow_provider_moengage.emulator.file_imports import file_rules as import_file_rules
from airflow_provider_moengage.emulator.file_imports.folder import prefix_of

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client
    from tests.emulator.fake_clock import FakeClock

IDS = [f"u{number}" for number in range(1, 8)]


def csv(*rows: str, header: str = "customer_id,name") -> str:
    return "".join(f"{row}\n" for row in (header, *rows))


GOOD = csv(*(f"{customer},Somebody" for customer in IDS))


def ndjson(*rows: object) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def users(workspace: Workspace, folder: Path) -> None:
    workspace.add_file_import(FileImport("i1", "Users", folder=str(folder)))
    workspace.configure(file_order="oldest")


def write_file(folder: Path, name: str, text: str | bytes) -> None:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def run_import(client: Client, clock: FakeClock) -> list[dict[str, Any]]:
    """Trigger a run and return its files once they are done."""
    assert client.trigger_import(timeout=60).status_code == 200
    before = clock.now
    clock.now += 300
    files = client.history().json()["data"]
    return [file for file in files if file["scheduled_at"] == iso(before)]


def iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def import_file(
    client: Client, clock: FakeClock, folder: Path, text: str | bytes, name: str = "users_20240101.csv"
) -> dict[str, Any]:
    write_file(folder, name, text)
    (file,) = run_import(client, clock)
    return file


def assert_failed(file: dict[str, Any], said: str) -> None:
    assert file["file_status"] == "FAILED", file
    assert said in file["status_msg"]
    assert (file["total_rows"], file["added_rows"], file["failed_rows"]) == (0, 0, 0)


def names(files: list[dict[str, Any]]) -> list[str]:
    return [file["file_name"] for file in files]


def test_a_run_imports_the_files_in_the_folder_and_counts_their_rows(
    client: Client, clock: FakeClock, folder: Path
) -> None:
    write_file(folder, "users_20240101.csv", GOOD)
    write_file(folder, "people_20240101.json", ndjson(*({"customer_id": customer} for customer in IDS[:5])))
    first, second = run_import(client, clock)

    assert (first["file_name"], first["file_status"], first["added_rows"]) == (
        "people_20240101.json",
        "SUCCESSFUL",
        5,
    )
    assert second["file_name"] == "users_20240101.csv"
    assert (second["total_rows"], second["added_rows"], second["failed_rows"]) == (7, 7, 0)
    assert (second["file_size"], second["status_msg"]) == (str(len(GOOD)), "")


def test_files_in_a_folder_use_the_step_times_of_the_import(
    client: Client, workspace: Workspace, clock: FakeClock, folder: Path
) -> None:
    workspace.add_file_import(FileImport("i1", "Users", folder=str(folder), steps_seconds=(1, 3, 8)))
    write_file(folder, "users_20240101.csv", GOOD)
    client.trigger_import()
    start, seen = clock.now, []
    for later in (0, 1, 3, 7.5, 8):
        clock.now = start + later
        seen.append([file["file_status"] for file in client.history().json()["data"]])
    assert seen == [[], ["QUEUED"], ["PROCESSING"], ["PROCESSING"], ["SUCCESSFUL"]]


def test_a_file_is_read_when_the_run_starts(client: Client, clock: FakeClock, folder: Path) -> None:
    write_file(folder, "users_20240101.csv", GOOD)
    client.trigger_import()
    write_file(folder, "users_20240101.csv", "nothing good")
    clock.now += 10
    assert client.history().json()["data"][0]["file_status"] == "SUCCESSFUL"


def test_a_file_name_is_imported_only_once_even_if_the_file_failed(
    client: Client, clock: FakeClock, folder: Path
) -> None:
    write_file(folder, "bad_20240101.csv", "")
    write_file(folder, "good_20240101.csv", GOOD)
    assert names(run_import(client, clock)) == ["bad_20240101.csv", "good_20240101.csv"]
    write_file(folder, "bad_20240101.csv", GOOD)
    write_file(folder, "good_20240102.csv", GOOD)
    assert names(run_import(client, clock)) == ["good_20240102.csv"]


def test_a_run_without_new_files_fails(client: Client, clock: FakeClock, folder: Path) -> None:
    write_file(folder, "users_20240101.csv", GOOD)
    run_import(client, clock)
    assert run_import(client, clock) == []
    (found,) = client.details().json()["data"]
    assert (found["last_run_status"], found["total_files"]) == ("FAILED", 0)


def test_a_missing_folder_has_no_files(
    client: Client, workspace: Workspace, clock: FakeClock, folder: Path
) -> None:
    workspace.add_file_import(FileImport("i1", "Users", folder=str(folder / "nowhere")))
    assert run_import(client, clock) == []


def test_reset_clears_the_imported_file_names(
    client: Client, workspace: Workspace, clock: FakeClock, folder: Path
) -> None:
    write_file(folder, "users_20240101.csv", GOOD)
    run_import(client, clock)
    workspace.reset()
    assert names(run_import(client, clock)) == ["users_20240101.csv"]


def test_imported_file_names_are_kept_per_import_and_after_it_changes(
    client: Client, workspace: Workspace, clock: FakeClock, folder: Path
) -> None:
    write_file(folder, "users_20240101.csv", GOOD)
    run_import(client, clock)
    workspace.add_file_import(FileImport("i1", "Users", folder=str(folder), import_source="SFTP"))
    assert run_import(client, clock) == []
    workspace.add_file_import(FileImport("i2", "Others", folder=str(folder)))
    assert [file.file_name for file in workspace.run_file_import("i2").files] == ["users_20240101.csv"]


def test_a_dashboard_run_uses_the_folder_unless_files_are_given(workspace: Workspace, folder: Path) -> None:
    write_file(folder, "users_20240101.csv", GOOD)
    assert [file.file_name for file in workspace.run_file_import("i1", [ImportFile("x.csv")]).files] == ["x.csv"]
    assert [file.file_name for file in workspace.run_file_import("i1").files] == ["users_20240101.csv"]


@pytest.mark.breaks_contract
def test_a_run_imports_at_most_100_files_in_order_of_name(
    client: Client, workspace: Workspace, clock: FakeClock, folder: Path
) -> None:
    workspace.configure(file_page_size=200)
    for number in range(103):
        write_file(folder, f"users{number:03}_20240101.csv", GOOD)
    assert names(run_import(client, clock)) == [f"users{number:03}_20240101.csv" for number in range(100)]
    assert names(run_import(client, clock)) == [f"users{number:03}_20240101.csv" for number in range(100, 103)]


def test_a_file_name_needs_a_date_in_a_documented_format() -> None:
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


def test_other_files_are_ignored(client: Client, clock: FakeClock, folder: Path) -> None:
    (folder / "folder_20240101.csv").mkdir()
    for name in ("users.csv", "manifest.json", ".users_20240101.csv", "users_20240101.csv.tmp"):
        write_file(folder, name, GOOD)
    assert run_import(client, clock) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every name is text")
def test_a_file_whose_name_is_not_utf_8_is_ignored(client: Client, clock: FakeClock, folder: Path) -> None:
    write_file(folder, os.fsdecode(b"J\xf6rg_20240101.csv"), GOOD)
    write_file(folder, "Jörg_20240101.csv", GOOD)
    assert names(run_import(client, clock)) == ["Jörg_20240101.csv"]
    assert client.control("POST", "file_imports/run", {"import_id": "i1"}).json()["files"] == []
    assert client.control("GET", "picture").status_code == 200


def test_a_prefix_with_invalid_characters_fails_except_for_events(
    client: Client, workspace: Workspace, clock: FakeClock, folder: Path
) -> None:
    assert_failed(import_file(client, clock, folder, GOOD, "my-users_20240101.csv"), "prefix")
    workspace.add_file_import(FileImport("i1", "Users", folder=str(folder), import_type="EVENTS"))
    rows = csv(*(f"{customer},2024-01-01T00:00:00Z" for customer in IDS), header="customer_id,current_time")
    assert import_file(client, clock, folder, rows, "Add-to-cart_20240101.csv")["file_status"] == "SUCCESSFUL"


def test_rows_without_an_id_fail_and_the_file_is_a_partial_success(
    client: Client, clock: FakeClock, folder: Path
) -> None:
    file = import_file(client, clock, folder, csv("u1,A", ",B", "u3,C", "  ,D", "u5,E"))

    assert file["file_status"] == "PARTIAL_SUCCESS"
    assert (file["total_rows"], file["added_rows"], file["failed_rows"]) == (5, 3, 2)
    assert file["status_msg"] == "2 of 5 rows failed; the first is row 2: customer_id is empty"


def test_a_row_with_a_pipe_in_a_cell_fails(client: Client, clock: FakeClock, folder: Path) -> None:
    file = import_file(client, clock, folder, csv("u1,A", "u2,B|C", 'u3,"D"', "u4,", "u5,E"))
    assert (file["added_rows"], file["failed_rows"]) == (4, 1)
    assert file["status_msg"].endswith("row 2: a cell contains |")


def test_a_row_with_more_or_fewer_cells_than_the_header_fails(
    client: Client, clock: FakeClock, folder: Path
) -> None:
    file = import_file(client, clock, folder, csv("u1,A", "u2", "u3,C,D", "u4,D", "u5,E"))
    assert (file["added_rows"], file["failed_rows"]) == (3, 2)
    assert file["status_msg"].endswith("row 2: it has 1 cells, the header 2")


def test_a_file_fails_if_all_its_rows_fail(client: Client, clock: FakeClock, folder: Path) -> None:
    file = import_file(client, clock, folder, csv(*[",A"] * 6))
    assert (file["file_status"], file["total_rows"], file["failed_rows"]) == ("FAILED", 6, 6)
    assert "6 of 6 rows failed" in file["status_msg"]


def test_quoted_cells_may_contain_commas_and_line_breaks(client: Client, clock: FakeClock, folder: Path) -> None:
    rows = [f'{customer},"a, ""b""\r\nc\n\nd"' for customer in IDS]
    file = import_file(client, clock, folder, csv(*rows))
    assert (file["file_status"], file["added_rows"]) == ("SUCCESSFUL", 7)


def test_the_last_line_may_lack_a_line_break(client: Client, clock: FakeClock, folder: Path) -> None:
    assert import_file(client, clock, folder, GOOD.rstrip("\n"))["added_rows"] == 7


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
def test_an_invalid_csv_file_fails_and_names_the_rule(
    client: Client, clock: FakeClock, folder: Path, text: str | bytes, said: str
) -> None:
    assert_failed(import_file(client, clock, folder, text), said)


def test_five_rows_are_enough(client: Client, clock: FakeClock, folder: Path) -> None:
    assert import_file(client, clock, folder, csv(*[f"{customer},A" for customer in IDS[:5]]))["added_rows"] == 5


def test_a_cell_of_128_kb_fails_the_file(client: Client, clock: FakeClock, folder: Path) -> None:
    rows = [f"{customer},A" for customer in IDS[:5]]
    just_under = "ä" * 65_535 + "a"
    assert import_file(client, clock, folder, csv(*rows, f"u6,{just_under}"))["added_rows"] == 6
    over = csv(*rows, f"u6,{just_under}a")
    assert_failed(import_file(client, clock, folder, over, "users_20240102.csv"), "row 6 has 128 KB")
    far_over = csv(*rows, f"u6,{'a' * 200_000}")
    assert_failed(import_file(client, clock, folder, far_over, "users_20240103.csv"), "field larger")


def test_a_row_may_exceed_128_kb_in_total(client: Client, clock: FakeClock, folder: Path) -> None:
    wide = csv(*[f"{customer},{'a' * 100_000},{'b' * 100_000}" for customer in IDS], header="customer_id,a,b")
    assert import_file(client, clock, folder, wide)["added_rows"] == 7


def test_a_file_of_200_mb_fails(client: Client, clock: FakeClock, folder: Path) -> None:
    with (folder / "users_20240101.csv").open("wb") as stream:
        stream.truncate(200_000_000)
    (file,) = run_import(client, clock)
    assert_failed(file, "200,000,000 bytes")
    assert file["file_size"] == "200000000"


@pytest.mark.no_cover
def test_an_endless_line_fails_before_it_is_completely_in_memory(
    client: Client, clock: FakeClock, folder: Path
) -> None:
    with (folder / "users_20240101.json").open("wb") as stream:
        stream.truncate(90_000_000)
    tracemalloc.start()
    (file,) = run_import(client, clock)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert_failed(file, "A line is longer than any row can be")
    assert peak < 85_000_000


def test_a_line_may_be_as_long_as_the_longest_row(
    client: Client, clock: FakeClock, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = "customer_id,name\n"
    monkeypatch.setattr(import_file_rules, "_LINE_LIMIT", len(header))
    assert import_file(client, clock, folder, GOOD)["added_rows"] == 7
    monkeypatch.setattr(import_file_rules, "_LINE_LIMIT", len(header) - 1)
    assert_failed(import_file(client, clock, folder, GOOD, "users_20240102.csv"), "A line is longer")


@pytest.mark.no_cover
def test_memory_does_not_grow_with_the_size_of_the_file(client: Client, clock: FakeClock, folder: Path) -> None:
    write_file(folder, "users_20240101.csv", csv(*[f"{customer},Somebody" for customer in IDS * 30_000]))
    tracemalloc.start()
    (file,) = run_import(client, clock)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert file["added_rows"] == 210_000
    assert peak < 1_000_000


def test_an_unreadable_file_fails(
    client: Client, clock: FakeClock, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(folder, "users_20240101.csv", GOOD)

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    (file,) = run_import(client, clock)
    assert_failed(file, "The file cannot be read: Permission denied")


EVENT_HEADER = "customer_id,current_time,price"


@pytest.fixture
def events(workspace: Workspace, folder: Path) -> None:
    workspace.add_file_import(FileImport("i1", "Users", import_type="EVENTS", folder=str(folder)))


@pytest.mark.usefixtures("events")
def test_events_need_an_id_and_a_time(client: Client, clock: FakeClock, folder: Path) -> None:
    time = "2024-01-01T00:00:00Z"
    rows = csv(f"u1,{time},1", f",{time},2", "u3,,3", f"u4,{time},4", f"u5,{time},5", header=EVENT_HEADER)
    file = import_file(client, clock, folder, rows, "Buy_20240101.csv")
    assert (file["type"], file["added_rows"], file["failed_rows"]) == ("EVENTS", 3, 2)
    assert_failed(import_file(client, clock, folder, GOOD, "Buy_20240102.csv"), "column current_time is missing")


@pytest.mark.usefixtures("events")
def test_json_events_need_an_id_and_a_time(client: Client, clock: FakeClock, folder: Path) -> None:
    time = "2024-01-01T00:00:00Z"
    rows = [{"customer_id": "u1", "current_time": time}] * 5 + [{"customer_id": "u1"}, {"current_time": time}]
    file = import_file(client, clock, folder, ndjson(*rows), "Buy_20240101.json")
    assert (file["added_rows"], file["failed_rows"]) == (5, 2)
    assert file["status_msg"].endswith("row 6: current_time is empty")


def test_the_id_and_time_columns_can_be_configured(
    client: Client, workspace: Workspace, clock: FakeClock, folder: Path
) -> None:
    workspace.add_file_import(
        FileImport("i1", "Users", import_type="EVENTS", folder=str(folder), id_column="uid", time_column="at")
    )
    rows = csv(*[f"{customer},1700000000" for customer in IDS], header="uid,at")
    assert import_file(client, clock, folder, rows)["added_rows"] == 7


def test_auxiliary_data_must_be_csv_and_needs_no_id(
    client: Client, workspace: Workspace, clock: FakeClock, folder: Path
) -> None:
    workspace.add_file_import(FileImport("i1", "Users", import_type="AUX_DATA", folder=str(folder)))
    write_file(folder, "aux_20240101.json", ndjson(*[{"sku": number} for number in range(5)]))
    write_file(folder, "aux_20240102.csv", csv(*IDS, header="sku"))
    first, second = run_import(client, clock)

    assert_failed(first, "must be CSV")
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
def test_an_invalid_json_file_fails_and_names_the_rule(
    client: Client, clock: FakeClock, folder: Path, line: str, said: str
) -> None:
    lines = [json.dumps({"customer_id": customer}) for customer in IDS]
    lines[3] = line
    text = "".join(f"{line}\n" for line in lines)
    assert_failed(import_file(client, clock, folder, text, "users_20240101.json"), said)


def test_a_json_file_with_another_encoding_or_too_few_rows_fails(
    client: Client, clock: FakeClock, folder: Path
) -> None:
    rows = ndjson(*[{"customer_id": customer} for customer in IDS])
    assert_failed(import_file(client, clock, folder, rows.encode("utf-16"), "users_20240101.json"), "not UTF-8")
    few = ndjson(*[{"customer_id": customer} for customer in IDS[:4]])
    assert_failed(import_file(client, clock, folder, few, "users_20240102.json"), "4 data rows")


def test_json_rows_without_an_id_or_with_a_pipe_outside_an_array_fail(
    client: Client, clock: FakeClock, folder: Path
) -> None:
    rows = [
        {"customer_id": "u1", "tags": ["a|b"]},
        {"customer_id": None},
        {"customer_id": " "},
        {"name": "nobody"},
        {"customer_id": "u5", "name": "a|b"},
        {"customer_id": 0},
        {"customer_id": "u7", "bio": "a" * 131_071},
    ]
    file = import_file(client, clock, folder, ndjson(*rows), "users_20240101.json")
    assert (file["file_status"], file["added_rows"], file["failed_rows"]) == ("PARTIAL_SUCCESS", 3, 4)
