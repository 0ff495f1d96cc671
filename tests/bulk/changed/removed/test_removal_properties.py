"""Random tables through random runs that remove users, against a model of MoEngage.

Whatever is killed, refused or rejected: nobody is removed whose row the run has read, nobody is forgotten, and
without a kill nobody is removed twice. The query may have more columns in some runs, as `on_new_columns` allows.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.changed.folder import StateFolder
from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
from airflow_provider_moengage.bulk.changed.removed.guards import Removal
from airflow_provider_moengage.bulk.changed.sync_run import Changes, SyncRun
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.bulk.run import delivery
from airflow_provider_moengage.bulk.run.delivery import NotRemovedError
from airflow_provider_moengage.emulator import Fault
from tests.bulk.changed.test_state_properties import SMALL, KillableFolder, _killable
from tests.delivering import MoEngage, customer
from tests.killing import KilledError, KillSwitch

USERS = [f"user-{number:02}" for number in range(24)]

Rows = dict[str, int]


@dataclass(frozen=True)
class Step:
    """A run: the table that it finds, and what happens to it."""

    rows: Rows
    bad: frozenset[str]
    kills: tuple[int, ...]
    changed: tuple[Rows, ...]
    """The table that each further try finds."""
    mapping: int = 0
    resync: bool = False
    max_removed: float = 1.0
    refused: str | None = None
    columns: tuple[str, ...] = ()
    """Columns that the query has besides."""
    on_new_columns: str = "send"


tables = st.dictionaries(st.sampled_from(USERS), st.integers(0, 2), max_size=len(USERS))
steps = st.builds(
    Step,
    rows=tables,
    bad=st.frozensets(st.sampled_from(USERS), max_size=2),
    kills=st.lists(st.integers(0, 24), max_size=2).map(tuple),
    changed=st.tuples(tables, tables),
    mapping=st.sampled_from([0, 0, 0, 0, 1]),
    resync=st.sampled_from([False, False, False, True]),
    max_removed=st.sampled_from([1.0, 1.0, 1.0, 0.5, 3, 0]),
    refused=st.sampled_from([None, None, None, *USERS[:4]]),
    columns=st.sampled_from([(), (), ("tier",), ("city",), ("tier", "city")]),
    on_new_columns=st.sampled_from(["send", "send", "ignore", "ignore", "fail"]),
)


@dataclass
class Model:
    """What MoEngage has: the plan of each user, as it arrived."""

    moengage: MoEngage
    plans: Rows = field(default_factory=dict)
    columns: dict[str, set[str]] = field(default_factory=dict)
    """Of each user, the other columns that arrived last."""
    seen: int = 0
    deletions: int = 0

    def take(self) -> tuple[list[tuple[str, int]], list[str]]:
        """Return what arrived since the last look: users with their plans, and users who were removed."""
        new = self.moengage.arrived[self.seen :]
        self.seen += len(new)
        sent, unset = [], []
        for element in new:
            user = element["customer_id"]
            if "unset_attributes" in element:
                self.plans.pop(user, None)
                unset.append(user)
            else:
                self.plans[user] = element["attributes"]["plan"]
                self.columns[user] = set(element["attributes"]) - {"plan"}
                sent.append((user, self.plans[user]))
        deleted = self.moengage.emulator.workspace.deleted_users[self.deletions :]  # after all sends of a try
        self.deletions += len(deleted)
        for user in deleted:
            self.plans.pop(user, None)
        return sent, [*unset, *deleted]


class Sync:
    """The runs of a sync that removes users."""

    def __init__(self, moengage: MoEngage, folder: Path, action: str, delivery_mode: str) -> None:
        moengage.reset()
        self.action = action
        self.moengage = moengage
        self.model = Model(moengage)
        self.folder = folder
        self.mode = delivery_mode
        self.number = 0
        self.sent_columns: set[str] = set()
        """The other columns that the last try may send."""
        self.must_fail = False
        """Whether the last try has to fail because of a new column."""

    def _elements(self, step: Step, rows: Rows, columns: NewColumns) -> Iterator[dict[str, Any]]:
        """Read the query: its columns are known before its first row."""
        [mapping] = columns.mappings([CustomerMapping(attributes=None)], ["user_id", "plan", *step.columns])
        assert isinstance(mapping, CustomerMapping)
        names = (
            ["plan", *step.columns] if mapping.attributes is None else [str(name) for name in mapping.attributes]
        )
        for user, plan in sorted(rows.items()):
            value = float("nan") if user in step.bad else plan
            yield customer(user, **{name: value if name == "plan" else name for name in names})

    def attempt(self, step: Step, rows: Rows, switch: KillSwitch) -> DeliveryReport:
        run = SyncRun(
            run=f"run {self.number}",
            tries=f"run {self.number}",
            moment=f"2026-01-01T00:{self.number:02}:00.000000+00:00",
            workspace="w",
            mapping=f"mapping {step.mapping}",
            encoding=1,
            resync=step.resync,
        )
        columns = NewColumns(step.on_new_columns, self.moengage.log)
        changes = Changes(
            KillableFolder(self.folder, switch),
            run,
            columns,
            may_repeat=False,
            removal=Removal(self.action, step.max_removed, columns.attributes),
        )
        stored = StateFolder(self.folder).newest()
        known = set(step.columns if stored is None or not stored.columns else stored.columns)
        self.must_fail = step.on_new_columns == "fail" and not known.issuperset(step.columns)
        self.sent_columns = set(step.columns) & (known if step.on_new_columns == "ignore" else set(step.columns))
        return self.moengage.deliver(
            self._elements(step, rows, columns),
            changes=changes,
            wrap=partial(_killable, switch=switch),
            delivery=self.mode,
            limits=SMALL,
            max_rejects=1000,
        )

    def run(self, step: Step) -> tuple[DeliveryReport | None, Rows, list[tuple[str, int]], list[str]]:
        """Run until a try is not killed; return its report, what it read, and what arrived in it."""
        self.number += 1
        if step.refused is not None:
            self.moengage.emulator.workspace.add_fault(Fault("refuse", times=None, customer_id=step.refused))
        try:
            for attempt, points in enumerate([*step.kills, None]):
                rows = step.rows if not attempt else step.changed[attempt - 1]
                switch = KillSwitch(points)
                report: DeliveryReport | None = None
                problem, refusal = False, ""
                try:
                    report = self.attempt(step, rows, switch)
                except NotRemovedError as error:
                    report, problem = error.report, True
                except KilledError:
                    pass
                except ValueError as error:
                    refusal = str(error)
                switch.wait_for_requests()
                sent, unset = self.model.take()
                assert not set(unset) & rows.keys()
                if refusal:
                    assert self.must_fail
                    assert "the query has new columns" in refusal
                    assert not sent
                    assert not unset
                if problem and report is not None and not report.removed and step.refused is None:
                    assert not unset or self.mode == "at_most_once"
                if not switch.is_killed:
                    return report, rows, sent, unset
        finally:
            self.moengage.emulator.workspace.clear_faults()
        raise AssertionError("the last try is not killed")


@pytest.mark.parametrize("action", ["unset", "delete"])
@pytest.mark.parametrize("delivery_mode", ["at_least_once", "at_most_once"])
@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(given_steps=st.lists(steps, min_size=2, max_size=6))
def test_nobody_present_is_removed_and_nobody_who_has_left_is_forgotten(
    moengage: MoEngage, given_steps: list[Step], action: str, delivery_mode: str
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "_TICK", 0.01)
        patch.setattr(delivery, "_LAST_WAIT", 0.1)
        sync = Sync(moengage, Path(folder) / "state", action, delivery_mode)
        for step in given_steps:
            report, rows, _, unset = sync.run(step)
            assert (report is None) == sync.must_fail
            if report is None:
                continue
            assert report.accepted + report.rejected + report.unchanged == len(rows)
            good = {user: plan for user, plan in rows.items() if user not in step.bad and user != step.refused}
            wrong = {user for user, plan in good.items() if sync.model.plans.get(user) != plan}
            wrong |= {user for user in good if sync.model.columns.get(user) != sync.sent_columns}
            assert len(wrong) <= report.rejects.get("outcome_unknown", 0)
            if not step.kills:
                assert len(unset) == len(set(unset)) <= report.removed
                # Who never arrived before a kill is not found, which is done as well.
                assert action == "delete" or len(unset) == report.removed

        last = given_steps[-1].changed[0] | {USERS[0]: 1}
        for _ in range(3):  # the first one may send all, and what is unknown is sent once more
            report, _, sent, unset = sync.run(Step(last, frozenset(), (), ()))
        assert sync.model.plans == last
        assert report is not None
        assert (report.removed, report.accepted, sent, unset) == (0, 0, [], [])


@pytest.mark.parametrize("action", ["unset", "delete"])
@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(given_tables=st.lists(tables.filter(bool), min_size=2, max_size=6))
def test_without_a_failure_each_user_who_leaves_is_removed_once_and_counted(
    moengage: MoEngage, given_tables: list[Rows], action: str
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "_TICK", 0.01)
        sync = Sync(moengage, Path(folder) / "state", action, "at_least_once")
        before: Rows = {}
        for rows in given_tables:
            report, _, sent, unset = sync.run(Step(rows, frozenset(), (), ()))
            assert report is not None
            assert Counter(unset) == Counter(before.keys() - rows.keys())
            assert report.removed == len(unset)
            assert sorted(sent) == sorted(rows.items() - before.items())
            assert sync.model.plans == rows
            before = rows
