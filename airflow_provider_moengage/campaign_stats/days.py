"""Which days a run loads: those that end in its data interval, or those between two arguments.

A day that ends in the interval is over when the run begins, and belongs to one run of a schedule only, however
long its intervals are. So a backfill loads each day once, and complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from airflow_provider_moengage.arguments import in_utc, non_empty
from airflow_provider_moengage.hooks.campaigns import as_day

MOST_DAYS = 366
"""Days of one run: each takes a request for every ten campaigns, so a longer period is a backfill."""


_WEST, _EAST = timezone(timedelta(hours=-12)), timezone(timedelta(hours=14))
"""The zones in which a day begins last and first."""


def days_of_run(context: Mapping[str, Any], start: object, end: object, time_zone: str | None) -> list[date]:
    """Return the days that a run loads, in order; none if no day ended in its interval.

    :param start: first day, or None; both or neither.
    :param end: last day, or None.
    :param time_zone: of the workspace; None: the Dag's. Times with another zone are converted to it.
    :raises ValueError: naming the argument that is wrong.
    """
    zone = zone_of(context, time_zone)
    if start is None and end is None:
        return _ended_days(context, zone)
    check_window(start, end, zone)
    return _days(as_day("start", start, zone), as_day("end", end, zone))


def check_window(start: object, end: object, zone: tzinfo | None) -> None:
    """Check the arguments of a window.

    :param zone: of the workspace; None: not known yet, so only what is wrong in every zone is.
    :raises ValueError: naming the one that is wrong.
    """
    if start is None or end is None:
        raise ValueError("start, end: expected both, or neither to load the days of the data interval")
    first, last = as_day("start", start, zone or _WEST), as_day("end", end, zone or _EAST)
    if last < first:
        raise ValueError(f"start {start!r}: is after end {end!r}")
    _check_number((last - first).days + 1)


def check_time_zone(time_zone: object) -> ZoneInfo:
    """Return a time zone.

    :raises ValueError: if there is none with this name.
    """
    name = non_empty("time_zone", time_zone, "the name of a time zone, like Asia/Kolkata")
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # a path, a folder, or a name that the machine does not know
        raise ValueError(f"time_zone {name!r}: expected the name of a time zone, like Asia/Kolkata") from None


def zone_of(context: Mapping[str, Any], time_zone: str | None) -> tzinfo:
    """Return the time zone of the workspace's days: the argument's, else the Dag's, else UTC."""
    if time_zone is not None:
        return check_time_zone(time_zone)
    zone = getattr(context.get("dag"), "timezone", None)
    return zone if isinstance(zone, tzinfo) else UTC


def _ended_days(context: Mapping[str, Any], zone: tzinfo) -> list[date]:
    start, end = (context.get(f"data_interval_{side}") for side in ("start", "end"))
    if start is None or end is None or start == end:
        # A run without an interval loads the last day that was over at that moment.
        run = context.get("dag_run")
        moments = (end, getattr(run, "run_after", None), getattr(run, "start_date", None), datetime.now(UTC))
        moment = next(moment for moment in moments if moment is not None)
        last = _local_day(moment, zone) - timedelta(days=1)
        return [last]
    first, last = _local_day(start, zone), _local_day(end, zone) - timedelta(days=1)
    if last < first:
        return []
    _check_number((last - first).days + 1)
    return _days(first, last)


def _local_day(moment: datetime, zone: tzinfo) -> date:
    return as_day("data_interval", in_utc(moment).astimezone(zone))


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _check_number(days: int) -> None:
    if days > MOST_DAYS:
        raise ValueError(f"start, end: {days:,} days; expected at most {MOST_DAYS}, so backfill a longer period")
