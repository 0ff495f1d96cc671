"""The requests of file imports: trigger one, and read what became of files and imports.

MoEngage API reference, "File Imports". Everything but the trigger is a question that may be asked again. Each
question is one request and one page: whoever asks keeps to the limit of 50 requests a minute for each of the two
endpoints ("Rate Limits").
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote

import msgspec
import requests

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import (
    HISTORY_PATH,
    IMPORTS_PATH,
    TRIGGER_PATH,
    FileRun,
    ImportDetails,
    read_file_run,
    read_import,
    read_rows,
)
from airflow_provider_moengage.api.responses import Outcome, read_object, read_retry_after
from airflow_provider_moengage.api.session import CONNECT_TIMEOUT, cause, no_answer, open_session
from airflow_provider_moengage.api.workspace import Workspace

DATA_KEY = (
    "file imports need the workspace id and the key of the Data tile (fields login and password of the connection)"
)
"""What a person is to know about a key that is not accepted."""


class Triggering(Enum):
    """What became of a call that triggers an import."""

    TRIGGERED = "triggered"
    RAN_RECENTLY = "ran recently"
    """It has run in the last five minutes, so nothing was triggered by this call."""
    GONE = "gone"
    """The import is deleted or expired, or not one of this workspace."""
    THROTTLED = "throttled"
    DENIED = "denied"
    REFUSED = "refused"
    NOT_SENT = "not sent"
    UNKNOWN = "unknown"
    """The call may have left, and no answer says what became of it."""


@dataclass(frozen=True, slots=True)
class TriggerReply:
    """An answer to a trigger, read."""

    triggering: Triggering
    status_code: int | None = None
    message: str | None = None
    """MoEngage's sentence, or what kept an answer away. The key is never in it."""
    retry_after: float | None = None
    """Seconds, where the server said so."""


class ImportNotFoundError(ApiError):
    """400 ``Import Doesn't Exist``: no such import, a page past the end, or no file that passes the filters."""

    @property
    def is_absence(self) -> bool:
        """It is."""
        return True


class FileImportsClient:
    """One conversation about file imports with one workspace. Not for several threads at once.

    :param now: UTC epoch seconds.
    """

    def __init__(self, workspace: Workspace, *, now: Callable[[], float] = time.time) -> None:
        self.workspace = workspace
        self._now = now
        self._url = workspace.file_imports_url
        self._session = open_session(self._url, workspace.workspace_id, workspace.data_api_key)
        self._session.headers["MOE-APPKEY"] = workspace.workspace_id.encode()
        credentials = base64.b64encode(f"{workspace.workspace_id}:{workspace.data_api_key}".encode()).decode()
        self._secrets = (credentials, workspace.data_api_key)

    def fork(self) -> FileImportsClient:
        """Return a client of the same workspace with connections of its own."""
        return FileImportsClient(self.workspace, now=self._now)

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def trigger(self, import_id: str) -> TriggerReply:
        """Trigger an import, once, and say what became of it. Never raises for what the network does."""
        try:
            response = self._post(TRIGGER_PATH + quote(import_id, safe=""), None)
        except requests.RequestException as error:
            reply = no_answer(error)
            is_sent = reply.outcome not in (Outcome.NOT_SENT, Outcome.UNEXPECTED)
            return TriggerReply(Triggering.UNKNOWN if is_sent else Triggering.NOT_SENT, message=reply.message)
        content = read_object(response.content)
        return TriggerReply(
            _triggering(response.status_code, content),
            status_code=response.status_code,
            message=self._sentence(content),
            retry_after=read_retry_after(response.headers, now=self._now()),
        )

    def file_runs(self, query: Mapping[str, Any], *, page: int) -> tuple[list[FileRun], bool]:
        """Return one page of a run history, and whether another follows.

        :param query: ``import_id`` or ``import_name``, and filters, as the API has them.
        :param page: from 1; 50 files each.
        :raises ImportNotFoundError: see there.
        :raises ApiError: where MoEngage does not say.
        """
        rows, has_more = self._page(HISTORY_PATH, query, page)
        return [read_file_run(row) for row in rows], has_more

    def imports(self, query: Mapping[str, Any], *, page: int) -> tuple[list[ImportDetails], bool]:
        """Return one page of imports, and whether another may follow.

        :param query: filters, as the API has them.
        :param page: from 1; 50 imports each.
        :raises ApiError: where MoEngage does not say.
        """
        rows, has_more = self._page(IMPORTS_PATH, query, page)
        return [read_import(row) for row in rows], has_more

    def _page(self, path: str, query: Mapping[str, Any], page: int) -> tuple[list[Mapping[str, Any]], bool]:
        try:
            response = self._post(path, {**query, "offset": page})
        except requests.RequestException as error:
            raise ApiError(ErrorKind.SERVER, f"{self._url} could not be reached: {cause(error)}") from None
        content = read_object(response.content)
        if response.status_code == 200 and _is_page(content):
            return read_rows(content)
        raise self._refusal(response, content, page)

    def _post(self, path: str, body: Mapping[str, Any] | None) -> requests.Response:
        return self._session.post(
            self._url + path,
            data=None if body is None else msgspec.json.encode(body),
            timeout=(CONNECT_TIMEOUT, self.workspace.timeout),
            allow_redirects=False,
        )

    def _refusal(self, response: requests.Response, content: Mapping[str, Any], page: int) -> ApiError:
        status = response.status_code
        said = self._sentence(content)
        kind, advice = ErrorKind.REQUEST, f"it does not take the request ({said})" if said else _NO_ANSWER
        error: type[ApiError] = ApiError
        if status in (401, 403, 409):
            kind, advice = ErrorKind.AUTHENTICATION, DATA_KEY
        elif status == 429:
            kind, advice = ErrorKind.RATE_LIMIT, "the limit of 50 requests a minute is used up"
        elif status >= 500 or status in (408, 425):
            kind, advice = ErrorKind.SERVER, "it is not able to answer at present"
        elif status in (200, 400) and _is_absence(f"{content.get('error_type')} {said}".casefold(), page):
            error, advice = ImportNotFoundError, "it has no such import"
        elif status == 200:
            kind, advice = ErrorKind.SERVER, _NO_ANSWER
        retry_after = read_retry_after(response.headers, now=self._now())
        return error(kind, f"{self._url} answered {status}: {advice}", status_code=status, retry_after=retry_after)

    def _sentence(self, content: Mapping[str, Any]) -> str | None:
        """One line of MoEngage's own words, whatever the shape; no key, which a gateway may send back."""
        error = content.get("error")
        parts = [error.get("message") if isinstance(error, Mapping) else error]
        parts += [content.get(name) for name in ("title", "message", "description")]
        texts = dict.fromkeys(" ".join(str(part).split()) for part in parts if part is not None and part != "")
        sentence = ": ".join(texts)
        for secret in self._secrets:
            sentence = sentence.replace(secret, "***")
        return sentence[:500] or None


_NO_ANSWER = "that is no answer of MoEngage's API; check host and data center"

_BY_STATUS = {
    401: Triggering.DENIED,
    403: Triggering.DENIED,
    404: Triggering.REFUSED,
    405: Triggering.REFUSED,
    409: Triggering.DENIED,
    415: Triggering.REFUSED,
    429: Triggering.THROTTLED,
}


def _triggering(status_code: int, content: Mapping[str, Any]) -> Triggering:
    error = str(content.get("error_type") or "").upper()
    if error == "ALREADY_EXISTS":
        return Triggering.RAN_RECENTLY
    if error == "NOT_FOUND":
        return Triggering.GONE
    if status_code == 200:
        is_success = str(content.get("status") or "").casefold() == "success"
        return Triggering.TRIGGERED if is_success else Triggering.UNKNOWN
    if status_code < 300 or status_code >= 500 or status_code in (408, 425):
        return Triggering.UNKNOWN
    return _BY_STATUS.get(status_code, Triggering.REFUSED)


def _is_page(content: Mapping[str, Any]) -> bool:
    """Tell a page from a failure that comes as a 200, or from what somebody else answers."""
    status = str(content.get("status") or "").casefold()
    return (
        "data" in content
        and isinstance(content["data"], list | None)
        and status not in ("fail", "failed", "failure", "error")
    )


def _is_absence(words: str, page: int) -> bool:
    """Read the words of a 400; past the end, the import details speak of an invalid offset."""
    return ("import" in words and "exist" in words) or (page > 1 and "offset" in words)
