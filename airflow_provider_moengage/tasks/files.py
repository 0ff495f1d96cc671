"""Names of a task's files, its rejects, its checkpoint and its ledger, made of Dag, run, task and map index."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from airflow_provider_moengage.storage import NDJSON


def rejects_path_of_task(path: str, context: Mapping[str, Any]) -> str:
    """Return the path of a task's rejects file.

    :param path: a URI: one that ends in ``.ndjson`` is the file, any other a folder in which the run gets a file
        named after Dag, run, task and map index.
    :param context: the task's context.
    """
    return path if path.endswith(NDJSON) else f"{path.rstrip('/')}/{_file_name(context)}{NDJSON}"


def checkpoint_path_of_task(path: str, context: Mapping[str, Any]) -> str:
    """Return the path of a task's checkpoint file.

    :param path: URI of a folder.
    """
    return f"{path.rstrip('/')}/{_file_name(context)}.checkpoint.json"


def ledger_path_of_task(path: str, context: Mapping[str, Any]) -> str:
    """Return the path of the ledger of a task that erases users.

    :param path: one that ends in ``.ndjson`` is the file, any other a folder.
    """
    return path if path.endswith(NDJSON) else f"{path.rstrip('/')}/{_file_name(context)}.ledger{NDJSON}"


LONGEST_NAME = 180
"""Bytes. Most file systems allow 255, of which the extensions take some (``.checkpoint.json.fence.new``)."""

_SHORT_PART = 40
_LONG_DIGEST = 32


def _file_name(context: Mapping[str, Any]) -> str:
    """Return a name that is unique to a task of a run, and safe in file systems and URLs. The readable part has
    other characters replaced; a digest of the exact identity distinguishes names that become equal by that. If it
    is too long, each part is cut, and the digest is longer.
    """
    ti = context["ti"]
    identity = [ti.dag_id, ti.run_id, ti.task_id]
    if ti.map_index is not None and ti.map_index >= 0:
        identity.append(str(ti.map_index))
    parts = [re.sub(r"[^\w.-]+", "-", part) for part in identity]
    digest = sha256("\0".join(identity).encode(errors="surrogatepass")).hexdigest()
    name = f"{'__'.join(parts)}__{digest[:8]}"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    readable = "__".join(_cut(part) for part in parts)
    return f"{readable}__{digest[:_LONG_DIGEST]}"


def _cut(part: str) -> str:
    """Return the beginning of a text: at most so many bytes, in whole characters."""
    return part.encode()[:_SHORT_PART].decode(errors="ignore")
