"""Failures of the network and of MoEngage, over real HTTP: nothing is lost, and few requests are repeated."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.responses import Reply
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.run.delivery import RejectsNotWrittenError
from airflow_provider_moengage.bulk.run.lane_count import LaneScaler
from airflow_provider_moengage.bulk.run.sender import ATTEMPTS
from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.storage import StorageError
from tests.delivering import MoEngage, customer, event


@pytest.fixture(params=[4, None], ids=["lanes", "reader"])
def moengage(moengage: MoEngage, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MoEngage:
    """Deliveries send over lanes or, as if MoEngage answered at once, in the reader's own thread."""
    monkeypatch.setattr(moengage, "lanes", request.param)
    monkeypatch.setattr(LaneScaler, "useful_lanes", lambda *_: 0)
    return moengage


def numbers(moengage: MoEngage) -> Counter[int]:
    return Counter(element["attributes"]["n"] for element in moengage.arrived)


def customers(count: int) -> list[dict[str, object]]:
    return [customer(f"user-{n % 97:03}", n=n, padding="x" * 150) for n in range(count)]


REFUSAL = '{"status":"fail","error":{"type":"TypeError","message":"expected string"}}'

RESET_IN_20_S = {"x-ratelimit-limit": "60000", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "20"}

THROTTLES = {
    "reset in seconds": ({**RESET_IN_20_S}, 20),
    "Retry-After in seconds": ({"Retry-After": "30"}, 30),
    "envoy, no hint": ({"x-envoy-ratelimited": "true"}, 0.5),
    "no header at all": ({}, 0.5),
}


@pytest.mark.parametrize("fault", ["500", "503", "cut_before", "html"])
def test_a_request_that_was_not_accepted_is_sent_again_and_arrives_once(moengage: MoEngage, fault: str) -> None:
    kind: Any = "status" if fault.isdigit() else fault
    moengage.emulator.workspace.add_fault(
        Fault(kind=kind, times=3, after=2, status=int(fault) if fault.isdigit() else None)
    )

    report = moengage.deliver(customers(5_000))

    assert numbers(moengage) == Counter(range(5_000))
    assert (report.accepted, report.rejected, report.retries) == (5_000, 0, 3)


@pytest.mark.parametrize("fault", ["cut_after", "status_after"])
def test_a_request_with_unknown_outcome_is_sent_again_so_nothing_is_lost(moengage: MoEngage, fault: Any) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind=fault, times=2, after=1))

    report = moengage.deliver(customers(5_000))

    arrived = numbers(moengage)
    assert set(arrived) == set(range(5_000))
    assert max(arrived.values()) <= 3
    assert sum(arrived.values()) - 5_000 <= 2 * 600, (
        "only the two requests with an unknown outcome may arrive twice"
    )
    assert (report.accepted, report.rejected, report.retries) == (5_000, 0, 2)


@pytest.mark.parametrize(("headers", "least_wait"), THROTTLES.values(), ids=THROTTLES)
def test_a_429_pauses_all_lanes_for_as_long_as_the_server_says(
    moengage: MoEngage, headers: dict[str, str], least_wait: float
) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", times=1, after=1, status=429, headers=headers))
    before = moengage.clock.monotonic()

    report = moengage.deliver(customers(5_000))

    assert numbers(moengage) == Counter(range(5_000))
    assert moengage.clock.monotonic() - before >= least_wait
    assert report.retries == 1
    assert report.throttled_seconds >= least_wait


def test_a_pause_that_a_success_asks_for_is_logged(moengage: MoEngage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    success = '{"status":"success","message":"Your request has been accepted and will be processed soon."}'
    moengage.emulator.workspace.add_fault(
        Fault(kind="status_after", times=1, after=1, status=200, headers=RESET_IN_20_S, body=success)
    )

    report = moengage.deliver(customers(5_000))

    assert (report.accepted, report.retries) == (5_000, 0)
    said = r"MoEngage reports that the limit is used up; sending nothing until \d\d:\d\d:\d\d UTC \(20 s\)"
    assert len([line for line in caplog.messages if re.fullmatch(said, line)]) == 1


@pytest.mark.parametrize(("seconds", "only_by_reader"), [(0.4, True), (0.5, False)])
def test_after_a_slow_answer_the_next_request_goes_to_a_lane(
    moengage: MoEngage, monkeypatch: pytest.MonkeyPatch, seconds: float, only_by_reader: bool
) -> None:
    monkeypatch.setattr(moengage, "lanes", None)
    by_reader: list[bool] = []
    bulk_import = MoEngageClient.bulk_import

    def slow(client: MoEngageClient, body: bytes) -> Reply:
        by_reader.append(threading.current_thread() is threading.main_thread())
        moengage.clock.wait(threading.Event(), seconds)
        return bulk_import(client, body)

    monkeypatch.setattr(MoEngageClient, "bulk_import", slow)
    moengage.deliver([customer(f"user-{n}", padding="x" * 4_000) for n in range(300)])

    assert all(by_reader) is only_by_reader
    assert any(by_reader)
    assert len(moengage.arrived) == 300


@pytest.mark.parametrize("form", ["seconds", "epoch"])
@pytest.mark.parametrize("retry_after", ["none", "seconds", "date"])
def test_a_lower_limit_is_learned_from_429_whatever_form_the_headers_have(
    moengage: MoEngage, form: str, retry_after: str
) -> None:
    moengage.reset(users_per_minute=1_000, reset_header=form, retry_after=retry_after)

    report = moengage.deliver(customers(4_000))

    assert numbers(moengage) == Counter(range(4_000))
    assert report.accepted == 4_000
    assert moengage.emulator.workspace.counts.throttled <= 4 * 4 + 4, (
        "at most one refusal for each lane and window"
    )


@pytest.mark.parametrize("as_200", [False, True], ids=["HTTP 400", "HTTP 200 with fail"])
def test_one_refused_element_in_ten_thousand_is_rejected_alone_with_few_extra_requests(
    moengage: MoEngage, tmp_path: Path, as_200: bool
) -> None:
    moengage.reset(failures_as_200=as_200)
    elements = customers(10_000)
    elements[6_789] = customer("refused", n=6_789)
    moengage.emulator.workspace.add_fault(Fault(kind="refuse", customer_id="refused", times=None))
    file = tmp_path / "rejects.ndjson"

    report = moengage.deliver(elements, rejects=file, max_rejects=1)

    assert numbers(moengage) == Counter(set(range(10_000)) - {6_789})
    [reject] = [json.loads(line) for line in file.read_text().splitlines()]
    assert (reject["position"], reject["codes"]) == (6_789, ["refused_by_server"])
    assert reject["element"] == elements[6_789]
    assert "expected string" in reject["messages"][0]
    bodies = len(moengage.accepted_sizes)
    assert report.requests <= 10_000 * 240 / 100_000 + 4 + 2 * 10, f"{bodies} accepted bodies"


def test_several_refused_elements_are_each_found(moengage: MoEngage) -> None:
    elements = customers(3_000)
    for position in (0, 1, 1_500, 2_999):
        elements[position] = customer("refused", n=position)
    moengage.emulator.workspace.add_fault(Fault(kind="refuse", customer_id="refused", times=None))

    report = moengage.deliver(elements)

    assert report.rejects == {"refused_by_server": 4}
    assert numbers(moengage) == Counter(set(range(3_000)) - {0, 1, 1_500, 2_999})


@pytest.mark.parametrize("status", [400, 413])
def test_a_server_that_accepts_only_smaller_bodies_gets_smaller_bodies(moengage: MoEngage, status: int) -> None:
    moengage.reset(body_limit=30_000, body_limit_status=status)

    report = moengage.deliver(customers(1_000))

    assert numbers(moengage) == Counter(range(1_000))
    assert (report.accepted, report.rejected) == (1_000, 0)


def test_an_element_too_large_for_the_server_alone_is_rejected_as_such(moengage: MoEngage) -> None:
    moengage.reset(body_limit=30_000, body_limit_status=413)

    report = moengage.deliver([customer("a", n=1), customer("b", n=2, padding=["x" * 500] * 70)])

    assert report.rejects == {"element_too_large": 1}
    assert numbers(moengage) == Counter([1])


DENIALS = {401: "Data API key", 403: "suspended", 409: "differs"}


@pytest.mark.parametrize(("status", "message"), DENIALS.items())
def test_a_denial_ends_the_run_at_once_and_says_what_to_do(moengage: MoEngage, status: int, message: str) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", times=None, after=1, status=status))

    with pytest.raises(ApiError, match=message) as caught:
        moengage.deliver(customers(20_000))

    assert (caught.value.kind, caught.value.status_code) == (ErrorKind.AUTHENTICATION, status)
    assert moengage.emulator.workspace.counts.requests <= 2 + 4, "no lane continues after it"


def test_a_lasting_outage_fails_the_run_after_a_bounded_number_of_attempts(moengage: MoEngage) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", times=None, status=503))

    with pytest.raises(ApiError, match=f"in {ATTEMPTS} attempts.*HTTP 503") as caught:
        moengage.deliver(customers(10))

    assert caught.value.kind is ErrorKind.SERVER
    assert moengage.emulator.workspace.counts.requests == ATTEMPTS


def test_a_server_that_refuses_every_element_ends_the_run_after_one_batch(moengage: MoEngage) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", times=None, status=400, body=REFUSAL))

    with pytest.raises(ApiError, match=r"elements one by one and accepted none meanwhile \(TypeError\)"):
        moengage.deliver(customers(50_000), concurrency=1)

    assert moengage.emulator.workspace.counts.requests <= 2 * 500, "one batch, split into single elements"


def test_as_many_rejects_as_allowed_do_not_end_the_run(moengage: MoEngage) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", times=None, status=400, body=REFUSAL))

    assert moengage.deliver(customers(300), max_rejects=300).rejected == 300
    with pytest.raises(ApiError, match="refused 301 elements one by one"):
        moengage.deliver(customers(301), max_rejects=300)


UNCLEAR = {
    "unknown type": '{"status":"fail","error":{"type":"X","message":"no"}}',
    "no type": '{"status":"error"}',
    "a proxy's page": "<html>",
}


@pytest.mark.parametrize("body", UNCLEAR.values(), ids=UNCLEAR)
def test_an_error_that_nobody_knows_makes_no_rejects_out_of_an_outage(moengage: MoEngage, body: str) -> None:
    fault = Fault(kind="status", times=None, status=400, body=body)
    moengage.emulator.workspace.add_fault(fault)

    rejects = Rejects(None)

    with pytest.raises(ApiError, match="with an error that is not documented") as caught:
        moengage.deliver(customers(50_000), rejects=rejects, concurrency=1, max_rejects=1_000)

    assert caught.value.kind is ErrorKind.SERVER, "a retry sends everything again"
    assert rejects.count == 0
    assert moengage.emulator.workspace.counts.requests <= 60


def test_an_error_that_nobody_knows_rejects_its_element_where_others_are_accepted(moengage: MoEngage) -> None:
    elements = customers(3_000)
    for position in (0, 1, 1_500, 2_999):
        elements[position]["customer_id"] = "refused"
    moengage.emulator.workspace.add_fault(
        Fault(kind="refuse", customer_id="refused", times=None, error_type="Oddity")
    )

    report = moengage.deliver(elements, max_rejects=4)

    assert (report.accepted, report.rejected) == (2_996, 4)


def test_a_single_element_with_an_error_that_nobody_knows_does_not_stop_a_run_for_ever(moengage: MoEngage) -> None:
    moengage.emulator.workspace.add_fault(
        Fault(kind="status", times=None, status=400, body=UNCLEAR["unknown type"])
    )

    assert moengage.deliver(customers(1), max_rejects=1).rejected == 1


WRAPPED = {
    "Authentication required": ErrorKind.AUTHENTICATION,
    "Authentication Mismatch": ErrorKind.AUTHENTICATION,
    "Account Suspended": ErrorKind.AUTHENTICATION,
    "BlockedClient": ErrorKind.AUTHENTICATION,
    "Body type is not JSON": ErrorKind.REQUEST,
    "Unsupported Media Type": ErrorKind.REQUEST,
    "Blacklisted": ErrorKind.REQUEST,
    "Missing header value": ErrorKind.REQUEST,
    "Server Error": None,
    "Internal Server Error": None,
    "RateLimitError": None,
    "Rate Limits Exceeded": None,
    "Rate Limit Exceeded": None,
}
"""What ends a run, and what passes by itself (None)."""


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("error_type", WRAPPED)
def test_2nd_a_wrapped_failure_is_what_its_type_says_and_splits_nothing(
    moengage: MoEngage, error_type: str, status: int
) -> None:
    body = json.dumps(
        {"status": "fail", "error": {"message": "any words", "type": error_type, "request_id": "r-1"}}
    )
    moengage.emulator.workspace.add_fault(Fault(kind="status", times=2, after=1, status=status, body=body))

    kind = WRAPPED[error_type]
    if kind is None:
        report = moengage.deliver(customers(3_000), concurrency=1)
        assert numbers(moengage) == Counter(range(3_000))
        assert (report.accepted, report.rejected, report.retries) == (3_000, 0, 2)
    else:
        rejects = Rejects(None)
        with pytest.raises(ApiError) as caught:
            moengage.deliver(customers(3_000), rejects=rejects, concurrency=1)
        assert (caught.value.kind, rejects.count) == (kind, 0)


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("error_type", ["Payload too large", "PayloadTooLarge"])
def test_2nd_a_wrapped_413_splits_the_batch(moengage: MoEngage, error_type: str, status: int) -> None:
    body = json.dumps({"status": "fail", "error": {"message": "any words", "type": error_type}})
    moengage.emulator.workspace.add_fault(Fault(kind="status", times=1, status=status, body=body))

    report = moengage.deliver(customers(1_000), concurrency=1)

    assert (report.accepted, report.rejected) == (1_000, 0)


@pytest.mark.parametrize("status", [200, 400, 500])
def test_2nd_a_wrapped_5xx_is_not_repeated_at_most_once(moengage: MoEngage, status: int) -> None:
    body = json.dumps({"status": "fail", "error": {"message": "any words", "type": "Server Error"}})
    moengage.emulator.workspace.add_fault(Fault(kind="status_after", times=1, status=status, body=body))

    report = moengage.deliver(customers(3_000), concurrency=1, delivery="at_most_once", max_rejects=3_000)

    assert report.rejects.keys() == {"outcome_unknown"}
    assert numbers(moengage) == Counter(range(3_000))


FAULTS = [400, 401, 403, 404, 409, 413, 415, 429, 500, 502, 503, 504]


@pytest.mark.parametrize("status", FAULTS)
def test_the_emulator_wraps_every_failure_and_the_run_ends_as_without(moengage: MoEngage, status: int) -> None:
    ends: list[Any] = []
    for wrapped in ("own status", "failures_as_200", "failures_as_400"):
        moengage.reset(**({} if wrapped == "own status" else {wrapped: True}))
        moengage.emulator.workspace.add_fault(
            Fault(kind="status", times=None if status < 429 else 1, status=status)
        )
        try:
            report = moengage.deliver(customers(20), concurrency=1, max_rejects=20)
            ends.append((report.accepted, report.rejected, report.retries))
        except ApiError as error:
            ends.append(error.kind)

    assert ends[0] == ends[1] == ends[2]


@pytest.mark.parametrize("future_events", ["drop", "refuse"])
def test_2nd_events_in_the_future_do_not_reach_moengage(moengage: MoEngage, future_events: str) -> None:
    moengage.reset(future_events=future_events)
    elements = [event("ann", time=f"{year}-01-01T00:00:00Z") for year in (2020, 2999, 2021)]

    report = moengage.deliver(elements, max_rejects=1)

    assert report.rejects == {"event_time_future": 1}
    counts = moengage.emulator.workspace.counts
    assert (counts.future_events, sum(counts.events_by_day.values())) == (0, 2)


@pytest.mark.parametrize(("future_events", "rejects"), [("drop", {}), ("refuse", {"refused_by_server": 1})])
def test_2nd_unchecked_events_in_the_future_are_lost_or_rejected(
    moengage: MoEngage, future_events: str, rejects: dict[str, int]
) -> None:
    moengage.reset(future_events=future_events)
    elements = [event("ann", time=moengage.clock.time() + ahead) for ahead in (-86_400, 86_400, -1)]

    report = moengage.deliver(elements, max_rejects=1, validation="off")

    assert report.rejects == rejects
    counts = moengage.emulator.workspace.counts
    assert (counts.future_events, sum(counts.events_by_day.values())) == (0 if rejects else 1, 2)


@pytest.mark.parametrize("allowed", [1_000, 0.5])
def test_bad_elements_at_the_start_do_not_block_the_good_ones(moengage: MoEngage, allowed: float) -> None:
    elements = customers(10_000)
    for position in range(250):
        elements[position] = customer("refused", n=position)
        elements[position]["customer_id"] = f"refused-{position % 50}"
    for number in range(50):
        moengage.emulator.workspace.add_fault(Fault(kind="refuse", customer_id=f"refused-{number}", times=None))

    report = moengage.deliver(elements, max_rejects=allowed)

    assert (report.accepted, report.rejected) == (9_750, 250)


def test_a_server_that_starts_refusing_everything_ends_the_run_too(moengage: MoEngage) -> None:
    body = '{"status":"fail","error":{"type":"X","message":"no"}}'
    moengage.emulator.workspace.add_fault(Fault(kind="status", times=None, after=3, status=400, body=body))

    with pytest.raises(ApiError, match="accepted none meanwhile"):
        moengage.deliver(customers(20_000), concurrency=1)

    assert moengage.emulator.workspace.counts.requests <= 3 + 2 * 500


def test_the_retry_after_of_a_503_is_obeyed(moengage: MoEngage) -> None:
    headers = {"Retry-After": "240"}
    moengage.emulator.workspace.add_fault(Fault(kind="status", status=503, headers=headers))
    before = moengage.clock.monotonic()

    moengage.deliver(customers(10))

    assert 240 <= moengage.clock.monotonic() - before <= 250


def test_a_failed_run_still_logs_what_it_did(moengage: MoEngage, caplog: pytest.LogCaptureFixture) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", times=None, after=2, status=403))
    elements = [customer("null"), *customers(20_000)]

    with caplog.at_level(logging.INFO), pytest.raises(ApiError):
        moengage.deliver(elements, concurrency=1)

    logged = [record.getMessage() for record in caplog.records]
    assert any("ended early (authentication); done so far" in line for line in logged)
    assert "1 rejected as customer_id_refused, at position 0" in logged


def test_a_rejects_path_that_cannot_be_written_fails_before_anything_is_sent(
    moengage: MoEngage, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match=r"missing/r\.ndjson': could not be written \(No such file"):
        moengage.deliver([customer("null")], rejects=tmp_path / "missing" / "r.ndjson")

    assert moengage.emulator.workspace.counts.requests == 0


class BrokenStore:
    """An object store that accepts the bytes and fails when the file is closed, as for a wrong bucket."""

    name = "rejects.ndjson"

    @property
    def parent(self) -> BrokenStore:
        return self

    def __truediv__(self, name: str) -> BrokenStore:
        return self

    def open(self, mode: str = "r", **kwargs: object) -> BrokenStore:
        return self

    def write(self, data: bytes) -> int:
        return len(data)

    def __enter__(self) -> BrokenStore:
        return self

    def __exit__(self, *error: object) -> None:
        raise PermissionError("no such bucket")

    def exists(self) -> bool:
        return False


def test_rejects_lost_at_the_end_leave_the_report_of_the_run(moengage: MoEngage) -> None:
    with pytest.raises(RejectsNotWrittenError, match="PermissionError") as caught:
        moengage.deliver([customer("null"), customer("ann")], rejects=BrokenStore())

    assert (caught.value.report.accepted, caught.value.report.rejected) == (1, 1)


def test_lost_rejects_do_not_hide_the_error_that_ended_the_run(moengage: MoEngage) -> None:
    moengage.emulator.workspace.add_fault(Fault(kind="status", times=None, status=401))

    with pytest.raises(ApiError, match="Data API key"):
        moengage.deliver([customer("null"), customer("ann")], rejects=BrokenStore())


@pytest.mark.parametrize("ending", ["dry run", "failure"])
def test_rejects_of_an_earlier_run_stay_until_a_run_succeeds(
    moengage: MoEngage, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / "r.ndjson"
    file.write_text("of an earlier run\n")

    if ending == "dry run":
        moengage.deliver([customer("ann")], rejects=file, dry_run=True)
    else:
        moengage.emulator.workspace.add_fault(Fault(kind="status", status=401))
        with pytest.raises(ApiError):
            moengage.deliver([customer("ann")], rejects=file)

    assert [path.name for path in tmp_path.iterdir()] == ["r.ndjson"]
    assert file.read_text() == "of an earlier run\n"


def test_an_error_about_the_whole_request_rejects_no_elements(moengage: MoEngage) -> None:
    body = '{"status":"fail","error":{"type":"InvalidParams","message":"app_id"}}'
    moengage.emulator.workspace.add_fault(Fault(kind="status", times=None, status=400, body=body))

    with pytest.raises(ApiError, match="check workspace ID and data center"):
        moengage.deliver(customers(10))

    assert moengage.emulator.workspace.counts.requests == 1


def test_a_mix_of_faults_loses_nothing_and_keeps_each_users_order(moengage: MoEngage) -> None:
    add = moengage.emulator.workspace.add_fault
    kinds: list[Any] = ["status", "cut_before", "cut_after", "status_after"]
    for seed, kind in enumerate(kinds, 1):
        add(Fault(kind=kind, times=None, probability=0.06, seed=seed))

    report = moengage.deliver(customers(20_000), concurrency=8)

    assert set(numbers(moengage)) == set(range(20_000))
    assert report.accepted == 20_000
    latest: dict[str, int] = {}
    seen: set[int] = set()
    for element in moengage.arrived:
        number = element["attributes"]["n"]
        if number not in seen:  # a request with unknown outcome is repeated at once
            assert number > latest.get(element["customer_id"], -1)
            latest[element["customer_id"]] = number
        seen.add(number)


def test_logs_of_a_run_full_of_faults_hold_no_element_id_or_key(
    moengage: MoEngage, caplog: pytest.LogCaptureFixture
) -> None:
    add = moengage.emulator.workspace.add_fault
    add(Fault(kind="status", times=2, status=503))
    add(Fault(kind="cut_after", times=1))
    add(Fault(kind="refuse", customer_id="ann@example.com", times=None))
    elements = [
        customer("ann@example.com", u_em="ann@example.com"),
        customer("bob@example.com", secret="hidden-value", long="hidden-value" * 99),
        event("bob@example.com", time="no time: hidden-value"),
        {"type": "hidden-value", "customer_id": "carl@example.com"},
        "hidden-value",
    ]

    with caplog.at_level(logging.DEBUG):
        moengage.deliver(elements)

    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "rejected" in logged
    for hidden in ("example.com", "hidden-value", "emulator-data-key"):
        assert hidden not in logged


def test_an_element_that_moengage_refuses_for_its_array_edits_is_rejected_alone(
    moengage: MoEngage, tmp_path: Path
) -> None:
    elements = [customer(f"u-{number}") for number in range(100)]
    elements[42]["attributes"] = {"addValueToArrayField": {"t": 1}, "removeValueFromArrayField": {"t": 2}}

    report = moengage.deliver(elements, validation="off", rejects=tmp_path / "rejects.ndjson")

    assert (report.accepted, report.rejects) == (99, {"refused_by_server": 1})
