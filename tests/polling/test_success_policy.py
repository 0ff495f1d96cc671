"""Whether files that have ended are a success, and how it is told."""

from __future__ import annotations

import pytest

from airflow_provider_moengage.api.file_imports import FileRun
from airflow_provider_moengage.polling.success_policy import Policy, summary
from tests.polling.file_runs import file

GOOD = file("good.csv", total_rows=100, failed_rows=0)
GOOD_WITH_FAILED_ROWS = file("mixed.csv", total_rows=100, failed_rows=4)
GOOD_UNCOUNTED = file("uncounted.csv")
HALF = file("half.csv", status="PARTIAL_SUCCESS", failed_rows=6)
HALF_UNCOUNTED = file("half-uncounted.csv", status="PARTIAL_SUCCESS")
HALF_AUX = file("half-aux.csv", status="PARTIAL_SUCCESS", type="AUX_DATA", aux_data_failed_count=6)
BAD = file("bad.csv", status="FAILED", failed_rows=100)

FAIL, ACCEPT = Policy(), Policy("accept")


def accept(max_failed_rows: int) -> Policy:
    return Policy("accept", max_failed_rows)


VERDICTS: list[tuple[Policy, list[FileRun], str | None]] = [
    (FAIL, [GOOD], None),
    (FAIL, [], None),
    (FAIL, [GOOD, GOOD_WITH_FAILED_ROWS, GOOD_UNCOUNTED], None),
    (FAIL, [GOOD, HALF], "only a part of half.csv"),
    (FAIL, [HALF_UNCOUNTED], "only a part of half-uncounted.csv"),
    (FAIL, [BAD], "could not import bad.csv"),
    (FAIL, [HALF, BAD], "could not import bad.csv"),
    (ACCEPT, [GOOD, HALF, HALF_UNCOUNTED, HALF_AUX], None),
    (ACCEPT, [GOOD, BAD], "could not import bad.csv"),
    (accept(6), [HALF], None),
    (accept(5), [HALF], "6 rows failed, more than max_failed_rows=5 allows, in half.csv"),
    (accept(0), [GOOD], None),
    (accept(0), [HALF], "6 rows failed, more than max_failed_rows=0 allows"),
    (accept(6), [HALF_AUX], None),
    (accept(5), [HALF_AUX], "6 rows failed, more than max_failed_rows=5 allows, in half-aux.csv"),
    (accept(11), [HALF, HALF_AUX], "12 rows failed"),
    (accept(12), [HALF, HALF_AUX], None),
    (accept(9), [HALF, GOOD_WITH_FAILED_ROWS], "10 rows failed"),
    (accept(10), [HALF, GOOD_WITH_FAILED_ROWS], None),
    (accept(3), [GOOD_WITH_FAILED_ROWS], "4 rows failed"),
    (accept(1_000), [HALF_UNCOUNTED], "does not report how many rows failed of half-uncounted.csv"),
    (accept(0), [GOOD_UNCOUNTED], None),
    (accept(1_000), [BAD], "could not import bad.csv"),
    (Policy("fail", 3), [GOOD_WITH_FAILED_ROWS], "4 rows failed"),
    (Policy("fail", 1_000), [HALF], "only a part of half.csv"),
]


@pytest.mark.parametrize(("policy", "files", "complaint"), VERDICTS)
def test_files_that_have_ended_are_a_success_or_not(
    policy: Policy, files: list[FileRun], complaint: str | None
) -> None:
    said = policy.complaint(files)

    assert said is None if complaint is None else complaint in (said or "")


def test_only_the_files_that_are_to_blame_are_named() -> None:
    assert "good.csv" not in (FAIL.complaint([GOOD, BAD]) or "")
    assert "good.csv" not in (FAIL.complaint([GOOD, HALF]) or "")
    assert "good.csv" not in (accept(0).complaint([GOOD, HALF]) or "")


def test_a_complaint_tells_what_moengage_says_and_what_it_counts() -> None:
    failed = file(
        "bad.csv",
        status="FAILED",
        status_msg="No column\n user_id",
        total_rows=12_345,
        added_rows=0,
        updated_rows=1,
        skipped_rows=2,
        failed_rows=12_342,
    )

    assert FAIL.complaint([failed]) == (
        "MoEngage could not import bad.csv (FAILED: No column user_id; rows: total 12,345, added 0, updated 1,"
        " skipped 2, failed 12,342)"
    )


def test_a_complaint_about_a_partial_success_says_how_to_accept_it() -> None:
    assert "partial_success='accept'" in (FAIL.complaint([HALF]) or "")


def test_a_complaint_about_many_files_names_five() -> None:
    said = FAIL.complaint([file(f"f{n}.csv", status="FAILED") for n in range(8)]) or ""

    assert [f"f{n}.csv" in said for n in range(8)] == [True] * 5 + [False] * 3
    assert said.endswith("; and 3 more files")


def test_a_long_message_is_cut() -> None:
    said = FAIL.complaint([file("bad.csv", status="FAILED", status_msg="x" * 5_000)]) or ""

    assert "x" * 300 in said
    assert len(said) < 400


def test_a_summary_names_every_file_with_the_counts_that_are_known() -> None:
    assert summary([GOOD, GOOD_UNCOUNTED]) == (
        "good.csv (SUCCESSFUL; rows: total 100, failed 0); uncounted.csv (SUCCESSFUL)"
    )


def test_2nd_an_exhausted_file_fails_and_needs_a_manual_trigger() -> None:
    assert "trigger the import again" in str(FAIL.complaint([file(status="EXHAUSTED")]))


def test_2nd_a_file_whose_rate_limit_was_breached_has_to_be_renamed() -> None:
    breached = file(status="FAILED", status_msg="Applicable rate limit breached")

    assert "rename the file" in str(ACCEPT.complaint([breached]))


def test_2nd_failed_rows_of_a_successful_file_are_a_warning() -> None:
    aux = file("aux.csv", type="AUX_DATA", aux_data_failed_count=2)

    assert str(FAIL.warning([GOOD, GOOD_WITH_FAILED_ROWS, aux])).startswith("6 rows failed although")
    assert FAIL.warning([GOOD, HALF]) is None
