"""Every endpoint that the clients ask, and what each says of a request that got no response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum

from airflow_provider_moengage.api.business_events import (
    TriggerRequest,
)
from airflow_provider_moengage.api.campaigns.client import CampaignsClient
from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.file_imports import Triggering
from airflow_provider_moengage.api.file_imports_client import FileImportsClient
from airflow_provider_moengage.api.responses import Outcome, Reply
from airflow_provider_moengage.api.trigger_outcomes import TriggerOutcome
from airflow_provider_moengage.api.users.deletion import delete_body
from airflow_provider_moengage.api.users.erasure import erasure_body
from airflow_provider_moengage.api.users.reading import export_body
from airflow_provider_moengage.api.workspace import Workspace

KEY = "a-very-secret-key"
ELEMENTS = b'{"type":"transition","elements":[{"customer_id":"jane@example.com"}]}'
MEMBERS = (
    b'{"action":"add_members","partner":"Airflow","parameters":'
    b'{"cohort_id":"c","members":[{"uid":"jane@example.com"}]}}'
)

Said = tuple[Enum, str | None]
"""The outcome, and the message."""


@dataclass(frozen=True)
class Endpoint:
    """One endpoint.

    :param ask: sends one request.
    :param not_sent: the outcome of a request that was certainly not processed.
    :param lasting: the same, if only another connection or environment can help.
    :param unknown: the outcome of a request that may have been processed.
    :param has_body: whether its requests have a body.
    """

    ask: Callable[[Workspace], Said]
    not_sent: Enum
    lasting: Enum
    unknown: Enum
    has_body: bool = True


def workspace(url: str, timeout: float = 5.0) -> Workspace:
    return Workspace("WS", KEY, "01", url, timeout, campaign_api_key=KEY)


def _replied(ask: Callable[[MoEngageClient], Reply]) -> Callable[[Workspace], Said]:
    def asked(place: Workspace) -> Said:
        client = MoEngageClient(place)
        try:
            reply = ask(client)
        finally:
            client.close()
        return reply.outcome, reply.message

    return asked


def _business_event(place: Workspace) -> Said:
    client = MoEngageClient(place)
    try:
        reply = client.trigger_business_event(TriggerRequest("New movie"))
    finally:
        client.close()
    return reply.outcome, reply.message


def _trigger_import(place: Workspace) -> Said:
    client = FileImportsClient(place)
    try:
        reply = client.trigger("an-import")
    finally:
        client.close()
    return reply.triggering, reply.message


def _of_campaigns(ask: Callable[[CampaignsClient], object]) -> Callable[[Workspace], Said]:
    def asked(place: Workspace) -> Said:
        client = CampaignsClient(place)
        try:
            ask(client)
        except ApiError as error:
            return error.kind, error.message.partition(" could not be reached: ")[2]
        finally:
            client.close()
        raise AssertionError("it was answered")

    return asked


def _raising(ask: Callable[[MoEngageClient, FileImportsClient], object]) -> Callable[[Workspace], Said]:
    def asked(place: Workspace) -> Said:
        client, file_imports = MoEngageClient(place), FileImportsClient(place)
        try:
            ask(client, file_imports)
        except ApiError as error:
            return error.kind, error.message.partition(" could not be reached: ")[2]
        finally:
            client.close()
            file_imports.close()
        raise AssertionError("it was answered")

    return asked


SERVER = ErrorKind.SERVER
DAY = date(2026, 1, 1)

ENDPOINTS = {
    "bulk import": Endpoint(
        _replied(lambda client: client.bulk_import(ELEMENTS)),
        Outcome.NOT_SENT,
        Outcome.UNEXPECTED,
        Outcome.UNKNOWN,
    ),
    "deletion": Endpoint(
        _replied(lambda client: client.delete_user(delete_body("jane@example.com"))),
        Outcome.NOT_SENT,
        Outcome.UNEXPECTED,
        Outcome.UNKNOWN,
    ),
    "erasure": Endpoint(
        _replied(lambda client: client.request_erasure(erasure_body("email", "jane@example.com", 0.0))),
        Outcome.NOT_SENT,
        Outcome.UNEXPECTED,
        Outcome.UNKNOWN,
    ),
    "cohort": Endpoint(
        _replied(lambda client: client.sync_cohort(MEMBERS)), Outcome.NOT_SENT, Outcome.UNEXPECTED, Outcome.UNKNOWN
    ),
    "business event": Endpoint(
        _business_event, TriggerOutcome.NOT_SENT, TriggerOutcome.NOT_SENT, TriggerOutcome.UNKNOWN
    ),
    "event list": Endpoint(
        _raising(lambda client, _: client.find_business_event("New movie")), SERVER, SERVER, SERVER, has_body=False
    ),
    "users": Endpoint(
        _raising(lambda client, _: client.export_users(export_body(["jane@example.com"], None))),
        SERVER,
        SERVER,
        SERVER,
    ),
    "connection test": Endpoint(_raising(lambda client, _: client.test_connection()), SERVER, SERVER, SERVER),
    "trigger of an import": Endpoint(
        _trigger_import, Triggering.NOT_SENT, Triggering.NOT_SENT, Triggering.UNKNOWN, has_body=False
    ),
    "run history": Endpoint(
        _raising(lambda _, client: client.file_runs({"import_id": "i"}, page=1)), SERVER, SERVER, SERVER
    ),
    "campaign statistics": Endpoint(
        _of_campaigns(lambda client: client.stats_page(DAY, DAY, {}, page=1)), SERVER, SERVER, SERVER
    ),
    "campaign search": Endpoint(
        _of_campaigns(lambda client: client.search_page({}, page=1)), SERVER, SERVER, SERVER
    ),
    "import details": Endpoint(_raising(lambda _, client: client.imports({}, page=1)), SERVER, SERVER, SERVER),
}
