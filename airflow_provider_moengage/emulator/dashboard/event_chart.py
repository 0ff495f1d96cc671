"""The received events as stacked bars over their own time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

Days = Mapping[tuple[str, str], int]
"""Events by (name, UTC day), where the day may be a word such as ``arrival``."""

MAX_BARS = 60
MAX_NAMES = 6
"""Names with their own colour; all others share one."""

ALWAYS_FRESH = 5_000
"""Up to this many (name, day) pairs, the chart is always computed again."""

REST_FOR_WORK = 50
"""With more pairs, a chart is reused for 50 times as long as it took to compute: at most 2% of the time."""

Unit = Literal["day", "week", "month", "year"]


@dataclass(frozen=True, slots=True)
class _Scale:
    """The mapping of days to bars.

    :param step: units per bar.
    :param names: labels of the bars: the start of each, or both ends if it spans several years.
    """

    unit: Unit
    step: int
    names: list[str]
    index: Callable[[date], int]


class EventChart:
    """The chart of one workspace's events."""

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        self._timer = timer
        self._drawn: dict[str, Any] | None = None
        self._stale_at = 0.0

    def current(self, days: Days) -> dict[str, Any]:
        """Return the chart; with very many days and names, it may be slightly out of date."""
        began = self._timer()
        if len(days) <= ALWAYS_FRESH:
            return draw(days)
        if self._drawn is None or began >= self._stale_at:
            self._drawn = draw(days)
            ended = self._timer()
            self._stale_at = ended + (ended - began) * REST_FOR_WORK
        return self._drawn


def draw(days: Days) -> dict[str, Any]:
    """Return the bars, and the events of each name per bar.

    Bars are days, or weeks from Monday, months, years or spans of ``step`` years if there are too many days.
    Events whose day is a word have separate bars, under ``words``.
    """
    totals: Counter[str] = Counter()
    dates: dict[str, date | None] = {}
    for (name, day), count in days.items():
        totals[name] += count
        if day not in dates:
            dates[day] = _date(day)
    known = [moment for moment in dates.values() if moment is not None]
    scale = _scale(min(known), max(known)) if known else None
    words = [day for day, moment in dates.items() if moment is None]
    columns = {day: len(scale.names) + place if scale else place for place, day in enumerate(words)}
    if scale is not None:
        columns |= {day: scale.index(moment) for day, moment in dates.items() if moment is not None}
    width = (len(scale.names) if scale else 0) + len(words)
    shown = {name for name, _ in totals.most_common(MAX_NAMES)}
    named = [name for name in totals if name in shown]  # in order of arrival, so that each name keeps its colour
    bars = {name: [0] * width for name in named}
    others = [0] * width
    for (name, day), count in days.items():
        bars.get(name, others)[columns[day]] += count
    return {
        "unit": scale.unit if scale else "day",
        "step": scale.step if scale else 1,
        "bars": scale.names if scale else [],
        "words": words,
        "series": [{"name": name, "total": totals[name], "counts": bars[name]} for name in named],
        "others": {"names": len(totals) - len(named), "total": sum(others), "counts": others},
    }


def _date(day: str) -> date | None:
    try:
        return date.fromisoformat(day)
    except ValueError:
        return None


def _scale(first: date, last: date) -> _Scale:
    count = (last - first).days + 1
    if count <= MAX_BARS:
        names = [(first + timedelta(days=place)).isoformat() for place in range(count)]
        return _Scale("day", 1, names, lambda day: (day - first).days)
    monday = first - timedelta(days=first.weekday())
    weeks = (last - monday).days // 7 + 1
    if weeks <= MAX_BARS:
        names = [(monday + timedelta(weeks=place)).isoformat() for place in range(weeks)]
        return _Scale("week", 1, names, lambda day: (day - monday).days // 7)
    months = _month(last) - _month(first) + 1
    if months <= MAX_BARS:
        start = _month(first)
        names = [f"{month // 12:04}-{month % 12 + 1:02}" for month in range(start, start + months)]
        return _Scale("month", 1, names, lambda day: _month(day) - start)
    step = -(-(last.year - first.year + 1) // MAX_BARS)
    names = [_years(year, min(year + step - 1, last.year)) for year in range(first.year, last.year + 1, step)]
    return _Scale("year", step, names, lambda day: (day.year - first.year) // step)


def _years(first: int, last: int) -> str:
    return f"{first:04}" if first == last else f"{first:04}\N{EN DASH}{last:04}"


def _month(day: date) -> int:
    return day.year * 12 + day.month - 1
