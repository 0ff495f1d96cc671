"""The requests of file imports: trigger an import, and read run histories and import details.

MoEngage API reference, "File Imports". Everything but the trigger only reads and is safe to repeat. Each call
is one request for one page; the caller keeps to the limit of 50 requests a minute for each of the two endpoints
("Rate Limits").
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import (
    DATA_KEY,
    HISTORY_PATH,
    IMPORTS_PATH,
    TRIGGER_PATH,
    FileRun,
    ImportDetails,
    ImportRef,
    Triggering,
    TriggerReply,
    is_list,
    read_file_run,
    read_import,
    read_page,
)
from airflow_provider_moengage.api.paging import Page, Pages, Retries, read_complete, read_into, read_pages
from airflow_provider_moengage.api.received.import_zones import ImportZones
from airflow_provider_moengage.api.received.success import says_failure, says_triggered
from airflow_provider_moengage.api.received.values import Received, sentence
from airflow_provider_moengage.api.responses import meant_status, read_http_date, read_retry_after
from airflow_provider_moengage.api.session import Answer, open_session
from airflow_provider_moengage.api.transport.failures import NoAnswerError
from airflow_provider_moengage.api.workspace import Workspace

LONGEST_COOLDOWN = 300.0
"""Seconds: an import runs once in five minutes ("Trigger File Import"), so no longer wait makes sense."""

_log = logging.getLogger(__name__)


class FileImportsClient:
    """A client of the file imports API of one workspace. Not thread-safe.

    :param now: UTC epoch seconds.
    """

    def __init__(self, workspace: Workspace, *, now: Callable[[], float] = time.time) -> None:
        self.workspace = workspace
        self._now = now
        self.served_at: float | None = None
        """When the last response was sent, by the server's clock: UTC epoch seconds; None if it has no date."""
        self.refuses_dates = False
        """Whether MoEngage has refused the format of a date filter, so that queries have none from then on."""
        self.needs_times = False
        """Whether the caller's decisions depend on the times of files: if their zone cannot be found out at the
        moment, reading a run history fails, instead of taking them for UTC.
        """
        self.times_are_assumed = False
        """Whether nothing showed the zone of the times that were read last."""
        self._url = workspace.file_imports_url
        self._session = open_session(self._url, workspace.workspace_id, workspace.data_api_key)
        self._session.headers["MOE-APPKEY"] = workspace.workspace_id.encode()
        self._session.headers.update(workspace.project_headers)
        self._scrub = workspace.scrub()
        self._zones = ImportZones(
            (self._url, workspace.workspace_id, workspace.project_code or ""),
            workspace.import_time_zone,
            self._details,
            now,
        )

    def fork(self) -> FileImportsClient:
        """Return a client of the same workspace with connections of its own."""
        return FileImportsClient(self.workspace, now=self._now)

    def close(self) -> None:
        """Close the connections, and cut the one on which another thread waits for a response."""
        self._session.abandon()
        self._session.close()

    def trigger(self, import_id: str) -> TriggerReply:
        """Trigger an import with a single request and return the outcome. Network errors never raise."""
        try:
            response = self._post(TRIGGER_PATH + quote(import_id, safe=""), None)
        except NoAnswerError as error:
            outcome = Triggering.UNKNOWN if error.is_sent else Triggering.NOT_SENT
            return TriggerReply(outcome, message=error.message)
        content = Received.body(response.content, self._scrub)
        return TriggerReply(
            _triggering(meant_status(response.status_code, _type_and_message(content)), content),
            status_code=response.status_code,
            message=_said(content),
            retry_after=read_retry_after(response.headers, now=self._now(), longest=LONGEST_COOLDOWN),
        )

    def file_runs(self, query: Mapping[str, Any], *, page: int) -> Page[FileRun]:
        """Return one page of a run history.

        :param query: ``import_id`` or ``import_name``, and filters, as the API has them.
        :param page: from 1; 50 files each.
        :raises ApiError: if MoEngage does not answer; of kind NOT_FOUND if there is no such import, no
            such page, or no file that passes the filters. With ``needs_times`` also if the import details,
            which may be asked for the zone, cannot be read at the moment.
        """
        found = self._page(HISTORY_PATH, query, page)
        times = self._zones.of_runs(query, found.rows, is_needed=self.needs_times)
        self.times_are_assumed = times.is_assumed
        return Page([read_file_run(row, times) for row in found.rows], found.has_more, found.total)

    def imports(self, query: Mapping[str, Any], *, page: int) -> tuple[list[ImportDetails], bool]:
        """Return one page of imports, and whether another may follow.

        :param query: filters, as the API has them.
        :param page: from 1; 50 imports each.
        :raises ApiError: if MoEngage does not answer.
        """
        rows, has_more = self._details(query, page)
        times = self._zones.of_imports(rows)
        return [read_import(row, each) for row, each in zip(rows, times, strict=True)], has_more

    def all_file_runs(self, ref: ImportRef, retries: Retries, *, passes: int = 1) -> list[FileRun]:
        """Return a whole run history, each file once.

        :param passes: how often to read it until it has all files that MoEngage reports.
        :raises ApiError: if MoEngage does not answer, or some files may be missing; of kind NOT_FOUND if it has no
            such import.
        """

        def ask(page: int) -> Page[FileRun]:
            return self.file_runs(ref.query, page=page)

        return read_complete(ask, _run_id, retries, passes=passes)

    def iter_file_runs(self, query: Mapping[str, Any], retries: Retries) -> Iterator[FileRun]:
        """Yield the files of a query as their pages are read.

        :raises ApiError: if MoEngage does not answer; of kind NOT_FOUND if it has no such import. After the last
            file, if some may be missing: only a warning if the query has filters, because whether ``total_count``
            counts what they leave out is not documented.
        """

        def ask(page: int) -> Page[FileRun]:
            return self.file_runs(query, page=page)

        pages: Pages[FileRun] = Pages(_run_id)
        for rows in read_into(pages, ask, retries):
            yield from rows
        try:
            pages.check_complete(may_grow=True)
        except ApiError as error:
            if not query.keys() & {"date", "file_status"}:
                raise
            _log.warning("%s", error.message)

    def iter_imports(self, query: Mapping[str, Any], retries: Retries) -> Iterator[ImportDetails]:
        """Yield the imports of a query as their pages are read.

        :raises ApiError: if MoEngage does not answer.
        """
        for page in read_pages(self.imports, query, lambda details: details.import_id, retries):
            yield from page

    def _details(self, query: Mapping[str, Any], page: int) -> tuple[Sequence[Received], bool]:
        found = self._page(IMPORTS_PATH, query, page)
        return found.rows, found.has_more is not False

    def _page(self, path: str, query: Mapping[str, Any], page: int) -> Page[Received]:
        if self.refuses_dates:
            query = {name: value for name, value in query.items() if name != "date"}
        try:
            response = self._post(path, {**query, "offset": page})
        except NoAnswerError as error:
            raise ApiError(ErrorKind.SERVER, f"{self._url} could not be reached: {error.message}") from None
        content = Received.body(response.content, self._scrub)
        if response.status_code == 200 and _is_page(content):
            found = read_page(content)
            if not found.rows and page == 1 and (found.total or 0) > 0:
                _log.warning("MoEngage reports files or imports, but its response has none that can be read")
            return found
        if response.status_code == 400 and "date" in query and _is_about_dates(content):
            _log.warning("MoEngage refuses the format of dates; reading the whole history instead")
            self.refuses_dates = True
            return self._page(path, query, page)
        raise self._refusal(response, content, page)

    def _post(self, path: str, body: Mapping[str, Any] | None) -> Answer:
        answer = self._session.ask(
            "POST",
            self._url + path,
            data=None if body is None else msgspec.json.encode(body),
            timeout=self.workspace.timeout,
        )
        self.served_at = read_http_date(answer.headers.get("date"))
        return answer

    def _refusal(self, response: Answer, content: Received, page: int) -> ApiError:
        status = meant_status(response.status_code, _type_and_message(content))
        said = _said(content)
        kind, advice = ErrorKind.REQUEST, f"it rejected the request ({said})" if said else _NO_ANSWER
        if status in (401, 403, 409):
            kind, advice = ErrorKind.AUTHENTICATION, DATA_KEY
        elif status == 429:
            kind, advice = ErrorKind.RATE_LIMIT, "the limit of 50 requests a minute is used up"
        elif status >= 500 or status in (408, 425):
            kind, advice = ErrorKind.SERVER, "it is temporarily unavailable"
        elif response.status_code in (200, 400) and _is_absence(content, page):
            kind, advice = ErrorKind.NOT_FOUND, "it has no such import"
        elif response.status_code == 200:
            kind, advice = ErrorKind.SERVER, _NO_ANSWER
        retry_after = read_retry_after(response.headers, now=self._now())
        return ApiError(
            kind,
            f"{self._url} answered {response.status_code}: {advice}",
            status_code=response.status_code,
            retry_after=retry_after,
        )


def _run_id(run: FileRun) -> str:
    return run.id


_NO_ANSWER = "this response did not come from MoEngage's API; check host and data center"

_BY_STATUS = {
    401: Triggering.DENIED,
    403: Triggering.DENIED,
    404: Triggering.REFUSED,
    405: Triggering.REFUSED,
    409: Triggering.DENIED,
    415: Triggering.REFUSED,
    429: Triggering.THROTTLED,
}


def _said(content: Received) -> str | None:
    """Return MoEngage's message as one line."""
    return sentence(_words(content), between=": ")


def _triggering(status_code: int, content: Received) -> Triggering:
    error = content["error_type"].word(("ALREADY_EXISTS", "NOT_FOUND"))
    if error == "ALREADY_EXISTS":
        return Triggering.RAN_RECENTLY
    if error == "NOT_FOUND":
        return Triggering.GONE
    if status_code == 200:
        is_success = content["status"].word(("success",)) is not None and not says_failure(content)
        message = content["message"]
        if not message.is_null:
            is_success = is_success and says_triggered(message)
        return Triggering.TRIGGERED if is_success else Triggering.UNKNOWN
    if status_code < 300 or status_code >= 500 or status_code in (408, 425):
        return Triggering.UNKNOWN
    return _BY_STATUS.get(status_code, Triggering.REFUSED)


def _is_page(content: Received) -> bool:
    """Return whether a 200 is a page: not a failure, and not a proxy's response."""
    is_failure = content["status"].word(("fail", "failed", "failure", "error")) is not None
    return content.has("data") and is_list(content) and not is_failure


def _is_about_dates(content: Received) -> bool:
    """Return whether a 400 refuses the format of dates; one answer asks for an unlisted format."""
    return any(each.mentions("date format") for each in (content["error_type"], *_words(content)))


def _is_absence(content: Received, page: int) -> bool:
    """Return whether a 400's message means "not found"; past the last page, it mentions an invalid offset."""
    said = [content["error_type"], *_words(content)]
    mentioned = {word for word in ("import", "exist", "offset") if any(each.mentions(word) for each in said)}
    return {"import", "exist"} <= mentioned or (page > 1 and "offset" in mentioned)


def _words(content: Received) -> list[Received]:
    error = content["error"]
    data = content["data"]
    names = ("title", "message", "description", "error_description")
    return [
        error["message"] if error.is_object else error,
        *(content[name] for name in names),
        *(() if data.is_object or data.is_list else (data,)),
    ]


def _type_and_message(content: Received) -> list[Received]:
    error = content["error"]
    return [error["type"], error["message"]] if error.is_object else [content["error_type"], *_words(content)]
