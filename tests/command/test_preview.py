"""`moengage preview`: real Dag files, a real database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from tests.command.conftest import Run
from tests.delivering import MoEngage, connection_to

DAG = """
    from datetime import datetime, timezone

    from airflow.providers.common.compat.sdk import DAG

    from airflow_provider_moengage.bulk.mapping import CustomerMapping, EventMapping
    from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
    from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

    print("printed by the Dag file")

    def elements(params):
        for number in range(5):
            yield {"type": "customer", "customer_id": f"u{number}", "attributes": {"tier": params["tier"]}}

    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    with DAG("shop", start_date=start, schedule=None, params={"tier": "gold"}):
        SqlToMoEngageOperator(
            task_id="customers",
            conn_id="warehouse",
            sql="SELECT id, email, '{{ ds }}' AS day, '{{ params.tier }}' AS tier FROM customers",
            mapping=[
                CustomerMapping(customer_id="id", attributes={"u_em": "email", "day": "day", "tier": "tier"}),
                EventMapping(action="Seen", customer_id="id", time="day", attributes={"tier": "tier"}),
            ],
            key_columns=["id"],
        )
        BulkImportOperator(task_id="generated", elements=elements)
        BulkImportOperator(task_id="of_a_task", elements="{{ ti.xcom_pull('generated') }}")
        BulkImportOperator.partial(task_id="mapped").expand(path=["a.ndjson", "b.ndjson"])
"""


@pytest.fixture
def dag_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    warehouse = tmp_path / "warehouse.db"
    with closing(sqlite3.connect(warehouse)) as database, database:
        database.execute("CREATE TABLE customers (id TEXT, email TEXT)")
        rows = [("", "nobody@example.com"), *((f"u{number:02}", f"u{number}@example.com") for number in range(30))]
        database.executemany("INSERT INTO customers VALUES (?, ?)", rows)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f'{{"conn_type": "sqlite", "host": "{warehouse}"}}')
    file = tmp_path / "shop.py"
    file.write_text(dedent(DAG))
    return str(file)


def test_it_shows_the_first_rows_as_the_task_would_send_them(dag_file: str, moengage_command: Run) -> None:
    shown = moengage_command("preview", dag_file, "customers", "--rows", "2", "--since", "2026-03-01", "--json")

    assert shown.status == 1
    assert "printed by the Dag file" in shown.err
    answer = shown.json
    assert (answer["would_be_sent"], answer["rejected"]) == (2, 2)
    assert answer["data_interval_start"] == "2026-03-01T00:00:00+00:00"
    assert [one["is_rejected"] for one in answer["elements"]] == [True, True, False, False]
    assert [finding["code"] for finding in answer["elements"][0]["findings"]] == ["customer_id_refused"]
    assert answer["elements"][2]["element"] == {
        "type": "customer",
        "customer_id": "u00",
        "attributes": {"u_em": "u0@example.com", "day": "2026-03-01", "tier": "gold"},
    }


def test_it_needs_no_connection_to_moengage_but_says_what_depends_on_it(
    dag_file: str, moengage_command: Run, moengage: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = moengage_command("preview", dag_file, "generated", "--params", '{"tier": "silver"}')
    monkeypatch.setenv("AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(moengage))
    given = moengage_command("preview", dag_file, "generated", "--rows", "3")

    assert without.status == given.status == 0
    assert "Connection 'moengage_default' could not be read" in without.out
    assert '"tier":"silver"' in without.out
    assert "could not be read" not in given.out
    assert "3 elements: 3 would be sent, 0 rejected" in given.out
    assert moengage.emulator.workspace.requests == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope"], "TASK_ID 'nope': no such task; the file has shop: customers, generated, mapped, of_a_task"),
        (["customers", "--dag-id", "other"], "TASK_ID 'customers': no such task; the file has no such Dag"),
        (["mapped"], "TASK_ID 'mapped': a mapped task has no arguments before it runs"),
        (["of_a_task"], "A template reads another task's result, which only a run has"),
        (["customers", "--params", "[1]"], "--params: expected a JSON object"),
        (
            ["customers", "--since", "2026-03-02", "--until", "2026-03-02"],
            "--since: expected a time before --until",
        ),
    ],
)
def test_it_says_what_is_wrong(dag_file: str, moengage_command: Run, arguments: list[str], says: str) -> None:
    shown = moengage_command("preview", dag_file, *arguments)

    assert shown.status == 2
    assert f"moengage: {says}\n" in shown.err
    assert shown.out == ""


def test_a_dag_file_that_cannot_be_read_is_named(tmp_path: Path, moengage_command: Run) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import airflow\nimport no_such_module\n")

    for file, says in ((tmp_path / "none.py", "no such file"), (broken, "no_such_module")):
        shown = moengage_command("preview", str(file), "task")
        assert shown.status == 2
        assert f"moengage: DAG_FILE {str(file)!r}: " in shown.err
        assert says in shown.err


def test_a_database_that_fails_is_named_without_its_text(
    dag_file: str, moengage_command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_WAREHOUSE")

    shown = moengage_command("preview", dag_file, "customers")

    assert shown.status == 2
    assert shown.err.splitlines()[-1].startswith("moengage: ")
    assert "warehouse" in shown.err.splitlines()[-1]
