"""Paths as every Airflow understands them alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath


def storage_path(path: str) -> ObjectStoragePath:
    """Return a path on any storage. One without a scheme is on the worker's disk, and may be relative to its
    directory: Airflow 2.11 by itself would take it for one of the root.

    :param path: a URI, or a path on the disk; it may hold wildcards.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return ObjectStoragePath(path if "://" in path else str(Path(path).absolute()))
