"""The workspace's rate limits: users and events over a sliding minute, and the headers that tell of them.

MoEngage API reference, "Rate Limits": 60,000 users and 60,000 events a minute per workspace, over all its
requests.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.settings import Settings

WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Reading:
    """One budget as a client is told of it: its limit, what is left, and when (epoch seconds) more frees."""

    limit: int
    remaining: int
    resets_at: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request fits, and the tighter of the budgets it touches (``None``: no limit applies)."""

    admitted: bool
    tightest: Reading | None


class SlidingWindow:
    """What one budget spent over the last 60 seconds."""

    def __init__(self) -> None:
        self._spent: deque[tuple[float, int]] = deque()
        self._total = 0

    def spend(self, units: int, now: float) -> None:
        """Take ``units`` out of the budget at ``now``."""
        if units:
            self._spent.append((now, units))
            self._total += units

    def reading(self, limit: int, now: float, units: int = 0) -> Reading:
        """Tell how the budget stands; ``resets_at`` is when ``units`` will fit, else when anything frees."""
        self._forget(now)
        remaining = max(limit - self._total, 0)
        if units > limit:
            return Reading(limit, remaining, now + WINDOW_SECONDS)
        excess = max(self._total + units - limit, 1)
        resets_at = now
        for spent_at, spent in self._spent:
            resets_at = spent_at + WINDOW_SECONDS
            excess -= spent
            if excess <= 0:
                break
        return Reading(limit, remaining, resets_at)

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0][0] + WINDOW_SECONDS <= now:
            self._total -= self._spent.popleft()[1]


class RateLimits:
    """The users and events budgets of one workspace."""

    def __init__(self) -> None:
        self._users = SlidingWindow()
        self._events = SlidingWindow()

    def admit(self, users: int, events: int, settings: Settings, now: float) -> Decision:
        """Spend the request's users and events where both fit, else neither."""
        touched: list[Reading] = []
        exceeded: list[Reading] = []
        for window, units, limit in self._budgets(users, events, settings):
            if units and limit is not None:
                reading = window.reading(limit, now, units)
                (exceeded if units > reading.remaining else touched).append(reading)
        if exceeded:
            return Decision(False, max(exceeded, key=lambda reading: reading.resets_at))
        spent: list[Reading] = []
        for window, units, limit in self._budgets(users, events, settings):
            if units and limit is not None:
                window.spend(units, now)
                spent.append(window.reading(limit, now))
        return Decision(True, min(spent, key=lambda reading: reading.remaining, default=None))

    def readings(self, settings: Settings, now: float) -> tuple[Reading | None, Reading | None]:
        """Tell how the users and the events budgets stand; ``None``: no limit applies."""
        users, events = (
            None if limit is None else window.reading(limit, now)
            for window, _, limit in self._budgets(0, 0, settings)
        )
        return users, events

    def tightest(self, settings: Settings, now: float) -> Reading | None:
        """Tell of the tighter budget without spending: for answers to requests that touch none."""
        readings = [
            window.reading(limit, now) for window, _, limit in self._budgets(0, 0, settings) if limit is not None
        ]
        return min(readings, key=lambda reading: reading.remaining, default=None)

    def _budgets(
        self, users: int, events: int, settings: Settings
    ) -> tuple[tuple[SlidingWindow, int, int | None], ...]:
        return (
            (self._users, users, settings.users_per_minute),
            (self._events, events, settings.events_per_minute),
        )


def limit_headers(reading: Reading | None, settings: Settings, now: float, *, refused: bool) -> dict[str, str]:
    """Return the rate-limit headers of an answer, in the reading that ``settings`` asks for.

    :param refused: the answer is a 429.
    """
    if reading is None:
        return {}
    headers: dict[str, str] = {}
    seconds = math.ceil(reading.resets_at - now)
    if refused and settings.envoy:
        headers["x-envoy-ratelimited"] = "true"
    else:
        reset = math.ceil(reading.resets_at) if settings.reset_header == "epoch" else seconds
        headers["x-ratelimit-limit"] = str(reading.limit)
        headers["x-ratelimit-remaining"] = str(reading.remaining)
        headers["x-ratelimit-reset"] = str(reset)
    if refused:
        headers |= _retry_after(reading.resets_at, settings, now)
    return headers


def throttle_headers(opens_at: float, settings: Settings, now: float) -> dict[str, str]:
    """Return the headers of a 429 that documents no ``x-ratelimit-*``: of business events."""
    envoy = {"x-envoy-ratelimited": "true"} if settings.envoy else {}
    return {**envoy, **_retry_after(opens_at, settings, now)}


def _retry_after(opens_at: float, settings: Settings, now: float) -> dict[str, str]:
    if settings.retry_after == "seconds":
        return {"Retry-After": str(math.ceil(opens_at - now))}
    if settings.retry_after == "date":
        return {"Retry-After": formatdate(math.ceil(opens_at), usegmt=True)}
    return {}
