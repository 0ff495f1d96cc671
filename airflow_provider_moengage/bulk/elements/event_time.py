"""Reads when an event happened.

A time that MoEngage misreads puts the event on another day for good, so it is read here first. MoEngage API
reference, "Bulk Import": ISO 8601 or epoch seconds; its examples also show milliseconds as text.
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

from airflow_provider_moengage.bulk.elements.encoding import to_utc

_EPOCH_MILLISECONDS_FROM = 100_000_000_000
"""Seconds up to here reach the year 5138; a larger number counts milliseconds."""

_EPOCH_BELOW = 10_000_000_000_000
"""Milliseconds up to here reach the year 2286; 14 digits are a compact date and time (20200531163335)."""

_EPOCH = re.compile(r"\d{9,}(\.\d+)?")

_DATE_KEY = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(([01]\d|2[0-3])[0-5]\d)?")
"""A warehouse's date key, 20200531 or 202005311633. Read as an epoch it would be a day in the 1970s."""


def event_time(value: Any) -> dt.datetime | None:
    """Read when an event happened, in any format that MoEngage documents or a warehouse returns.

    :param value: a datetime, a date (midnight UTC), ISO 8601 text with ``T`` or a space, epoch seconds or
        milliseconds as a number or text. Without a time zone it is UTC.
    :return: the time in UTC, or None if the value is not a time.
    """
    try:
        if isinstance(value, dt.datetime):
            return to_utc(value)
        if isinstance(value, dt.date):
            return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
        if isinstance(value, str):
            return _from_text(value.strip())
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return _from_epoch(value)
    except (ValueError, ArithmeticError):
        pass
    return None


def local_time(value: Any) -> dt.datetime | None:
    """Read a user's local time, which MoEngage uses as it is: a time zone is cut off, not converted.

    MoEngage API reference, "Bulk Import", ``user_time``.

    :param value: as in :func:`event_time`.
    :return: the clock time, labelled as UTC, or None if the value is not a time.
    """
    if isinstance(value, str) and not _EPOCH.fullmatch(value.strip()):
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, dt.datetime):
        value = value.replace(tzinfo=dt.UTC)
    return event_time(value)


def _from_text(text: str) -> dt.datetime | None:
    return _from_epoch(Decimal(text)) if _EPOCH.fullmatch(text) else to_utc(dt.datetime.fromisoformat(text))


def _from_epoch(value: float | Decimal) -> dt.datetime | None:
    seconds = Decimal(str(value))
    if not 0 <= seconds < _EPOCH_BELOW or _DATE_KEY.fullmatch(str(int(seconds))):
        return None
    if seconds >= _EPOCH_MILLISECONDS_FROM:
        seconds /= 1_000
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=int(seconds * 1_000_000))
