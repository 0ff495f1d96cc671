"""Requests of bulk import, users, segments, business events and the connection test: URLs, bodies, timeouts.

MoEngage API reference, "Bulk Import" (``POST /v1/transition/{workspace_id}``; with the project of a portfolio,
``/v1/transition?app_id=...&project_code=...``) and "Test connection" (``POST /v1/integrations/authentication``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from airflow_provider_moengage.api.business_events import (
    CAMPAIGN_KEY,
    LIST_PATH,
    TriggerReply,
    TriggerRequest,
    read_trigger_reply,
)
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.event_schemas import EventSchema, read_schemas
from airflow_provider_moengage.api.received.values import Received
from airflow_provider_moengage.api.responses import Outcome, Reply, read_reply, refusal
from airflow_provider_moengage.api.session import SOURCE, Answer, basic_auth, open_session, reply_of
from airflow_provider_moengage.api.transport.failures import NoAnswerError
from airflow_provider_moengage.api.trigger_outcomes import TriggerOutcome
from airflow_provider_moengage.api.users import cohorts, deletion, erasure, reading
from airflow_provider_moengage.api.workspace import Workspace

if TYPE_CHECKING:
    import requests

MOST_PAGES = 50
"""Pages of business events read to find one: 20 events each; the limit is 60 requests a minute."""

LONGEST_APP_NAME = 100
"""Characters of the workspace's name that the Test button shows."""

TEST_TIMEOUT = 5.0
"""Seconds that the Test button may take: it runs inside Airflow's API server."""


class MoEngageClient:
    """A client of one workspace. Not thread-safe: :meth:`fork` returns one for another thread."""

    def __init__(self, workspace: Workspace, *, now: Callable[[], float] = time.time) -> None:
        self.workspace = workspace
        self._now = now
        url = workspace.data_url
        self._session = open_session(url, workspace.workspace_id, workspace.data_api_key)
        self._bulk_url = url + _bulk_path(workspace)
        self._scrub = workspace.scrub()
        self._bulk_request: requests.PreparedRequest | None = None
        self._campaign_auth = basic_auth(workspace.workspace_id, workspace.campaign_api_key)

    def fork(self) -> MoEngageClient:
        """Return a client of the same workspace with connections of its own."""
        return MoEngageClient(self.workspace, now=self._now)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def bulk_import(self, body: bytes) -> Reply:
        """Send one body of elements and return the outcome. Network errors never raise.

        :param body: a whole request body, JSON in UTF-8, at most 100,000 bytes.
        """
        try:
            response = self._session.exchange(self._bulk_prepared(body), timeout=self.workspace.timeout)
        except NoAnswerError as error:
            return reply_of(error)
        scrub = self._scrub.with_values(lambda: _sent(body))
        return read_reply(response.status_code, response.headers, response.content, scrub=scrub, now=self._now())

    def delete_user(self, body: bytes) -> Reply:
        """Send the deletion of one user and return the outcome. Network errors never raise.

        :param body: of :func:`~airflow_provider_moengage.api.users.deletion.delete_body`.
        """
        workspace = self.workspace
        try:
            response = self._session.ask(
                "POST",
                workspace.data_url + deletion.PATH,
                params={"app_id": workspace.workspace_id},
                data=body,
                headers=workspace.project_headers,
                timeout=workspace.timeout,
            )
        except NoAnswerError as error:
            return reply_of(error)
        scrub = self._scrub.with_values(lambda: [msgspec.json.decode(body)["identity_value"]])
        return deletion.read_delete_reply(
            response.status_code, response.headers, response.content, scrub=scrub, now=self._now()
        )

    def request_erasure(self, body: bytes) -> Reply:
        """Send a request to erase a user by OpenGDPR and return the outcome. Network errors never raise.

        :param body: of :func:`~airflow_provider_moengage.api.users.erasure.erasure_body`.
        """
        workspace = self.workspace
        try:
            response = self._session.ask(
                "POST",
                f"{workspace.data_url}{erasure.PATH}/{quote(workspace.workspace_id, safe='')}",
                data=body,
                headers=workspace.project_headers,
                timeout=workspace.timeout,
            )
        except NoAnswerError as error:
            return reply_of(error)
        scrub = self._scrub.with_values(lambda: [erasure.identities_in(body)])
        return erasure.read_erasure_reply(
            response.status_code, response.headers, response.content, scrub=scrub, now=self._now()
        )

    def export_users(self, body: bytes) -> reading.UserReply:
        """Ask for users by one request, and return the response.

        :param body: of :func:`~airflow_provider_moengage.api.users.reading.export_body`.
        :raises ApiError: if there is no response, or it does not report users.
        """
        workspace = self.workspace
        try:
            response = self._session.ask(
                "POST",
                workspace.data_url + reading.PATH,
                params={"app_id": workspace.workspace_id},
                data=body,
                headers=workspace.project_headers,
                timeout=workspace.timeout,
            )
        except NoAnswerError as error:
            raise ApiError(
                ErrorKind.SERVER, f"{workspace.data_url} could not be reached: {error.message}"
            ) from None
        scrub = self._scrub.with_values(lambda: msgspec.json.decode(body)["data"]["identifiers"])
        return reading.UserReply(
            response.status_code, response.headers, response.content, scrub=scrub, now=self._now()
        )

    def sync_cohort(self, body: bytes) -> Reply:
        """Add members to a segment, or remove some, and return the outcome. Network errors never raise.

        :param body: a whole request body, at most 128,000 bytes; see
            :class:`~airflow_provider_moengage.api.users.cohorts.Cohort`.
        """
        workspace = self.workspace
        try:
            response = self._session.ask(
                "POST",
                workspace.data_url + cohorts.PATH,
                data=body,
                headers={"MOE-APPKEY": workspace.workspace_id.encode(), **workspace.project_headers},
                timeout=workspace.timeout,
            )
        except NoAnswerError as error:
            return reply_of(error)
        scrub = self._scrub.with_values(lambda: [list(msgspec.json.decode(body)["parameters"].values())])
        return read_reply(response.status_code, response.headers, response.content, scrub=scrub, now=self._now())

    def _bulk_prepared(self, body: bytes) -> requests.PreparedRequest:
        if self._bulk_request is None:  # building it is about 25 % of a request's CPU time
            self._bulk_request = self._session.prepared("POST", self._bulk_url)
        request = self._bulk_request.copy()
        request.body = body
        request.headers["Content-Length"] = str(len(body))
        if self._session.cookies:  # a load balancer's
            request.prepare_cookies(self._session.cookies)
        return request

    def trigger_business_event(self, request: TriggerRequest) -> TriggerReply:
        """Trigger a business event with a single request and return the outcome. Network errors never raise."""
        try:
            response = self._session.ask(
                "POST",
                self.workspace.data_url + request.path,
                data=request.encode(),
                headers=self.workspace.project_headers,
                auth=self._campaign_auth,
                timeout=self.workspace.timeout,
            )
        except NoAnswerError as error:
            outcome = TriggerOutcome.UNKNOWN if error.is_sent else TriggerOutcome.NOT_SENT
            return TriggerReply(outcome, message=error.message)
        return read_trigger_reply(
            response.status_code,
            response.headers,
            response.content,
            request=request,
            scrub=self._scrub,
            now=self._now(),
        )

    def find_business_event(self, name: str) -> EventSchema | None:
        """Return the business event with exactly this name, reading as many pages as needed.

        :raises ApiError: if MoEngage does not answer.
        """
        url = self.workspace.data_url
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            query = {"name": name, **({"cursor": cursor} if cursor else {})}
            try:
                response = self._session.ask(
                    "GET",
                    url + LIST_PATH,
                    params=query,
                    headers=self.workspace.project_headers,
                    auth=self._campaign_auth,
                    timeout=self.workspace.timeout,
                )
            except NoAnswerError as error:
                raise ApiError(ErrorKind.SERVER, f"{url} could not be reached: {error.message}") from None
            content = Received.body(response.content, self._scrub)
            if response.status_code in (401, 403):
                raise ApiError(ErrorKind.AUTHENTICATION, f"{url} answered {response.status_code}: {CAMPAIGN_KEY}")
            if response.status_code != 200 or not content.has("data"):
                raise refusal(self._reply(response), url)
            schemas, following = read_schemas(content)
            found = next((schema for schema in schemas if schema.name == name), None)
            if found is not None or not schemas or following in (None, cursor):
                return found
            cursor = following
        return None

    def test_connection(self) -> str:
        """Check that the workspace ID and the Data API key match: one try, 5 seconds.

        :return: the workspace's name in MoEngage.
        :raises ApiError: if they do not, or if MoEngage does not answer.
        """
        workspace = self.workspace
        body = {
            "app_id": workspace.workspace_id,
            "app_secret": workspace.data_api_key,
            "source": SOURCE,
            "region": workspace.data_center or "",
        }
        try:
            response = self._session.ask(
                "POST",
                f"{workspace.data_url}/v1/integrations/authentication",
                data=msgspec.json.encode(body),
                headers={"MOE-APPKEY": workspace.workspace_id.encode()},
                timeout=TEST_TIMEOUT,
            )
        except NoAnswerError as error:
            raise ApiError(
                ErrorKind.SERVER, f"{workspace.data_url} could not be reached: {error.message}"
            ) from None
        reply = self._reply(response)
        if reply.outcome is Outcome.ACCEPTED:
            name = Received.body(response.content, self._scrub)["app_name"].text(LONGEST_APP_NAME)
            return name or workspace.workspace_id
        raise refusal(reply, workspace.data_url)

    def _reply(self, response: Answer) -> Reply:
        return read_reply(
            response.status_code, response.headers, response.content, scrub=self._scrub, now=self._now()
        )


def _bulk_path(workspace: Workspace) -> str:
    """Return path and query of the bulk import; with a project, both are in the query, as documented."""
    if workspace.project_code is None:
        return f"/v1/transition/{quote(workspace.workspace_id, safe='')}"
    query = {"app_id": workspace.workspace_id, "project_code": workspace.project_code}
    return f"/v1/transition?{urlencode(query, quote_via=quote)}"


def _sent(body: bytes) -> list[Any]:
    """Return what a body of elements holds, without the types of its elements."""
    elements = msgspec.json.decode(body)["elements"]
    return [[value for name, value in element.items() if name != "type"] for element in elements]
