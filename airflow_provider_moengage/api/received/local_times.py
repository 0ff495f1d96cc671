"""Times that carry no time zone, as file imports have them, and the offsets from UTC that IDs give away.

MoEngage does not document which zone they are in; in the samples of its reference it is the workspace's, not UTC.
A MongoDB ObjectId begins with the second in which it was made. If MoEngage makes the ID when it writes the time,
the two differ by the offset of the zone.

An offset holds for times near those that show it: a zone may have another one half a year later. Only its name
tells all of them.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from airflow_provider_moengage.api.received.values import Received
from airflow_provider_moengage.arguments import in_utc

QUARTER = timedelta(minutes=15)
"""Offsets of zones are multiples of it."""

OFFSETS = timedelta(hours=-12), timedelta(hours=14)
"""The zones of the world."""

NEAR = timedelta(minutes=2)
"""How much later or earlier than its ID a time may have been written."""

APART = timedelta(minutes=5)
"""An import runs once in five minutes: IDs this far apart are of different runs, not of one that was delayed."""

CLOCK_CHANGES = timedelta(hours=1), timedelta(minutes=30)
"""By how much clocks are put forward and back."""

_MACHINE = frozenset({"localtime", "posixrules", "Factory"})
"""Names that every machine answers to in its own way."""


def named_zone(name: str | None) -> ZoneInfo | None:
    """Return a zone by its IANA name, such as ``Asia/Kolkata``; None if there is none with this name."""
    if name is None or name in _MACHINE:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a folder of zones, such as Asia, is an OSError
        return None


@dataclass(frozen=True, slots=True)
class Hint:
    """The offset of a time from that of the ID beside it.

    :param created_at: the time of the ID, in UTC.
    :param offset: None if it is not the offset of a zone.
    """

    created_at: datetime
    offset: timedelta | None

    @classmethod
    def of(cls, id_: Received, time: Received) -> Hint | None:
        """Return what an ID and the time beside it show; None if one of them is of another kind."""
        created_at, local = id_.id_time(), time.moment()
        if created_at is None or local is None or local.tzinfo is not None:
            return None
        difference = local.replace(tzinfo=UTC) - created_at
        offset = round(difference / QUARTER) * QUARTER
        is_offset = abs(difference - offset) <= NEAR and OFFSETS[0] <= offset <= OFFSETS[1]
        return cls(created_at, offset if is_offset else None)


def agreed(hints: Iterable[Hint]) -> tuple[Hint, ...]:
    """Return the hints to rely on; none unless several of different runs, and more than half of all, agree.

    If clocks were changed, the offsets on both sides of the change count. One ID is enough for the offset of times
    before or after all others: it is of the first or the last run, which no other can confirm yet.
    """
    known = list(hints)
    by_offset: dict[timedelta, list[datetime]] = {}
    for hint in known:
        if hint.offset is not None:
            by_offset.setdefault(hint.offset, []).append(hint.created_at)
    several = {offset: seen for offset, seen in by_offset.items() if max(seen) - min(seen) >= APART}
    if not several:
        return ()
    main = max(several, key=lambda offset: len(several[offset]))
    sure = [moment for offset, seen in several.items() for moment in seen if _is_same_zone(offset, main)]
    first, last = min(sure), max(sure)
    relied = [
        hint
        for hint in known
        if hint.offset is not None
        and _is_same_zone(hint.offset, main)
        and (hint.offset in several or not first <= hint.created_at <= last)
    ]
    return tuple(relied) if 2 * len(relied) > len(known) else ()


def _is_same_zone(offset: timedelta, main: timedelta) -> bool:
    return offset == main or abs(offset - main) in CLOCK_CHANGES


@dataclass(frozen=True, slots=True)
class LocalTimes:
    """Reads times that may carry no zone.

    :param zone: the zone of times without one; None if only IDs tell.
    :param hints: used without ``zone``: a time has the offset of the hint that is nearest to it.
    :param is_assumed: nothing shows the zone.
    """

    zone: tzinfo | None
    hints: tuple[Hint, ...] = ()
    is_assumed: bool = False
    _seen: dict[timedelta, list[datetime]] = field(init=False, repr=False, compare=False)
    """When each offset was seen."""

    def __post_init__(self) -> None:
        seen: dict[timedelta, list[datetime]] = {}
        for hint in sorted(self.hints, key=lambda hint: hint.created_at):
            if hint.offset is not None:
                seen.setdefault(hint.offset, []).append(hint.created_at)
        object.__setattr__(self, "_seen", seen)

    def read(
        self, time: Received, id_: Received | None = None, *, not_before: datetime | None = None
    ) -> datetime | None:
        """Return a time in UTC; None if it is not a time.

        :param id_: what was made at this time, to tell an hour from its repetition when clocks are put back.
        :param not_before: it cannot be earlier.
        """
        local = time.moment()
        if local is None:
            return None
        try:
            if local.tzinfo is not None:
                return in_utc(local)
            return self._read(local, None if id_ is None else id_.id_time(), not_before)
        except OverflowError:
            return None

    def is_certain(self, time: Received, id_: Received) -> bool:
        """Return whether :meth:`read` tells when this was, also if clocks were put back around that time."""
        local, created_at = time.moment(), id_.id_time()
        if local is None or local.tzinfo is not None:
            return True
        try:
            possible = self._possible(local, created_at)
        except OverflowError:
            return True
        is_shown = created_at is not None and abs(possible[0] - created_at) <= NEAR
        return not self.is_assumed and (is_shown or len(possible) == 1)

    def _read(self, local: datetime, created_at: datetime | None, not_before: datetime | None) -> datetime:
        possible = self._possible(local, created_at)
        if not_before is None or possible[0] >= not_before - NEAR:
            return possible[0]
        # Clocks were put back meanwhile: an offset from ids may not know of it yet, a zone does.
        later = possible if self.zone is not None else [*possible, possible[0] + CLOCK_CHANGES[0]]
        return min((moment for moment in later if moment >= not_before), default=possible[0])

    def _possible(self, local: datetime, created_at: datetime | None) -> list[datetime]:
        """Return what a time may be in UTC, the most likely first."""
        if self.zone is not None:
            twice = [local.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
            both = (
                twice if twice[0] < twice[1] else twice[:1]
            )  # a time that the clock skips has the offset of before
            is_second = created_at is not None and abs(both[-1] - created_at) <= NEAR
            return both[::-1] if is_second else both
        moments = {offset: local.replace(tzinfo=UTC) - offset for offset in self._seen}
        if len(moments) == 1:
            return list(moments.values())
        if created_at is not None:
            own = [each for each in moments.values() if abs(each - created_at) <= NEAR]
            if own:
                return own
        distances = {moment: _distance(moment, self._seen[offset]) for offset, moment in moments.items()}
        return sorted(distances, key=lambda moment: distances[moment])


def _distance(moment: datetime, seen: list[datetime]) -> timedelta:
    """Return how far a moment is from the nearest of several, which are sorted."""
    after = bisect(seen, moment)
    return min(abs(moment - each) for each in seen[max(0, after - 1) : after + 1])


IN_UTC = LocalTimes(UTC)
"""Reads times without a zone as UTC."""
