"""Several pacers against one simulated server, in simulated time. One thread runs at a time, so runs repeat."""

from __future__ import annotations

import heapq
import math
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import pytest

from airflow_provider_moengage.api.responses import Outcome, Reply
from airflow_provider_moengage.bulk.clock import StoppedError
from airflow_provider_moengage.bulk.rate_limit.fair_share import FairShare
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits, Pacer

LIMIT = 60_000
FOREVER = math.inf


class SimulationEnded(BaseException):
    """Raised in an actor when the simulation ends."""


class Timeline:
    """Simulated time, which advances to the sleeper that wakes first."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._numbers = count()
        self._ends = FOREVER
        self._is_over = threading.Event()

    def run(self, actors: Sequence[Callable[[], None]], seconds: float) -> None:
        self._ends = self.now + seconds
        started = [threading.Event() for _ in actors]
        for event in started:
            heapq.heappush(self._sleepers, (self.now, next(self._numbers), event))
        threads = [threading.Thread(target=self._act, args=pair) for pair in zip(actors, started, strict=True)]
        for thread in threads:
            thread.start()
        self._wake_next()
        self._is_over.wait(60)
        for thread in threads:
            thread.join(60)

    def sleep(self, seconds: float) -> None:
        mine = threading.Event()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), mine))
        self._wake_next()
        mine.wait()
        if self._is_over.is_set():
            raise SimulationEnded

    def _act(self, actor: Callable[[], None], started: threading.Event) -> None:
        started.wait()
        try:
            if not self._is_over.is_set():
                actor()
                self._wake_next()
        except SimulationEnded:
            return
        except BaseException:
            self._end()
            raise

    def _wake_next(self) -> None:
        if self._sleepers and self._sleepers[0][0] < self._ends:
            self.now, _, event = heapq.heappop(self._sleepers)
            event.set()
        else:
            self._end()

    def _end(self) -> None:
        self._is_over.set()
        for _, _, event in self._sleepers:
            event.set()


class Clock:
    """A pacer's clock on the timeline."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def monotonic(self) -> float:
        return self._timeline.now

    time = monotonic

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        self._timeline.sleep(seconds)
        return stopped.is_set()


class Window:
    """What the server has admitted of one budget within 60 seconds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._admitted: deque[tuple[float, int]] = deque()

    def free(self, now: float) -> int:
        while self._admitted and self._admitted[0][0] + 60 <= now:
            self.used -= self._admitted.popleft()[1]
        return self.limit - self.used

    def admit(self, amount: int, now: float) -> None:
        self._admitted.append((now, amount))
        self.used += amount

    def opens_in(self, amount: int, now: float) -> int:
        free, opens_at = self.free(now), now
        for admitted_at, admitted in self._admitted:
            if free >= amount:
                break
            free, opens_at = free + admitted, admitted_at + 60
        return math.ceil(opens_at - now)


class Server:
    """MoEngage's limits: two sliding windows, and headers that report the tighter one of those used."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.windows = (Window(limit), Window(limit))

    def reply(self, users: int, events: int, now: float) -> Reply:
        used_windows = [pair for pair in zip(self.windows, (users, events), strict=True) if pair[1]]
        short = [window for window, amount in used_windows if amount > window.free(now)]
        if short:
            wait = max(window.opens_in(amount, now) for window, amount in used_windows)
            return Reply(
                Outcome.THROTTLED, 429, retry_after=wait, remaining=min(window.free(now) for window in short)
            )
        for window, amount in used_windows:
            window.admit(amount, now)
        return Reply(Outcome.ACCEPTED, 200, remaining=min(window.free(now) for window, _ in used_windows))


@dataclass(frozen=True)
class Sent:
    """A request, as the server saw it."""

    at: float
    worker: int
    users: int
    events: int
    outcome: Outcome


@dataclass(frozen=True)
class Worker:
    """A sender that always has more to send, from ``begins`` until ``ends``."""

    users: int = 500
    events: int = 0
    begins: float = 0.0
    ends: float = FOREVER
    limit: int = LIMIT
    header: Callable[[Reply], Reply] = lambda reply: reply
    pacer: type = Pacer


class NeverYields:
    """Sends at once, and waits only for as long as a 429 asks."""

    def __init__(self, _limits: Limits, clock: Clock, stopped: threading.Event) -> None:
        self._clock = clock
        self._stopped = stopped
        self._held_until = 0.0

    def spend(self, users: int, events: int) -> float:
        while (now := self._clock.monotonic()) < self._held_until:
            self._clock.wait(self._stopped, self._held_until - now)
        return now

    def record_reply(self, users: int, events: int, reply: Reply, sent_at: float) -> None:
        if reply.outcome is Outcome.THROTTLED:
            self._held_until = self._clock.monotonic() + max(reply.retry_after or 0.0, 0.5)


@dataclass(frozen=True)
class Result:
    """The requests of a simulation, as the server saw them."""

    sent: list[Sent]
    workers: int
    limit: int

    def between(self, begin: float, end: float) -> Result:
        return replace(self, sent=[each for each in self.sent if begin <= each.at < end])

    def accepted(self, worker: int) -> int:
        return sum(
            max(each.users, each.events)
            for each in self.sent
            if each.worker == worker and each.outcome is Outcome.ACCEPTED
        )

    def utilization(self, minutes: float) -> float:
        return sum(map(self.accepted, range(self.workers))) / (self.limit * minutes)

    @property
    def refused_part(self) -> float:
        return sum(each.outcome is Outcome.THROTTLED for each in self.sent) / len(self.sent)

    def shares(self, *workers: int) -> list[float]:
        got = [self.accepted(worker) for worker in workers or range(self.workers)]
        return [one / sum(got) * len(got) for one in got]


def _simulate(workers: Sequence[Worker], minutes: float, server: Server | None = None) -> Result:
    rng = random.Random(1)
    timeline, server = Timeline(), server or Server()
    sent: list[Sent] = []
    began = timeline.now

    def act(number: int, worker: Worker) -> None:
        clock = Clock(timeline)
        pacer = worker.pacer(Limits(worker.limit, worker.limit), clock, threading.Event())
        timeline.sleep(worker.begins + rng.random() / 4)
        while timeline.now - began < worker.ends:
            sent_at = pacer.spend(worker.users, worker.events)
            timeline.sleep(rng.uniform(0.05, 0.2))
            reply = worker.header(server.reply(worker.users, worker.events, timeline.now))
            sent.append(Sent(timeline.now - began, number, worker.users, worker.events, reply.outcome))
            timeline.sleep(rng.uniform(0.05, 0.2))
            pacer.record_reply(worker.users, worker.events, reply, sent_at)

    actors = [lambda number=number, worker=worker: act(number, worker) for number, worker in enumerate(workers)]
    timeline.run(actors, minutes * 60)
    return Result(sent, len(workers), server.windows[0].limit)


def _without_header(reply: Reply) -> Reply:
    return replace(reply, remaining=None)


@pytest.fixture(autouse=True)
def _repeatable_jitter() -> Iterator[None]:
    state = random.getstate()
    random.seed(1)
    yield
    random.setstate(state)


@pytest.mark.parametrize("header", [lambda reply: reply, _without_header], ids=["header", "no header"])
def test_one_worker_uses_the_whole_limit_without_a_429(header: Callable[[Reply], Reply]) -> None:
    result = _simulate([Worker(header=header)], 6)

    assert result.utilization(6) >= 0.99
    assert result.refused_part == 0


def test_one_worker_sends_the_first_minute_at_once() -> None:
    result = _simulate([Worker()], 1)

    assert result.utilization(1) == 1
    assert result.sent[-1].at < 120 * 0.4 + 1  # one lane, whose answers take up to 0.4 s


def test_one_worker_of_users_and_events_gets_no_429() -> None:
    result = _simulate([Worker(users=300, events=200)], 6)

    assert result.utilization(6) >= 0.98
    assert result.refused_part == 0


def test_eight_workers_share_the_limit() -> None:
    result = _simulate([Worker()] * 8, 15)

    assert result.utilization(15) >= 0.95
    assert result.refused_part <= 0.02
    assert min(result.shares()) >= 0.5
    assert max(result.shares()) <= 2


@pytest.mark.parametrize(("workers", "refused"), [(2, 0.005), (4, 0.01), (16, 0.06)])
def test_any_number_of_workers_share_the_limit(workers: int, refused: float) -> None:
    result = _simulate([Worker()] * workers, 10)

    assert result.utilization(10) >= 0.94
    assert result.refused_part <= refused
    assert min(result.shares()) >= 0.5
    assert max(result.shares()) <= 2


def test_workers_of_users_and_events_share_both_limits() -> None:
    result = _simulate([Worker(users=300, events=200)] * 4, 10)

    assert result.utilization(10) >= 0.94
    assert result.refused_part <= 0.01
    assert min(result.shares()) >= 0.5


def test_workers_that_join_later_get_their_share() -> None:
    result = _simulate([Worker(), *(Worker(begins=120 + 15 * n) for n in range(7))], 15)
    late = result.between(600, 900)

    assert late.utilization(5) >= 0.94
    assert late.refused_part <= 0.01
    assert min(late.shares()) >= 0.5
    assert max(late.shares()) <= 2


@pytest.mark.parametrize("size", [250, 500])
@pytest.mark.parametrize("begins", [120.0, 150.0, 187.0])
def test_a_second_worker_gets_most_of_its_half_within_ten_minutes(size: int, begins: float) -> None:
    result = _simulate([Worker(users=size), Worker(users=size, begins=begins)], 20)
    late = result.between(begins + 480, begins + 600)

    assert min(late.shares()) >= 0.8
    assert late.utilization(2) >= 0.94
    assert result.refused_part <= 0.02


@pytest.mark.parametrize(("before", "joining"), [(1, 2), (1, 3), (4, 1), (8, 1)])
def test_workers_that_join_others_have_half_to_twice_their_share_within_ten_minutes(
    before: int, joining: int
) -> None:
    workers = [*[Worker(users=250)] * before, *(Worker(users=250, begins=300 + 15 * n) for n in range(joining))]
    result = _simulate(workers, 18)
    late = result.between(840, 1_020)

    assert min(late.shares()) >= 0.5
    assert max(late.shares()) <= 2
    assert late.utilization(3) >= 0.94
    assert result.refused_part <= 0.02


def test_a_sixteenth_worker_gets_a_third_of_its_share_within_ten_minutes() -> None:
    result = _simulate([*[Worker(users=250)] * 15, Worker(users=250, begins=300)], 18)
    late = result.between(840, 1_080)

    assert min(late.shares()) >= 0.3
    assert max(late.shares()) <= 2
    assert late.utilization(4) >= 0.94
    assert result.refused_part <= 0.02


@pytest.mark.parametrize(
    ("first", "second"),
    [((0, 500), (0, 500)), ((250, 200), (250, 200)), ((200, 250), (250, 200))],
    ids=["events", "users and events", "the header reports another budget to each"],
)
def test_a_late_worker_of_events_or_of_both_gets_its_share(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    result = _simulate([Worker(*first), Worker(*second, begins=150)], 15)
    late = result.between(630, 750)

    assert min(late.shares()) >= 0.5
    assert late.refused_part <= 0.02


def test_remaining_workers_take_over_the_shares_of_those_that_leave() -> None:
    result = _simulate([Worker()] * 3 + [Worker(ends=300)] * 5, 9)
    late = result.between(480, 540)

    assert late.utilization(1) >= 0.93
    assert min(late.shares(0, 1, 2)) >= 0.5


def test_the_last_worker_gets_the_whole_limit_again() -> None:
    result = _simulate([Worker(), Worker(ends=180)], 10)

    assert result.between(420, 600).utilization(3) >= 0.99


def test_the_size_of_requests_makes_little_difference() -> None:
    result = _simulate([Worker(users=size) for size in (100, 100, 250, 250, 500, 500, 1_000, 1_000)], 10)

    assert result.utilization(10) >= 0.94
    assert result.refused_part <= 0.01
    assert min(result.shares()) >= 0.5
    assert max(result.shares()) <= 2


def test_a_slow_sender_is_not_throttled_and_costs_little() -> None:
    class Trickle(NeverYields):
        def record_reply(self, users: int, events: int, reply: Reply, sent_at: float) -> None:
            self._held_until = sent_at + 1

    result = _simulate([Worker(), Worker(users=20, pacer=Trickle)], 10)
    late = result.between(300, 600)

    assert late.utilization(5) >= 0.94
    assert late.refused_part == 0


def test_without_the_header_429s_are_enough_to_share() -> None:
    result = _simulate([Worker(header=_without_header)] * 8, 15)

    assert result.utilization(15) >= 0.93
    assert result.refused_part <= 0.05
    assert min(result.shares()) >= 0.4
    assert max(result.shares()) <= 2


def test_without_the_header_the_last_worker_recovers_the_limit() -> None:
    workers = [Worker(header=_without_header), *[Worker(header=_without_header, ends=300)] * 3]
    result = _simulate(workers, 20)

    assert result.between(1_080, 1_200).utilization(2) >= 0.95


@pytest.mark.parametrize("remaining", [10**9, 5, -5])
def test_a_header_that_never_changes_is_ignored(remaining: int) -> None:
    def header(reply: Reply) -> Reply:
        return replace(reply, remaining=remaining)

    alone, together = _simulate([Worker(header=header)], 4), _simulate([Worker(header=header)] * 4, 10)

    assert alone.utilization(4) >= 0.99
    assert alone.refused_part == 0
    assert together.utilization(10) >= 0.9
    assert together.refused_part <= 0.04


def test_a_header_that_counts_requests_does_not_slow_one_worker() -> None:
    left = iter(range(1_000, 0, -1))
    result = _simulate([Worker(header=lambda reply: replace(reply, remaining=next(left)))], 4)

    assert result.utilization(4) >= 0.99


@pytest.mark.parametrize(("connection", "least"), [(LIMIT // 2, 0.495), (LIMIT * 2, 0.85)])
def test_one_worker_with_a_wrong_limit_in_its_connection(connection: int, least: float) -> None:
    result = _simulate([Worker(limit=connection)], 8)

    assert least <= result.utilization(8) <= connection / LIMIT
    assert result.refused_part <= 0.01


@pytest.mark.parametrize(("connection", "refused"), [(LIMIT // 2, 0.04), (LIMIT * 2, 0.02)])
def test_workers_with_a_wrong_limit_in_their_connection_share_the_servers_limit(
    connection: int, refused: float
) -> None:
    result = _simulate([Worker(limit=connection)] * 8, 10)

    assert result.utilization(10) >= 0.93
    assert result.refused_part <= refused
    assert min(result.shares()) >= 0.5


def test_users_and_events_are_shared_separately() -> None:
    others = [Worker(users=500, events=0)] * 3
    result = _simulate([*others, Worker(users=0, events=500)], 4)

    assert result.accepted(3) == pytest.approx(4 * LIMIT, rel=0.01)
    assert sum(result.accepted(number) for number in range(3)) >= 0.92 * 4 * LIMIT


def test_a_share_grows_while_the_header_reports_the_other_budget() -> None:
    both, users, events = Worker(users=300, events=300), Worker(ends=240), Worker(users=0, events=500, begins=240)
    result = _simulate([both, users, users, users, events], 15)

    assert min(result.between(600, 900).shares(0, 4)) >= 0.7


@pytest.mark.parametrize("header", [lambda reply: reply, _without_header], ids=["header", "no header"])
def test_a_worker_is_not_starved_by_senders_that_never_yield(header: Callable[[Reply], Reply]) -> None:
    result = _simulate([Worker(header=header), *[Worker(pacer=NeverYields)] * 2], 30)

    assert min(result.between(600, 1_800).shares()) >= 0.2


class FlakyServer(Server):
    """Answers some requests with a 429 for another reason, without headers."""

    def __init__(self, *refused: int) -> None:
        super().__init__()
        self._refused = set(refused)
        self._numbers = count()

    def reply(self, users: int, events: int, now: float) -> Reply:
        if next(self._numbers) in self._refused:
            return Reply(Outcome.THROTTLED, 429)
        return super().reply(users, events, now)


@pytest.mark.parametrize("header", [lambda reply: reply, _without_header], ids=["header", "no header"])
def test_one_429_for_any_other_reason_does_not_slow_one_worker(header: Callable[[Reply], Reply]) -> None:
    result = _simulate([Worker(header=header)], 4, FlakyServer(50))

    assert result.utilization(4) >= 0.99


def test_a_429_while_the_header_reports_enough_room_does_not_shrink_the_share() -> None:
    result = _simulate([Worker()], 4, FlakyServer(*range(20, 500, 40)))

    assert result.utilization(4) >= 0.95


def _request(pacer: Pacer, timeline: Timeline, server: Server) -> float:
    sent_at = pacer.spend(500, 0)
    timeline.sleep(0.2)
    pacer.record_reply(500, 0, server.reply(500, 0, timeline.now), sent_at)
    return sent_at


def test_a_worker_after_a_long_pause_starts_with_the_whole_limit() -> None:
    timeline, server = Timeline(), Server()
    pacers = [Pacer(Limits(), Clock(timeline), threading.Event()) for _ in range(2)]
    went: list[float] = []

    def until_later() -> None:
        while timeline.now < 1_300:
            _request(pacers[0], timeline, server)

    def with_a_pause() -> None:
        while timeline.now < 1_200:
            _request(pacers[1], timeline, server)
        timeline.sleep(300)
        went.extend(_request(pacers[1], timeline, server) for _ in range(120))

    timeline.run([until_later, with_a_pause], 700)

    assert len(went) == 120
    assert went[-1] - went[0] < 60


def test_waiting_for_a_share_ends_when_the_run_is_stopped() -> None:
    timeline, stopped, server = Timeline(), threading.Event(), Server()
    first = Pacer(Limits(), Clock(timeline), stopped)
    ended: list[bool] = []

    def send(pacer: Pacer) -> None:
        while True:
            _request(pacer, timeline, server)

    def lane(pacer: Pacer) -> None:
        with pytest.raises(StoppedError):
            send(pacer)
        ended.append(True)

    def stop() -> None:
        timeline.sleep(90)
        stopped.set()

    other = Pacer(Limits(), Clock(timeline), stopped)
    timeline.run([lambda: lane(first), lambda: lane(other), stop], 100)

    assert ended == [True, True]


def _shared(limit: int = LIMIT, *, remaining: int = 20_000, own: int = 10_000) -> FairShare:
    """Return a share that trusts the header and has seen other senders."""
    share = FairShare(limit)
    share.record_success(remaining + 500, own - 500, 500, 0, now=0)
    share.record_success(remaining, own, 500, 0, now=0)
    assert not share.is_alone
    return share


def test_a_share_is_the_whole_limit_until_others_are_seen() -> None:
    share = FairShare(LIMIT)
    for own in range(500, LIMIT, 500):
        share.record_success(LIMIT - own, own, 500, 0, now=own / 1_000)

    assert (share.is_alone, share.size) == (True, LIMIT)


def test_a_share_of_the_whole_limit_is_not_paced() -> None:
    share = FairShare(LIMIT)
    share.spend(500, 100)

    assert share.opens_at == -math.inf


def test_a_small_difference_in_counting_is_not_another_sender() -> None:
    share = FairShare(LIMIT)
    share.record_success(LIMIT - 530, 500, 500, 0, now=0)
    share.record_success(LIMIT - 1_030, 1_000, 500, 0, now=1)

    assert share.is_alone


@pytest.mark.parametrize(("amount", "falls", "is_alone"), [(500, 249, True), (500, 250, False), (20, 59, True)])
def test_a_header_is_trusted_once_it_falls_by_what_was_sent(amount: int, falls: int, is_alone: bool) -> None:
    share = FairShare(LIMIT)
    share.record_success(10_000, 500, amount, 0, now=0)
    share.record_success(10_000 - falls, 1_000, amount, 0, now=1)

    assert share.is_alone is is_alone


def test_the_expected_room_excludes_what_the_sender_and_others_have() -> None:
    assert _shared(remaining=20_000, own=10_000).room_expected(12_000) == 18_000


def test_a_share_does_not_exceed_what_is_available() -> None:
    assert _shared(remaining=20_000, own=10_000).size == 30_000


def test_if_room_is_short_others_may_double_their_share_up_to_half() -> None:
    little, much = _shared(remaining=500, own=57_500), _shared(remaining=500, own=40_000)

    assert (little.size, much.size) == (56_000, 30_000)


def test_others_that_grow_may_double_their_share() -> None:
    share = _shared(remaining=10_000, own=45_000)
    before = share.size
    share.record_success(10_000, 44_800, 500, 0, now=59)
    same = share.size
    share.record_success(10_000, 43_000, 500, 0, now=59)

    assert (before, same, share.size) == (55_000, 54_800, LIMIT - 2 * 7_000)


def test_a_429_costs_a_share_once_per_hold() -> None:
    share = _shared(remaining=600, own=10_000)
    before = share.size
    share.record_throttled(100, 10_000, 500, 1, is_new=True)
    after = share.size
    share.record_throttled(100, 10_000, 500, 1, is_new=False)

    assert before == 10_600
    assert after == share.size == pytest.approx((10_000 + 450) * 0.93)


def test_a_429_shows_what_the_others_have() -> None:
    share = FairShare(LIMIT)
    share.record_success(59_500, 500, 500, 0, now=0)
    share.record_success(59_000, 1_000, 500, 0, now=1)
    share.record_throttled(100, 20_000, 500, 2, is_new=False)

    assert (share.is_alone, share.size, share.room_expected(20_000)) == (False, 20_450, 100)


def test_a_429_without_the_header_uses_the_last_known_room() -> None:
    free, full = _shared(remaining=5_000, own=10_000), _shared(remaining=600, own=10_000)
    for share in (free, full):
        share.spend(500, 1)
        share.record_throttled(None, 10_000, 500, 2, is_new=True)

    assert free.size == 15_000
    assert full.size < 10_000


@pytest.mark.parametrize(("after", "is_alone"), [(110, False), (130, True)])
def test_without_the_header_the_second_429_within_two_minutes_counts(after: float, is_alone: bool) -> None:
    share = FairShare(LIMIT)
    share.record_throttled(None, 10_000, 500, 0, is_new=True)
    once = share.size
    share.record_throttled(None, 10_000, 500, after, is_new=False)
    unchanged = share.size
    share.record_throttled(None, 10_000, 500, after, is_new=True)

    assert once == unchanged == LIMIT
    assert share.is_alone is is_alone
    assert share.size == (LIMIT if is_alone else 9_000)


def test_without_the_header_a_share_grows_to_the_whole_limit_unless_a_429_stops_it() -> None:
    share = FairShare(LIMIT)
    for second in (0, 1):
        share.record_throttled(None, 10_000, 500, second, is_new=True)
    for second in range(2, 1_800):
        share.advance(second, LIMIT, 500)

    assert share.is_alone


def test_a_429_after_a_long_time_alone_means_another_sender() -> None:
    share = FairShare(LIMIT)
    share.record_success(LIMIT - 500, 500, 500, 0, now=0)
    share.record_success(LIMIT - 1_000, 1_000, 500, 0, now=1)
    share.record_throttled(400, LIMIT - 400, 500, 100, is_new=True)

    assert not share.is_alone
    assert share.size < LIMIT


def test_a_share_grows_only_while_it_limits_the_sender() -> None:
    held, free = _shared(remaining=6_000, own=10_000), _shared(remaining=6_000, own=10_000)
    held.advance(1, int(held.size), 500)
    free.advance(1, 1_000, 500)

    assert free.size < 16_000 < held.size


def test_requests_in_flight_take_room() -> None:
    sizes: list[float] = []
    for in_flight, sent in ((0, 0), (2_000, 0), (0, 2_000)):
        share = _shared(remaining=6_000, own=10_000)
        share.record_success(6_000, 10_000, 500, in_flight, now=0)
        share.spend(sent, 0)
        share.advance(1, LIMIT, 500)
        sizes.append(share.size)

    assert sizes[0] > sizes[1] == sizes[2] > 16_000


def test_what_remains_of_the_other_budget_is_room_here_too() -> None:
    informed, uninformed = _shared(remaining=1_000, own=10_000), _shared(remaining=1_000, own=10_000)
    informed.observe_at_least(5_000)
    informed.observe_at_least(2_000)
    for share in (informed, uninformed):
        share.advance(1, LIMIT, 500)

    assert informed.size > 11_000 > uninformed.size


def test_a_starved_sender_stops_yielding_for_a_while() -> None:
    share = _shared(remaining=0, own=1_000)
    sizes = []
    for second in range(1, 1_000):
        share.advance(second, 500, 500)
        sizes.append(share.size)

    assert sizes[298] < 1_500
    assert sizes[299] == sizes[898] == LIMIT / 8
    assert sizes[899] == 600


def test_a_sender_that_delivers_enough_keeps_yielding() -> None:
    share = _shared(remaining=0, own=1_000)
    for second in range(1, 1_000):
        share.advance(second, 500, 500)
        if second % 40 == 0:
            share.spend(500, second)

    assert share.size < 1_500


def test_a_larger_share_shrinks_faster() -> None:
    lost: list[float] = []
    for own in (6_000, 12_000, 24_000):
        share = _shared(remaining=0, own=own)
        before = share.size
        share.advance(10, 0, 500)
        lost.append((before - share.size) / before)

    assert lost[0] < lost[1] < lost[2]


def _grown(share: FairShare, now: float) -> float:
    """Return what a small share takes within a second of some free room."""
    share.size = 1_000
    share.record_success(10_000, 1_000, 500, 0, now=now)
    share.advance(now, LIMIT, 500)
    before = share.size
    share.advance(now + 1, LIMIT, 500)
    return share.size - before


def test_a_share_grows_more_slowly_after_each_429_until_ten_minutes_pass_without_one() -> None:
    share = _shared()
    share.spend(20_000, 0)  # so that it is not starved
    at_first = _grown(share, 1)
    share.record_throttled(100, 10_000, 500, 100, is_new=True)
    while_the_window_is_still_full = _grown(share, 101)
    share.record_throttled(100, 10_000, 500, 200, is_new=True)
    after_one = _grown(share, 201)
    for second in range(202, 212):
        share.record_throttled(100, 10_000, 500, second, is_new=True)
    after_many = _grown(share, 212)
    for second in range(220, 811, 10):
        share.spend(500, second)
        share.advance(second, 0, 500)
    much_later = _grown(share, 812)

    assert at_first == pytest.approx(while_the_window_is_still_full, rel=0.02)
    assert after_one < at_first * 0.75
    assert after_many < at_first * 0.3
    assert much_later == pytest.approx(after_many / 0.7, rel=0.05)


def test_a_share_grows_although_room_has_just_left_the_window() -> None:
    share = _shared(remaining=6_000, own=10_000)
    share.advance(1, int(share.size), 500)
    held = share.size
    share.advance(2, int(share.size) - 1_000, 500)
    just_free = share.size
    share.advance(3, int(share.size) - 1_000, 500)

    assert held < just_free > share.size


def test_others_are_gone_after_a_minute_without_a_sign_of_them() -> None:
    share = _shared()
    for second in (10, 40, 69):
        share.record_success(LIMIT - 500, 500, 500, 0, now=second)
    before = share.is_alone
    share.record_success(LIMIT - 500, 500, 500, 0, now=70)

    assert (before, share.is_alone, share.size) == (False, True, LIMIT)


def test_a_share_is_not_spent_in_a_burst() -> None:
    share = _shared(remaining=1_500, own=6_000)
    share.spend(500, 100)
    first = share.opens_at
    share.spend(500, first)

    evenly = 60 * 500 / 7_500
    assert first == pytest.approx(100 - 0.2 + evenly / 1.5)
    assert share.opens_at == pytest.approx(first + evenly / 1.5, abs=0.2)
