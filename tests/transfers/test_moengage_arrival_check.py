"""MoEngageArrivalCheckOperator: whom it reads, what it reports, and that it shows nobody."""

from __future__ import annotations

import json
import logging
import pickle
import sqlite3
import tracemalloc
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_moengage import lineage
from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
from airflow_provider_moengage.emulator import Fault
from airflow_provider_moengage.exceptions import MoEngageArrivalError, MoEngageAuthError, MoEngageError
from airflow_provider_moengage.transfers.moengage_arrival_check import MoEngageArrivalCheckOperator
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.api.loopback import answer, loopback
from tests.delivering import MoEngage, connection_to, customer
from tests.task import Task

MAPPING = CustomerMapping(attributes=["tier", "city"])
SQL = "SELECT user_id, tier, city FROM customers ORDER BY user_id"


class Warehouse:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.write("CREATE TABLE customers (user_id TEXT, tier TEXT, city TEXT, updated_at TEXT)")

    def write(self, sql: str, *rows: tuple[Any, ...]) -> None:
        with closing(sqlite3.connect(self.file)) as connection:
            connection.executemany(sql, rows) if rows else connection.execute(sql)
            connection.commit()

    def fill(self, count: int) -> None:
        rows = ((f"user-{number}", "gold", f"City {number}", "2026-01-01") for number in range(count))
        self.write("INSERT INTO customers VALUES (?, ?, ?, ?)", *rows)


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    place = Warehouse(tmp_path / "warehouse.db")
    connection = json.dumps({"conn_type": "sqlite", "host": str(place.file)})
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", connection)
    return place


@pytest.fixture
def place(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> MoEngage:
    monkeypatch.setattr("airflow_provider_moengage.hooks.campaigns.SystemClock", lambda: connected.clock)
    return connected


def operator(**arguments: Any) -> MoEngageArrivalCheckOperator:
    given = {"task_id": "t", "conn_id": "warehouse", "sql": SQL, "mapping": MAPPING, "seed": "s", **arguments}
    return MoEngageArrivalCheckOperator(**given)


def check(**arguments: Any) -> dict[str, Any]:
    return operator(**arguments).execute(Task().context)


def sync(**arguments: Any) -> None:
    given = {"task_id": "sync", "conn_id": "warehouse", "sql": SQL, "mapping": MAPPING, **arguments}
    SqlToMoEngageOperator(**given).execute(Task(has_store=False).context)


def read_users(place: MoEngage) -> int:
    """Return the number of requests for users."""
    return sum(request.path == "/v1/customers/export" for request in place.emulator.workspace.requests)


def test_a_sync_that_has_arrived_passes(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.fill(50)
    sync()

    assert check() == {
        "rows": 50,
        "rejected": 0,
        "sampled": 50,
        "arrived": 50,
        "missing": 0,
        "allowed_missing": 0,
        "differing": 0,
        "by_attribute": {},
        "not_compared": [],
    }
    assert read_users(place) == 3


def test_missing_and_differing_users_fail_the_task(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.fill(10)
    sync(sql="SELECT user_id, tier, city FROM customers WHERE user_id <> 'user-3'")
    place.deliver([customer("user-4", tier="silver"), customer("user-5", tier="silver", city="Graz")])

    with pytest.raises(MoEngageArrivalError) as caught:
        check()

    assert str(caught.value) == (
        "3 of 10 users have not arrived as they were sent, more than max_failed=0 allows: 1 are missing, 2 differ"
        " in tier (2), city (1)"
    )
    assert (caught.value.report["arrived"], caught.value.report["missing"]) == (7, 1)
    assert pickle.loads(pickle.dumps(caught.value)).report == caught.value.report  # noqa: S301


def test_two_ids_that_differ_in_their_last_digit_differ(place: MoEngage, warehouse: Warehouse) -> None:
    sql = "SELECT 'ann' AS user_id, 1234567890123 AS account"
    mapping = CustomerMapping(attributes=["account"])
    place.deliver([customer("ann", account=1234567890124)])

    with pytest.raises(MoEngageArrivalError, match="1 differ in account"):
        check(sql=sql, mapping=mapping)
    place.deliver([customer("ann", account=1234567890123)])
    assert check(sql=sql, mapping=mapping)["arrived"] == 1


def test_a_share_of_the_sample_may_fail(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.fill(10)
    sync(sql="SELECT user_id, tier, city FROM customers WHERE user_id NOT IN ('user-3', 'user-4')")

    assert check(max_failed="0.2")["missing"] == 2
    with pytest.raises(MoEngageArrivalError, match=r"max_failed=0\.19 allows: 2 are missing, 0 differ$"):
        check(max_failed=0.19)


def test_a_whole_number_counts_users_and_a_share_may_be_all_of_them(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.fill(2)

    assert check(max_failed=2)["missing"] == check(max_failed=1.0)["missing"] == check(max_failed="1.0")["missing"]
    for one in (1, "1"):
        with pytest.raises(MoEngageArrivalError, match="more than max_failed=1 allows"):
            check(max_failed=one)


def test_the_same_seed_reads_the_same_users_in_any_order(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.fill(300)

    def sampled(**arguments: Any) -> set[str]:
        checked = operator(sample=20, **arguments)
        drawn, _ = checked._draw()
        return set(drawn.users)

    assert len(sampled()) == 20
    assert sampled() == sampled(sql=f"{SQL} DESC")
    assert sampled() != sampled(seed="another")
    assert (
        operator(seed="{{ run_id }}").seed
        == MoEngageArrivalCheckOperator(task_id="d", conn_id="w", sql=SQL, mapping=MAPPING).seed
    )


def test_each_user_is_as_likely_to_be_drawn_as_others(warehouse: Warehouse) -> None:
    warehouse.fill(100)

    drawn = [user for seed in range(60) for user in operator(sample=10, seed=str(seed))._draw()[0].users]

    counts = [drawn.count(f"user-{number}") for number in range(100)]
    assert sum(counts) == 600
    assert max(counts) <= 18  # 6 are expected


def test_all_rows_of_a_user_count(place: MoEngage, warehouse: Warehouse) -> None:
    rows = [("ann", "gold", "Graz"), ("bea", "gold", None), ("ann", "silver", None), ("bea", None, "Wien")]
    warehouse.write("INSERT INTO customers VALUES (?, ?, ?, NULL)", *rows)
    sync(sql="SELECT user_id, tier, city FROM customers ORDER BY rowid", concurrency=1)

    checked = check(sql="SELECT user_id, tier, city FROM customers ORDER BY rowid")

    assert (checked["rows"], checked["sampled"], checked["arrived"]) == (4, 2, 2)


def test_users_who_are_ingested_later_are_read_again(place: MoEngage, warehouse: Warehouse) -> None:
    place.emulator.workspace.configure(ingestion_seconds=150)
    warehouse.fill(25)
    sync()
    began = place.clock.monotonic()

    assert check(timeout=timedelta(minutes=10), poke_interval=60)["arrived"] == 25
    assert 180 <= place.clock.monotonic() - began < 200
    assert read_users(place) == 4 * 2


def test_users_who_do_not_arrive_in_time_fail_the_task(place: MoEngage, warehouse: Warehouse) -> None:
    place.emulator.workspace.configure(ingestion_seconds=150)
    warehouse.fill(5)
    sync()

    with pytest.raises(MoEngageArrivalError, match="5 are missing"):
        check(timeout=100, poke_interval=60)
    assert read_users(place) == 3


def test_only_late_users_are_read_again(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.fill(45)
    sync(sql="SELECT user_id, tier, city FROM customers WHERE user_id <> 'user-3'")

    with pytest.raises(MoEngageArrivalError):
        check(timeout=60, poke_interval=60)

    assert read_users(place) == 3 + 1


def test_users_who_are_not_created_may_be_missing(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.fill(3)
    place.deliver([customer("user-1")])
    mapping = CustomerMapping(attributes=["tier"], update_existing_only=True)
    sync(mapping=mapping)

    checked = check(mapping=mapping)

    assert (checked["arrived"], checked["missing"], checked["allowed_missing"]) == (1, 0, 2)


def test_if_nobody_need_exist_and_nobody_does_nothing_is_proved(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.fill(3)
    mapping = CustomerMapping(attributes=["tier"], update_existing_only=True)

    with pytest.raises(MoEngageArrivalError, match="none of the 3 users, so nothing is proved") as caught:
        check(mapping=mapping, max_failed=3)

    assert caught.value.report["allowed_missing"] == 3
    assert check(mapping=mapping, max_failed=1.0)["arrived"] == 0


def test_users_who_need_not_exist_are_no_part_of_the_share(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.fill(20)
    place.deliver([customer("user-1", tier="another")])
    mapping = CustomerMapping(attributes=["tier"], update_existing_only=True)

    with pytest.raises(MoEngageArrivalError, match="1 differ"):
        check(mapping=mapping, max_failed=0.1, timeout=60, poke_interval=60)


def test_attributes_that_were_unset_are_checked(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.write("INSERT INTO customers VALUES ('ann', NULL, 'Graz', NULL)")
    place.deliver([customer("ann", tier="gold", city="Graz")])
    mapping = CustomerMapping(attributes=["tier", "city"], unset_nulls=True)

    with pytest.raises(MoEngageArrivalError, match=r"1 differ in tier \(1\)"):
        check(mapping=mapping, timeout=0)
    sync(mapping=mapping)
    assert check(mapping=mapping)["arrived"] == 1


def test_an_attribute_can_be_left_out(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.fill(2)
    sync()
    place.deliver([customer("user-1", tier="silver")])

    checked = check(ignore_attributes=["tier"])

    assert (checked["arrived"], checked["not_compared"]) == (2, ["tier"])


def test_a_check_that_compares_no_attribute_says_so(
    place: MoEngage, warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse.fill(1)
    sync()
    check()
    assert "None of the attributes can be compared" not in capsys.readouterr().out

    assert check(ignore_attributes=["tier", "city"])["not_compared"] == ["city", "tier"]
    assert "None of the attributes can be compared" in capsys.readouterr().out


def test_another_user_in_the_response_is_not_the_one_who_was_sent(
    place: MoEngage, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.fill(1)
    other = {"uid": "user-7", "tier": "gold", "city": "City 0"}
    with loopback(answer(200, json.dumps({"data": {"users": [{"user_attributes": other}]}}).encode())) as server:
        monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(place, host=server.url))
        with pytest.raises(MoEngageArrivalError, match=r"1 differ in uid \(1\)"):
            check(timeout=0)


def test_rows_that_a_sync_rejects_are_counted_and_not_read(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.write("INSERT INTO customers VALUES (?, 'gold', 'Graz', NULL)", ("ann",), ("null",), (None,))
    place.deliver([customer("ann", tier="gold", city="Graz")])

    checked = check()

    assert (checked["rows"], checked["rejected"], checked["sampled"]) == (3, 2, 1)


def test_a_sync_that_rejects_all_rows_cannot_be_checked(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.write("INSERT INTO customers VALUES ('null', 'gold', 'Graz', NULL)")

    with pytest.raises(MoEngageArrivalError, match="None of the 1 rows can be checked"):
        check()


def test_a_strict_sync_sends_fewer_users(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.write("INSERT INTO customers VALUES (?, ?, 'Graz', NULL)", ("ann", "x" * 600), ("bea", "gold"))
    sync()

    assert check()["arrived"] == 2
    assert check(validation="strict")["rejected"] == 1


def test_a_query_without_rows_skips_the_task(place: MoEngage, warehouse: Warehouse) -> None:
    with pytest.raises(AirflowSkipException, match="there is nothing to check"):
        check()


def test_nothing_personal_is_shown(
    place: MoEngage, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    warehouse.write("INSERT INTO customers VALUES ('jane@example.com', 'a-secret-tier', 'Graz', NULL)")
    place.deliver([customer("jane@example.com", tier="another-secret", city="Graz")])

    with pytest.raises(MoEngageArrivalError) as caught:
        check(timeout=0)
    shown = f"{caplog.text} {caught.value!r} {vars(caught.value)} {pickle.dumps(caught.value)!r}"

    assert "1 differ" in shown
    assert not any(secret in shown for secret in ("jane", "secret", "Graz"))


def test_get_user_has_to_be_enabled(place: MoEngage, warehouse: Warehouse) -> None:
    place.emulator.workspace.configure(export_enabled=False)
    warehouse.fill(1)

    with pytest.raises(MoEngageAuthError, match="Get User may not be enabled"):
        check()


def test_a_failed_request_is_sent_again(place: MoEngage, warehouse: Warehouse) -> None:
    warehouse.fill(25)
    sync()
    place.emulator.workspace.add_fault(Fault("status", status=503, times=2, path="/v1/customers/export"))

    assert check()["arrived"] == 25


def test_a_killed_task_stops_waiting(
    place: MoEngage, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.fill(2)
    task = operator()
    wait = place.clock.wait

    def killed_meanwhile(*given: Any) -> bool:
        task.on_kill()
        return wait(*given)

    monkeypatch.setattr(place.clock, "wait", killed_meanwhile)
    with pytest.raises(MoEngageError, match="killed before the check had ended"):
        task.execute(Task().context)
    assert read_users(place) == 1


def test_memory_does_not_grow_with_the_rows(warehouse: Warehouse) -> None:
    peaks = []
    for count in (5_000, 35_000):
        warehouse.fill(count)
        tracemalloc.start()
        drawn, _ = operator(sample=50, fetch_size=500)._draw()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert drawn.rows == 40_000
    assert peaks[1] < peaks[0] * 1.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"sql": " "}, "sql ' '"),
        ({"conn_id": ""}, "conn_id ''"),
        ({"mapping": EventMapping(action="a", time="t")}, "mapping: expected a CustomerMapping"),
        ({"mapping": [MAPPING]}, "mapping: expected a CustomerMapping"),
        ({"mapping": CustomerMapping(customer_id=None, user_identifiers={"u_em": "e"})}, "mapping: expected"),
        ({"sample": 0}, "sample 0: expected a whole number from 1 to 20000"),
        ({"sample": 20_001}, "sample 20001"),
        ({"seed": ""}, "seed ''"),
        ({"max_failed": 1.5}, r"max_failed 1.5: expected a count of users \(0, 1, 2, ...\) or a share of them"),
        ({"max_failed": -1}, "max_failed -1"),
        ({"max_failed": True}, "max_failed True"),
        ({"max_failed": "some"}, "max_failed 'some'"),
        ({"ignore_attributes": "tier"}, "ignore_attributes: expected a list"),
        ({"ignore_attributes": ["tier", ""]}, "ignore_attributes: expected a list"),
        ({"ignore_attributes": 3}, "ignore_attributes: expected a list"),
        ({"timeout": -1}, "timeout -1"),
        ({"poke_interval": 0.5}, "poke_interval 0.5: expected at least a second"),
        ({"validation": "off"}, "validation 'off'"),
        ({"fetch_size": 0}, "fetch_size 0"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        operator(**arguments)


def test_a_template_is_checked_when_it_is_rendered(place: MoEngage, warehouse: Warehouse) -> None:
    task = operator(sample="{{ params.sample }}", max_failed="{{ params.share }}")
    task.sample, task.max_failed = "none", "0"

    with pytest.raises(ValueError, match="sample 'none'"):
        task.execute(Task().context)


@pytest.mark.skipif(not lineage.is_installed(), reason="the OpenLineage provider is not installed")
def test_open_lineage_has_the_query(warehouse: Warehouse) -> None:
    found = operator().get_openlineage_facets_on_complete(None)

    assert found is not None
    assert found.job_facets["sql"].query == SQL


def test_without_open_lineage_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "is_installed", lambda: False)

    assert operator().get_openlineage_facets_on_complete(None) is None
