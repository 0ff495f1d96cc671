"""What Airflow stores about the runs of these tests: no key and no personal data. This module runs last."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.local_airflow import Place

PERSONAL = re.compile(r"household-\d+|[\w-]+@example\.com|emulator-(?:data|campaign)-key|revoked-data-key")


def test_no_log_contains_a_key_or_sent_data(place: Place) -> None:
    place.run_manually("warehouse_sync", "purchases")
    home = place.warehouse.path.parent
    logs: list[Path] = [home / "airflow.log", *home.glob("logs/**/*.log*")]

    found = {(str(log.relative_to(home)), PERSONAL.search(log.read_text(errors="replace"))) for log in logs}

    assert len(logs) > 2
    assert {(log, match[0]) for log, match in found if match is not None} == set()


def test_no_xcom_and_no_rendered_field_contains_sent_data(place: Place) -> None:
    call = place.airflow.call
    seen = 0
    for dag_id in ("warehouse_sync", "incremental_sync", "sharded_sync", "business_event_after_sync", "long_sync"):
        for run in place.airflow.runs(dag_id):
            path = f"/dags/{dag_id}/dagRuns/{run}"
            tasks = call("GET", f"{path}/taskInstances")["task_instances"]
            kept = [tasks]
            for task in tasks:
                entries = call("GET", f"{path}/taskInstances/{task['task_id']}/xcomEntries")["xcom_entries"]
                kept += [call("GET", f"{path}/taskInstances/{entry['task_id']}/xcomEntries/{entry['key']}",
                              params={"map_index": entry["map_index"]}) for entry in entries]  # fmt: skip
            seen += len(kept)
            assert PERSONAL.search(str(kept)) is None, path
    assert seen
