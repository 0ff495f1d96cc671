from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_moengage.bulk.run.progress import Progress, duration
from devtools.fake_clock import FakeClock


@dataclass
class Run:
    """Counts that a test sets, and the lines that were logged for them."""

    accepted: int = 0
    rejected: int = 0
    unchanged: int = 0
    share_of_limit: float = 0.0
    throttled_seconds: float = 0.0
    seconds_left_to_wait: float = 0.0
    least: float = 0.0
    clock: FakeClock = field(default_factory=FakeClock)
    lines: list[str] = field(default_factory=list)

    def info(self, message: str, /, *args: Any) -> None:
        self.lines.append(message % args)

    warning = info

    def least_seconds(self, total: int) -> float:
        return self.least

    def pass_(self, seconds: float) -> None:
        self.clock.wait(threading.Event(), seconds)


@pytest.fixture
def run() -> Run:
    return Run()


def test_a_line_shows_counts_rate_limit_and_time_left(run: Run) -> None:
    progress = Progress(run, run.clock, run, 10_000)
    run.accepted, run.rejected, run.share_of_limit, run.throttled_seconds = 3_990, 10, 0.756, 2.4
    run.pass_(10)
    progress.log_if_due()

    assert run.lines == [
        "4,000 of 10,000 elements done, 400 a second, 76% of the limit used, 2 s waiting for it, 10 rejected,"
        " about 15 s left"
    ]


def test_the_time_left_is_not_shorter_than_the_limit_allows(run: Run) -> None:
    progress = Progress(run, run.clock, run, 10_000)
    run.accepted, run.least = 9_000, 60.0
    run.pass_(10)
    progress.log_if_due()

    assert run.lines[0].endswith("about 50 s left")


def test_a_wait_for_the_limit_shows_until_when(run: Run) -> None:
    progress = Progress(run, run.clock, run, None)
    run.accepted, run.throttled_seconds, run.seconds_left_to_wait = 50, 8.4, 49.6
    run.pass_(10)
    until = dt.datetime.fromtimestamp(run.clock.time() + 49.6, dt.UTC)
    progress.log_if_due()

    assert run.lines[0].endswith(f"used, 8 s waiting for it (now until {until:%H:%M:%S} UTC)")


def test_a_wait_that_is_nearly_over_shows_no_time(run: Run) -> None:
    progress = Progress(run, run.clock, run, None)
    run.accepted, run.throttled_seconds, run.seconds_left_to_wait = 50, 8.4, 1.9
    run.pass_(10)
    progress.log_if_due()

    assert run.lines[0].endswith("used, 8 s waiting for it")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *((0, "0 s"), (47, "45 s"), (89, "90 s"), (90, "2 min"), (12 * 60 + 20, "12 min"), (1_199, "20 min")),
        *((23 * 60, "25 min"), (3_569, "1 h"), (4_997, "1 h 20 min"), (35_999, "10 h"), (55_000, "15 h")),
    ],
)
def test_the_time_left_is_not_more_exact_than_an_estimate(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_run_that_only_waits_shows_no_rate_of_zero(run: Run) -> None:
    progress = Progress(run, run.clock, run, None)
    run.accepted, run.throttled_seconds, run.seconds_left_to_wait = 50, 8.4, 49.6
    for _ in range(2):
        run.pass_(10)
        progress.log_if_due()

    assert run.lines[0].startswith("50 elements done, 5 a second, 0% of the limit used")
    assert run.lines[1].startswith("50 elements done, 0% of the limit used, 8 s waiting for it (now until")


def test_a_source_of_unknown_length_has_no_time_left(run: Run) -> None:
    progress = Progress(run, run.clock, run, None)
    run.accepted = 50
    run.pass_(10)
    progress.log_if_due()

    assert run.lines == ["50 elements done, 5 a second, 0% of the limit used"]


def test_before_anything_is_done_no_time_left_is_shown(run: Run) -> None:
    progress = Progress(run, run.clock, run, 100)
    run.pass_(10)
    progress.log_if_due()

    assert run.lines == ["0 of 100 elements done, 0 a second, 0% of the limit used"]


def test_a_line_is_written_every_ten_seconds_however_often_it_is_requested(run: Run) -> None:
    progress = Progress(run, run.clock, run, None)
    for _ in range(70):
        run.pass_(0.5)
        progress.log_if_due()

    assert len(run.lines) == 3


def test_the_rate_covers_the_time_since_the_last_line_and_the_time_left_the_whole_run(run: Run) -> None:
    progress = Progress(run, run.clock, run, 600)
    run.accepted = 100
    run.pass_(10)
    progress.log_if_due()
    run.accepted = 400
    run.pass_(10)
    progress.log_if_due()

    assert "400 of 600 elements done, 30 a second" in run.lines[1]
    assert run.lines[1].endswith("about 10 s left")


def test_more_elements_than_expected_show_no_time_left(run: Run) -> None:
    progress = Progress(run, run.clock, run, 10)
    run.accepted = 12
    run.pass_(10)
    progress.log_if_due()

    assert run.lines[0].endswith("about 0 s left")
