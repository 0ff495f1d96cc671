"""Business events between Airflow and the API: the checked request, and the error that each outcome becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage import metrics
from airflow_provider_moengage.api.business_events import (
    CAMPAIGN_KEY,
    LEAST_WAIT,
    SHORTEST_WINDOW,
    UNKNOWN_ADVICE,
    ApiVersion,
    TriggerReply,
    TriggerRequest,
)
from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.api.trigger_outcomes import TriggerOutcome
from airflow_provider_moengage.arguments import is_unresolved
from airflow_provider_moengage.bulk.elements.encoding import NotEncodableError, to_plain
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageOutcomeUnknownError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)
from airflow_provider_moengage.hooks.errors import translated

if TYPE_CHECKING:
    from airflow_provider_moengage.api.client import MoEngageClient

ATTEMPTS = 3
"""Attempts to connect. Only a request that surely was not sent is repeated."""


def trigger_request(
    event_name: str,
    event_attributes: Mapping[str, Any] | None = None,
    triggered_by: str | None = None,
    api_version: ApiVersion = "v1",
) -> TriggerRequest:
    """Return the request to trigger an event; its attributes are encoded like those of elements.

    :raises ValueError: if an argument or an attribute is invalid; the message names it.
    """
    attributes = {} if event_attributes is None else event_attributes
    if isinstance(attributes, Mapping):
        attributes = {str(name): _plain(name, value) for name, value in attributes.items()}
    return TriggerRequest(event_name, attributes, triggered_by, api_version)


def _plain(name: str, value: object) -> Any:
    try:
        return to_plain(value)
    except NotEncodableError as error:
        raise ValueError(f"event_attributes[{name!r}]: {error} cannot be sent") from None
    except RecursionError:
        raise ValueError(f"event_attributes[{name!r}]: an object that contains itself cannot be sent") from None


def check_parsed_trigger(event_name: Any, event_attributes: Any, triggered_by: Any, api_version: Any) -> None:
    """Check the arguments of a trigger when the Dag is parsed, except those that are unresolved templates.

    :raises ValueError: if an argument is invalid; the message names it.
    """

    def resolved(value: Any, placeholder: Any) -> Any:
        return placeholder if is_unresolved(value) else value

    are_checked_later = event_attributes is None or isinstance(event_attributes, Mapping)
    TriggerRequest(
        resolved(event_name, "a name"),
        {} if are_checked_later else resolved(event_attributes, {}),
        resolved(triggered_by, "somebody@example.com"),
        resolved(api_version, "v1"),
    )


def trigger(
    client: MoEngageClient,
    conn_id: str,
    request: TriggerRequest,
    before_sending: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Trigger a business event once, and count the outcome.

    :param before_sending: called before each attempt; an exception of it means that nothing is sent.
    :return: MoEngage's response, JSON-ready.
    :raises MoEngageError: see :meth:`MoEngageHook.trigger_business_event`.
    """
    count = metrics.Metrics(conn_id).count
    try:
        answer = _trigger(client, request, before_sending)
    except MoEngageRateLimitError:
        count(metrics.OVER_QUOTA)
        raise
    except BaseException as error:
        if isinstance(error, MoEngageOutcomeUnknownError) or not isinstance(error, MoEngageError):
            count(metrics.UNKNOWN)  # after any other MoEngageError, nothing was started
        raise
    count(metrics.TRIGGERED_EVENTS)
    if answer["status"] == "PARTIAL_SUCCESS":
        count(metrics.PARTIAL)
    return answer


class CampaignsStartedError(MoEngageOutcomeUnknownError):
    """MoEngage answered with a failure that names campaigns or flows as started: never to be repeated."""


def check(client: MoEngageClient, conn_id: str, request: TriggerRequest) -> None:
    """Check that MoEngage has the event, with these attributes and, for v5, types.

    The list is v5's. v1 has types of its own (string, int, float, array, date), so for v1 only the names count.

    :raises MoEngageError: see :meth:`MoEngageHook.check_business_event`.
    """
    event = f"Business event {request.event_name!r}"
    try:
        schema = client.find_business_event(request.event_name)
    except ApiError as error:
        so_far = "the business event could not be checked, and nothing was triggered"
        raise translated(error, conn_id, so_far) from None
    if schema is None:
        raise MoEngageRequestError(f"{event}: MoEngage has no business event with this name")
    if misfits := schema.misfits(request.event_attributes, are_types_checked=request.api_version == "v5"):
        raise MoEngageRequestError(f"{event}: {'; '.join(misfits)}. Nothing was triggered")


def _trigger(
    client: MoEngageClient, request: TriggerRequest, before_sending: Callable[[], None]
) -> dict[str, Any]:
    import tenacity

    def attempt() -> TriggerReply:
        before_sending()
        return client.trigger_business_event(request)

    reply: TriggerReply = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda reply: reply.outcome is TriggerOutcome.NOT_SENT),
        wait=tenacity.wait_random_exponential(multiplier=1, max=5),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )(attempt)
    if reply.outcome in (TriggerOutcome.TRIGGERED, TriggerOutcome.PARTIAL):
        return _answer(request, reply)
    raise _error(request, reply)


def _answer(request: TriggerRequest, reply: TriggerReply) -> dict[str, Any]:
    return {
        "event_name": request.event_name,
        "api_version": request.api_version,
        "status": "SUCCESS" if reply.outcome is TriggerOutcome.TRIGGERED else "PARTIAL_SUCCESS",
        "message": reply.message,
        "request_id": reply.request_id,
        "triggered_campaign_ids": list(reply.triggered_campaign_ids),
        "failed_campaign_ids": list(reply.failed_campaign_ids),
        "triggered_flow_ids": list(reply.triggered_flow_ids),
        "failed_flow_ids": list(reply.failed_flow_ids),
        "dry_run": False,
    }


def _error(request: TriggerRequest, reply: TriggerReply) -> MoEngageError:
    kind, advice = _ERRORS[reply.outcome]
    sentences = [advice]
    if reply.outcome is TriggerOutcome.REFUSED and reply.status_code not in (400, 422):
        sentences = [
            "Nothing was started; this response did not come from MoEngage's API: check host and data center"
        ]
    if reply.outcome is TriggerOutcome.OVER_QUOTA and reply.skipped:
        sentences.append(f"Skipped: {reply.skipped}")
    request_id = reply.request_id or request.traced_id
    if request_id:
        sentences.append(f"Request id {request_id}")
    cause = reply.message if reply.status_code is None else f"MoEngage answered {reply.status_code}"
    is_v5_page = reply.status_code == 200 and request.api_version == "v5"  # its message reads like a success
    if reply.message and reply.status_code is not None and not is_v5_page:
        cause = f"{cause} ({reply.message})"
    retry_after = reply.retry_after
    if reply.outcome is TriggerOutcome.OVER_QUOTA:
        retry_after = SHORTEST_WINDOW if retry_after is None else max(retry_after, LEAST_WAIT)
    if reply.outcome is TriggerOutcome.UNKNOWN and reply.has_started:
        kind = CampaignsStartedError
        sentences.insert(0, "The response names campaigns or flows that have started")
    return kind(
        f"Business event {request.event_name!r}: {cause}. {'. '.join(sentences)}.",
        status_code=reply.status_code,
        request_id=request_id,
        retry_after=retry_after,
    )


_ERRORS: dict[TriggerOutcome, tuple[type[MoEngageError], str]] = {
    TriggerOutcome.UNKNOWN: (MoEngageOutcomeUnknownError, UNKNOWN_ADVICE),
    TriggerOutcome.OVER_QUOTA: (MoEngageRateLimitError, "The trigger quota is used up; nothing was started"),
    TriggerOutcome.NOTHING_ATTACHED: (
        MoEngageRequestError,
        "Nothing was started because no active campaign or flow uses this event",
    ),
    TriggerOutcome.REFUSED: (
        MoEngageRequestError,
        "Nothing was started; check the event's name and attributes in MoEngage",
    ),
    TriggerOutcome.DENIED: (MoEngageAuthError, f"Nothing was started; {CAMPAIGN_KEY}"),
    TriggerOutcome.NOT_SENT: (MoEngageServerError, "No connection was made, so nothing was started"),
}
