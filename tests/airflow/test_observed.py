"""What a real Airflow reports about our tasks: lineage, metrics, asset events and links."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.emulator import BusinessEvent, Emulator, FileImport, ImportFile, Settings
from devtools.postgres import postgres_server
from tests.statsd import StatsD, statsd_server

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
IS_AIRFLOW_2 = find_spec("airflow.sdk") is None

LINKS = """
import json
from airflow.models import TaskInstance
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.session import create_session
dag = SerializedDagModel.get_dag("observed")
with create_session() as session:
    tasks = session.query(TaskInstance).filter(TaskInstance.dag_id == "observed")
    found = {ti.task_id: dag.get_task(ti.task_id).get_extra_links(ti, "MoEngage dashboard") for ti in tasks}
print("LINKS", json.dumps(found))
"""

PREPARE = """
import psycopg2
connection = psycopg2.connect(host="127.0.0.1", port={port}, user="postgres", dbname="postgres")
connection.autocommit = True
connection.cursor().execute('''
    CREATE SCHEMA shop;
    CREATE TABLE shop.customers (user_id text, tier text);
    INSERT INTO shop.customers VALUES ('user-1', 'gold'), ('user-2', 'silver');
    CREATE TABLE orders (user_id text, at timestamptz, total numeric, secret text);
    INSERT INTO orders VALUES ('user-1', '2026-01-01', 1, 'parameter-value'),
        ('user-2', '2026-01-02', 2, 'parameter-value'), ('user-2', '2026-01-03', 3, 'another');
''')
"""


@dataclass
class Observed:
    """The results of the run."""

    home: Path
    log: str
    emulator: Emulator
    statsd: StatsD
    environment: dict[str, str]

    @property
    def lineage(self) -> dict[str, dict[str, Any]]:
        """The last event of each task."""
        lines = [json.loads(line) for line in (self.home / "lineage.json").read_text().splitlines()]
        return {line["job"]["name"]: line for line in lines if line["eventType"] in ("COMPLETE", "FAIL")}

    def query(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            return database.execute(sql).fetchall()


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    home = tmp_path_factory.mktemp("airflow")
    with postgres_server() as port, statsd_server() as statsd, Emulator(Settings()) as emulator:
        subprocess.run([sys.executable, "-c", PREPARE.format(port=port)], check=True)
        file = ImportFile("users_{run}.csv", steps=((0, "SUCCESSFUL"),))
        emulator.workspace.add_file_import(FileImport("users", "Users", (file,)))
        emulator.workspace.add_business_event(BusinessEvent("New movie", attributes=None, campaigns=("c",)))
        moengage: dict[str, Any] = {"conn_type": "moengage", "login": "EMULATOR", "password": "emulator-data-key"}
        moengage |= {"host": emulator.url, "extra": {"campaign_api_key": "emulator-campaign-key"}}
        postgres = {"conn_type": "postgres", "host": "127.0.0.1", "port": port, "login": "postgres"}
        environment = {
            **os.environ,
            **statsd.settings,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
            "AIRFLOW_CONN_MOENGAGE_DEFAULT": json.dumps(moengage),
            "AIRFLOW_CONN_POSTGRES": json.dumps({**postgres, "schema": "postgres"}),
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                {"type": "file", "log_file_path": str(home / "lineage.json"), "append": True}
            ),
            "AIRFLOW__OPENLINEAGE__NAMESPACE": "tests",
            "MOENGAGE_TEST_FOLDER": str(home),
            "PYTHONPATH": f"{HERE / 'dags'}{os.pathsep}{PROJECT}",
        }
        log = ""
        for command in (["db", "migrate"], ["dags", "reserialize"], ["dags", "test", "observed"]):
            done = subprocess.run(
                [sys.executable, "-m", "airflow", *command],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            log = done.stdout + done.stderr
        yield Observed(home, log, emulator, statsd, environment)


def outputs(event: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        (each["namespace"], each["name"], each.get("outputFacets", {}).get("outputStatistics", {}).get("rowCount"))
        for each in event["outputs"]
    ]


def test_every_task_ends_as_expected(observed: Observed) -> None:
    states = dict(observed.query("SELECT task_id, state FROM task_instance WHERE dag_id = 'observed'"))

    assert {name for name, state in states.items() if state != "success"} == {"rejected"}, observed.log
    assert "MoEngage dashboard" not in observed.log


def test_lineage_of_a_sync_connects_tables_and_workspace(observed: Observed) -> None:
    event = observed.lineage["observed.sync"]

    assert event["eventType"] == "COMPLETE"
    names = {each["name"] for each in event["inputs"]}
    assert names == {"postgres.public.orders", "postgres.shop.customers"}
    assert outputs(event) == [
        ("moengage://EMULATOR", "events/Order", 2),
        ("moengage://EMULATOR", "customers", 2),
    ]
    assert event["job"]["facets"]["sql"]["query"].startswith("SELECT o.user_id, o.at")


def test_lineage_of_files_and_of_a_failed_task(observed: Observed) -> None:
    from_file, rejected = observed.lineage["observed.from_file"], observed.lineage["observed.rejected"]

    assert [(each["namespace"], each["name"]) for each in from_file["inputs"]] == [
        ("file", str(observed.home / "observed.ndjson"))
    ]
    assert outputs(from_file) == [("moengage://EMULATOR", "customers", 1)]
    assert rejected["eventType"] == "FAIL"
    assert outputs(rejected) == [("moengage://EMULATOR", "customers", 2)]


def test_lineage_contains_no_parameter_no_row_and_no_key(observed: Observed) -> None:
    text = (observed.home / "lineage.json").read_text()

    assert "user-1" not in text
    assert "emulator-data-key" not in text
    event = observed.lineage["observed.sync"]
    event["run"]["facets"].pop("airflow")  # added by the OpenLineage provider, with `parameters` of every operator
    assert "parameter-value" not in json.dumps(event)


def test_asset_events_contain_the_counts(observed: Observed) -> None:
    table, key = ("dataset", "dataset_id") if IS_AIRFLOW_2 else ("asset", "asset_id")
    rows = observed.query(f"SELECT uri, e.extra FROM {table}_event e JOIN {table} a ON a.id = e.{key}")
    extras = {uri: json.loads(extra) for uri, extra in rows}

    of_sync = {"accepted": 4, "rejected": 0, "customers": 2, "events": 2, "devices": 0, "dry_run": False}
    assert of_sync.items() <= extras["moengage_customers"].items()
    assert extras["moengage_files"].items() >= {"files": 1, "rows": 7}.items()
    assert "never" not in extras


def test_statsd_receives_the_metrics_of_each_task(observed: Observed) -> None:
    if not observed.statsd.ours and not IS_AIRFLOW_2:
        pytest.skip("`airflow dags test` of this Airflow sends no metrics; a worker does")
    tags = {"conn_id": "moengage_default", "dag_id": "observed", "task_id": "sync"}

    assert observed.statsd.sum_of("moengage.bulk.accepted", **tags) == 4
    assert observed.statsd.sum_of("moengage.bulk.rejected", task_id="mapped") == 2
    assert observed.statsd.sum_of("moengage.business_event.fired", task_id="event") == 1
    assert observed.statsd.sum_of("moengage.file_import.triggered", task_id="trigger") == 1
    assert observed.statsd.sum_of("moengage.file_import.runs.successful", task_id="wait") == 1


def test_each_task_links_to_the_dashboard(observed: Observed) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINKS], env=observed.environment, capture_output=True, text=True, check=False
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("LINKS ")]
    assert found, done.stderr
    links = json.loads(found[0].removeprefix("LINKS "))

    assert links.pop("files") == "", "the connection does not exist"
    assert set(links) == {"sync", "from_file", "mapped", "rejected", "event", "trigger", "wait"}
    assert set(links.values()) == {observed.emulator.url}
