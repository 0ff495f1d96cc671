"""A Dag that runs when MoEngage has finished a file, whoever made the import run: its schedule, a person, Airflow.

Needs Airflow 3, the connection `moengage_default` with the workspace id and the key of the Data tile, and in
MoEngage's dashboard an import `Nightly users`.
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
    """Look at each file that has been finished since the last run of this Dag."""

    @task
    def look(triggering_asset_events: Any = None) -> list[str]:
        """Say which files there are, and how many rows of them failed."""
        files = [event.extra["payload"] for event in triggering_asset_events[imported]]
        for file in files:
            print(
                f"{file['file_name']}: {file['file_status']}, {file['failed_rows']} of {file['total_rows']} failed"
            )
        return [file["file_name"] for file in files]

    look()


after_file_import()
