"""Paths on any storage: the worker's disk, or what Airflow's ObjectStoragePath reads (s3, gs, sftp, ...).

What this package writes may hold personal data. On a disk, only the worker's own user can read it.

Each storage raises errors of its own, whose text may quote keys or URLs with signatures. :func:`named` makes one
kind of error of them all, without that text, and decides whether a retry can help.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path, PosixPath, WindowsPath
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath
    from typing_extensions import TypeIs

NDJSON = ".ndjson"

PART = ".part"
"""Ends the name of a file that is not complete yet."""

APPEAR_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl"})
"""Schemes of object stores, where a file appears once it is complete. Elsewhere it appears while it is written."""

_FILE_MODE, _FOLDER_MODE = 0o600, 0o700

NEW = ".new"
"""Ends the name of a file that is about to replace another."""

_WRONG_PLACE = frozenset(
    {
        errno.EACCES,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)
"""Errors that stay until somebody corrects a path or its permissions. All others may pass: a full disk, a lost
network, and what a store's client raises without a number."""

_WRONG_PLACES = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""The same, if a store's client has not set the number."""

_WRONG_SCHEME = (ImportError, NotImplementedError, UnicodeEncodeError)
"""No client is installed for the scheme, its storage cannot do that, or no file can have this name."""

_NO_CONNECTION = "AirflowNotFoundException"
"""Airflow has no connection with the ID in the path."""

_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/]*@")


class StorageError(Exception):
    """A file or a store could not be used. The text names the argument and the path, and contains neither the text
    of the store's own error nor anything that a file contains.

    :param message: a sentence for people.
    :param cause: see :func:`cause_of`.
    :param is_permanent: the path or its permissions are wrong, so a retry does not help.
    :param is_missing: there is no such file, folder or bucket.
    """

    def __init__(self, message: str, *, cause: str, is_permanent: bool = False, is_missing: bool = False) -> None:
        super().__init__(message)
        self.cause = cause
        self.is_permanent = is_permanent
        self.is_missing = is_missing


def cause_of(error: BaseException) -> str:
    """Return what went wrong, without the text of the error: the operating system's words for its number, such as
    ``No space left on device``, or the name of its class.
    """
    if isinstance(error, StorageError):
        return error.cause
    number = error.errno if isinstance(error, OSError) else None
    if number is None or number not in errno.errorcode:
        return type(error).__name__
    return os.strerror(number)


@contextmanager
def named(argument: str, place: object, done: str, *, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Raise a :class:`StorageError` for each error of the block.

    :param argument: the argument that says where the file is, or another name for it.
    :param place: the path.
    :param done: what could not be done: ``read``, ``written``, ...
    :param but: errors that are not the storage's.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (StorageError, *but)):
            raise
        cause = cause_of(error)
        raise StorageError(
            f"{argument} {shown(place)!r}: could not be {done} ({cause})",
            cause=cause,
            is_permanent=_is_permanent(error),
            is_missing=isinstance(error, FileNotFoundError),
        ) from None


def shown(place: object) -> str:
    """Return a path for a message: without a password that its URI contains."""
    return _PASSWORD.sub(r"\1:***@", str(place))


def in_temporary_folder() -> AbstractContextManager[None]:
    """Raise a :class:`StorageError` that names the worker's temporary folder for each error of the block."""
    return named("temporary folder", _TemporaryFolder(), "written")


class _TemporaryFolder:
    """Its path, once Python has chosen it."""

    def __str__(self) -> str:
        return tempfile.tempdir or os.environ.get("TMPDIR") or "(none)"


def _is_permanent(error: Exception) -> bool:
    if isinstance(error, OSError):
        return isinstance(error, _WRONG_PLACES) if error.errno is None else error.errno in _WRONG_PLACE
    # An unknown scheme, or a zero byte in a name. A subclass may be about what a store has answered.
    is_wrong = type(error) is ValueError or isinstance(error, _WRONG_SCHEME)
    return is_wrong or any(kind.__name__ == _NO_CONNECTION for kind in type(error).__mro__)


def storage_path(path: str) -> ObjectStoragePath:
    """Return a path on any storage. One without a scheme is on the worker's disk and may be relative to its
    working directory, which Airflow 2.11 alone would take for the root. A ``~`` at its start is the home of the
    worker's user, or of the user who is named.

    :param path: a URI or a path on the disk; it may hold wildcards.
    :raises FileNotFoundError: if there is no such home.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return ObjectStoragePath(path if "://" in path else str(_at_home(path).absolute()))


def _at_home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None


def local_or_remote(path: str) -> Path | ObjectStoragePath:
    """Return a :class:`~pathlib.Path` on the worker's disk, or an ObjectStoragePath on any other storage."""
    place = storage_path(path)
    return Path(place.path) if place.protocol in ("", "file") else place


def is_local(file: object) -> TypeIs[Path]:
    """Return whether a path is pathlib's. In Airflow 2 every ObjectStoragePath is a Path as well."""
    return isinstance(file, PosixPath | WindowsPath)


def file_to_write(path: str, argument: str = "path") -> Path | ObjectStoragePath:
    """Return a file whose folder exists. Object stores have no folders to create.

    :param argument: its name, for messages.
    :raises StorageError: if the folder cannot be created, the path is that of a folder, or there is no client for
        its storage.
    """
    with named(argument, path, "written"):
        file = local_or_remote(path)
        if is_local(file):
            private_folder(file.parent)
            _refuse_folder(file)
        else:
            _prepare_remote(file)
    return file


def _prepare_remote(file: ObjectStoragePath) -> None:
    """Create the client of a storage, which needs a package and often a connection, before anything is sent.

    :raises IsADirectoryError: if the path is that of a folder. In an object store, a file may have the same name.
    """
    storage = file.fs
    if file.protocol not in APPEAR_WHOLE and storage.isdir(file.path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def check_file_to_write(path: str, argument: str) -> None:
    """Find out whether a file can be written, as far as that is possible without creating it or its folder.

    :param argument: its name, for messages.
    :raises StorageError: if it cannot.
    """
    with named(argument, path, "written"):
        file = local_or_remote(path)
        if is_local(file):
            check_folder_to_write(file.parent)
            _refuse_folder(file)
        else:
            _prepare_remote(file)


def check_folder_to_write(folder: Path) -> None:
    """Check that files can be created in a folder, or the folder itself in the one above it. Nothing appears.

    :raises OSError: if not.
    """
    missing: list[str] = []
    for place in (folder, *folder.parents):
        try:
            is_folder = stat.S_ISDIR(place.stat().st_mode)
        except FileNotFoundError:
            missing.append(place.name)
            continue
        if not is_folder:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        longest = os.pathconf(place, "PC_NAME_MAX")
        if any(len(os.fsencode(name)) > longest for name in missing):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with tempfile.TemporaryFile(prefix=".", dir=place):
            return


def _refuse_folder(file: Path) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(file.stat().st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


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
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path)) from None
        else:
            path.chmod(path.stat().st_mode | _FOLDER_MODE)  # the umask may have cleared bits


def open_private(file: Path, mode: str) -> IO[Any]:
    """Open a file on the disk for writing, with mode 0600 whatever the umask, also if the file exists.

    :param mode: as for :func:`open`.
    :raises OSError: if it is a symbolic link, because the link may point to somebody else's file.
    """
    return open(file, mode, opener=_private)


def _private(name: str, flags: int) -> int:
    descriptor = os.open(name, flags | os.O_NOFOLLOW, _FILE_MODE)
    os.fchmod(descriptor, _FILE_MODE)
    return descriptor


def open_named(file: Path, mode: str, argument: str) -> IO[bytes]:
    """Open a file as :func:`open_private` does, to write only. Writing and closing it raise StorageError as well.

    :param argument: its name, for messages.
    """
    with named(argument, file, "written"):
        return io.BufferedWriter(_NamedFile(file, mode, argument))


class _NamedFile(io.FileIO):
    """A file under a buffer: only a full buffer costs a call of it."""

    def __init__(self, file: Path, mode: str, argument: str) -> None:
        self._named = partial(named, argument, file, "written")  # first: `close` is called even if opening fails
        super().__init__(file, mode, opener=_private)

    def write(self, data: Any, /) -> int:
        with self._named():
            return super().write(data)

    def close(self) -> None:
        with self._named():
            super().close()


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
    :raises StorageError: as :func:`file_to_write`.
    """
    if not path.endswith(NDJSON):
        raise ValueError(f"rejects_path {path!r}: outside a task, expected a file that ends in {NDJSON}")
    return file_to_write(_rejects_path(path, dry_run=dry_run), "rejects_path")


def rejects_files(path: str, *, dry_run: bool = False) -> tuple[str, str]:
    """Return the URIs of a rejects file, and of the one in which rejects are collected.

    :param path: see :func:`rejects_file`.
    :param dry_run: see :func:`rejects_file`.
    """
    file = _rejects_path(path, dry_run=dry_run)
    return file, f"{file}{PART}"


def _rejects_path(path: str, *, dry_run: bool) -> str:
    return f"{path.removesuffix(NDJSON)}.dry_run{NDJSON}" if dry_run else path


def write_whole(file: Path | ObjectStoragePath, data: bytes) -> None:
    """Write a small file, or replace it. On a disk the replacement is atomic and survives a power failure; an
    object store shows an object once it is complete.
    """
    if not is_local(file):
        file.fs.pipe_file(file.path, data)
        return
    descriptor, name = tempfile.mkstemp(prefix=f"{file.name}.", suffix=NEW, dir=file.parent)
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
    leftover = re.compile(rf"{re.escape(file.name)}(\.[a-z0-9_]{{8}})?{re.escape(NEW)}")
    with suppress(OSError):  # a folder that cannot be listed
        for path in file.parent.iterdir():
            if leftover.fullmatch(path.name):
                with suppress(OSError):  # of another user, or already gone
                    path.unlink()
