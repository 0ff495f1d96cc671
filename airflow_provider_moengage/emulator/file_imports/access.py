"""Authentication and quota checks of the file import endpoints.

MoEngage API reference, "File Imports", overview: 50 requests a minute for each of the two queries.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_moengage.emulator.family import Context, Result
from airflow_provider_moengage.emulator.file_imports.answers import (
    BadQuery,
    bad_query,
    file_import_failure,
    unauthorized,
)
from airflow_provider_moengage.emulator.http import Call, basic_credentials, is_json, read_json
from airflow_provider_moengage.emulator.limits import limit_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_moengage.emulator.http import Answer
    from airflow_provider_moengage.emulator.limits import Quota
    from airflow_provider_moengage.emulator.settings import Windows


class BadQueryError(Exception):
    """A query that is refused with a 400."""

    def __init__(self, kind: BadQuery) -> None:
        super().__init__(kind)
        self.kind = kind


def check_access(context: Context, call: Call) -> Answer | None:
    """Return the failure of a request with a wrong key or a body that is too large."""
    credentials = context.credentials
    app_key = call.headers.get("moe-appkey")
    login = basic_credentials(call.headers)
    if app_key is None:
        return unauthorized("HeaderMissing")
    if login is not None and app_key != login[0]:
        return unauthorized("HeaderMismatch")
    if login != (credentials.workspace_id, credentials.data_api_key):
        return unauthorized("AuthenticationInvalid")
    limit = context.settings.hard_body_limit
    if limit is not None and call.size > limit:
        return file_import_failure(413, call.path)
    return None


def query(
    context: Context,
    call: Call,
    now: float,
    budget: tuple[Quota, Windows],
    answer: Callable[[dict[str, Any], float], Answer],
) -> Result:
    """Answer a query, if its quota allows.

    :param answer: returns the answer to the fields at a time, or raises `BadQueryError`.
    """
    refused = check_access(context, call)
    if refused is not None:
        return Result(refused, "refused")
    quota, windows = budget
    settings = context.settings
    if quota.opens_at(windows, 1, now) > now:
        headers = limit_headers(quota.reading(windows, now), settings, now, refused=True)
        return Result(file_import_failure(429, call.path, headers), "throttled")
    quota.spend(1, windows, now)
    headers = limit_headers(quota.reading(windows, now), settings, now, refused=False)
    if not is_json(call.headers):
        return Result(file_import_failure(415, call.path, headers), "refused")
    try:
        answered = answer(_fields(call.body), now)
    except BadQueryError as bad:
        return Result(replace(bad_query(bad.kind), headers=headers), "refused")
    return Result(replace(answered, headers=headers), "answered")


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = read_json(body)
    except msgspec.DecodeError:
        raise BadQueryError("value") from None
    if type(fields) is not dict:
        raise BadQueryError("value")
    return fields
