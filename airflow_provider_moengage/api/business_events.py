"""Business events: the request that triggers one, and whether a response means that campaigns have started.

MoEngage API reference, "Business Events" (v1: ``POST /v1.0/business_event/trigger``; v5:
``POST /v5/business-events/triggers``). Neither version distinguishes a repeated request from a second trigger, so
each response is read for one fact: may campaigns have started?
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import msgspec

from airflow_provider_moengage.api.received.scrub import MARK, Scrub
from airflow_provider_moengage.api.received.values import Received, sentence
from airflow_provider_moengage.api.responses import meant_status, read_retry_after
from airflow_provider_moengage.api.trigger_outcomes import TriggerOutcome, names_started, trigger_outcome
from airflow_provider_moengage.arguments import non_empty, one_of

ApiVersion = Literal["v1", "v5"]
API_VERSIONS: tuple[ApiVersion, ...] = get_args(ApiVersion)

PATHS = {"v1": "/v1.0/business_event/trigger", "v5": "/v5/business-events/triggers"}
LIST_PATH = "/v5/business-events"

SHORTEST_WINDOW = 300.0
LONGEST_WINDOW = 86_400.0
"""Seconds: v5 allows 10 triggers in 5 minutes, both versions 200 a day. These windows slide, so if MoEngage does
not report when one opens, a trigger may be allowed after five minutes."""

LEAST_WAIT = 30.0
"""Seconds to wait at least before the next attempt, even if the server asks for less."""

CAMPAIGN_KEY = (
    "business events need the key of the tile Campaign report / Business events (field campaign_api_key of the"
    " connection)"
)
"""Hint shown when the key is rejected."""

UNKNOWN_ADVICE = (
    "Campaigns may have started, so the event is not triggered again. Check in MoEngage when it was last triggered"
    " (on the event's page); if it was not, clear this task to trigger it again"
)
"""Advice for an unknown outcome."""

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True, slots=True)
class TriggerRequest:
    """A request to trigger a business event, checked when it is created.

    :param event_name: the event's name in MoEngage.
    :param event_attributes: attribute to value; values that JSON can represent.
    :param triggered_by: email address of the person who triggers the event; ``v5`` requires one.
    :param api_version: ``v1`` or ``v5``.
    :param request_id: sent with ``v5``, so that MoEngage's support can find the request.
    :raises ValueError: if an argument is invalid; the message names it.
    """

    event_name: str
    event_attributes: Mapping[str, Any] = field(default_factory=dict)
    triggered_by: str | None = None
    api_version: ApiVersion = "v1"
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        """Check every argument, also that the body can be encoded."""
        one_of("api_version", self.api_version, API_VERSIONS)
        non_empty("event_name", self.event_name, "the name of a business event")
        if not isinstance(self.event_attributes, Mapping):
            kind = type(self.event_attributes).__name__
            raise ValueError(f"event_attributes: expected a mapping of attribute to value, not {kind}")
        if self.triggered_by is None:
            if self.api_version == "v5":
                raise ValueError("triggered_by: v5 requires the email address of the person triggering the event")
        elif not isinstance(self.triggered_by, str) or not _ADDRESS.fullmatch(self.triggered_by):
            raise ValueError("triggered_by: expected an email address")
        try:
            self.encode()
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            name = type(error).__name__
            raise ValueError(f"event_name, event_attributes: a value cannot be written as JSON ({name})") from None

    @property
    def path(self) -> str:
        """Path of the endpoint."""
        return PATHS[self.api_version]

    @property
    def traced_id(self) -> str | None:
        """The request id if the version sends one."""
        return self.request_id if self.api_version == "v5" else None

    def body(self) -> dict[str, Any]:
        """Return the fields of the request."""
        optional = {"triggered_by": self.triggered_by, "moe_request_id": self.traced_id}
        return {
            "event_name": self.event_name,
            "event_attributes": self.event_attributes,
            **{name: value for name, value in optional.items() if value is not None},
        }

    def encode(self) -> bytes:
        """Return the body as JSON."""
        return msgspec.json.encode(self.body())

    def private_values(self) -> Any:
        """Return what no message may quote, as JSON: all but the event's name."""
        sent = msgspec.json.decode(self.encode())
        return [sent["event_attributes"], sent.get("triggered_by")]


@dataclass(frozen=True, slots=True)
class TriggerReply:
    """A parsed response. ``message`` is MoEngage's, with every value of the request removed."""

    outcome: TriggerOutcome
    status_code: int | None = None
    message: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    """Seconds, if the server reported them."""
    has_started: bool = False
    """Whether the response names campaigns or flows that were started."""
    triggered_campaign_ids: tuple[str, ...] = ()
    failed_campaign_ids: tuple[str, ...] = ()
    triggered_flow_ids: tuple[str, ...] = ()
    failed_flow_ids: tuple[str, ...] = ()

    @property
    def skipped(self) -> str:
        """Campaigns and flows that were skipped because of a quota, as text; empty if there are none."""
        parts = [("campaigns", self.failed_campaign_ids), ("flows", self.failed_flow_ids)]
        return "; ".join(f"{kind} {', '.join(ids)}" for kind, ids in parts if ids)


def read_trigger_reply(
    status_code: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    request: TriggerRequest,
    scrub: Scrub,
    now: float,
) -> TriggerReply:
    """Read the response to a trigger.

    :param request: the request; its values are removed from MoEngage's message.
    :param scrub: the workspace's.
    :param now: UTC epoch seconds.
    """
    scrub = scrub.with_values(request.private_values)
    content = Received.body(body, scrub)
    result = content["data"]
    # A 200 may say two things at once; only a success that is clear counts as one, and the rest is unknown.
    meant = meant_status(status_code, _type_and_message(content)) if status_code >= 300 else status_code
    return TriggerReply(
        outcome=trigger_outcome(meant, content, request.api_version),
        status_code=status_code,
        message=_sentence(content),
        request_id=_request_id(content, Received.header(headers, "x-moe-request-id", scrub)),
        retry_after=read_retry_after(headers, now=now, longest=LONGEST_WINDOW),
        has_started=names_started(content),
        triggered_campaign_ids=_ids(result, "triggered_campaign_ids"),
        failed_campaign_ids=_ids(result, "failed_campaign_ids"),
        triggered_flow_ids=_ids(result, "triggered_flow_ids"),
        failed_flow_ids=_ids(result, "failed_flow_ids"),
    )


def _sentence(content: Received) -> str | None:
    error, data = content["error"], content["data"]
    if error.is_object:
        return sentence(error[name] for name in ("message", "target", "details"))
    if data.is_object:
        return sentence(data[name] for name in ("title", "description", "message"))
    return sentence(content[name] for name in ("title", "description", "message", "error"))


def _type_and_message(content: Received) -> list[Received]:
    error, data = content["error"], content["data"]
    if error.is_object:
        return [error["type"], error["code"], error["message"]]
    return [data["title"] if data.is_object else content["title"], error]


def _request_id(content: Received, header: Received) -> str | None:
    ids = (content["error"]["request_id"], content["response_id"], content["request_id"], header)
    return next((found for each in ids if (found := each.request_id()) is not None), None)


def _ids(result: Received, name: str) -> tuple[str, ...]:
    return tuple(one.name() or MARK for one in result[name].items())
