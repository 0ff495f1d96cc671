"""The folder that an import watches: files are written out of its sight, and appear whole, at the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import IO, Any, Protocol, Self

from airflow_provider_moengage.storage import is_local, local_or_remote

_NO_HOST = ("", "file", "local", "memory")
"""Schemes whose paths begin with a folder; in all others a bucket, container or host comes first."""

_APPEAR_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl"})
"""Schemes of object stores, which show a file when all of it is there. Others show it while it is written."""


def check_folder(folder: object) -> str:
    """Return the URI of a folder.

    :raises ValueError: naming the argument. MoEngage user guide, "Set Up a File Import", Folder Structure: root
        folders are not read, and a folder's name has no space.
    """
    text = folder if isinstance(folder, str) else ""
    scheme, _, path = text.rpartition("://")
    parts = [part for part in path.split("/") if part]
    if len(parts) < (1 if scheme in _NO_HOST else 2):
        raise ValueError(f"folder {folder!r}: expected the path of a folder; MoEngage reads none at the root")
    if any(character.isspace() for character in parts[-1]):
        raise ValueError(f"folder {folder!r}: MoEngage takes no folder with a space in its name")
    return text


def check_manifest_path(manifest_path: object, folder: str) -> str:
    """Return the URI of a manifest.

    :param folder: where it must not be, for MoEngage would take it for data.
    :raises ValueError: naming the argument.
    """
    if not isinstance(manifest_path, str) or not manifest_path.endswith(".json"):
        raise ValueError(f"manifest_path {manifest_path!r}: expected the path of a file that ends in .json")
    if manifest_path.rpartition("/")[0].rstrip("/") == folder.rstrip("/"):
        raise ValueError(
            f"manifest_path {manifest_path!r}: expected a place outside of folder, which holds data only"
        )
    return manifest_path


class ImportFolder:
    """Files of one try on their way into a folder. On leaving, whatever has not been published is gone.

    On a disk they are hidden in the folder itself until they are renamed. Everywhere else they are written to the
    worker's temporary folder and uploaded: to an object store under their names, to SFTP and the like under hidden
    ones first.

    :param folder: URI of any ObjectStoragePath.
    :param log: hears of files that could not be taken back.
    """

    def __init__(self, folder: str, log: Any) -> None:
        place = local_or_remote(folder)
        self._store: _Store = (
            _Disk(place)
            if is_local(place)
            else _Remote(place.fs, place.path, appears_whole=place.protocol in _APPEAR_WHOLE)
        )
        self._log = log
        self._names: list[str] = []
        self._streams: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            with suppress(OSError):  # a full disk; closed all the same
                stream.close()
        for name in self._names:
            self._try(self._store.discard, name)
        self._store.close()

    def create(self, name: str) -> IO[bytes]:
        """Open a file for writing that is in the folder once it is published."""
        self._names.append(name)
        stream = self._store.create(name)
        self._streams.append(stream)
        return stream

    def publish(self) -> None:
        """Let all files appear, which have to be closed. Where one cannot, none stays.

        :raises FileExistsError: where the folder has one of them already; MoEngage would skip it.
        """
        for name in self._names:
            if self._store.exists(name):
                raise FileExistsError(f"{name} is in the folder already, and MoEngage skips a name it has seen")
        begun: list[str] = []
        try:
            for name in self._names:
                self._store.bring(name)
            for name in self._names:
                begun.append(name)
                self._store.show(name)
        except BaseException:
            for name in begun:
                self._try(self._store.remove, name)
            raise
        self._names = []

    def _try(self, act: Callable[[str], None], name: str) -> None:
        try:
            act(name)
        except Exception as error:
            self._log.error("%s could not be removed (%s)", name, type(error).__name__)


class _Store(Protocol):
    """One kind of storage, and how files get there by steps."""

    def create(self, name: str) -> IO[bytes]: ...

    def exists(self, name: str) -> bool: ...

    def bring(self, name: str) -> None:
        """Do all that can be done before a file appears."""

    def show(self, name: str) -> None:
        """Let it appear."""

    def remove(self, name: str) -> None:
        """Take back what has appeared, if it has."""

    def discard(self, name: str) -> None:
        """Remove what is hidden, if it is there."""

    def close(self) -> None: ...


class _Disk:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, name: str) -> IO[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._hidden(name).open("wb")

    def exists(self, name: str) -> bool:
        return (self._folder / name).exists()

    def bring(self, name: str) -> None:
        pass

    def show(self, name: str) -> None:
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
    """Storage behind a fsspec file system. Its ``open`` is not used: after an error it would show what has been
    written so far.
    """

    def __init__(self, file_system: Any, folder: str, *, appears_whole: bool) -> None:
        self._fs = file_system
        self._folder = PurePosixPath(folder)
        self._appears_whole = appears_whole
        self._hidden: set[str] = set()
        self._here = TemporaryDirectory(prefix="moengage-")

    def create(self, name: str) -> IO[bytes]:
        return (Path(self._here.name) / name).open("wb")

    def exists(self, name: str) -> bool:
        with suppress(PermissionError):  # who may only write cannot be told
            return bool(self._fs.exists(self._path(name)))
        return False

    def bring(self, name: str) -> None:
        if not self._appears_whole:
            self._fs.makedirs(str(self._folder), exist_ok=True)
            self._hidden.add(name)
            self._upload(name, _hidden(name))

    def show(self, name: str) -> None:
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
        self._here.cleanup()

    def _upload(self, name: str, to: str) -> None:
        self._fs.put_file(os.path.join(self._here.name, name), self._path(to))  # noqa: PTH118

    def _path(self, name: str) -> str:
        return str(self._folder / name)


def _hidden(name: str) -> str:
    """A name that no import's pattern fits: it begins with a dot and ends in something else than a date."""
    return f".{name}.part"
