"""Business events between Airflow and the API: what is sent, and which error each answer becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.api.business_events import (
    API_VERSIONS,
    CAMPAIGN_KEY,
    LEAST_WAIT,
    SHORTEST_WINDOW,
    UNKNOWN_ADVICE,
    Firing,
    FiringReply,
    is_address,
)
from airflow_provider_moengage.arguments import is_unresolved, non_empty, one_of
from airflow_provider_moengage.exceptions import (
    MoEngageAuthError,
    MoEngageError,
    MoEngageOutcomeUnknownError,
    MoEngageRateLimitError,
    MoEngageRequestError,
    MoEngageServerError,
)

if TYPE_CHECKING:
    from airflow_provider_moengage.api.client import MoEngageClient

ATTEMPTS = 3
"""Times a connection is tried. Only where none was made: whatever may have left is never sent again."""


def trigger_body(
    event_name: str, event_attributes: Mapping[str, Any] | None, triggered_by: str | None, api_version: str
) -> dict[str, Any]:
    """Return the fields of a trigger, checked and encoded as elements are.

    :raises ValueError: naming the argument, or the attribute, that is wrong.
    """
    import msgspec

    check_trigger(event_name, event_attributes, triggered_by, api_version)
    body: dict[str, Any] = {"event_name": event_name, "event_attributes": plain_attributes(event_attributes)}
    if triggered_by is not None:
        body["triggered_by"] = triggered_by
    try:
        msgspec.json.encode(body)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        name = type(error).__name__
        raise ValueError(
            f"event_name, event_attributes: a value that cannot be written as JSON ({name})"
        ) from None
    return body


def plain_attributes(event_attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return attributes with values that are encoded as an element's are.

    :raises ValueError: naming the attribute that cannot be sent.
    """
    from airflow_provider_moengage.bulk.elements.encoding import NotEncodableError, to_plain

    attributes = {}
    for name, value in (event_attributes or {}).items():
        try:
            attributes[str(name)] = to_plain(value)
        except (NotEncodableError, RecursionError) as error:
            what = "an object that contains itself" if isinstance(error, RecursionError) else error
            raise ValueError(f"event_attributes[{name!r}]: {what} cannot be sent") from None
    return attributes


def check_trigger(event_name: object, event_attributes: object, triggered_by: object, api_version: object) -> None:
    """Check the arguments of a trigger.

    :raises ValueError: naming the one that is wrong.
    """
    one_of("api_version", api_version, API_VERSIONS)
    non_empty("event_name", event_name, "the name of a business event")
    if event_attributes is not None and not isinstance(event_attributes, Mapping):
        raise ValueError(
            f"event_attributes: expected a mapping of attribute to value, not {type(event_attributes).__name__}"
        )
    if triggered_by is None:
        if api_version == "v5":
            raise ValueError("triggered_by: v5 needs the email address of who triggers the event")
    elif not isinstance(triggered_by, str) or not is_address(triggered_by):
        raise ValueError("triggered_by: expected an email address")


def check_parsed_trigger(
    event_name: object, event_attributes: object, triggered_by: object, api_version: object
) -> None:
    """Check the arguments of a trigger as a Dag gives them; what a template fills in later is left for later.

    :raises ValueError: naming the one that is wrong.
    """

    def known(value: object, instead: object) -> object:
        return instead if is_unresolved(value) else value

    address = known(triggered_by, "somebody@example.com")
    check_trigger(known(event_name, "a name"), known(event_attributes, None), address, known(api_version, "v1"))


def trigger(client: MoEngageClient, body: dict[str, Any], api_version: str) -> dict[str, Any]:
    """Trigger a business event once.

    :return: what MoEngage said, JSON-ready.
    :raises MoEngageError: see :meth:`MoEngageHook.trigger_business_event`.
    """
    import uuid

    import tenacity

    if api_version == "v5":
        body = {**body, "moe_request_id": str(uuid.uuid4())}  # a trace, for MoEngage's support
    reply: FiringReply = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda reply: reply.firing is Firing.NOT_SENT),
        wait=tenacity.wait_random_exponential(multiplier=1, max=5),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )(client.trigger_business_event, body, version=api_version)
    if reply.firing in (Firing.FIRED, Firing.PARTIAL):
        return _answer(body, reply, api_version)
    raise _error(body, reply)


def _answer(body: Mapping[str, Any], reply: FiringReply, api_version: str) -> dict[str, Any]:
    return {
        "event_name": body["event_name"],
        "api_version": api_version,
        "status": "SUCCESS" if reply.firing is Firing.FIRED else "PARTIAL_SUCCESS",
        "message": reply.message,
        "request_id": reply.request_id,
        "triggered_campaign_ids": list(reply.triggered_campaign_ids),
        "failed_campaign_ids": list(reply.failed_campaign_ids),
        "triggered_flow_ids": list(reply.triggered_flow_ids),
        "failed_flow_ids": list(reply.failed_flow_ids),
        "dry_run": False,
    }


def _error(body: Mapping[str, Any], reply: FiringReply) -> MoEngageError:
    kind, advice = _ERRORS[reply.firing]
    sentences = [advice]
    if reply.firing is Firing.REFUSED and reply.status_code not in (400, 422):
        sentences = ["Nothing has started; that is no answer of MoEngage's API: check host and data center"]
    if reply.firing is Firing.OVER_QUOTA and reply.skipped:
        sentences.append(f"Skipped: {reply.skipped}")
    request_id = reply.request_id or body.get("moe_request_id")
    if request_id:
        sentences.append(f"Request id {request_id}")
    what = reply.message if reply.status_code is None else f"MoEngage answered {reply.status_code}"
    if reply.message and reply.status_code is not None and reply.status_code >= 300:
        what = f"{what} ({reply.message})"  # the message of a 200 is that of a success, whatever it is
    retry_after = reply.retry_after
    if reply.firing is Firing.OVER_QUOTA:
        retry_after = SHORTEST_WINDOW if retry_after is None else max(retry_after, LEAST_WAIT)
    return kind(
        f"Business event {body['event_name']!r}: {what}. {'. '.join(sentences)}.",
        status_code=reply.status_code,
        request_id=request_id,
        retry_after=retry_after,
    )


_ERRORS: dict[Firing, tuple[type[MoEngageError], str]] = {
    Firing.UNKNOWN: (MoEngageOutcomeUnknownError, UNKNOWN_ADVICE),
    Firing.OVER_QUOTA: (MoEngageRateLimitError, "The quota of triggers is used up; nothing has started"),
    Firing.NOTHING_ATTACHED: (
        MoEngageRequestError,
        "Nothing has started, for no active campaign or flow uses this event",
    ),
    Firing.REFUSED: (
        MoEngageRequestError,
        "Nothing has started; check the event's name and attributes in MoEngage",
    ),
    Firing.DENIED: (MoEngageAuthError, f"Nothing has started; {CAMPAIGN_KEY}"),
    Firing.NOT_SENT: (MoEngageServerError, "No connection was made, so nothing has started"),
}
