"""A Dag that runs when MoEngage finishes a file, whether a schedule, a person or Airflow started the import.

Needs Airflow 3, the connection `moengage_default` with the workspace ID and the key of the Data tile, and an
import `Nightly users` in MoEngage's dashboard.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_provider_moengage.triggers.file_import import FileImportRunEventTrigger

IMPORT_NAME = "Nightly users"

imported = Asset(
    "moengage_import",
    watchers=[
        AssetWatcher(
            name="finished_files",
            trigger=FileImportRunEventTrigger(
                import_name=IMPORT_NAME, statuses=["SUCCESSFUL", "PARTIAL_SUCCESS"], poke_interval=10
            ),
        )
    ],
)


@dag(schedule=[imported], start_date=datetime(2026, 1, 1), catchup=False, tags=["moengage"])
def after_file_import() -> None:
    """Report each file that MoEngage finished since the last run of this Dag."""

    @task
    def look(triggering_asset_events: Any = None) -> list[str]:
        """Print each file with its status and failed rows, and return the names."""
        files = [event.extra["payload"] for event in triggering_asset_events[imported]]
        for file in files:
            print(
                f"{file['file_name']}: {file['file_status']}, {file['failed_rows']} of {file['total_rows']} failed"
            )
        return [file["file_name"] for file in files]

    look()


after_file_import()
