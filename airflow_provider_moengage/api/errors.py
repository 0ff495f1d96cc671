"""Errors of the API clients, without Airflow. The hook translates them into the provider's exceptions."""

from __future__ import annotations

from enum import Enum


class ErrorKind(Enum):
    """Why a request failed."""

    AUTHENTICATION = "authentication"
    """401, 403 or 409: the key, the workspace or the caller is not accepted."""
    REQUEST = "request"
    """MoEngage rejects this request; repeating it unchanged does not help."""
    NOT_FOUND = "not found"
    """MoEngage does not have what the request names."""
    RATE_LIMIT = "rate limit"
    """Still throttled after the longest wait that makes sense."""
    SERVER = "server"
    """5xx, no connection or no response, after every attempt."""


class ApiError(Exception):
    """MoEngage could not be reached, or it rejected a request.

    :param kind: the kind of failure.
    :param message: a sentence for people, free of keys and of personal data.
    :param status_code: HTTP status of the last response; None if there was none.
    :param request_id: MoEngage's ID of the request, for its support.
    :param retry_after: seconds until another attempt makes sense, if known.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        status_code: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status_code = status_code
        self.request_id = request_id
        self.retry_after = retry_after
