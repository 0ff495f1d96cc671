"""One Airflow and one emulated workspace for all tests: Airflow takes most of a minute to start."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from airflow_provider_moengage.emulator import Emulator, FileImport, ImportFile, Settings
from devtools.standalone_airflow import Standalone, as_connection, standalone, until
from tests.standalone.dripping import DrippingServers
from tests.statsd import StatsD, statsd_server

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLES = ROOT / "example_dags"
RETRY_DELAY = '"retry_delay": timedelta(minutes=5)'
"""In an example. A test cannot wait so long, so it runs the example with a delay of a second."""
DRIPPING = 10
"""Servers that drip: more than the threads of an event loop's default executor, on few cores."""


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator(Settings()) as emulator:
        # A Dag watches it as soon as it is parsed.
        file = ImportFile("users_{run}.csv", steps=((0, "SUCCESSFUL"),))
        emulator.workspace.add_file_import(FileImport("watched", "Watched", (file,)))
        yield emulator


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with a purchase at noon yesterday and today: midnight may pass before Airflow runs."""
    path = tmp_path_factory.mktemp("warehouse") / "warehouse.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            """
            CREATE TABLE purchases (household_id INTEGER, store_id INTEGER, basket_id INTEGER, product_id INTEGER,
                quantity INTEGER, sales_value REAL, retail_disc REAL, purchased_at TEXT);
            INSERT INTO purchases VALUES
                (7, 1, 0, 1, 1, 1, 0, datetime('now', 'start of day', '-12 hours')),
                (7, 1, 0, 1, 1, 1, 0, datetime('now', 'start of day', '+12 hours'));
            """
        )
    return path


@pytest.fixture(scope="session")
def statsd() -> Iterator[StatsD]:
    with statsd_server() as server:
        yield server


@pytest.fixture(scope="session")
def dripping() -> Iterator[DrippingServers]:
    with DrippingServers(DRIPPING).running() as servers:
        yield servers


@pytest.fixture(scope="session")
def airflow(
    emulator: Emulator,
    dripping: DrippingServers,
    warehouse: Path,
    statsd: StatsD,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Standalone]:
    connection = as_connection(
        login="EMULATOR",
        password="emulator-data-key",
        host=emulator.url,
        extra={"campaign_api_key": "emulator-campaign-key", "timeout": 60},
    )
    dags = tmp_path_factory.mktemp("dags")
    for file in (HERE / "dags").glob("*.py"):
        shutil.copy(file, dags)
    for name in ("file_import_with_wait.py", "incremental_sync.py"):
        example = (EXAMPLES / name).read_text()
        assert name != "file_import_with_wait.py" or RETRY_DELAY in example
        (dags / name).write_text(example.replace(RETRY_DELAY, '"retry_delay": timedelta(seconds=1)'))
    environment = {
        **statsd.settings,
        "AIRFLOW_CONN_MOENGAGE_DEFAULT": connection,
        **{
            f"AIRFLOW_CONN_DRIPPING_{number}": as_connection(
                login="DRIPPING", password="dripping-data-key", host=url, extra={"timeout": 3600}
            )
            for number, url in enumerate(dripping.urls)
        },
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(warehouse)}),
    }
    with standalone(dags, environment) as airflow:
        for dag_id in (
            "killed",
            "terminated",
            "timed_out",
            "one_task",
            "dripping",
            "beside_dripping",
            "file_import_with_wait",
            "incremental_sync",
        ):
            until(partial(airflow.has_dag, dag_id), f"the Dag {dag_id} to be parsed")
        yield airflow
