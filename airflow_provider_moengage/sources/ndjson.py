"""Reads elements from NDJSON files on any storage that Airflow's ObjectStoragePath supports."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.exceptions import MoEngageError, MoEngageFileFormatError, MoEngageFileNotFoundError
from airflow_provider_moengage.hooks.errors import storage_failure, storage_failures
from airflow_provider_moengage.sources.file_patterns import NO_FOLDER, FilePattern, place_of
from airflow_provider_moengage.storage import StorageError, is_local, local_or_remote, named, shown, storage_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

LONGEST_LINE = 16 * 2**20
"""Most bytes of a line: more than a hundred times what a request may have. A longer line is rather a whole file
without line ends, such as a JSON array, and is not read into memory."""


@dataclass(frozen=True)
class NdjsonFiles:
    """Files with one element a line, read one after another in the order of their paths.

    :param paths: at least one.
    :param patterns: what they were found by.
    """

    paths: tuple[ObjectStoragePath, ...]
    patterns: tuple[FilePattern, ...]

    @classmethod
    def matching(cls, patterns: str | Sequence[str]) -> NdjsonFiles:
        """Return the files that match patterns.

        :param patterns: URIs, with ``*``, ``?``, ``[...]`` or ``**`` in the path.
        :raises MoEngageFileNotFoundError: naming the pattern that matches nothing; a FileNotFoundError as well.
        :raises MoEngageRequestError: if the path has an unknown scheme, or the worker may not read there.
        :raises MoEngageError: if the storage fails.
        :raises MoEngageFileFormatError: if a file on the worker's disk is not UTF-8, or compressed. One on
            another storage is found when it is read, because opening it twice would cost a request each.
        """
        found: dict[str, ObjectStoragePath] = {}
        read = []
        for text in [patterns] if isinstance(patterns, str) else patterns:
            with _reading(text):
                pattern = FilePattern.read(text)
                matches = pattern.files()
                if not matches and not pattern.wild and pattern.folder.fs.isdir(pattern.folder.path):
                    raise MoEngageFileNotFoundError(
                        f"path {shown(text)!r}: no such file, but a folder; add which files, such as /*.ndjson"
                    )
                if not matches:
                    _look_at(local_or_remote(str(pattern.folder)))
                    raise FileNotFoundError
            read.append(pattern)
            found.update(sorted((str(match), match) for match in matches))
        for file in found.values():
            if is_local(on_disk := local_or_remote(str(file))):
                with _reading(file), on_disk.open("rb") as stream:
                    _check_encoding(file, stream.read(4))
        return cls(tuple(found.values()), tuple(read))

    def check_not_read(self, argument: str, path: str) -> None:
        """Check that a file which the run writes is none of these files, and matches no pattern: a retry would
        read it, and would not find the same elements as the first try.

        :param argument: its name, for messages.
        :raises ValueError: naming the argument.
        :raises MoEngageRequestError: if the path has an unknown scheme.
        """
        with storage_failures("nothing was sent"), named(argument, path, "written"):
            file = storage_path(path)
            is_read = place_of(file) in {place_of(each) for each in self.paths}
            taken = next((pattern for pattern in self.patterns if pattern.would_take(file)), None)
        if is_read:
            raise ValueError(f"{argument} {shown(path)!r}: is one of the files to read; choose another file")
        if taken is not None:
            raise ValueError(
                f"{argument} {shown(path)!r}: matches path {shown(taken.text)!r}, so a retry would read it; choose"
                " another folder"
            )

    def versions(self) -> list[list[str]]:
        """Return what changes when a file changes: path, size, and a version or time if the storage has one."""
        found = []
        for path in self.paths:
            with _reading(path):
                found.append([str(path), *_version(path)])
        return found

    def __iter__(self) -> Iterator[Any]:
        """Yield one element per line; of a line of a rejects file, its element.

        :raises MoEngageError: see :meth:`lines`.
        """
        return map(_unwrapped, self.lines())

    def lines(self) -> Iterator[Any]:
        """Yield each line as JSON. One that is not JSON is yielded as text and becomes a reject.

        :raises MoEngageError: if the storage fails, or a file becomes shorter while it is read.
        :raises MoEngageFileFormatError: if a file is not UTF-8, is compressed, or has a line above
            :data:`LONGEST_LINE`.
        """
        import msgspec

        decode = msgspec.json.Decoder().decode
        for path in self.paths:
            with _reading(path), path.open("rb") as file:  # type: ignore[no-untyped-call, unused-ignore]
                size = path.fs.info(path.path).get("size")
                is_first, length = True, 0
                # Airflow 2's files cannot be iterated.
                for number, read in enumerate(iter(partial(file.readline, LONGEST_LINE + 1), b""), start=1):
                    if len(read) > LONGEST_LINE:
                        raise MoEngageFileFormatError(
                            f"path {str(path)!r}: line {number:,} is longer than {LONGEST_LINE // 2**20} MiB;"
                            " write one element on each line"
                        )
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


@contextmanager
def _reading(path: object) -> Iterator[None]:
    """Raise the provider's exception for each error of a storage."""
    try:
        with named("path", path, "read", but=(MoEngageError,)):
            yield
    except StorageError as error:
        if error.is_missing:
            raise MoEngageFileNotFoundError(f"path {shown(path)!r}: no such file") from None
        raise storage_failure(error) from None


def _look_at(place: Path | ObjectStoragePath) -> None:
    """Raise the error that hides what is at a place; file systems find nothing where they may not look."""
    if is_local(place):
        with suppress(*NO_FOLDER):
            place.stat()
            if place.is_dir():
                next(place.iterdir(), None)


def _without_bom(path: ObjectStoragePath, line: bytes) -> bytes:
    """Return a file's first line without the byte order mark that Windows tools and spreadsheets write.

    :raises MoEngageFileFormatError: if the file is not UTF-8, or compressed.
    """
    _check_encoding(path, line)
    return line.removeprefix(codecs.BOM_UTF8)


_FORMATS = {
    b"\x1f\x8b": "compressed by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard",
    b"BZh": "compressed by bzip2",
    b"\xfd7zX": "compressed by xz",
    b"\x04\x22\x4d\x18": "compressed by LZ4",
    b"PK\x03\x04": "a ZIP archive",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
}
"""How files of other formats begin; no JSON text does."""


def _check_encoding(path: ObjectStoragePath, start: bytes) -> None:
    for magic, what in _FORMATS.items():
        if start.startswith(magic):
            raise MoEngageFileFormatError(f"path {str(path)!r}: is {what}; unpack or convert it to plain NDJSON")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start[:4]:
        raise MoEngageFileFormatError(f"path {str(path)!r}: the file is in UTF-16 or UTF-32; save it as UTF-8")


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
