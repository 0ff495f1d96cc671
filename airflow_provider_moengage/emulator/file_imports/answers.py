"""The failures of the file import endpoints.

MoEngage API reference, "Trigger File Imports", "Import File Run History" and "Import Details": each has its
own formats; texts are from MoEngage's examples if there is one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from airflow_provider_moengage.emulator.http import Answer, json_answer, new_request_id, phrase

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = "/v1.0/data/fileimports"
TRIGGER, HISTORY, DETAILS = f"{BASE}/trigger/", f"{BASE}/import/run/history", f"{BASE}/import/status"

Unauthorized = Literal["AuthenticationInvalid", "HeaderMissing", "HeaderMismatch"]
BadQuery = Literal["missing", "offset", "date", "iso_date", "days", "value"]

_UNEXPECTED = "An unexpected error was encountered while processing this request. Please contact MoEngage Team."

_UNAUTHORIZED: Mapping[Unauthorized, str] = {
    "AuthenticationInvalid": (
        "Password (APP_KEY) doesn't match the one available on the dashboard. Kindly ensure the same APP_KEY "
        "available on the dashboard is used."
    ),
    "HeaderMissing": "MOE-APPKEY is missing in Header",
    "HeaderMismatch": "MOE_APPKEY doesn't match the Username (APP_KEY) used in Basic Auth authorization",
}

_BAD_QUERIES: Mapping[BadQuery, tuple[str, str]] = {
    "missing": ("Import Doesn't Exist", "No import exist in the database with the given query parameters."),
    "offset": (
        "Invalid Offset Value",
        "The offset value you have provided is not valid. Please review and correct the offset.",
    ),
    "date": (
        "Invalid Date format",
        "The provided date format is either incorrect or doesn't match the entered dates. Please ensure both the "
        "dates and the format are valid.",
    ),
    "iso_date": ("Invalid Date format", "The date should be in the format YYYY-MM-DDTHH:MM:SS.ssssss"),
    "days": (
        "Difference exceeds 30 days",
        "Please note that only imports with a date difference of 30 can be displayed. Kindly adjust the dates "
        "accordingly.",
    ),
}


def triggered() -> Answer:
    """Return the answer to a trigger that started a run; it has no id of the run."""
    return json_answer(200, {"status": "success", "message": "Triggered Import Successfully"})


def not_triggered(error_type: Literal["NOT_FOUND", "ALREADY_EXISTS"]) -> Answer:
    """Return the answer to a trigger that started no run."""
    message = {
        "NOT_FOUND": "This import is either deleted or expired.",
        "ALREADY_EXISTS": "Import has run in the last 5 min.",
    }[error_type]
    return json_answer(400, {"status": "fail", "error_type": error_type, "message": message})


def unauthorized(title: Unauthorized) -> Answer:
    """Return the 401 of a kind."""
    return json_answer(401, {"title": title, "description": _UNAUTHORIZED[title]})


def bad_query(kind: BadQuery) -> Answer:
    """Return the 400 of a kind; that of a wrong value has its own format."""
    if kind == "value":
        data = "Unable to process the request"
        return json_answer(400, {"success": False, "status_code": "400 Bad Request", "data": data})
    error_type, message = _BAD_QUERIES[kind]
    return json_answer(400, {"status": "FAILURE", "error_type": error_type, "message": message})


def file_import_failure(  # noqa: PLR0911 - one return per documented status
    status: int,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    not_found: Literal["data", "message"] = "data",
) -> Answer:
    """Return the failure of ``path`` with a status, in the documented format if there is one.

    :param not_found: the field of the 404 of a query that has its text.
    """
    headers = headers or {}
    queries = not path.startswith(TRIGGER)
    match status:
        case 400:
            return replace(bad_query("value") if queries else not_triggered("NOT_FOUND"), headers=headers)
        case 401:
            return replace(unauthorized("AuthenticationInvalid"), headers=headers)
        case 403:
            return _error(
                403, "Your account is suspended. Please contact MoEngage team.", "BlockedClient", headers
            )
        case 404:
            has_data = queries and not_found == "data"
            text = {"data": "Resource not found."} if has_data else {"message": "Resource not found"}
            return json_answer(404, {"status": "fail", **text}, headers)
        case 405:
            return json_answer(405, {"status": "fail", "message": "Method not allowed"}, headers)
        case 415:
            name = "error_description" if path.startswith(HISTORY) else "description"
            body = {"title": "Unsupported media type", name: "Content type is not supported"}
            return json_answer(415, body, headers)
        case 429:
            message = "Rate limits exceeded, please try after some time"
            return _error(429, message, "Rate Limits Exceeded", headers)
    title = "Server Error" if status == 500 else phrase(status)
    description = _UNEXPECTED if status >= 500 else phrase(status)
    return json_answer(status, {"title": title, "description": description, "code": new_request_id()}, headers)


def _error(status: int, message: str, error_type: str, headers: Mapping[str, str]) -> Answer:
    error = {"message": message, "type": error_type, "request_id": new_request_id()}
    return json_answer(status, {"status": "fail", "error": error}, headers)
