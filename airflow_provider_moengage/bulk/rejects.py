"""Elements that did not go: counted by code, and written one a line where a path is given.

The file holds whole elements, which are personal data; a log gets codes and positions only.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from airflow_provider_moengage.bulk.elements import Finding
from airflow_provider_moengage.bulk.encoding import NotEncodableError, to_plain

_POSITIONS_KEPT = 20
"""Positions a code's line in the log names; the file, where there is one, has them all."""


_DEEPEST = 50
_LONGEST_INTEGER = 4_096
"""Bits; Python writes no int of over 4,300 decimal digits."""


class RejectsFile(Protocol):
    """Where rejects go: a file on an object store, which appears when it is closed, or pathlib's Path."""

    def open(self, mode: str = "r", **kwargs: Any) -> IO[Any]:
        """Open it."""

    def exists(self) -> bool:
        """Say whether it is there."""

    def unlink(self) -> None:
        """Remove it."""


class Rejects:
    """The rejects of a run. Lanes and reader add to it at the same time.

    :param file: where to write them; None counts them only. A file of an earlier run stays until this one has
        rejects of its own, or has ended well without any.
    """

    def __init__(self, file: RejectsFile | None) -> None:
        self.path = None if file is None else str(file)
        self.count = 0
        self.by_code: Counter[str] = Counter()
        self._positions: dict[str, list[int]] = defaultdict(list)
        self._file = file
        # Beside the file on a disk, so that what is there is complete at any time.
        self._part = file.with_name(f"{file.name}.part") if isinstance(file, Path) else None
        self._stream: IO[Any] | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Make sure, before anything is sent, that rejects can be written. On a disk only: an object store would
        have to be given a file to tell.

        :raises OSError: where they can not.
        """
        if self._part is not None:
            self._stream = self._part.open("wb")

    def add(self, position: int, element: object, findings: Sequence[Finding]) -> None:
        """Take an element out of the run.

        :param position: its number in the source, from 0.
        :param element: the element, as it was given or as it was sent.
        :param findings: what is wrong with it.
        """
        with self._lock:
            self.count += 1
            codes = list(dict.fromkeys(str(finding.code) for finding in findings))
            for code in codes:
                self.by_code[code] += 1
                if len(self._positions[code]) < _POSITIONS_KEPT:
                    self._positions[code].append(position)
            if self._file is not None:
                if self._stream is None:
                    self._stream = (self._part or self._file).open("wb")
                messages = [finding.message for finding in findings]
                line = {"position": position, "codes": codes, "messages": messages, "element": _written(element)}
                self._stream.write(json.dumps(line).encode() + b"\n")

    def close(self, *, is_complete: bool = True) -> None:
        """Finish the file; on an object store it appears now.

        :param is_complete: the run came to its end: then no file means that nothing was rejected.
        :raises OSError: where the rejects could not be written. The run is not touched by that.
        """
        with self._lock:
            file, stream = self._file, self._stream
            self._file = self._stream = None
            if stream is not None:
                stream.close()
            if self.count:
                if self._part is not None and isinstance(file, Path):
                    self._part.replace(file)
            else:
                if self._part is not None:
                    self._part.unlink(missing_ok=True)
                if is_complete and file is not None and file.exists():
                    file.unlink()

    def describe(self) -> list[str]:
        """Return one sentence a code, for the log."""
        sentences = []
        for code, count in sorted(self.by_code.items()):
            positions = ", ".join(str(position) for position in sorted(self._positions[code]))
            more = ", ..." if count > len(self._positions[code]) else ""
            sentences.append(f"{count:,} rejected as {code}, at position {positions}{more}")
        return sentences


def _written(value: object, within: tuple[int, ...] = ()) -> object:
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
            return {str(name): _written(item, within) for name, item in value.items()}
        return [_written(item, within) for item in value]
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
