"""Runs that are killed and resumed: nothing is lost, and only requests in flight are sent twice or unknown."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.api.responses import Reply
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.bulk.resume import saved_run
from airflow_provider_moengage.bulk.resume.fence import Fence, FencedError
from airflow_provider_moengage.bulk.resume.saved_run import SavedRun, UnknownOutcomeError
from airflow_provider_moengage.bulk.resume.writer import NotStoredError
from airflow_provider_moengage.bulk.run import delivery
from airflow_provider_moengage.bulk.run.context import RunContext
from airflow_provider_moengage.bulk.run.delivery import Delivery
from airflow_provider_moengage.bulk.run.lane import Client
from airflow_provider_moengage.bulk.sources import Numbered, Stream
from airflow_provider_moengage.emulator import Fault
from tests.delivering import MoEngage, customer, event
from tests.killing import KillableClient, KillableRejects, KillableStore, KilledError, KillSwitch

SMALL_BATCHES = Limits(2_500, 2_500)
A_BATCH = 100
"""Elements in a request with these limits."""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process does not wait for its lanes."""
    monkeypatch.setattr(delivery, "_TICK", 0.01)
    monkeypatch.setattr(delivery, "_LAST_WAIT", 0.1)


class Run:
    """The tries of one task."""

    def __init__(self, moengage: MoEngage, elements: list[Any], tmp_path: Path, **options: Any) -> None:
        self.moengage = moengage
        self.elements = elements
        self.path = tmp_path / "rejects.ndjson"
        self.options = DeliveryOptions(**options)
        self.store = KillableStore()
        self.fence_store = KillableStore()
        self.epoch = 1
        self.is_retry = True
        self.fingerprint = "same"

    def attempt(
        self,
        switch: KillSwitch | None = None,
        source: Stream | None = None,
        wrap: Callable[[Client], Client] = lambda client: client,
    ) -> DeliveryReport:
        """One try.

        :raises KilledError: if the switch kills it.
        """
        switch = switch or KillSwitch()
        self.store.switch = switch
        rejects = KillableRejects(self.path)
        rejects.switch = switch
        workspace = Workspace("EMULATOR", "emulator-data-key", base_url=self.moengage.emulator.url, timeout=10.0)
        client = wrap(KillableClient(MoEngageClient(workspace, now=self.moengage.clock.time), switch))
        try:
            return Delivery(
                RunContext.create(self.options, SMALL_BATCHES, self.moengage.log, self.moengage.clock),
                source or Numbered(self.elements),
                client,
                rejects,
                saved_run=SavedRun(
                    self.store,
                    self.fingerprint,
                    (self.epoch, 3),
                    is_retry=self.is_retry,
                    fence=Fence(self.fence_store),
                ),
            ).run()
        finally:
            client.close()
            if switch.is_killed:
                switch.wait_for_requests()
                rejects.close_stream()

    def until_done(self, generator: random.Random, kills: int) -> DeliveryReport:
        for _ in range(kills):
            try:
                return self.attempt(KillSwitch(generator.randrange(60)))
            except KilledError:
                continue
        return self.attempt()

    @property
    def rejected(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


def some_elements(generator: random.Random, count: int) -> list[dict[str, Any]]:
    """Elements of a few users, so that lanes are unevenly busy; one in a hundred is a reject."""
    return [
        customer(f"user {int(generator.expovariate(0.2))}", number=number)
        if generator.random() > 0.01
        else customer("null", number=number)
        for number in range(count)
    ]


def number_of(element: dict[str, Any]) -> int:
    return int(element["attributes"]["number"])


def assert_order(arrived: list[dict[str, Any]]) -> None:
    """Check that each user's elements first arrived in the order of the source."""
    seen: set[int] = set()
    last: dict[str, int] = {}
    for element in arrived:
        number = number_of(element)
        if number not in seen:
            seen.add(number)
            assert number > last.get(element["customer_id"], -1)
            last[element["customer_id"]] = number


@pytest.mark.parametrize("seed", range(12))
def test_a_run_killed_at_any_point_loses_nothing(moengage: MoEngage, tmp_path: Path, seed: int) -> None:
    generator = random.Random(seed)
    elements = some_elements(generator, 3_000)
    bad = [number_of(element) for element in elements if element["customer_id"] == "null"]
    run = Run(moengage, elements, tmp_path, concurrency=4)

    kills = generator.randrange(1, 6)
    report = run.until_done(generator, kills)

    arrived = Counter(map(number_of, moengage.arrived))
    assert set(arrived) == set(range(3_000)) - set(bad)
    assert arrived.total() - len(arrived) <= kills * 4 * A_BATCH
    assert (report.accepted, report.rejected, report.customers) == (len(arrived), len(bad), len(arrived))
    assert sorted(line["position"] for line in run.rejected) == bad
    assert_order(moengage.arrived)
    assert report.rejects == {"customer_id_refused": len(bad)}


@pytest.mark.parametrize("seed", range(12))
def test_at_most_once_sends_nothing_twice_and_rejects_unknown_outcomes(
    moengage: MoEngage, tmp_path: Path, seed: int
) -> None:
    generator = random.Random(seed)
    elements = some_elements(generator, 3_000)
    run = Run(moengage, elements, tmp_path, concurrency=4, delivery="at_most_once")

    kills = generator.randrange(1, 6)
    report = run.until_done(generator, kills)

    arrived = Counter(map(number_of, moengage.arrived))
    rejected = Counter(line["position"] for line in run.rejected)
    unknown = [line for line in run.rejected if line["codes"] == ["outcome_unknown"]]
    assert max(arrived.values()) == max(rejected.values()) == 1
    assert set(arrived) | set(rejected) == set(range(3_000))
    assert {line["position"] for line in unknown} >= set(arrived) & set(rejected)
    assert len(unknown) <= kills * 4 * A_BATCH
    assert report.accepted + report.rejected == 3_000
    assert report.rejected == len(rejected)
    assert_order(moengage.arrived)


def killed(run: Run, *, after: int) -> None:
    with pytest.raises(KilledError):
        run.attempt(KillSwitch(after))


def customers(count: int) -> list[dict[str, Any]]:
    return [customer(f"user {number}", number=number) for number in range(count)]


def test_a_retry_resumes_and_its_report_counts_the_whole_source(moengage: MoEngage, tmp_path: Path) -> None:
    run = Run(moengage, customers(2_000), tmp_path, concurrency=1)
    killed(run, after=24)
    before = len(moengage.arrived)

    report = run.attempt()

    assert 400 <= before < 2_000
    assert 2_000 <= len(moengage.arrived) <= 2_000 + A_BATCH
    assert report.resumed
    assert (report.accepted, report.rejected) == (2_000, 0)


def test_a_finished_run_is_sent_again_after_a_clear_but_not_by_a_retry(moengage: MoEngage, tmp_path: Path) -> None:
    run = Run(moengage, customers(10), tmp_path)
    run.attempt()
    state = run.store.state

    assert SavedRun(run.store, "same", (1, 3)).report == DeliveryReport(**state["report"])  # type: ignore[index]
    assert SavedRun(run.store, "same", (2, 3)).report is None
    run.epoch = 2
    report = run.attempt()

    assert (report.accepted, report.resumed, len(moengage.arrived)) == (10, False, 20)


def test_an_unfinished_run_is_resumed_after_a_clear(moengage: MoEngage, tmp_path: Path) -> None:
    run = Run(moengage, customers(1_000), tmp_path, concurrency=1)
    killed(run, after=20)
    run.epoch = 2

    assert run.attempt().resumed
    assert len(moengage.arrived) <= 1_000 + A_BATCH


def test_a_run_with_other_inputs_starts_over(moengage: MoEngage, tmp_path: Path) -> None:
    run = Run(moengage, customers(1_000), tmp_path, concurrency=1)
    killed(run, after=20)
    run.fingerprint = "other"

    assert not run.attempt().resumed
    assert set(map(number_of, moengage.arrived)) == set(range(1_000))


def test_the_checkpoint_stays_small_however_long_the_run(moengage: MoEngage, tmp_path: Path) -> None:
    sizes = []
    for count in (5_000, 40_000):
        run = Run(moengage, customers(count), tmp_path, concurrency=4)
        run.attempt()
        sizes.append(run.store.largest)
        assert run.store.writes <= count / A_BATCH + 10

    assert sizes[1] < 1.5 * sizes[0]
    assert sizes[1] < 10_000


def test_a_failed_run_does_not_send_accepted_elements_again(moengage: MoEngage, tmp_path: Path) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", status=403, after=5, times=4))
    run = Run(moengage, customers(2_000), tmp_path, concurrency=4)
    with pytest.raises(ApiError):
        run.attempt()
    moengage.emulator.workspace.clear_faults()

    report = run.attempt()

    assert (report.accepted, report.resumed, len(moengage.arrived)) == (2_000, True, 2_000)


@pytest.mark.parametrize("kind", ["status", "status_after", "cut_before", "cut_after", "html"])
def test_at_most_once_rejects_what_may_have_arrived(moengage: MoEngage, tmp_path: Path, kind: Any) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind=kind))
    run = Run(moengage, customers(500), tmp_path, concurrency=1, delivery="at_most_once")

    report = run.attempt()

    assert (report.accepted, report.rejected, report.retries) == (400, 100, 0)
    assert {code for line in run.rejected for code in line["codes"]} == {"outcome_unknown"}
    assert "may have accepted it" in run.rejected[0]["messages"][0]


def test_at_most_once_fails_after_twelve_unknown_outcomes(moengage: MoEngage, tmp_path: Path) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", status=503, times=None))
    run = Run(moengage, customers(5_000), tmp_path, concurrency=1, delivery="at_most_once")

    with pytest.raises(ApiError, match="The outcome of the last 12 requests is unknown"):
        run.attempt()
    moengage.emulator.workspace.clear_faults()
    report = run.attempt()

    assert (report.accepted, report.rejected) == (3_800, 1_200)
    assert len(run.rejected) == 1_200


def test_at_most_once_retries_what_was_certainly_not_processed(moengage: MoEngage, tmp_path: Path) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", status=429, times=3))
    run = Run(moengage, customers(500), tmp_path, concurrency=1, delivery="at_most_once")

    report = run.attempt()

    assert (report.accepted, report.rejected, report.retries) == (500, 0, 3)


def test_a_stream_starts_over_and_warns_of_duplicates(
    moengage: MoEngage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elements = [event(f"user {number}", number=number) for number in range(1_000)]
    run = Run(moengage, elements, tmp_path, concurrency=1)
    with pytest.raises(KilledError):
        run.attempt(KillSwitch(12), Stream(elements, "its elements are unknown"))

    with caplog.at_level(logging.WARNING):
        report = run.attempt(source=Stream(elements, "its elements are unknown"))

    assert (report.accepted, report.resumed) == (1_000, False)
    assert len(moengage.arrived) > 1_000
    assert "cannot resume because its elements are unknown; sending everything again" in caplog.text
    assert "events that had arrived will be duplicated" in caplog.text


def test_at_most_once_starts_a_stream_over_only_after_a_clear(moengage: MoEngage, tmp_path: Path) -> None:
    run = Run(moengage, customers(1_000), tmp_path, concurrency=1, delivery="at_most_once")
    with pytest.raises(KilledError):
        run.attempt(KillSwitch(12), Stream(run.elements))
    before = len(moengage.arrived)

    with pytest.raises(UnknownOutcomeError, match="an earlier try may have sent some of it"):
        run.attempt(source=Stream(run.elements))
    assert len(moengage.arrived) == before
    run.epoch = 2
    assert run.attempt(source=Stream(run.elements)).accepted == 1_000


def test_after_an_unreadable_checkpoint_everything_is_sent_again_but_not_at_most_once(
    moengage: MoEngage, tmp_path: Path
) -> None:
    run = Run(moengage, customers(100), tmp_path)
    run.store.state = {}
    assert run.attempt().accepted == 100

    strict = Run(moengage, customers(100), tmp_path, delivery="at_most_once")
    strict.store.state = {}
    with pytest.raises(UnknownOutcomeError, match="cannot be read"):
        strict.attempt()


def test_at_most_once_with_other_inputs_sends_nothing_until_the_task_is_cleared(
    moengage: MoEngage, tmp_path: Path
) -> None:
    run = Run(moengage, customers(1_000), tmp_path, concurrency=1, delivery="at_most_once")
    killed(run, after=20)
    before = len(moengage.arrived)
    run.fingerprint = "other"

    with pytest.raises(UnknownOutcomeError, match="the inputs have changed"):
        run.attempt()
    assert len(moengage.arrived) == before
    run.epoch = 2
    assert run.attempt().accepted == 1_000


def test_a_clear_gets_past_an_unreadable_checkpoint(moengage: MoEngage, tmp_path: Path) -> None:
    run = Run(moengage, customers(100), tmp_path, delivery="at_most_once")
    run.store.state = {}
    run.is_retry = False

    assert run.attempt().accepted == 100


class Interrupted(Numbered):
    """A source whose reading is interrupted once by a signal handler that raises."""

    def __init__(self, elements: list[Any], tokens: int) -> None:
        super().__init__(elements)
        self.tokens = tokens

    def token(self, position: int, key: Any) -> Any:
        self.tokens -= 1
        if self.tokens == 0:
            raise KeyboardInterrupt
        return super().token(position, key)


@pytest.mark.parametrize("tokens", [1, 50, 150, 290])
def test_a_signal_during_rereading_loses_nothing(moengage: MoEngage, tmp_path: Path, tokens: int) -> None:
    run = Run(moengage, customers(2_000), tmp_path, concurrency=4)
    killed(run, after=20)
    with pytest.raises(KeyboardInterrupt):
        run.attempt(source=Interrupted(run.elements, tokens))

    report = run.attempt()

    assert set(map(number_of, moengage.arrived)) == set(range(2_000))
    assert (report.accepted, report.rejected) == (2_000, 0)


def test_rejects_before_the_first_request_are_counted_once(moengage: MoEngage, tmp_path: Path) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", status=403, times=None))
    elements = [
        *customers(100),
        *[customer("null", number=number) for number in range(100, 3_100)],
        *customers(100),
    ]
    run = Run(moengage, elements, tmp_path, concurrency=1)
    with pytest.raises(ApiError):
        run.attempt()
    moengage.emulator.workspace.clear_faults()

    report = run.attempt()

    assert (report.accepted, report.rejected) == (200, 3_000)
    assert Counter(line["position"] for line in run.rejected) == Counter(range(100, 3_100))


def test_a_request_that_was_only_throttled_is_sent_by_the_next_try(moengage: MoEngage, tmp_path: Path) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", status=429, times=None))
    run = Run(moengage, customers(100), tmp_path, concurrency=1, delivery="at_most_once")
    with pytest.raises(ApiError, match="only 429"):
        run.attempt()
    moengage.emulator.workspace.clear_faults()

    assert (run.attempt().accepted, run.rejected) == (100, [])


class FailingStore(KillableStore):
    """Stores that many states, and no more."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity

    def save(self, state: dict[str, Any]) -> None:
        if self.writes == self.capacity:
            raise ConnectionError("no database")
        super().save(state)


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_nothing_is_sent_if_nothing_can_be_stored(moengage: MoEngage, tmp_path: Path, delivery: str) -> None:
    run = Run(moengage, customers(1_000), tmp_path, delivery=delivery)
    run.store = FailingStore(0)

    with pytest.raises(NotStoredError, match="ConnectionError"):
        run.attempt()
    assert moengage.arrived == []


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_a_failing_store_stops_at_most_once_and_only_warns_at_least_once(
    moengage: MoEngage, tmp_path: Path, delivery: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(moengage, customers(1_000), tmp_path, concurrency=2, delivery=delivery)
    run.store = FailingStore(4)

    if delivery == "at_most_once":
        with pytest.raises(NotStoredError):
            run.attempt()
        assert len(moengage.arrived) <= 400
    else:
        with caplog.at_level(logging.WARNING):
            run.attempt()
        assert len(moengage.arrived) == 1_000
        assert caplog.text.count("The checkpoint could not be stored (ConnectionError)") == 1


# What an at-most-once run of 500 numbered elements stored in an earlier release: 0 to 99, 200 to 299 and 310 were
# accepted, 150 to 199 were in flight.
STORED_BEFORE = {
    "version": 1,
    "fingerprint": "same",
    "life": [1, 3],
    "status": "running",
    "bookmark": {"last": 310, "open": "c$~Y#V3Wc~DmXJ8&IAB+R|6U", "sent": "c$~Y#V0300BdGuYgMR{|"},
    "figures": {
        "accepted": 201,
        "rejected": 0,
        "rejects": {},
        "kinds": {"customer": 201},
        "warnings": {},
        "actions": 0,
        "requests": 3,
        "bytes": 24_000,
        "retries": 0,
        "elapsed_seconds": 1.5,
        "throttled_seconds": 0.25,
    },
    "rejects_path": None,
    "rejects_bytes": 0,
    "at_most_once": True,
}


def test_a_checkpoint_of_an_earlier_release_is_resumed_if_it_is_whole(moengage: MoEngage, tmp_path: Path) -> None:
    run = Run(moengage, customers(500), tmp_path, concurrency=1, delivery="at_most_once")
    state = {**STORED_BEFORE, "version": saved_run._VERSION}
    run.store.state = {**state, "checksum": saved_run._checksum(state)}

    report = run.attempt()

    assert report.resumed
    assert sorted(map(number_of, moengage.arrived)) == [*range(100, 150), *range(300, 310), *range(311, 500)]
    assert sorted(line["position"] for line in run.rejected) == list(range(150, 200))
    assert (report.accepted, report.rejected) == (450, 50)


def stopped_halfway(moengage: MoEngage, tmp_path: Path, delivery: str) -> Run:
    run = Run(moengage, customers(500), tmp_path, concurrency=2, delivery=delivery)
    with pytest.raises(KilledError):
        run.attempt(KillSwitch(12))
    assert run.store.state is not None
    return run


DAMAGES: dict[str, Any] = {
    "a digit of a count": lambda state: {**state, "rejects_bytes": state["rejects_bytes"] + 1},
    "the last position": lambda state: {**state, "bookmark": {**state["bookmark"], "last": 7}},
    "what is open": lambda state: {**state, "bookmark": {**state["bookmark"], "open": "c$~Y#V3Wc~DmXJ8&IAB+R|6U"}},
    "a letter of a name": lambda state: {{"life": "lofe"}.get(name, name): value for name, value in state.items()},
    "the clear epoch": lambda state: {**state, "life": None},
    "the counts are gone": lambda state: {name: value for name, value in state.items() if name != "figures"},
    "the counts are text": lambda state: {**state, "figures": "201"},
    "no checksum": lambda state: {name: value for name, value in state.items() if name != "checksum"},
    "another status": lambda state: {**state, "status": "complete"},
    "nothing but a name": lambda state: {"version": state["version"]},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_counts_as_none(moengage: MoEngage, tmp_path: Path, damage: Any) -> None:
    run = stopped_halfway(moengage, tmp_path, "at_least_once")
    run.store.state = damage(run.store.state)

    report = run.attempt()

    assert not report.resumed
    assert set(map(number_of, moengage.arrived)) == set(range(500))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_with_at_most_once_a_damaged_checkpoint_is_an_error(
    moengage: MoEngage, tmp_path: Path, damage: Any
) -> None:
    run = stopped_halfway(moengage, tmp_path, "at_most_once")
    arrived = len(moengage.arrived)
    run.store.state = damage(run.store.state)

    with pytest.raises(UnknownOutcomeError, match="the checkpoint of an earlier try cannot be read"):
        run.attempt()

    assert len(moengage.arrived) == arrived


class WaitingClient:
    """A client whose worker is suspended before one of its requests."""

    def __init__(self, client: Client, requests: int, gate: Gate) -> None:
        self._client = client
        self._requests = requests
        self._gate = gate

    def bulk_import(self, body: bytes) -> Reply:
        self._requests -= 1
        if not self._requests:
            self._gate.wait()
        return self._client.bulk_import(body)

    def delete_user(self, body: bytes) -> Reply:
        return self._client.delete_user(body)

    def request_erasure(self, body: bytes) -> Reply:
        return self._client.request_erasure(body)

    def sync_cohort(self, body: bytes) -> Reply:
        return self._client.sync_cohort(body)

    def fork(self) -> WaitingClient:
        return WaitingClient(self._client.fork(), self._requests, self._gate)

    def close(self) -> None:
        self._client.close()


class Gate:
    """Where a suspended worker waits until it goes on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        assert self.opened.wait(30)


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_of_two_tries_at_once_the_later_one_takes_over(
    moengage: MoEngage, tmp_path: Path, delivery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(moengage, customers(2_000), tmp_path, concurrency=1, delivery=delivery)
    gate = Gate()
    ends: list[BaseException] = []

    def suspended() -> None:
        try:
            run.attempt(wrap=lambda client: WaitingClient(client, 5, gate))
        except BaseException as error:  # noqa: BLE001 (it is the result)
            ends.append(error)

    first = threading.Thread(target=suspended)
    first.start()
    assert gate.reached.wait(30)
    report = run.attempt()
    gate.opened.set()
    first.join(30)

    assert [type(end) for end in ends] == [FencedError]
    times = Counter(map(number_of, moengage.arrived))
    sent_twice = [number for number, count in times.items() if count > 1]
    assert len(sent_twice) <= A_BATCH, "what was in flight when the later try began"
    assert report.resumed
    if delivery == "at_most_once":
        assert not sent_twice
        assert times.keys() | {line["position"] for line in run.rejected} == set(range(2_000))
    else:
        assert times.keys() == set(range(2_000))


def test_a_try_that_was_fenced_cannot_pass_its_checkpoint_off_as_the_latest(
    moengage: MoEngage, tmp_path: Path
) -> None:
    run = stopped_halfway(moengage, tmp_path, "at_most_once")
    of_the_first = run.store.state
    with pytest.raises(KilledError):
        run.attempt(KillSwitch(12))
    run.store.state = of_the_first  # its worker was suspended while it wrote

    with pytest.raises(UnknownOutcomeError, match="the checkpoint of an earlier try cannot be read"):
        run.attempt()
