"""Rate limits: users and events per minute, quotas of requests, and their response headers.

MoEngage API reference, "Rate Limits": 60,000 users and 60,000 events a minute per workspace. Quotas: "Trigger
Business Event", "List Business Events" and "File Imports", rate limits. All windows are sliding.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.settings import Settings, Windows

WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Reading:
    """The state of a limit: its size, what remains, and when (epoch seconds) more becomes available."""

    limit: int
    remaining: int
    resets_at: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request is admitted, and the tightest limit that it counts against (``None``: no limit)."""

    admitted: bool
    tightest: Reading | None


class SlidingWindow:
    """The use of one limit over the last 60 seconds."""

    def __init__(self) -> None:
        self._spent: deque[tuple[float, int]] = deque()
        self._total = 0

    def spend(self, units: int, now: float) -> None:
        """Use ``units`` at ``now``."""
        if units:
            self._spent.append((now, units))
            self._total += units

    def reading(self, limit: int, now: float, units: int = 0) -> Reading:
        """Return the state of the limit; ``resets_at`` is when ``units`` fit, or when any unit is free again."""
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
    """The users and events limits of one workspace."""

    def __init__(self) -> None:
        self._users = SlidingWindow()
        self._events = SlidingWindow()

    def admit(self, users: int, events: int, settings: Settings, now: float) -> Decision:
        """Use a request's users and events if both fit, else neither."""
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
        """Return the state of the users and events limits; ``None``: no limit."""
        users, events = (
            None if limit is None else window.reading(limit, now)
            for window, _, limit in self._budgets(0, 0, settings)
        )
        return users, events

    def tightest(self, settings: Settings, now: float) -> Reading | None:
        """Return the tighter limit, for answers to requests that use none."""
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


class Quota:
    """The use of one quota, which may have several sliding windows."""

    def __init__(self) -> None:
        self._spent: deque[float] = deque()

    def room(self, windows: Windows, now: float) -> int | None:
        """Return the units available in all of ``windows``; ``None``: no limit."""
        if not windows:
            return None
        return max(min(count - len(self._within(seconds, now)) for count, seconds in windows), 0)

    def opens_at(self, windows: Windows, units: int, now: float) -> float:
        """Return when ``units`` fit: ``now`` if they do, a whole window later if they never will."""
        opens = [now]
        for count, seconds in windows or ():
            inside = self._within(seconds, now)
            excess = len(inside) + units - count
            if excess > len(inside):
                opens.append(now + seconds)
            elif excess > 0:
                opens.append(inside[excess - 1] + seconds)
        return max(opens)

    def reading(self, windows: Windows, now: float) -> Reading | None:
        """Return the state of the tightest of ``windows``; ``None``: no limit."""
        readings = []
        for count, seconds in windows or ():
            inside = self._within(seconds, now)
            # The unit that has to leave the window before another one fits.
            frees = inside[max(len(inside) - count, 0)] + seconds if inside else now
            readings.append(Reading(count, max(count - len(inside), 0), frees))
        return min(readings, key=lambda reading: (reading.remaining, -reading.resets_at), default=None)

    def used(self, windows: Windows, now: float) -> list[tuple[int, int, int]]:
        """Return count, seconds and used units of each of ``windows``."""
        return [(count, seconds, len(self._within(seconds, now))) for count, seconds in windows or ()]

    def spend(self, units: int, windows: Windows, now: float) -> None:
        """Use ``units`` at ``now``; without windows nothing is recorded."""
        if not windows:
            return
        self._spent.extend([now] * units)
        longest = max(seconds for _, seconds in windows)
        while self._spent and self._spent[0] + longest <= now:
            self._spent.popleft()

    def _within(self, seconds: int, now: float) -> list[float]:
        spent = list(self._spent)
        return spent[bisect_right(spent, now, key=lambda moment: moment + seconds) :]


def limit_headers(reading: Reading | None, settings: Settings, now: float, *, refused: bool) -> dict[str, str]:
    """Return the rate-limit headers of an answer, in the format that ``settings`` asks for.

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
    """Return the headers of a 429 of business events, which document no ``x-ratelimit-*``."""
    envoy = {"x-envoy-ratelimited": "true"} if settings.envoy else {}
    return {**envoy, **_retry_after(opens_at, settings, now)}


def _retry_after(opens_at: float, settings: Settings, now: float) -> dict[str, str]:
    if settings.retry_after == "seconds":
        return {"Retry-After": str(math.ceil(opens_at - now))}
    if settings.retry_after == "date":
        return {"Retry-After": formatdate(math.ceil(opens_at), usegmt=True)}
    return {}
