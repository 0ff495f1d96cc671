"""SqlToMoEngageOperator over several tries: with keys it resumes among the rows, even if they have changed."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.exceptions import (
    MoEngageError,
    MoEngageOutcomeUnknownError,
    MoEngageRejectsError,
)
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage
from tests.killable_worker import Worker
from tests.task import Store, Task

ROWS = 3_000
CUSTOMER = CustomerMapping(customer_id="user_id", attributes=["number"])
PURCHASE = EventMapping(action="Purchase", customer_id="user_id", time="at", attributes=["number"])


@pytest.fixture
def connected(in_small_batches: MoEngage) -> MoEngage:
    return in_small_batches


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Purchases, of which every tenth shop has the same number as another one's."""
    path = tmp_path / "warehouse.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    rng = random.Random(1)
    rows = [
        (f"shop {number % 3}", number, f"user {rng.randrange(40)}", "2026-01-01", number) for number in range(ROWS)
    ]
    rng.shuffle(rows)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE purchases (shop TEXT, id INTEGER, user_id TEXT, at TEXT, number INTEGER)")
        database.executemany("INSERT INTO purchases VALUES (?, ?, ?, ?, ?)", rows)
    yield database
    database.close()


class Sync:
    """A task that syncs the purchases."""

    def __init__(self, mapping: Any = (CUSTOMER, PURCHASE), *, has_store: bool = True, **options: Any) -> None:
        self.task = Task(has_store=has_store)
        self.options = {
            "sql": "SELECT * FROM purchases -- all of them",
            "key_columns": ["shop", "id"],
            "concurrency": 4,
            "mapping": list(mapping) if isinstance(mapping, tuple) else mapping,
            **options,
        }

    def attempt(self, **changes: Any) -> dict[str, Any]:
        arguments = {**self.options, **changes}
        self.operator = operator = SqlToMoEngageOperator(task_id="sync", conn_id="warehouse", **arguments)
        context = self.task.context
        operator.render_template_fields(context)
        return operator.execute(context)

    def dies(self, worker: Worker, moments: int, *, surely: bool = True) -> None:
        died = worker.is_killed(self.attempt, after=moments)
        assert died or not surely
        self.task.retry()


def number_of(element: dict[str, Any]) -> tuple[str, int]:
    kind = element["type"]
    attributes = element["actions"][0]["attributes"] if kind == "event" else element["attributes"]
    return kind, attributes["number"]


def arrivals(moengage: MoEngage) -> Counter[tuple[str, int]]:
    return Counter(map(number_of, moengage.arrived))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("store", ["state store", "file"])
def test_killed_at_any_moment_a_sync_loses_nothing(
    connected: MoEngage, warehouse: sqlite3.Connection, worker: Worker, tmp_path: Path, seed: int, store: str
) -> None:
    rng = random.Random(seed)
    in_file = {"checkpoint_path": str(tmp_path / "state")} if store == "file" else {}
    sync = Sync(has_store=store != "file", **in_file)
    kills = rng.randrange(1, 4)
    for _ in range(kills):
        sync.dies(worker, rng.randrange(100), surely=False)

    report = sync.attempt()

    arrived = arrivals(connected)
    assert set(arrived) == {(kind, number) for kind in ("customer", "event") for number in range(ROWS)}
    assert arrived.total() - 2 * ROWS <= kills * 4 * 200
    assert (report["accepted"], report["customers"], report["events"]) == (2 * ROWS, ROWS, ROWS)


@pytest.mark.parametrize("seed", range(8))
def test_at_most_once_a_sync_sends_nothing_twice(
    connected: MoEngage, warehouse: sqlite3.Connection, worker: Worker, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    rejects = tmp_path / "rejects.ndjson"
    sync = Sync(delivery="at_most_once", rejects_path=str(rejects), max_rejects=10_000)
    for _ in range(rng.randrange(1, 4)):
        sync.dies(worker, rng.randrange(200), surely=False)

    report = sync.attempt()

    arrived = arrivals(connected)
    lines = [json.loads(line) for line in rejects.read_text().splitlines()] if rejects.exists() else []
    rejected = Counter(number_of(line["element"]) for line in lines)
    assert set(arrived.values()) == {1}
    assert set(rejected.values()) <= {1}
    assert len(set(arrived) | set(rejected)) == 2 * ROWS
    assert (report["rejected"], report["accepted"] + report["rejected"]) == (len(lines), 2 * ROWS)


def test_rows_added_or_removed_between_two_tries_shift_no_others(
    connected: MoEngage, warehouse: sqlite3.Connection, worker: Worker
) -> None:
    sync = Sync(CUSTOMER)
    sync.dies(worker, 60)
    before = arrivals(connected)
    with warehouse:
        warehouse.execute("DELETE FROM purchases WHERE id % 7 = 0")
        new = [("shop 0", 10_000 + n, f"user {n % 40}", "2026-01-01", 10_000 + n) for n in range(50)]
        warehouse.executemany("INSERT INTO purchases VALUES (?, ?, ?, ?, ?)", new)
        new = [("shop 2", 10_050 + n, f"user {n % 40}", "2026-01-01", 10_050 + n) for n in range(50)]
        warehouse.executemany("INSERT INTO purchases VALUES (?, ?, ?, ?, ?)", new)

    sync.attempt()

    still = {number for number in range(ROWS) if number % 7}
    arrived = {number for _, number in arrivals(connected)}
    assert 0 < before.total() < ROWS
    assert still | set(range(10_050, 10_100)) <= arrived, "the last shop is read after the first try has ended"
    assert arrivals(connected).total() - len(arrived) <= 400


@pytest.mark.parametrize("mapping", [CUSTOMER, (CUSTOMER, PURCHASE)], ids=["one a row", "two a row"])
@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
@pytest.mark.parametrize("seed", range(4))
def test_rows_added_in_the_reread_range_displace_no_others(
    connected: MoEngage, warehouse: sqlite3.Connection, worker: Worker, seed: int, delivery: str, mapping: Any
) -> None:
    rng = random.Random(seed)
    sync = Sync(mapping, delivery=delivery, max_rejects=10**6)
    sync.dies(worker, 40 + rng.randrange(60))
    with warehouse:  # in each shop, ids that only the others had
        new = [(f"shop {(n + 1) % 3}", n, f"user {n % 40}", "2026-01-01", 10_000 + n) for n in range(ROWS)]
        warehouse.executemany("INSERT INTO purchases VALUES (?, ?, ?, ?, ?)", new)
    sync.dies(worker, 20 + rng.randrange(40), surely=False)

    report = sync.attempt()

    kinds = 1 if mapping is CUSTOMER else 2
    arrived = {number for number in arrivals(connected) if number[1] < ROWS}
    if delivery == "at_least_once":
        assert len(arrived) == kinds * ROWS
    else:
        assert set(arrivals(connected).values()) == {1}
        assert len(arrived) + report["rejects"].get("outcome_unknown", 0) >= kinds * ROWS


def test_the_checkpoint_is_small_and_contains_two_keys(
    connected: MoEngage, warehouse: sqlite3.Connection, worker: Worker
) -> None:
    sync = Sync(CUSTOMER)
    sync.dies(worker, 60)

    assert sync.task.store is not None
    text = json.dumps(list(sync.task.store.values()))
    assert len(text) < 20_000  # the later a response of a busy machine, the more ranges it has
    assert text.count("shop ") == 2
    assert "user" not in text


def test_without_key_columns_a_retry_starts_over_and_says_so(
    connected: MoEngage,
    warehouse: sqlite3.Connection,
    worker: Worker,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    sync = Sync(PURCHASE, key_columns=None)
    sync.dies(worker, 40)

    report = sync.attempt()

    assert not report["resumed"]
    assert arrivals(connected).total() > ROWS
    said = capsys.readouterr().out + caplog.text
    assert "without key_columns the rows that were sent cannot be identified; sending everything again" in said


def test_at_most_once_without_key_columns_a_retry_sends_nothing(
    connected: MoEngage, warehouse: sqlite3.Connection, worker: Worker
) -> None:
    sync = Sync(PURCHASE, key_columns=None, delivery="at_most_once")
    sync.dies(worker, 40)
    before = arrivals(connected)

    with pytest.raises(MoEngageOutcomeUnknownError, match="without key_columns"):
        sync.attempt()

    assert arrivals(connected) == before
    sync.task.clear()
    assert sync.attempt()["accepted"] == ROWS


def test_at_most_once_a_retry_sends_nothing_if_nothing_was_stored(
    connected: MoEngage, warehouse: sqlite3.Connection
) -> None:
    sync = Sync(PURCHASE, has_store=False, delivery="at_most_once")
    sync.task.retry()

    with pytest.raises(MoEngageOutcomeUnknownError, match="Set checkpoint_path"):
        sync.attempt()

    sync.task.clear()
    assert sync.attempt()["accepted"] == ROWS


def test_other_inputs_start_over_and_other_options_do_not(
    connected: MoEngage, warehouse: sqlite3.Connection, worker: Worker
) -> None:
    sync = Sync(CUSTOMER)
    sync.dies(worker, 40)
    assert not sync.attempt(sql="SELECT * FROM purchases WHERE id < 100")["resumed"]

    sync = Sync(CUSTOMER)
    sync.dies(worker, 40)
    assert sync.attempt(concurrency=2, fetch_size=7, max_rejects=5)["resumed"]


def test_a_try_that_died_after_the_last_row_is_not_repeated(
    connected: MoEngage, warehouse: sqlite3.Connection
) -> None:
    sync = Sync(CUSTOMER)
    first = sync.attempt()
    sync.task.retry()

    assert sync.attempt() == first
    assert arrivals(connected).total() == ROWS
    sync.task.clear()
    assert sync.attempt()["accepted"] == ROWS
    assert arrivals(connected).total() == 2 * ROWS


def test_a_retry_reports_too_many_rejects_if_the_first_try_could_not(
    connected: MoEngage, warehouse: sqlite3.Connection
) -> None:
    with warehouse:
        warehouse.execute("UPDATE purchases SET user_id = 'null' WHERE id = 5")
    sync = Sync(CUSTOMER)
    for _ in range(2):
        with pytest.raises(MoEngageRejectsError, match="1 element rejected"):
            sync.attempt()
        sync.task.retry()

    assert arrivals(connected).total() == ROWS - 1


def test_a_null_in_a_key_is_refused(connected: MoEngage, warehouse: sqlite3.Connection, worker: Worker) -> None:
    sync = Sync(CUSTOMER)
    sync.dies(worker, 60)
    with warehouse:
        warehouse.execute("UPDATE purchases SET shop = NULL WHERE id = 5")

    with pytest.raises(ValueError, match=r"key_columns.*NULL"):
        sync.attempt()
    with pytest.raises(ValueError, match=r"column 'shop' is NULL in row 1 \(ORDER BY shop, id\) of the query"):
        Sync(CUSTOMER).attempt()


def test_keys_that_are_not_unique_are_found(connected: MoEngage, warehouse: sqlite3.Connection) -> None:
    with pytest.raises(
        ValueError, match=r"rows 1 and 2 \(ORDER BY shop\) have the same key; .* GROUP BY shop HAVING"
    ):
        Sync(CUSTOMER, key_columns=["shop"]).attempt()


def test_a_range_of_keys_is_read_and_resumed_within(
    connected: MoEngage, warehouse: sqlite3.Connection, worker: Worker
) -> None:
    sync = Sync(CUSTOMER, key_range={"after": ["shop 0", 300], "up_to": ["shop 1", 2_000]})
    expected = {n for n in range(ROWS) if (n % 3 == 0 and n > 300) or (n % 3 == 1 and n <= 2_000)}
    sync.dies(worker, 40)

    report = sync.attempt()

    assert {number for _, number in arrivals(connected)} == expected
    assert (report["accepted"], report["resumed"]) == (len(expected), True)


def test_a_dry_run_stores_nothing(connected: MoEngage, warehouse: sqlite3.Connection) -> None:
    sync = Sync(CUSTOMER, dry_run=True)
    sync.attempt()

    assert not sync.task.store


def test_a_killed_task_stores_its_progress_and_closes_its_cursor(
    connected: MoEngage, warehouse: sqlite3.Connection
) -> None:
    sync = Sync(CUSTOMER)

    class Ending(Store):
        def set(self, key: str, value: Any) -> None:
            super().set(key, value)
            counts = value.get("figures", {"accepted": 0})
            if sync.task.try_number == 1 and counts["accepted"] >= 500:
                sync.operator.on_kill()  # as Airflow does in the signal's handler

    sync.task.store = Ending()
    with pytest.raises(MoEngageError, match="The run was stopped"):
        sync.attempt()

    at_its_end = arrivals(connected).total()
    assert 500 <= at_its_end < ROWS
    with sqlite3.connect(warehouse.execute("PRAGMA database_list").fetchone()[2], timeout=0) as other:
        other.execute("ALTER TABLE purchases ADD more")  # a cursor that is open would lock it
    sync.task.retry()
    assert sync.attempt()["resumed"]
    assert arrivals(connected).total() <= ROWS + 400
