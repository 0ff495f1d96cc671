"""Paths on any storage: the worker's disk, or what Airflow's ObjectStoragePath reads (s3, gs, sftp, ...).

What this package writes may hold personal data. On a disk, only the worker's own user can read it.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path, PosixPath, WindowsPath
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from typing_extensions import TypeIs

NDJSON = ".ndjson"

_FILE_MODE, _FOLDER_MODE = 0o600, 0o700

_NEW = ".new"
"""Ends the name of a file that is about to replace another."""


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
        private_folder(file.parent)
    return file


def private_folder(folder: Path) -> None:
    """Create a folder, and the folders above it, with mode 0700 whatever the umask. A folder that exists keeps its
    mode.

    :raises OSError: if it cannot be created, or is not a folder.
    """
    missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
    for path in reversed(missing):
        try:
            path.mkdir(_FOLDER_MODE)
        except FileExistsError:
            if not path.is_dir():  # otherwise another task has created it meanwhile
                raise
        else:
            path.chmod(path.stat().st_mode | _FOLDER_MODE)  # the umask may have cleared bits


def open_private(file: Path, mode: str) -> IO[Any]:
    """Open a file on the disk for writing, with mode 0600 whatever the umask, also if the file exists.

    :param mode: as for :func:`open`.
    :raises OSError: if it is a symbolic link, because the link may point to somebody else's file.
    """

    def private(name: str, flags: int) -> int:
        descriptor = os.open(name, flags | os.O_NOFOLLOW, _FILE_MODE)
        os.fchmod(descriptor, _FILE_MODE)
        return descriptor

    return open(file, mode, opener=private)


def remove_file(file: Path | ObjectStoragePath) -> None:
    """Remove a file, if it is there.

    Some versions of ObjectStoragePath open files with the connection's credentials, but look for them and remove
    them without. The file system that they open files with does all of it.
    """
    if is_local(file):
        file.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):
        file.fs.rm_file(file.path)


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
    descriptor, name = tempfile.mkstemp(prefix=f"{file.name}.", suffix=_NEW, dir=file.parent)
    new = Path(name)
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123 (a descriptor)
            os.fchmod(descriptor, _FILE_MODE)
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def remove_leftovers(file: Path | ObjectStoragePath) -> None:
    """Remove what a process has left that was killed while it replaced a file by :func:`write_whole`. Call this
    before the process writes the file for the first time.
    """
    if not is_local(file):
        return
    leftover = re.compile(rf"{re.escape(file.name)}(\.[a-z0-9_]{{8}})?{re.escape(_NEW)}")
    for path in file.parent.iterdir():
        if leftover.fullmatch(path.name):
            with suppress(OSError):  # of another user, or already gone
                path.unlink()
