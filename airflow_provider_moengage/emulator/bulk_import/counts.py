"""Counts of the accepted elements."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.bulk_import.elements import Intake

MAX_USERS_SEEN = 1_000_000
MAX_EVENT_DAYS = 100_000
"""(action, day) pairs that are counted separately; further pairs are counted together under `OTHER_EVENTS`."""

OTHER_EVENTS = ("(other)", "(other)")

MAX_PROJECTS = 1_000
"""Projects that are counted separately; further ones are counted together under `OTHER_PROJECTS`."""

OTHER_PROJECTS = "(other)"
MAX_PROJECTS_SHOWN = 5

FILL_STEPS = 10
FULL_BODY = 100_000
"""Bytes of a full body if the workspace has no limit."""


class ElementCounts:
    """Counts the elements of a workspace, their users, and their events by name and day."""

    def __init__(self) -> None:
        self.days: Counter[tuple[str, str]] = Counter()
        self._bytes = 0
        self._customers = self._events = self._devices = self._actions = self._future = 0
        self._dropped: Counter[str] = Counter()
        self._projects: Counter[str] = Counter()
        self.users: set[str] = set()
        """Those who have a profile, up to :data:`MAX_USERS_SEEN`."""
        self.users_approximate = False

    def add(self, intake: Intake, size: int, project_code: str | None = None) -> None:
        """Count the elements of an accepted body of ``size`` bytes."""
        self._bytes += size
        self._customers += intake.customers
        self._events += intake.events
        self._devices += intake.devices
        self._actions += intake.actions
        self._dropped.update(intake.dropped)
        self._future += intake.future
        if project_code is not None:
            known = project_code in self._projects or len(self._projects) < MAX_PROJECTS
            self._projects[project_code if known else OTHER_PROJECTS] += intake.elements
        if len(self.days) < MAX_EVENT_DAYS:
            self.days.update(intake.days)
        else:
            for day, count in intake.days.items():
                self.days[day if day in self.days else OTHER_EVENTS] += count
        if len(self.users) < MAX_USERS_SEEN:
            self.users |= intake.seen
        elif not self.users_approximate:
            self.users_approximate = not intake.seen <= self.users

    def projects(self) -> dict[str, Any]:
        """Return the projects with the most elements, as the page shows them."""
        shown = self._projects.most_common(MAX_PROJECTS_SHOWN)
        return {"shown": shown, "left_off": len(self._projects) - len(shown)}

    def totals(self) -> dict[str, Any]:
        """Return the fields of `Counts`, without ``events_by_day``, which may be large."""
        return {
            "bytes": self._bytes,
            "elements": self._customers + self._events + self._devices,
            "customers": self._customers,
            "events": self._events,
            "devices": self._devices,
            "actions": self._actions,
            "dropped": dict(self._dropped),
            "future_events": self._future,
            "projects": dict(self._projects),
            "users": len(self.users),
            "users_approximate": self.users_approximate,
        }


class Fill:
    """How full the accepted bodies were, as a histogram."""

    def __init__(self) -> None:
        self._steps = [0] * FILL_STEPS
        self._sum = 0.0

    def add(self, size: int, limit: int | None) -> None:
        """Count a body of ``size`` bytes."""
        share = min(size / (limit or FULL_BODY), 1.0)
        self._sum += share
        self._steps[min(int(share * FILL_STEPS), FILL_STEPS - 1)] += 1

    def snapshot(self, limit: int | None) -> dict[str, Any]:
        """Return the histogram as the page shows it."""
        requests = sum(self._steps)
        return {
            "requests": requests,
            "mean": self._sum / max(requests, 1),
            "steps": list(self._steps),
            "limit": limit,
        }
