"""File imports, and the files of their runs.

MoEngage user guide, "Imports": an import watches a folder; its schedule or a trigger starts a run, which imports
the files in it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePath
from typing import Any, Literal, get_args

import msgspec

ImportType = Literal["USERS", "EVENTS", "AUX_DATA"]
ScheduleType = Literal["PERIODIC", "ONETIME"]
ImportSource = Literal["S3", "SFTP", "CSV"]
ImportState = Literal["active", "deleted", "expired"]
FileIds = Literal["timed", "random"]

FAILED = frozenset(["FAILED", "EXHAUSTED"])
"""Final statuses of a file that was not imported: EXHAUSTED was retried to the maximum."""

TERMINAL = frozenset(["SUCCESSFUL", "PARTIAL_SUCCESS", "PARTIAL_FAILURE"]) | FAILED
"""The final statuses of a file."""

_ROWS = ("total_rows", "added_rows", "updated_rows", "failed_rows", "skipped_rows", "file_size")


class ImportFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a run, and its statuses over time.

    :param file_name: ``{run}`` in it is the number of the run, from 1, ``{date}`` its time as ``yyyymmdd_hhmm``
        (UTC, by the emulator's clock), so that each run has a new name, as MoEngage requires.
    :param steps: (seconds after the run began, status) pairs. Before the first the file is not in the history. A
        status is any text; SUCCESSFUL, FAILED, EXHAUSTED, PARTIAL_SUCCESS and PARTIAL_FAILURE are terminal: with
        them the history shows ``completed_at`` and the row counts.
    :param status_msg: message of a terminal status.
    :param added_rows: ``None``: all rows that are not updated, failed or skipped; if the file ends FAILED or
        EXHAUSTED, these count as failed.
    :param file_size: bytes.
    """

    file_name: str
    steps: tuple[tuple[float, str], ...] = ((0, "QUEUED"), (2, "PROCESSING"), (10, "SUCCESSFUL"))
    status_msg: str = ""
    total_rows: int = 100
    added_rows: int | None = None
    updated_rows: int = 0
    failed_rows: int = 0
    skipped_rows: int = 0
    file_size: int = 1_544

    def __post_init__(self) -> None:
        if not self.file_name:
            raise ValueError("file_name: expected a non-empty string")
        if not _are_steps(self.steps):
            raise ValueError(f"steps {self.steps!r}: expected (seconds, status) pairs, at least one")
        _check_seconds("steps", self.steps, [seconds for seconds, _ in self.steps])
        for name in _ROWS:
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} {value!r}: expected 0 or more")
        if self.added_rows is None and self.total_rows < self._named_rows:
            raise ValueError(
                f"total_rows {self.total_rows!r}: updated, failed and skipped rows are already {self._named_rows}"
            )

    @property
    def _named_rows(self) -> int:
        return self.updated_rows + self.failed_rows + self.skipped_rows

    def outcome(self, status: str) -> tuple[int, int]:
        """Return the added and failed rows for a terminal status."""
        if self.added_rows is not None:
            return self.added_rows, self.failed_rows
        rest = self.total_rows - self._named_rows
        return (0, self.failed_rows + rest) if status in FAILED else (rest, self.failed_rows)


class FileImport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file import as the dashboard sets it up.

    :param import_id: used by triggers. MoEngage's are 24 hexadecimal digits; any text is valid here.
    :param import_name: unique among those that are not deleted.
    :param files: files of each run.
    :param state: ``deleted`` and ``expired`` imports cannot be triggered; ``deleted`` ones are not listed.
    :param time_zone: only shown in the details; ``None``: the setting ``file_time_zone``.
    :param folder: a local folder in place of S3 or SFTP: each run imports the new files in it instead of
        ``files``, and checks them against MoEngage's rules.
    :param steps_seconds: when the files of ``folder`` are QUEUED, PROCESSING, and done; seconds after the run
        started.
    :param id_column: column with the user's id in USERS and EVENTS files in ``folder``.
    :param time_column: column with the time in EVENTS files in ``folder``.
    :param file_ids: ids of its files are ``timed`` ObjectIds, which begin with the second in which the file
        appeared in the history, or ``random`` ones. What MoEngage's contain is not documented.
    """

    import_id: str
    import_name: str
    files: tuple[ImportFile, ...] = msgspec.field(
        default_factory=lambda: (ImportFile("registered_user_data_{date}.csv"),)
    )
    import_type: ImportType = "USERS"
    schedule_type: ScheduleType = "PERIODIC"
    import_source: ImportSource = "S3"
    state: ImportState = "active"
    time_zone: str | None = None
    folder: str | None = None
    steps_seconds: tuple[float, float, float] = (0, 2, 10)
    id_column: str = "customer_id"
    time_column: str = "current_time"
    file_ids: FileIds = "timed"

    def __post_init__(self) -> None:
        for name in ("import_id", "import_name", "id_column", "time_column"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected a non-empty string")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r}: expected one of {', '.join(allowed)}")
        if not _is_sequence(self.files) or not all(isinstance(file, ImportFile) for file in self.files):
            raise ValueError(f"files {self.files!r}: expected a tuple of ImportFile")
        if not _is_sequence(self.steps_seconds) or len(self.steps_seconds) != 3:
            raise ValueError(f"steps_seconds {self.steps_seconds!r}: expected three numbers")
        _check_seconds("steps_seconds", self.steps_seconds, self.steps_seconds)
        if self.folder is not None:
            msgspec.structs.force_setattr(self, "folder", os.fspath(self.folder))
            if not is_utf8(self.folder):
                raise ValueError(f"folder {self.folder!r}: expected a path in UTF-8")
            if " " in PurePath(self.folder).name:
                raise ValueError(f"folder {self.folder!r}: MoEngage does not accept spaces in a folder's name")

    @classmethod
    def read(cls, wire: Any) -> FileImport:
        """Make a file import from its JSON form.

        :raises ValueError: for an unknown field or an invalid value.
        """
        try:
            return msgspec.convert(wire, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"file import: {error}") from error


def read_files(wire: Any) -> tuple[ImportFile, ...]:
    """Make the files of a run from their JSON form, a list.

    :raises ValueError: for an unknown field or an invalid value.
    """
    try:
        return msgspec.convert(wire, tuple[ImportFile, ...])
    except msgspec.ValidationError as error:
        raise ValueError(f"files: {error}") from error


def is_utf8(path: str) -> bool:
    """Return whether a path or name is valid UTF-8, so that JSON can represent it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


_CHOICES: dict[str, tuple[str, ...]] = {
    "import_type": get_args(ImportType),
    "schedule_type": get_args(ScheduleType),
    "import_source": get_args(ImportSource),
    "state": get_args(ImportState),
    "file_ids": get_args(FileIds),
}


def _are_steps(steps: Any) -> bool:
    return (
        _is_sequence(steps)
        and len(steps) > 0
        and all(
            _is_sequence(step) and len(step) == 2 and isinstance(step[0], int | float) and isinstance(step[1], str)
            for step in steps
        )
    )


def _is_sequence(value: Any) -> bool:
    return isinstance(value, tuple | list)


def _check_seconds(name: str, shown: Any, seconds: Sequence[float]) -> None:
    if seconds[0] < 0:
        raise ValueError(f"{name} {shown!r}: expected seconds after the start of the run, 0 or more")
    if any(later < earlier for earlier, later in pairwise(seconds)):
        raise ValueError(f"{name} {shown!r}: expected seconds in ascending order")
