"""For any stream of elements: bodies are JSON and small enough, nothing is lost or duplicated, order is kept."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.elements.rules import LARGEST_BODY
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits
from tests.delivering import MoEngage, customer

USERS = st.sampled_from(["ann", "bob", "çelik", "д", "🦊", "0", "", "user-7", 7, 7.0, None])
TEXT = st.text(st.characters(), max_size=40) | st.sampled_from(["\ud800", "\u2028\n", '"\\', "x" * 600])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.decimals()
    | st.datetimes(timezones=st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30))]))
    | st.dates()
    | st.uuids()
    | st.binary(max_size=8)
    | st.just(Decimal("NaN")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(TEXT, VALUES, max_size=4)
BIG = st.sampled_from([0, 0, 0, 0, 20_000, 49_000, 99_700, 99_800, 99_900, 99_950, 100_100])


@st.composite
def elements(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(["customer", "customer", "event", "event", "device", "other", "junk"]))
    if kind == "junk":
        return draw(VALUES)
    attributes = draw(ATTRIBUTES)
    if size := draw(BIG):
        attributes["big"] = [{"x": "y" * size}]
    element: dict[str, Any] = {"type": kind, "customer_id": draw(USERS)}
    if kind == "event":
        names = draw(st.lists(st.sampled_from(["Buy", "Ünïcode", ""]), min_size=0, max_size=3))
        element["actions"] = [
            {"action": name, "current_time": "2026-01-01T00:00:00Z", "attributes": attributes} for name in names
        ]
    else:
        element["attributes"] = attributes
    if kind == "device":
        element["device_id"] = "d"
        attributes |= {"platform": "iOS", "push_id": "p"}
    return element


def tagged(stream: list[Any]) -> list[Any]:
    return [{**element, "n": n} if isinstance(element, dict) else element for n, element in enumerate(stream)]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stream=st.lists(elements(), max_size=60),
    concurrency=st.integers(1, 6),
    validation=st.sampled_from(["strict", "warn", "off"]),
    most=st.sampled_from([1, 5, 10**9]),
)
def test_every_element_is_in_exactly_one_accepted_body_or_one_reject(
    running_moengage: MoEngage, tmp_path: Path, stream: list[Any], concurrency: int, validation: str, most: int
) -> None:
    moengage = running_moengage
    moengage.reset()
    file = tmp_path / "rejects.ndjson"

    report = moengage.deliver(
        tagged(stream),
        limits=Limits(most, most),
        rejects=file,
        concurrency=concurrency,
        validation=validation,
    )

    assert all(size <= LARGEST_BODY for size in moengage.accepted_sizes)
    rejects = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    accepted = [element["n"] for element in moengage.arrived]
    outcomes = Counter(accepted) + Counter(reject["position"] for reject in rejects)
    assert outcomes == Counter(range(len(stream)))
    assert (report.accepted, report.rejected) == (len(accepted), len(rejects))
    assert report.accepted == report.customers + report.events + report.devices
    by_user: dict[str, list[int]] = defaultdict(list)
    for element in moengage.arrived:
        by_user[element["customer_id"]].append(element["n"])
    assert all(numbers == sorted(numbers) for numbers in by_user.values())


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 3_000), min_size=400, max_size=800))
def test_bodies_are_full(running_moengage: MoEngage, sizes: list[int]) -> None:
    moengage = running_moengage
    moengage.reset()
    stream = [
        {"type": "customer", "customer_id": f"user-{n}", "attributes": {"a": [{"b": "x" * size}]}}
        for n, size in enumerate(sizes)
    ]

    moengage.deliver(stream, concurrency=1)

    # Order leaves no choice of what comes next, so at most one element's worth of room stays empty.
    assert all(size > LARGEST_BODY - 3_200 for size in moengage.accepted_sizes[:-1])


def test_bodies_of_a_long_run_are_filled_to_99_8_percent(moengage: MoEngage) -> None:
    sizes = (150, 255, 120, 210, 180)  # with their envelope some 240 bytes each on average
    stream = (customer(f"user-{n}", a="x" * sizes[n % 5]) for n in range(40_000))

    moengage.deliver(stream, concurrency=4)

    full = moengage.accepted_sizes[:-4]  # each lane's last body ends with the source
    assert sum(full) / (len(full) * LARGEST_BODY) >= 0.998
