"""Patterns of files on any storage: which files match, and whether a file that a run writes would match, too."""

from __future__ import annotations

import errno
import fnmatch
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.exceptions import MoEngageFileFormatError
from airflow_provider_moengage.storage import is_local, local_or_remote, named, shown, storage_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_GLOB = frozenset("*?[")

NO_FOLDER = (FileNotFoundError, NotADirectoryError)
"""A folder was removed meanwhile, or there is none."""


@dataclass(frozen=True)
class FilePattern:
    """A pattern with ``*``, ``?``, ``[...]`` or ``**``, or the path of one file.

    :param text: as the user wrote it.
    :param folder: the path before the first part with a wildcard; without a wildcard the whole path.
    :param wild: the rest; empty without a wildcard.
    """

    text: str
    folder: ObjectStoragePath
    wild: str

    @classmethod
    def read(cls, text: str) -> FilePattern:
        """Return a pattern.

        :raises OSError, ValueError: if its storage has no client.
        """
        plain, wild = _cut(text)
        return cls(text, storage_path(plain), wild)

    def files(self) -> list[ObjectStoragePath]:
        """Return the files that match.

        :raises StorageError: naming what may not be read on the worker's disk.
        :raises MoEngageFileFormatError: if a link hides some of them.
        :raises Exception: what the storage raises.
        """
        if not self.wild:
            return [self.folder] if self.folder.fs.isfile(self.folder.path) else []
        local = local_or_remote(str(self.folder))
        searched = _Searched.of(local, self.wild.split("/")) if is_local(local) else _Searched()
        candidates = _glob(self.folder, self.wild)
        matches = [match for match in candidates if match.fs.isfile(match.path)]
        if is_local(local):
            for place in {str(match) for match in candidates} - {str(match) for match in matches}:
                with named("path", place, "read"):
                    _check_reachable(place)
            self._check_links(searched.by_link - searched.plain)
        return matches

    def _check_links(self, folders: set[str]) -> None:
        """Check that no file is left out because only a link leads to its folder: file systems do not follow it.

        :raises MoEngageFileFormatError: naming the folder.
        """
        last = self.wild.rpartition("/")[2]
        for folder in sorted(folders):
            with suppress(*NO_FOLDER), os.scandir(folder) as entries:
                if any(fnmatch.fnmatchcase(entry.name, last) and entry.is_file() for entry in entries):
                    raise MoEngageFileFormatError(
                        f"path {shown(self.text)!r}: a link leads to files in {folder!r} that match, and a pattern"
                        " does not follow it; give that folder a path of its own, or remove the link"
                    )

    def would_take(self, file: ObjectStoragePath) -> bool:
        """Return whether a file would match once it is there."""
        family, folder = place_of(file.parent)
        own_family, base = place_of(self.folder)
        if not self.wild or family != own_family:
            return False
        parts = _parts(self.wild)
        if _is_match(_parts(base), [*_parts(folder), file.name], parts):
            return True
        by_a_link = not family and fnmatch.fnmatchcase(file.name, parts[-1])
        if not by_a_link:
            return False
        searched = _Searched.of(Path(base), parts)
        return folder in searched.plain | searched.by_link


def place_of(path: ObjectStoragePath) -> tuple[str, str]:
    """Return a family of storages (empty: the worker's disk) and the place in it: the same for each way to write a
    path, with links, ``..``, another scheme or the ID of a connection.
    """
    if path.protocol in _ON_DISK:
        return "", os.path.realpath(path.path)
    return _FAMILIES.get(path.protocol, path.protocol), "/".join(_parts(path.path))


_ON_DISK = ("", "file", "local")
"""Schemes of the worker's disk."""

_FAMILIES = {"s3a": "s3", "gcs": "gs", "abfss": "abfs"}


def _parts(place: str) -> list[str]:
    return [part for part in place.split("/") if part]


def _is_match(base: Sequence[str], place: Sequence[str], parts: Sequence[str]) -> bool:
    return place[: len(base)] == base and _matches(place[len(base) :], parts)


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts:
        return not names
    first, *others = parts
    if "**" in first:  # any number of folders, or none
        return any(_matches(names[at:], others) for at in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], first) and _matches(names[1:], others)


def _cut(pattern: str) -> tuple[str, str]:
    """Split a pattern before the first folder that has a wildcard."""
    scheme, separator, rest = pattern.rpartition("://")
    folders = rest.split("/")
    wild = next((at for at, folder in enumerate(folders) if _GLOB & set(folder)), len(folders))
    plain = "/".join(folders[:wild]) or ("/" if rest.startswith("/") else "." if not separator else "")
    return f"{scheme}{separator}{plain}", "/".join(folders[wild:])


def _glob(folder: ObjectStoragePath, wild: str) -> list[Any]:
    """Return what matches in a folder, by the file system that files are read with. Some versions of
    ObjectStoragePath match without the connection's credentials.
    """
    base = folder.path.strip("/")
    found = folder.fs.glob(f"{folder.path.rstrip('/')}/{wild}")
    return [folder / name.strip("/").removeprefix(base).lstrip("/") for name in found]


@dataclass(frozen=True)
class _Searched:
    """The folders on the disk whose files the last part of a pattern is compared with.

    :param plain: those that are reached without a link.
    :param by_link: those that are reached by a link that matches a part of the pattern.
    """

    plain: set[str] = field(default_factory=set)
    by_link: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, folder: Path, parts: Sequence[str]) -> _Searched:
        """Look for them, and check that each folder on the way can be read: a file system leaves out the others
        without a word.

        :param parts: the pattern in that folder, part by part.
        :raises StorageError: naming the folder.
        """
        found = cls()
        seen = set()
        pending = [(folder, tuple(parts), False)]
        while pending:
            place, rest, by_link = pending.pop()
            try:
                with named("path", place, "read", but=NO_FOLDER):
                    facts = os.stat(f"{place}/.")  # noqa: PTH116 (pathlib drops the dot, which needs the right to enter)
                    if (key := (facts.st_dev, facts.st_ino, rest, by_link)) in seen:
                        continue  # a link leads back
                    seen.add(key)
                    with os.scandir(place) as entries:
                        inside = [(entry.name, entry.is_symlink()) for entry in entries if _is_folder(entry)]
            except NO_FOLDER:
                continue
            part, *others = rest
            if not others:
                (found.by_link if by_link else found.plain).add(os.path.realpath(place))
            for name, is_link in inside:
                if "**" in part:  # any number of folders, or none
                    pending.append((place / name, rest, by_link or is_link))
                elif others and fnmatch.fnmatchcase(name, part):
                    pending.append((place / name, tuple(others), by_link or is_link))
            if "**" in part and others:
                pending.append((place, tuple(others), by_link))
        return found


def _check_reachable(place: str) -> None:
    """Raise the error that hides whether a link leads to a file."""
    try:
        os.stat(place.removeprefix("file://"))  # noqa: PTH116 (as fsspec does)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except PermissionError:
        return True  # a link to a place that cannot be seen; reading it raises
    except OSError:
        return False  # a link to itself
