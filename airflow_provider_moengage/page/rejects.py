"""The rejects of a run, out of its rejects file: counts by code and message, and elements without their values."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_moengage.page.synced_tasks import ProviderTask
from airflow_provider_moengage.sources.ndjson import NdjsonFiles, is_reject
from airflow_provider_moengage.storage import NDJSON
from airflow_provider_moengage.tasks.files import rejects_path_of_task

MOST_LINES = 100_000
"""Lines that are counted; a request must not take minutes."""

SHOWN = 20
"""Elements that are shown."""

_MOST_MESSAGES = 50
_MOST_PARTS = 100
_LONGEST_NAME = 100
_DEEPEST = 4
_TYPES = ("customer", "event", "device")


def rejects_file(task: ProviderTask, run_id: str, map_index: int, reported: object) -> str | None:
    """Return the path of the rejects file of a task instance; None if that cannot be known for sure.

    The name of a file in a folder holds a digest of Dag, run, task and map index. A path that the task has
    reported, which anybody with a right to XComs may have changed, counts only if it has this name: no run shows
    the file of another one. A file with a name of its own counts only if the Dag names it.

    :param reported: ``rejects_path`` of the report, if there is one.
    """
    ti = SimpleNamespace(dag_id=task.dag_id, task_id=task.task_id, run_id=run_id, map_index=map_index)
    folder = task.rejects_path or conf.get("moengage", "rejects_path", fallback="") or None
    expected = rejects_path_of_task(folder or "folder", {"ti": ti})
    if task.has_own_rejects_path and task.rejects_path is None:
        name = expected.rpartition("/")[2]
        is_his = isinstance(reported, str) and reported.endswith(f"/{name}") and name.endswith(NDJSON)
        return str(reported) if is_his else None
    return expected if folder else None


def read_rejects(path: str) -> dict[str, Any]:
    """Return what a rejects file holds, JSON-ready, without any value of an element.

    :raises FileNotFoundError: if there is no such file.
    :raises AirflowException: if it cannot be read.
    """
    codes: Counter[str] = Counter()
    messages: Counter[tuple[str, str]] = Counter()
    shown: list[dict[str, Any]] = []
    total = 0
    for line in islice(NdjsonFiles.matching(_literal(path)).lines(), MOST_LINES):
        if not is_reject(line):
            continue
        total += 1
        found = dict(zip(map(str, line["codes"]), map(str, line.get("messages") or ()), strict=False))
        codes.update(dict.fromkeys(map(str, line["codes"]), 1))
        messages.update(dict.fromkeys(found.items(), 1))
        if len(shown) < SHOWN:
            shown.append({"position": line.get("position"), "codes": found, "element": masked(line["element"])})
    return {
        "rejects": total,
        "is_cut": total >= MOST_LINES,
        "codes": dict(codes.most_common()),
        "messages": [
            {"count": count, "code": code, "message": message}
            for (code, message), count in messages.most_common(_MOST_MESSAGES)
        ],
        "elements": shown,
    }


def masked(element: Any) -> Any:
    """Return an element with its structure, and what kind of value stands where; no value itself."""
    shown = _kind(element, 0)
    if isinstance(shown, dict) and element.get("type") in _TYPES:
        shown["type"] = element["type"]
    return shown


def _kind(value: Any, depth: int) -> Any:
    if isinstance(value, dict | list):
        return _structure(value, depth)
    if value is None:
        return None
    if isinstance(value, bool):
        return "true or false"
    return f"text of {len(value)}" if isinstance(value, str) else "number"


def _structure(value: dict[Any, Any] | list[Any], depth: int) -> Any:
    what = "object" if isinstance(value, dict) else "list"
    if depth >= _DEEPEST or len(value) > _MOST_PARTS:
        return f"{what} of {len(value)}"
    if isinstance(value, list):
        return [_kind(each, depth + 1) for each in value]
    return {str(name)[:_LONGEST_NAME]: _kind(each, depth + 1) for name, each in value.items()}


def _literal(path: str) -> str:
    """Return a pattern that matches this path only."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path)
