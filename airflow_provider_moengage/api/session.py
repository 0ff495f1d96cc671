"""HTTP as every family of the API needs it: how a session is opened, and what a request without an answer means.

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
"""Seconds to wait for a TCP and TLS connection. A live host answers in well under one."""

SOURCE = "airflow-provider-moengage"
"""What we call ourselves in ``User-Agent`` and in the test call's ``source``."""


class Session(requests.Session):
    """A session that follows no redirect: requests reads its target all the same, and fails over a broken one."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 (requests' signature)
        """Return that there is none."""
        return None


def open_session(url: str, workspace_id: str, key: str) -> Session:
    """Return a session for requests to ``url``. Not for several threads.

    The environment's proxies and CA bundle are looked up once, not once a request.

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
    # A request that is repeated is repeated by whoever knows whether that is safe.
    session.mount(url, HTTPAdapter(max_retries=0))
    return session


def basic_auth(workspace_id: str, key: str) -> HTTPBasicAuth:
    """Return the credentials, as bytes: of a text, requests encodes Latin-1, and its error for a stray character
    holds the key.
    """
    return HTTPBasicAuth(workspace_id.encode(), key.encode())


def no_answer(error: requests.RequestException) -> Reply:
    """Tell a request that surely never left from one that may have been processed."""
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
    """What urllib3 says behind an error. It makes a ProxyError of a connection cut after the body as well."""
    reason = _first_reason(error)
    return reason.original_error if isinstance(reason, ProxyError) else reason


def _first_reason(error: requests.RequestException) -> object:
    return getattr(error.args[0] if error.args else None, "reason", None)


def _is_tunnel(reason: object) -> bool:
    """Tell a proxy's refusal of CONNECT, which http.client raises as a bare OSError, from a broken stream."""
    return type(reason) is OSError and str(reason).startswith("Tunnel connection failed")


def _is_certificate(reason: object) -> bool:
    """Tell a certificate that is not accepted from a TLS stream that broke, maybe after the body had left."""
    return isinstance(reason, SSLError) and isinstance(reason.args[0], SSLCertVerificationError)


def cause(error: requests.RequestException) -> str:
    """Name what happened without the exception's text, which quotes URLs and whatever a proxy said."""
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
