from __future__ import annotations

import pytest

from airflow_provider_moengage.bulk.run.lane_count import LaneScaler


class Running:
    """A process that needs some CPU time for each request, with one lane or several."""

    def __init__(self, computing: float = 0.002, at_limit: float = 0.0) -> None:
        self.now = self.computed = 0.0
        self._computing = computing
        self.scaler = LaneScaler(lambda: self.now, lambda: at_limit, lambda: self.computed)

    def answer(self, number: int, waited: float, stored: float = 0.0, lanes: int = 1) -> None:
        for _ in range(number):
            self.scaler.record_answer(waited)
            self.scaler.record_done(stored)
            self.computed += self._computing
            self.now += max(self._computing, (waited + stored) / lanes)


@pytest.mark.parametrize(
    ("waited", "lanes"),
    [(0.0, 0), (0.001, 0), (0.003, 2), (0.010, 5), (0.050, 16), (2.0, 16)],
)
def test_there_are_as_many_lanes_as_the_process_can_fill_while_it_waits(waited: float, lanes: int) -> None:
    running = Running(computing=0.002)
    running.answer(4, waited)

    assert running.scaler.useful_lanes(1) == lanes


def test_the_time_that_a_checkpoint_takes_counts_as_well() -> None:
    running = Running(computing=0.002)
    running.answer(4, waited=0.001, stored=0.019)

    assert running.scaler.useful_lanes(1) == 10


def test_one_slow_answer_adds_no_lanes() -> None:
    running = Running()
    running.answer(3, waited=5.0)

    assert running.scaler.useful_lanes(1) == 1


def test_more_lanes_need_more_answers_before_a_decision() -> None:
    running = Running(computing=0.002)
    running.answer(7, waited=1.0)

    assert running.scaler.useful_lanes(8) == 8


def test_the_limit_bounds_the_lanes_but_allows_four_at_the_start() -> None:
    running = Running(
        computing=0.002, at_limit=0.4
    )  # the documented limit: 400 elements a request, 1,000 a second
    running.answer(4, waited=0.2)
    assert running.scaler.useful_lanes(1) == 4

    running.answer(4, waited=2.0)
    assert running.scaler.useful_lanes(4) == 10


def test_lanes_are_not_added_for_a_small_gain_and_never_closed() -> None:
    running = Running(computing=0.002)
    running.answer(8, waited=0.010, lanes=4)
    assert running.scaler.useful_lanes(4) == 4

    running.answer(16, waited=0.001, lanes=16)
    assert running.scaler.useful_lanes(16) == 16


def test_lanes_that_wait_for_each_other_add_no_lanes() -> None:
    running = Running(computing=0.002)
    running.answer(8, waited=0.020, lanes=10)  # ten at once on one processor: each waits for the others

    assert running.scaler.useful_lanes(10) == 10


def test_each_decision_uses_the_answers_since_the_last_one() -> None:
    running = Running(computing=0.002)
    running.answer(4, waited=0.001)
    assert running.scaler.useful_lanes(1) == 0

    running.answer(4, waited=0.008)
    assert running.scaler.useful_lanes(0) == 4


def test_the_reader_sends_by_itself_until_it_is_idle_half_the_time() -> None:
    running = Running(computing=0.002)
    running.answer(4, waited=0.0039)
    assert running.scaler.useful_lanes(0) == 0

    running.answer(4, waited=0.0041)
    assert running.scaler.useful_lanes(0) == 3


def test_nothing_changes_if_no_time_passes() -> None:
    scaler = LaneScaler(lambda: 0.0, lambda: 0.0, lambda: 0.0)
    for _ in range(10):
        scaler.record_done(0.0)

    assert (scaler.useful_lanes(1), scaler.useful_lanes(3)) == (1, 3)
