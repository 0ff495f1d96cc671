"""Random tables through random runs: changes, removals, rejects, refusals, kills and resyncs against a model.

After each run that succeeds, MoEngage has exactly what the table has. Without a kill, nothing that it has already
is sent again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest

from airflow_provider_moengage.bulk.changed.folder import Manifest, StateFolder
from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
from airflow_provider_moengage.bulk.changed.sync_run import Changes, SyncRun
from airflow_provider_moengage.bulk.rate_limit.pacer import Limits
from airflow_provider_moengage.bulk.run import delivery
from airflow_provider_moengage.bulk.run.lane import Client
from tests.delivering import MoEngage, customer
from tests.killing import KillableClient, KilledError, KillSwitch

SMALL = Limits(500, 10**9)
"""A request holds few elements, so that a run makes several."""


def _killable(client: Client, switch: KillSwitch) -> Client:
    return KillableClient(client, switch)


class KillableFolder(StateFolder):
    """The folder of a process that may be killed before or after each write."""

    def __init__(self, path: Path, switch: KillSwitch) -> None:
        super().__init__(path)
        self._switch = switch

    def commit(self, manifest: Manifest) -> None:
        self._switch.point()
        super().commit(manifest)
        self._switch.point()

    def remove(self, name: str) -> None:
        self._switch.point()
        super().remove(name)

    def write_document(self, name: str, content: Mapping[str, Any]) -> None:
        self._switch.point()
        super().write_document(name, content)
        self._switch.point()

    def new_file(self, name: str) -> IO[bytes]:
        self._switch.point()
        return super().new_file(name)


class Table:
    """A warehouse's table of users, and what MoEngage has accepted of it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.rows: dict[str, int] = {}
        self.bad: set[str] = set()

    def change(self) -> None:
        chance = self.chance
        for _ in range(chance.randrange(12)):
            user = f"user-{chance.randrange(60)}"
            what = chance.random()
            if what < 0.25:
                self.rows.pop(user, None)
            else:
                self.rows[user] = chance.randrange(3)
        self.bad = {user for user in self.rows if chance.random() < 0.05}

    def elements(self, order: str) -> list[dict[str, Any]]:
        users = sorted(self.rows) if order == "sorted" else self.chance.sample(sorted(self.rows), len(self.rows))
        return [customer(user, plan=float("nan") if user in self.bad else self.rows[user]) for user in users]


@pytest.mark.parametrize("delivery_mode", ["at_least_once", "at_most_once"])
@pytest.mark.parametrize("order", ["sorted", "any"])
@pytest.mark.parametrize("seed", range(6))
def test_moengage_has_what_the_table_has_whatever_happens(
    moengage: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, seed: int, delivery_mode: str
) -> None:
    monkeypatch.setattr(delivery, "_TICK", 0.01)
    monkeypatch.setattr(delivery, "_LAST_WAIT", 0.1)
    chance = random.Random(f"{seed} {order} {delivery_mode}")
    table = Table(chance)
    moengage.reset()
    seen = 0
    had: dict[str, int] = {}
    known: dict[str, int] = {}
    mapping = "mapping-0"
    is_clean = True

    def arrived() -> list[tuple[str, int]]:
        nonlocal seen
        new = moengage.arrived[seen:]
        seen += len(new)
        return [(element["customer_id"], element["attributes"]["plan"]) for element in new]

    for number in range(14):
        table.change()
        resync, new_mapping = chance.random() < 0.1, chance.random() < 0.1
        if new_mapping:
            mapping = f"mapping-{number}"
        kills = chance.choice([0, 0, 0, 1, 2])
        for attempt in range(kills + 1):
            is_last = attempt == kills
            switch = KillSwitch(None if is_last else chance.randrange(25))
            run = SyncRun(
                run=f"run {number}",
                tries=f"run {number}",
                moment=f"2026-01-{number + 1:02}T00:00:00.000000+00:00",
                workspace="w",
                mapping=mapping,
                encoding=1,
                resync=resync,
            )
            changes = Changes(
                KillableFolder(tmp_path / "state", switch), run, NewColumns("send", moengage.log), may_repeat=False
            )
            rows, bad = dict(table.rows), set(table.bad)
            with suppress(KilledError):
                report = moengage.deliver(
                    table.elements(order),
                    changes=changes,
                    wrap=partial(_killable, switch=switch),
                    delivery=delivery_mode,
                    limits=SMALL,
                    max_rejects=1000,
                )
            switch.wait_for_requests()
            is_killed = switch.is_killed
            sent = arrived()
            had.update(sent)
            if not is_killed:
                break
            is_clean = False
            if chance.random() < 0.5:
                table.change()
        good = {user: what for user, what in rows.items() if user not in bad}
        unknown = report.rejects.get("outcome_unknown", 0)
        wrong = {user for user, what in good.items() if had.get(user) != what}
        assert len(wrong) <= unknown
        assert report.accepted + report.rejected + report.unchanged == len(rows)
        if is_clean and not resync and not new_mapping and number:
            assert sorted(sent) == sorted((user, what) for user, what in good.items() if known.get(user) != what)
            assert report.unchanged == len(good) - len(sent)
            assert report.removed == len(known.keys() - rows.keys())
        keeps = known.keys() if not rows or resync or new_mapping or not number else bad & known.keys()
        known = {user: known[user] for user in keeps} | good
        is_clean = not unknown and not attempt
