"""Tasks of this provider, as they are in serialized Dags."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PACKAGE = "airflow_provider_moengage"
LINK = "MoEngageDashboardLink"
"""All operators of this provider have this link, also those that a deployment has derived from them."""

SYNC, SEGMENT, EVENT, IMPORT, FILES, STATISTICS = (
    *("sync", "segment", "event", "import"),
    *("files", "statistics"),
)
"""Kinds of tasks."""

_KINDS = (
    ("cohort_id", SEGMENT),
    ("event_name", EVENT),
    ("import_id", IMPORT),
    ("attribution_type", STATISTICS),
    ("manifest_path", FILES),
    ("validation", SYNC),
)
"""A template field that only tasks of one kind have; the first one that fits counts."""


@dataclass(frozen=True, slots=True)
class ProviderTask:
    """A task of this provider.

    :param operator: the name of its class.
    :param rejects_path: as it is in the Dag; None if the Dag does not set one, or a template sets it.
    :param has_own_rejects_path: whether the Dag sets one, as text or by a template.
    """

    dag_id: str
    task_id: str
    kind: str
    operator: str
    is_mapped: bool
    moengage_conn_id: str | None = None
    api_version: str | None = None
    rejects_path: str | None = None
    has_own_rejects_path: bool = False


def tasks_of(dag_id: str, serialized: Mapping[str, Any] | None) -> Iterator[ProviderTask]:
    """Yield the tasks of this provider in a serialized Dag."""
    for entry in (serialized or {}).get("dag", {}).get("tasks", ()):
        task = entry.get("__var", entry) if isinstance(entry, dict) else {}
        kind = _kind(task)
        if kind is not None and isinstance(task.get("task_id"), str):
            yield ProviderTask(
                dag_id,
                task["task_id"],
                kind,
                str(task.get("task_type", "")),
                bool(task.get("_is_mapped")),
                _argument(task, "moengage_conn_id"),
                _argument(task, "api_version"),
                _argument(task, "rejects_path"),
                _given(task, "rejects_path") is not None,
            )


def _kind(task: Mapping[str, Any]) -> str | None:
    module = str(task.get("_task_module", ""))
    is_ours = module == PACKAGE or module.startswith(f"{PACKAGE}.")
    if not is_ours and LINK not in json.dumps(task.get("_operator_extra_links")):
        return None
    fields = task.get("template_fields") or ()
    return next((kind for field, kind in _KINDS if field in fields), None)


def _argument(task: Mapping[str, Any], name: str) -> str | None:
    """Return an argument that is text without a template."""
    value = _given(task, name)
    return value if isinstance(value, str) and "{{" not in value and "{%" not in value else None


def _given(task: Mapping[str, Any], name: str) -> Any:
    value = task.get(name)
    return _plain(task.get("partial_kwargs")).get(name) if value is None else value


def _plain(value: Any) -> Mapping[str, Any]:
    found = value.get("__var", value) if isinstance(value, dict) else {}
    return found if isinstance(found, dict) else {}
