"""The requests themselves: where they go, what they carry, and how long they may take.

MoEngage API reference, "Bulk Import" (``POST /v1/transition/{workspace_id}``) and "Test connection"
(``POST /v1/integrations/authentication``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ssl import SSLCertVerificationError
from typing import Any
from urllib.parse import quote

import msgspec
import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError, SSLError

from airflow_provider_moengage.api.business_events import (
    CAMPAIGN_KEY,
    LIST_PATH,
    PATHS,
    Firing,
    FiringReply,
    read_firing,
)
from airflow_provider_moengage.api.data_centers import data_api_url
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.event_schemas import EventSchema, read_schemas
from airflow_provider_moengage.api.responses import Outcome, Reply, read_object, read_reply, refusal

CONNECT_TIMEOUT = 5.0
"""Seconds to wait for a TCP and TLS connection. A live host answers in well under one."""

MOST_PAGES = 50
"""Pages of business events that are read to find one: 20 events each, and 60 requests a minute are allowed."""

TEST_TIMEOUT = 5.0
"""Seconds that the Test button may take: it runs inside Airflow's API server."""

SOURCE = "airflow-provider-moengage"
"""What we call ourselves in ``User-Agent`` and in the test call's ``source``."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a MoEngage workspace is and what opens it.

    :param workspace_id: also called app id.
    :param data_api_key: key of the Data tile; it serves bulk import and file imports.
    :param data_center: as :func:`~airflow_provider_moengage.api.data_centers.normalise_data_center` gives it.
    :param base_url: replaces scheme and authority of every API family; None for MoEngage's own hosts.
    :param timeout: seconds that MoEngage may stay silent before a request is given up.
    :param campaign_api_key: key for business events.
    """

    workspace_id: str
    data_api_key: str = field(repr=False)
    data_center: str | None = None
    base_url: str | None = None
    timeout: float = 30.0
    campaign_api_key: str = field(repr=False, default="")

    @property
    def data_url(self) -> str:
        """Scheme and authority of the Data API."""
        if self.base_url is not None:
            return self.base_url
        if self.data_center is None:
            raise ValueError("a workspace needs a data_center or a base_url")
        return data_api_url(self.data_center)


class MoEngageClient:
    """One conversation with one workspace. Not for several threads: :meth:`fork` gives each its own.

    The environment's proxies and CA bundle are looked up once, not once a request.
    """

    def __init__(self, workspace: Workspace, *, now: Callable[[], float] = time.time) -> None:
        self.workspace = workspace
        self._now = now
        self._session = _Session()
        # As bytes: of a text, requests encodes Latin-1, and its error for a stray character holds the key.
        self._session.auth = HTTPBasicAuth(workspace.workspace_id.encode(), workspace.data_api_key.encode())
        self._session.headers.update({"Content-Type": "application/json", "User-Agent": SOURCE})
        url = workspace.data_url
        settings = self._session.merge_environment_settings(url, {}, False, None, None)
        self._session.proxies.update(settings["proxies"])
        self._session.verify = settings["verify"]
        self._session.trust_env = False
        # A request that is repeated is repeated by the delivery, which knows whether that is safe.
        self._session.mount(url, HTTPAdapter(max_retries=0))
        self._bulk_url = f"{url}/v1/transition/{quote(workspace.workspace_id, safe='')}"
        self._campaign_auth = HTTPBasicAuth(workspace.workspace_id.encode(), workspace.campaign_api_key.encode())

    def fork(self) -> MoEngageClient:
        """Return a client of the same workspace with connections of its own."""
        return MoEngageClient(self.workspace, now=self._now)

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def bulk_import(self, body: bytes) -> Reply:
        """Send one body of elements and say what became of it. Never raises for what the network does.

        :param body: a whole request body, JSON in UTF-8, at most 100,000 bytes.
        """
        try:
            response = self._session.post(
                self._bulk_url,
                data=body,
                timeout=(CONNECT_TIMEOUT, self.workspace.timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return _no_answer(error)
        return read_reply(response.status_code, response.headers, response.content, now=self._now())

    def trigger_business_event(self, body: Mapping[str, Any], *, version: str) -> FiringReply:
        """Trigger a business event, once, and say what became of it. Never raises for what the network does.

        :param body: the request's fields.
        :param version: ``v1`` or ``v5``.
        """
        try:
            response = self._session.post(
                self.workspace.data_url + PATHS[version],
                data=msgspec.json.encode(body),
                auth=self._campaign_auth,
                timeout=(CONNECT_TIMEOUT, self.workspace.timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            reply = _no_answer(error)
            is_sent = reply.outcome not in (Outcome.NOT_SENT, Outcome.UNEXPECTED)
            return FiringReply(Firing.UNKNOWN if is_sent else Firing.NOT_SENT, message=reply.message)
        except OSError as error:
            if "TLS CA certificate bundle" not in str(error):
                raise
            return FiringReply(
                Firing.NOT_SENT, message="the file with TLS certificates (REQUESTS_CA_BUNDLE) is missing"
            )
        return read_firing(
            response.status_code, response.headers, response.content, version=version, sent=body, now=self._now()
        )

    def find_business_event(self, name: str) -> EventSchema | None:
        """Ask MoEngage for the business event of exactly this name, on as many pages as it takes.

        :raises ApiError: where MoEngage does not say.
        """
        url = self.workspace.data_url
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            query = {"name": name, **({"cursor": cursor} if cursor else {})}
            try:
                response = self._session.get(
                    url + LIST_PATH,
                    params=query,
                    auth=self._campaign_auth,
                    timeout=(CONNECT_TIMEOUT, self.workspace.timeout),
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                raise ApiError(ErrorKind.SERVER, f"{url} could not be reached: {_cause(error)}") from None
            content = read_object(response.content)
            if response.status_code in (401, 403):
                raise ApiError(ErrorKind.AUTHENTICATION, f"{url} answered {response.status_code}: {CAMPAIGN_KEY}")
            if response.status_code != 200 or "data" not in content:
                reply = read_reply(response.status_code, response.headers, response.content, now=self._now())
                raise refusal(reply, url)
            schemas, following = read_schemas(content)
            found = next((schema for schema in schemas if schema.name == name), None)
            if found is not None or not schemas or following in (None, cursor):
                return found
            cursor = following
        return None

    def test_connection(self) -> str:
        """Ask MoEngage whether the workspace id and the Data API key fit together; one try, 5 seconds.

        :return: the name MoEngage has for the workspace.
        :raises ApiError: where it says no, or says nothing.
        """
        workspace = self.workspace
        body = {
            "app_id": workspace.workspace_id,
            "app_secret": workspace.data_api_key,
            "source": SOURCE,
            "region": workspace.data_center or "",
        }
        try:
            response = self._session.post(
                f"{workspace.data_url}/v1/integrations/authentication",
                data=msgspec.json.encode(body),
                headers={"MOE-APPKEY": workspace.workspace_id.encode()},
                timeout=TEST_TIMEOUT,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise ApiError(
                ErrorKind.SERVER, f"{workspace.data_url} could not be reached: {_cause(error)}"
            ) from None
        reply = read_reply(response.status_code, response.headers, response.content, now=self._now())
        if reply.outcome is Outcome.ACCEPTED:
            return str(msgspec.json.decode(response.content).get("app_name") or workspace.workspace_id)
        raise refusal(reply, workspace.data_url)


class _Session(requests.Session):
    """A session that follows no redirect: requests reads its target all the same, and fails over a broken one."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 (requests' signature)
        """Return that there is none."""
        return None


def _no_answer(error: requests.RequestException) -> Reply:
    """Tell a request that surely never left from one that may have been processed."""
    if isinstance(error, requests.ConnectTimeout):
        return Reply(Outcome.NOT_SENT, message="no connection within the time allowed")
    if isinstance(error, requests.exceptions.InvalidURL):
        return Reply(Outcome.UNEXPECTED, message="the URL is not valid")
    reason = _reason(error)
    if (
        isinstance(reason, NewConnectionError | ConnectTimeoutError)
        or _is_certificate(reason)
        or _is_tunnel(reason)
    ):
        return Reply(Outcome.NOT_SENT, message=_cause(error))
    return Reply(Outcome.UNKNOWN, message=_cause(error))


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


def _cause(error: requests.RequestException) -> str:
    """Name what happened without the exception's text, which quotes URLs and whatever a proxy said."""
    if isinstance(error, requests.Timeout):
        return "no answer within the time allowed"
    reason = _reason(error)
    name = "CertificateError" if _is_certificate(reason) else type(reason or error).__name__
    is_proxy = isinstance(_first_reason(error), ProxyError)
    if _is_tunnel(reason) or (is_proxy and isinstance(reason, NewConnectionError | ConnectTimeoutError)):
        return "the proxy refused the connection"
    return {
        "NewConnectionError": "the connection was refused",
        "NameResolutionError": "the host name is not known",
        "CertificateError": "the TLS certificate is not accepted",
        "SSLError": "the TLS connection broke",
        "ConnectionError": "the connection was cut",
        "RemoteDisconnected": "the connection was cut",
        "ConnectionResetError": "the connection was cut",
    }.get(name, name)
