"""Statistics of requests for the emulator's page.

Each request costs a few additions, and memory does not grow with the number of requests.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.family import Result
    from airflow_provider_moengage.emulator.http import Answer
    from airflow_provider_moengage.emulator.request_log import RequestRecord

RequestOutcome = Literal["well", "throttled", "refused", "faulted"]
"""The outcome of a request; a request that a fault hit is always ``faulted``."""

OUTCOMES: tuple[RequestOutcome, ...] = ("well", "throttled", "refused", "faulted")

MAX_FAILURES = 100
"""Failures that are counted separately; further ones are counted together under `OTHER`."""

OTHER = "(others)"

_LONGEST_REASON = 200
_SECONDS, _MINUTES = 120, 120

_FAULTS = {
    "status": "answered with an error, not accepted",
    "status_after": "accepted, then answered with an error",
    "cut_before": "connection cut, not accepted",
    "cut_after": "accepted, then connection cut",
    "slow": "delayed",
    "html": "answered with a login page, not accepted",
    "refuse": "body refused because of a customer",
}


@dataclass(slots=True)
class Slot:
    """The requests of one second or minute by outcome, their accepted elements, and how many only read."""

    begins_at: int
    requests: list[int] = field(default_factory=lambda: [0] * len(OUTCOMES))
    elements: int = 0
    polls: int = 0


class Timeline:
    """The recent time slots that had requests.

    :param seconds: length of a slot.
    :param keep: number of slots to keep, including the current one.
    """

    def __init__(self, seconds: int, keep: int) -> None:
        self.seconds = seconds
        self.keep = keep
        self._slots: deque[Slot] = deque(maxlen=keep)

    def add(self, outcome: int, elements: int, now: float, *, is_poll: bool = False) -> None:
        """Count a request; if the clock was set back, it counts in the last slot."""
        begins_at = int(now) // self.seconds * self.seconds
        if not self._slots or self._slots[-1].begins_at < begins_at:
            self._slots.append(Slot(begins_at))
        slot = self._slots[-1]
        slot.requests[outcome] += 1
        slot.elements += elements
        slot.polls += is_poll

    def slots(self, now: float) -> list[Slot]:
        """Return the slots that had requests, oldest first, except those that are too old."""
        oldest = (int(now) // self.seconds - self.keep + 1) * self.seconds
        return [slot for slot in self._slots if slot.begins_at >= oldest]


@dataclass(frozen=True, slots=True)
class Failure:
    """A kind of failed requests.

    :param status: HTTP status of the answer; ``None``: the connection was cut.
    """

    endpoint: str
    outcome: RequestOutcome
    status: int | None
    reason: str


@dataclass(slots=True)
class Occurrences:
    """How often a failure occurred, and when (epoch seconds) last."""

    count: int
    last_at: float


class Statistics:
    """The requests of a workspace since it was started or reset."""

    def __init__(self) -> None:
        self.by_second = Timeline(1, _SECONDS)
        self.by_minute = Timeline(60, _MINUTES)
        self.outcomes = [0] * len(OUTCOMES)
        self.failures: dict[Failure, Occurrences] = {}

    def add(
        self,
        endpoint: str,
        record: RequestRecord,
        outcome: RequestOutcome,
        answer: Answer | None,
        result: Result | None,
    ) -> None:
        """Count a request.

        :param endpoint: name of its endpoint.
        :param answer: what was sent; ``None``: the connection was cut.
        """
        index = OUTCOMES.index(outcome)
        self.outcomes[index] += 1
        elements = record.elements if record.accepted else 0
        is_poll = outcome == "well" and result is not None and result.kind == "answered"
        for timeline in (self.by_second, self.by_minute):
            timeline.add(index, elements, record.received_at, is_poll=is_poll)
        if outcome != "well":
            if record.fault:
                why = _FAULTS.get(record.fault, record.fault)
            else:
                why = (result and result.reason) or reason(answer)
            self._fail(Failure(endpoint, outcome, record.status, why), record.received_at)

    def _fail(self, failure: Failure, now: float) -> None:
        if failure not in self.failures and len(self.failures) >= MAX_FAILURES:
            failure = Failure(OTHER, failure.outcome, None, OTHER)
        occurrences = self.failures.get(failure)
        if occurrences is None:
            self.failures[failure] = Occurrences(1, now)
        else:
            occurrences.count += 1
            occurrences.last_at = now


def reason(answer: Answer | None) -> str:
    """Return the reason that a failure's body contains, in any format of MoEngage's endpoints."""
    if answer is None:
        return ""
    try:
        body = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    if type(body) is not dict:
        return ""
    parts = [part for part in (body, body.get("error"), body.get("data")) if type(part) is dict]
    message = _first(parts, "message", "description", "error_description", "data")
    kind = _first(parts, "type", "error_type", "title")
    field_name = _first(parts, "attribute", "target")
    text = message if not kind or kind == message else f"{kind}: {message}" if message else kind
    return (f"{text} ({field_name})" if field_name else text)[:_LONGEST_REASON]


def _first(parts: list[dict[str, Any]], *names: str) -> str:
    return next((part[name] for part in parts for name in names if type(part.get(name)) is str), "")
