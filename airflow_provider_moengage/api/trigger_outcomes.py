"""Whether a response to a trigger of a business event means that campaigns have started.

MoEngage API reference, "Trigger Business Event" and "Trigger Business Event (V5)". Only a response that says so is
a success; whatever names started campaigns or flows counts as started, also an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import msgspec


class TriggerOutcome(Enum):
    """The outcome of a trigger."""

    TRIGGERED = "triggered"
    PARTIAL = "partial"
    """v5: some campaigns or flows were started, others were skipped because of a quota."""
    OVER_QUOTA = "over quota"
    """Nothing was started because the quota is used up; safe to repeat."""
    NOTHING_ATTACHED = "nothing attached"
    """v5: nothing was started because no active campaign or flow uses the event."""
    REFUSED = "refused"
    DENIED = "denied"
    NOT_SENT = "not sent"
    """No connection was made, so nothing was started; safe to repeat."""
    UNKNOWN = "unknown"
    """The request may have been sent, and no response rules out that campaigns have started."""


_BY_STATUS = {
    301: TriggerOutcome.REFUSED,
    307: TriggerOutcome.REFUSED,
    308: TriggerOutcome.REFUSED,
    400: TriggerOutcome.REFUSED,
    401: TriggerOutcome.DENIED,
    403: TriggerOutcome.DENIED,
    404: TriggerOutcome.REFUSED,
    405: TriggerOutcome.REFUSED,
    409: TriggerOutcome.DENIED,
    413: TriggerOutcome.REFUSED,
    415: TriggerOutcome.REFUSED,
    422: TriggerOutcome.REFUSED,
    429: TriggerOutcome.OVER_QUOTA,
}
"""Status codes that mean that nothing was started. After any other, campaigns may have started."""

_SUCCESSES = frozenset({"success", "successful", "ok", "200", "200 ok", "true"})

_TRIGGERED = re.compile(r"\btriggered\b")
_DENIES = re.compile(
    r"\b(not|never|no|nothing|none|neither|nor|cannot|without|zero|0|unless|if|will|would|could|should|to be"
    r"|fail\w*|error\w*|unable|skip\w*|reject\w*|refus\w*|den(y|ied)|invalid|partial\w*|unsuccessful\w*|abort\w*"
    r"|cancel\w*|block\w*|exceed\w*|limit\w*|quota)\b|n['\u2019]t\b"
)


def trigger_outcome(status_code: int, body: bytes, version: str) -> TriggerOutcome:
    """Return the outcome of a trigger.

    :param body: the response's body.
    :param version: ``v1`` or ``v5``.
    """
    content = _object(body)
    if not 200 <= status_code < 300:
        outcome = _BY_STATUS.get(status_code, TriggerOutcome.UNKNOWN)
        return TriggerOutcome.UNKNOWN if names_started(body) else outcome
    if _says_failure(content):
        return TriggerOutcome.UNKNOWN
    if version == "v5":
        return _v5_outcome(content.get("data"))
    is_success = status_code == 200 and _says_triggered(content.get("message"))
    return TriggerOutcome.TRIGGERED if is_success else TriggerOutcome.UNKNOWN


def names_started(body: bytes) -> bool:
    """Return whether a response names campaigns or flows that were started, wherever it has them."""
    return any(
        (name in ("triggered_campaign_ids", "triggered_flow_ids") and bool(value))
        or (name == "triggered" and _may_be_some(value))
        or (name == "triggered_status" and _word(value) in ("success", "partial_success"))
        for name, value in _fields(_object(body))
    )


def _object(body: bytes) -> dict[str, Any]:
    """Return a body's JSON object. Only outcomes and truth values are derived from it here, never text."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _fields(content: Any) -> Iterator[tuple[str, Any]]:
    left = [content]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield from part.items()
            left += part.values()
        elif isinstance(part, list):
            left += part


def _says_failure(content: Mapping[str, Any]) -> bool:
    """Return whether a 200 is a failure for all that, in one of the ways in which MoEngage's endpoints say so."""
    data = content.get("data")
    parts = [content, data] if isinstance(data, dict) else [content]
    return any(
        any(part.get(name) not in (None, "", [], {}, False) for name in ("error", "errors", "error_type"))
        or any(
            part.get(name) is not None and _word(part[name]) not in _SUCCESSES
            for name in ("status", "success", "status_code")
        )
        or (_number(part.get("code")) or 0) >= 300
        for part in parts
    )


def _says_triggered(message: Any) -> bool:
    text = " ".join(message.casefold().split()) if isinstance(message, str) else ""
    return bool(_TRIGGERED.search(text)) and not _DENIES.search(text)


def _v5_outcome(result: Any) -> TriggerOutcome:
    """Read v5's 200. IDs and counts take precedence over the status, so that a start is never overlooked."""
    status = _word(result.get("triggered_status")) if isinstance(result, dict) else ""
    if status not in ("success", "partial_success", "failure"):
        return TriggerOutcome.UNKNOWN
    summary = result.get("summary")
    numbers = summary if isinstance(summary, dict) else {}
    started = _any(result, numbers, "triggered")
    skipped = _any(result, numbers, "failed")
    total = _number(numbers.get("total"))
    if (started and skipped) or status == "partial_success":
        return TriggerOutcome.PARTIAL
    if status == "success":
        if skipped:
            return TriggerOutcome.UNKNOWN
        return TriggerOutcome.TRIGGERED if started or total != 0 else TriggerOutcome.NOTHING_ATTACHED
    failed = _number(numbers.get("failed"))
    if started or (total is not None and failed and failed < total):  # those that are not counted may have started
        return TriggerOutcome.UNKNOWN
    return TriggerOutcome.OVER_QUOTA if skipped or total else TriggerOutcome.NOTHING_ATTACHED


def _any(result: Mapping[str, Any], numbers: Mapping[str, Any], kind: str) -> bool:
    ids = result.get(f"{kind}_campaign_ids") or result.get(f"{kind}_flow_ids")
    return bool(ids) or _may_be_some(numbers.get(kind))


def _may_be_some(count: Any) -> bool:
    """Return whether a count is, or may be, more than none: one that cannot be read may be anything."""
    return count not in (None, "", False) and _number(count) != 0


def _number(value: Any) -> float | None:
    """Return a count; MoEngage's other endpoints also send counts as text."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _word(value: Any) -> str:
    return str(value).strip().casefold()
