"""Paths on any storage: the worker's disk, or what Airflow's ObjectStoragePath reads (s3, gs, sftp, ...)."""

from __future__ import annotations

import os
from pathlib import Path, PosixPath, WindowsPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from typing_extensions import TypeIs

NDJSON = ".ndjson"


def storage_path(path: str) -> ObjectStoragePath:
    """Return a path on any storage. One without a scheme is on the worker's disk and may be relative to its
    working directory, which Airflow 2.11 alone would take for the root.

    :param path: a URI or a path on the disk; it may hold wildcards.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return ObjectStoragePath(path if "://" in path else str(Path(path).absolute()))


def local_or_remote(path: str) -> Path | ObjectStoragePath:
    """Return a :class:`~pathlib.Path` on the worker's disk, or an ObjectStoragePath on any other storage."""
    place = storage_path(path)
    return Path(place.path) if place.protocol in ("", "file") else place


def is_local(file: object) -> TypeIs[Path]:
    """Return whether a path is pathlib's. In Airflow 2 every ObjectStoragePath is a Path as well."""
    return isinstance(file, PosixPath | WindowsPath)


def file_to_write(path: str) -> Path | ObjectStoragePath:
    """Return a file whose folder exists. Object stores have no folders to create."""
    file = local_or_remote(path)
    if is_local(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    return file


def rejects_file(path: str, *, dry_run: bool = False) -> Path | ObjectStoragePath:
    """Return a rejects file whose folder exists.

    :param path: URI of a file that ends in ``.ndjson``.
    :param dry_run: a dry run cannot know what MoEngage would refuse, so it gets a separate file next to it.
    :raises ValueError: if the path does not end in ``.ndjson``.
    """
    if not path.endswith(NDJSON):
        raise ValueError(f"rejects_path {path!r}: outside a task, expected a file that ends in {NDJSON}")
    return file_to_write(f"{path.removesuffix(NDJSON)}.dry_run{NDJSON}" if dry_run else path)


def write_whole(file: Path | ObjectStoragePath, data: bytes) -> None:
    """Write a small file, or replace it. On a disk the replacement is atomic and survives a power failure; an
    object store shows an object once it is complete.
    """
    if not is_local(file):
        file.fs.pipe_file(file.path, data)
        return
    new = file.with_name(f"{file.name}.new")
    with new.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
