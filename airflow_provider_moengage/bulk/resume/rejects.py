"""Rejected elements: counted by code, and written to a file, one line each, if a path is given.

The file holds whole elements, which are personal data: on a disk, only the worker's user can read it. The log gets
codes and positions only.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import IO, Any, Protocol

from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.json_value import to_json_value
from airflow_provider_moengage.bulk.resume.reject_spool import RejectSpool
from airflow_provider_moengage.storage import (
    NEW,
    PART,
    StorageError,
    in_temporary_folder,
    is_local,
    named,
    open_private,
    remove_file,
    remove_leftovers,
)

_POSITIONS_KEPT = 20
"""Positions that the log line of a code names. The file, if there is one, has all of them."""

_WORTH_AN_UPLOAD = 1_000
_MOST_BEFORE_AN_UPLOAD = 10_000
"""Rejects that are uploaded together, at least and at most: a tenth of all rejects so far. Until the upload they
are open, and checked again after a crash."""


class RejectsFile(Protocol):
    """Where rejects go: a pathlib Path, or a file on an object store, which appears when it is closed."""

    @property
    def name(self) -> str:
        """Its name in its folder."""

    @property
    def parent(self) -> Any:
        """Its folder."""

    def open(self, mode: str) -> IO[Any]:
        """Open it."""


class Rejects:
    """The rejects of a run. Lanes and reader add to it at the same time.

    They are collected next to the file, in ``<name>.part``, which replaces the file when the run ends. A
    checkpoint may count a reject as done once it is flushed: to a disk, or to an object store by an upload.

    Its lock guards counts and stream, also during a flush. No other lock of a run is taken while it is held.

    :param file: where to write them; None only counts them. The file of an earlier run stays until this one has
        rejects of its own or has ended in success without any.
    :param spool: also gets the rejects of this try, for a table.
    """

    def __init__(self, file: RejectsFile | None, spool: RejectSpool | None = None) -> None:
        self.count = 0
        self.by_code: Counter[str] = Counter()
        self.flushed_bytes = 0
        """Bytes of the rejects that :meth:`flush` has returned, in all tries."""
        self._positions: dict[str, list[int]] = defaultdict(list)
        self._file = file
        self.spool = spool
        self._collected = None if file is None else _Collected(file)
        self._lock = threading.RLock()
        self._is_tracked = False
        self._is_closed = False
        self._end = 0
        self._pending: list[tuple[int, list[str], int]] = []

    @property
    def path(self) -> str | None:
        """Where they are written."""
        return None if self._file is None else str(self._file)

    @property
    def is_shared(self) -> bool:
        """Whether another task has turned out to write to the same file at the same time."""
        return self._collected is not None and self._collected.is_shared

    @property
    def holds_lines(self) -> bool:
        """Whether any of them is in the file."""
        return self._end > 0

    def track(self) -> None:
        """From now on, remember the rejects that :meth:`flush` has not returned yet."""
        self._is_tracked = True

    def restore(self, count: int, by_code: Mapping[str, int], size: int) -> None:
        """Continue with the rejects of an earlier try.

        :param size: bytes of them that were flushed.
        """
        self.count = count
        self.by_code.update(by_code)
        self._end = self.flushed_bytes = size

    def begin(self) -> bool:
        """Check that rejects can be written, before anything is sent. On a disk only: an object store shows it
        only when it gets a file.

        :return: False if rejects of an earlier try are missing.
        :raises StorageError: if rejects cannot be written.
        """
        size = self._end
        collected = self._collected
        if collected is None:
            return True
        if size or collected.is_on_disk:
            with collected.named("written"):
                self._open(collected)
        return self._end == size and bool(size) == bool(self.count)

    def add(self, position: int, element: object, findings: Sequence[Finding]) -> None:
        """Take an element out of the run.

        :param position: its number in the source, from 0.
        :param element: the element, as it was given or as it was sent.
        :param findings: what is wrong with it.
        :raises StorageError: if it cannot be written; then it is not counted either.
        """
        codes = list(dict.fromkeys(str(finding.code) for finding in findings))
        with self._lock:
            end = self._end
            if self._collected is not None and not self._is_closed:
                messages = [finding.message for finding in findings]
                line = {
                    "position": position,
                    "codes": codes,
                    "messages": messages,
                    "element": to_json_value(element),
                }
                data = json.dumps(line).encode() + b"\n"
                with self._collected.collecting():
                    self._open(self._collected).write(data)
                end += len(data)
            if self._is_tracked:  # right next to its end: a signal handler may raise between any two lines
                self._pending.append((position, codes, end))
            self._end = end
            self.count += 1
            if self.spool is not None:
                self.spool.add(position, element, codes, findings)
            for code in codes:
                self.by_code[code] += 1
                if len(self._positions[code]) < _POSITIONS_KEPT:
                    self._positions[code].append(position)

    @property
    def pending(self) -> int:
        """How many rejects :meth:`flush` has not returned yet."""
        return len(self._pending)

    def flush(
        self, *, is_last: bool = False, before_upload: Callable[[], None] = lambda: None
    ) -> list[tuple[int, list[str]]]:
        """Make rejects safe, and return the position and codes of each, once. On an object store, this waits until
        there are enough of them to be worth an upload.

        :param is_last: make all of them safe.
        :param before_upload: called before an upload, which would replace what another try has uploaded.
        :raises StorageError: if they cannot be written. They stay pending.
        """
        with self._lock:
            if not self._pending or self._is_closed:
                return []
            end = self._pending[-1][2]
            collected = self._collected
            if collected is not None and collected.stream is not None:
                worth_an_upload = min(max(_WORTH_AN_UPLOAD, self.count // 10), _MOST_BEFORE_AN_UPLOAD)
                if not collected.is_on_disk and not is_last and len(self._pending) < worth_an_upload:
                    return []
                if not collected.is_on_disk:
                    before_upload()
                with collected.named("written"):
                    collected.flush(end)
            flushed = [(position, codes) for position, codes, _ in self._pending]
            self._pending.clear()
            self.flushed_bytes = end
            return flushed

    def close(self, *, is_complete: bool = True) -> list[StorageError]:
        """Finish the file; on an object store it appears now. Nothing is flushed after that.

        :param is_complete: the run has ended in success: without rejects, the file of an earlier run is removed.
        :return: why files that are of no use any more could not be removed.
        :raises StorageError: if the rejects could not be written. What was delivered stays delivered.
        """
        with self._lock:
            collected = self._collected
            if self._is_closed or collected is None:
                return []
            self._is_closed = True
            with collected.named("written"):
                collected.publish(self._end)
            return collected.clean_up(with_earlier=is_complete and not self.count)

    def abandon(self) -> None:
        """Write nothing any more: the file belongs to the try that has taken over."""
        with self._lock:
            self._is_closed = True
            if self._collected is not None and self._collected.stream is not None:
                with suppress(OSError):  # of what it had not written yet
                    self._collected.stream.close()

    def _open(self, collected: _Collected) -> IO[bytes]:
        """The collected rejects, open at their end."""
        if collected.stream is not None:
            return collected.stream
        stream, found = collected.open(self._end)
        if found != self._end:
            self._end = self.flushed_bytes = found
        return stream

    def describe(self) -> list[str]:
        """Return one sentence for each code, for the log."""
        sentences = []
        for code, count in sorted(self.by_code.items()):
            positions = [str(position) for position in sorted(self._positions[code])]
            more = [] if count == len(positions) else ["..."]
            named = ", ".join(positions + more)
            where = f"at position{'s' if ', ' in named else ''} {named}" if positions else "by an earlier try"
            sentences.append(f"{count:,} rejected as {code}, {where}")
        return sentences


class _Collected:
    """The lines on their way into a rejects file: in ``<name>.part`` on a disk, in a temporary file otherwise."""

    def __init__(self, file: RejectsFile) -> None:
        self._file = file
        self._part = file.parent / f"{file.name}{PART}"
        self._new = file.parent / f"{self._part.name}{NEW}"
        self.is_on_disk = is_local(file)
        self.stream: IO[bytes] | None = None
        self.is_shared = False
        """Whether another task has removed or replaced the collected lines, as it writes to the same file."""

    def named(self, done: str) -> AbstractContextManager[None]:
        """Raise a StorageError that names the file for each error of the block."""
        return named("rejects_path", self._file, done)

    def collecting(self) -> AbstractContextManager[None]:
        """Raise a StorageError that names the place where lines are collected for each error of the block."""
        return self.named("written") if self.is_on_disk else in_temporary_folder()

    def open(self, size: int) -> tuple[IO[bytes], int]:
        """Open them at their end.

        :param size: bytes that an earlier try has flushed.
        :return: the stream, and how many of these bytes are left.
        """
        with self.named("read"):
            earlier, is_whole = self._earlier(size)
        stream: IO[bytes]
        if not self.is_on_disk:
            stream = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the run; no other process sees it)
        else:  # a file of its own: an earlier try that is still alive may have the other one open
            remove_leftovers(self._part)
            stream = open_private(self._new, "x+b")
        if earlier is not None:
            with earlier.open("rb") as source:
                shutil.copyfileobj(source, stream)
        if not is_whole:
            size = 0 if earlier is None else _end_of_lines(stream)
        self._cut(stream, size)
        if self.is_on_disk:
            os.fsync(stream.fileno())
            self._new.replace(self._part)
        self.stream = stream
        return stream, size

    def flush(self, end: int) -> None:
        """Make the lines safe up to an end."""
        if self.stream is None:
            return
        if not self.is_on_disk:
            self._upload(self.stream, self._part, end)
            return
        self._cut(self.stream, end)
        os.fsync(self.stream.fileno())

    def publish(self, end: int) -> None:
        """Let the lines, if there are any, replace the file."""
        stream = self.stream
        if stream is None:
            return
        try:
            if end and self.is_on_disk:
                self._cut(stream, end)
                if not self._is_in_place(stream):
                    self.is_shared = True
                    self._put_in_place(stream)
            elif end:
                self._upload(stream, self._file, end)
        finally:
            with suppress(OSError):  # on a full disk; `_cut` has flushed the lines, or has raised
                stream.close()
        if end and self.is_on_disk:
            self._part.replace(self._file)

    def _is_in_place(self, stream: IO[bytes]) -> bool:
        try:
            return os.path.samestat(os.fstat(stream.fileno()), self._part.stat())
        except FileNotFoundError:
            return False

    def _put_in_place(self, stream: IO[bytes]) -> None:
        """Write the lines again; the other task does the same with its own when it ends."""
        remove_file(self._part)
        stream.seek(0)
        with open_private(self._part, "xb") as copy:
            shutil.copyfileobj(stream, copy)
            copy.flush()
            os.fsync(copy.fileno())

    def clean_up(self, *, with_earlier: bool) -> list[StorageError]:
        """Remove the collected lines, and the file of an earlier run; return what failed."""
        remove_leftovers(self._part)
        failed = []
        for file in [self._part, self._file] if with_earlier else [self._part]:
            try:
                with named("rejects_path", file, "removed"):
                    remove_file(file)
            except StorageError as error:
                failed.append(error)
        return failed

    @staticmethod
    def _cut(stream: IO[bytes], end: int) -> None:
        """Cut off a line that a signal or a full disk has interrupted."""
        stream.seek(end)
        stream.truncate()
        stream.flush()

    def _earlier(self, size: int) -> tuple[Any, bool]:
        """Return what an earlier try left, or None, and whether it has all bytes."""
        if not size:
            return None, False
        sizes = {place: _size(place) for place in (self._part, self._file)}
        for place, found in sizes.items():
            if found >= size:
                return place, True
        longest = max(sizes, key=sizes.__getitem__)
        return (longest if sizes[longest] > 0 else None), False

    def _upload(self, stream: IO[bytes], target: Any, end: int) -> None:
        try:
            stream.truncate(end)
            stream.seek(0)
            with target.open("wb") as file:
                shutil.copyfileobj(stream, file)
        finally:
            stream.seek(0, os.SEEK_END)


def _size(file: Any) -> int:
    try:
        return int(file.stat().st_size)
    except FileNotFoundError:
        return -1


def _end_of_lines(stream: IO[bytes]) -> int:
    """Return where the last complete line ends."""
    stream.seek(0)
    end = 0
    for line in stream:
        if line.endswith(b"\n"):
            end += len(line)
    return end
