"""Importing our operators in a Dag file loads nothing heavy that Airflow has not loaded anyway."""

from __future__ import annotations

import json
import subprocess
import sys

PUBLIC = (
    "airflow_provider_moengage.operators.bulk_import",
    "airflow_provider_moengage.transfers.sql_to_moengage",
    "airflow_provider_moengage.transfers.sql_to_moengage_file",
    "airflow_provider_moengage.transfers.moengage_campaign_stats",
    "airflow_provider_moengage.transfers.moengage_arrival_check",
    "airflow_provider_moengage.operators.business_event",
    "airflow_provider_moengage.operators.file_import",
    "airflow_provider_moengage.sensors.file_import",
    "airflow_provider_moengage.sensors.users_erased",
    "airflow_provider_moengage.transfers.sql_to_moengage_cohort",
    "airflow_provider_moengage.transfers.sql_to_moengage_erasure",
    "airflow_provider_moengage.bulk.mapping",
    "airflow_provider_moengage.exceptions",
    "airflow_provider_moengage.hooks.moengage",
)

SCRIPT = """
import json, sys
try:
    import airflow.sdk
except ImportError:
    import airflow.models.dag
from airflow.providers.common.compat.sdk import BaseHook, BaseOperator, AirflowException, AirflowFailException
before = set(sys.modules)
for name in {public!r}:
    __import__(name)
print("LOADED", json.dumps(sorted(set(sys.modules) - before)))
"""


def test_public_modules_load_nothing_heavy_on_top_of_airflow() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(public=PUBLIC)], capture_output=True, text=True, check=True
    )
    [line] = [line for line in done.stdout.splitlines() if line.startswith("LOADED ")]
    loaded = {name.partition(".")[0] for name in json.loads(line.removeprefix("LOADED "))}

    heavy = {"requests", "urllib3", "sqlparse", "sqlalchemy", "asgiref", "pandas", "numpy", "tenacity", "uvicorn"}
    assert not loaded & heavy
    third_party = loaded - set(sys.stdlib_module_names) - {"airflow", "airflow_provider_moengage"}
    assert third_party <= {"msgspec"}, "Airflow 3 has msgspec loaded already"


def test_bulk_api_and_polling_import_no_airflow() -> None:
    script = (
        "import sys\n"
        "import airflow_provider_moengage.bulk.run.delivery, airflow_provider_moengage.bulk.mapping\n"
        "import airflow_provider_moengage.api.client, airflow_provider_moengage.bulk.resume.rejects\n"
        "import airflow_provider_moengage.api.campaigns.client\n"
        "import airflow_provider_moengage.api.file_imports_client, airflow_provider_moengage.polling.poller\n"
        "import airflow_provider_moengage.polling.unreported_files\n"
        "import airflow_provider_moengage.polling.success_policy\n"
        "sys.exit('airflow' in sys.modules)\n"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
