"""File imports between Airflow and the API: what is asked, how often, and which error each answer becomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import (
    STATUS_FILTER,
    FileRun,
    ImportDetails,
    as_moment,
    date_filters,
    read_status,
)
from airflow_provider_moengage.arguments import non_empty
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageImportNotFoundError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.hooks.errors import translated
from airflow_provider_moengage.polling.pages import Pages

if TYPE_CHECKING:
    from airflow_provider_moengage.api.file_imports_client import FileImportsClient, TriggerReply
    from airflow_provider_moengage.hooks.moengage import MoEngageHook

ATTEMPTS = 3
"""Times that a question is asked, and that an import is triggered whose call had no answer."""

THROTTLED_ASKS = 30
THROTTLED_PAUSE = 10.0
"""Times that a later page is asked for while MoEngage throttles, and seconds between where it does not say."""

COOLDOWN = timedelta(minutes=5)
"""Between two runs of an import (MoEngage API reference, "Trigger File Import")."""

IMPORT_TYPES = ("USERS", "EVENTS", "AUX_DATA")
SCHEDULE_TYPES = ("PERIODIC", "ONETIME")
FILE_SOURCES = ("SFTP", "S3", "CSV")
SCHEDULE_STATUSES = ("SUCCESSFUL", "FAILED", "PARTIAL_SUCCESS", "SCHEDULED", "PROCESSING", "QUEUED", "ARCHIVED")

Row = TypeVar("Row", FileRun, ImportDetails)


@dataclass(frozen=True, slots=True)
class RunsQuery:
    """A question to a run history, checked."""

    what: dict[str, str]
    """``import_id`` or ``import_name``."""
    statuses: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None

    def requests(self, now: datetime) -> list[dict[str, Any]]:
        """Return the bodies, without page numbers, that together ask it."""
        filters: dict[str, Any] = {"file_status": list(self.statuses)} if self.statuses else {}
        dates = list(date_filters(self.start, self.end or now, now=now))
        return [{**self.what, **filters, "date": date} for date in dates] or [{**self.what, **filters}]

    def lets_through(self, run: FileRun) -> bool:
        """Whether a file is really one that was asked for."""
        when = run.scheduled_at
        is_early = when is not None and self.start is not None and when < self.start
        is_late = when is not None and self.end is not None and when > self.end
        return not (is_early or is_late) and (not self.statuses or run.file_status in self.statuses)


def runs_query(
    import_id: object,
    import_name: object,
    *,
    file_status: str | Iterable[str] | None = None,
    start: object = None,
    end: object = None,
) -> RunsQuery:
    """Check the arguments of a question to a run history.

    :raises ValueError: naming the one that is wrong.
    """
    statuses = _words("file_status", file_status, STATUS_FILTER)
    first, last = as_moment("start", start), as_moment("end", end)
    if first is not None and last is not None and first > last:
        raise ValueError(f"start {start!r}: is after end {end!r}")
    return RunsQuery(import_of(import_id, import_name), statuses, first, last)


def import_of(import_id: object, import_name: object) -> dict[str, str]:
    """Return the field of a question that says which import; the id wins.

    :raises ValueError: where neither says one.
    """
    for name, value in (("import_id", import_id), ("import_name", import_name)):
        if value is None:
            continue
        return {name: non_empty(name, value)}
    raise ValueError("import_id, import_name: one of them is needed")


def imports_query(
    import_name: str | None, *, schedule_status: str | Iterable[str] | None, **filters: str | None
) -> dict[str, Any]:
    """Check the filters of a question for imports.

    :raises ValueError: naming the one that is wrong.
    """
    known = {"import_type": IMPORT_TYPES, "schedule_type": SCHEDULE_TYPES, "file_source": FILE_SOURCES}
    query: dict[str, Any] = {}
    if import_name is not None:
        query.update(import_of(None, import_name))
    for name, value in filters.items():
        words = _words(name, value, known[name])
        if len(words) > 1:
            raise ValueError(f"{name} {value!r}: expected one of {', '.join(known[name])}")
        if words:
            query[name] = words[0]
    if statuses := _words("schedule_status", schedule_status, SCHEDULE_STATUSES):
        query["schedule_status"] = list(statuses)
    return query


def file_runs(hook: MoEngageHook, query: RunsQuery) -> Iterator[FileRun]:
    """Yield the files of a run history, each once."""
    from airflow_provider_moengage.api.file_imports_client import ImportNotFoundError

    client = hook.get_file_imports_conn()
    seen: set[str] = set()
    is_filtered = bool(query.statuses or query.start)
    try:
        for body in query.requests(datetime.now(UTC)):
            pages: Pages[FileRun] = Pages(lambda run: run.id)
            has_next = True
            while has_next:
                try:
                    rows, more = _asked(client.file_runs, body, page=pages.next_page)
                except ImportNotFoundError as error:
                    if pages.next_page == 1 and not is_filtered:
                        raise no_such_import(query.what, hook.moengage_conn_id, error) from None
                    break
                except ApiError as error:
                    so_far = "the run history could not be read"
                    raise translated(error, hook.moengage_conn_id, so_far) from None
                fresh = [run for run in rows if run.id not in seen]
                has_next = pages.take(rows, has_more=more)
                seen.update(run.id for run in fresh)
                yield from (run for run in fresh if query.lets_through(run))
    finally:
        client.close()


def imports(hook: MoEngageHook, query: Mapping[str, Any]) -> Iterator[ImportDetails]:
    """Yield imports, each once."""
    from airflow_provider_moengage.api.file_imports_client import ImportNotFoundError

    client = hook.get_file_imports_conn()
    pages: Pages[ImportDetails] = Pages(lambda details: details.import_id)
    seen: set[str] = set()
    has_next = True
    try:
        while has_next:
            try:
                rows, more = _asked(client.imports, query, page=pages.next_page)
            except ImportNotFoundError:
                return
            except ApiError as error:
                raise translated(error, hook.moengage_conn_id, "the imports could not be read") from None
            fresh = [details for details in rows if details.import_id not in seen]
            has_next = pages.take(rows, has_more=more)
            seen.update(details.import_id for details in fresh)
            yield from fresh
    finally:
        client.close()


def read_history(
    client: FileImportsClient, what: Mapping[str, str], pause: Callable[[float], None]
) -> list[FileRun]:
    """Return a whole run history: a poll. Of a long one, a later page that is throttled is asked for again.

    :param what: ``import_id`` or ``import_name``.
    :param pause: lets seconds pass.
    :raises ImportNotFoundError: where MoEngage has no such import.
    :raises ApiError: where MoEngage does not say.
    """
    from airflow_provider_moengage.api.file_imports_client import ImportNotFoundError

    pages: Pages[FileRun] = Pages(lambda run: run.id)
    has_next = True
    while has_next:
        try:
            rows, more = _paced(client.file_runs, what, page=pages.next_page, pause=pause)
        except ImportNotFoundError:
            if pages.next_page == 1:
                raise
            break
        has_next = pages.take(rows, has_more=more)
    return pages.rows


def history(client: FileImportsClient, what: Mapping[str, str], pause: Callable[[float], None]) -> list[FileRun]:
    """Return a whole run history, empty where MoEngage has none; asked up to three times.

    :param what: ``import_id`` or ``import_name``.
    :param pause: lets seconds pass.
    :raises ApiError: where MoEngage does not say.
    """
    for attempt in _attempts():
        with attempt:
            try:
                return read_history(client, what, pause)
            except ApiError as error:
                if not error.is_absence:
                    raise
                return []
    raise AssertionError("tenacity returns or raises")


def trigger(client: FileImportsClient, import_id: str) -> None:
    """Trigger an import.

    :raises MoEngageError: see :meth:`MoEngageHook.trigger_file_import`.
    """
    from airflow_provider_moengage.api.file_imports_client import Triggering

    [name] = import_of(import_id, None).values()
    may_have_run = False
    for attempt in _attempts():
        with attempt:
            reply = client.trigger(name)
            if reply.triggering is Triggering.TRIGGERED:
                return
            if reply.triggering is Triggering.RAN_RECENTLY and may_have_run:
                return  # the call before this one, which had no answer
            may_have_run = may_have_run or reply.triggering is Triggering.UNKNOWN
            raise trigger_error(name, reply)


def trigger_error(import_id: str, reply: TriggerReply) -> MoEngageError:
    """Return what an answer means that has triggered nothing, or maybe nothing."""
    kind, advice = _trigger_errors()[reply.triggering]
    said = f" ({reply.message})" if reply.message else ""
    what = f"MoEngage answered {reply.status_code}{said}" if reply.status_code else str(reply.message)
    retry_after = reply.retry_after
    if reply.triggering.name == "RAN_RECENTLY" and retry_after is None:
        retry_after = COOLDOWN.total_seconds()
    return kind(f"Import {import_id!r}: {what}. {advice}.", status_code=reply.status_code, retry_after=retry_after)


def _trigger_errors() -> dict[Any, tuple[type[MoEngageError], str]]:
    from airflow_provider_moengage.api.file_imports_client import DATA_KEY, Triggering

    return {
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


def no_such_import(what: Mapping[str, str], conn_id: str, error: ApiError) -> MoEngageImportNotFoundError:
    """Return the error for an import that MoEngage does not have."""
    [value] = what.values()
    return MoEngageImportNotFoundError(
        f"Import {value!r}: the workspace of connection {conn_id!r} has no such import, or it was deleted",
        status_code=error.status_code,
    )


def _asked(
    ask: Callable[..., tuple[list[Row], bool]], query: Mapping[str, Any], *, page: int
) -> tuple[list[Row], bool]:
    for attempt in _attempts():
        with attempt:
            return _paced(ask, query, page=page, pause=time.sleep)
    raise AssertionError("tenacity returns or raises")


def _paced(
    ask: Callable[..., tuple[list[Row], bool]],
    query: Mapping[str, Any],
    *,
    page: int,
    pause: Callable[[float], None],
) -> tuple[list[Row], bool]:
    """Ask for a page. Past the first, wait where MoEngage throttles: from the start again, it would never end."""
    for asked in range(1, THROTTLED_ASKS + 1):
        try:
            return ask(query, page=page)
        except ApiError as error:
            if error.kind is not ErrorKind.RATE_LIMIT or page == 1 or asked == THROTTLED_ASKS:
                raise
            pause(min(error.retry_after or THROTTLED_PAUSE, 60.0))
    raise AssertionError("the last time returns or raises")


def _attempts() -> Any:
    """Return tries of something harmless: again after what may be over in a moment, and not after a throttle."""
    import tenacity

    def may_be_over(error: BaseException) -> bool:
        is_server = isinstance(error, ApiError) and error.kind is ErrorKind.SERVER
        return is_server or isinstance(error, MoEngageServerError)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_be_over),
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
