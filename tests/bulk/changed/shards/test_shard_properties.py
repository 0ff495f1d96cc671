"""Random tables through random runs of shards, against a model of MoEngage.

Whatever the ranges are, whatever is killed or cleared, and whichever shard never ends: a run whose shards all
succeed leaves in MoEngage exactly what the table has, nobody is removed who has a row, nothing needless is sent,
and a shard of an earlier run is refused.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.changed.errors import StateError
from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
from airflow_provider_moengage.bulk.changed.removed.guards import Removal
from airflow_provider_moengage.bulk.changed.shards.done import Done, chain
from airflow_provider_moengage.bulk.changed.sync_run import Changes, SyncRun
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
    first: Rows | None = None
    """The table that the run finds before some of its shards are cleared; then, all of them end."""
    cleared: tuple[int, ...] = ()
    is_counted: bool = True
    """Whether Airflow counts the Clear."""

    def shards(self, run: int) -> list[Shard]:
        bounds = [None, *self.cuts, None]
        return [Shard(number, after, up_to, str(run)) for number, (after, up_to) in enumerate(pairwise(bounds))]

    @property
    def is_complete(self) -> bool:
        """Whether all shards end, in the end."""
        count = len(self.cuts) + 1
        reread = self.first is None or len([at for at in self.cleared if at < count]) == count
        return reread and (self.first is not None or self.never_ends is None or self.never_ends >= count)


steps = st.builds(
    Step,
    rows=tables.filter(bool),
    cuts=st.sets(st.sampled_from(USERS[:-1]), max_size=3).map(lambda cuts: tuple(sorted(cuts))),
    order=st.integers(0, 23),
    kills=st.tuples(*[st.none() | st.integers(0, 24)] * 4),
    never_ends=st.sampled_from([None, None, None, 0, 1]),
    resync=st.sampled_from([False, False, False, True]),
    first=st.none() | st.none() | tables,
    cleared=st.permutations(range(4)).flatmap(lambda all_: st.sampled_from([all_, all_, all_[:2]])).map(tuple),
    is_counted=st.booleans(),
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

    def attempt(self, shard: Shard, rows: Rows, switch: KillSwitch, *, resync: bool = False) -> DeliveryReport:
        number = int(shard.run)
        run = SyncRun(
            run=f"run {shard.run}",
            tries=f"run {shard.run}, shard {shard.number}, {shard.is_cleared}",
            moment=f"2026-01-01T00:{number:02}:00.000000+00:00",
            workspace="w",
            mapping="m",
            encoding=1,
            resync=resync,
        )
        changes = Changes(
            KillableFolder(self.folder, switch),
            run,
            NewColumns("send", self.moengage.log),
            may_repeat=False,
            removal=None if self.action is None else Removal(self.action, 1.0, lambda: ["plan"]),
            shard=shard,
        )
        elements = [customer(user, plan=plan) for user, plan in sorted(rows.items()) if _is_in(shard, user)]
        report = self.moengage.deliver(
            elements, changes=changes, wrap=partial(_killable, switch=switch), limits=SMALL
        )
        assert report.accepted + report.unchanged == len(elements)
        return report

    def run(self, step: Step) -> tuple[int, list[tuple[str, int]], list[str]]:
        """Run all shards; return how many users were removed as reported, who was sent, and who was removed."""
        self.number += 1
        shards = step.shards(self.number)
        removed = 0
        sent: list[tuple[str, int]] = []
        gone: list[str] = []
        turns = [(shards[(step.order + at) % len(shards)], step.rows) for at in range(len(shards))]
        if step.first is not None:
            clear = int(step.is_counted)
            again = [replace(shards[at], clear=clear, is_cleared=True) for at in step.cleared if at < len(shards)]
            turns = [*((shard, step.first) for shard, _ in turns), *((shard, step.rows) for shard in again)]
        for shard, rows in turns:
            kill = step.kills[shard.number]
            ends = step.never_ends != shard.number or shard.is_cleared
            if not ends and kill is None:
                continue
            for points in (None,) if kill is None else (kill, None):
                switch = KillSwitch(points)
                if not ends and points is None:
                    continue
                with suppress(KilledError):
                    removed += self.attempt(shard, rows, switch, resync=step.resync).removed
                switch.wait_for_requests()
                has_ended = not switch.is_killed
                if has_ended:
                    break
            some, others = self.model.take()
            assert not set(others) & rows.keys()
            sent += some
            gone += others
            if has_ended and self.number > 1:
                self._try_an_earlier_run(step)
        return removed, sent, gone

    def _try_an_earlier_run(self, step: Step) -> None:
        with pytest.raises(StateError, match=r"[Aa] later run"):
            self.attempt(replace(step.shards(self.number - 1)[0], clear=1), {}, KillSwitch())
        assert self.model.take() == ([], [])


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
            is_killed = any(kill is not None for kill in step.kills)
            assert step.first is not None or all(sync.model.plans[user] == step.rows[user] for user, _ in sent)
            if not step.is_complete:
                # a try that was to be killed may have ended before
                assert not gone or is_killed or step.first is not None
                clean = 0
                continue
            is_killed |= step.first is not None
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
        tries="t",
        begun=1,
        is_done=True,
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
