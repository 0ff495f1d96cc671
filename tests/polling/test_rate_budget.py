"""The budget in injected time: a bound that no sixty seconds pass, and a pace that makes room for others."""

from __future__ import annotations

import random
from collections import deque
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_moengage.polling.rate_budget import FIRST_PAUSE, LEAST_SHARE, LONGEST_PAUSE, Budget


class Run:
    """A budget, and who spends it, in time that passes only by waiting."""

    def __init__(self, per_minute: float = 40.0) -> None:
        self.now = 100.0
        self.budget = Budget(per_minute, lambda: self.now)
        self.sent: list[float] = []

    def pass_(self, seconds: float) -> None:
        self.now += seconds

    def request(self) -> float:
        """Send as soon as the budget allows; return the seconds that took."""
        asked_at = self.now
        while (wait := self.budget.ready_in()) > 0:
            self.now = max(self.now + wait, self.now + 1e-9)
        self.budget.spend()
        self.sent.append(self.now)
        return self.now - asked_at

    @property
    def most_in_a_minute(self) -> int:
        """The most requests of any sixty seconds, which hold their beginning and not their end."""
        return max(
            (sum(begin <= sent < begin + 60 - 1e-6 for sent in self.sent) for begin in self.sent), default=0
        )


@pytest.fixture
def run() -> Run:
    return Run()


bounds = st.integers(1, 120) | st.floats(1, 120)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 90)),
        st.tuples(st.just("ask"), st.integers(1, 30)),
        st.tuples(st.just("refused"), st.none() | st.floats(0, 90)),
        st.tuples(st.just("answered"), st.just(1)),
    ),
    max_size=12,
)


@given(per_minute=bounds, demand=actions)
def test_no_sixty_seconds_hold_more_than_the_bound(per_minute: float, demand: list[tuple[str, Any]]) -> None:
    run = Run(per_minute)
    for act, value in demand:
        if act == "pass":
            run.pass_(value)
        elif act == "ask":
            for _ in range(value):
                run.request()
        elif act == "refused":
            run.budget.refused(value)
        else:
            run.budget.answered()

    assert run.most_in_a_minute <= per_minute


@pytest.mark.parametrize("idle", [0, 60, 3_600])
@pytest.mark.parametrize("per_minute", [1, 2, 5, 40, 50, 120])
def test_who_always_asks_gets_the_bound_and_no_more(per_minute: int, idle: float) -> None:
    run = Run(per_minute)
    run.pass_(idle)
    for _ in range(5 * per_minute):
        run.request()

    assert run.most_in_a_minute <= per_minute


def test_most_of_the_bound_is_really_used(run: Run) -> None:
    for _ in range(400):
        run.request()

    assert len(run.sent) / ((run.sent[-1] - run.sent[0]) / 60) >= 0.9 * 40


def test_a_tenth_of_the_bound_may_go_at_once(run: Run) -> None:
    assert [run.request() for _ in range(4)] == [0, 0, 0, 0]
    assert run.request() > 0


def test_the_rest_flows_evenly(run: Run) -> None:
    for _ in range(30):
        run.request()

    gaps = [after - before for before, after in pairwise(run.sent[4:])]
    assert max(gaps) == pytest.approx(60 / 37)
    assert min(gaps) == pytest.approx(60 / 37)


def test_looking_at_the_budget_spends_nothing(run: Run) -> None:
    for _ in range(100):
        run.budget.ready_in()

    assert [run.request() for _ in range(4)] == [0, 0, 0, 0]


def test_what_is_not_used_is_not_saved_up_beyond_the_burst(run: Run) -> None:
    run.pass_(3_600)

    assert [run.request() for _ in range(4)] == [0, 0, 0, 0]
    assert run.request() > 0


def test_a_refusal_halves_the_pace_down_to_a_tenth(run: Run) -> None:
    shares = []
    for _ in range(6):
        run.budget.refused(0)
        shares.append(run.budget.share)

    assert shares == [0.5, 0.25, 0.125, LEAST_SHARE, LEAST_SHARE, LEAST_SHARE]


def test_a_halved_pace_is_half_as_fast(run: Run) -> None:
    run.budget.refused(0)
    for _ in range(20):
        run.request()

    gaps = [after - before for before, after in pairwise(run.sent[1:])]
    assert min(gaps) == pytest.approx(2 * 60 / 37)


def test_each_answer_gives_a_hundredth_of_the_pace_back(run: Run) -> None:
    run.budget.refused(0)
    for _ in range(20):
        run.budget.answered()
    assert run.budget.share == pytest.approx(0.7)

    for _ in range(100):
        run.budget.answered()
    assert run.budget.share == 1.0


def test_nothing_is_asked_for_as_long_as_the_server_says(run: Run) -> None:
    pause = run.budget.refused(30.0)

    assert 30.0 <= pause <= 37.5
    assert run.budget.ready_in() == pytest.approx(pause)
    assert run.request() >= 30.0


def test_who_is_refused_together_does_not_return_together(run: Run) -> None:
    assert len({run.budget.refused(30.0) for _ in range(5)}) == 5


def test_a_server_that_says_nothing_is_left_alone_for_longer_each_time(run: Run) -> None:
    pauses = [run.budget.refused(None) for _ in range(6)]

    for pause, least in zip(pauses, [5, 10, 20, 40, 60, 60], strict=True):
        assert least <= pause <= 1.25 * least
    assert (FIRST_PAUSE, LONGEST_PAUSE) == (5, 60)


def test_an_answer_makes_the_next_pause_a_short_one_again(run: Run) -> None:
    for _ in range(5):
        run.budget.refused(None)
    run.budget.answered()

    assert run.budget.refused(None) <= 1.25 * FIRST_PAUSE


def test_after_a_refusal_there_is_no_burst(run: Run) -> None:
    run.budget.refused(0.0)

    assert run.request() == 0
    assert run.request() > 0


def test_a_clock_that_stands_still_earns_nothing(run: Run) -> None:
    for _ in range(4):
        run.request()

    assert run.budget.ready_in() == run.budget.ready_in() == pytest.approx(60 / 37)


def test_two_who_want_more_than_there_is_settle_within_it_and_none_starves() -> None:
    """Two triggerers with a bound of 40 each, in a workspace that takes 50 a minute."""
    now = 0.0
    both = [Budget(40, lambda: now) for _ in range(2)]
    taken: deque[float] = deque()
    answered, refused = [0, 0], 0
    latency = random.Random(1)
    while now < 2 * 3_600:
        who = min((0, 1), key=lambda each: both[each].ready_in())
        now += both[who].ready_in() + latency.uniform(1e-6, 0.1)
        both[who].spend()
        while taken and taken[0] + 60 <= now:
            taken.popleft()
        if len(taken) < 50:
            taken.append(now)
            both[who].answered()
            answered[who] += now > 3_600
        else:
            both[who].refused(None)
            refused += now > 3_600

    assert refused <= 0.05 * sum(answered)
    assert sum(answered) >= 0.8 * 50 * 60
    assert min(answered) >= 0.15 * sum(answered)
