"""Runs without failures: what is sent, in how many requests, and what the report and the log show."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.bulk.rate_limit.pacer import Limits
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.run.lane_count import LaneScaler
from airflow_provider_moengage.bulk.sources import Chunk, Stream
from tests.delivering import MoEngage, customer, event


def test_the_report_counts_what_arrived_in_the_workspace(moengage: MoEngage) -> None:
    stream: list[Any] = [customer(f"user-{n}", tier="gold") for n in range(300)]
    two_actions = event("user-1")
    two_actions["actions"] *= 2
    stream += [event("user-1"), two_actions]
    stream.append(
        {
            "type": "device",
            "customer_id": "user-1",
            "device_id": "d",
            "attributes": {"platform": "iOS", "push_id": "p"},
        }
    )
    stream += [customer("", tier="gold"), customer("user-2", u_fn="x" * 600)]

    report = moengage.deliver(stream)

    counts = moengage.emulator.workspace.counts
    assert (report.accepted, report.rejected) == (counts.elements, 1) == (304, 1)
    assert (report.customers, report.events, report.devices) == (301, 2, 1)
    assert report.actions == counts.actions == 3
    assert (report.requests, report.bytes) == (counts.requests, counts.bytes)
    assert report.rejects == {"customer_id_refused": 1}
    assert report.warnings == {"value_truncated": 1}
    assert (report.retries, report.throttled_seconds, report.resumed) == (0, 0.0, False)


def test_a_small_run_is_one_request_however_many_lanes_there_are(moengage: MoEngage) -> None:
    report = moengage.deliver([customer(f"user-{n}") for n in range(100)], concurrency=8)

    assert report.requests == 1


def test_without_elements_nothing_is_sent(moengage: MoEngage) -> None:
    report = moengage.deliver(iter([]))

    assert (report.requests, report.accepted, report.rejected) == (0, 0, 0)


def test_a_users_elements_arrive_in_order_over_many_lanes(moengage: MoEngage) -> None:
    stream = [event(f"user-{n % 50}", n=n, padding="x" * 300) for n in range(12_000)]

    moengage.deliver(stream, concurrency=8)

    by_user: dict[str, list[int]] = defaultdict(list)
    for element in moengage.arrived:
        by_user[element["customer_id"]].append(element["actions"][0]["attributes"]["n"])
    assert len(by_user) == 50
    assert all(numbers == sorted(numbers) for numbers in by_user.values())
    assert sum(map(len, by_user.values())) == 12_000


def test_a_users_elements_arrive_in_order_while_lanes_are_added(
    moengage: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = [event(f"user-{n % 50}", n=n, padding="x" * 300) for n in range(12_000)]
    wider = iter([1, 1, 3, 3, 8])
    monkeypatch.setattr(LaneScaler, "useful_lanes", lambda _, lanes: next(wider, lanes))

    report = moengage.deliver(stream, concurrency=None)

    by_user: dict[str, list[int]] = defaultdict(list)
    for element in moengage.arrived:
        by_user[element["customer_id"]].append(element["actions"][0]["attributes"]["n"])
    assert next(wider, None) is None
    assert all(numbers == sorted(numbers) for numbers in by_user.values())
    assert sum(map(len, by_user.values())) == report.accepted == 12_000
    assert report.bytes / report.requests > 97_000  # what was packed before still ends up in full bodies


class Sized(Stream):
    """Elements, and the chunk sizes that were requested."""

    def __init__(self, elements: list[object]) -> None:
        super().__init__(elements)
        self.sizes: list[int] = []

    def chunks(self, bookmark: Mapping[str, Any] | None, size: Callable[[], int]) -> Generator[Chunk]:
        def recorded() -> int:
            self.sizes.append(size())
            return self.sizes[-1]

        return super().chunks(bookmark, recorded)


@pytest.mark.parametrize(("padding", "at_once"), [(4_000, 49), (30_000, 6), (150, 880), (0, 1_000)])
def test_elements_are_read_two_bodies_at_a_time(moengage: MoEngage, padding: int, at_once: int) -> None:
    source = Sized([customer(f"user-{n:05}", padding="x" * padding) for n in range(4_000)])

    moengage.deliver(source, dry_run=True)

    assert max(source.sizes[3:]) == pytest.approx(at_once, rel=0.1)


def test_a_dry_run_reports_what_would_be_sent_and_sends_nothing(moengage: MoEngage) -> None:
    stream = [customer(f"user-{n}", padding="x" * 200) for n in range(2_000)] + [customer("null")]

    dry = moengage.deliver(stream, dry_run=True)

    assert moengage.emulator.workspace.counts.requests == 0
    real = moengage.deliver(stream)
    assert dry.dry_run
    assert (dry.accepted, dry.rejected, dry.requests, dry.bytes) == (
        real.accepted,
        real.rejected,
        real.requests,
        real.bytes,
    )


def test_the_callers_elements_are_not_changed(moengage: MoEngage) -> None:
    moment = dt.datetime(2026, 1, 1, 12, 0)
    stream = [event("user-1", time=moment, at=moment), {"type": "customer", "customer_id": 7, "attributes": {}}]
    copies = [event("user-1", time=moment, at=moment), {"type": "customer", "customer_id": 7, "attributes": {}}]

    moengage.deliver(stream)

    assert stream == copies
    arrived = {element["type"]: element for element in moengage.arrived}
    assert arrived["event"]["actions"][0]["current_time"] == "2026-01-01T12:00:00Z"
    assert arrived["customer"]["customer_id"] == "7"


@pytest.mark.parametrize(
    ("validation", "accepted", "rejects", "warnings"),
    [
        ("warn", 1, {"event_time_invalid": 1}, {"event_time_missing": 1}),
        ("strict", 0, {"event_time_invalid": 1, "event_time_missing": 1}, {}),
        ("off", 2, {}, {}),
    ],
)
def test_validation_decides_what_is_a_reject(
    moengage: MoEngage, validation: str, accepted: int, rejects: dict[str, int], warnings: dict[str, int]
) -> None:
    without_time = event("user-1")
    del without_time["actions"][0]["current_time"]

    report = moengage.deliver([without_time, event("user-1", time="next week")], validation=validation)

    assert (report.accepted, report.rejects, report.warnings) == (accepted, rejects, warnings)


def test_a_warning_about_an_element_that_is_rejected_is_no_reason_for_it(
    moengage: MoEngage, tmp_path: Path
) -> None:
    path = tmp_path / "rejects.ndjson"
    element = customer("null", long="x" * 600)

    report = moengage.deliver([element, customer("ann", long="x" * 600)], rejects=Rejects(path), max_rejects=1)

    assert (report.rejects, report.warnings) == ({"customer_id_refused": 1}, {"value_truncated": 1})
    [line] = map(json.loads, path.read_text().splitlines())
    assert (line["codes"], len(line["messages"])) == (["customer_id_refused"], 1)


@pytest.mark.parametrize("kind", ["users", "events"])
def test_the_documented_limit_is_kept_without_a_429(moengage: MoEngage, kind: str) -> None:
    moengage.reset(users_per_minute=2_000, events_per_minute=2_000)
    make = customer if kind == "users" else event
    before = moengage.clock.monotonic()

    # One lane, because each waiting lane would move the fake clock.
    stream = [make(f"user-{n}") for n in range(10_000)]
    report = moengage.deliver(stream, limits=Limits(2_000, 2_000), concurrency=1)

    assert report.accepted == 10_000
    assert moengage.emulator.workspace.counts.throttled == 0
    assert 240 <= moengage.clock.monotonic() - before <= 241, "five minutes' worth, the first at once"
    assert report.throttled_seconds >= 239


def test_the_time_left_counts_whole_minutes_of_the_limit(
    moengage: MoEngage, caplog: pytest.LogCaptureFixture
) -> None:
    moengage.reset(events_per_minute=1_000)

    with caplog.at_level(logging.INFO):
        moengage.deliver([event(f"user-{n}") for n in range(4_500)], limits=Limits(1_000, 1_000), concurrency=1)

    lines = [record.getMessage() for record in caplog.records if ", about " in record.getMessage()]
    assert lines[0].endswith("about 3 min left"), "five minutes' worth takes four, of which one has passed"


def test_users_and_events_have_separate_budgets(moengage: MoEngage) -> None:
    moengage.reset(users_per_minute=1_000, events_per_minute=1_000)
    before = moengage.clock.monotonic()

    moengage.deliver(
        [make(f"user-{n}") for n in range(1_000) for make in (customer, event)], limits=Limits(1_000, 1_000)
    )

    assert moengage.clock.monotonic() - before < 1


def test_a_body_never_holds_more_than_a_minutes_budget(moengage: MoEngage) -> None:
    moengage.reset(users_per_minute=10)

    report = moengage.deliver([customer(f"user-{n}") for n in range(30)], limits=Limits(10, 10), concurrency=1)

    assert (report.accepted, report.requests) == (30, 3)
    assert moengage.emulator.workspace.counts.throttled == 0


def test_an_error_of_the_source_ends_the_run_and_leaves_no_thread(moengage: MoEngage) -> None:
    def source() -> Iterator[dict[str, Any]]:
        for n in range(3_000):
            yield customer(f"user-{n}", padding="x" * 400)
        raise ConnectionError("the warehouse is gone")

    with pytest.raises(ConnectionError, match="the warehouse is gone"):
        moengage.deliver(source())

    assert not [thread for thread in threading.enumerate() if thread.name == "moengage-lane"]


def test_the_log_shows_progress_and_result_with_units(
    moengage: MoEngage, caplog: pytest.LogCaptureFixture
) -> None:
    moengage.reset(users_per_minute=2_000)

    with caplog.at_level(logging.INFO):
        moengage.deliver([customer(f"user-{n}") for n in range(8_000)] + ["junk"], limits=Limits(2_000, 2_000))

    logged = [record.getMessage() for record in caplog.records if record.name == "tests.delivery"]
    progress = [line for line in logged if "elements done" in line]
    assert progress
    assert "of 8,001 elements done" in progress[0]
    assert "of the limit used" in progress[0]
    assert re.search(r"about \d+ (s|min) left", progress[0])
    assert any("8,000 elements accepted by MoEngage" in line for line in logged)
    assert "1 rejected as element_invalid, at position 8000" in logged


def test_warnings_name_the_attributes_that_they_are_about(
    moengage: MoEngage, caplog: pytest.LogCaptureFixture
) -> None:
    long = "x" * 600
    moengage.deliver(
        [
            customer("u-1", bio=long),
            customer("u-2", bio=long, address=long),
            {"type": "event", "customer_id": "u-3", "actions": [{"action": "opened"}]},
        ]
    )

    assert (
        "2 elements with value_truncated (bio, address): MoEngage will alter or ignore part of it"
        in caplog.messages
    )
    assert "1 element with event_time_missing: MoEngage will alter or ignore part of it" in caplog.messages
    assert long not in caplog.text


def test_warnings_name_at_most_five_attributes_and_none_that_looks_like_a_value(
    moengage: MoEngage, caplog: pytest.LogCaptureFixture
) -> None:
    long = "x" * 600
    names = [f"field_{n}" for n in range(7)]
    moengage.deliver(
        [customer("u-1", **dict.fromkeys(["ada@example.com", "+4915112345678", "a\nb", *names], long))]
    )

    named = ", ".join(names[:5])
    assert (
        f"1 element with value_truncated ({named}, ...): MoEngage will alter or ignore part of it"
        in caplog.messages
    )
    assert "ada@" not in caplog.text
    assert "12345" not in caplog.text


def test_the_attributes_of_rejects_are_not_those_of_warnings(
    moengage: MoEngage, caplog: pytest.LogCaptureFixture
) -> None:
    moengage.deliver([{**customer("null"), "attributes": {"bio": "x" * 600}}, customer("u-1", city="x" * 600)])

    assert "1 element with value_truncated (city): MoEngage will alter or ignore part of it" in caplog.messages


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_rejects_file_is_named_when_it_has_lines(
    moengage: MoEngage, caplog: pytest.LogCaptureFixture, tmp_path: Path, dry_run: bool
) -> None:
    file = tmp_path / "rejects.ndjson"

    moengage.deliver([customer("u-1"), "junk"], rejects=Rejects(file), dry_run=dry_run)

    assert caplog.messages[-1] == f"The rejects file is {file}"
    assert file.read_text().count("\n") == 1


def test_no_rejects_file_is_named_without_rejects(
    moengage: MoEngage, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    moengage.deliver([customer("u-1")], rejects=Rejects(tmp_path / "rejects.ndjson"))
    moengage.deliver([customer("u-1"), "junk"])

    assert "The rejects file is" not in caplog.text


def test_the_rejects_file_is_named_at_an_early_end(
    moengage: MoEngage, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    file = tmp_path / "rejects.ndjson"

    def source() -> Iterator[Any]:
        yield from ["junk"] * 20  # more than one chunk
        raise ConnectionError("the warehouse is gone")

    with pytest.raises(ConnectionError):
        moengage.deliver(source(), rejects=Rejects(file))

    assert caplog.messages[-1] == f"The rejects file is {file}"
    assert file.read_text().count("junk") == 10


def test_a_rejects_file_that_could_not_be_written_is_not_named(
    moengage: MoEngage, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    file = tmp_path / "rejects.ndjson"

    def source() -> Iterator[Any]:
        yield from ["junk"] * 20  # more than one chunk
        (tmp_path / "rejects.ndjson.part").unlink()
        (tmp_path / "rejects.ndjson.part").mkdir()
        (tmp_path / "rejects.ndjson.part" / "something").touch()
        raise ConnectionError("the warehouse is gone")

    with pytest.raises(ConnectionError):
        moengage.deliver(source(), rejects=Rejects(file))

    assert "The rejects could not be written" in caplog.text
    assert "The rejects file is" not in caplog.text
