"""The folder of a sync's state, on any storage.

| file | contains |
|---|---|
| ``manifest-<generation>.json`` | which part is current, and of which run, mapping and workspace it is |
| ``part-<generation>-<token>.bin`` | the records of a whole run |
| ``ids-<generation>-<token>.bin`` | the IDs of the users in the part, if users are removed |
| ``begun-<number>.json`` | which run has begun last |
| ``done-<generation>-<run>-<shard>.json`` | whether a shard of a run has read all of its rows, and sent them |
| ``journal-<generation>-<number>-<token>-<sequence>.bin`` | what a run has sent since |
| ``lease.json``, ``lease-<shard>.json`` | which run uses the state now |

A manifest is created, never overwritten: of two runs that have both read generation 7, one creates generation 8,
and the other fails. Two generations are kept.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple

import msgspec

from airflow_provider_moengage.bulk.changed.part import DamagedError, sync
from airflow_provider_moengage.bulk.changed.records import checksum
from airflow_provider_moengage.storage import is_local, open_private, private_folder, remove_file, write_whole

_KEPT = 2
"""Generations."""

_MANIFEST = re.compile(r"manifest-(\d{8,})\.json")
_PART = re.compile(r"part-(\d{8,})-\w+\.bin")
_IDS = re.compile(r"ids-(\d{8,})-\w+\.bin")
_DONE = re.compile(r"done-(\d{8,})-\w+-\w+\.json")
_BEGUN = re.compile(r"begun-(\d{8,})\.json")
_JOURNAL = re.compile(r"journal-(\d{8,})-(\d{4,})-(\w+)-(\d{6,})\.bin")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A generation of the state.

    :param generation: 1, 2, 3, ...
    :param token: of the run that has created it.
    :param encoding: version of how elements are encoded; digests of another version cannot be compared.
    :param salt: of the digests, in hexadecimal.
    :param workspace: digest of the workspace that the users are in.
    :param mapping: fingerprint of the mappings.
    :param project: digest of the portfolio's project; empty without one, as in a state of an earlier version.
    :param columns: of the query.
    :param moment: when the run was due, ISO 8601 in UTC; None if that is unknown.
    :param run: of which run it is, for messages.
    :param tries: digest of the tries of that run.
    :param part: name of the part; None if no run has read all rows yet.
    :param repeated: users whom several rows had, and what was accepted last, in hexadecimal.
    :param consumed: names of the journals that the part contains.
    :param ids: name of the file with the IDs of the users in the part; None if the run kept none.
    :param rows: how many rows the last successful runs have read, by run, the latest last.
    :param parts: names of the parts of the shards of the run, which come before ``part``.
    :param ranges: digests of the bounds of each of these: after which key, and up to which.
    :param ids_before: names of the files with the IDs of the users in these.
    """

    generation: int
    token: str
    encoding: int
    salt: str
    workspace: str
    mapping: str
    columns: list[str]
    moment: str | None
    run: str
    tries: str
    part: str | None
    repeated: dict[str, str]
    consumed: list[str]
    project: str = ""
    ids: str | None = None
    rows: dict[str, int] = {}
    parts: list[str] = []
    ranges: list[tuple[str | None, str | None]] = []
    ids_before: list[str] = []

    @property
    def all_parts(self) -> list[str]:
        """Names of all parts, in the order of the rows."""
        return [] if self.part is None else [*self.parts, self.part]

    @property
    def all_ids(self) -> list[str]:
        """Names of all files with IDs."""
        return [] if self.ids is None else [*self.ids_before, self.ids]


class JournalFile(NamedTuple):
    """A journal. Journals compare in the order in which they were written.

    :param generation: the one that its run has read.
    :param number: of the try.
    :param token: of the try.
    :param sequence: of the file, within the try.
    """

    generation: int
    number: int
    token: str
    sequence: int
    name: str


class GenerationTakenError(Exception):
    """Another run has created this generation."""


class StateFolder:
    """Reads and writes the files of a state.

    :param path: a pathlib Path, or an ObjectStoragePath.
    """

    def __init__(self, path: Any) -> None:
        self._path = path
        self.is_on_disk = is_local(path)

    def make(self) -> None:
        """Create the folder, readable by its owner only."""
        if self.is_on_disk:
            private_folder(self._path)

    def __str__(self) -> str:
        return str(self._path)

    def names(self) -> list[str]:
        """Return the names of its files, sorted."""
        try:
            if self.is_on_disk:
                return sorted(file.name for file in self._path.iterdir())
            found = self._store().ls(self._path.path, detail=False)
            return sorted(name.rstrip("/").rpartition("/")[2] for name in found)
        except FileNotFoundError:
            return []

    def own_names(self) -> list[str]:
        """Return the names of the files of a state; other files in the folder are somebody else's."""
        patterns = (_MANIFEST, _PART, _IDS, _JOURNAL, _DONE, _BEGUN)
        return [name for name in self.names() if any(pattern.fullmatch(name) for pattern in patterns)]

    def generations(self) -> list[int]:
        """Return the generations that have a manifest, the newest first."""
        return sorted(_numbers(_MANIFEST, self.names()), reverse=True)

    def newest(self) -> Manifest | None:
        """Read the newest manifest; None if there was never one.

        :raises DamagedError: if it is not as it was written, or missing.
        """
        names = self.names()
        generations = _numbers(_MANIFEST, names)
        last = max(generations, default=0)
        parts = _numbers(_PART, names) | _numbers(_IDS, names)
        # A run that has read manifest 7 writes journals 7 and part 8, and may be killed before it stores manifest
        # 8. So only later ones show that there was a manifest 8.
        if max(_numbers(_JOURNAL, names), default=0) > last or max(parts, default=0) > last + 1:
            raise DamagedError("the newest manifest is missing")
        if not last:
            return None
        found = self.manifest(last)
        # Only a run that has stored manifest 8 removes manifest 6, and the journals 7 after it.
        if found.part is not None and last + 1 in parts and last > 1 and last - 1 not in generations:
            raise DamagedError("the newest manifest is missing")
        return found

    def newest_generation(self) -> int:
        """Return the generation of the newest manifest, whether it can be read or not; 0 if there is none."""
        return max(_numbers(_MANIFEST, self.names()), default=0)

    def unused_generation(self) -> int:
        """Return a generation above those of all files."""
        names = self.names()
        return 1 + max(
            (number for kind in (_MANIFEST, _PART, _IDS, _JOURNAL) for number in _numbers(kind, names)), default=0
        )

    def manifest(self, generation: int) -> Manifest:
        """Read a manifest.

        :raises DamagedError: if it is not as it was written.
        """
        try:
            content = json.loads(self.read(_manifest_name(generation)))
            given = content.pop("checksum")
            found = msgspec.convert(content, Manifest)
        except (ValueError, KeyError, AttributeError, TypeError, msgspec.ValidationError):
            raise DamagedError("the manifest is damaged") from None
        if given != _checksum_of(content) or found.generation != generation:
            raise DamagedError("the manifest is damaged")
        return found

    def commit(self, manifest: Manifest) -> None:
        """Create a generation.

        :raises GenerationTakenError: if another run has created it.
        """
        content = msgspec.to_builtins(manifest)
        data = json.dumps({**content, "checksum": _checksum_of(content)}).encode()
        if not self.create(_manifest_name(manifest.generation), data, manifest.token):
            raise GenerationTakenError

    def create(self, name: str, data: bytes, token: str) -> bool:
        """Create a file with a content; return False if it is there already.

        :param token: makes the content another one than that of other tries.
        """
        file = self._path / name
        if self.is_on_disk:
            new = file.with_name(f"{file.name}.{token}")
            with self._new(new) as stream:
                stream.write(data)
                sync(stream)
            try:
                os.link(new, file)
            except FileExistsError:
                return False
            finally:
                new.unlink()
            return True
        store = self._store()
        if store.exists(file.path):
            return False
        store.pipe_file(file.path, data)
        # An object store may have overwritten what another run wrote meanwhile.
        return bool(store.cat_file(file.path) == data)

    def clean_up(self, current: Manifest) -> None:
        """Remove what no generation that is kept needs. Call it by the run that holds the lease."""
        oldest = current.generation - _KEPT + 1
        parts = {*current.all_parts}.union(*map(self._parts_of, range(oldest, current.generation)))
        names = self.names()
        begun = max(_numbers(_BEGUN, names), default=0)

        def is_needed(name: str) -> bool:
            if match := _MANIFEST.fullmatch(name):
                return int(match[1]) >= oldest
            if match := _DONE.fullmatch(name):
                return int(match[1]) >= current.generation
            if match := _BEGUN.fullmatch(name):
                return int(match[1]) > begun - _KEPT
            if _PART.fullmatch(name):
                return name in parts
            if _IDS.fullmatch(name):  # those of an older generation may be of people who were deleted
                return name in current.all_ids
            return name not in current.consumed and not name.startswith("manifest-")

        useless = [name for name in names if not is_needed(name)]
        useless.sort(key=lambda name: not name.startswith("manifest-"))  # for newest()
        if self.is_on_disk:
            for name in useless:
                self.remove(name)
        elif useless:
            self._path.fs.rm([(self._path / name).path for name in useless])

    def _parts_of(self, generation: int) -> list[str]:
        try:
            return self.manifest(generation).all_parts
        except (DamagedError, FileNotFoundError):
            return []

    def new_file(self, name: str) -> IO[bytes]:
        """Create a file, readable by its owner only, and open it to write."""
        return self._new(self._path / name)

    def open(self, name: str) -> IO[bytes]:
        """Open a file to read."""
        file = self._path / name
        stream: IO[bytes] = file.open("rb") if self.is_on_disk else self._store().open(file.path, "rb")
        return stream

    def read(self, name: str) -> bytes:
        """Return what a file contains."""
        with self.open(name) as stream:
            return stream.read()

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        remove_file(self._path / name)

    def done(self, generation: int, run: str) -> list[str]:
        """Return the names of the files that say which shards of a run are done."""
        start = f"done-{generation:08}-{run}-"
        return [name for name in self.names() if name.startswith(start) and _DONE.fullmatch(name)]

    def begun(self) -> set[int]:
        """Return the numbers of the marks of runs that have begun."""
        return _numbers(_BEGUN, self.names())

    def journals(self) -> list[JournalFile]:
        """Return the journals, in the order in which they were written."""
        found = ((name, _JOURNAL.fullmatch(name)) for name in self.names())
        return sorted(
            JournalFile(int(match[1]), int(match[2]), match[3], int(match[4]), name)
            for name, match in found
            if match is not None
        )

    def read_document(self, name: str) -> dict[str, Any] | None:
        """Return a small JSON document; None if there is none, empty if it cannot be read."""
        try:
            content = json.loads(self.read(name))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    def write_document(self, name: str, content: Mapping[str, Any]) -> None:
        """Replace a small JSON document."""
        write_whole(self._path / name, json.dumps(content).encode())

    def _store(self) -> Any:
        """Return the file system of the object store, without what it remembers of listings.

        Other runs write to the folder, too, and a remembered listing has neither their files nor their leases.
        """
        store = self._path.fs
        store.invalidate_cache(self._path.path)
        return store

    def _new(self, file: Any) -> IO[bytes]:
        if self.is_on_disk:
            return open_private(file, "xb")
        stream: IO[bytes] = file.fs.open(file.path, "wb")
        return stream


def _numbers(kind: re.Pattern[str], names: Sequence[str]) -> set[int]:
    """Return the generations of the files of a kind."""
    return {int(match[1]) for name in names if (match := kind.fullmatch(name))}


def begun_name(number: int) -> str:
    """Return the name of the mark of a run that has begun."""
    return f"begun-{number:08}.json"


def done_name(generation: int, run: str, shard: str) -> str:
    """Return the name of the file that says that a shard is done.

    :param generation: the one that the run has read.
    """
    return f"done-{generation:08}-{run}-{shard}.json"


def part_name(generation: int, token: str) -> str:
    """Return the name of a part."""
    return f"part-{generation:08}-{token}.bin"


def ids_name(generation: int, token: str) -> str:
    """Return the name of a file of IDs."""
    return f"ids-{generation:08}-{token}.bin"


def journal_name(generation: int, number: int, token: str, sequence: int) -> str:
    """Return the name of a journal.

    :param generation: the one that the run has read.
    :param number: of the try.
    :param sequence: of the file, within the try.
    """
    return f"journal-{generation:08}-{number:04}-{token}-{sequence:06}.bin"


def _manifest_name(generation: int) -> str:
    return f"manifest-{generation:08}.json"


def _checksum_of(content: Mapping[str, Any]) -> str:
    return checksum(json.dumps(content, sort_keys=True).encode()).hex()
