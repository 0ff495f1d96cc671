"""The link of a task to the dashboard of its workspace."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_provider_moengage.arguments import is_unresolved


class MoEngageDashboardLink(BaseOperatorLink):  # type: ignore[misc, unused-ignore]
    """Opens MoEngage's dashboard, in the data center of the task's connection.

    Airflow 3 asks for it in the worker when the task has ended, and keeps it as an XCom; Airflow 2 asks in the
    webserver each time. Where the connection is missing or wrong there is no link, and nothing fails.
    """

    name = "MoEngage dashboard"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the dashboard's URL, or nothing."""
        try:
            from airflow_provider_moengage.hooks.moengage import MoEngageHook

            conn_id = getattr(operator, "moengage_conn_id", None)
            if not isinstance(conn_id, str) or is_unresolved(conn_id):
                conn_id = _rendered(ti_key)
            return MoEngageHook(conn_id).dashboard_url
        except Exception:
            return ""


def _rendered(ti_key: Any) -> str:
    """Return the connection's id as the task has rendered it; Airflow 2 gives the operator as it was parsed."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    fields: Any = RenderedTaskInstanceFields.get_templated_fields(ti_key)
    return str(fields["moengage_conn_id"])
