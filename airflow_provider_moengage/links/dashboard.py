"""The link of a task to the dashboard of its workspace."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_provider_moengage.arguments import is_unresolved


class MoEngageDashboardLink(BaseOperatorLink):  # type: ignore[misc, unused-ignore]
    """Opens MoEngage's dashboard, in the data center of the task's connection.

    Airflow 3 computes the link in the worker when the task has ended and stores it as an XCom; Airflow 2 computes
    it in the webserver each time. If the connection is missing or wrong, there is no link and no error.
    """

    name = "MoEngage dashboard"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the dashboard's URL, or an empty string."""
        try:
            from airflow_provider_moengage.hooks.moengage import MoEngageHook

            conn_id = getattr(operator, "moengage_conn_id", None)
            if not isinstance(conn_id, str) or is_unresolved(conn_id):
                conn_id = _rendered(ti_key)
            return MoEngageHook(conn_id).dashboard_url
        except Exception:  # noqa: BLE001 (a link must not fail a task or a page)
            return ""


def _rendered(ti_key: Any) -> str:
    """Return the connection ID as rendered for the task; Airflow 2 passes the operator as it was parsed."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields

    fields: Any = RenderedTaskInstanceFields.get_templated_fields(ti_key)
    return str(fields["moengage_conn_id"])
