"""Classifies MoEngage's responses: the one table behind every retry, wait and reject.

MoEngage API reference, "Bulk Import", "Rate Limits" and "Error codes". Two quirks shape this module: the
documentation says that all bulk requests return 200, so the body decides before the status does, and
``x-ratelimit-reset`` is documented both as seconds left and as UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

import msgspec

from airflow_provider_moengage.api.errors import ApiError, ErrorKind


class Outcome(Enum):
    """The outcome of one bulk request."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """MoEngage accepted none of it, because of something in its elements."""
    TOO_LARGE = "too large"
    THROTTLED = "throttled"
    """Certainly not processed; to be sent again when the rate limit allows."""
    NOT_SENT = "not sent"
    """No connection was made, so nothing can have been processed."""
    SERVER_ERROR = "server error"
    """A 5xx. A 502 or a 504 may follow acceptance, so the request may have been processed."""
    UNKNOWN = "unknown"
    """Sent, without a response that reports the outcome."""
    DENIED = "denied"
    """401, 403, 409: no request will be accepted until somebody fixes the connection or the account."""
    UNEXPECTED = "unexpected"
    """A status or an error about the request as a whole, not about its elements."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. ``error_type`` and ``message`` are MoEngage's words, which may quote an element: they may be
    stored in its reject, but never logged.
    """

    outcome: Outcome
    status_code: int | None = None
    error_type: str | None = None
    message: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    """Seconds to wait, by ``Retry-After`` or by ``x-ratelimit-reset``."""
    remaining: int | None = None
    """``x-ratelimit-remaining``: requests left in the current window, as the server reports it."""
    limit: int | None = None
    """``x-ratelimit-limit``: what the server allows in a window, counted as ``remaining`` is."""


_BY_STATUS = {
    400: Outcome.REFUSED,
    401: Outcome.DENIED,
    403: Outcome.DENIED,
    408: Outcome.SERVER_ERROR,
    409: Outcome.DENIED,
    413: Outcome.TOO_LARGE,
    422: Outcome.REFUSED,
    425: Outcome.SERVER_ERROR,
    429: Outcome.THROTTLED,
}

# Of a 400, or of a 200 with "fail": types and messages about the request or its sender, not about an element, so
# splitting cannot help.
_BY_WORDS = {
    "rate limits exceeded": Outcome.THROTTLED,
    "rate limit exceeded": Outcome.THROTTLED,
    "account suspended": Outcome.DENIED,
    "account temporarily suspended": Outcome.DENIED,
    "authentication mismatch": Outcome.DENIED,
    "blockedclient": Outcome.DENIED,
    "blacklisted": Outcome.UNEXPECTED,
    "empty request body": Outcome.UNEXPECTED,
    "invalidparams": Outcome.UNEXPECTED,
    "missing header value": Outcome.UNEXPECTED,
    "paramsrequired": Outcome.UNEXPECTED,
}

_EPOCH_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e9, 1.0))
"""From which value on a reset is a time since 1970, and how many of its units are a second: nanoseconds,
microseconds, milliseconds, seconds. Smaller values are seconds left; a window of a minute has at most 60."""

LONGEST_HINT = 60.0
"""Seconds; a longer hint is cut. The limits of the Data API and of file imports are per minute (MoEngage API
reference, "Rate Limits"): a minute later, another request reports whether they allow more."""

_LEAST_CLOCK_ERROR, _MOST_CLOCK_ERROR = 2.0, 86_400.0
"""Seconds by which a worker's clock and the server's may differ."""


LONGEST_OUTAGE = 600.0
"""Seconds; the same for a 5xx, whose ``Retry-After`` reports an outage and not a rate limit. No longer, so that an
absurd value does not stop a run for an hour."""


def read_reply(status_code: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Reply:
    """Read a response of the bulk import endpoint.

    :param status_code: HTTP status.
    :param headers: the response's headers, case-insensitive.
    :param body: the response's body.
    :param now: UTC epoch seconds, to convert times in headers into seconds to wait.
    """
    content = read_object(body)
    status = str(content.get("status", "")).lower()
    error = _error_of(content)
    outcome = _outcome(status_code, status, error)
    return Reply(
        outcome=outcome,
        status_code=status_code,
        error_type=error.type,
        message=error.message,
        request_id=error.request_id or _text(content.get("request_id")) or _text(headers.get("x-request-id")),
        retry_after=read_retry_after(
            headers, now=now, longest=LONGEST_OUTAGE if status_code >= 500 else LONGEST_HINT
        ),
        remaining=_whole_number(headers.get("x-ratelimit-remaining")),
        limit=None if (limit := _greatest(headers.get("x-ratelimit-limit"))) is None else int(limit),
    )


def read_retry_after(headers: Mapping[str, str], *, now: float, longest: float = LONGEST_HINT) -> float | None:
    """Return how many seconds the server asks to wait, or None if it does not.

    ``Retry-After`` wins (seconds or an HTTP date), then ``x-ratelimit-reset`` in either documented reading. Times
    are compared with the server's own clock, if the response has a ``Date``: the worker's may be wrong.

    :param now: UTC epoch seconds of the worker.
    :param longest: seconds; the longest window of the API family.
    """
    said, reset_said = headers.get("retry-after"), headers.get("x-ratelimit-reset")
    if said is None and reset_said is None:
        return None  # most responses of a bulk import, for which reading the date would be 3 % of the CPU time
    now += clock_difference(read_http_date(headers.get("date")), now=now)
    if said is not None:
        seconds = _greatest(said)
        if seconds is None and (moment := read_http_date(said)) is not None:
            seconds = moment - now
        if seconds is not None:
            return min(max(seconds, 0.0), longest)
    reset = _greatest(reset_said)
    if reset is None:
        return None
    for least, per_second in _EPOCH_UNITS:
        if reset >= least:
            reset = reset / per_second - now
            break
    return min(max(reset, 0.0), longest)


def clock_difference(served_at: float | None, *, now: float) -> float:
    """Return how many seconds the server's clock is ahead of the worker's.

    :param served_at: the response's ``Date`` as UTC epoch seconds, or None. It has no fractions of a second, so a
        difference within two seconds counts as none; one of more than a day is not a clock's.
    """
    difference = 0.0 if served_at is None else served_at - now
    return difference if _LEAST_CLOCK_ERROR < abs(difference) <= _MOST_CLOCK_ERROR else 0.0


def read_http_date(said: str | None) -> float | None:
    """Return the UTC epoch seconds of an HTTP date."""
    if said is None:
        return None
    try:
        moment = parsedate_to_datetime(said)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _greatest(said: str | None) -> float | None:
    """Return a number; the greatest, if the header was sent several times, which joins them with commas, or has
    parameters after a semicolon.
    """
    numbers = [_number(each.partition(";")[0]) for each in (said or "").split(",")]
    return max((each for each in numbers if each is not None), default=None)


def refusal(reply: Reply, who: str = "MoEngage") -> ApiError:
    """Return the error for a response that ends everything. Its message says what to do, without MoEngage's own
    text, which may quote what was sent.

    :param reply: the response.
    :param who: who responded: MoEngage, or the host that replaces it.
    """
    if reply.status_code is None and reply.message is not None:  # our words: there was no response
        return ApiError(ErrorKind.SERVER, f"{who} could not be reached: {reply.message}")
    if reply.outcome is Outcome.DENIED or (reply.outcome is Outcome.REFUSED and reply.status_code == 200):
        kind, advice = ErrorKind.AUTHENTICATION, _DENIALS.get(reply.status_code or 0, _DENIALS[401])
    elif reply.outcome is Outcome.THROTTLED:
        kind, advice = ErrorKind.RATE_LIMIT, "the workspace's rate limit is used up; try again in a minute"
    elif reply.outcome in (Outcome.SERVER_ERROR, Outcome.NOT_SENT):
        kind, advice = ErrorKind.SERVER, "it is temporarily unavailable"
    elif reply.status_code in (400, 422):
        kind, advice = ErrorKind.REQUEST, "it rejected the request: check workspace ID and data center"
    else:
        kind, advice = (
            ErrorKind.REQUEST,
            "this response did not come from MoEngage's API: check host and data center",
        )
    request_id = f" (request id {reply.request_id})" if reply.request_id else ""
    return ApiError(
        kind,
        f"{who} answered {reply.status_code}: {advice}{request_id}",
        status_code=reply.status_code,
        request_id=reply.request_id,
        retry_after=reply.retry_after,
    )


_DENIALS = {
    401: "workspace ID and Data API key do not match, or the key is not the Data tile's",
    403: "the account is suspended, the key does not cover this API, or this IP address is not allowed",
    409: "the workspace ID differs from the one that the key belongs to",
}


@dataclass(frozen=True, slots=True)
class _Error:
    type: str | None = None
    message: str | None = None
    request_id: str | None = None


def _outcome(status_code: int, status: str, error: _Error) -> Outcome:
    if status_code < 300:
        if status == "success":
            return Outcome.ACCEPTED
        if status not in ("fail", "error"):
            return Outcome.UNKNOWN  # a proxy's page or an empty body: not a confirmation by MoEngage
        outcome = Outcome.REFUSED
    elif status_code >= 500:
        return Outcome.SERVER_ERROR
    else:
        outcome = _BY_STATUS.get(status_code, Outcome.UNEXPECTED)
    return _by_words(error) or outcome if outcome is Outcome.REFUSED else outcome


def _by_words(error: _Error) -> Outcome | None:
    """Return the outcome if a refusal's type or its whole message is a documented one. A message is never searched
    for words, because it may quote an element.
    """
    for said in (error.type, error.message):
        if said is not None and (outcome := _BY_WORDS.get(said.strip().casefold().rstrip("."))):
            return outcome
    return None


def _error_of(content: dict[str, Any]) -> _Error:
    error = content.get("error")
    if isinstance(error, dict):
        return _Error(_text(error.get("type")), _text(error.get("message")), _text(error.get("request_id")))
    data = content.get("data")
    if isinstance(data, dict):
        return _Error(_text(data.get("title")), _text(data.get("description")))
    return _Error(
        _text(content.get("title")) or _text(error),
        _text(content.get("message") or content.get("description")),
    )


def read_object(body: bytes) -> dict[str, Any]:
    """Return a body's JSON object; an empty one if it is anything else (for example, a proxy's page)."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and abs(number) != float("inf") and number == number else None  # noqa: PLR0124 (NaN)


def _whole_number(value: str | None) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
