"""The counts of a run that failed or was ended. Such a task returns nothing, so they are an XCom of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_moengage.results.recorded_operator import Recorded

REPORT_KEY = "moengage_report"
"""The XCom's key. Airflow deletes it when the task is tried again."""


def push_report(operator: Recorded, context: Mapping[str, Any]) -> None:
    """Push the counts so far, if there are any. A failure to push is logged, so that the run's own error stays."""
    report = operator.report_of_run
    if report is None or (ti := context.get("ti")) is None:
        return
    try:
        ti.xcom_push(key=REPORT_KEY, value=report.to_dict())
    except Exception as error:  # noqa: BLE001 (the error of the run counts)
        operator.log.warning(
            "The counts of this failed run could not be stored as XCom moengage_report (%s), so Airflow's page"
            " MoEngage does not show them",
            type(error).__name__,
        )
