"""Splits lines into files that a MoEngage import accepts, each with a name that MoEngage has not seen before.

MoEngage user guide, "Set Up a File Import": Naming Conventions, Limits.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import IO, Any

from airflow_provider_moengage.bulk.elements.encoding import to_utc
from airflow_provider_moengage.exceptions import MoEngageRequestError

LEAST_ROWS = 5
"""User guide, "Import Event Data Using CSV": files of fewer rows may fail."""

MOST_ROWS = 500_000
"""User guide, "Limits": a file of more rows than an hour's limit is rejected, by default 600,000 users."""

LARGEST_FILE = 199_999_999
"""User guide, "File Limits": files are less than 200 MB, read as the smaller of its meanings."""

MOST_FILES = 100
"""Files that one run writes: MoEngage reads that many from a folder (newer pages: 250)."""

_TOKEN_LENGTH = 12
_LONGEST_PREFIX = 100 - len("_") - _TOKEN_LENGTH - len("_0001")
"""User guide, "File Limits": 100 characters before the date, of which the token and the part take some."""

_NAME = re.compile(rf".+_(?P<token>[0-9a-f]{{{_TOKEN_LENGTH}}})_[0-9]{{4}}_[0-9]{{8}}_[0-9]{{4}}\.(csv|json)")

_PREFIX = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_ ]*[A-Za-z0-9_])?")


@dataclass(frozen=True, slots=True)
class FileNames:
    """The names of one try's files: ``<prefix>_<token>_<part>_<yyyymmdd>_<hhmm>.<extension>``.

    MoEngage skips file names that it has seen before, so the token is a digest of what identifies the try: Dag,
    run, task, map index and try number.

    :param prefix: what the names of an import's files begin with.
    :param token: unique to the try.
    :param moment: when the try began, in UTC.
    :param extension: ``csv`` or ``json``.
    :param earlier_tokens: the tokens of earlier tries of the same task, also of those before a Clear.
    """

    prefix: str
    token: str
    moment: datetime
    extension: str
    earlier_tokens: frozenset[str] = frozenset()

    @classmethod
    def of_try(cls, context: Mapping[str, Any], *, prefix: str, extension: str) -> FileNames:
        """Return the names for the try that a task's context belongs to."""
        ti = context["ti"]
        identity = (ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
        earlier = frozenset(_token((*identity, number)) for number in range(1, ti.try_number))
        moment = to_utc(getattr(ti, "start_date", None) or datetime.now(UTC))
        return cls(prefix, _token((*identity, ti.try_number)), moment, extension, earlier)

    def of_part(self, part: int) -> str:
        """Return the name of one of the files, counted from 1."""
        return f"{self.prefix}_{self.token}_{part:04}_{self.moment:%Y%m%d_%H%M}.{self.extension}"

    def is_of_earlier_try(self, name: str) -> bool:
        """Return whether a file has the name of an earlier try's file, whatever its prefix."""
        found = _NAME.fullmatch(name)
        return found is not None and found["token"] in self.earlier_tokens


def _token(identity: tuple[Any, ...]) -> str:
    return sha256("\0".join(map(str, identity)).encode()).hexdigest()[:_TOKEN_LENGTH]


def check_prefix(prefix: object) -> str:
    """Return the prefix of the files' names.

    :raises ValueError: naming the argument.
    """
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix) or len(prefix) > _LONGEST_PREFIX:
        raise ValueError(
            f"prefix {prefix!r}: expected at most {_LONGEST_PREFIX} letters a-z, digits, _ and spaces, without a"
            " space at either end"
        )
    return prefix


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A complete file."""

    file_name: str
    rows: int
    bytes: int

    def to_dict(self, folder: str) -> dict[str, Any]:
        """Return the file as JSON, with its path in the folder."""
        return {"path": f"{folder.rstrip('/')}/{self.file_name}", **asdict(self)}


class FileSplitter:
    """Splits lines into files of at least :data:`LEAST_ROWS` rows.

    A file ends when the next row would not fit. The last rows of a file and the first of the next are held back,
    so that a last file with too few rows can take some from the file before it.

    :param create: opens a file with this name for writing.
    :param names: names of the files.
    :param header: the first bytes of each file.
    :param most_bytes: maximum size of a file; only a file whose first five rows are larger exceeds it.
    """

    def __init__(
        self, create: Callable[[str], IO[bytes]], names: FileNames, *, header: bytes, most_bytes: int
    ) -> None:
        self._create = create
        self._names = names
        self._header = header
        self._most_bytes = most_bytes
        self._file: _OpenFile | None = None
        self._ahead: list[bytes] = []
        self.files: list[WrittenFile] = []

    def add(self, line: bytes) -> None:
        """Write a row.

        :raises MoEngageRequestError: if there would be too many files.
        """
        if self._file is not None and not self._ahead and self._file.has_room(line, self._most_bytes):
            self._file.add(line)
            return
        self._ahead.append(line)
        if len(self._ahead) == LEAST_ROWS:
            self._next_file()

    def finish(self) -> list[WrittenFile]:
        """Complete the last file and return all files; none if there were no rows.

        :raises MoEngageRequestError: if there were rows, but fewer than a file needs.
        """
        if self._ahead:
            missing = LEAST_ROWS - len(self._ahead)
            if self._file is None:
                raise MoEngageRequestError(
                    f"The query returned {len(self._ahead)} row(s), but MoEngage requires at least {LEAST_ROWS}"
                    " per file: no file was written. Select more rows, or send this few rows with"
                    " SqlToMoEngageOperator"
                )
            if self._file.rows - missing >= LEAST_ROWS:
                self._ahead = self._file.take_back(missing) + self._ahead
                self._next_file()
            for line in self._ahead:
                self._file.add(line)
        self._close()
        return self.files

    def _next_file(self) -> None:
        self._close()
        if len(self.files) == MOST_FILES:
            raise MoEngageRequestError(
                f"The rows do not fit into {MOST_FILES} files, the most that MoEngage reads from a folder: no file"
                " was written. Raise max_file_bytes, or select fewer rows"
            )
        name = self._names.of_part(len(self.files) + 1)
        self._file = _OpenFile(name, self._create(name), self._header)
        for line in self._ahead:
            self._file.add(line)
        self._ahead = []

    def _close(self) -> None:
        if self._file is not None:
            self.files.append(self._file.close())
            self._file = None


class _OpenFile:
    """A file that is being written, except for its last lines."""

    def __init__(self, name: str, stream: IO[bytes], header: bytes) -> None:
        self.rows = 0
        self._stream = stream
        self._name = name
        self._bytes = len(header)
        self._held: deque[bytes] = deque()
        stream.write(header)

    def has_room(self, line: bytes, most_bytes: int) -> bool:
        return self.rows < MOST_ROWS and self._bytes + len(line) <= most_bytes

    def add(self, line: bytes) -> None:
        self._held.append(line)
        self.rows += 1
        self._bytes += len(line)
        if len(self._held) == LEAST_ROWS:
            self._stream.write(self._held.popleft())

    def take_back(self, count: int) -> list[bytes]:
        lines = [self._held.pop() for _ in range(count)][::-1]
        self.rows -= count
        self._bytes -= sum(map(len, lines))
        return lines

    def close(self) -> WrittenFile:
        self._stream.writelines(self._held)
        self._stream.close()
        return WrittenFile(self._name, self.rows, self._bytes)
