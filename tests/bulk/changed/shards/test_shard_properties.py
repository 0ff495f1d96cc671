"""Random tables through random runs of shards, against a model of MoEngage.

Whatever the ranges are, whatever is killed, and whichever shard never ends: a run whose shards all succeed leaves
in MoEngage exactly what the table has, nobody is removed who has a row, and nothing needless is sent.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
from airflow_provider_moengage.bulk.changed.removed.guards import Removal
from airflow_provider_moengage.bulk.changed.shards.done import Done, chain
from airflow_provider_moengage.bulk.changed.state import Changes, SyncRun
from airflow_provider_moengage.bulk.changes import Shard
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.bulk.run import delivery
from tests.bulk.changed.removed.test_removal_properties import USERS, Model, Rows, tables
from tests.bulk.changed.test_state_properties import SMALL, KillableFolder, _killable
from tests.delivering import MoEngage, customer
from tests.killing import KilledError, KillSwitch


@dataclass(frozen=True)
class Step:
    """A run: the table, how it is split, in which order its shards run, and what happens to them."""

    rows: Rows
    cuts: tuple[str, ...]
    order: int
    kills: tuple[int | None, ...]
    never_ends: int | None
    resync: bool


steps = st.builds(
    Step,
    rows=tables.filter(bool),
    cuts=st.sets(st.sampled_from(USERS[:-1]), max_size=3).map(lambda cuts: tuple(sorted(cuts))),
    order=st.integers(0, 23),
    kills=st.tuples(*[st.none() | st.integers(0, 24)] * 4),
    never_ends=st.sampled_from([None, None, None, 0, 1]),
    resync=st.sampled_from([False, False, False, True]),
)


class Sync:
    """The runs of a sync in shards."""

    def __init__(self, moengage: MoEngage, folder: Path, action: str | None) -> None:
        moengage.reset()
        self.moengage = moengage
        self.model = Model(moengage)
        self.folder = folder
        self.action = action
        self.number = 0

    def attempt(self, step: Step, shard: Shard, switch: KillSwitch) -> DeliveryReport:
        run = SyncRun(
            run=f"run {self.number}",
            tries=f"{shard.run} {shard.number}",
            moment=f"2026-01-01T00:{self.number:02}:00.000000+00:00",
            workspace="w",
            mapping="m",
            encoding=1,
            resync=step.resync,
        )
        changes = Changes(
            KillableFolder(self.folder, switch),
            run,
            NewColumns("send", self.moengage.log),
            may_repeat=False,
            removal=None if self.action is None else Removal(self.action, 1.0, lambda: ["plan"]),
            shard=shard,
        )
        elements = [customer(user, plan=plan) for user, plan in sorted(step.rows.items()) if _is_in(shard, user)]
        report = self.moengage.deliver(
            elements, changes=changes, wrap=partial(_killable, switch=switch), limits=SMALL
        )
        assert report.accepted + report.unchanged == len(elements)
        return report

    def run(self, step: Step) -> tuple[int, list[tuple[str, int]], list[str]]:
        """Run all shards; return how many users were removed as reported, who was sent, and who was removed."""
        self.number += 1
        bounds = [None, *step.cuts, None]
        shards = [
            Shard(number, after, up_to, f"run {self.number}")
            for number, (after, up_to) in enumerate(pairwise(bounds))
        ]
        removed = 0
        for at in range(len(shards)):
            shard = shards.pop((step.order + at) % len(shards))
            kill = step.kills[shard.number]
            if step.never_ends == shard.number and kill is None:
                continue
            for points in (None,) if kill is None else (kill, None):
                switch = KillSwitch(points)
                if step.never_ends == shard.number and points is None:
                    continue
                with suppress(KilledError):
                    removed += self.attempt(step, shard, switch).removed
                switch.wait_for_requests()
                if not switch.is_killed:
                    break
        sent, gone = self.model.take()
        assert not set(gone) & step.rows.keys()
        return removed, sent, gone


def _is_in(shard: Shard, user: str) -> bool:
    return (shard.after is None or user > shard.after) and (shard.up_to is None or user <= shard.up_to)


@pytest.mark.parametrize("action", [None, "unset", "delete"])
@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(given_steps=st.lists(steps, min_size=2, max_size=6))
def test_a_run_whose_shards_all_succeed_leaves_what_the_table_has(
    moengage: MoEngage, given_steps: list[Step], action: str | None
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "_TICK", 0.01)
        patch.setattr(delivery, "_LAST_WAIT", 0.1)
        sync = Sync(moengage, Path(folder) / "state", action)
        before: Rows = {}
        clean = 0  # runs in a row of which everything is known; the first one may keep users who have left
        last = Step(given_steps[-1].rows, given_steps[0].cuts, 0, (None,) * 4, None, resync=False)
        for step in [*given_steps, last, last, last]:
            removed, sent, gone = sync.run(step)
            assert all(sync.model.plans[user] == step.rows[user] for user, _ in sent)
            is_killed = any(kill is not None for kill in step.kills)
            if step.never_ends is not None and step.never_ends <= len(step.cuts):
                assert not gone or is_killed  # a try that was to be killed may have ended before
                clean = 0
                continue
            assert all(sync.model.plans.get(user) == plan for user, plan in step.rows.items())
            if clean > 1 and not is_killed and not step.resync:
                assert sorted(sent) == sorted(step.rows.items() - before.items())
                assert removed == len(before.keys() - step.rows.keys())
                assert action is None or sorted(gone) == sorted(before.keys() - step.rows.keys())
            clean = 0 if is_killed or step.resync else clean + 1
            before = step.rows
        assert action is None or sync.model.plans == last.rows
        assert (removed, sent, gone) == (0, [], [])


def _done(after: str | None, up_to: str | None) -> Done:
    return Done(
        token="t",
        after=after,
        up_to=up_to,
        mapping="m",
        encoding=1,
        sends_all=False,
        part="p",
        ids=None,
        any_rows=True,
        interrupted=False,
        unidentified=False,
    )


@pytest.mark.parametrize(
    ("ranges", "found"),
    [
        ([(None, None)], [(None, None)]),
        ([("b", None), (None, "a"), ("a", "b")], [(None, "a"), ("a", "b"), ("b", None)]),
        ([(None, "a"), ("b", None)], None),
        ([(None, "a"), (None, "b"), ("b", None)], [(None, "b"), ("b", None)]),
        ([(None, "a"), ("a", "b"), ("b", "a")], None),
        ([], None),
    ],
)
def test_shards_are_done_if_each_begins_where_another_one_ends(
    ranges: list[tuple[str | None, str | None]], found: list[tuple[str | None, str | None]] | None
) -> None:
    done = chain(_done(*one) for one in ranges)

    assert (None if done is None else [(one.after, one.up_to) for one in done]) == found
