"""A temporary folder on the worker for files with personal data. Those of killed processes are removed."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

from airflow_provider_moengage.storage import in_temporary_folder

_PREFIX = "moengage-files-"


class ScratchFolder:
    """A folder in the worker's temporary folder, for this process only (mode 0700).

    A process locks its folder until it ends, however it ends. Creating a folder removes those of the same user
    that nobody has locked.

    :raises StorageError: if it cannot be created.
    """

    def __init__(self) -> None:
        with in_temporary_folder():
            _remove_abandoned()
            self.path, lock = _create()
        self._remove = weakref.finalize(self, _remove, self.path, lock)
        self._remove.atexit = False  # a forked process would remove it when it ends

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder."""
        self._remove()


def _remove(path: Path, lock: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def _create() -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with suppress(FileNotFoundError):  # another process took it for abandoned before it was locked
            path.chmod(stat.S_IRWXU)  # the umask may have cleared bits
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            with suppress(OSError):  # a file system without locks, where no process can take it for abandoned
                fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return path, lock
            os.close(lock)


def _remove_abandoned() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # of somebody else, locked by its process, or already gone
            _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
    finally:
        os.close(lock)
