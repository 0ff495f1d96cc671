"""Reads elements from NDJSON files on any storage that Airflow's ObjectStoragePath supports."""

from __future__ import annotations

import codecs
import errno
import fnmatch
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.exceptions import MoEngageError, MoEngageFileNotFoundError
from airflow_provider_moengage.hooks.errors import storage_failure, storage_failures
from airflow_provider_moengage.storage import StorageError, is_local, local_or_remote, named, shown, storage_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class NdjsonFiles:
    """Files with one element a line, read one after another in the order of their paths.

    :param paths: at least one.
    """

    paths: tuple[ObjectStoragePath, ...]

    @classmethod
    def matching(cls, patterns: str | Sequence[str]) -> NdjsonFiles:
        """Return the files that match patterns.

        :param patterns: URIs, with ``*``, ``?``, ``[...]`` or ``**`` in the path.
        :raises MoEngageFileNotFoundError: naming the pattern that matches nothing; a FileNotFoundError as well.
        :raises MoEngageRequestError: if the path has an unknown scheme, or the worker may not read there.
        :raises MoEngageError: if the storage fails.
        :raises ValueError: if a file on the worker's disk is not UTF-8. One on another storage is found when it is
            read, because opening it twice would cost a request each.
        """
        found: dict[str, Any] = {}
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            plain, wild = _cut(pattern)
            with _reading(pattern):
                path = storage_path(plain)
                local = local_or_remote(plain)
                if wild and is_local(local):
                    _check_readable(local, wild.split("/"))
                candidates = _glob(path, wild) if wild else [path]
                matches = [match for match in candidates if path.fs.isfile(match.path)]
                if wild and is_local(local):
                    for place in {str(match) for match in candidates} - {str(match) for match in matches}:
                        with named("path", place, "read"):
                            _check_reachable(place)
                if not matches and not wild and path.fs.isdir(path.path):
                    raise MoEngageFileNotFoundError(
                        f"path {shown(pattern)!r}: no such file, but a folder; add which files, such as /*.ndjson"
                    )
                if not matches:
                    _look_at(local)
                    raise FileNotFoundError
            found.update(sorted((str(match), match) for match in matches))
        for file in found.values():
            if is_local(on_disk := local_or_remote(str(file))):
                with _reading(file), on_disk.open("rb") as stream:
                    _check_encoding(file, stream.read(4))
        return cls(tuple(found.values()))

    def has(self, path: str) -> bool:
        """Return whether ``path``, where rejects are to go, is one of the files.

        :raises MoEngageRequestError: if it has an unknown scheme.
        """
        with storage_failures("nothing was sent"), named("rejects_path", path, "written"):
            return _plain(storage_path(path)) in {_plain(file) for file in self.paths}

    def versions(self) -> list[list[str]]:
        """Return what changes when a file changes: path, size, and a version or time if the storage has one."""
        found = []
        for path in self.paths:
            with _reading(path):
                found.append([str(path), *_version(path)])
        return found

    def __iter__(self) -> Iterator[Any]:
        """Yield one element per line; of a line of a rejects file, its element.

        :raises MoEngageError, ValueError: see :meth:`lines`.
        """
        return map(_unwrapped, self.lines())

    def lines(self) -> Iterator[Any]:
        """Yield each line as JSON. One that is not JSON is yielded as text and becomes a reject.

        :raises MoEngageError: if the storage fails, or a file becomes shorter while it is read.
        :raises ValueError: if a file is not UTF-8.
        """
        import msgspec

        decode = msgspec.json.Decoder().decode
        for path in self.paths:
            with _reading(path), path.open("rb") as file:  # type: ignore[no-untyped-call, unused-ignore]
                size = path.fs.info(path.path).get("size")
                is_first, length = True, 0
                for read in iter(file.readline, b""):  # Airflow 2's files cannot be iterated
                    length += len(read)
                    line = _without_bom(path, read) if is_first else read
                    is_first = False
                    if not line or line.isspace():
                        continue
                    try:
                        element = decode(line)
                    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                        yield line.decode(errors="replace").rstrip("\r\n")
                        continue
                    yield element
                if size is not None and length < size:
                    raise MoEngageError(
                        f"path {str(path)!r}: became shorter while it was read, so some of its lines are missing;"
                        " run the task again when the file is complete"
                    )


class _EncodingError(ValueError):
    """A file is not UTF-8."""


@contextmanager
def _reading(path: object) -> Iterator[None]:
    """Raise the provider's exception for each error of a storage."""
    try:
        with named("path", path, "read", but=(MoEngageError, _EncodingError)):
            yield
    except StorageError as error:
        if error.is_missing:
            raise MoEngageFileNotFoundError(f"path {shown(path)!r}: no such file") from None
        raise storage_failure(error) from None


def _look_at(place: Path | ObjectStoragePath) -> None:
    """Raise the error that hides what is at a place; file systems find nothing where they may not look."""
    if is_local(place):
        with suppress(FileNotFoundError, NotADirectoryError):
            place.stat()
            if place.is_dir():
                next(place.iterdir(), None)


def _without_bom(path: ObjectStoragePath, line: bytes) -> bytes:
    """Return a file's first line without the byte order mark that Windows tools and spreadsheets write.

    :raises ValueError: if the file is not UTF-8.
    """
    _check_encoding(path, line)
    return line.removeprefix(codecs.BOM_UTF8)


def _check_encoding(path: ObjectStoragePath, start: bytes) -> None:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start[:4]:
        raise _EncodingError(f"path {str(path)!r}: the file is in UTF-16 or UTF-32; save it as UTF-8")


def is_reject(line: Any) -> bool:
    """Return whether a line is one of a rejects file."""
    return isinstance(line, dict) and "element" in line and "codes" in line and "type" not in line


def _unwrapped(line: Any) -> Any:
    return line["element"] if is_reject(line) else line


_VERSION = ("ETag", "etag", "generation", "mtime", "LastModified", "last_modified", "updated", "created")


def _version(path: ObjectStoragePath) -> list[str]:
    facts = path.fs.info(path.path)
    changes = next((name for name in _VERSION if facts.get(name) is not None), None)
    return [str(facts.get("size")), "" if changes is None else str(facts[changes])]


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


def _check_readable(folder: Path, parts: Sequence[str]) -> None:
    """Check that each folder on the disk in which a pattern may match can be read: a file system leaves out the
    others without a word.

    :param parts: the pattern in that folder, part by part.
    :raises StorageError: naming the folder.
    """
    seen = set()
    pending = [(folder, tuple(parts))]
    while pending:
        place, rest = pending.pop()
        try:
            with named("path", place, "read", but=_NO_FOLDER):
                facts = os.stat(f"{place}/.")  # noqa: PTH116 (pathlib drops the dot, which needs the right to enter)
                if (key := (facts.st_dev, facts.st_ino, rest)) in seen:
                    continue  # a link leads back
                seen.add(key)
                with os.scandir(place) as entries:
                    inside = [entry.name for entry in entries if _is_folder(entry)]
        except _NO_FOLDER:
            continue
        part, *others = rest
        if "**" in part:  # any number of folders, or none
            pending += [(place / name, rest) for name in inside]
            if others:
                pending.append((place, tuple(others)))
        elif others:
            pending += [(place / name, tuple(others)) for name in inside if fnmatch.fnmatchcase(name, part)]


def _check_reachable(place: str) -> None:
    """Raise the error that hides whether a link leads to a file."""
    try:
        os.stat(place.removeprefix("file://"))  # noqa: PTH116 (as fsspec does)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise


_NO_FOLDER = (FileNotFoundError, NotADirectoryError)
"""A folder was removed meanwhile, or there is none."""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except PermissionError:
        return True  # a link to a place that cannot be seen; reading it raises
    except OSError:
        return False  # a link to itself


def _plain(path: ObjectStoragePath) -> str:
    """Return where a file is, the same for each way to write its path: with links, ``..`` or a scheme."""
    return os.path.realpath(path.path) if path.protocol in _ON_DISK else str(path)


_ON_DISK = ("", "file", "local")
"""Schemes of the worker's disk."""
