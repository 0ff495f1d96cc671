"""What the emulator's page draws of a workspace's requests, counted as they come.

Each request costs a few additions, whatever it holds, and what is kept does not grow with their number.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from airflow_provider_moengage.emulator.file_imports.answers import DETAILS, HISTORY, TRIGGER

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.bulk_import.elements import Intake
    from airflow_provider_moengage.emulator.http import Answer

Outcome = Literal["well", "throttled", "refused", "faulted"]
"""How a request ended: each ended in one way, and what a fault hit is ``faulted`` whatever else it was."""

OUTCOMES: tuple[Outcome, ...] = ("well", "throttled", "refused", "faulted")

MAX_FAILURES = 100
"""Failures told apart; later ones are counted together under `OTHER`."""

OTHER = "(others)"

FILL_STEPS = 10
FULL_BODY = 100_000
"""Bytes of a full body where the workspace has lifted its limit."""

_LONGEST_REASON = 200
_SECONDS, _MINUTES = 120, 120

_ENDPOINTS = (
    ("/v1/transition", "Bulk import"),
    ("/v1/integrations/authentication", "Connection test"),
    ("/v1.0/business_event/trigger", "Business event, v1"),
    ("/v5/business-events/triggers", "Business event, v5"),
    ("/v5/business-events/search", "Search of business events"),
    ("/v5/business-events", "List of business events"),
    (TRIGGER, "File import trigger"),
    (HISTORY, "File run history"),
    (DETAILS, "File import details"),
)
BULK_IMPORT = _ENDPOINTS[0][1]

_FAULTS = {
    "status": "answered with an error, nothing taken",
    "status_after": "taken, then answered with an error",
    "cut_before": "connection cut, nothing taken",
    "cut_after": "taken, then connection cut",
    "slow": "kept waiting",
    "html": "answered with a login page, nothing taken",
    "refuse": "body refused for a customer in it",
}


@dataclass(slots=True)
class Slot:
    """The requests of one second or minute, by outcome, and the elements that they brought."""

    begins_at: int
    requests: list[int] = field(default_factory=lambda: [0] * len(OUTCOMES))
    elements: int = 0


class Timeline:
    """The last slots of time in which requests came.

    :param seconds: length of a slot.
    :param keep: slots that are looked back on, the one at hand among them.
    """

    def __init__(self, seconds: int, keep: int) -> None:
        self.seconds = seconds
        self.keep = keep
        self._slots: deque[Slot] = deque(maxlen=keep)

    def add(self, outcome: int, elements: int, now: float) -> None:
        """Count a request; one that comes before the last slot, by a clock that was put back, is in that."""
        begins_at = int(now) // self.seconds * self.seconds
        if not self._slots or self._slots[-1].begins_at < begins_at:
            self._slots.append(Slot(begins_at))
        slot = self._slots[-1]
        slot.requests[outcome] += 1
        slot.elements += elements

    def slots(self, now: float) -> list[Slot]:
        """Return the slots that had requests, oldest first, without those that are too old."""
        oldest = (int(now) // self.seconds - self.keep + 1) * self.seconds
        return [slot for slot in self._slots if slot.begins_at >= oldest]


@dataclass(frozen=True, slots=True)
class Failure:
    """A way in which requests failed.

    :param status: that was answered; ``None``: the connection was cut.
    """

    endpoint: str
    outcome: Outcome
    status: int | None
    reason: str


@dataclass(slots=True)
class Times:
    """How often something happened, and when (epoch seconds) it did last."""

    count: int
    last_at: float


class Watch:
    """The requests of a workspace since it began or was reset, as its page shows them."""

    def __init__(self) -> None:
        self.by_second = Timeline(1, _SECONDS)
        self.by_minute = Timeline(60, _MINUTES)
        self.outcomes = [0] * len(OUTCOMES)
        self.failures: dict[Failure, Times] = {}
        self.fill = [0] * FILL_STEPS
        self.filled = 0.0

    def add(
        self,
        path: str,
        outcome: Outcome,
        fault: str | None,
        answer: Answer | None,
        accepted: tuple[Intake, int] | None,
        body_limit: int | None,
        now: float,
    ) -> None:
        """Count a request.

        :param fault: the kind of the fault that hit it.
        :param accepted: what it brought, and the bytes of its body.
        """
        index = OUTCOMES.index(outcome)
        self.outcomes[index] += 1
        elements = accepted[0].elements if accepted else 0
        self.by_second.add(index, elements, now)
        self.by_minute.add(index, elements, now)
        if accepted is not None:
            fill = min(accepted[1] / (body_limit or FULL_BODY), 1.0)
            self.filled += fill
            self.fill[min(int(fill * FILL_STEPS), FILL_STEPS - 1)] += 1
        if outcome != "well":
            status = answer.status if answer else None
            why = _FAULTS.get(fault, fault) if fault else reason(answer)
            self._fail(Failure(endpoint_name(path), outcome, status, why), now)

    def _fail(self, failure: Failure, now: float) -> None:
        if failure not in self.failures and len(self.failures) >= MAX_FAILURES:
            failure = Failure(OTHER, failure.outcome, None, OTHER)
        times = self.failures.get(failure)
        if times is None:
            self.failures[failure] = Times(1, now)
        else:
            times.count += 1
            times.last_at = now


def endpoint_name(path: str) -> str:
    """Return what people call the endpoint at ``path``."""
    return next((name for beginning, name in _ENDPOINTS if path.startswith(beginning)), OTHER)


def reason(answer: Answer | None) -> str:
    """Return what a failure says of its reason, in any of the forms of MoEngage's endpoints."""
    if answer is None:
        return ""
    try:
        body = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    if type(body) is not dict:
        return ""
    parts = [part for part in (body, body.get("error"), body.get("data")) if type(part) is dict]
    if any(part.get("triggered_status") == "FAILURE" for part in parts):
        return "the quota is spent: nothing was started"
    message = _first(parts, "message", "description", "error_description", "data")
    kind = _first(parts, "type", "error_type", "title")
    field_name = _first(parts, "attribute", "target")
    said = message if not kind or kind == message else f"{kind}: {message}" if message else kind
    return (f"{said} ({field_name})" if field_name else said)[:_LONGEST_REASON]


def _first(parts: list[dict[str, Any]], *names: str) -> str:
    return next((part[name] for part in parts for name in names if type(part.get(name)) is str), "")
