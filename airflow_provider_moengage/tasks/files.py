"""Files of a task's own: its rejects and its checkpoint, each named after dag, run, task and map index."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from airflow_provider_moengage.storage import storage_path

_SUFFIX = ".ndjson"


def rejects_file(path: str, *, dry_run: bool = False) -> Any:
    """Return a rejects file, in a folder that exists: a Path on a disk, else an ObjectStoragePath.

    :param path: URI of a file that ends in ``.ndjson``.
    :param dry_run: a dry run cannot know what MoEngage would refuse, so it has a file of its own beside it.
    :raises ValueError: where it names no such file.
    """
    if not path.endswith(_SUFFIX):
        raise ValueError(f"rejects_path {path!r}: outside a task, expected a file that ends in {_SUFFIX}")
    return file_to_write(f"{path.removesuffix(_SUFFIX)}.dry_run{_SUFFIX}" if dry_run else path)


def file_to_write(path: str) -> Any:
    """Return a file in a folder that exists: a Path on a disk, else an ObjectStoragePath."""
    file = storage_path(path)
    if file.protocol in ("", "file"):  # object stores have no folders to make, and write a file whole
        on_disk = Path(file.path)
        on_disk.parent.mkdir(parents=True, exist_ok=True)
        return on_disk
    return file


def rejects_path_of_task(path: str, context: Mapping[str, Any]) -> str:
    """Return the file that a task writes its rejects to.

    :param path: a URI; one that ends in ``.ndjson`` is the file, any other a folder in which the run gets a
        file named after dag, run, task and map index.
    :param context: the task's context.
    """
    return path if path.endswith(_SUFFIX) else f"{path.rstrip('/')}/{_file_name(context)}{_SUFFIX}"


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
