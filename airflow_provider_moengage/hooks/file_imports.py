"""File imports between Airflow and the API: checked queries, retries of the trigger, and translated errors."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import (
    DATA_KEY,
    STATUS_FILTER,
    FileRun,
    ImportDetails,
    ImportRef,
    Triggering,
    TriggerReply,
    as_moment,
    date_filters,
    read_status,
)
from airflow_provider_moengage.api.paging import Retries
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageImportNotFoundError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.hooks.errors import translated

if TYPE_CHECKING:
    from airflow_provider_moengage.api.file_imports_client import FileImportsClient

ATTEMPTS = 3
"""Calls to trigger an import while there is no response."""

COOLDOWN = timedelta(minutes=5)
"""Between two runs of an import (MoEngage API reference, "Trigger File Import")."""

IMPORT_TYPES = ("USERS", "EVENTS", "AUX_DATA")
SCHEDULE_TYPES = ("PERIODIC", "ONETIME")
FILE_SOURCES = ("SFTP", "S3", "CSV")
SCHEDULE_STATUSES = ("SUCCESSFUL", "FAILED", "PARTIAL_SUCCESS", "SCHEDULED", "PROCESSING", "QUEUED", "ARCHIVED")


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunsQuery:
    """A checked query of a run history."""

    ref: ImportRef
    statuses: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None

    def requests(self, now: datetime) -> list[dict[str, Any]]:
        """Return the request bodies that together cover the query, without page numbers."""
        filters: dict[str, Any] = {"file_status": list(self.statuses)} if self.statuses else {}
        dates = list(date_filters(self.start, self.end or now, now=now))
        return [{**self.ref.query, **filters, "date": date} for date in dates] or [{**self.ref.query, **filters}]

    def matches(self, run: FileRun) -> bool:
        """Return whether a file matches the query."""
        when = run.scheduled_at
        is_early = when is not None and self.start is not None and when < self.start
        is_late = when is not None and self.end is not None and when > self.end
        return not (is_early or is_late) and (not self.statuses or run.result in self.statuses)


def runs_query(
    import_id: object,
    import_name: object,
    *,
    file_status: str | Iterable[str] | None = None,
    start: object = None,
    end: object = None,
) -> RunsQuery:
    """Check the arguments of a run history query.

    :raises ValueError: naming the one that is wrong.
    """
    statuses = _words("file_status", file_status, STATUS_FILTER)
    first, last = as_moment("start", start), as_moment("end", end)
    if first is not None and last is not None and first > last:
        raise ValueError(f"start {start!r}: is after end {end!r}")
    return RunsQuery(ImportRef.of(import_id, import_name), statuses, first, last)


def imports_query(
    import_name: str | None, *, schedule_status: str | Iterable[str] | None, **filters: str | None
) -> dict[str, Any]:
    """Check the filters of an imports query.

    :raises ValueError: naming the one that is wrong.
    """
    known = {"import_type": IMPORT_TYPES, "schedule_type": SCHEDULE_TYPES, "file_source": FILE_SOURCES}
    query: dict[str, Any] = {}
    if import_name is not None:
        query.update(ImportRef.of(None, import_name).query)
    for name, value in filters.items():
        words = _words(name, value, known[name])
        if len(words) > 1:
            raise ValueError(f"{name} {value!r}: expected one of {', '.join(known[name])}")
        if words:
            query[name] = words[0]
    if statuses := _words("schedule_status", schedule_status, SCHEDULE_STATUSES):
        query["schedule_status"] = list(statuses)
    return query


def file_runs(client: FileImportsClient, conn_id: str, query: RunsQuery) -> Iterator[FileRun]:
    """Yield the files of a run history, each once.

    :param conn_id: the workspace's connection, for messages.
    """
    seen: set[str] = set()
    unknown: set[str] = set()
    is_filtered = bool(query.statuses or query.start)
    client.needs_times = query.start is not None or query.end is not None
    for body in query.requests(datetime.now(UTC)):
        try:
            for run in client.iter_file_runs(body, Retries()):
                if run.id not in seen:
                    seen.add(run.id)
                    if not run.is_known and run.file_status not in unknown:
                        unknown.add(run.file_status)
                        _log.warning(
                            "Import %s: MoEngage reports the file status %r, which is unknown to this provider;"
                            " treated as unfinished",
                            query.ref.value,
                            run.file_status,
                        )
                    if query.matches(run):
                        yield run
            if client.refuses_dates:
                return  # so this was the whole history
        except ApiError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise translated(error, conn_id, "the run history could not be read") from None
            if not is_filtered:
                raise no_such_import(query.ref, conn_id, error) from None


def imports(client: FileImportsClient, conn_id: str, query: Mapping[str, Any]) -> Iterator[ImportDetails]:
    """Yield imports, each once.

    :param conn_id: the workspace's connection, for messages.
    """
    seen: set[str] = set()
    try:
        for details in client.iter_imports(query, Retries()):
            if details.import_id not in seen:
                seen.add(details.import_id)
                yield details
    except ApiError as error:
        if error.kind is not ErrorKind.NOT_FOUND:
            raise translated(error, conn_id, "the imports could not be read") from None


def trigger(client: FileImportsClient, import_id: str) -> None:
    """Trigger an import.

    :raises MoEngageError: see :meth:`MoEngageHook.trigger_file_import`.
    """
    name = ImportRef.of(import_id, None).value
    may_have_run = False
    for attempt in _attempts():
        with attempt:
            reply = client.trigger(name)
            if reply.triggering is Triggering.TRIGGERED:
                return
            if reply.triggering is Triggering.RAN_RECENTLY and may_have_run:
                return  # by the call before this one, which had no response
            may_have_run = may_have_run or reply.triggering is Triggering.UNKNOWN
            raise trigger_error(name, reply)


def trigger_error(import_id: str, reply: TriggerReply) -> MoEngageError:
    """Return the error for a response that triggered nothing, or possibly nothing."""
    kind, advice = _TRIGGER_ERRORS[reply.triggering]
    said = f" ({reply.message})" if reply.message else ""
    what = f"MoEngage answered {reply.status_code}{said}" if reply.status_code else str(reply.message)
    retry_after = reply.retry_after
    if reply.triggering is Triggering.RAN_RECENTLY and retry_after is None:
        retry_after = COOLDOWN.total_seconds()
    return kind(f"Import {import_id!r}: {what}. {advice}.", status_code=reply.status_code, retry_after=retry_after)


_TRIGGER_ERRORS: dict[Triggering, tuple[type[MoEngageError], str]] = {
    Triggering.RAN_RECENTLY: (
        MoEngageRateLimitError,
        "An import runs once in five minutes; it was not triggered",
    ),
    Triggering.GONE: (
        MoEngageRequestError,
        "It was not triggered: the import is deleted or expired, or belongs to another workspace",
    ),
    Triggering.THROTTLED: (MoEngageRateLimitError, "It was not triggered"),
    Triggering.DENIED: (MoEngageAuthError, f"It was not triggered; {DATA_KEY}"),
    Triggering.REFUSED: (MoEngageRequestError, "It was not triggered; check import_id, host and data center"),
    Triggering.NOT_SENT: (MoEngageServerError, "It was not triggered"),
    Triggering.UNKNOWN: (
        MoEngageServerError,
        "It may have been triggered; a second trigger is refused for five minutes, so it is safe to try again",
    ),
}


def no_such_import(ref: ImportRef, conn_id: str, error: ApiError) -> MoEngageImportNotFoundError:
    """Return the error for an import that MoEngage does not have."""
    return MoEngageImportNotFoundError(
        f"Import {ref.value!r}: the workspace of connection {conn_id!r} has no such import, or it was deleted",
        status_code=error.status_code,
    )


def _attempts() -> Any:
    """Return the attempts to trigger: transient server errors are retried, a 429 is not."""
    import tenacity

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(MoEngageServerError),
        wait=tenacity.wait_random_exponential(multiplier=1, max=5),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        reraise=True,
    )


def _words(name: str, given: object, known: tuple[str, ...]) -> tuple[str, ...]:
    if given is None:
        return ()
    words = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    spelt = [(word, read_status(word) or "") for word in words]
    for word, upper in spelt:
        if upper not in known:
            raise ValueError(f"{name} {word!r}: expected {', '.join(known)}")
    return tuple(upper for _, upper in spelt)
