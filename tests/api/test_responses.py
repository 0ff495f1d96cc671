from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.api.errors import ErrorKind
from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.received.values import sentence
from airflow_provider_moengage.api.responses import Outcome, Reply, read_reply, read_retry_after, refusal

SCRUB = Scrub(["a-data-api-key"]).with_values(lambda: ["jane@example.com"])
NOW = 1_750_000_000.0
SUCCESS = {"status": "success", "message": "Your request has been accepted and will be processed soon."}
HTML = b"<html><body>It works!</body></html>"


def fail(error_type: str | None = None, message: str | None = None) -> dict[str, object]:
    return {"status": "fail", "error": {"type": error_type, "message": message, "request_id": "r-1"}}


def read(status_code: int, content: object = b"", headers: dict[str, str] | None = None) -> Reply:
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return read_reply(status_code, headers or {}, body, scrub=SCRUB, now=NOW)


@pytest.mark.parametrize(
    ("status_code", "content", "outcome"),
    [
        (200, SUCCESS, Outcome.ACCEPTED),
        (200, {"status": "SUCCESS"}, Outcome.ACCEPTED),
        (202, SUCCESS, Outcome.ACCEPTED),
        (200, b'{"status": "fail", "status": "success"}', Outcome.UNKNOWN),
        (206, SUCCESS, Outcome.UNKNOWN),
        (207, SUCCESS, Outcome.UNKNOWN),
        (299, SUCCESS, Outcome.UNKNOWN),
        (200, {**SUCCESS, "error": None, "errors": [], "success": True, "data": {"code": 200}}, Outcome.ACCEPTED),
        (200, {**SUCCESS, "success": "true", "status_code": "200 OK", "data": "anything"}, Outcome.ACCEPTED),
        # A success that reports an error: what became of the elements is unknown.
        (200, {**SUCCESS, "error": {"type": "MissingAttributeError", "message": "x"}}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "error": {"type": "Rate Limits Exceeded"}}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "error": "Malformed JSON"}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "errors": [{"position": 3}]}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "error_type": "TypeError"}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "success": False}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "success": "false"}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "status_code": "400 Bad Request"}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "status_code": 500}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "data": {"code": 429, "title": "rate limiter exception"}}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "data": {"errors": ["x"]}}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "failed": 3}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "failed_count": "0", "errorCount": 0, "rejected_elements": []}, Outcome.ACCEPTED),
        (200, {**SUCCESS, "failed_count": "2"}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "Error": "x"}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "rejected_elements": [4]}, Outcome.UNKNOWN),
        (200, {"status": "success", "message": ["not accepted"]}, Outcome.UNKNOWN),
        (200, {"status": "success", "message": {"text": "not accepted"}}, Outcome.UNKNOWN),
        (200, {**SUCCESS, "rejected": [{"customer_id": "x"}]}, Outcome.UNKNOWN),
        (200, {"status": "success", "message": "Your request was not accepted."}, Outcome.UNKNOWN),
        (200, {"status": "success", "message": "Partially accepted"}, Outcome.UNKNOWN),
        (200, {"status": "success", "message": "2 elements were skipped"}, Outcome.UNKNOWN),
        (202, {"status": "success", "message": "Couldn't process the request"}, Outcome.UNKNOWN),
        # All bulk requests return 200, say the documents: the body decides.
        (200, fail("MissingAttributeError", "customer_id not found in the payload"), Outcome.REFUSED),
        (200, fail("AttributeError", "type in elements should be customer/event/device"), Outcome.REFUSED),
        (200, fail("TypeError", "expected string"), Outcome.REFUSED),
        (200, fail(None, "Malformed JSON"), Outcome.REFUSED),
        (200, {"status": "error"}, Outcome.UNCLEAR),
        (200, fail("Rate Limits Exceeded", "slow down"), Outcome.THROTTLED),
        (200, fail("Missing header value"), Outcome.UNEXPECTED),
        (200, fail("Account Suspended"), Outcome.DENIED),
        (200, fail(None, "BlockedClient"), Outcome.DENIED),
        # What a message quotes may be an element's own words.
        (400, fail("TypeError", "rate limits exceeded is no value"), Outcome.REFUSED),
        (400, fail("TypeError", "expected string, got Blacklisted"), Outcome.REFUSED),
        # A 200 that is not MoEngage's says nothing of what became of the request.
        (200, HTML, Outcome.UNKNOWN),
        (200, b"", Outcome.UNKNOWN),
        (200, b'{"status": "succ', Outcome.UNKNOWN),
        (200, b'"success"', Outcome.UNKNOWN),
        (200, b"[1, 2]", Outcome.UNKNOWN),
        (200, b'{"message": "caf\xe9"}', Outcome.UNKNOWN),
        (200, b"[" * 50_000, Outcome.UNKNOWN),
        (200, {"message": "ok"}, Outcome.UNKNOWN),
        (204, b"", Outcome.UNKNOWN),
        (302, HTML, Outcome.UNEXPECTED),
        (400, fail("TypeError", "expected string"), Outcome.REFUSED),
        (400, HTML, Outcome.UNCLEAR),
        (400, fail("Bad Request", "something"), Outcome.UNCLEAR),
        (400, fail("Missing header value"), Outcome.UNEXPECTED),
        (400, fail(None, "Empty request body"), Outcome.UNEXPECTED),
        (400, fail("Blacklisted"), Outcome.UNEXPECTED),
        (400, fail("InvalidParams"), Outcome.UNEXPECTED),
        (400, fail("ParamsRequired"), Outcome.UNEXPECTED),
        (401, {"title": "AuthenticationInvalid", "description": "x"}, Outcome.DENIED),
        (403, fail("Account Suspended"), Outcome.DENIED),
        (403, HTML, Outcome.DENIED),
        (409, fail("Authentication Mismatch"), Outcome.DENIED),
        (404, HTML, Outcome.UNEXPECTED),
        (405, b"", Outcome.UNEXPECTED),
        (415, b"", Outcome.UNEXPECTED),
        (408, b"", Outcome.SERVER_ERROR),
        (408, fail("Rate Limit Exceeded"), Outcome.SERVER_ERROR),
        (302, fail("Rate Limit Exceeded"), Outcome.UNEXPECTED),
        (425, b"", Outcome.SERVER_ERROR),
        (413, fail(None, "Payload too large"), Outcome.TOO_LARGE),
        (413, HTML, Outcome.TOO_LARGE),
        (422, b"", Outcome.UNCLEAR),
        (422, fail("TypeError"), Outcome.REFUSED),
        (429, fail("Rate Limits Exceeded"), Outcome.THROTTLED),
        (429, b"", Outcome.THROTTLED),
        (500, {"title": "Server Error", "description": "x", "code": "y"}, Outcome.SERVER_ERROR),
        (502, HTML, Outcome.SERVER_ERROR),
        (503, SUCCESS, Outcome.SERVER_ERROR),
        (504, b"", Outcome.SERVER_ERROR),
    ],
)
def test_an_answer_means(status_code: int, content: object, outcome: Outcome) -> None:
    assert read(status_code, content).outcome is outcome


OWN_STATUS = {
    "Authentication required": 401,
    "Authentication Required.": 401,
    "AuthenticationInvalid": 401,
    "HeaderMissing": 401,
    "HeaderMismatch": 401,
    "Account Suspended": 403,
    "Account Temporarily Suspended": 403,
    "BlockedClient": 403,
    "Resource not found": 404,
    "Authentication Mismatch": 409,
    "Payload too large": 413,
    "PayloadTooLarge": 413,
    "Body type is not JSON": 415,
    "Unsupported Media Type": 415,
    "RateLimitError": 429,
    "Rate Limits Exceeded": 429,
    "Rate Limit Exceeded": 429,
    "rate limiter exception": 429,
    "MediaTypeError": 415,
    "Server Error": 500,
    "ServerError": 500,
    "Internal Server Error": 500,
}


@pytest.mark.parametrize("status_code", [200, 400, 422, "its own"])
@pytest.mark.parametrize("shape", ["error", "data", "title", "error_type", "message"])
@pytest.mark.parametrize("error_type", OWN_STATUS)
def test_2nd_a_failure_is_what_its_type_says(status_code: int | str, shape: str, error_type: str) -> None:
    shapes: dict[str, dict[str, object]] = {
        "error": fail(error_type, "any words"),
        "data": {"status": "error", "data": {"title": error_type, "description": "any words"}},
        "title": {"status": "fail", "title": error_type, "description": "any words"},
        "error_type": {"status": "fail", "error_type": error_type, "message": "any words"},
        "message": fail(None, error_type),
    }
    own = OWN_STATUS[error_type]
    status = own if status_code == "its own" else int(status_code)

    reply = read(status, shapes[shape])

    assert reply.outcome is read(own).outcome
    assert reply.outcome not in (Outcome.REFUSED, Outcome.UNCLEAR)
    assert refusal(reply).kind is refusal(read(own)).kind


def test_a_5xx_stays_one_whatever_it_says() -> None:
    assert read(502, fail("Rate Limit Exceeded")).outcome is Outcome.SERVER_ERROR


def test_of_an_accepted_request_the_values_are_not_read() -> None:
    reply = read_reply(
        200, {}, msgspec.json.encode({**SUCCESS, "request_id": "r-1"}), scrub=Scrub([], lambda: 1 / 0), now=NOW
    )

    assert reply.request_id is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (fail("TypeError", "expected string"), "TypeError: expected string"),
        (
            {
                "status": "error",
                "data": {"code": 429, "title": "rate limiter exception", "description": "Exceeded"},
            },
            "rate limiter exception: Exceeded",
        ),
        ({"title": "AuthenticationInvalid", "description": "no"}, "AuthenticationInvalid: no"),
        ({"status": "fail", "error": "broken", "message": "words"}, "broken: words"),
        ({"success": False, "status_code": "400 Bad Request", "data": "Unable to process"}, "Unable to process"),
        (HTML, None),
    ],
)
def test_the_errors_words_are_found_in_every_documented_shape(content: object, words: str | None) -> None:
    assert sentence(read(400, content).said, between=": ") == words


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (fail(), {}),
        ({"status": "fail", "request_id": "r-1"}, {}),
        (HTML, {"x-request-id": "r-1"}),
    ],
    ids=["in the error", "in the answer", "in a header"],
)
def test_the_request_id_is_kept(content: object, headers: dict[str, str]) -> None:
    assert read(200, content, headers).request_id == "r-1"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "Sun, 15 Jun 2025 15:07:10 GMT"}, 30.0),
        ({"retry-after": "Sun, 15 Jun 2025 17:07:10 +0200"}, 30.0),
        ({"retry-after": "Sun, 15 Jun 2025 15:07:10 -0000"}, 30.0),
        ({"retry-after": "Sun, 15 Jun 2025 15:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "86400"}, 60.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Sun, 15 Jun 2025 15:07:10 +99999999999999999999"}, None),
        # x-ratelimit-reset, in its two documented readings
        ({"x-ratelimit-reset": "42"}, 42.0),
        ({"x-ratelimit-reset": "0"}, 0.0),
        ({"x-ratelimit-reset": "60"}, 60.0),
        ({"x-ratelimit-reset": "1750000042"}, 42.0),
        ({"x-ratelimit-reset": "1749999000"}, 0.0),
        ({"x-ratelimit-reset": "1750000042.5"}, 42.5),
        ({"x-ratelimit-reset": "1750009999"}, 60.0),
        # and in others that servers use
        ({"x-ratelimit-reset": "1750000042000"}, 42.0),
        ({"x-ratelimit-reset": "1750000042000000"}, 42.0),
        ({"x-ratelimit-reset": "1750000042000000000"}, 42.0),
        ({"x-ratelimit-reset": "1749999000000"}, 0.0),
        ({"x-ratelimit-reset": "-42"}, 0.0),
        ({"x-ratelimit-reset": "-1750000042"}, 0.0),
        ({"x-ratelimit-reset": "4102444800"}, 60.0),
        ({"x-ratelimit-reset": "999999999"}, 60.0),
        ({"x-ratelimit-reset": "1e308"}, 60.0),
        ({"x-ratelimit-reset": "5, 42"}, 42.0),
        ({"x-ratelimit-reset": "42;w=60"}, 42.0),
        ({"x-ratelimit-reset": ""}, None),
        ({"retry-after": "3, 7"}, 7.0),
        ({"retry-after": "Sunday, 15-Jun-25 15:07:10 GMT"}, 30.0),
        ({"retry-after": "Sun Jun 15 15:07:10 2025"}, 30.0),
        ({"retry-after": "Sun, 15 Jun 9999 15:07:10 GMT"}, 60.0),
        ({"retry-after": "Mon, 01 Jan 0001 00:00:00 +1400"}, 0.0),
        # a worker's clock that is wrong by an hour
        ({"date": "Sun, 15 Jun 2025 16:06:40 GMT", "x-ratelimit-reset": "1750003642"}, 42.0),
        ({"date": "Sun, 15 Jun 2025 14:06:40 GMT", "x-ratelimit-reset": "1749996442000"}, 42.0),
        ({"date": "Sun, 15 Jun 2025 14:06:40 GMT", "retry-after": "Sun, 15 Jun 2025 14:07:10 GMT"}, 30.0),
        ({"date": "Sun, 15 Jun 2025 14:06:40 GMT", "retry-after": "7"}, 7.0),
        ({"date": "Thu, 01 Jan 1970 00:00:00 GMT", "x-ratelimit-reset": "1750000042"}, 42.0),
        ({"date": "yesterday", "x-ratelimit-reset": "1750000042"}, 42.0),
        ({"x-ratelimit-reset": "?"}, None),
        ({"retry-after": "7", "x-ratelimit-reset": "42"}, 7.0),
        ({"retry-after": "soon", "x-ratelimit-reset": "42"}, 42.0),
        ({"x-envoy-ratelimited": "true"}, None),
    ],
)
def test_the_servers_hint_is_read_as_seconds_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(headers, now=NOW) == seconds


@pytest.mark.parametrize(("status", "seconds"), [(200, 60.0), (429, 60.0), (500, 600.0), (503, 600.0)])
def test_a_hint_is_cut_at_a_window_and_that_of_an_outage_at_ten_minutes(status: int, seconds: float) -> None:
    assert read_reply(status, {"retry-after": "86400"}, b"{}", scrub=SCRUB, now=NOW).retry_after == seconds


@pytest.mark.parametrize(
    ("said", "remaining"), [("0", 0), ("17", 17), ("17.0", 17), ("-3", -3), ("many", None), (None, None)]
)
def test_what_is_left_of_the_window_is_read(said: str | None, remaining: int | None) -> None:
    headers = {} if said is None else {"x-ratelimit-remaining": said}

    assert read(200, SUCCESS, headers).remaining == remaining


@settings(deadline=None)
@given(
    status_code=st.integers(100, 599),
    body=st.binary() | st.sampled_from([b'{"status":{}}', b'{"error":[1]}', b'{"data":{"title":[]},"error":{}}']),
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "x-ratelimit-reset", "x-ratelimit-remaining", "x-request-id"]), st.text()
    ),
)
def test_no_answer_is_too_strange_to_be_read(status_code: int, body: bytes, headers: dict[str, str]) -> None:
    assert read_reply(status_code, headers, body, scrub=SCRUB, now=NOW).status_code == status_code


@pytest.mark.parametrize(
    ("status_code", "content", "kind", "advice"),
    [
        (401, fail(), ErrorKind.AUTHENTICATION, "Data API key"),
        (403, fail(), ErrorKind.AUTHENTICATION, "suspended"),
        (409, fail(), ErrorKind.AUTHENTICATION, "workspace ID differs"),
        (200, fail(), ErrorKind.AUTHENTICATION, "do not match"),
        (429, fail(), ErrorKind.RATE_LIMIT, "rate limit"),
        (503, HTML, ErrorKind.SERVER, "temporarily unavailable"),
        (400, fail(), ErrorKind.REQUEST, "check workspace ID and data center"),
        (404, HTML, ErrorKind.REQUEST, "check host and data center"),
        (200, HTML, ErrorKind.REQUEST, "did not come from MoEngage's API"),
    ],
)
def test_a_refusal_says_what_to_do(status_code: int, content: object, kind: ErrorKind, advice: str) -> None:
    error = refusal(read(status_code, content))

    assert (error.kind, advice in error.message) == (kind, True)


@pytest.mark.parametrize("status_code", [200, 400, 401, 403, 404, 409, 413, 429, 500])
@pytest.mark.parametrize(
    "content",
    [
        fail("jane@example.com", "jane@example.com"),
        {"status": "error", "data": {"title": "jane@example.com", "description": "jane@example.com"}},
        {"title": "jane@example.com", "description": "jane@example.com"},
        {"status": "fail", "error": "jane@example.com", "message": "jane@example.com"},
        b"<html>jane@example.com</html>",
    ],
)
def test_a_refusal_never_quotes_the_servers_text(status_code: int, content: object) -> None:
    error = refusal(read(status_code, content))

    assert "jane" not in str(error) + repr(error)


def test_a_refusal_carries_what_the_answer_said_about_itself() -> None:
    error = refusal(read(429, fail(), {"retry-after": "7"}))

    assert (error.status_code, error.request_id, error.retry_after) == (429, "r-1", 7.0)
    assert "(request id r-1)" in error.message
