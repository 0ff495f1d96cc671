"""Who may come in at the file import endpoints, and how often.

MoEngage API reference, "File Imports", overview: 50 requests a minute for each of the two queries.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_moengage.emulator.file_imports.answers import (
    BadQuery,
    bad_query,
    file_import_failure,
    unauthorized,
)
from airflow_provider_moengage.emulator.http import Call, basic_credentials, is_json
from airflow_provider_moengage.emulator.limits import limit_headers
from airflow_provider_moengage.emulator.workspace import Ruling, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_moengage.emulator.http import Answer
    from airflow_provider_moengage.emulator.quotas import Quota
    from airflow_provider_moengage.emulator.settings import Windows


class BadQueryError(Exception):
    """A query that is refused with a 400."""

    def __init__(self, kind: BadQuery) -> None:
        super().__init__(kind)
        self.kind = kind


def at_the_door(workspace: Workspace, call: Call) -> Answer | None:
    """Return the failure of a request that comes with the wrong key, or is too large."""
    credentials = workspace.credentials
    app_key = call.headers.get("moe-appkey")
    login = basic_credentials(call.headers)
    if app_key is None:
        return unauthorized("HeaderMissing")
    if login is not None and app_key != login[0]:
        return unauthorized("HeaderMismatch")
    if login != (credentials.workspace_id, credentials.data_api_key):
        return unauthorized("AuthenticationInvalid")
    limit = workspace.settings.hard_body_limit
    if limit is not None and call.size > limit:
        return file_import_failure(413, call.path)
    return None


def query(
    workspace: Workspace,
    call: Call,
    now: float,
    budget: tuple[Quota, Windows],
    answer: Callable[[Workspace, dict[str, Any], float], Answer],
) -> Ruling:
    """Let ``answer`` answer a query's fields, as far as its budget goes.

    :param answer: raises `BadQueryError` for what it refuses.
    """
    stopped = at_the_door(workspace, call)
    if stopped is not None:
        return Ruling(stopped, "refused")
    quota, windows = budget
    settings = workspace.settings
    if quota.opens_at(windows, 1, now) > now:
        headers = limit_headers(quota.reading(windows, now), settings, now, refused=True)
        return Ruling(file_import_failure(429, call.path, headers), "throttled")
    quota.spend(1, windows, now)
    headers = limit_headers(quota.reading(windows, now), settings, now, refused=False)
    if not is_json(call.headers):
        return Ruling(file_import_failure(415, call.path, headers), "refused")
    try:
        answered = answer(workspace, _fields(call.body), now)
    except BadQueryError as bad:
        return Ruling(replace(bad_query(bad.kind), headers=headers), "refused")
    return Ruling(replace(answered, headers=headers), "answered")


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadQueryError("value") from None
    if type(fields) is not dict:
        raise BadQueryError("value")
    return fields
