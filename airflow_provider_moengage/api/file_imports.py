"""File imports: models of the files that MoEngage read, and of the imports that read them.

MoEngage API reference, "Get File Import Run History" (``POST /v1.0/data/fileimports/import/run/history``) and
"Get Import Details" (``POST /v1.0/data/fileimports/import/status``). The documentation is
ambiguous, so every form is accepted: counts and booleans may be text, ``data`` may be null, a partial success has
two names, the zone of times and the order of files are not documented.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any

from airflow_provider_moengage.api.paging import Page
from airflow_provider_moengage.api.received.local_times import IN_UTC, LocalTimes
from airflow_provider_moengage.api.received.values import LONGEST_WORD, Received
from airflow_provider_moengage.arguments import in_utc, non_empty

HISTORY_PATH = "/v1.0/data/fileimports/import/run/history"
IMPORTS_PATH = "/v1.0/data/fileimports/import/status"
TRIGGER_PATH = "/v1.0/data/fileimports/trigger/"

PAGE_SIZE = 50
"""Files, or imports, on one page of either endpoint."""

SUCCESSFUL, FAILED, PARTIAL_SUCCESS = "SUCCESSFUL", "FAILED", "PARTIAL_SUCCESS"
EXHAUSTED = "EXHAUSTED"
"""MoEngage has retried the file to the maximum; it counts as FAILED."""

TERMINAL = frozenset({SUCCESSFUL, FAILED, PARTIAL_SUCCESS, EXHAUSTED})
UNDERWAY = frozenset({"PROCESSING", "PENDING", "QUEUED", "WAITING", "SCHEDULED"})
"""Documented statuses of unfinished files. An unknown status counts as unfinished too."""

_PARTIAL = frozenset({"PARTIAL_FAILURE", "PARTIALLY_SUCCESSFUL", "PARTIAL"})
"""The response's schema has PARTIAL_FAILURE, the filter's PARTIAL_SUCCESS: the same state."""

STATUS_FILTER = (SUCCESSFUL, FAILED, PARTIAL_SUCCESS, "PROCESSING", "QUEUED", "WAITING")

LONGEST_RANGE = timedelta(days=30)
"""The longest date filter of a run history; MoEngage answers 400 ``Difference exceeds 30 days`` beyond."""

_MARGIN = timedelta(days=1)
"""Added to the date filter at both ends, because its time zone is not documented. Files outside of the requested
range are removed here."""

_FIRST = datetime(1970, 1, 2, tzinfo=UTC)
"""No file is older. Subtracting the margin from an earlier date could fail."""


DATA_KEY = (
    "file imports need the workspace id and the key of the Data tile (fields login and password of the connection)"
)
"""Hint shown when the key is rejected."""


@dataclass(frozen=True, slots=True)
class ImportRef:
    """Names an import.

    :param field: ``import_id`` or ``import_name``, as the API has it.
    :param value: the id or the name.
    """

    field: str
    value: str

    @classmethod
    def of(cls, import_id: object, import_name: object) -> ImportRef:
        """Return the reference to an import; the id is used if both are given.

        :raises ValueError: naming the argument that is wrong, or both if neither is given.
        """
        for name, value in (("import_id", import_id), ("import_name", import_name)):
            if value is not None:
                return cls(name, non_empty(name, value))
        raise ValueError("import_id, import_name: expected one of them")

    @property
    def query(self) -> dict[str, str]:
        """The field of a request body."""
        return {self.field: self.value}


class Triggering(Enum):
    """The outcome of a call that triggers an import."""

    TRIGGERED = "triggered"
    RAN_RECENTLY = "ran recently"
    """The import ran in the last five minutes, so this call triggered nothing."""
    GONE = "gone"
    """The import is deleted or expired, or belongs to another workspace."""
    THROTTLED = "throttled"
    DENIED = "denied"
    REFUSED = "refused"
    NOT_SENT = "not sent"
    UNKNOWN = "unknown"
    """The call may have been processed."""


@dataclass(frozen=True, slots=True)
class TriggerReply:
    """The response to a trigger."""

    triggering: Triggering
    status_code: int | None = None
    message: str | None = None
    """MoEngage's message, or the reason why there is no response; never with the key."""
    retry_after: float | None = None
    """Seconds, if the server reported them."""


@dataclass(frozen=True, slots=True)
class FileRun(dict[str, Any]):
    """One file that an import read, is reading, or is about to read.

    It is a dict as well, of :meth:`to_dict`: so it is what any Airflow returns of it as an XCom.

    :param id: MoEngage's ID of the file.
    :param file_status: final are ``SUCCESSFUL``, ``FAILED``, ``EXHAUSTED`` and ``PARTIAL_SUCCESS``.
    :param status_msg: why it failed, in MoEngage's words.
    :param type: ``USERS``, ``EVENTS`` or ``AUX_DATA``.
    :param scheduled_at: with time zone; None where MoEngage does not say.
    :param completed_at: with time zone; None until it has ended.
    :param file_size: bytes.
    :param total_rows: rows of the file; every count is None if MoEngage does not report it.
    :param is_time_assumed: whether ``scheduled_at`` may be hours off, because its zone is not known, or because
        clocks were put back. Not in :meth:`to_dict`.
    """

    id: str
    file_name: str
    file_status: str
    status_msg: str | None = None
    type: str | None = None
    scheduled_at: datetime | None = None
    completed_at: datetime | None = None
    file_size: int | None = None
    total_rows: int | None = None
    added_rows: int | None = None
    updated_rows: int | None = None
    skipped_rows: int | None = None
    failed_rows: int | None = None
    aux_data_added_count: int | None = None
    aux_data_failed_count: int | None = None
    is_time_assumed: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.update(self.to_dict())

    @property
    def is_terminal(self) -> bool:
        """Whether MoEngage has finished with it."""
        return self.file_status in TERMINAL

    @property
    def result(self) -> str:
        """Its status, with one word for a failure: ``EXHAUSTED`` is ``FAILED``."""
        return FAILED if self.file_status == EXHAUSTED else self.file_status

    @property
    def is_known(self) -> bool:
        """Whether its status is documented."""
        return self.is_terminal or self.file_status in UNDERWAY

    @property
    def rows_failed(self) -> int | None:
        """Rows that failed, of users, events or auxiliary data; None if MoEngage does not report it.

        A file has one of these kinds, and whether ``failed_rows`` counts auxiliary data as well is not documented.
        """
        counts = [count for count in (self.failed_rows, self.aux_data_failed_count) if count is not None]
        return max(counts, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-ready; times are ISO 8601 in UTC."""
        return {name: _plain(getattr(self, name)) for name in _FILE_FIELDS}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> FileRun:
        """Return the object that :meth:`to_dict` was called on."""
        times = {name: read_time(plain.get(name)) for name in ("scheduled_at", "completed_at")}
        return cls(**{**{name: plain.get(name) for name in _FILE_FIELDS}, **times})  # type: ignore[arg-type]


_FILE_FIELDS = tuple(each.name for each in fields(FileRun) if each.compare)


@dataclass(frozen=True, slots=True)
class ImportDetails(dict[str, Any]):
    """An import as it is set up in the dashboard, and the result of its last run. A dict as well, as a FileRun is.

    :param last_run_status: of the whole run; see :class:`FileRun` for the values.
    :param schedule_type: ``PERIODIC`` or ``ONETIME``.
    :param import_source: ``SFTP``, ``S3`` or ``CSV``.
    :param total_files: of the last run; every count is None if MoEngage does not report it.
    :param last_run_at: with time zone, as the other times.
    """

    import_id: str
    import_name: str
    last_run_status: str | None = None
    import_type: str | None = None
    schedule_type: str | None = None
    import_source: str | None = None
    total_files: int | None = None
    processed_files: int | None = None
    total_rows: int | None = None
    processed_rows: int | None = None
    created_at: datetime | None = None
    last_run_at: datetime | None = None
    next_scheduled_at: datetime | None = None
    status: str | None = None
    time_zone: str | None = None

    def __post_init__(self) -> None:
        self.update(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-ready; times are ISO 8601 in UTC."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}

    @property
    def is_underway(self) -> bool:
        """Whether MoEngage reports that its last run has not ended yet."""
        return self.last_run_status in ("PROCESSING", "PENDING", "QUEUED", "WAITING")


def read_file_run(row: Received, times: LocalTimes) -> FileRun:
    """Read one file of a run history.

    :param times: reads times without a zone.
    """
    scheduled_at = times.read(row["scheduled_at"], row["id"])
    file_name = row["file_name"].name()
    return FileRun(
        # Of the time as it was sent: an id must not change when the zone becomes known.
        id=row["id"].name() or f"{file_name}@{row['scheduled_at'].name()}",
        file_name=file_name or "",
        file_status=_status(row["file_status"]) or "",
        status_msg=row["status_msg"].text(),
        type=row["type"].text(LONGEST_WORD),
        scheduled_at=scheduled_at,
        completed_at=times.read(row["completed_at"], not_before=scheduled_at),
        file_size=row["file_size"].count(),
        **{name: row[name].count() for name in _COUNTS},
        is_time_assumed=not times.is_certain(row["scheduled_at"], row["id"]),
    )


def read_import(row: Received, times: LocalTimes) -> ImportDetails:
    """Read one import.

    :param times: reads times without a zone, except ``next_scheduled_at``, which is UTC in the reference's
        samples.
    """
    return ImportDetails(
        import_id=row["import_id"].name() or "",
        import_name=row["import_name"].name() or "",
        last_run_status=_status(row["last_run_status"]),
        import_type=row["import_type"].text(LONGEST_WORD),
        schedule_type=row["schedule_type"].text(LONGEST_WORD),
        import_source=row["import_source"].text(LONGEST_WORD),
        total_files=row["total_files"].count(),
        processed_files=row["processed_files"].count(),
        total_rows=row["total_rows"].count(),
        processed_rows=row["processed_rows"].count(),
        created_at=times.read(row["created_at"], row["import_id"]),
        last_run_at=times.read(row["last_run_at"]),
        next_scheduled_at=IN_UTC.read(row["next_scheduled_at"]),
        status=_status(row["status"]),
        time_zone=row["time_zone"].text(LONGEST_WORD),
    )


def read_page(content: Received) -> Page[Received]:
    """Return the rows of a page.

    If ``more_files`` is missing, as it may be from import details, another page may follow a full one.
    """
    rows = content["data"].items() or _misplaced(content)
    more = content["more_files"].flag()
    if more is None and len(rows) < PAGE_SIZE:
        more = False
    return Page(rows, more, content["total_count"].count())


def is_list(content: Received) -> bool:
    """Return whether a response is a page whose rows can all be read. ``data`` may be null, which without
    ``total_count`` may be an error as well as an empty list.
    """
    data = content["data"]
    if data.is_null:
        return content["total_count"].count() is not None or bool(_misplaced(content))
    return data.is_list and all(entry.is_object for entry in data.items())


def _misplaced(content: Received) -> list[Received]:
    """Return the file of the reference's own sample, which has it under ``items`` and null as ``data``."""
    file = content["items"]["properties"]
    return [file] if file.is_object and file.has("file_name") else []


def read_status(word: object) -> str | None:
    """Return a user's status as this package spells it: upper case, and one word for a partial success."""
    return _spelt(str(word).strip() or None if word is not None else None)


def _status(received: Received) -> str | None:
    return _spelt(received.text(LONGEST_WORD))


def _spelt(status: str | None) -> str | None:
    if status is None:
        return None
    upper = "_".join(status.upper().replace("-", " ").split())
    return PARTIAL_SUCCESS if upper in _PARTIAL else upper


def read_time(value: Any) -> datetime | None:
    """Return a datetime with its time zone (UTC if it has none); None if the value is not a time."""
    text = _text(value)
    if text is None:
        return None
    try:
        return in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def date_filters(start: datetime | None, end: datetime, *, now: datetime) -> Iterator[dict[str, str]]:
    """Return the ``date`` filters that together cover a range: each spans at most 30 days.

    :param start: None for no filter at all.
    :param now: an end after tomorrow is cut there, because nothing has run after now.
    """
    if start is None:
        return
    begin = max(start, _FIRST) - _MARGIN
    last = max(begin, min(end, now) + _MARGIN)
    while True:
        until = min(begin + LONGEST_RANGE - timedelta(seconds=1), last)
        yield {"start_date": _written(begin), "end_date": _written(until), "format": "YYYY-MM-DD hh:mm:ss"}
        if until >= last:
            return
        begin = until


def as_moment(name: str, value: object) -> datetime | None:
    """Return a user's time: a datetime, a date, or ISO 8601 text. Without a zone it is UTC.

    :param name: the argument, for the error.
    :raises ValueError: if it is not a time.
    """
    if value is None:
        return None
    text = value.isoformat() if isinstance(value, date) else value
    moment = read_time(text) if isinstance(text, str) else None
    if moment is None:
        raise ValueError(f"{name} {value!r}: expected a datetime, or ISO 8601 text like 2026-01-31T06:00:00Z")
    return moment


_COUNTS = (
    "total_rows",
    "added_rows",
    "updated_rows",
    "skipped_rows",
    "failed_rows",
    "aux_data_added_count",
    "aux_data_failed_count",
)


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _text(value: Any) -> str | None:
    text = str(value).strip() if value is not None else ""
    return text or None


def _plain(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
