from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.responses import Outcome, Reply
from airflow_provider_moengage.bulk.clock import StoppedError
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits, Pacer
from devtools.fake_clock import FakeClock

ACCEPTED = Reply(Outcome.ACCEPTED, 200)
THROTTLED = Reply(Outcome.THROTTLED, 429)


class Stop(threading.Event):
    """An event that records whether a waiting thread has checked it."""

    def __init__(self) -> None:
        super().__init__()
        self.checked = threading.Event()

    def is_set(self) -> bool:
        self.checked.set()
        return super().is_set()


class Run:
    """A pacer in frozen time. The test is the only lane unless it starts others."""

    def __init__(self, users: int = 10, events: int = 10) -> None:
        self.clock = FakeClock()
        self.started = self.clock.monotonic()
        self.stopped = Stop()
        self.pacer = Pacer(Limits(users, events), self.clock, self.stopped)

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return self.clock.monotonic() - self.started

    def pass_(self, seconds: float) -> None:
        self.clock.wait(threading.Event(), seconds)

    def request(self, users: int = 0, events: int = 0, reply: Reply = ACCEPTED, latency: float = 0.0) -> float:
        """Send a request and record its response; return when it was sent."""
        sent_at = self.pacer.spend(users, events)
        self.pass_(latency)
        self.pacer.record_reply(users, events, reply, sent_at)
        return sent_at - self.started


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture(autouse=True)
def _repeatable_jitter() -> Iterator[None]:
    state = random.getstate()
    random.seed(1)
    yield
    random.setstate(state)


def test_the_documented_limits_are_the_default() -> None:
    assert Limits() == Limits(users_per_minute=60_000, events_per_minute=60_000)


def test_requests_within_the_limit_are_sent_at_once(run: Run) -> None:
    assert [run.request(users=5), run.request(users=5), run.request(events=10)] == [0, 0, 0]


def test_capacity_returns_60_seconds_after_the_response(run: Run) -> None:
    run.request(users=10, latency=5)

    assert run.request(users=1) == 65


def test_a_request_waits_only_until_enough_capacity_has_returned(run: Run) -> None:
    run.request(users=4)
    run.pass_(20)
    run.request(users=6)

    assert [run.request(users=4), run.request(users=6)] == [60, 80]


def test_a_request_that_just_fits_does_not_wait(run: Run) -> None:
    run.request(users=9)

    assert [run.request(users=1), run.request(users=1)] == [0, 60]


@pytest.mark.parametrize(("full", "other"), [((10, 0), (0, 10)), ((0, 10), (10, 0))])
def test_users_and_events_are_separate_budgets(run: Run, full: tuple[int, int], other: tuple[int, int]) -> None:
    run.request(*full)

    assert [run.request(*other), run.request(*full)] == [0, 60]


@pytest.mark.parametrize(("first", "second"), [((10, 0), (0, 10)), ((0, 10), (10, 0))])
def test_a_request_of_users_and_events_waits_for_both(
    run: Run, first: tuple[int, int], second: tuple[int, int]
) -> None:
    run.request(*first)
    run.pass_(30)
    run.request(*second)

    assert run.request(users=1, events=1) == 90


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        (Outcome.ACCEPTED, True),
        (Outcome.REFUSED, True),
        (Outcome.TOO_LARGE, True),
        (Outcome.SERVER_ERROR, True),
        (Outcome.UNKNOWN, True),
        (Outcome.NOT_SENT, False),
    ],
)
def test_a_request_that_may_have_reached_moengage_counts(run: Run, outcome: Outcome, counts: bool) -> None:
    run.request(users=10, reply=Reply(outcome))

    assert run.request(users=10) == (60 if counts else 0)


def test_a_throttled_request_does_not_count(run: Run) -> None:
    run.request(users=10, reply=THROTTLED)

    assert run.request(users=10) <= 1


@pytest.mark.parametrize("amount", [11, 1_000])
def test_a_request_larger_than_the_limit_is_sent_when_the_window_is_empty(run: Run, amount: int) -> None:
    assert [run.request(users=amount), run.request(users=1), run.request(users=amount)] == [0, 60, 120]


def test_a_request_in_flight_holds_its_capacity_until_its_response(run: Run) -> None:
    sent_at = run.pacer.spend(10, 0)
    went: list[float] = []
    other = threading.Thread(target=lambda: went.append(run.request(users=1)))
    other.start()
    assert run.stopped.checked.wait(5)
    run.pass_(7)
    assert went == []

    run.pacer.record_reply(10, 0, ACCEPTED, sent_at)
    other.join(5)

    assert went == [67]


def _most_in_a_minute(arrived: list[tuple[float, int]]) -> int:
    return max(sum(amount for at, amount in arrived if end - 60 < at <= end) for end, _ in arrived)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("moment", ["sent", "answered", "between"])
def test_never_more_than_the_limit_arrives_in_any_60_seconds(moment: str, seed: int) -> None:
    rng = random.Random(seed)
    run = Run(users=1_000, events=300)
    arrived: dict[str, list[tuple[float, int]]] = {"users": [], "events": []}
    for _ in range(300):
        users, events, latency = rng.randint(0, 400), rng.randint(0, 150), rng.uniform(0, 3)
        sent = run.request(users, events, latency=latency)
        at = sent + latency * {"sent": 0.0, "answered": 1.0, "between": rng.random()}[moment]
        arrived["users"].append((at, users))
        arrived["events"].append((at, events))

    assert _most_in_a_minute(arrived["users"]) <= 1_000
    assert _most_in_a_minute(arrived["events"]) <= 300


def test_several_lanes_share_one_limit() -> None:
    run = Run(users=1_000, events=1_000)
    arrived: list[tuple[float, int]] = []

    def lane(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(50):
            users = rng.randint(1, 200)
            arrived.append((run.request(users, latency=rng.uniform(0.1, 2)), users))

    lanes = [threading.Thread(target=lane, args=(seed,)) for seed in range(4)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join(30)

    assert len(arrived) == 200
    assert _most_in_a_minute(arrived) <= 1_000


def test_the_whole_limit_is_used() -> None:
    run = Run(users=1_000)

    sent = [run.request(users=50) for _ in range(100)]

    assert sent[-1] == 240  # 20 a minute, and the last 20 in the fifth


def test_a_429_holds_all_requests_for_as_long_as_the_server_asks(run: Run) -> None:
    run.request(users=1, reply=Reply(Outcome.THROTTLED, 429, retry_after=20.0), latency=2)

    assert run.request(events=1) == 22


def test_without_a_hint_the_wait_after_each_429_doubles_up_to_a_minute(run: Run) -> None:
    sent = [run.request(users=1, reply=THROTTLED) for _ in range(12)]

    for wait, longest in zip(
        (b - a for a, b in pairwise(sent)), [1, 2, 4, 8, 16, 32, 60, 60, 60, 60], strict=False
    ):
        assert longest / 2 <= wait <= longest


def test_a_hint_that_was_too_short_is_extended_by_backoff(run: Run) -> None:
    hurried = Reply(Outcome.THROTTLED, 429, retry_after=0.0)

    sent = [run.request(users=1, reply=hurried) for _ in range(8)]

    assert sent[-1] - sent[-2] >= 30


def test_a_hint_longer_than_the_backoff_applies(run: Run) -> None:
    sent = [run.request(users=1, reply=Reply(Outcome.THROTTLED, 429, retry_after=45.0)) for _ in range(3)]

    assert sent == [0, 45, 90]


def test_a_success_resets_the_backoff(run: Run) -> None:
    for _ in range(6):
        run.request(users=1, reply=THROTTLED)
    run.request(users=1)

    throttled_at = run.request(users=1, reply=THROTTLED)

    assert run.request(users=1) - throttled_at <= 1


def test_429s_to_requests_sent_before_the_hold_do_not_extend_the_backoff() -> None:
    run = Run()
    run.pass_(1)
    sent_at = [run.pacer.spend(1, 0) for _ in range(4)]
    for moment in sent_at:
        run.pass_(0.1)
        run.pacer.record_reply(1, 0, THROTTLED, moment)

    assert run.request(users=1) <= 1.4 + 1


@pytest.mark.parametrize(
    ("remaining", "retry_after", "held"),
    [
        (0, 17.0, 17),
        (-1, 17.0, 17),
        (0, 3_600.0, 60),
        (0, None, 0),
        (1, 17.0, 0),
        (None, 17.0, 0),
    ],
)
def test_a_window_reported_as_exhausted_is_waited_out(
    run: Run, remaining: int | None, retry_after: float | None, held: float
) -> None:
    run.request(users=1, reply=Reply(Outcome.ACCEPTED, 200, remaining=remaining, retry_after=retry_after))

    assert run.request(users=1) == held


def test_a_shorter_hint_does_not_end_a_longer_hold(run: Run) -> None:
    first, second = run.pacer.spend(1, 0), run.pacer.spend(1, 0)
    run.pacer.record_reply(1, 0, Reply(Outcome.THROTTLED, 429, retry_after=30.0), first)
    run.pacer.record_reply(1, 0, Reply(Outcome.ACCEPTED, 200, remaining=0, retry_after=5.0), second)

    assert run.request(users=1) == 30


def test_an_hour_of_only_429_fails_the_run(run: Run) -> None:
    throttled = Reply(Outcome.THROTTLED, 429, request_id="r-1", message="jane@example.com", retry_after=60.0)

    with pytest.raises(ApiError) as caught:
        [run.request(users=1, reply=throttled) for _ in range(100)]

    error = caught.value
    assert (error.kind, error.status_code, error.request_id, error.retry_after) == (
        ErrorKind.RATE_LIMIT,
        429,
        "r-1",
        60.0,
    )
    assert 3_600 < run.now <= 3_660
    assert "jane" not in str(error)


def test_occasional_429s_never_fail_the_run(run: Run) -> None:
    for _ in range(100):
        run.request(users=1, reply=Reply(Outcome.THROTTLED, 429, retry_after=60.0))
        run.request(users=1)

    assert run.now > 3_600


def test_a_429_after_an_hour_without_requests_does_not_fail_the_run(run: Run) -> None:
    run.pass_(7_200)
    throttled_at = run.request(users=1, reply=THROTTLED)

    assert run.request(users=1) - throttled_at <= 1


@pytest.mark.parametrize(
    "reply", [ACCEPTED, Reply(Outcome.THROTTLED, 429, retry_after=30.0)], ids=["full budget", "hold"]
)
def test_a_waiting_lane_stops_when_the_run_is_stopped(run: Run, reply: Reply) -> None:
    run.request(users=10, reply=reply)
    run.stopped.set()

    with pytest.raises(StoppedError):
        run.pacer.spend(1, 0)


def test_a_lane_waiting_for_another_lanes_response_stops_too(run: Run) -> None:
    run.pacer.spend(10, 0)
    stopped: list[bool] = []

    def wait() -> None:
        with pytest.raises(StoppedError):
            run.pacer.spend(1, 0)
        stopped.append(True)

    other = threading.Thread(target=wait)
    other.start()
    assert run.stopped.checked.wait(5)
    run.stopped.set()
    other.join(5)

    assert stopped == [True]


def test_waiting_time_is_counted(run: Run) -> None:
    run.request(users=10, latency=5)
    before = run.pacer.waited
    run.request(users=10)
    run.request(events=1, reply=Reply(Outcome.THROTTLED, 429, retry_after=20.0))
    run.request(events=1)

    assert (before, run.pacer.waited) == (0, 80)


def test_waiting_time_includes_a_wait_in_progress(run: Run) -> None:
    sent_at = run.pacer.spend(10, 0)
    other = threading.Thread(target=lambda: run.request(users=1))
    other.start()
    assert run.stopped.checked.wait(5)
    run.pass_(7)

    assert run.pacer.waited == 7

    run.pacer.record_reply(10, 0, ACCEPTED, sent_at)
    other.join(5)
    assert run.pacer.waited == 67


def test_utilization_is_that_of_the_fuller_budget(run: Run) -> None:
    shares = [run.pacer.utilization()]
    run.request(users=2)
    run.request(events=5)
    shares.append(run.pacer.utilization())
    run.pacer.spend(6, 0)
    shares.append(run.pacer.utilization())

    assert shares == [0, 0.5, 0.8]


def test_utilization_falls_as_time_passes(run: Run) -> None:
    run.request(users=5)
    run.pass_(59)
    before = run.pacer.utilization()
    run.pass_(1)

    assert (before, run.pacer.utilization()) == (0.5, 0)


def test_nothing_is_sent_after_the_run_is_stopped_even_if_there_is_room(run: Run) -> None:
    run.stopped.set()

    with pytest.raises(StoppedError):
        run.pacer.spend(1, 0)


class _WatchedClock(FakeClock):
    """A clock that records, at each wait, what the pacer says is left of it."""

    pacer: Pacer

    def __init__(self) -> None:
        super().__init__()
        self.left: list[float] = []

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        self.left.append(self.pacer.seconds_left_to_wait)
        return super().wait(stopped, seconds)


def test_a_waiting_request_shows_how_long_it_still_waits() -> None:
    clock = _WatchedClock()
    clock.pacer = pacer = Pacer(Limits(10, 10), clock, threading.Event())
    pacer.record_reply(10, 0, ACCEPTED, pacer.spend(10, 0))
    assert pacer.seconds_left_to_wait == 0

    pacer.spend(10, 0)

    assert clock.left == [60.0]
    assert pacer.seconds_left_to_wait == 0
