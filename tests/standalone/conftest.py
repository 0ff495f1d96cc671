"""One Airflow and one emulated workspace for all Dags: an Airflow takes most of a minute to start."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_moengage.emulator import Emulator, FileImport, ImportFile, Settings
from tests.standalone.airflow import Standalone, as_connection, standalone, until

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "example_dags"


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator(Settings()) as emulator:
        # A Dag watches it from the moment on at which it is parsed.
        file = ImportFile("users_{run}.csv", steps=((0, "SUCCESSFUL"),))
        emulator.workspace.add_file_import(FileImport("watched", "Watched", (file,)))
        yield emulator


@pytest.fixture(scope="session")
def airflow(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    connection = as_connection(
        login="EMULATOR",
        password="emulator-data-key",
        host=emulator.url,
        extra={"campaign_api_key": "emulator-campaign-key", "timeout": 60},
    )
    dags = tmp_path_factory.mktemp("dags")
    for file in [*(HERE / "dags").glob("*.py"), EXAMPLES / "file_import_with_wait.py"]:
        shutil.copy(file, dags)
    with standalone(dags, {"AIRFLOW_CONN_MOENGAGE_DEFAULT": connection}) as airflow:
        for dag_id in ("killed", "one_task", "file_import_with_wait"):
            until(lambda dag_id=dag_id: airflow.has_dag(dag_id), f"the Dag {dag_id} to be parsed")
        yield airflow
