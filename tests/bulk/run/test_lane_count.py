from __future__ import annotations

import heapq
import random
from collections.abc import Callable

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


def test_one_answer_is_not_enough_for_a_decision() -> None:
    running = Running()
    running.answer(1, waited=5.0)

    assert running.scaler.useful_lanes(1) == 1


@pytest.mark.parametrize("is_first", [True, False])
def test_an_answer_that_is_slow_by_chance_adds_one_lane_at_most(is_first: bool) -> None:
    running = Running()
    for waited in (5.0, 0.001) if is_first else (0.001, 5.0):
        running.answer(1, waited)

    assert running.scaler.useful_lanes(1) <= 2


def test_what_the_reader_makes_ahead_of_the_answers_does_not_count_as_their_work() -> None:
    running = Running(computing=0.002)
    for _ in range(6):
        running.scaler.record_made()
    running.answer(2, waited=0.050)
    running.computed += 4 * 0.002

    assert running.scaler.useful_lanes(1) == 16


def test_a_need_for_half_as_many_lanes_again_opens_all_that_there_may_be() -> None:
    running = Running(computing=0.002)
    running.answer(12, waited=0.050, lanes=12)  # 25 would keep the process busy

    assert running.scaler.useful_lanes(12) == 16


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


class Run:
    """A reader and its lanes, on one processor and a simulated clock."""

    def __init__(
        self, latency: float, *, at_limit: float = 0.0, making: float = 0.0026, stored: float = 0.0
    ) -> None:
        self.now = self.computed = 0.0
        self.sent = 0
        self.opened: list[tuple[int, float]] = []
        """Numbers of lanes, 0 for none, and when they were chosen."""
        self._latency, self._making, self._stored = latency, making, stored
        self._random = random.Random(7)  # noqa: S311 (a simulation)
        self._scaler = LaneScaler(lambda: self.now, lambda: at_limit, lambda: self.computed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = iter(range(10**9))
        self._sends_itself = False
        self._open(1)

    def send(self, requests: int) -> None:
        made = 0
        while made < requests:
            self._compute(2 * self._making)  # a chunk fills two bodies
            shares = [self._random.uniform(0.5, 1.5) for _ in self._fill]
            for lane, share in enumerate(shares):
                self._fill[lane] += 2 * share / sum(shares)
                while self._fill[lane] >= 1:
                    self._fill[lane] -= 1
                    self._hand_over(lane)
                    made += 1
            self._adapt()

    def _adapt(self) -> None:
        lanes = 0 if self._sends_itself else len(self._fill)
        useful = self._scaler.useful_lanes(lanes)
        if useful == lanes:
            return
        while any(self._in_flight):
            self._wait()
        self._sends_itself = useful == 0
        if useful > len(self._fill):
            self._open(useful)
        else:
            self.opened.append((useful, self.now))

    def _open(self, lanes: int) -> None:
        self._fill, self._queued, self._in_flight = [0.0] * lanes, [0] * lanes, [False] * lanes
        self.opened.append((lanes, self.now))

    def _hand_over(self, lane: int) -> None:
        self._scaler.record_made()
        if self._sends_itself:
            self.computed += SENDING
            self.now += SENDING + self._latency
            self._record(SENDING + self._latency)
            return
        while self._queued[lane] >= 2:
            self._wait()
        if self._in_flight[lane]:
            self._queued[lane] += 1
        else:
            self._begin(lane)

    def _begin(self, lane: int) -> None:
        self._in_flight[lane] = True
        self.computed += SENDING
        self.now += SENDING
        waited = self._latency * self._random.uniform(1.0, 1.1)

        def end() -> None:
            self._record(SENDING + waited)
            self._in_flight[lane] = False
            if self._queued[lane]:
                self._queued[lane] -= 1
                self._begin(lane)

        heapq.heappush(self._events, (self.now + waited + self._stored, next(self._numbers), end))

    def _record(self, waited: float) -> None:
        self._scaler.record_answer(waited)
        self._scaler.record_done(self._stored)
        self.sent += 1

    def _compute(self, seconds: float) -> None:
        self.computed += seconds
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            before = self.computed
            self._wait()
            end += self.computed - before
        self.now = end

    def _wait(self) -> None:
        at, _, what = heapq.heappop(self._events)
        self.now = max(self.now, at)
        what()


SENDING = 0.0004


@pytest.mark.parametrize(
    ("latency", "lanes", "within"),
    [(0.0002, 0, 0.1), (0.010, 5, 0.3), (0.050, 16, 0.6), (0.200, 16, 1.5), (1.0, 16, 7.0)],
)
def test_a_run_has_its_lanes_after_a_few_answers(latency: float, lanes: int, within: float) -> None:
    run = Run(latency)

    run.send(400)

    assert run.opened[-1][0] == lanes
    assert run.opened[-1][1] <= within


def test_a_run_that_stores_each_answer_has_its_lanes_after_a_few_answers() -> None:
    run = Run(0.050, stored=0.014)

    run.send(400)

    assert [lanes for lanes, _ in run.opened][-1] == 16
    assert run.opened[-1][1] <= 0.8


@pytest.mark.parametrize(("latency", "lanes"), [(0.050, 4), (0.200, 4), (1.0, 5), (2.0, 10)])
def test_a_run_opens_no_more_lanes_than_the_documented_limit_can_use(latency: float, lanes: int) -> None:
    run = Run(latency, at_limit=0.4)  # 400 elements a request, 1,000 a second

    run.send(400)

    assert max(opened for opened, _ in run.opened) <= lanes + 1
