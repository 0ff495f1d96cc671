"""A worker that is killed at any moment loses nobody, and a retry repeats only what was in flight."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.bulk.run.lane import DELETING_LANES
from airflow_provider_moengage.erasure.ledger import Entry, Event, LedgerError, RunFacts
from airflow_provider_moengage.erasure.ledger_file import LedgerFile
from airflow_provider_moengage.erasure.ledger_table import LedgerTable
from airflow_provider_moengage.erasure.places import LedgerPlace
from airflow_provider_moengage.exceptions import MoEngageOutcomeUnknownError
from airflow_provider_moengage.results.recorder import TaskRun
from tests.erasure.conftest import Place
from tests.killing import KilledError, KillSwitch
from tests.sources.warehouses import Servers, postgresql_url

USERS = [f"user-{number}" for number in range(24)]


class Worker:
    """Runs tries of the operator, and is killed just before or after a request, or a write of the ledger."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.switch = KillSwitch()
        self.asked: Counter[str] = Counter()
        for owner, name in (
            (MoEngageClient, "delete_user"),
            (MoEngageClient, "request_erasure"),
            (LedgerTable, "write"),
            (LedgerFile, "write"),
        ):
            monkeypatch.setattr(owner, name, self._killable(getattr(owner, name)))

    def is_killed(self, act: Callable[[], Any], *, after: int) -> bool:
        """Make a try that is killed at a kill point; return whether it got that far."""
        self.switch = switch = KillSwitch(after)
        with suppress(KilledError):
            act()
        switch.wait_for_requests()
        self.switch = KillSwitch()
        return switch.is_killed

    def _killable(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def acted(*given: Any) -> Any:
            switch = self.switch
            with switch.request():
                switch.point()
                result = act(*given)
            switch.point()
            return result

        return acted


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    return Worker(monkeypatch)


@pytest.fixture
def postgresql(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database for ledgers, as connection ``ledgers``."""
    psycopg2 = pytest.importorskip("psycopg2")
    given = psycopg2.extensions.parse_dsn(postgresql_url(servers.port("PostgreSQL")))
    connection = {"conn_type": "postgres", "host": given["host"], "port": int(given["port"])}
    more = {"login": given["user"], "password": given.get("password", ""), "schema": given["dbname"]}
    monkeypatch.setenv("AIRFLOW_CONN_LEDGERS", json.dumps({**connection, **more}))
    return "ledgers"


@pytest.mark.parametrize("points", [0, 3, 9, 17, 31, 47])
def test_a_kill_with_a_ledger_in_postgresql(place: Place, worker: Worker, postgresql: str, points: int) -> None:
    place.have(*USERS)
    place.request(*USERS)
    arguments = {"ledger_conn_id": postgresql, "ledger_table": f"ledger_{points}"}

    assert worker.is_killed(lambda: place.erase(**arguments), after=points)
    place.task.retry()
    result = place.erase(**arguments)

    assert set(place.erased) == set(USERS)
    assert result["done_before"] + result["accepted"] == len(USERS)
    assert len(place.erased) - len(USERS) <= DELETING_LANES
    assert place.erase(**arguments)["done_before"] == len(USERS)


def test_of_two_tries_at_once_one_fails_before_its_request(place: Place, postgresql: str) -> None:
    place.have("a")
    facts = RunFacts(TaskRun.of(place.task.context), "EMULATOR", "delete", "ID")
    ledgers = [LedgerPlace("ledgers", "ledger_of_two").ledger(facts) for _ in range(2)]
    for ledger in ledgers:
        assert ledger.open().attempts("a") == 0
    ledgers[0].write([Entry("a", "a", 1, Event.ASKED, 1.0)])

    with pytest.raises(LedgerError, match="another try of this task may be adding the same entries"):
        ledgers[1].write([Entry("a", "a", 1, Event.ASKED, 2.0)])
    with pytest.raises(LedgerError):
        ledgers[1].write([Entry("b", "b", 1, Event.ASKED, 2.0)])
    for ledger in ledgers:
        ledger.close()


@pytest.mark.parametrize("points", [0, 1, 2, 5, 11, 17, 26, 38, 50, 65, 80, 95])
@pytest.mark.parametrize("kind", ["table", "file"])
def test_a_kill_loses_nobody_and_repeats_only_what_was_in_flight(
    place: Place, worker: Worker, tmp_path: Path, kind: str, points: int
) -> None:
    place.have(*USERS)
    place.request(*USERS)
    arguments: dict[str, Any] = {"ledger_path": tmp_path / "ledgers"} if kind == "file" else {}

    is_killed = worker.is_killed(lambda: place.erase(**arguments), after=points)
    before = Counter(place.erased)
    place.task.retry()
    result = place.erase(**arguments)

    assert set(place.erased) == set(USERS)
    assert result["refused"] == result["unknown"] == 0
    assert result["done_before"] + result["accepted"] + result["not_found"] == len(USERS)
    assert max(before.values(), default=1) == 1
    repeated = sum(count > 1 for count in Counter(place.erased).values())
    assert repeated <= (DELETING_LANES if is_killed else 0)
    assert len(place.erased) - len(USERS) == repeated


@pytest.mark.parametrize("points", [0, 1, 2, 3, 5, 8, 12])
def test_a_user_who_has_left_the_query_meanwhile_is_reported_and_not_asked_for_again(
    place: Place, worker: Worker, points: int
) -> None:
    users = USERS[:3]
    place.have(*users)
    place.request(*users)
    worker.is_killed(place.erase, after=points)
    entries, erased = _entries(place), list(place.erased)
    done = {identity for identity, event in entries if event != "asked"}
    unknown = {identity for identity, event in entries if event == "asked"} - done
    place.execute("DELETE FROM requests")
    place.task.retry()

    if unknown:
        with pytest.raises(MoEngageOutcomeUnknownError, match=f"^{len(unknown)} request"):
            place.erase()
    else:
        place.erase()

    assert place.erased == erased


def _entries(place: Place) -> list[Any]:
    with closing(sqlite3.connect(place.file)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ledger'").fetchall():
            return []
    return place.ledger()


@pytest.mark.parametrize("points", [0, 1, 2, 3, 4, 5, 6, 7, 8, 20, 21, 22, 23])
def test_a_kill_repeats_no_opengdpr_request_and_leaves_at_most_one_unknown(
    place: Place, worker: Worker, points: int
) -> None:
    users = USERS[:6]
    place.have(*users)
    place.request(*users)
    worker.is_killed(lambda: place.erase(method="opengdpr"), after=points)
    place.task.retry()

    unknown = 0
    try:
        place.erase(method="opengdpr")
    except MoEngageOutcomeUnknownError:
        unknown = place.task.xcom["return_value"]["unknown"]

    asked = Counter(user for _, user in place.moengage.emulator.workspace.erasure_requests)
    assert max(asked.values()) == 1
    assert unknown <= 1
    assert len(users) - len(asked) <= unknown
