"""Whether a response to a trigger of a business event means that campaigns have started.

MoEngage API reference, "Trigger Business Event" and "Trigger Business Event (V5)". Only a response that says so is
a success; whatever names started campaigns or flows counts as started, also an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from airflow_provider_moengage.api.received.success import says_failure, says_triggered
from airflow_provider_moengage.api.received.values import Received


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

_STARTED_IDS = ("triggered_campaign_ids", "triggered_flow_ids")


def trigger_outcome(status_code: int, content: Received, version: str) -> TriggerOutcome:
    """Return the outcome of a trigger.

    :param content: the response's body.
    :param version: ``v1`` or ``v5``.
    """
    if not 200 <= status_code < 300:
        outcome = _BY_STATUS.get(status_code, TriggerOutcome.UNKNOWN)
        return TriggerOutcome.UNKNOWN if names_started(content) else outcome
    if says_failure(content):
        return TriggerOutcome.UNKNOWN
    if version == "v5":
        return _v5_outcome(content["data"])
    is_success = status_code == 200 and says_triggered(content["message"])
    return TriggerOutcome.TRIGGERED if is_success else TriggerOutcome.UNKNOWN


def names_started(content: Received) -> bool:
    """Return whether a response names campaigns or flows that were started, wherever it has them."""
    return any(
        (name.word(_STARTED_IDS) is not None and not value.is_nothing)
        or (name.equals("triggered") and _may_be_some(value))
        or (name.equals("triggered_status") and value.word(("success", "partial_success")) is not None)
        for name, value in _fields(content)
    )


def _fields(content: Received) -> Iterator[tuple[Received, Received]]:
    left = [content]
    while left:
        part = left.pop()
        fields = part.fields()
        yield from fields
        left += [value for _, value in fields]
        left += part.items()


def _v5_outcome(result: Received) -> TriggerOutcome:
    """Read v5's 200. IDs and counts take precedence over the status, so that a start is never overlooked."""
    status = result["triggered_status"].word(("success", "partial_success", "failure"))
    if status is None:
        return TriggerOutcome.UNKNOWN
    numbers = result["summary"]
    started = _any(result, numbers, "triggered")
    skipped = _any(result, numbers, "failed")
    total = numbers["total"].number()
    if (started and skipped) or status == "partial_success":
        return TriggerOutcome.PARTIAL
    if status == "success":
        if skipped or (total and not started and numbers["triggered"].is_present):
            return TriggerOutcome.UNKNOWN  # it contradicts itself
        return TriggerOutcome.TRIGGERED if started or total != 0 else TriggerOutcome.NOTHING_ATTACHED
    if started or (total is not None and _failed(result, numbers) < total):
        return TriggerOutcome.UNKNOWN  # those that are not accounted for may have started
    return TriggerOutcome.OVER_QUOTA if skipped or total else TriggerOutcome.NOTHING_ATTACHED


def _failed(result: Received, numbers: Received) -> float:
    """Return how many campaigns and flows failed: as counted, else as named."""
    if (counted := numbers["failed"].number()) is not None:
        return counted
    return sum(len(result[f"failed_{what}_ids"].items()) for what in ("campaign", "flow"))


def _any(result: Received, numbers: Received, kind: str) -> bool:
    has_ids = any(not result[f"{kind}_{what}_ids"].is_nothing for what in ("campaign", "flow"))
    return has_ids or _may_be_some(numbers[kind])


def _may_be_some(count: Received) -> bool:
    """Return whether a count is, or may be, more than none: one that cannot be read may be anything."""
    return count.is_present and count.number() != 0
