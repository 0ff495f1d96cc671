"""HTTP for every API family: opens sessions, and classifies requests without a response.

MoEngage API reference, "Authentication": Basic, with the workspace id and the key of the API family.
"""

from __future__ import annotations

from ssl import SSLCertVerificationError

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError, SSLError

from airflow_provider_moengage.api.responses import Outcome, Reply

CONNECT_TIMEOUT = 5.0
"""Seconds to wait for a TCP and TLS connection. A live host needs well under one."""

SOURCE = "airflow-provider-moengage"
"""Our name in ``User-Agent`` and in the test call's ``source``."""


class Session(requests.Session):
    """A session that follows no redirect. requests would read its target anyway, and fail if it is malformed."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 (requests' signature)
        """Return None: there is no redirect."""
        return None


def open_session(url: str, workspace_id: str, key: str) -> Session:
    """Return a session for requests to ``url``. Not thread-safe.

    The environment's proxies and CA bundle are looked up once, not for each request.

    :param url: scheme and authority.
    :param key: the API key, sent as Basic auth.
    """
    session = Session()
    session.auth = basic_auth(workspace_id, key)
    session.headers.update({"Content-Type": "application/json", "User-Agent": SOURCE})
    settings = session.merge_environment_settings(url, {}, False, None, None)
    session.proxies.update(settings["proxies"])
    session.verify = settings["verify"]
    session.trust_env = False
    # Only callers retry, because they know whether that is safe.
    session.mount(url, HTTPAdapter(max_retries=0))
    return session


def basic_auth(workspace_id: str, key: str) -> HTTPBasicAuth:
    """Return the credentials, as bytes: requests encodes text as Latin-1, and its error for a stray character
    contains the key.
    """
    return HTTPBasicAuth(workspace_id.encode(), key.encode())


def no_answer(error: requests.RequestException) -> Reply:
    """Classify a request without a response: certainly not sent, or possibly processed."""
    if isinstance(error, requests.ConnectTimeout):
        return Reply(Outcome.NOT_SENT, message="no connection within the timeout")
    if isinstance(error, requests.exceptions.InvalidURL):
        return Reply(Outcome.UNEXPECTED, message="the URL is not valid")
    reason = _reason(error)
    if (
        isinstance(reason, NewConnectionError | ConnectTimeoutError)
        or _is_certificate(reason)
        or _is_tunnel(reason)
    ):
        return Reply(Outcome.NOT_SENT, message=cause(error))
    return Reply(Outcome.UNKNOWN, message=cause(error))


def _reason(error: requests.RequestException) -> object:
    """Return urllib3's original error. A ProxyError may also mean a connection that was cut after the body."""
    reason = _first_reason(error)
    return reason.original_error if isinstance(reason, ProxyError) else reason


def _first_reason(error: requests.RequestException) -> object:
    return getattr(error.args[0] if error.args else None, "reason", None)


def _is_tunnel(reason: object) -> bool:
    """Return whether a proxy refused CONNECT, which http.client raises as a bare OSError."""
    return type(reason) is OSError and str(reason).startswith("Tunnel connection failed")


def _is_certificate(reason: object) -> bool:
    """Return whether a certificate was rejected; other TLS errors may occur after the body was sent."""
    return isinstance(reason, SSLError) and isinstance(reason.args[0], SSLCertVerificationError)


def cause(error: requests.RequestException) -> str:
    """Return the cause of an error without its text, which quotes URLs and a proxy's response."""
    if isinstance(error, requests.Timeout):
        return "no response within the timeout"
    reason = _reason(error)
    name = "CertificateError" if _is_certificate(reason) else type(reason or error).__name__
    is_proxy = isinstance(_first_reason(error), ProxyError)
    if _is_tunnel(reason) or (is_proxy and isinstance(reason, NewConnectionError | ConnectTimeoutError)):
        return "the proxy refused the connection"
    return {
        "NewConnectionError": "the connection was refused",
        "NameResolutionError": "the host name could not be resolved",
        "CertificateError": "the TLS certificate is not trusted",
        "SSLError": "the TLS connection failed",
        "ConnectionError": "the connection was cut",
        "RemoteDisconnected": "the connection was cut",
        "ConnectionResetError": "the connection was cut",
    }.get(name, name)
