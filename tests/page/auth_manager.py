"""An auth manager with permissions for single Dags, as FAB's has: the simple one knows only roles."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

NARROW = {"customers", "unrelated"}
"""The Dags of the user `narrow`."""

WITHOUT_XCOMS = {"customers"}
"""The Dags of which the user `blind` may not read XComs."""


class DagAuthManager(SimpleAuthManager):
    """The user `narrow` has two Dags, and `blind` may not read XComs; everything else depends on roles."""

    def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        dag_id = None if details is None else details.id
        if user.username == "narrow" and dag_id is not None and dag_id not in NARROW:
            return False
        if user.username == "blind" and dag_id in WITHOUT_XCOMS and getattr(access_entity, "name", "") == "XCOM":
            return False
        allowed: bool = super().is_authorized_dag(
            method=method, user=user, access_entity=access_entity, details=details
        )
        return allowed

    def filter_authorized_dag_ids(self, *, dag_ids: Any, user: Any, method: Any = "GET", **more: Any) -> set[str]:
        found: set[str] = super().filter_authorized_dag_ids(dag_ids=dag_ids, user=user, method=method, **more)
        return found & NARROW if user.username == "narrow" else found
