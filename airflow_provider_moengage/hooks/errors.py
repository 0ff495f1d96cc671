"""Translates errors of the API into the exceptions that a task raises."""

from __future__ import annotations

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)

BY_KIND: dict[ErrorKind, type[MoEngageError]] = {
    ErrorKind.AUTHENTICATION: MoEngageAuthError,
    ErrorKind.REQUEST: MoEngageRequestError,
    ErrorKind.NOT_FOUND: MoEngageRequestError,
    ErrorKind.RATE_LIMIT: MoEngageRateLimitError,
    ErrorKind.SERVER: MoEngageServerError,
}


def translated(error: ApiError, conn_id: str, so_far: str) -> MoEngageError:
    """Return the provider's exception for an error of the API.

    :param so_far: what was done and what was not, as the end of a sentence.
    """
    return BY_KIND[error.kind](
        f"Connection {conn_id!r}: {error.message}; {so_far}",
        status_code=error.status_code,
        request_id=error.request_id,
        retry_after=error.retry_after,
    )
