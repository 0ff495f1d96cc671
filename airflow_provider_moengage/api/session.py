"""HTTP for every API family: one function sends each request, within a deadline and with a bounded response.

MoEngage API reference, "Authentication": Basic, with the workspace id and the key of the API family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import Cookie, DefaultCookiePolicy
from typing import Any
from urllib.request import Request as UrllibRequest

import requests
from requests.auth import HTTPBasicAuth
from requests.utils import select_proxy

from airflow_provider_moengage.api.responses import Outcome, Reply
from airflow_provider_moengage.api.transport.body import ACCEPT_ENCODING, read_body
from airflow_provider_moengage.api.transport.deadline import Adapter, Exchange, cut, under_deadline
from airflow_provider_moengage.api.transport.failures import NoAnswerError, no_answer, timed_out

CONNECT_TIMEOUT = 5.0
"""Seconds to wait for a TCP and TLS connection. A live host needs well under one."""

SOURCE = "airflow-provider-moengage"
"""Our name in ``User-Agent`` and in the test call's ``source``."""

MOST_COOKIE_BYTES = 4_096
"""Bytes of all cookies of a session: load balancers set some hundred, and servers refuse large headers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response.

    :param headers: case-insensitive.
    :param content: the body, decompressed.
    """

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class Session(requests.Session):
    """A session that follows no redirect, and gives each request one total deadline.

    Not thread-safe, except :meth:`abandon`.
    """

    _exchange: Exchange | None = None

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 (requests' signature)
        """Return None: there is no redirect. requests would read its target, and fail if it is malformed."""
        return None

    def ask(self, method: str, url: str, *, timeout: float, **parts: Any) -> Answer:
        """Send a request and return its response.

        :param timeout: seconds in total, from the connection to the last byte of the response.
        :param parts: of :class:`requests.Request`.
        :raises NoAnswerError: if there is no usable response. No other exception comes from the network.
        """
        return self.exchange(self.prepared(method, url, **parts), timeout=timeout)

    def prepared(self, method: str, url: str, **parts: Any) -> requests.PreparedRequest:
        """Return a request to send.

        :raises NoAnswerError: if the URL is not valid.
        """
        try:
            return self.prepare_request(requests.Request(method, url, **parts))
        except (OSError, ValueError) as error:
            raise no_answer(error) from None

    def exchange(self, request: requests.PreparedRequest, *, timeout: float) -> Answer:
        """Send a prepared request; see :meth:`ask`."""
        exchange = self._exchange = Exchange(timeout, has_body=bool(request.body))
        failure: NoAnswerError | None = None
        try:
            with under_deadline(exchange):
                response = self.send(
                    request,
                    stream=True,
                    timeout=(min(CONNECT_TIMEOUT, timeout), timeout),
                    allow_redirects=False,
                    proxies=self.proxies,
                    verify=self.verify,
                )
                try:
                    content = read_body(response)
                except BaseException:
                    response.close()  # with the connection: the rest of the response is still to come
                    raise
        except Exception as error:  # noqa: BLE001 (from requests, urllib3, http.client, ssl, idna ...)
            has_proxy = select_proxy(request.url or "", self.proxies) is not None
            failure = no_answer(error, exchange, has_proxy=has_proxy)
        if failure is not None:
            raise failure  # not in the except block: the original error, its context, may quote the response
        if exchange.is_cut:  # which looks like the end of a response without a length
            raise timed_out(exchange)
        return Answer(response.status_code, response.headers, content)

    def abandon(self) -> None:
        """Cut the request that another thread waits for, if there is one."""
        if (exchange := self._exchange) is not None:
            cut(exchange)


class _FewCookies(DefaultCookiePolicy):
    """Keeps the cookies of load balancers, and no more."""

    def __init__(self, session: requests.Session) -> None:
        super().__init__()
        self._session = session

    def set_ok(self, cookie: Cookie, request: UrllibRequest) -> bool:
        others = [each for each in self._session.cookies if each.name != cookie.name]
        size = sum(len(each.name) + len(each.value or "") for each in (*others, cookie))
        text = f"{cookie.name}{cookie.value}"
        is_small = size <= MOST_COOKIE_BYTES and text.isascii() and text.isprintable()
        return is_small and super().set_ok(cookie, request)


def open_session(url: str, workspace_id: str, key: str) -> Session:
    """Return a session for requests to ``url``. Not thread-safe.

    The environment's proxies and CA bundle are looked up once, not for each request.

    :param url: scheme and authority.
    :param key: the API key, sent as Basic auth.
    """
    session = Session()
    session.auth = basic_auth(workspace_id, key)
    session.headers.update(
        {"Accept-Encoding": ACCEPT_ENCODING, "Content-Type": "application/json", "User-Agent": SOURCE}
    )
    settings = session.merge_environment_settings(url, {}, False, None, None)
    session.proxies.update(settings["proxies"])
    session.verify = settings["verify"]
    session.trust_env = False
    session.cookies.set_policy(_FewCookies(session))
    # Only callers retry, because they know whether that is safe.
    session.mount(url, Adapter())
    return session


def basic_auth(workspace_id: str, key: str) -> HTTPBasicAuth:
    """Return the credentials, as bytes: requests encodes text as Latin-1, and its error for a stray character
    contains the key.
    """
    return HTTPBasicAuth(workspace_id.encode(), key.encode())


def reply_of(error: NoAnswerError) -> Reply:
    """Return the outcome of a bulk request without a response."""
    if error.is_sent:
        return Reply(Outcome.UNKNOWN, message=error.message)
    return Reply(Outcome.UNEXPECTED if error.is_lasting else Outcome.NOT_SENT, message=error.message)
