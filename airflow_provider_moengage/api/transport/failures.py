"""What it means that a request got no response: whether it may have been processed, and why it failed.

How far the request got decides, not the exception: urllib3 gives a connection that was cut after the request the
same name as one that was never made.
"""

from __future__ import annotations

import ssl
from http.client import HTTPException

import requests
from requests.exceptions import InvalidHeader, InvalidProxyURL, InvalidSchema, InvalidURL, MissingSchema
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationValueError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ProxySchemeUnknown,
    ReadTimeoutError,
    SSLError,
)

from airflow_provider_moengage.api.transport.body import BodyError
from airflow_provider_moengage.api.transport.deadline import Exchange


class NoAnswerError(Exception):
    """A request without a usable response.

    :param message: what happened, without addresses, keys or anything of a response.
    :param is_sent: whether MoEngage may have processed the request.
    :param is_lasting: whether it will fail again until somebody changes the connection or the environment.
    """

    def __init__(self, message: str, *, is_sent: bool, is_lasting: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.is_sent = is_sent
        self.is_lasting = is_lasting


def no_answer(error: Exception, exchange: Exchange | None = None, *, has_proxy: bool = False) -> NoAnswerError:
    """Return what a failure means.

    :param error: what requests, urllib3 or Python raised.
    :param exchange: how far the request got; None if it was not even built.
    :param has_proxy: whether it goes to a proxy, so that the proxy's URL is the one that is looked up.
    """
    is_connected = exchange is not None and exchange.is_connected
    late = TIMED_OUT if is_connected else NOT_CONNECTED
    is_sent = exchange is not None and exchange.is_sent
    if exchange is not None and exchange.is_cut:
        return NoAnswerError(late, is_sent=is_sent)
    if not is_connected and (lasting := _lasting(error, has_proxy=has_proxy)) is not None:
        return NoAnswerError(lasting, is_sent=False, is_lasting=True)
    is_timeout = isinstance(error, requests.Timeout | ReadTimeoutError | TimeoutError)
    return NoAnswerError(late if is_timeout else _cause(error), is_sent=is_sent)


def timed_out(exchange: Exchange) -> NoAnswerError:
    """Return the failure of an exchange that was cut while its response was read."""
    return NoAnswerError(TIMED_OUT, is_sent=exchange.is_sent)


TIMED_OUT = "no response within the timeout"
NOT_CONNECTED = "no connection within the timeout"

_NO_HTTP = "the response is not valid HTTP"

_CAUSES = {
    "NewConnectionError": "the connection was refused",
    "NameResolutionError": "the host name could not be resolved",
    "CertificateError": "the TLS certificate is not trusted",
    "SSLError": "the TLS connection failed",
    "ConnectionError": "the connection was cut",
    "ProtocolError": "the connection was cut",
    "IncompleteRead": "the connection was cut",
    "InvalidHeader": _NO_HTTP,
    "HTTPException": _NO_HTTP,
    "BadStatusLine": _NO_HTTP,
    "LineTooLong": _NO_HTTP,
    "InvalidChunkLength": _NO_HTTP,
    "ValueError": _NO_HTTP,
    "UnknownProtocol": _NO_HTTP,
}


def _lasting(error: Exception, *, has_proxy: bool) -> str | None:
    """Return what is wrong with the connection or the environment, if it is that."""
    reason = _reason(error)
    if isinstance(error, InvalidSchema) and "SOCKS" in str(error):
        return "a SOCKS proxy needs the package PySocks"
    if type(error) is OSError and "TLS CA certificate bundle" in str(error):
        return "the file with TLS certificates (REQUESTS_CA_BUNDLE) does not exist"
    if isinstance(reason, SSLError) and _is_file_error(reason.args[0] if reason.args else None):
        return "the file with TLS certificates (REQUESTS_CA_BUNDLE) cannot be read"
    if isinstance(error, InvalidHeader):
        return "the workspace ID cannot be part of a header"
    if isinstance(error, InvalidURL | InvalidSchema | MissingSchema | LocationValueError | ProxySchemeUnknown):
        return _BAD_PROXY if has_proxy or isinstance(error, InvalidProxyURL) else "the URL is not valid"
    return None


_BAD_PROXY = "the URL of the proxy is not valid: check the environment variables http_proxy and https_proxy"


def _is_file_error(error: object) -> bool:
    """Return whether urllib3 could not load the certificates, which it reports as a TLS error."""
    if isinstance(error, ssl.SSLError):
        return error.reason == "NO_CERTIFICATE_OR_CRL_FOUND"
    return isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError)


def _cause(error: Exception) -> str:
    """Return the cause of an error without its text, which quotes URLs and a proxy's response."""
    if isinstance(error, BodyError):
        return str(error)
    reason = _reason(error)
    is_proxy = isinstance(_first_reason(error), ProxyError)
    if _is_tunnel(reason) or (is_proxy and isinstance(reason, NewConnectionError | ConnectTimeoutError)):
        return "the proxy refused the connection"
    name = "CertificateError" if _is_certificate(reason) else type(reason or _innermost(error)).__name__
    return _CAUSES.get(name, name)


def _innermost(error: Exception) -> Exception:
    """Return what http.client raised, if it was about the form of the response."""
    protocol = error.args[0] if error.args and isinstance(error.args[0], ProtocolError) else error
    inner = protocol.args[-1] if isinstance(protocol, ProtocolError) and protocol.args else None
    if isinstance(inner, HTTPException) and not isinstance(inner, ConnectionError):
        return inner
    return error


def _reason(error: Exception) -> object:
    """Return urllib3's original error."""
    reason = _first_reason(error)
    return reason.original_error if isinstance(reason, ProxyError) else reason


def _first_reason(error: Exception) -> object:
    return getattr(error.args[0] if error.args else None, "reason", None)


def _is_tunnel(reason: object) -> bool:
    """Return whether a proxy refused CONNECT, which http.client raises as a bare OSError."""
    return type(reason) is OSError and str(reason).startswith("Tunnel connection failed")


def _is_certificate(reason: object) -> bool:
    return isinstance(reason, SSLError) and isinstance(
        reason.args[0] if reason.args else None, ssl.SSLCertVerificationError
    )
