"""SqlToMoEngageOperator on a SQLite warehouse: rows become elements."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage.bulk.mapping import Column, CustomerMapping, DeviceMapping, EventMapping
from airflow_provider_moengage.exceptions import MoEngageRejectsError
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "warehouse.db"
    connection = {"conn_type": "sqlite", "host": str(path)}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    with sqlite3.connect(path) as database:
        database.executescript(
            """
            CREATE TABLE users (id INTEGER, email TEXT, tier TEXT, score REAL);
            INSERT INTO users VALUES (11, 'ann@example.com', 'gold', 1.5), (12, 'bob@example.com', NULL, NULL);
            CREATE TABLE orders (user_id INTEGER, name TEXT, at TEXT, total REAL, device TEXT);
            INSERT INTO orders VALUES
                (11, 'Purchase', '2026-01-02 03:04:05', 9.5, 'phone'),
                (12, 'Refund', '2026-01-03T00:00:00+02:00', 2, NULL);
            """
        )
    yield database
    database.close()


def context(**more: Any) -> Any:
    ti = SimpleNamespace(dag_id="dag", run_id="run", task_id="sync", map_index=-1)
    return {"ti": ti, "ds": "2026-01-01", "params": {}, **more}


def sync(sql: str, mapping: Any, **options: Any) -> dict[str, Any]:
    operator = SqlToMoEngageOperator(task_id="sync", sql=sql, conn_id="warehouse", mapping=mapping, **options)
    operator.render_template_fields(context())
    return operator.execute(context())


def test_rows_become_customers(connected: MoEngage, warehouse: sqlite3.Connection) -> None:
    report = sync(
        "SELECT id, email, tier FROM users",
        CustomerMapping(customer_id="id", attributes={"u_em": "email", "tier": "tier"}),
    )

    assert report["customers"] == 2
    assert connected.arrived == [
        {"type": "customer", "customer_id": "11", "attributes": {"u_em": "ann@example.com", "tier": "gold"}},
        {"type": "customer", "customer_id": "12", "attributes": {"u_em": "bob@example.com"}},
    ]


def test_a_null_unsets_the_attribute_with_unset_nulls(connected: MoEngage, warehouse: sqlite3.Connection) -> None:
    sync("SELECT id, tier FROM users WHERE id = 12", CustomerMapping(customer_id="id", unset_nulls=True))

    [element] = connected.arrived
    assert element["unset_attributes"] == [{"type": "equals", "attr": "tier", "case_sensitive": True}]


def test_a_later_row_of_a_user_sets_what_a_null_has_unset(
    connected: MoEngage, warehouse: sqlite3.Connection
) -> None:
    rows = "SELECT 12 AS id, NULL AS tier UNION ALL SELECT 12, 'gold'"
    sync(rows, CustomerMapping(customer_id="id", attributes=["tier"], unset_nulls=True))

    first, second = connected.emulator.workspace.elements
    assert second.element["attributes"] == {"tier": "gold"}
    assert (first.request, second.request) == (1, 2)  # in one request, MoEngage would unset it


def test_rows_become_events_at_the_time_they_happened(connected: MoEngage, warehouse: sqlite3.Connection) -> None:
    sync(
        "SELECT * FROM orders",
        EventMapping(action=Column("name"), time="at", device_id="device", platform="web"),
    )

    assert connected.arrived == [
        {
            "type": "event",
            "customer_id": "11",
            "device_id": "phone",
            "actions": [
                {
                    "action": "Purchase",
                    "current_time": "2026-01-02T03:04:05Z",
                    "platform": "web",
                    "attributes": {"total": 9.5},
                }
            ],
        },
        {
            "type": "event",
            "customer_id": "12",
            "actions": [
                {
                    "action": "Refund",
                    "current_time": "2026-01-02T22:00:00Z",
                    "platform": "web",
                    "attributes": {"total": 2.0},
                }
            ],
        },
    ]


def test_one_row_may_become_several_elements(connected: MoEngage, warehouse: sqlite3.Connection) -> None:
    report = sync(
        "SELECT user_id, at, total, 'token' AS push_id, 'iOS' AS platform, 'd-1' AS device_id FROM orders",
        [
            CustomerMapping(attributes=["total"]),
            EventMapping(action="Purchase", time="at", attributes=["total"]),
            DeviceMapping(attributes=["push_id", "platform"]),
        ],
    )

    assert (report["customers"], report["events"], report["devices"]) == (2, 2, 2)


def test_parameters_and_templates_reach_the_query(connected: MoEngage, warehouse: sqlite3.Connection) -> None:
    sync(
        "SELECT id FROM users WHERE id > ? AND '{{ ds }}' = '2026-01-01';",
        CustomerMapping(customer_id="id"),
        parameters=[11],
    )

    assert [element["customer_id"] for element in connected.arrived] == ["12"]


def test_a_percent_sign_in_a_query_without_parameters_is_one(
    connected: MoEngage, warehouse: sqlite3.Connection
) -> None:
    sync("SELECT id FROM users WHERE email LIKE 'ann%'", CustomerMapping(customer_id="id"))

    assert [element["customer_id"] for element in connected.arrived] == ["11"]


def test_a_row_that_cannot_be_sent_is_a_reject_at_its_position(
    connected: MoEngage, warehouse: sqlite3.Connection, tmp_path: Path
) -> None:
    warehouse.execute("INSERT INTO orders VALUES (13, 'Purchase', NULL, 1, NULL)")
    warehouse.commit()

    with pytest.raises(MoEngageRejectsError, match="1 event_time_invalid"):
        sync("SELECT * FROM orders", EventMapping(action="Buy", time="at"), rejects_path=f"{tmp_path}/r.ndjson")

    reject = json.loads((tmp_path / "r.ndjson").read_text())
    assert (reject["position"], reject["element"]["customer_id"]) == (2, 13)
    assert len(connected.arrived) == 2


def test_an_empty_result_is_a_success_without_a_request(
    connected: MoEngage, warehouse: sqlite3.Connection
) -> None:
    report = sync("SELECT id FROM users WHERE 1 = 0", CustomerMapping(customer_id="id"))

    assert (report["accepted"], report["requests"]) == (0, 0)


def test_a_dry_run_reads_and_sends_nothing(connected: MoEngage, warehouse: sqlite3.Connection) -> None:
    report = sync("SELECT id FROM users", CustomerMapping(customer_id="id"), dry_run=True)

    assert (report["accepted"], connected.emulator.workspace.counts.requests) == (2, 0)


WRONG = {
    "a column that is not there": (
        "SELECT id FROM users",
        "CustomerMapping: the query has no column 'user_id'; it has id",
    ),
    "the same column twice": ("SELECT id, id AS user_id, email AS id FROM users", "several columns named id"),
    "no SELECT": (
        "UPDATE users SET tier = 'x'",
        "sql: expected one SELECT, found a statement that begins with UPDATE",
    ),
}


@pytest.mark.parametrize(("sql", "message"), WRONG.values(), ids=WRONG)
def test_a_query_without_the_mapped_columns_is_an_error_before_anything_is_sent(
    connected: MoEngage, warehouse: sqlite3.Connection, sql: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sync(sql, CustomerMapping())

    assert connected.emulator.workspace.counts.requests == 0
    assert warehouse.execute("SELECT count(*) FROM users WHERE tier = 'x'").fetchone() == (0,)


def test_a_connection_that_is_not_to_a_database_is_an_error(
    connected: MoEngage, warehouse: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = SqlToMoEngageOperator(
        task_id="t", sql="SELECT 1", conn_id="moengage_default", mapping=CustomerMapping()
    )

    with pytest.raises(
        ValueError,
        match="conn_id 'moengage_default': expected a database connection, but its hook is MoEngageHook",
    ):
        operator.execute(context())


def test_logs_of_a_sync_contain_no_values(
    connected: MoEngage, warehouse: sqlite3.Connection, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    with caplog.at_level("DEBUG"):
        sync("SELECT id, email, score FROM users", CustomerMapping(customer_id="id"))

    captured = capsys.readouterr()
    said = caplog.text + captured.out + captured.err
    assert "elements accepted by MoEngage" in said
    assert "example.com" not in said
