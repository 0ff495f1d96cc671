"""Quotas of business events and file imports: so many in so many seconds, several such windows at once, all of
them sliding.

MoEngage API reference, "Trigger Business Event", "List Business Events" and "File Imports", rate limits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING

from airflow_provider_moengage.emulator.limits import Reading

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.settings import Windows


class Quota:
    """When each unit of one budget was spent, and what that leaves of the windows it has to fit."""

    def __init__(self) -> None:
        self._spent: deque[float] = deque()

    def room(self, windows: Windows, now: float) -> int | None:
        """Return the units that fit in all of ``windows`` at ``now``; ``None``: any number."""
        if not windows:
            return None
        return max(min(count - len(self._within(seconds, now)) for count, seconds in windows), 0)

    def opens_at(self, windows: Windows, units: int, now: float) -> float:
        """Return when ``units`` will fit: ``now`` where they do, a whole window later where they never will."""
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
        """Tell how the tightest of ``windows`` stands; ``None``: no limit applies."""
        readings = []
        for count, seconds in windows or ():
            inside = self._within(seconds, now)
            # The first one of those that have to go before another fits.
            frees = inside[max(len(inside) - count, 0)] + seconds if inside else now
            readings.append(Reading(count, max(count - len(inside), 0), frees))
        return min(readings, key=lambda reading: (reading.remaining, -reading.resets_at), default=None)

    def used(self, windows: Windows, now: float) -> list[tuple[int, int, int]]:
        """Return count and seconds of each of ``windows``, and what of it is spent."""
        return [(count, seconds, len(self._within(seconds, now))) for count, seconds in windows or ()]

    def spend(self, units: int, windows: Windows, now: float) -> None:
        """Spend ``units`` at ``now``; nothing is kept of what no window limits."""
        if not windows:
            return
        self._spent.extend([now] * units)
        longest = max(seconds for _, seconds in windows)
        while self._spent and self._spent[0] + longest <= now:
            self._spent.popleft()

    def _within(self, seconds: int, now: float) -> list[float]:
        spent = list(self._spent)
        return spent[bisect_right(spent, now, key=lambda moment: moment + seconds) :]


class Quotas:
    """What a workspace spent of each of its quotas; each version of the API of business events counts its own."""

    def __init__(self) -> None:
        self.v1_triggers = Quota()
        self.v1_flows = Quota()
        self.v5_campaigns = Quota()
        self.v5_flows = Quota()
        self.lists = Quota()
        self.searches = Quota()
        self.file_histories = Quota()
        self.file_imports = Quota()
