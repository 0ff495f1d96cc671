"""Business events: what is sent to trigger one, and what an answer says about whether campaigns have started.

MoEngage API reference, "Business Events" (v1: ``POST /v1.0/business_event/trigger``; v5:
``POST /v5/business-events/triggers``). Neither version tells a repeat from a second trigger, so everything here
turns on one question: may the campaigns have started?
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote

import msgspec

from airflow_provider_moengage.api.responses import read_object, read_retry_after

API_VERSIONS = ("v1", "v5")

PATHS = {"v1": "/v1.0/business_event/trigger", "v5": "/v5/business-events/triggers"}
LIST_PATH = "/v5/business-events"

SHORTEST_WINDOW = 300.0
LONGEST_WINDOW = 86_400.0
"""Seconds: v5's 10 triggers in 5 minutes, and the 200 a day of both versions. They slide, so where MoEngage does
not say when one opens, any five minutes may open it."""

LEAST_WAIT = 30.0
"""Seconds until it makes sense to ask again, whatever the server says."""

CAMPAIGN_KEY = (
    "business events need the key of the tile Campaign report / Business events (field campaign_api_key of the"
    " connection)"
)
"""What a person is to know about a key that is not accepted."""

UNKNOWN_ADVICE = (
    "Campaigns may have started, so it is not sent again. Look in MoEngage (the event's page shows when it was"
    " last triggered): if it has not been, clear this task, which triggers it anew"
)
"""What a person is to do about an outcome that nobody knows."""

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class Firing(Enum):
    """What became of a trigger."""

    FIRED = "fired"
    PARTIAL = "partial"
    """v5: some campaigns or flows have started, others were skipped by quota."""
    OVER_QUOTA = "over quota"
    """Nothing has started, because the quota is used up; safe to repeat."""
    NOTHING_ATTACHED = "nothing attached"
    """v5: nothing has started, because no active campaign or flow uses the event."""
    REFUSED = "refused"
    DENIED = "denied"
    NOT_SENT = "not sent"
    """No connection was made, so nothing can have started; safe to repeat."""
    UNKNOWN = "unknown"
    """The request may have left, and no answer says that nothing has started."""


@dataclass(frozen=True, slots=True)
class FiringReply:
    """An answer, read. ``message`` is MoEngage's, with everything that was sent taken out of it."""

    firing: Firing
    status_code: int | None = None
    message: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    """Seconds, where the server said so."""
    triggered_campaign_ids: tuple[str, ...] = ()
    failed_campaign_ids: tuple[str, ...] = ()
    triggered_flow_ids: tuple[str, ...] = ()
    failed_flow_ids: tuple[str, ...] = ()

    @property
    def skipped(self) -> str:
        """What a quota has skipped, as text; empty for nothing."""
        parts = [("campaigns", self.failed_campaign_ids), ("flows", self.failed_flow_ids)]
        return "; ".join(f"{kind} {', '.join(ids)}" for kind, ids in parts if ids)


def is_address(text: str) -> bool:
    """Say whether MoEngage would take a text as ``triggered_by``: an email address."""
    return _ADDRESS.fullmatch(text) is not None


def read_firing(
    status_code: int, headers: Mapping[str, str], body: bytes, *, version: str, sent: Mapping[str, Any], now: float
) -> FiringReply:
    """Read the answer to a trigger.

    :param version: ``v1`` or ``v5``.
    :param sent: what was sent; its values are taken out of MoEngage's message.
    :param now: UTC epoch seconds.
    """
    content = read_object(body)
    data = content.get("data")
    result = data if isinstance(data, dict) else {}
    return FiringReply(
        firing=_firing(status_code, content, result, version),
        status_code=status_code,
        message=_without(_sentence(content), sent),
        request_id=_request_id(content, headers),
        retry_after=read_retry_after(headers, now=now, longest=LONGEST_WINDOW),
        triggered_campaign_ids=_ids(result, "triggered_campaign_ids"),
        failed_campaign_ids=_ids(result, "failed_campaign_ids"),
        triggered_flow_ids=_ids(result, "triggered_flow_ids"),
        failed_flow_ids=_ids(result, "failed_flow_ids"),
    )


_BY_STATUS = {
    301: Firing.REFUSED,
    307: Firing.REFUSED,
    308: Firing.REFUSED,
    400: Firing.REFUSED,
    401: Firing.DENIED,
    403: Firing.DENIED,
    404: Firing.REFUSED,
    405: Firing.REFUSED,
    409: Firing.DENIED,
    413: Firing.REFUSED,
    415: Firing.REFUSED,
    422: Firing.REFUSED,
    429: Firing.OVER_QUOTA,
}
"""Answers that say that nothing has started. Whatever is not here may follow a start."""


def _firing(status_code: int, content: dict[str, Any], result: dict[str, Any], version: str) -> Firing:
    if not 200 <= status_code < 300:
        return _BY_STATUS.get(status_code, Firing.UNKNOWN)
    if version == "v5":
        return _v5_firing(result)
    said = str(content.get("message") or "").casefold()
    is_error = content.get("error") is not None or str(content.get("status") or "success").casefold() != "success"
    return Firing.FIRED if status_code == 200 and "trigger" in said and not is_error else Firing.UNKNOWN


def _v5_firing(result: dict[str, Any]) -> Firing:
    """What v5's 200 says. Ids and numbers go before the word: what has started is never taken for nothing."""
    status = str(result.get("triggered_status") or "").upper()
    if status not in ("SUCCESS", "PARTIAL_SUCCESS", "FAILURE"):
        return Firing.UNKNOWN
    summary = result.get("summary")
    numbers = summary if isinstance(summary, dict) else {}
    started = _any(result, numbers, "triggered")
    skipped = _any(result, numbers, "failed")
    if (started and skipped) or status == "PARTIAL_SUCCESS":
        return Firing.PARTIAL
    if status == "SUCCESS":
        if skipped:
            return Firing.UNKNOWN
        return Firing.FIRED if started or _number(numbers.get("total")) != 0 else Firing.NOTHING_ATTACHED
    if started:
        return Firing.UNKNOWN
    return Firing.OVER_QUOTA if skipped or _number(numbers.get("total")) else Firing.NOTHING_ATTACHED


def _any(result: dict[str, Any], numbers: dict[str, Any], what: str) -> bool:
    return bool(
        _ids(result, f"{what}_campaign_ids") or _ids(result, f"{what}_flow_ids") or _number(numbers.get(what))
    )


def _number(value: Any) -> int | None:
    """A count, which MoEngage's other endpoints also give as text."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _sentence(content: dict[str, Any]) -> str | None:
    """One sentence of whatever shape an error has: MoEngage's details are texts, lists or objects."""
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
        said = [text for name in ("issue", "message") for text in _texts(value.get(name))]
        if not said:
            others = [item for name, item in value.items() if name not in ("code", "target", "field")]
            said = [text for item in others for text in _texts(item)]
        where = ", ".join(_texts(value.get("target", value.get("field"))))
        joined = ": ".join(dict.fromkeys(said))
        if joined:
            yield f"{where}: {joined}" if where else joined
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif value is not None and str(value).strip():
        yield str(value).strip()


def _without(sentence: str | None, sent: Mapping[str, Any]) -> str | None:
    """Take the values that were sent out of a message that may quote them, in any of the forms they take on the
    way; the event's name may stay. What is left is one line.
    """
    if sentence is None:
        return None
    wire = msgspec.json.decode(
        msgspec.json.encode({name: part for name, part in sent.items() if name != "event_name"})
    )
    forms = {form for value in _values(wire) for form in (value, json.dumps(value)[1:-1], quote(value, safe=""))}
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
    inside = error.get("request_id") if isinstance(error, dict) else None
    found = inside or content.get("response_id") or content.get("request_id") or headers.get("x-moe-request-id")
    return str(found) if found else None


def _ids(result: dict[str, Any], name: str) -> tuple[str, ...]:
    ids = result.get(name)
    return tuple(str(one) for one in ids) if isinstance(ids, list) else ()
