"""The folder that an import watches: files are written where it does not look, and appear complete at the end."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, Protocol, Self

from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.scratch import ScratchFolder
from airflow_provider_moengage.storage import (
    APPEAR_WHOLE,
    StorageError,
    cause_of,
    check_folder_to_write,
    is_local,
    local_or_remote,
    named,
    open_named,
    private_folder,
)

_NO_HOST = ("", "file", "local", "memory")
"""Schemes whose paths begin with a folder; with any other, a bucket, container or host comes first."""

_PART = ".part"

_GROUP_CAN_READ = 0o640


def check_folder(folder: object) -> str:
    """Return the URI of a folder.

    :raises ValueError: naming the argument. MoEngage user guide, "Set Up a File Import", Folder Structure: root
        folders are not read, and a folder's name has no space.
    """
    text = folder if isinstance(folder, str) else ""
    scheme, _, path = text.rpartition("://")
    parts = [part for part in path.split("/") if part]
    if len(parts) < (1 if scheme in _NO_HOST else 2):
        raise ValueError(
            f"folder {folder!r}: expected the path of a folder; MoEngage does not read files at the root"
        )
    if any(character.isspace() for character in parts[-1]):
        raise ValueError(f"folder {folder!r}: MoEngage accepts no folder with a space in its name")
    return text


def check_manifest_path(manifest_path: object, folder: str) -> str:
    """Return the URI of a manifest.

    :param folder: where the manifest must not be, because MoEngage would read it as data.
    :raises ValueError: naming the argument.
    """
    if not isinstance(manifest_path, str) or not manifest_path.endswith(".json"):
        raise ValueError(f"manifest_path {manifest_path!r}: expected the path of a file that ends in .json")
    if manifest_path.rpartition("/")[0].rstrip("/") == folder.rstrip("/"):
        raise ValueError(
            f"manifest_path {manifest_path!r}: expected a path outside folder, because MoEngage imports every file"
            " in it"
        )
    return manifest_path


class FolderLog(Protocol):
    """The part of a logger that :class:`ImportFolder` uses."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Write a line."""

    def error(self, message: str, /, *args: Any) -> Any:
        """Write a line about an error."""


def _is_of_nobody(_name: str) -> bool:
    return False


class ImportFolder:
    """The files that one try writes to a folder. On exit, files that were not published are removed.

    On a disk they are in the folder itself, under hidden names until they are renamed. On any other storage they
    are written to the worker's temporary folder and uploaded: to an object store under their names, to SFTP and
    the like under hidden names first. On entry, hidden files of earlier tries that were killed are removed.

    On a disk only the worker's user can read the files (mode 0600). In a folder with the setgid bit the folder's
    group can read them too (0640), such as the group of an SFTP server that MoEngage reads from.

    :param folder: URI of any ObjectStoragePath.
    :param log: gets the names of files that could not be removed.
    :param is_of_earlier_try: returns whether a file with this name belongs to an earlier try of the same task.
    :param before_each: called before each step of publishing; an exception of it removes all files.
    :raises StorageError: by everything that uses the storage.
    """

    def __init__(
        self,
        folder: str,
        log: FolderLog,
        is_of_earlier_try: Callable[[str], bool] = _is_of_nobody,
        before_each: Callable[[], None] = lambda: None,
    ) -> None:
        self._named = partial(named, "folder", folder)
        with self._named("opened"):
            place = local_or_remote(folder)
            self._store: _Store = (
                _Disk(place)
                if is_local(place)
                else _Remote(place.fs, place.path, appears_whole=place.protocol in APPEAR_WHOLE)
            )
        self._log = log
        self._is_of_earlier_try = is_of_earlier_try
        self._before_each = before_each
        self._names: list[str] = []
        self._streams: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        try:
            with self._named("written"):
                self._store.check()
        except BaseException:
            self._store.close()
            raise
        try:
            names = list(self._store.names())
        except Exception as error:  # noqa: BLE001 (each file system has its own errors; it may allow only writing)
            self._log.info("The folder cannot be searched for files of earlier tries (%s)", cause_of(error))
            names = []
        for name in names:
            if self._is_of_earlier_try(_revealed(name)) and self._try(self._store.remove, name):
                self._log.info("Removed %s, which an earlier try had left incomplete", name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            with suppress(StorageError):  # a full disk; closed all the same
                stream.close()
        for name in self._names:
            self._try(self._store.discard, name)
        self._store.close()

    def create(self, name: str) -> IO[bytes]:
        """Open a file for writing. It appears in the folder once it is published."""
        self._names.append(name)
        with self._named("written"):
            stream = self._store.create(name)
        self._streams.append(stream)
        return stream

    def publish(self) -> None:
        """Make all files appear; they have to be closed. If one of them cannot, none remains.

        :raises MoEngageError: if one of them is in the folder already; MoEngage would skip it.
        """
        for name in self._names:
            with self._named("read"):
                exists = self._store.exists(name)
            if exists:
                raise MoEngageError(
                    f"{name} is already in the folder; MoEngage skips file names that it has seen before"
                )
        revealed: list[str] = []
        try:
            for name in self._names:
                self._before_each()
                with self._named("written"):
                    self._store.prepare(name)
            for name in self._names:
                self._before_each()
                revealed.append(name)
                with self._named("written"):
                    self._store.reveal(name)
        except BaseException:
            for name in revealed:
                self._try(self._store.remove, name)
            raise
        self._names = []

    def _try(self, act: Callable[[str], None], name: str) -> bool:
        try:
            act(name)
        except Exception as error:  # noqa: BLE001 (each file system fails in its own way)
            self._log.error("%s could not be removed (%s)", name, cause_of(error))
            return False
        return True


class _Store(Protocol):
    """One kind of storage, and the steps by which files get there."""

    def check(self) -> None:
        """Find out whether files can be written, as far as that is possible before there are any."""

    def names(self) -> Iterable[str]:
        """Return the names of all files in the folder; none if it cannot have hidden ones."""

    def create(self, name: str) -> IO[bytes]: ...

    def exists(self, name: str) -> bool: ...

    def prepare(self, name: str) -> None:
        """Do everything that is possible before the file appears."""

    def reveal(self, name: str) -> None:
        """Make the file appear."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def discard(self, name: str) -> None:
        """Remove the hidden file, if there is one."""

    def close(self) -> None: ...


class _Disk:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self) -> None:
        check_folder_to_write(self._folder)

    def names(self) -> Iterable[str]:
        return [path.name for path in self._folder.iterdir()] if self._folder.exists() else []

    def create(self, name: str) -> IO[bytes]:
        private_folder(self._folder)
        self._hidden(name).unlink(missing_ok=True)
        return open_named(self._hidden(name), "xb", "folder")

    def exists(self, name: str) -> bool:
        return (self._folder / name).exists()

    def prepare(self, name: str) -> None:
        pass

    def reveal(self, name: str) -> None:
        if self._folder.stat().st_mode & stat.S_ISGID:
            self._hidden(name).chmod(_GROUP_CAN_READ)
        self._hidden(name).rename(self._folder / name)

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def discard(self, name: str) -> None:
        self._hidden(name).unlink(missing_ok=True)

    def close(self) -> None:
        pass

    def _hidden(self, name: str) -> Path:
        return self._folder / _hidden(name)


class _Remote:
    """Storage behind an fsspec file system. Its ``open`` is not used: after an error, what has been written so far
    would appear.
    """

    def __init__(self, file_system: Any, folder: str, *, appears_whole: bool) -> None:
        self._fs = file_system
        self._folder = PurePosixPath(folder)
        self._appears_whole = appears_whole
        self._hidden: set[str] = set()
        self._here = ScratchFolder()

    def check(self) -> None:
        """Check nothing: a store may allow only writing."""

    def names(self) -> Iterable[str]:
        if self._appears_whole or not self._fs.exists(str(self._folder)):
            return []
        return [PurePosixPath(path).name for path in self._fs.ls(str(self._folder), detail=False)]

    def create(self, name: str) -> IO[bytes]:
        return open_named(self._here.path / name, "wb", "temporary folder")

    def exists(self, name: str) -> bool:
        with suppress(PermissionError):  # with write access only, this cannot be known
            return bool(self._fs.exists(self._path(name)))
        return False

    def prepare(self, name: str) -> None:
        if not self._appears_whole:
            self._fs.makedirs(str(self._folder), exist_ok=True)
            self._hidden.add(name)
            self._upload(name, _hidden(name))

    def reveal(self, name: str) -> None:
        if self._appears_whole:
            self._upload(name, name)
        else:
            self._fs.mv(self._path(_hidden(name)), self._path(name))

    def remove(self, name: str) -> None:
        if self._fs.exists(self._path(name)):
            self._fs.rm_file(self._path(name))

    def discard(self, name: str) -> None:
        if name in self._hidden:
            self.remove(_hidden(name))

    def close(self) -> None:
        self._here.close()

    def _upload(self, name: str, to: str) -> None:
        self._fs.put_file(os.fspath(self._here.path / name), self._path(to))

    def _path(self, name: str) -> str:
        return str(self._folder / name)


def _hidden(name: str) -> str:
    """Return a name that matches no import's pattern: it begins with a dot and does not end in a date."""
    return f".{name}{_PART}"


def _revealed(hidden: str) -> str:
    """Return the name that a hidden file was to get; empty if the file is not a hidden one."""
    is_hidden = hidden.startswith(".") and hidden.endswith(_PART)
    return hidden[1 : -len(_PART)] if is_hidden else ""
