"""The requests of file imports as they leave, and what every answer to them means."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from airflow_provider_moengage.api import session as session_module
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import Triggering
from airflow_provider_moengage.api.file_imports_client import FileImportsClient
from airflow_provider_moengage.api.paging import Page
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.emulator import Fault, FileImport, ImportFile
from tests.api.loopback import Act, answer, cut, keep_silent, loopback, reset, send
from tests.delivering import MoEngage

KEY = "a-very-secret-key"
BASIC = base64.b64encode(f"WS:{KEY}".encode()).decode()
NOW = 1_750_000_000.0

Open = Callable[..., FileImportsClient]


@pytest.fixture
def open_client() -> Iterator[Open]:
    with ExitStack() as stack:

        def opened(url: str, *, key: str = KEY, timeout: float = 5.0) -> FileImportsClient:
            client = FileImportsClient(Workspace("WS", key, "01", url, timeout), now=lambda: NOW)
            stack.callback(client.close)
            return client

        yield opened


def ask_runs(client: FileImportsClient) -> Any:
    found = client.file_runs({"import_id": "i1"}, page=1)
    return found.rows, found.has_more is not False


def ask_imports(client: FileImportsClient) -> Any:
    return client.imports({}, page=1)


QUESTIONS = {"run history": ask_runs, "import details": ask_imports}
both_questions = pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)


def json(content: Any, status: int = 200, *headers: str) -> Act:
    return answer(status, msgspec.json.encode(content), *headers)


def page(*rows: Any, **fields: Any) -> dict[str, Any]:
    return {"status": "success", "data": list(rows), "offset": 1, "more_files": False, **fields}


def test_file_imports_have_a_host_of_their_own_in_each_data_center() -> None:
    assert Workspace("WS", KEY, "02").file_imports_url == "https://fileimports-data-api-02.moengage.com"
    assert Workspace("WS", KEY, "101").file_imports_url == "https://fileimports-data-api-101.moengage.com"


def test_a_base_url_replaces_the_data_centers_host() -> None:
    assert Workspace("WS", KEY, "02", "http://127.0.0.1:8123").file_imports_url == "http://127.0.0.1:8123"


def test_a_workspace_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="data_center or a base_url"):
        FileImportsClient(Workspace("WS", KEY))


def test_a_request_goes_to_the_host_of_the_data_center(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback(send(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        client = FileImportsClient(Workspace("WS", KEY, "04"))
        reply = client.trigger("i1")
        client.close()

    assert proxy.head.startswith("CONNECT fileimports-data-api-04.moengage.com:443 HTTP/1.")
    assert (reply.triggering, reply.message) == (Triggering.NOT_SENT, "the proxy refused the connection")


def test_a_trigger_is_what_moengage_documents(open_client: Open) -> None:
    with loopback(json({"status": "success", "message": "Triggered Import Successfully"})) as server:
        open_client(server.url).trigger("64f1")

    assert server.head.startswith("POST /v1.0/data/fileimports/trigger/64f1 HTTP/1.1\r\n")
    assert server.header("authorization") == f"Basic {BASIC}"
    assert server.header("moe-appkey") == "WS"
    assert server.header("content-length") == "0"
    assert server.body == b""


def test_a_question_for_files_is_what_moengage_documents(open_client: Open) -> None:
    dates = {"start_date": "2025-01-01", "end_date": "2025-01-02", "format": "YYYY-MM-DD"}
    with loopback(json(page())) as server:
        open_client(server.url).file_runs(
            {"import_name": "Zoë's", "date": dates, "file_status": ["FAILED"]}, page=3
        )

    assert server.head.startswith("POST /v1.0/data/fileimports/import/run/history HTTP/1.1\r\n")
    assert server.header("authorization") == f"Basic {BASIC}"
    assert server.header("moe-appkey") == "WS"
    assert server.header("content-type") == "application/json"
    assert msgspec.json.decode(server.body) == {
        "import_name": "Zoë's",
        "date": dates,
        "file_status": ["FAILED"],
        "offset": 3,
    }


def test_a_question_for_imports_is_what_moengage_documents(open_client: Open) -> None:
    with loopback(json(page())) as server:
        open_client(server.url).imports({"import_type": "USERS"}, page=2)

    assert server.head.startswith("POST /v1.0/data/fileimports/import/status HTTP/1.1\r\n")
    assert server.header("moe-appkey") == "WS"
    assert msgspec.json.decode(server.body) == {"import_type": "USERS", "offset": 2}


def test_an_import_id_cannot_change_the_path(open_client: Open) -> None:
    with loopback(json({"status": "success"})) as server:
        open_client(server.url).trigger("../import/status?a=b#c d")

    path = server.head.split()[1]
    assert path == "/v1.0/data/fileimports/trigger/..%2Fimport%2Fstatus%3Fa%3Db%23c%20d"


@pytest.mark.parametrize("key", ["key\u200b", "schlüssel", "€"])
def test_a_key_with_stray_characters_is_sent_and_not_quoted_in_an_error(open_client: Open, key: str) -> None:
    with loopback(answer(401, b"{}")) as server:
        reply = open_client(server.url, key=key).trigger("i1")

    assert reply.triggering is Triggering.DENIED
    assert server.header("authorization") == "Basic " + base64.b64encode(f"WS:{key}".encode()).decode()


TRIGGERED = {"status": "success", "message": "Triggered Import Successfully"}
COOLDOWN = {"status": "fail", "error_type": "ALREADY_EXISTS", "message": "Import has run in the last 5 min."}
GONE = {"status": "fail", "error_type": "NOT_FOUND", "message": "This import is either deleted or expired."}
BLOCKED = {"status": "fail", "error": {"message": "suspended", "type": "BlockedClient", "request_id": "r"}}
SERVER = {"title": "Server Error", "description": "An unexpected error", "code": "c"}
LIMIT = {"status": "fail", "error": {"message": "slow down", "type": "Rate Limits Exceeded"}}

TRIGGERS: list[tuple[int, Any, Triggering]] = [
    (200, TRIGGERED, Triggering.TRIGGERED),
    (200, {"status": "SUCCESS"}, Triggering.TRIGGERED),
    (200, {**TRIGGERED, "success": True, "error": None}, Triggering.TRIGGERED),
    (200, {"status": "success", "message": "Import was not triggered"}, Triggering.UNKNOWN),
    (200, {"status": "success", "message": "Import could not be triggered, try again"}, Triggering.UNKNOWN),
    (200, {"status": "success", "message": "Accepted"}, Triggering.UNKNOWN),
    (200, {**TRIGGERED, "success": False}, Triggering.UNKNOWN),
    (200, {**TRIGGERED, "error": "x"}, Triggering.UNKNOWN),
    (200, {**TRIGGERED, "data": {"code": 500}}, Triggering.UNKNOWN),
    (200, COOLDOWN, Triggering.RAN_RECENTLY),
    (200, GONE, Triggering.GONE),
    (200, {"status": "fail", "message": "sorry"}, Triggering.UNKNOWN),
    (200, {"message": "Triggered Import Successfully"}, Triggering.UNKNOWN),
    (200, {"status": None}, Triggering.UNKNOWN),
    (200, b"<html>It works!</html>", Triggering.UNKNOWN),
    (200, b'{"status": "succ', Triggering.UNKNOWN),
    (200, b'"success"', Triggering.UNKNOWN),
    (200, b'["success"]', Triggering.UNKNOWN),
    (200, b'{"status": "caf\xe9"}', Triggering.UNKNOWN),
    (200, b"[" * 50_000, Triggering.UNKNOWN),
    (200, b"", Triggering.UNKNOWN),
    (202, TRIGGERED, Triggering.UNKNOWN),
    (204, b"", Triggering.UNKNOWN),
    (302, b"", Triggering.REFUSED),
    (307, b"", Triggering.REFUSED),
    (400, COOLDOWN, Triggering.RAN_RECENTLY),
    (400, GONE, Triggering.GONE),
    (400, {**COOLDOWN, "error_type": "already_exists"}, Triggering.RAN_RECENTLY),
    (400, {"status": "fail", "error_type": "OTHER", "message": "no"}, Triggering.REFUSED),
    (400, {"status": "fail", "error_type": None}, Triggering.REFUSED),
    (400, b"<html>", Triggering.REFUSED),
    (400, b"", Triggering.REFUSED),
    (401, {"title": "AuthenticationInvalid", "description": "x"}, Triggering.DENIED),
    (401, {"title": "HeaderMissing", "description": "x"}, Triggering.DENIED),
    (401, {"title": "HeaderMismatch", "description": "x"}, Triggering.DENIED),
    (401, b"", Triggering.DENIED),
    (403, BLOCKED, Triggering.DENIED),
    (404, {"status": "fail", "message": "Resource not found"}, Triggering.REFUSED),
    (405, b"", Triggering.REFUSED),
    (408, b"", Triggering.UNKNOWN),
    (409, b"", Triggering.DENIED),
    (413, b"", Triggering.REFUSED),
    (415, b"", Triggering.REFUSED),
    (425, b"", Triggering.UNKNOWN),
    (429, LIMIT, Triggering.THROTTLED),
    (429, b"", Triggering.THROTTLED),
    (500, SERVER, Triggering.UNKNOWN),
    (502, b"<html>", Triggering.UNKNOWN),
    (503, b"", Triggering.UNKNOWN),
    (504, b"", Triggering.UNKNOWN),
]


@pytest.mark.parametrize(("status", "content", "triggering"), TRIGGERS)
def test_an_answer_says_whether_the_import_was_triggered(
    open_client: Open, status: int, content: Any, triggering: Triggering
) -> None:
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    with loopback(answer(status, body)) as server:
        reply = open_client(server.url).trigger("i1")

    assert (reply.triggering, reply.status_code, len(server.requests)) == (triggering, status, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (COOLDOWN, "Import has run in the last 5 min."),
        (SERVER, "Server Error: An unexpected error"),
        (BLOCKED, "suspended"),
        ({"error": "no", "message": "no"}, "no"),
        ({"error": {"type": "x"}, "title": "", "message": "one\r\n two\n\nthree"}, "one two three"),
        ({"message": "x" * 900}, "x" * 499 + "…"),
        ({"message": 7}, "7"),
        ({}, None),
        (b"<html>", None),
    ],
)
def test_a_reply_has_moengages_words_on_one_line(open_client: Open, content: Any, message: str | None) -> None:
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    with loopback(answer(400, body)) as server:
        assert open_client(server.url).trigger("i1").message == message


@pytest.mark.parametrize(
    ("header", "seconds"), [("Retry-After: 7", 7.0), ("X-RateLimit-Reset: 1750000009", 9.0), ("X-Other: 1", None)]
)
def test_a_reply_says_how_long_to_wait(open_client: Open, header: str, seconds: float | None) -> None:
    with loopback(json(LIMIT, 429, header)) as server:
        assert open_client(server.url).trigger("i1").retry_after == seconds


def a_closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return f"http://127.0.0.1:{door.getsockname()[1]}"


def test_a_refused_connection_has_surely_triggered_nothing(open_client: Open) -> None:
    reply = open_client(a_closed_port()).trigger("i1")

    assert (reply.triggering, reply.message) == (Triggering.NOT_SENT, "the connection was refused")


def test_a_connect_timeout_has_surely_triggered_nothing(
    open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as door, ExitStack() as stack:
        for _ in range(4):  # fill the queue of a server that accepts nobody
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(door.getsockname())
        reply = open_client(f"http://127.0.0.1:{door.getsockname()[1]}").trigger("i1")

    assert (reply.triggering, reply.message) == (Triggering.NOT_SENT, "no connection within the timeout")


CUTS = {
    "closed without an answer": cut,
    "reset without an answer": reset,
    "cut in the body": send(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"status":"succ'),
    "cut in the headers": send(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "no HTTP": send(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "body that cannot be decompressed": answer(200, b"not compressed", "Content-Encoding: gzip"),
}


@pytest.mark.parametrize("act", CUTS.values(), ids=CUTS)
def test_a_trigger_whose_answer_is_cut_may_have_triggered(open_client: Open, act: Act) -> None:
    with loopback(act) as server:
        reply = open_client(server.url).trigger("i1")

    assert (reply.triggering, len(server.requests)) == (Triggering.UNKNOWN, 1)


def test_a_trigger_without_an_answer_in_time_may_have_triggered(open_client: Open) -> None:
    with loopback(keep_silent) as server:
        reply = open_client(server.url, timeout=0.2).trigger("i1")

    assert (reply.triggering, reply.message) == (Triggering.UNKNOWN, "no response within the timeout")


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_redirect_is_not_followed(open_client: Open, status: int) -> None:
    with (
        loopback(json(TRIGGERED)) as elsewhere,
        loopback(answer(status, b"", f"Location: {elsewhere.url}/")) as server,
    ):
        open_client(server.url).trigger("i1")

    assert elsewhere.requests == []


def test_a_redirect_to_nowhere_is_an_answer_like_any_other(open_client: Open) -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: http://[bad\r\nContent-Length: 0\r\n\r\n"
    with loopback(send(redirect)) as server:
        assert open_client(server.url).trigger("i1").triggering is Triggering.REFUSED


KINDS: list[tuple[int, Any, ErrorKind, str]] = [
    (200, b"<html>It works!</html>", ErrorKind.SERVER, "check host and data center"),
    (200, b"", ErrorKind.SERVER, "check host and data center"),
    (200, b"[]", ErrorKind.SERVER, "check host and data center"),
    (200, {"status": "success"}, ErrorKind.SERVER, "check host and data center"),
    (200, {"status": "success", "data": "Unable to process"}, ErrorKind.SERVER, "did not come from"),
    (200, {"status": "success", "data": {"code": 429}}, ErrorKind.SERVER, "did not come from"),
    (200, {"status": "FAILURE", "data": None}, ErrorKind.SERVER, "did not come from"),
    (200, {"status": "error", "data": []}, ErrorKind.SERVER, "did not come from"),
    (204, b"", ErrorKind.REQUEST, "check host and data center"),
    (302, b"", ErrorKind.REQUEST, "check host and data center"),
    (400, {"error_type": "Invalid Date format", "message": "bad dates"}, ErrorKind.REQUEST, "bad dates"),
    (400, {"error_type": "Difference exceeds 30 days", "message": "30"}, ErrorKind.REQUEST, "30"),
    (400, b"", ErrorKind.REQUEST, "check host and data center"),
    (401, {"title": "AuthenticationInvalid", "description": "x"}, ErrorKind.AUTHENTICATION, "Data tile"),
    (403, BLOCKED, ErrorKind.AUTHENTICATION, "Data tile"),
    (404, {"status": "fail", "data": "Resource not found."}, ErrorKind.REQUEST, "Resource not found"),
    (405, b"", ErrorKind.REQUEST, "check host and data center"),
    (408, b"", ErrorKind.SERVER, "temporarily unavailable"),
    (409, b"", ErrorKind.AUTHENTICATION, "Data tile"),
    (415, {"title": "Unsupported media type"}, ErrorKind.REQUEST, "Unsupported media type"),
    (425, b"", ErrorKind.SERVER, "temporarily unavailable"),
    (429, LIMIT, ErrorKind.RATE_LIMIT, "50 requests a minute"),
    (500, SERVER, ErrorKind.SERVER, "temporarily unavailable"),
    (502, b"<html>", ErrorKind.SERVER, "temporarily unavailable"),
    (503, page(), ErrorKind.SERVER, "temporarily unavailable"),
]


@pytest.mark.parametrize(("status", "content", "kind", "advice"), KINDS)
def test_what_is_no_page_is_an_error_that_says_what_to_do(
    open_client: Open, status: int, content: Any, kind: ErrorKind, advice: str
) -> None:
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    with loopback(answer(status, body)) as server, pytest.raises(ApiError) as caught:
        ask_runs(open_client(server.url))

    error = caught.value
    assert (error.kind, error.status_code) == (kind, status)
    assert f"{server.url} answered {status}: " in error.message
    assert advice in error.message
    assert len(server.requests) == 1


ABSENCES = [
    {"status": "fail", "message": "Import Doesn't Exist"},
    {"status": "FAILURE", "error_type": "Import Doesn't Exist", "message": "No import exist in the database"},
    {"status": "FAILURE", "error_type": "Import Doesn't Exist", "message": ""},
    {"status": "fail", "error": {"type": "NOT_FOUND", "message": "Import doesn't exist"}},
]


@both_questions
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("content", ABSENCES)
def test_an_import_that_is_not_there_is_told_from_a_request_that_is_wrong(
    open_client: Open, ask: Any, content: Any, status: int
) -> None:
    with loopback(json(content, status)) as server, pytest.raises(ApiError) as caught:
        ask(open_client(server.url))

    assert caught.value.kind is ErrorKind.NOT_FOUND


INVALID_OFFSET = {"error_type": "Invalid Offset Value", "message": "Please correct the offset."}


@pytest.mark.parametrize(("number", "is_absence"), [(1, False), (2, True)])
def test_a_page_past_the_end_is_an_absence(open_client: Open, number: int, is_absence: bool) -> None:
    with loopback(json(INVALID_OFFSET, 400)) as server, pytest.raises(ApiError) as caught:
        open_client(server.url).imports({}, page=number)

    assert (caught.value.kind is ErrorKind.NOT_FOUND) is is_absence


@pytest.mark.parametrize(
    "said", ["the file_status does not exist", "Import id is not valid", "No such column exists"]
)
def test_a_400_about_something_else_is_not_taken_for_an_absent_import(open_client: Open, said: str) -> None:
    with loopback(json({"status": "fail", "message": said}, 400)) as server, pytest.raises(ApiError) as caught:
        ask_runs(open_client(server.url))

    assert caught.value.kind is not ErrorKind.NOT_FOUND


@both_questions
def test_a_throttled_question_says_how_long_to_wait(open_client: Open, ask: Any) -> None:
    with loopback(json(LIMIT, 429, "X-RateLimit-Reset: 13")) as server, pytest.raises(ApiError) as caught:
        ask(open_client(server.url))

    assert caught.value.retry_after == 13


@pytest.mark.parametrize("act", CUTS.values(), ids=CUTS)
def test_a_question_whose_answer_is_cut_may_be_asked_again(open_client: Open, act: Act) -> None:
    with loopback(act) as server, pytest.raises(ApiError) as caught:
        ask_runs(open_client(server.url))

    assert (caught.value.kind, len(server.requests)) == (ErrorKind.SERVER, 1)


def test_a_question_that_finds_nobody_says_so(open_client: Open) -> None:
    url = a_closed_port()

    with pytest.raises(ApiError) as caught:
        ask_runs(open_client(url))

    assert (caught.value.kind, str(caught.value)) == (
        ErrorKind.SERVER,
        f"{url} could not be reached: the connection was refused",
    )


def test_a_question_without_an_answer_in_time_says_so(open_client: Open) -> None:
    with loopback(keep_silent) as server, pytest.raises(ApiError, match="no response within the timeout"):
        ask_runs(open_client(server.url, timeout=0.2))


@both_questions
def test_a_question_that_is_redirected_is_not_followed(open_client: Open, ask: Any) -> None:
    with (
        loopback(json(page())) as elsewhere,
        loopback(answer(307, b"", f"Location: {elsewhere.url}/")) as server,
        pytest.raises(ApiError, match="check host and data center"),
    ):
        ask(open_client(server.url))

    assert elsewhere.requests == []


ECHOES = [
    {"message": f"Authorization: Basic {BASIC}"},
    {"error": {"message": f"the key {KEY} of Basic {BASIC} is not known"}, "title": KEY, "description": KEY},
    {"status": "fail", "error": KEY},
    {"message": "x" * 490 + KEY},
]
STATUSES = [200, 400, 401, 404]


@pytest.mark.parametrize("content", ECHOES)
@pytest.mark.parametrize("status", STATUSES)
def test_an_error_never_shows_the_key_not_even_where_the_answer_does(
    open_client: Open, status: int, content: Any
) -> None:
    with loopback(json(content, status)) as server, pytest.raises(ApiError) as caught:
        ask_runs(open_client(server.url))

    said = str(caught.value) + repr(caught.value)
    assert KEY[:8] not in said
    assert BASIC not in said


@pytest.mark.parametrize("content", ECHOES)
@pytest.mark.parametrize("status", STATUSES)
def test_a_reply_never_shows_the_key_not_even_where_the_answer_does(
    open_client: Open, status: int, content: Any
) -> None:
    with loopback(json(content, status)) as server:
        said = repr(open_client(server.url).trigger("i1"))

    assert KEY[:8] not in said
    assert BASIC not in said


@both_questions
def test_an_error_of_the_network_never_shows_the_key(open_client: Open, ask: Any) -> None:
    with loopback(cut) as server, pytest.raises(ApiError) as caught:
        ask(open_client(server.url))

    assert caught.value.__suppress_context__
    assert KEY not in str(caught.value)


@both_questions
@pytest.mark.parametrize(
    ("content", "count", "has_more"),
    [
        (page({"id": "f1"}, {"id": "f2"}), 2, False),
        (page({"id": "f1"}, more_files=True), 1, True),
        (page({"id": "f1"}, more_files="true", total_count="2"), 1, True),
        (page(data=None, total_count=0), 0, False),
        (page(data=None, more_files="false", total_count="0"), 0, False),
        ({"data": []}, 0, False),
        ({"data": [{"id": f"f{n}"} for n in range(50)]}, 50, True),
    ],
)
def test_a_page_is_read_in_every_form(
    open_client: Open, ask: Any, content: Any, count: int, has_more: bool
) -> None:
    with loopback(json(content)) as server:
        rows, more = ask(open_client(server.url))

    assert (len(rows), more) == (count, has_more)


@both_questions
@pytest.mark.parametrize("content", [page(data=None), page(data=None, total_count="?"), page({"id": "f1"}, None)])
def test_a_page_of_which_rows_may_be_missing_is_an_error(open_client: Open, ask: Any, content: Any) -> None:
    with loopback(json(content)) as server, pytest.raises(ApiError) as caught:
        ask(open_client(server.url))

    assert caught.value.kind is ErrorKind.SERVER


@pytest.fixture
def imports(moengage: MoEngage) -> Iterator[MoEngage]:
    workspace = moengage.emulator.workspace
    workspace.clear_file_imports()
    workspace.add_file_import(FileImport("i1", "Users"))
    workspace.add_file_import(FileImport("i2", "Orders", import_type="EVENTS", import_source="SFTP"))
    yield moengage
    workspace.clear_file_imports()


@pytest.fixture
def client(imports: MoEngage) -> Iterator[FileImportsClient]:
    client = FileImportsClient(
        Workspace(
            "EMULATOR",
            "emulator-data-key",
            base_url=imports.emulator.url,
            timeout=10.0,
            import_time_zone="UTC",
        )
    )
    yield client
    client.close()


def test_the_emulated_moengage_is_triggered(imports: MoEngage, client: FileImportsClient) -> None:
    assert client.trigger("i1").triggering is Triggering.TRIGGERED
    assert [trigger.import_id for trigger in imports.emulator.workspace.file_triggers] == ["i1"]


def test_the_emulated_moengage_says_that_it_ran_recently(imports: MoEngage, client: FileImportsClient) -> None:
    client.trigger("i1")

    assert client.trigger("i1").triggering is Triggering.RAN_RECENTLY


@pytest.mark.parametrize("state", ["deleted", "expired"])
def test_the_emulated_moengage_says_that_an_import_is_gone(
    imports: MoEngage, client: FileImportsClient, state: Any
) -> None:
    imports.emulator.workspace.add_file_import(FileImport("i1", "Users", state=state))

    assert client.trigger("i1").triggering is Triggering.GONE


@pytest.mark.parametrize(
    ("fault", "triggering", "triggers"),
    [
        (Fault(kind="cut_before"), Triggering.UNKNOWN, 0),
        (Fault(kind="cut_after"), Triggering.UNKNOWN, 1),
        (Fault(kind="status_after", status=502), Triggering.UNKNOWN, 1),
        (Fault(kind="html"), Triggering.UNKNOWN, 0),
        (Fault(kind="status", status=401), Triggering.DENIED, 0),
        (Fault(kind="status", status=403), Triggering.DENIED, 0),
        (Fault(kind="status", status=404), Triggering.REFUSED, 0),
        (Fault(kind="status", status=429), Triggering.THROTTLED, 0),
    ],
)
def test_faults_of_the_emulated_moengage_are_told_apart(
    imports: MoEngage, client: FileImportsClient, fault: Fault, triggering: Triggering, triggers: int
) -> None:
    imports.emulator.workspace.add_fault(fault)

    assert client.trigger("i1").triggering is triggering
    assert imports.emulator.workspace.counts.file_triggers == triggers


@pytest.mark.parametrize("word", ["PARTIAL_SUCCESS", "PARTIAL_FAILURE"])
@pytest.mark.parametrize("as_text", [False, True])
def test_a_history_of_the_emulated_moengage_is_read_page_by_page(
    imports: MoEngage, client: FileImportsClient, as_text: bool, word: Any
) -> None:
    workspace = imports.emulator.workspace
    workspace.configure(file_page_size=2, file_numbers_as_text=as_text, file_partial_word=word)
    files = [ImportFile(f"{name}.csv", steps=((0, "PARTIAL_SUCCESS"),), failed_rows=3) for name in "abc"]
    workspace.run_file_import("i1", files)

    pages = [client.file_runs({"import_id": "i1"}, page=number) for number in (1, 2)]

    assert [(len(each.rows), each.has_more, each.total) for each in pages] == [(2, True, 3), (1, False, 3)]
    runs = [run for each in pages for run in each.rows]
    assert sorted(run.file_name for run in runs) == ["a.csv", "b.csv", "c.csv"]
    assert {(run.file_status, run.failed_rows, run.added_rows) for run in runs} == {("PARTIAL_SUCCESS", 3, 97)}
    with pytest.raises(ApiError) as absent:
        client.file_runs({"import_id": "i1"}, page=3)
    assert absent.value.kind is ErrorKind.NOT_FOUND


def test_a_history_without_files_is_an_empty_page(imports: MoEngage, client: FileImportsClient) -> None:
    imports.emulator.workspace.configure(file_null_data=True, file_numbers_as_text=True)

    assert client.file_runs({"import_name": "Users"}, page=1) == Page([], has_more=False, total=0)


def test_imports_of_the_emulated_moengage_are_read_with_filters(
    imports: MoEngage, client: FileImportsClient
) -> None:
    found, has_more = client.imports({"file_source": "SFTP"}, page=1)

    assert ([(each.import_id, each.import_name, each.import_type) for each in found], has_more) == (
        [("i2", "Orders", "EVENTS")],
        False,
    )


def test_imports_past_the_last_page_are_an_absence(imports: MoEngage, client: FileImportsClient) -> None:
    with pytest.raises(ApiError) as absent:
        client.imports({}, page=2)
    assert absent.value.kind is ErrorKind.NOT_FOUND


@pytest.mark.parametrize(
    ("status", "words"), [(400, "Unable to process"), (404, "Resource not found"), (415, "not supported")]
)
def test_2nd_a_string_data_and_an_error_description_are_the_message(
    imports: MoEngage, client: FileImportsClient, status: int, words: str
) -> None:
    imports.emulator.workspace.add_fault(Fault("status", status=status))

    with pytest.raises(ApiError, match=words):
        client.file_runs({"import_id": "i1"}, page=1)


def test_2nd_a_404_has_its_message_in_either_field(imports: MoEngage, client: FileImportsClient) -> None:
    imports.emulator.workspace.configure(file_not_found="message")
    imports.emulator.workspace.add_fault(Fault("status", status=404))

    with pytest.raises(ApiError, match="Resource not found"):
        client.file_runs({"import_id": "i1"}, page=1)


def test_2nd_a_count_without_files_is_a_warning(
    imports: MoEngage, client: FileImportsClient, caplog: pytest.LogCaptureFixture
) -> None:
    imports.emulator.workspace.run_file_import("i1")
    imports.emulator.workspace.configure(file_data="nowhere")

    assert client.file_runs({"import_id": "i1"}, page=1) == Page([], has_more=False, total=1)
    assert "has none that can be read" in caplog.text


def test_2nd_the_file_of_the_misplaced_sample_is_read(imports: MoEngage, client: FileImportsClient) -> None:
    imports.emulator.workspace.run_file_import("i1")
    imports.emulator.workspace.run_file_import("i1")
    imports.emulator.workspace.configure(file_data="items")

    pages = [client.file_runs({"import_id": "i1"}, page=number) for number in (1, 2)]

    assert [(len(each.rows), each.has_more) for each in pages] == [(1, True), (1, False)]
    assert pages[0].rows != pages[1].rows


def test_2nd_a_refused_date_format_is_asked_again_without_dates(
    imports: MoEngage, client: FileImportsClient
) -> None:
    imports.emulator.workspace.run_file_import("i1")
    imports.emulator.workspace.configure(file_dates="refuse")
    dates = {"start_date": "2026-01-01", "end_date": "2026-01-02", "format": "YYYY-MM-DD"}

    for _ in range(2):
        assert len(client.file_runs({"import_id": "i1", "date": dates}, page=1).rows) == 1

    assert [request.status for request in imports.emulator.workspace.requests] == [400, 200, 200]
    assert client.refuses_dates
