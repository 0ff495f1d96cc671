"""Within one request, unsetting an attribute wins over setting it: what is set after it goes into a later one."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.changed.folder import StateFolder
from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
from airflow_provider_moengage.bulk.changed.sync_run import Changes, SyncRun
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits
from airflow_provider_moengage.bulk.run.lane_count import LaneScaler
from airflow_provider_moengage.emulator import Fault
from tests.delivering import MoEngage, customer, event


def unset(user: str, *names: str, **more: Any) -> dict[str, Any]:
    conditions = [{"type": "equals", "attr": name, "case_sensitive": True, **more} for name in names]
    return {"type": "customer", "customer_id": user, "unset_attributes": conditions}


def bodies(moengage: MoEngage) -> list[list[dict[str, Any]]]:
    received = moengage.emulator.workspace.elements
    return [[each.element for each in body] for _, body in groupby(received, key=lambda each: each.request)]


def profiles(requests: list[list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the profiles after some requests: in each one, unsetting wins."""
    known: dict[str, dict[str, Any]] = {}
    for body in requests:
        for element in body:
            known.setdefault(element["customer_id"], {}).update(element.get("attributes", {}))
        for element in body:
            for condition in element.get("unset_attributes", []):
                known[element["customer_id"]].pop(condition["attr"], None)
    return {user: profile for user, profile in known.items() if profile}


def changed_rows(moengage: MoEngage, folder: Path) -> Changes:
    run = SyncRun(
        run="run",
        tries="run",
        moment="2026-01-01T00:00:00.000000+00:00",
        workspace="w",
        mapping="m",
        encoding=1,
        reads_all=True,
    )
    return Changes(StateFolder(folder), run, NewColumns("send", moengage.log), may_repeat=True)


def test_what_is_set_after_it_was_unset_goes_into_a_later_request(moengage: MoEngage) -> None:
    stream = [customer("ann", plan="old"), unset("ann", "plan"), customer("bob"), customer("ann", plan="gold")]

    report = moengage.deliver(stream, concurrency=1)

    assert bodies(moengage) == [stream[:3], stream[3:]]
    assert report.accepted == 4


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "equals", "attr": "plan_a", "case_sensitive": True},
        {"type": "equals", "attr": "PLAN_A", "case_sensitive": False},
        {"type": "equals", "attr": "Plan_A"},
        {"type": "prefix", "attr": "plan_", "case_sensitive": True},
        {"type": "suffix", "attr": "_A", "case_sensitive": False},
        {"type": "contains", "attr": "an", "case_sensitive": True},
        {"type": "regex", "attr": ".*"},
        "plan_a",
    ],
)
@pytest.mark.parametrize("setting", [{"plan_a": 1}, {"addValueToArrayField": {"plan_a": "b"}}])
def test_every_way_to_unset_an_attribute_counts(moengage: MoEngage, condition: Any, setting: Any) -> None:
    stream = [unset("ann"), customer("ann", **setting)]
    stream[0]["unset_attributes"] = [condition]

    moengage.deliver(stream, validation="off")

    assert bodies(moengage) == [stream[:1], stream[1:]]


@pytest.mark.parametrize(
    "stream",
    [
        [customer("ann", plan="gold"), unset("ann", "plan")],
        [unset("ann", "plan"), customer("ann", Plan="gold", tier=1)],
        [unset("ann", "plan"), customer("ann", plan=None)],
        [unset("ann", "plan"), customer("bob", plan="gold"), unset("bob", "tier")],
        [unset("ann", "plan"), event("ann", plan="gold"), customer("ann")],
        [unset("ann"), customer("ann", plan="gold")],
    ],
    ids=["set before", "another attribute", "not set", "another user", "an event", "nothing unset"],
)
def test_everything_else_stays_in_one_request(moengage: MoEngage, stream: list[dict[str, Any]]) -> None:
    moengage.deliver(stream)

    assert bodies(moengage) == [stream]


USERS = st.sampled_from(["ann", "bob", "cem", "dan"])
NAMES = st.sampled_from(["plan", "tier"])
STEPS = st.one_of(
    st.builds(unset, USERS, NAMES),
    st.builds(lambda user, name, value: customer(user, **{name: value}), USERS, NAMES, st.integers(0, 99)),
    st.builds(lambda n: customer(f"other-{n}", padding="x" * 7_000), st.integers(0, 99)),
)


@pytest.mark.parametrize("how", ["lanes", "lanes are added", "changed rows", "refused", "low limits"])
def test_profiles_are_those_of_one_request_an_element(
    moengage: MoEngage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    runs = 0

    @settings(deadline=None, max_examples=40)
    @given(st.lists(STEPS, max_size=120))
    def check(steps: list[dict[str, Any]]) -> None:
        nonlocal runs
        runs += 1
        moengage.reset()
        stream: list[dict[str, Any]] = list(steps)
        more: dict[str, Any] = {}
        if how == "lanes are added":
            wider = iter([1, 2, 3])
            monkeypatch.setattr(LaneScaler, "useful_lanes", lambda _, lanes: next(wider, lanes))
            more["concurrency"] = None
        elif how == "changed rows":
            more["changes"] = changed_rows(moengage, tmp_path / str(runs))
        elif how == "refused":
            moengage.emulator.workspace.add_fault(Fault("refuse", customer_id="dan", times=None))
        elif how == "low limits":
            more["limits"] = Limits(3_000, 3_000)

        moengage.deliver(stream, **more)

        moengage.emulator.workspace.clear_faults()
        sent = [[element] for element in steps if how != "refused" or element["customer_id"] != "dan"]
        assert profiles(bodies(moengage)) == profiles(sent)

    check()


def test_only_users_who_unset_attributes_cost_more_requests(moengage: MoEngage) -> None:
    stream: list[dict[str, Any]] = [customer(f"user-{n}", plan="x" * 200) for n in range(4_000)]
    moengage.deliver(stream, concurrency=1)
    before = len(bodies(moengage))
    moengage.reset()
    stream[1_000:1_000] = [unset("ann", "plan"), customer("ann", plan="gold")]
    for at in range(1_003, 4_000, 7):
        stream[at] = unset(f"user-{at}", "tier")

    moengage.deliver(stream, concurrency=1)

    assert moengage.arrived == stream
    sizes = moengage.accepted_sizes
    assert len(sizes) <= before + 1
    assert sum(size < 99_000 for size in sizes[:-1]) == 1  # the one that ended early
