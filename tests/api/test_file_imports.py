"""How rows and pages of file imports are read in every form that is documented, and how dates are asked for."""

from __future__ import annotations

import json
import pickle
import time
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_moengage.api.file_imports import (
    LONGEST_RANGE,
    PAGE_SIZE,
    FileRun,
    ImportDetails,
    as_moment,
    date_filters,
    is_list,
    read_file_run,
    read_import,
    read_page,
    read_status,
)
from airflow_provider_moengage.api.received.local_times import IN_UTC
from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.received.values import Received

ROW: dict[str, Any] = {
    "id": "6735e5a3c8e1f2a4b5d6e7f8",
    "file_name": "registered_user_data_20241114.csv",
    "scheduled_at": "2024-11-14T12:31:31.713000",
    "completed_at": "2024-11-14T12:35:02",
    "type": "USERS",
    "file_size": "1544",
    "file_status": "SUCCESSFUL",
    "status_msg": "",
    "total_rows": 20,
    "skipped_rows": 1,
    "updated_rows": 12,
    "failed_rows": 3,
    "aux_data_added_count": 0,
    "aux_data_failed_count": 0,
    "added_rows": 4,
}

IMPORT: dict[str, Any] = {
    "import_id": "64f1",
    "import_name": "Users",
    "last_run_status": "PARTIAL_FAILURE",
    "import_type": "USERS",
    "schedule_type": "PERIODIC",
    "import_source": "S3",
    "total_files": "2",
    "processed_files": 1,
    "total_rows": "200",
    "processed_rows": 100,
    "created_at": "2024-01-01T00:00:00",
    "last_run_at": "2024-11-14T12:31:31.713000",
    "next_scheduled_at": None,
    "status": "SCHEDULED",
    "time_zone": "Asia/Kolkata",
}


def received(value: Any) -> Received:
    return Received(value, Scrub(()))


def read_run(row: Received) -> FileRun:
    return read_file_run(row, IN_UTC)


def read_details(row: Received) -> ImportDetails:
    return read_import(row, IN_UTC)


def test_a_documented_file_is_read_whole() -> None:
    assert read_run(received(ROW)) == FileRun(
        id="6735e5a3c8e1f2a4b5d6e7f8",
        file_name="registered_user_data_20241114.csv",
        file_status="SUCCESSFUL",
        status_msg=None,
        type="USERS",
        scheduled_at=datetime(2024, 11, 14, 12, 31, 31, 713000, UTC),
        completed_at=datetime(2024, 11, 14, 12, 35, 2, tzinfo=UTC),
        file_size=1544,
        total_rows=20,
        added_rows=4,
        updated_rows=12,
        skipped_rows=1,
        failed_rows=3,
        aux_data_added_count=0,
        aux_data_failed_count=0,
    )


def test_a_documented_import_is_read_whole() -> None:
    details = read_details(received(IMPORT))

    assert (details.import_id, details.import_name) == ("64f1", "Users")
    assert details.last_run_status == "PARTIAL_SUCCESS"
    assert (details.import_type, details.schedule_type, details.import_source) == ("USERS", "PERIODIC", "S3")
    assert (details.total_files, details.processed_files) == (2, 1)
    assert (details.total_rows, details.processed_rows) == (200, 100)
    assert details.created_at == datetime(2024, 1, 1, tzinfo=UTC)
    assert details.last_run_at == datetime(2024, 11, 14, 12, 31, 31, 713000, UTC)
    assert (details.next_scheduled_at, details.status, details.time_zone) == (None, "SCHEDULED", "Asia/Kolkata")


def test_a_file_of_which_nothing_is_said_is_one_that_has_not_ended() -> None:
    run = read_run(received({}))

    assert (run.file_name, run.file_status, run.is_terminal, run.is_known) == ("", "", False, False)
    assert (run.scheduled_at, run.completed_at, run.total_rows, run.rows_failed) == (None, None, None, None)


def test_an_import_of_which_nothing_is_said_is_not_underway() -> None:
    details = read_details(received({}))

    assert (details.import_id, details.import_name, details.is_underway) == ("", "", False)


def test_files_without_an_id_are_told_apart_by_name_and_time() -> None:
    rows = [{"file_name": name, "scheduled_at": f"2024-11-1{day}T00:00:00"} for name in "ab" for day in range(2)]

    assert len({read_run(received(row)).id for row in rows}) == 4


def test_a_file_survives_json() -> None:
    run = read_run(received({**ROW, "file_status": "PARTIAL_FAILURE", "status_msg": "3 rows failed"}))

    assert FileRun.from_dict(json.loads(json.dumps(run.to_dict()))) == run


def test_times_of_a_file_are_written_as_iso_8601_in_utc() -> None:
    plain = read_run(received(ROW)).to_dict()

    assert (plain["scheduled_at"], plain["completed_at"]) == (
        "2024-11-14T12:31:31.713000Z",
        "2024-11-14T12:35:02Z",
    )


STATUSES = [
    ("SUCCESSFUL", "SUCCESSFUL", True, True),
    ("Successful", "SUCCESSFUL", True, True),
    ("FAILED", "FAILED", True, True),
    ("PARTIAL_SUCCESS", "PARTIAL_SUCCESS", True, True),
    ("PARTIAL_FAILURE", "PARTIAL_SUCCESS", True, True),
    ("Partially Successful", "PARTIAL_SUCCESS", True, True),
    ("partial-failure", "PARTIAL_SUCCESS", True, True),
    ("QUEUED", "QUEUED", False, True),
    ("WAITING", "WAITING", False, True),
    ("PROCESSING", "PROCESSING", False, True),
    ("SCHEDULED", "SCHEDULED", False, True),
    ("VIRUS_SCAN", "VIRUS_SCAN", False, False),
    ("SUCCESSFULLY_QUEUED", "SUCCESSFULLY_QUEUED", False, False),
    (None, "", False, False),
    ("  ", "", False, False),
]


@pytest.mark.parametrize(("word", "status", "is_terminal", "is_known"), STATUSES)
def test_only_documented_ends_are_ends(word: Any, status: str, is_terminal: bool, is_known: bool) -> None:
    run = read_run(received({**ROW, "file_status": word}))

    assert (run.file_status, run.is_terminal, run.is_known) == (status, is_terminal, is_known)


@pytest.mark.parametrize(
    ("status", "is_underway"),
    [("PROCESSING", True), ("queued", True), ("WAITING", True), ("SUCCESSFUL", False), ("SCHEDULED", False)],
)
def test_the_details_say_whether_a_run_is_underway(status: str, is_underway: bool) -> None:
    assert read_details(received({**IMPORT, "last_run_status": status})).is_underway is is_underway


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (7, 7),
        ("7", 7),
        (" 7 ", 7),
        ("7.0", 7),
        (7.0, 7),
        (0, 0),
        ("0", 0),
        (None, None),
        ("", None),
        ("many", None),
        ("NaN", None),
        ("inf", None),
        (True, None),
        ([7], None),
        ({}, None),
    ],
)
def test_a_count_may_be_text_and_what_is_none_is_not_known(value: Any, count: int | None) -> None:
    assert received(value).count() == count


NOON = datetime(2024, 11, 14, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2024-11-14T12:00:00", NOON),
        ("2024-11-14T12:00:00.000000", NOON),
        ("2024-11-14 12:00:00", NOON),
        ("2024-11-14T12:00:00Z", NOON),
        ("2024-11-14T17:30:00+05:30", NOON),
        ("", None),
        (None, None),
        ("None", None),
        ("yesterday", None),
        ("2024-13-14T12:00:00", None),
        ("0001-01-01T00:00:00+05:30", None),
        ("9999-12-31T23:59:59-05:30", None),
        ({}, None),
        (True, None),
    ],
)
def test_a_time_without_a_zone_is_utc_and_what_is_none_is_not_known(value: Any, moment: datetime | None) -> None:
    read = IN_UTC.read(received(value))

    assert read == moment
    assert read is None or read.utcoffset() == timedelta(0)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="a process cannot change its zone here")
def test_the_zone_of_the_machine_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        read = [IN_UTC.read(received("2024-11-14T12:00:00")), as_moment("start", datetime(2024, 11, 14, 12))]
    time.tzset()

    assert read == [NOON, NOON]


@given(value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_no_value_is_too_strange_for_a_row(value: Any) -> None:
    assert isinstance(read_run(received(dict.fromkeys(ROW, value))).to_dict(), dict)
    assert read_details(received(dict.fromkeys(IMPORT, value))).is_underway in (True, False)


@pytest.mark.parametrize(
    ("failed", "aux_failed", "rows_failed"),
    [(3, 0, 3), (0, 3, 3), (3, None, 3), (None, 3, 3), (3, 3, 3), (0, 0, 0), (None, None, None)],
)
def test_failed_rows_are_those_of_users_and_events_or_of_auxiliary_data(
    failed: int | None, aux_failed: int | None, rows_failed: int | None
) -> None:
    run = read_run(received({**ROW, "failed_rows": failed, "aux_data_failed_count": aux_failed}))

    assert run.rows_failed == rows_failed


@pytest.mark.parametrize(
    ("word", "has_more"),
    [
        (True, True),
        (False, False),
        ("true", True),
        ("True", True),
        ("false", False),
        ("", False),
        (1, True),
        (0, False),
    ],
)
@pytest.mark.parametrize("count", [0, 3, PAGE_SIZE])
def test_whether_more_files_follow_may_be_a_boolean_or_text(word: Any, has_more: bool, count: int) -> None:
    found = read_page(received({"data": [ROW] * count, "more_files": word}))

    assert (len(found.rows), found.has_more) == (count, has_more)


@pytest.mark.parametrize(("count", "has_more"), [(0, False), (PAGE_SIZE - 1, False), (PAGE_SIZE, None)])
def test_where_nothing_says_whether_more_follow_a_full_page_may_have_another(
    count: int, has_more: bool | None
) -> None:
    found = read_page(received({"data": [IMPORT] * count}))

    assert (len(found.rows), found.has_more) == (count, has_more)


@pytest.mark.parametrize(("written", "total"), [(120, 120), ("120", 120), (0, 0), (None, None), ("many", None)])
def test_the_total_may_be_a_number_or_text(written: Any, total: int | None) -> None:
    assert read_page(received({"data": [], "total_count": written})).total == total


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        ({"data": []}, True),
        ({"data": [ROW]}, True),
        ({"data": None, "total_count": "0"}, True),
        ({"data": None, "items": {"properties": ROW}}, True),
        ({"data": None}, False),
        ({"data": None, "total_count": "many"}, False),
        ({"data": [ROW, None]}, False),
        ({"data": [[ROW]]}, False),
        ({"data": "Unable to process the request"}, False),
        ({"data": {}}, False),
    ],
)
def test_a_list_is_one_only_if_none_of_its_rows_can_be_missing(content: Any, is_one: bool) -> None:
    assert is_list(received(content)) is is_one


@pytest.mark.parametrize(("word", "spelt"), [(" partial failure ", "PARTIAL_SUCCESS"), ("a b-c", "A_B_C")])
def test_a_status_has_one_spelling(word: str, spelt: str | None) -> None:
    assert read_status(word) == spelt


NOW = datetime(2025, 6, 15, 12, tzinfo=UTC)
FORM = "%Y-%m-%d %H:%M:%S"

moments = st.datetimes(datetime(2020, 1, 1), datetime(2025, 6, 15), timezones=st.just(UTC))
"""A past of up to five years: some sixty ranges."""


def ranges(start: datetime | None, end: datetime) -> list[tuple[datetime, datetime]]:
    """What is asked for, as a server reads it that knows no zones."""
    asked = list(date_filters(start, end, now=NOW))
    assert {filters["format"] for filters in asked} <= {"YYYY-MM-DD hh:mm:ss"}
    return [
        (datetime.strptime(filters["start_date"], FORM), datetime.strptime(filters["end_date"], FORM))
        for filters in asked
    ]


def test_without_a_start_there_is_no_filter() -> None:
    assert ranges(None, NOW) == []


def test_a_short_time_is_one_question_with_a_day_more_at_both_ends() -> None:
    start = datetime(2025, 3, 1, 6, 30, tzinfo=UTC)

    assert list(date_filters(start, start + timedelta(days=2), now=NOW)) == [
        {"start_date": "2025-02-28 06:30:00", "end_date": "2025-03-04 06:30:00", "format": "YYYY-MM-DD hh:mm:ss"}
    ]


@given(start=moments, days=st.floats(0, 400))
def test_each_range_is_one_that_moengage_takes(start: datetime, days: float) -> None:
    for begin, end in ranges(start, start + timedelta(days=days)):
        assert timedelta(0) <= end - begin <= LONGEST_RANGE


@given(
    start=moments,
    days=st.floats(0, 400),
    where=st.floats(0, 1),
    zone=st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)
def test_every_moment_is_covered_in_whatever_zone_the_dates_are_read(
    start: datetime, days: float, where: float, zone: timezone
) -> None:
    end = min(start + timedelta(days=days), NOW)
    written = (start + (end - start) * where).astimezone(zone).replace(microsecond=0, tzinfo=None)

    assert any(begin <= written <= last for begin, last in ranges(start, end))


@given(start=moments, days=st.floats(0, 400))
def test_ranges_follow_each_other_and_share_no_more_than_a_second(start: datetime, days: float) -> None:
    asked = ranges(start, start + timedelta(days=days))

    for (_, before), (begin, _) in pairwise(asked):
        assert timedelta(0) <= before - begin <= timedelta(seconds=1)


def test_nothing_is_asked_for_later_than_tomorrow() -> None:
    assert ranges(NOW - timedelta(days=1), NOW + timedelta(days=1_000))[-1][1] == datetime(2025, 6, 16, 12)


def test_a_start_in_the_future_is_a_question_that_moengage_takes() -> None:
    [(begin, end)] = ranges(NOW + timedelta(days=10), NOW + timedelta(days=11))

    assert begin <= end


@pytest.mark.parametrize(
    "given_value",
    [
        NOON,
        NOON.replace(tzinfo=None),
        NOON.astimezone(timezone(timedelta(hours=-8))),
        "2024-11-14T12:00:00Z",
        "2024-11-14T12:00:00",
        "2024-11-14 13:00:00+01:00",
        " 2024-11-14T12:00:00Z ",
    ],
)
def test_a_moment_may_be_given_in_any_form_and_is_utc(given_value: Any) -> None:
    moment = as_moment("start", given_value)

    assert moment == NOON
    assert moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize("given_value", [date(2024, 11, 14), "2024-11-14"])
def test_a_date_is_its_first_moment(given_value: Any) -> None:
    assert as_moment("start", given_value) == datetime(2024, 11, 14, tzinfo=UTC)


def test_no_moment_is_none() -> None:
    assert as_moment("start", None) is None


@pytest.mark.parametrize("wrong", ["yesterday", "", "14/11/2024", 7, True, 1.5, [], {"start": NOON}])
@pytest.mark.parametrize("name", ["start", "since"])
def test_what_is_no_moment_is_named_and_says_what_is_expected(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match="expected a datetime, or ISO 8601 text") as caught:
        as_moment(name, wrong)

    assert str(caught.value).startswith(f"{name} {wrong!r}: ")


@pytest.mark.parametrize(
    "edge",
    [
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    ],
)
def test_a_moment_that_utc_has_not_is_named(edge: datetime) -> None:
    with pytest.raises(ValueError, match=r"^end "):
        as_moment("end", edge)


@pytest.mark.parametrize("start", [datetime.min, datetime(999, 1, 1)])
def test_the_beginning_of_all_time_is_written_as_documented(start: datetime) -> None:
    first = next(date_filters(start.replace(tzinfo=UTC), NOW, now=NOW))

    assert len(first["start_date"]) == len("YYYY-MM-DD hh:mm:ss")


def test_2nd_exhausted_is_terminal_as_failed_and_pending_is_under_way() -> None:
    exhausted, pending = (FileRun("1", "a.csv", status) for status in ("EXHAUSTED", "PENDING"))

    assert (exhausted.is_terminal, exhausted.is_known, exhausted.result) == (True, True, "FAILED")
    assert (pending.is_terminal, pending.is_known) == (False, True)
    assert not FileRun("1", "a.csv", "NEVER_SEEN").is_terminal


def test_what_a_hook_returns_is_a_dict_that_json_and_xcom_keep() -> None:
    run = FileRun("1", "a.csv", "SUCCESSFUL", scheduled_at=datetime(2026, 1, 1, tzinfo=UTC))

    assert json.loads(json.dumps(run)) == run.to_dict() == run
    assert run["scheduled_at"] == "2026-01-01T00:00:00Z"
    assert pickle.loads(pickle.dumps(run)) == run
    assert FileRun.from_dict(run) == run
