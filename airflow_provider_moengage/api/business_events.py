"""Business events: the request that triggers one, and whether a response means that campaigns have started.

MoEngage API reference, "Business Events" (v1: ``POST /v1.0/business_event/trigger``; v5:
``POST /v5/business-events/triggers``). Neither version distinguishes a repeated request from a second trigger, so
each response is read for one fact: may campaigns have started?
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from airflow_provider_moengage.api.responses import read_object, read_retry_after
from airflow_provider_moengage.api.trigger_outcomes import TriggerOutcome, names_started, trigger_outcome
from airflow_provider_moengage.arguments import non_empty, one_of

API_VERSIONS = ("v1", "v5")

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
    api_version: str = "v1"
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
    status_code: int, headers: Mapping[str, str], body: bytes, *, request: TriggerRequest, now: float
) -> TriggerReply:
    """Read the response to a trigger.

    :param request: the request; its values are removed from MoEngage's message.
    :param now: UTC epoch seconds.
    """
    content = read_object(body)
    data = content.get("data")
    result = data if isinstance(data, dict) else {}
    return TriggerReply(
        outcome=trigger_outcome(status_code, body, request.api_version),
        status_code=status_code,
        message=_without(_sentence(content), request),
        request_id=_request_id(content, headers),
        retry_after=read_retry_after(headers, now=now, longest=LONGEST_WINDOW),
        has_started=names_started(body),
        triggered_campaign_ids=_ids(result, "triggered_campaign_ids"),
        failed_campaign_ids=_ids(result, "failed_campaign_ids"),
        triggered_flow_ids=_ids(result, "triggered_flow_ids"),
        failed_flow_ids=_ids(result, "failed_flow_ids"),
    )


def _sentence(content: dict[str, Any]) -> str | None:
    """Return an error of any shape as one sentence: MoEngage's details are strings, lists or objects."""
    error = content.get("error")
    data = content.get("data")
    if isinstance(error, dict):
        parts = [error.get("message"), error.get("target"), error.get("details")]
    elif isinstance(data, dict):
        parts = [data.get("title"), data.get("description"), data.get("message")]
    else:
        parts = [content.get("title"), content.get("description"), content.get("message"), error]
    texts = list(dict.fromkeys(text for part in parts for text in _texts(part)))
    return "; ".join(texts) or None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        texts = [text for name in ("issue", "message") for text in _texts(value.get(name))]
        if not texts:
            others = [item for name, item in value.items() if name not in ("code", "target", "field")]
            texts = [text for item in others for text in _texts(item)]
        field_name = ", ".join(_texts(value.get("target", value.get("field"))))
        joined = ": ".join(dict.fromkeys(texts))
        if joined:
            yield f"{field_name}: {joined}" if field_name else joined
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif value is not None and str(value).strip():
        yield str(value).strip()


def _without(sentence: str | None, request: TriggerRequest) -> str | None:
    """Remove the values of the request from a message that may quote them, in any encoding that they may have
    there; the event's name may stay. Return one line.
    """
    if sentence is None:
        return None
    sent = {name: part for name, part in msgspec.json.decode(request.encode()).items() if name != "event_name"}
    forms = {form for value in _values(sent) for form in (value, json.dumps(value)[1:-1], quote(value, safe=""))}
    for form in sorted(forms, key=len, reverse=True):
        pattern = re.escape(form) if len(form) > 2 else rf"(?<!\w){re.escape(form)}(?!\w)"
        sentence = re.sub(pattern, "***", sentence, flags=re.IGNORECASE)
    return " ".join(sentence.split())[:1_000]


def _values(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        for item in part.values():
            yield from _values(item)
    elif isinstance(part, list):
        for item in part:
            yield from _values(item)
    elif not isinstance(part, bool) and part not in (None, ""):
        yield str(part)


def _request_id(content: dict[str, Any], headers: Mapping[str, str]) -> str | None:
    error = content.get("error")
    nested = error.get("request_id") if isinstance(error, dict) else None
    found = nested or content.get("response_id") or content.get("request_id") or headers.get("x-moe-request-id")
    return str(found) if found else None


def _ids(result: dict[str, Any], name: str) -> tuple[str, ...]:
    ids = result.get(name)
    return tuple(str(one) for one in ids) if isinstance(ids, list) else ()
