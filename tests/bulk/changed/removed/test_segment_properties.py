"""Random queries through random runs of a segment's mirror, against a model of the segment.

Whatever is killed, refused or rejected: after a run that succeeds, the segment has exactly the users of the query
that MoEngage has not refused, and a run never removes a user whom it has read.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.api.users.cohorts import Cohort, CohortSync
from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
from airflow_provider_moengage.bulk.changed.removed.guards import Removal
from airflow_provider_moengage.bulk.changed.sync_run import Changes, SyncRun
from airflow_provider_moengage.bulk.members import Members
from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.bulk.run import delivery
from airflow_provider_moengage.bulk.run.delivery import NotRemovedError
from airflow_provider_moengage.bulk.sources import Stream
from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.hooks.cohorts import requests_of
from tests.bulk.changed.test_state_properties import KillableFolder, _killable
from tests.delivering import MoEngage, customer
from tests.killing import KilledError, KillSwitch

USERS = [f"user-{number:02}" for number in range(16)]
COHORT = Cohort("c1", "c1", None)


@dataclass(frozen=True)
class Step:
    """A run: whom the query returns, in each of its tries, and what happens."""

    queries: tuple[frozenset[str], ...]
    kills: tuple[int, ...]
    refused: str | None
    max_removed: float
    resync: bool


queries = st.frozensets(st.sampled_from(USERS), min_size=1)
steps = st.builds(
    Step,
    queries=st.tuples(queries, queries, queries),
    kills=st.lists(st.integers(0, 20), max_size=2).map(tuple),
    refused=st.sampled_from([None, None, None, *USERS[:3]]),
    max_removed=st.sampled_from([1.0, 1.0, 1.0, 2]),
    resync=st.sampled_from([False, False, False, True]),
)


class Mirror:
    """The runs of a segment's mirror."""

    def __init__(self, moengage: MoEngage, folder: Path) -> None:
        moengage.reset()
        self.moengage = moengage
        self.folder = folder
        self.number = 0

    @property
    def members(self) -> frozenset[str]:
        return self.moengage.emulator.workspace.segments.get("c1", frozenset())

    def attempt(self, step: Step, users: frozenset[str], switch: KillSwitch) -> DeliveryReport:
        run = SyncRun(
            run=f"run {self.number}",
            tries=f"run {self.number}",
            moment=f"2026-01-01T00:{self.number:02}:00.000000+00:00",
            workspace="w",
            mapping="c1",
            encoding=1,
            resync=step.resync,
        )
        changes = Changes(
            KillableFolder(self.folder, switch),
            run,
            NewColumns("ignore", self.moengage.log),
            may_repeat=True,
            removal=Removal("leave", step.max_removed, tuple),
        )
        limits, requests = requests_of(CohortSync(COHORT, removes=False))
        return self.moengage.deliver(
            Members(Stream([customer(user) for user in sorted(users)])),
            changes=changes,
            wrap=partial(_killable, switch=switch),
            limits=limits,
            requests=requests,
            max_rejects=1_000,
        )

    def run(self, step: Step) -> tuple[frozenset[str], DeliveryReport | None]:
        """Run until a try is not killed; return whom it has read, and its report if nothing was refused."""
        self.number += 1
        if step.refused is not None:
            self.moengage.emulator.workspace.add_fault(Fault("refuse", times=None, customer_id=step.refused))
        try:
            for users, points in zip(step.queries, [*step.kills, None], strict=False):
                switch, before = KillSwitch(points), self.members
                report: DeliveryReport | None = None
                with suppress(KilledError, NotRemovedError):
                    report = self.attempt(step, users, switch)
                switch.wait_for_requests()
                assert not (before & users) - self.members
                if not switch.is_killed:
                    return users, report
        finally:
            self.moengage.emulator.workspace.clear_faults()
        raise AssertionError("the last try is not killed")


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(given_steps=st.lists(steps, min_size=2, max_size=6))
def test_a_segment_has_the_users_of_the_query(moengage: MoEngage, given_steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(delivery, "_TICK", 0.01)
        patch.setattr(delivery, "_LAST_WAIT", 0.1)
        mirror = Mirror(moengage, Path(folder) / "state")
        is_exact = False  # whether all whom the segment has are known, and in the last query
        for step in given_steps:
            users, report = mirror.run(step)
            good = users if step.refused is None else users - {step.refused}
            assert good <= mirror.members
            if report is None:
                is_exact = False
                continue
            assert report.accepted + report.rejected + report.unchanged == len(users)
            if is_exact and not (step.kills or step.resync):
                assert mirror.members <= users
            is_exact = mirror.members <= users

        last = given_steps[-1].queries[0]
        for _ in range(3):
            _, report = mirror.run(Step((last,), (), None, 1.0, resync=False))
        assert report is not None
        assert mirror.members == last
        assert (report.accepted, report.removed) == (0, 0)
