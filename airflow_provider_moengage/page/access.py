"""Who may do what on the page. Airflow does not protect the apps of plugins, so each endpoint asks here.

Without a session Airflow's own dependencies answer 401, and without a permission 403.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AssetDetails, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep  # noqa: TC002 (FastAPI reads it)
from airflow.models.dag import DagModel
from airflow.providers.common.compat.sdk import conf
from fastapi import HTTPException, Request

RUNS = (DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)
"""What a user must be allowed to read to see the runs of a task: their states, and the reports in their XComs."""


def readable_dags(user: Any) -> set[str]:
    """Return the Dags that a user may read."""
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


def may_read(user: Any, dag_id: str, entities: Iterable[DagAccessEntity]) -> bool:
    """Return whether a user may read all of these parts of a Dag."""
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    manager = get_auth_manager()
    return all(
        manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user)
        for entity in entities
    )


def requires_user(_user: GetUserDep) -> None:
    """Refuse a request without a session with 401."""


def requires_dag(*entities: DagAccessEntity) -> Callable[[Request, GetUserDep], None]:
    """Return a dependency that refuses who may not read the Dag of the path, and these parts of it, with 403."""

    def check(request: Request, user: GetUserDep) -> None:
        dag_id = request.path_params["dag_id"]
        if dag_id not in readable_dags(user) or not may_read(user, dag_id, entities):
            raise HTTPException(403, "Forbidden")

    return check


def may_edit_dag(user: Any, dag_id: str) -> bool:
    """Return whether a user may change a Dag: what a sync has stored belongs to it."""
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return bool(get_auth_manager().is_authorized_dag(method="PUT", details=details, user=user))


def may_access_asset(user: Any, asset_id: int, method: Any) -> bool:
    """Return whether a user may read or delete the state of an asset, as Airflow's own API asks it."""
    details = AssetDetails(id=str(asset_id))
    return bool(get_auth_manager().is_authorized_asset(method=method, details=details, user=user))


def requires_edit(request: Request, user: GetUserDep) -> None:
    """Refuse who may not change the Dag of the path with 403."""
    dag_id = request.path_params["dag_id"]
    if dag_id not in readable_dags(user) or not may_edit_dag(user, dag_id):
        raise HTTPException(403, "Forbidden")


def requires_same_origin(request: Request) -> None:
    """Refuse a change that another site asks for: Airflow's cookie alone does not prevent it.

    A browser names the origin with each POST. A program has no cookie; it sends its token in a header.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "The request comes from another site")
    origin = request.headers.get("origin")
    if origin is None:
        if "authorization" not in request.headers:
            raise HTTPException(403, "The request does not say where it comes from")
    elif urlsplit(origin).netloc not in _own_places(request):
        raise HTTPException(403, "The request comes from another site")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "Expected JSON")


def _own_places(request: Request) -> set[str]:
    """Return host and port under which the browser knows this server."""
    configured = urlsplit(conf.get("api", "base_url", fallback="") or "").netloc
    return {place for place in (request.headers.get("host"), configured) if place}
