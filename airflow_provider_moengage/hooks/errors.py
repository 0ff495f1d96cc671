"""Translates errors of the API and of storages into the exceptions that a task raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.storage import StorageError

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


def storage_failure(error: StorageError, so_far: str = "") -> MoEngageError:
    """Return the provider's exception for an error of a storage: without retry if only a person can correct it.

    :param so_far: what was done and what was not, as the end of a sentence.
    """
    message = f"{error}; {so_far}" if so_far else str(error)
    if error.is_permanent:
        return MoEngageRequestError(f"{message}. Correct the path or its permissions")
    return MoEngageError(message)


@contextmanager
def storage_failures(so_far: str = "") -> Iterator[None]:
    """Raise the provider's exception for each :class:`StorageError` of the block."""
    try:
        yield
    except StorageError as error:
        raise storage_failure(error, so_far) from None
