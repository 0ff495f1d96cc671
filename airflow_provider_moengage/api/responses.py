"""Classifies MoEngage's responses: the one table behind every retry, wait and reject.

MoEngage API reference, "Bulk Import", "Rate Limits" and "Error codes". Two quirks shape this module: the
documentation says that all bulk requests return 200, so the body decides before the status does, and
``x-ratelimit-reset`` is documented both as seconds left and as UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.received.success import denies, names_errors, says_failure
from airflow_provider_moengage.api.received.values import Received


class Outcome(Enum):
    """The outcome of one bulk request."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """MoEngage accepted none of it, because of something in its elements."""
    UNCLEAR = "unclear"
    """Refused with an error that is not documented: it may be about the elements, or about anything else."""
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
    """A response, or why there is none."""

    outcome: Outcome
    status_code: int | None = None
    message: str | None = None
    """Why there is no response, or why it says nothing about the outcome, in this package's words."""
    error_type: str | None = None
    """The type of the error, if it is a documented one."""
    said: tuple[Received, ...] = field(default=(), compare=False, repr=False)
    """Type and message of the error. They may quote an element, so only its reject may hold them."""
    request_id: str | None = None
    """MoEngage's ID of the request; of an accepted one it is not read."""
    retry_after: float | None = None
    """Seconds to wait, by ``Retry-After`` or by ``x-ratelimit-reset``."""
    remaining: int | None = None
    """``x-ratelimit-remaining``: requests left in the current window, as the server reports it."""
    limit: int | None = None
    """``x-ratelimit-limit``: what the server allows in a window, counted as ``remaining`` is."""


ACCEPTED = (200, 201, 202)
"""Statuses of a success; after others, such as 206 or 207, a part may be missing."""

CONTRADICTION = "the response calls itself a success, and reports an error"

_BY_STATUS = {
    401: Outcome.DENIED,
    403: Outcome.DENIED,
    408: Outcome.SERVER_ERROR,
    409: Outcome.DENIED,
    413: Outcome.TOO_LARGE,
    425: Outcome.SERVER_ERROR,
    429: Outcome.THROTTLED,
}

WRAPPERS = (400, 422)
"""Statuses that say nothing about the failure, as a 200 with ``"status": "fail"`` does: its type decides."""

TYPES = {
    "Authentication required": 401,
    "AuthenticationInvalid": 401,
    "HeaderMissing": 401,
    "HeaderMismatch": 401,
    "Unauthorized": 401,
    "Account Suspended": 403,
    "Account Temporarily Suspended": 403,
    "BlockedClient": 403,
    "Forbidden": 403,
    "Resource not found": 404,
    "Not Found": 404,
    "Method not allowed": 405,
    "Request Timeout": 408,
    "Authentication Mismatch": 409,
    "Payload too large": 413,
    "Request Entity Too Large": 413,
    "Body type is not JSON": 415,
    "Unsupported Media Type": 415,
    "MediaTypeError": 415,
    "RateLimitError": 429,
    "Rate Limits Exceeded": 429,
    "Rate Limit Exceeded": 429,
    "rate limiter exception": 429,
    "Too Many Requests": 429,
    "Server Error": 500,
    "Internal Server Error": 500,
    "Bad Gateway": 502,
    "Service Unavailable": 503,
    "Gateway Timeout": 504,
}
"""Types of errors, and the status that each of them means (MoEngage API reference, "Bulk Import" and "Error
codes", and the reason phrases of HTTP): a failure is what its type says, whatever its status is."""

_ABOUT_THE_REQUEST = (
    "Blacklisted",
    "Empty request body",
    "InvalidParams",
    "Missing header value",
    "ParamsRequired",
)
"""Types of a 400 about the request as a whole (MoEngage API reference, "Error codes"): splitting cannot help."""

_ABOUT_ELEMENTS = (
    "MissingAttributeError",
    "AttributeError",
    "TypeError",
    "ValueError",
    "ArrayFieldError",
    "Malformed JSON",
    "elements cannot be empty array",
    "customer_id not found in the payload",
    "action cannot be empty Unicode string",
    "type in elements should be customer/event/device",
    "expected string",
)
"""Types, and whole messages, that speak of elements (MoEngage API reference, "Bulk Import")."""

_BY_TYPE = {
    **dict.fromkeys(_ABOUT_THE_REQUEST, Outcome.UNEXPECTED),
    **dict.fromkeys(_ABOUT_ELEMENTS, Outcome.REFUSED),
}

_KNOWN = (*TYPES, *_ABOUT_THE_REQUEST, *_ABOUT_ELEMENTS)

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


def read_reply(status_code: int, headers: Mapping[str, str], body: bytes, *, scrub: Scrub, now: float) -> Reply:
    """Read a response of the bulk import endpoint.

    :param status_code: HTTP status.
    :param headers: the response's headers, case-insensitive.
    :param body: the response's body.
    :param now: UTC epoch seconds, to convert times in headers into seconds to wait.
    """
    content = Received.body(body, scrub)
    said, request_id = _error_of(content)
    error_type = known_type(said)
    outcome = _outcome(status_code, content["status"], error_type)
    is_contradiction = outcome is Outcome.ACCEPTED and contradicts_itself(content)
    if is_contradiction:
        outcome = Outcome.UNKNOWN
    ids = (request_id, content["request_id"], Received.header(headers, "x-request-id", scrub))
    is_accepted = outcome is Outcome.ACCEPTED
    return Reply(
        outcome=outcome,
        status_code=status_code,
        message=CONTRADICTION if is_contradiction else None,
        error_type=error_type,
        said=said,
        request_id=None if is_accepted else next((it for one in ids if (it := one.request_id())), None),
        retry_after=read_retry_after(
            headers, now=now, longest=LONGEST_OUTAGE if outcome is Outcome.SERVER_ERROR else LONGEST_HINT
        ),
        remaining=_whole_number(headers.get("x-ratelimit-remaining")),
        limit=None if (limit := _greatest(headers.get("x-ratelimit-limit"))) is None else int(limit),
    )


def contradicts_itself(content: Received, also: Iterable[str] = ()) -> bool:
    """Return whether a response reports a failure or an error, whatever it calls itself.

    :param also: words for a status that is no failure, besides the usual ones.
    """
    return says_failure(content, also) or names_errors(content) or denies(content["message"])


def known_type(said: Iterable[Received]) -> str | None:
    """Return the documented type of an error if its type, or its whole message, is one. A message is never
    searched for words, because it may quote an element.
    """
    return next((known for each in said if (known := each.word(_KNOWN)) is not None), None)


def meant_status(status_code: int, said: Iterable[Received]) -> int:
    """Return the status that a failure means: that of its type if it comes wrapped in a 2xx, a 400 or a 422, and
    the type is a documented one, else its own. A 408, a redirect or a 5xx stays one, whatever it says: the
    request may have been processed.

    :param said: the error's type and message.
    """
    if status_code >= 300 and status_code not in WRAPPERS:
        return status_code
    return TYPES.get(known_type(said) or "", status_code)


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


def is_clock_known(served_at: float | None, *, now: float) -> bool:
    """Return whether :func:`clock_difference` makes the worker's time the server's."""
    return served_at is not None and abs(served_at - now) <= _MOST_CLOCK_ERROR


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
    meant = TYPES.get(reply.error_type or "", reply.status_code or 0)
    is_unclear = reply.outcome in (Outcome.REFUSED, Outcome.UNCLEAR)
    if reply.outcome is Outcome.DENIED or (is_unclear and reply.status_code == 200):
        kind, advice = ErrorKind.AUTHENTICATION, _DENIALS.get(meant, _DENIALS[401])
    elif reply.outcome is Outcome.THROTTLED:
        kind, advice = ErrorKind.RATE_LIMIT, "the workspace's rate limit is used up; try again in a minute"
    elif reply.outcome in (Outcome.SERVER_ERROR, Outcome.NOT_SENT):
        kind, advice = ErrorKind.SERVER, "it is temporarily unavailable"
    elif meant in WRAPPERS or (meant == 200 and reply.error_type is not None):
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


def _outcome(status_code: int, status: Received, error_type: str | None) -> Outcome:
    word = status.word(("success", "fail", "failed", "failure", "error")) if status_code < 300 else None
    if word == "success":
        return Outcome.ACCEPTED if status_code in ACCEPTED else Outcome.UNKNOWN
    if word is None and status_code < 300:
        return Outcome.UNKNOWN  # a proxy's page or an empty body: not a confirmation by MoEngage
    is_wrapper = status_code < 300 or status_code in WRAPPERS
    meant = TYPES.get(error_type or "", status_code) if is_wrapper else status_code
    if meant >= 500:
        return Outcome.SERVER_ERROR
    if meant >= 300 and meant not in WRAPPERS:
        return _BY_STATUS.get(meant, Outcome.UNEXPECTED)
    return Outcome.UNCLEAR if error_type is None else _BY_TYPE[error_type]


def _error_of(content: Received) -> tuple[tuple[Received, ...], Received]:
    """Return type and message of an error of any documented shape, and the request id inside it."""
    error, data = content["error"], content["data"]
    if error.is_object:
        return (error["type"], error["message"]), error["request_id"]
    if data.is_object:
        return (data["title"], data["description"]), data["request_id"]
    return (content.first("title", "error_type", "error"), content.first("message", "description", "data")), (
        content["response_id"]
    )


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and abs(number) != float("inf") and number == number else None  # noqa: PLR0124 (NaN)


def _whole_number(value: str | None) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
