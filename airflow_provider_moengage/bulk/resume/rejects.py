"""Elements that did not go: counted by code, and written one a line where a path is given.

The file holds whole elements, which are personal data; a log gets codes and positions only.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

import msgspec

from airflow_provider_moengage.bulk.elements.checks import Finding
from airflow_provider_moengage.bulk.elements.encoding import NotEncodableError, to_plain
from airflow_provider_moengage.storage import is_local

_POSITIONS_KEPT = 20
"""Positions a code's line in the log names; the file, where there is one, has them all."""

_WORTH_AN_UPLOAD = 1_000
_MOST_BEFORE_AN_UPLOAD = 10_000
"""Rejects that are uploaded together, at the least and at the most: a tenth of all there are. Until then they are
open, and judged again after a crash."""

_DEEPEST = 50
_LONGEST_INTEGER = 4_096
"""Bits; Python writes no int of over 4,300 decimal digits."""


class RejectsFile(Protocol):
    """Where rejects go: a file on an object store, which appears when it is closed, or pathlib's Path."""

    @property
    def name(self) -> str:
        """Its name in its folder."""

    @property
    def parent(self) -> Any:
        """Its folder."""

    def open(self, mode: str) -> IO[Any]:
        """Open it."""

    def exists(self) -> bool:
        """Say whether it is there."""

    def unlink(self) -> None:
        """Remove it."""


class Rejects:
    """The rejects of a run. Lanes and reader add to it at the same time.

    They are collected beside the file, as ``<name>.part``, and take its place when the run ends. What is safe in
    there, a checkpoint may count as done: on a disk what was flushed, on an object store what was uploaded.

    :param file: where to write them; None counts them only. A file of an earlier run stays until this one has
        rejects of its own, or has ended well without any.
    """

    def __init__(self, file: RejectsFile | None) -> None:
        self.count = 0
        self.by_code: Counter[str] = Counter()
        self.settled_bytes = 0
        """Bytes of those that :meth:`settle` has given out, and of those of earlier tries."""
        self._positions: dict[str, list[int]] = defaultdict(list)
        self._file = file
        self._is_on_disk = is_local(file)
        self._part = None if file is None else file.parent / f"{file.name}.part"
        self._stream: IO[bytes] | None = None
        self._lock = threading.RLock()
        self._is_tracked = False
        self._is_closed = False
        self._end = 0
        self._waiting: list[tuple[int, list[str], int]] = []

    @property
    def path(self) -> str | None:
        """Where they are written."""
        return None if self._file is None else str(self._file)

    @property
    def holds_lines(self) -> bool:
        """Whether any of them is in the file."""
        return self._end > 0

    def track(self) -> None:
        """From now on remember what :meth:`settle` has not given out yet."""
        self._is_tracked = True

    def restore(self, count: int, by_code: Mapping[str, int], size: int) -> None:
        """Go on with the rejects of an earlier try.

        :param size: bytes of them that were safe.
        """
        self.count = count
        self.by_code.update(by_code)
        self._end = self.settled_bytes = size

    def begin(self) -> bool:
        """Make sure, before anything is sent, that rejects can be written. On a disk only: an object store would
        have to be given a file to tell.

        :return: False where the file lacks rejects of an earlier try.
        :raises OSError: where they can not be written.
        """
        size = self._end
        if self._file is not None and (size or self._is_on_disk):
            self._open()
        return self._file is None or (self._end == size and bool(size) == bool(self.count))

    def add(self, position: int, element: object, findings: Sequence[Finding]) -> None:
        """Take an element out of the run.

        :param position: its number in the source, from 0.
        :param element: the element, as it was given or as it was sent.
        :param findings: what is wrong with it.
        """
        codes = list(dict.fromkeys(str(finding.code) for finding in findings))
        with self._lock:
            end = self._end
            if self._file is not None and not self._is_closed:
                messages = [finding.message for finding in findings]
                line = {"position": position, "codes": codes, "messages": messages, "element": written(element)}
                data = json.dumps(line).encode() + b"\n"
                self._open().write(data)
                end += len(data)
            if self._is_tracked:  # at once with its end: the exception of a signal may come between any two lines
                self._waiting.append((position, codes, end))
            self._end = end
            self.count += 1
            for code in codes:
                self.by_code[code] += 1
                if len(self._positions[code]) < _POSITIONS_KEPT:
                    self._positions[code].append(position)

    @property
    def waiting(self) -> int:
        """How many :meth:`settle` has not given out yet."""
        return len(self._waiting)

    def settle(self, *, is_last: bool = False) -> list[tuple[int, list[str]]]:
        """Make safe what is there, and give it out, once: position and codes. On an object store only when it is
        worth an upload of all of them.

        :param is_last: make all of them safe.
        :raises OSError: where that fails.
        """
        with self._lock:
            if not self._waiting or self._is_closed:
                return []
            end = self._waiting[-1][2]
            if self._stream is not None and self._is_on_disk:
                self._stream.seek(end)
                self._stream.truncate()  # of what was written and not booked
                self._stream.flush()
                os.fsync(self._stream.fileno())
            elif self._stream is not None:
                if not is_last and len(self._waiting) < min(
                    max(_WORTH_AN_UPLOAD, self.count // 10), _MOST_BEFORE_AN_UPLOAD
                ):
                    return []
                self._copy(self._part, end)
            settled = [(position, codes) for position, codes, _ in self._waiting]
            self._waiting.clear()
            self.settled_bytes = end
            return settled

    def close(self, *, is_complete: bool = True) -> None:
        """Finish the file; on an object store it appears now. Nothing is settled after that.

        :param is_complete: the run came to its end: then no file means that nothing was rejected.
        :raises OSError: where the rejects could not be written. The run is not touched by that.
        """
        with self._lock:
            file, part, stream = self._file, self._part, self._stream
            if self._is_closed or file is None or part is None:
                return
            self._is_closed = True
            if stream is not None and self._end:
                if not self._is_on_disk:
                    self._copy(file, self._end)
                stream.close()
                if self._is_on_disk:
                    part.replace(file)
            elif stream is not None:
                stream.close()
            if part.exists():
                part.unlink()
            if not self.count and is_complete and file.exists():
                file.unlink()

    def _open(self) -> IO[bytes]:
        """The collected rejects, open at their end."""
        if self._stream is None:
            assert self._file is not None
            assert self._part is not None
            sizes = {place: _size(place) for place in (self._part, self._file)} if self._end else {}
            earlier = next((place for place, size in sizes.items() if size >= self._end), None)
            if earlier is None and any(size > 0 for size in sizes.values()):
                earlier = max(sizes, key=sizes.__getitem__)  # all that is left
            if not self._is_on_disk:
                self._stream = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the run)
            elif earlier == self._part:
                self._stream = self._part.open("r+b")
            else:
                self._stream = self._part.open("w+b")
            if earlier is not None and not (self._is_on_disk and earlier == self._part):
                with earlier.open("rb") as source:
                    shutil.copyfileobj(source, self._stream)
            if not sizes or earlier is None or sizes[earlier] < self._end:
                self._end = self.settled_bytes = _end_of_lines(self._stream) if earlier is not None else 0
            self._stream.seek(self._end)
            self._stream.truncate()
        return self._stream

    def _copy(self, target: Any, end: int) -> None:
        """Write what is collected to an object, up to an end."""
        assert self._stream is not None
        try:
            self._stream.truncate(end)
            self._stream.seek(0)
            with target.open("wb") as file:
                shutil.copyfileobj(self._stream, file)
        finally:
            self._stream.seek(0, os.SEEK_END)

    def describe(self) -> list[str]:
        """Return one sentence a code, for the log."""
        sentences = []
        for code, count in sorted(self.by_code.items()):
            positions = [str(position) for position in sorted(self._positions[code])]
            more = [] if count == len(positions) else ["..."]
            named = ", ".join(positions + more)
            where = f"at position{'s' if ', ' in named else ''} {named}" if positions else "by an earlier try"
            sentences.append(f"{count:,} rejected as {code}, {where}")
        return sentences


def _size(file: Any) -> int:
    try:
        return int(file.stat().st_size)
    except FileNotFoundError:
        return -1


def _end_of_lines(stream: IO[bytes]) -> int:
    """Return where the last whole line ends."""
    stream.seek(0)
    end = 0
    for line in stream:
        if line.endswith(b"\n"):
            end += len(line)
    return end


def written(value: object, within: tuple[int, ...] = ()) -> object:
    """Put anything into a form that JSON has: the one it is sent in, where it can be sent.

    :param within: the objects around it, by identity: one that contains itself has no end.
    """
    if isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER:
        return hex(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if id(value) in within or len(within) > _DEEPEST:
            return "..."
        within = (*within, id(value))
        if isinstance(value, Mapping):
            return {str(name): written(item, within) for name, item in value.items()}
        return [written(item, within) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode(errors="backslashreplace")
    try:
        # A datetime that is written otherwise would come back as mere text when the file is replayed.
        return msgspec.to_builtins(to_plain(value))
    except (NotEncodableError, RecursionError):
        pass
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
