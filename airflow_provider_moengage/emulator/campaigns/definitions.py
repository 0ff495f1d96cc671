"""The campaigns of a workspace, and the counts of each day on which they ran.

MoEngage API reference, "Get Campaign Stats" and "Search Campaigns (V5)".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, Literal

import msgspec

from airflow_provider_moengage.emulator.http import object_id

Channel = Literal["PUSH", "EMAIL", "SMS", "WHATSAPP", "IN_APP", "CARDS"]
Status = Literal["DRAFT", "SCHEDULED", "ACTIVE", "PAUSED", "COMPLETED", "STOPPED"]

CONTROL_GROUPS = ("campaign_control_group", "global_control_group")
"""Variations without performance: their users got no message."""


class Campaign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A campaign that has run. Its counts are the same for the same campaign and day.

    :param campaign_id: MoEngage's are 24 hexadecimal digits; if empty, one is made of the name.
    :param first_day: the first day on which it ran, ``YYYY-MM-DD``; ``None``: every day up to ``last_day``.
    :param last_day: the last day on which it ran; ``None``: every day from ``first_day`` on.
    :param sent_per_day: messages a day, for each platform, locale and variation.
    :param platforms: platforms, as the statistics name them.
    :param locales: locales, as the statistics name them.
    :param variations: variations, as the statistics name them.
    :param goals: names of its conversion goals.
    :param control_groups: the statistics have the two control groups as well.
    :param is_child: it is an execution of another campaign, which the search returns only if it is asked to.
    :param metrics: further performance metrics, each with its count a day.
    """

    name: str
    campaign_id: str = ""
    channel: Channel = "PUSH"
    status: Status = "COMPLETED"
    delivery_type: str = "ONE_TIME"
    first_day: str | None = None
    last_day: str | None = None
    sent_per_day: int = 1_000
    platforms: tuple[str, ...] = ("ANDROID", "IOS")
    locales: tuple[str, ...] = ("all_locales",)
    variations: tuple[str, ...] = ("all_variations",)
    goals: tuple[str, ...] = ("Goal 1",)
    control_groups: bool = False
    is_child: bool = False
    metrics: dict[str, float] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name: expected a non-empty string")
        for field in ("first_day", "last_day"):
            day = getattr(self, field)
            if day is not None and read_day(day) is None:
                raise ValueError(f"{field} {day!r}: expected YYYY-MM-DD")
        if self.sent_per_day < 0:
            raise ValueError(f"sent_per_day {self.sent_per_day!r}: expected 0 or more")
        for field in ("platforms", "locales", "variations", "goals"):
            if isinstance(getattr(self, field), str):
                raise ValueError(f"{field} {getattr(self, field)!r}: expected a tuple of names")

    @property
    def id(self) -> str:
        """Its id: the given one, or 24 hexadecimal digits that are the same for the same name."""
        return self.campaign_id or object_id(f"campaign {self.name}")

    @classmethod
    def read(cls, wire: Any) -> Campaign:
        """Make a campaign from its JSON form.

        :raises ValueError: for an unknown field or a value it can't have.
        """
        try:
            return msgspec.convert(wire, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"campaign: {error}") from error

    def has_run(self, start: date, end: date) -> bool:
        """Return whether it ran on a day of a window. ISO 8601 sorts by time, so text is compared."""
        begins, ends = self.first_day is None or self.first_day <= end.isoformat(), self.last_day
        is_over = ends is not None and (ends < start.isoformat() or ends < (self.first_day or ends))
        return begins and not is_over and self.status != "DRAFT"

    def days(self, start: date, end: date) -> list[date]:
        """Return the days of a window on which it ran."""
        first, last = read_day(self.first_day or "") or start, read_day(self.last_day or "") or end
        begin, stop = max(start, first).toordinal(), min(end, last).toordinal()
        return [] if self.status == "DRAFT" else [date.fromordinal(day) for day in range(begin, stop + 1)]


class Catalog:
    """The campaigns of one workspace, in the order in which they were added."""

    def __init__(self) -> None:
        self._campaigns: dict[str, Campaign] = {}

    def add(self, campaign: Campaign) -> None:
        """Add a campaign, or replace the one with its id."""
        self._campaigns[campaign.id] = campaign

    def remove(self, campaign_id: str) -> None:
        """Remove a campaign, if it is there."""
        self._campaigns.pop(campaign_id, None)

    def clear(self) -> None:
        """Remove all campaigns."""
        self._campaigns.clear()

    def of(self, campaign_ids: Iterable[str]) -> list[Campaign]:
        """Return the campaigns with these ids, each once; those that are not there are left out."""
        return [self._campaigns[each] for each in dict.fromkeys(campaign_ids) if each in self._campaigns]

    def __iter__(self) -> Iterator[Campaign]:
        return iter(self._campaigns.values())

    def __len__(self) -> int:
        return len(self._campaigns)


def read_day(text: Any) -> date | None:
    """Return a day in MoEngage's format, ``YYYY-MM-DD``; ``None`` if it is anything else."""
    try:
        day = date.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return day if day.isoformat() == text else None
