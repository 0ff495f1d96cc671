"""Files of a task's own: its rejects and its checkpoint, each named after dag, run, task and map index."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from airflow_provider_moengage.storage import NDJSON


def rejects_path_of_task(path: str, context: Mapping[str, Any]) -> str:
    """Return the file that a task writes its rejects to.

    :param path: a URI; one that ends in ``.ndjson`` is the file, any other a folder in which the run gets a
        file named after dag, run, task and map index.
    :param context: the task's context.
    """
    return path if path.endswith(NDJSON) else f"{path.rstrip('/')}/{_file_name(context)}{NDJSON}"


def checkpoint_path_of_task(path: str, context: Mapping[str, Any]) -> str:
    """Return the file that a task keeps its checkpoint in.

    :param path: URI of a folder.
    """
    return f"{path.rstrip('/')}/{_file_name(context)}.checkpoint.json"


def _file_name(context: Mapping[str, Any]) -> str:
    """A name that no other task of any run has, safe in file systems and URLs: in the readable part other
    characters are replaced, and a digest of the exact identity keeps names apart that this makes equal.
    """
    ti = context["ti"]
    identity = [ti.dag_id, ti.run_id, ti.task_id]
    if ti.map_index is not None and ti.map_index >= 0:
        identity.append(str(ti.map_index))
    readable = "__".join(re.sub(r"[^\w.-]+", "-", part) for part in identity)
    digest = sha256("\0".join(identity).encode()).hexdigest()[:8]
    return f"{readable}__{digest}"
