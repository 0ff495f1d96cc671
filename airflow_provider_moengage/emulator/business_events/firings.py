"""The triggers of business events that took effect, in order."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Literal

Version = Literal["v1", "v5"]


@dataclass(frozen=True, slots=True)
class Firing:
    """One trigger that took effect, whatever the answer was.

    :param number: from 1, in the order in which they took effect.
    :param received_at: epoch seconds of the emulator's clock.
    :param version: of the API that was called.
    :param request_id: ``response_id`` of v5; ``None`` with v1, whose answer has no id.
    :param campaign_ids: campaigns that it started.
    :param flow_ids: flows that it started.
    :param skipped_campaign_ids: campaigns that a quota did not allow.
    :param skipped_flow_ids: flows that a quota did not allow.
    :param project_code: the project of a portfolio that the trigger names.
    """

    number: int
    received_at: float
    version: Version
    event_name: str
    event_attributes: dict[str, Any]
    triggered_by: str | None
    request_id: str | None
    campaign_ids: tuple[str, ...]
    flow_ids: tuple[str, ...]
    skipped_campaign_ids: tuple[str, ...] = ()
    skipped_flow_ids: tuple[str, ...] = ()
    project_code: str | None = None


class FiringLog:
    """Keeps the last firings, and counts all of them by event."""

    def __init__(self) -> None:
        self._firings: deque[Firing] = deque()
        self._by_event: Counter[str] = Counter()
        self._campaigns_by_event: Counter[str] = Counter()
        self._last: dict[str, float] = {}
        self.flows_started = 0

    @property
    def next_number(self) -> int:
        """The number of the next firing."""
        return self._by_event.total() + 1

    @property
    def campaigns_started(self) -> int:
        """Campaigns started by all firings."""
        return self._campaigns_by_event.total()

    def append(self, firing: Firing, keep: int | None) -> None:
        """Add a firing, and delete those beyond the last ``keep``."""
        self._firings.append(firing)
        self._by_event[firing.event_name] += 1
        self._campaigns_by_event[firing.event_name] += len(firing.campaign_ids)
        self._last[firing.event_name] = firing.received_at
        self.flows_started += len(firing.flow_ids)
        self.trim(keep)

    def trim(self, keep: int | None) -> None:
        """Delete the firings beyond the last ``keep``."""
        while keep is not None and len(self._firings) > keep:
            self._firings.popleft()

    def snapshot(self) -> list[Firing]:
        """Return the firings kept, oldest first."""
        return list(self._firings)

    def names(self) -> list[str]:
        """Return the names of the events that fired."""
        return list(self._by_event)

    def of_event(self, name: str) -> tuple[int, int, float | None]:
        """Return how often an event fired, the campaigns it started, and when (epoch seconds) it last fired."""
        return self._by_event[name], self._campaigns_by_event[name], self._last.get(name)
