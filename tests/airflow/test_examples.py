"""The example Dags, unchanged, on the installed Airflow; the elements are counted in an emulated workspace."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import requests
from jinja2 import Template

from airflow_provider_moengage.bulk.report import DeliveryReport
from airflow_provider_moengage.emulator import BusinessEvent, Campaign, Emulator, FileImport, ImportFile
from demo import recent_warehouse
from demo.local_airflow import CAMPAIGN_API_KEY, DATA_API_KEY, WORKSPACE
from tests.airflow.home import Airflow

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
EXAMPLES = Path(__file__).parent.parent.parent / "example_dags"


@dataclass
class Place:
    """An Airflow with the example Dags, their warehouse, and the workspace that they use."""

    airflow: Airflow
    command: Callable[..., str]
    emulator: Emulator
    warehouse: Path

    def run(self, dag_id: str, *arguments: str) -> str:
        """Run an example, check that every task succeeded, and return the log."""
        log = self.command("dags", "test", dag_id, *arguments)
        states = self.airflow.states(dag_id)
        assert states, log
        assert {state for each in states.values() for state in each} == {"success"}, log
        assert "@example.com" not in log
        assert DATA_API_KEY not in log
        return log

    def count(self, table: str) -> int:
        [(count,)] = self.select(f"SELECT count(*) FROM {table}")
        return int(count)

    def select(self, sql: str, *parameters: str) -> list[Any]:
        with closing(sqlite3.connect(self.warehouse)) as database:
            return database.execute(sql, parameters).fetchall()

    def execute(self, sql: str) -> None:
        with closing(sqlite3.connect(self.warehouse)) as database, database:
            database.execute(sql)

    def arrived(self, action: str, attribute: str) -> Counter[Any]:
        """Count the arrivals of each event, identified by an attribute."""
        elements = [received.element for received in self.emulator.workspace.elements]
        actions = [each for element in elements for each in element.get("actions", ())]
        return Counter(each["attributes"][attribute] for each in actions if each["action"] == action)

    @property
    def customers(self) -> int:
        return sum(received.element["type"] == "customer" for received in self.emulator.workspace.elements)


@pytest.fixture(scope="module")
def whole_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("airflow")
    warehouse = home / "warehouse.db"
    recent_warehouse.build(warehouse, datetime.now(UTC))
    with Emulator() as emulator:
        moengage = {
            "conn_type": "moengage",
            "login": WORKSPACE,
            "password": DATA_API_KEY,
            "host": emulator.url,
            "extra": {"campaign_api_key": CAMPAIGN_API_KEY},
        }
        airflow = Airflow.new(
            home,
            EXAMPLES,
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            AIRFLOW_CONN_MOENGAGE_DEFAULT=json.dumps(moengage),
            AIRFLOW_CONN_WAREHOUSE=json.dumps({"conn_type": "sqlite", "host": str(warehouse)}),
            AIRFLOW_VAR_MOENGAGE_FOLDER=str(home / "moengage"),
        )
        with airflow.kept_running() as command:
            yield Place(airflow, command, emulator, warehouse)


@pytest.fixture
def place(whole_place: Place) -> Place:
    whole_place.emulator.workspace.reset()
    return whole_place


def sync_the_warehouse(place: Place) -> None:
    place.run("warehouse_sync")

    assert place.customers == place.count("households")
    assert place.arrived("Purchase", "basket_id") == Counter(
        basket for (basket,) in place.select("SELECT basket_id FROM purchases")
    )


def sync_what_changed(place: Place) -> None:
    place.run("changed_customers")
    assert place.customers == place.count("customers")
    place.emulator.workspace.reset()
    place.execute("UPDATE customers SET tier = 'platinum' WHERE user_id = 'household-7'")
    place.execute("DELETE FROM customers WHERE user_id = 'household-8'")
    place.execute("INSERT INTO customers VALUES ('household-99', 'household-99@example.com', 'gold')")

    log = place.run("changed_customers")

    elements = [received.element for received in place.emulator.workspace.elements]
    sent = {element["customer_id"]: element["attributes"]["tier"] for element in elements}
    assert sent == {"household-7": "platinum", "household-99": "gold"}
    assert len(elements) == 2
    assert place.emulator.workspace.deleted_users == []
    assert "household-7" not in log


def fill_a_segment(place: Place) -> None:
    def gold() -> set[str]:
        return {user for (user,) in place.select("SELECT user_id FROM customers WHERE tier = 'gold'")}

    place.run("segment_members")
    assert place.emulator.workspace.segments == {"gold-tier": gold()}
    place.execute(
        "UPDATE customers SET tier = 'silver' WHERE user_id = (SELECT min(user_id) FROM customers"
        " WHERE tier = 'gold')"
    )

    place.run("segment_members")

    assert place.emulator.workspace.segments == {"gold-tier": gold()}


def ask_before_a_sync(place: Place) -> None:
    pytest.importorskip("airflow.providers.standard.operators.hitl", reason="Airflow 3.1 and later")
    # A person cannot answer here: the task counts as approved. Its texts are tested below.
    log = place.run("approved_customers", "--mark-success-pattern", "approve")

    assert "would be sent" in log
    assert place.customers == place.count("customers")


def sync_incrementally(place: Place) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = today - timedelta(days=1)
    query = "SELECT basket_id FROM purchases WHERE purchased_at >= ? AND purchased_at < ?"
    baskets = place.select(query, f"{yesterday:%Y-%m-%d}", f"{today:%Y-%m-%d}")

    place.run("incremental_sync", f"{today:%Y-%m-%d}")  # when the run for yesterday is due

    assert place.arrived("Purchase", "basket_id") == Counter(basket for (basket,) in baskets)
    assert baskets


def sync_by_shards(place: Place) -> None:
    place.run("sharded_sync")

    orders = place.arrived("Order", "order_id")
    assert orders == Counter(order for (order,) in place.select("SELECT order_id FROM orders"))
    assert len(place.airflow.states("sharded_sync")["orders"]) == 8


def start_campaigns(place: Place) -> None:
    workspace = place.emulator.workspace
    workspace.add_business_event(
        BusinessEvent("Tiers updated", attributes={"customers": "number"}, campaigns=("tiers",))
    )

    place.run("business_event_after_sync")

    [firing] = workspace.firings
    assert firing.event_attributes == {"customers": place.count("customers")}


def wait_for_a_file_import(place: Place) -> None:
    file = ImportFile("users_{date}.csv", total_rows=2_400, steps=((0, "QUEUED"), (0.2, "SUCCESSFUL")))
    place.emulator.workspace.add_file_import(FileImport("nightly-users", "Nightly users", (file,)))

    log = place.run("file_import_with_wait")

    assert "'total_rows': 2400" in log
    assert len(place.emulator.workspace.file_triggers) == 1


def sync_through_files(place: Place) -> None:
    folder = place.airflow.home / "watched"
    import_ = FileImport(
        "file-sync", "File sync", folder=str(folder), id_column="user_id", steps_seconds=(0, 0.1, 0.2)
    )
    place.emulator.workspace.add_file_import(import_)

    place.run("file_sync", "-c", json.dumps({"import_id": "file-sync", "folder": f"file://{folder}"}))

    assert len(place.emulator.workspace.file_triggers) == 1
    [file] = folder.iterdir()
    lines = file.read_text().splitlines()
    assert (lines[0], len(lines)) == ("user_id,u_em,tier", 1 + place.count("customers"))


def load_campaign_statistics(place: Place) -> None:
    place.emulator.workspace.add_campaign(Campaign("Weekly offer", channel="EMAIL"))
    days = ["2026-03-02", "2026-03-03"]

    for day in (*days, days[0]):  # the run for a day is due when the next one begins
        place.run("campaign_statistics", day)

    rows = place.select(
        "SELECT day, campaign_name, channel, count(*) FROM moengage_campaign_stats GROUP BY 1, 2, 3"
    )
    assert rows == [(day, "Weekly offer", "EMAIL", 2) for day in ("2026-03-01", "2026-03-02")]


def check_arrival(place: Place) -> None:
    log = place.run("check_arrival")

    assert place.customers == place.count("customers")
    assert " users have arrived as they were sent; 0 are missing, and 0 differ" in log


def alert_below_and_above_the_limit(place: Place) -> None:
    assert "Alert:" not in place.run("sync_alerts")
    refused = [f"('{user}', 'x@example.com', 'gold')" for user in ("null", "unknown", "guest", "n/a")]
    try:
        many = ", ".join(f"('customer-{number}', 'c@example.com', 'gold')" for number in range(200))
        place.execute(f"INSERT INTO customers VALUES {refused[0]}, {many}")
        log = place.run("sync_alerts")
        assert "Alert: sync_alerts.customers (manual__" in log
        assert "1 rejected (1 customer_id_refused), see the log" in log

        place.execute(f"INSERT INTO customers VALUES {', '.join(refused[1:])}")
        log = place.command("dags", "test", "sync_alerts")
        assert sorted(place.airflow.states("sync_alerts")["customers"]) == ["failed", "success", "success"]
        # Before Airflow 3.3, `dags test` gives a callback no exception. A worker does.
        gives_error = AIRFLOW < (3, 0) or AIRFLOW >= (3, 3)
        counts = "4 rejected (4 customer_id_refused), see the log" if gives_error else "failed"
        assert f"): {counts}" in log
    finally:
        place.execute("DELETE FROM customers WHERE user_id NOT LIKE 'household-%'")


def erase_who_was_approved(place: Place) -> None:
    place.execute("DELETE FROM erasure_requests")
    place.execute("INSERT INTO erasure_requests (user_id) VALUES ('ann'), ('bea')")
    users = ("ann", "bea", "carl")
    elements: list[Any] = [{"type": "customer", "customer_id": user, "attributes": {}} for user in users]
    sent = requests.post(
        f"{place.emulator.url}/v1/transition/{WORKSPACE}",
        json={"type": "transition", "elements": elements},
        auth=(WORKSPACE, DATA_API_KEY),
        timeout=10,
    )
    assert sent.status_code == 200

    place.command("dags", "test", "erase_customers")
    assert place.emulator.workspace.deleted_users == []

    approved = json.dumps({"approved_users": 2})
    # `prove` would wait for a day
    log = place.command("dags", "test", "erase_customers", "-c", approved, "--mark-success-pattern", "^prove$")
    assert DATA_API_KEY not in log
    assert sorted(place.airflow.states("erase_customers")["erase"]) == ["skipped", "success"]
    assert sorted(place.emulator.workspace.deleted_users) == ["ann", "bea"]
    assert place.select("SELECT event, count(*) FROM moengage_erasures GROUP BY 1") == [
        ("accepted", 2),
        ("asked", 2),
    ]


@pytest.mark.parametrize(
    "example",
    [
        erase_who_was_approved,
        sync_the_warehouse,
        sync_what_changed,
        fill_a_segment,
        ask_before_a_sync,
        sync_incrementally,
        sync_by_shards,
        start_campaigns,
        wait_for_a_file_import,
        sync_through_files,
        load_campaign_statistics,
        check_arrival,
        alert_below_and_above_the_limit,
    ],
)
def test_an_example_works(place: Place, example: Callable[[Place], None]) -> None:
    example(place)


@pytest.mark.skipif(find_spec("airflow.sdk") is None, reason="the example needs Airflow 3")
def test_the_example_on_an_asset_can_be_parsed(whole_place: Place) -> None:
    """It runs only after an asset event; ``make e2e`` tests that."""
    whole_place.airflow.run(str(EXAMPLES / "after_file_import.py"))


def test_a_person_reads_the_counts_of_the_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("airflow.providers.standard.operators.hitl", reason="Airflow 3.1 and later")
    spec = spec_from_file_location("approved_customers", EXAMPLES / "approved_customers.py")
    assert spec is not None
    assert spec.loader is not None
    example = module_from_spec(spec)
    spec.loader.exec_module(example)
    counts = DeliveryReport(
        dry_run=True, accepted=11, rejected=1, new=7, changed=4, unchanged=81, removed=3
    ).to_dict()

    class Instance:
        def xcom_pull(self, task_ids: str) -> dict[str, Any]:
            return {"look": counts}[task_ids]

    shown = Template(example.QUESTION).render(ti=Instance())

    assert "| new | 7 |\n| changed | 4 |\n| unchanged, not sent | 81 |\n| rejected, not sent | 1 |" in shown
    assert "| no longer in the query, stay in MoEngage | 3 |" in shown


def test_each_example_is_tested_here_or_by_an_event() -> None:
    here = Path(__file__).read_text()

    assert all(f'"{file.stem}"' in here or f"{file.stem}.py" in here for file in EXAMPLES.glob("*.py"))
