from __future__ import annotations

import base64
import datetime as dt
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from airflow_provider_moengage.api import client as client_module
from airflow_provider_moengage.api import session as session_module
from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.responses import Outcome, Reply
from airflow_provider_moengage.api.workspace import Workspace
from tests.api.loopback import Act, answer, cut, keep_silent, loopback, reset, send

BODY = b'{"type":"transition","elements":[{"customer_id":"jane@example.com"}]}'
KEY = "a-very-secret-key"

Open = Callable[..., MoEngageClient]


@pytest.fixture
def open_client() -> Iterator[Open]:
    with ExitStack() as stack:

        def opened(url: str, *, workspace_id: str = "WS", key: str = KEY, timeout: float = 5.0) -> MoEngageClient:
            client = MoEngageClient(Workspace(workspace_id, key, "01", url, timeout), now=lambda: 1_750_000_000.0)
            stack.callback(client.close)
            return client

        yield opened


def test_a_bulk_request_is_what_moengage_documents(open_client: Open) -> None:
    with loopback(answer()) as server:
        reply = open_client(server.url).bulk_import(BODY)

    assert reply.outcome is Outcome.ACCEPTED
    assert server.head.startswith("POST /v1/transition/WS HTTP/1.1\r\n")
    assert server.header("authorization") == "Basic " + base64.b64encode(f"WS:{KEY}".encode()).decode()
    assert server.header("content-type") == "application/json"
    assert server.body == BODY


def test_a_load_balancers_cookie_goes_along_from_the_second_request_on(open_client: Open) -> None:
    with loopback(answer(200, b'{"status":"success"}', "Set-Cookie: AWSALB=node1; Path=/")) as server:
        client = open_client(server.url)
        client.bulk_import(BODY)
        client.bulk_import(BODY)

    heads = [request.partition(b"\r\n\r\n")[0].splitlines() for request in server.requests]
    assert [b"Cookie: AWSALB=node1" in head for head in heads] == [False, True]


def test_a_workspace_id_cannot_change_the_path(open_client: Open) -> None:
    with loopback(answer()) as server:
        open_client(server.url, workspace_id="a/b?c").bulk_import(BODY)

    assert server.head.startswith("POST /v1/transition/a%2Fb%3Fc HTTP/1.1\r\n")


@pytest.mark.parametrize("key", ["key\u200b", "schlüssel", "€"])
def test_a_key_with_stray_characters_is_sent_and_not_quoted_in_an_error(open_client: Open, key: str) -> None:
    with loopback(answer(401)) as server:
        reply = open_client(server.url, key=key).bulk_import(BODY)

    assert reply.outcome is Outcome.DENIED
    assert server.header("authorization") == "Basic " + base64.b64encode(f"WS:{key}".encode()).decode()


def test_headers_of_an_answer_are_read_whatever_their_case(open_client: Open) -> None:
    with loopback(answer(429, b"{}", "X-RateLimit-Reset: 1750000009", "X-RATELIMIT-REMAINING: 0")) as server:
        reply = open_client(server.url).bulk_import(BODY)

    assert (reply.outcome, reply.retry_after, reply.remaining) == (Outcome.THROTTLED, 9.0, 0)


def test_a_refused_connection_is_surely_not_sent(open_client: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        url = f"http://127.0.0.1:{door.getsockname()[1]}"

    reply = open_client(url).bulk_import(BODY)

    assert reply == Reply(Outcome.NOT_SENT, message="the connection was refused")


def test_a_connect_timeout_is_surely_not_sent(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as door, ExitStack() as stack:
        for _ in range(4):  # fill the queue of a server that accepts nobody
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(door.getsockname())
        reply = open_client(f"http://127.0.0.1:{door.getsockname()[1]}").bulk_import(BODY)

    assert reply == Reply(Outcome.NOT_SENT, message="no connection within the timeout")


def test_a_proxy_that_is_not_there_means_surely_not_sent(
    open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{door.getsockname()[1]}")

    reply = open_client("http://api.example").bulk_import(BODY)

    assert reply == Reply(Outcome.NOT_SENT, message="the proxy refused the connection")


def test_the_environments_proxy_is_used(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback(answer()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        reply = open_client("http://api.example").bulk_import(BODY)

    assert reply.outcome is Outcome.ACCEPTED
    assert proxy.head.startswith("POST http://api.example/v1/transition/WS HTTP/1.1\r\n")


def test_an_answer_that_does_not_come_in_time_leaves_the_outcome_unknown(
    open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "CONNECT_TIMEOUT", 60.0)
    with loopback(keep_silent) as server:
        reply = open_client(server.url, timeout=0.2).bulk_import(BODY)

    assert reply == Reply(Outcome.UNKNOWN, message="no response within the timeout")
    assert server.body == BODY


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(cut, id="closed without an answer"),
        pytest.param(reset, id="reset without an answer"),
        pytest.param(send(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"status":"succ'), id="cut in the body"),
        pytest.param(send(b"HTTP/1.1 200 OK\r\nContent-Le"), id="cut in the headers"),
        pytest.param(send(b"SSH-2.0-OpenSSH_9.6\r\n"), id="no HTTP"),
        pytest.param(
            send(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"sta\r\n'), id="cut between chunks"
        ),
        pytest.param(
            answer(200, b"not compressed", "Content-Encoding: gzip"), id="body that cannot be decompressed"
        ),
    ],
)
def test_a_connection_cut_after_the_request_leaves_the_outcome_unknown(open_client: Open, act: Act) -> None:
    with loopback(act) as server:
        reply = open_client(server.url).bulk_import(BODY)

    assert reply.outcome is Outcome.UNKNOWN
    assert len(server.requests) == 1


def test_a_redirect_is_not_followed(open_client: Open) -> None:
    with loopback(answer()) as elsewhere, loopback(answer(307, b"", f"Location: {elsewhere.url}/")) as server:
        reply = open_client(server.url).bulk_import(BODY)

    assert reply.outcome is Outcome.UNEXPECTED
    assert elsewhere.requests == []


def test_a_server_error_is_not_repeated_by_the_client(open_client: Open) -> None:
    with loopback(answer(503, b"")) as server:
        open_client(server.url).bulk_import(BODY)

    assert len(server.requests) == 1


def test_what_the_network_did_is_told_without_addresses_or_elements(open_client: Open) -> None:
    with loopback(cut) as server:
        reply = open_client(server.url).bulk_import(BODY)

    assert reply.message == "the connection was cut"


def test_a_certificate_that_is_not_accepted_means_surely_not_sent(open_client: Open, tls: ssl.SSLContext) -> None:
    with loopback(answer(), wrap=lambda door: tls.wrap_socket(door, server_side=True)) as server:
        reply = open_client(server.url.replace("http:", "https:")).bulk_import(BODY)

    assert reply == Reply(Outcome.NOT_SENT, message="the TLS certificate is not trusted")


def test_a_tls_stream_that_breaks_after_the_request_leaves_the_outcome_unknown(
    open_client: Open, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def break_the_stream(connection: socket.socket) -> None:
        with socket.socket(fileno=connection.detach()) as below:
            below.sendall(b"no TLS record at all")

    with loopback(break_the_stream, wrap=lambda door: tls.wrap_socket(door, server_side=True)) as server:
        reply = open_client(server.url.replace("http:", "https:")).bulk_import(BODY)

    assert (reply.outcome, len(server.requests), server.body) == (Outcome.UNKNOWN, 1, BODY)


def test_a_fork_speaks_to_the_same_workspace_over_a_session_of_its_own(open_client: Open) -> None:
    with loopback(answer()) as server:
        original = open_client(server.url)
        fork = original.fork()
        original.close()
        reply = fork.bulk_import(BODY)
        fork.close()

    assert (reply.outcome, server.head.split()[1]) == (Outcome.ACCEPTED, "/v1/transition/WS")


def test_a_workspace_goes_to_its_data_center_unless_a_base_url_is_given() -> None:
    assert Workspace("WS", KEY, "02").data_url == "https://api-02.moengage.com"
    assert Workspace("WS", KEY, "02", "http://127.0.0.1:8123").data_url == "http://127.0.0.1:8123"


def test_a_workspace_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="data_center or a base_url"):
        _ = Workspace("WS", KEY).data_url


def test_a_workspace_never_shows_its_key() -> None:
    assert KEY not in repr(Workspace("WS", KEY))


def test_the_test_call_is_what_moengage_documents(open_client: Open) -> None:
    with loopback(answer(200, b'{"status":"success","app_name":"Shop"}')) as server:
        name = open_client(server.url).test_connection()

    assert name == "Shop"
    assert server.head.startswith("POST /v1/integrations/authentication HTTP/1.1\r\n")
    assert server.header("moe-appkey") == "WS"
    assert msgspec.json.decode(server.body) == {
        "app_id": "WS",
        "app_secret": KEY,
        "source": "airflow-provider-moengage",
        "region": "01",
    }


def test_a_workspace_without_a_name_is_called_by_its_id(open_client: Open) -> None:
    with loopback(answer(200, b'{"status":"success","app_name":null}')) as server:
        assert open_client(server.url).test_connection() == "WS"


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (answer(200, b'{"status":"error","message":"a-very-secret-key"}'), ErrorKind.AUTHENTICATION),
        (answer(401, b'{"status":"fail","error":{"message":"a-very-secret-key"}}'), ErrorKind.AUTHENTICATION),
        (answer(403, b""), ErrorKind.AUTHENTICATION),
        (answer(429, b""), ErrorKind.RATE_LIMIT),
        (answer(500, b"a-very-secret-key"), ErrorKind.SERVER),
        (answer(200, b"<html>a-very-secret-key</html>"), ErrorKind.REQUEST),
        (answer(404, b""), ErrorKind.REQUEST),
        (cut, ErrorKind.SERVER),
    ],
    ids=["200 error", "401", "403", "429", "500", "html", "404", "cut"],
)
def test_a_test_call_that_fails_says_why_and_never_shows_the_key(
    open_client: Open, act: Act, kind: ErrorKind
) -> None:
    with loopback(act) as server, pytest.raises(ApiError) as caught:
        open_client(server.url).test_connection()

    assert (caught.value.kind, KEY in str(caught.value), caught.value.__cause__) == (kind, False, None)
    assert server.url in caught.value.message


def test_a_test_call_waits_no_longer_than_its_own_time(open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "TEST_TIMEOUT", 0.2)
    with loopback(keep_silent) as server, pytest.raises(ApiError, match="no response within the timeout"):
        open_client(server.url, timeout=60).test_connection()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1, signed by nobody but itself; its key is in the same file."""
    x509 = pytest.importorskip("cryptography.x509")
    from ipaddress import ip_address

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(pem)
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("location", [b"http://[bad", b"http://\xff\xfe/"])
def test_a_redirect_to_nowhere_is_an_answer_like_any_other(open_client: Open, location: bytes) -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
    with loopback(send(redirect)) as server:
        assert open_client(server.url).bulk_import(BODY).outcome is Outcome.UNEXPECTED
