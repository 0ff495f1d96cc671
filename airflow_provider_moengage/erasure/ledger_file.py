"""A ledger in an NDJSON file on a disk, which only the worker's user can read. A lock keeps other tries away."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec

from airflow_provider_moengage.erasure.ledger import Entry, Event, LedgerError, RunFacts, record_of
from airflow_provider_moengage.storage import (
    cause_of,
    file_to_write,
    is_local,
    local_or_remote,
    named,
    open_private,
)


def check_ledger_path(path: str) -> str:
    """Return the path of a folder or file on a disk.

    :raises ValueError: if it is on another storage.
    """
    if "://" in path and not path.startswith("file://"):
        raise ValueError(
            f"ledger_path {path!r}: expected a folder or a .ndjson file on a disk that all workers share; files"
            " on other storages cannot be added to. Use ledger_table instead"
        )
    return path


class LedgerFile:
    """The entries of a run in a file, which is created if it is missing.

    :param path: of the file.
    """

    def __init__(self, path: str, facts: RunFacts) -> None:
        self._path = path
        self._facts = facts
        self._stream: IO[bytes] | None = None

    def open(self) -> None:
        """Open the file and lock it. A line that a killed process has not completed is removed.

        :raises LedgerError: if another process has it open.
        :raises StorageError: if it cannot be written.
        """
        file_to_write(self._path, "ledger_path")
        place = local_or_remote(check_ledger_path(self._path))
        if not is_local(place):
            raise LedgerError("it is not on a disk")
        with named("ledger_path", self._path, "written", but=(LedgerError,)):
            self._stream = _locked(place)
            _remove_torn_line(self._stream)

    def read(self) -> Iterable[Entry]:
        """Return the entries of the run.

        :raises LedgerError: if a line cannot be read.
        """
        stream, key = self._opened, self._facts.key
        stream.seek(0)
        for number, line in enumerate(stream, 1):
            try:
                row: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
                if all(row[name] == value for name, value in key.items()):
                    yield Entry(row["identity"], row["user_id"], row["attempt"], Event(row["event"]))
            except (msgspec.DecodeError, KeyError, ValueError):
                raise LedgerError(f"line {number:,} cannot be read; restore the file") from None

    def write(self, entries: Sequence[Entry]) -> None:
        """Add entries; returns when they are on the disk."""
        encode = msgspec.json.Encoder().encode
        lines = []
        for entry in entries:
            moment = datetime.fromtimestamp(entry.at, UTC)
            lines.append(encode({"recorded_at": moment, **record_of(entry, self._facts)}) + b"\n")
        with named("ledger_path", self._path, "written", but=(LedgerError,)):
            stream = self._opened
            stream.write(b"".join(lines))
            stream.flush()
            os.fsync(stream.fileno())

    def close(self) -> None:
        """Close the file."""
        stream, self._stream = self._stream, None
        if stream is not None:  # if a write has failed, closing tries to write the rest
            with named("ledger_path", self._path, "written", but=(LedgerError,)):
                stream.close()

    @property
    def _opened(self) -> IO[bytes]:
        if self._stream is None:
            raise LedgerError("it is closed")
        return self._stream


def _locked(file: Path) -> IO[bytes]:
    stream: IO[bytes] = open_private(file, "a+b")
    try:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise LedgerError("another try of this task, or another task, is writing to it") from None
    except OSError as error:
        stream.close()
        raise LedgerError(f"its file system has no locks ({cause_of(error)}); use ledger_table instead") from None
    return stream


def _remove_torn_line(stream: IO[bytes]) -> None:
    end = stream.seek(0, os.SEEK_END)
    at = end
    while at:
        begin = max(at - 4_096, 0)
        stream.seek(begin)
        newline = stream.read(at - begin).rfind(b"\n")
        if newline >= 0:
            at = begin + newline + 1
            break
        at = begin
    if at < end:
        stream.truncate(at)
