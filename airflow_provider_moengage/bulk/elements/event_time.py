"""When an event happened: read here, for what MoEngage reads wrongly lands on another day for good.

MoEngage API reference, "Bulk Import": ISO 8601 or epoch seconds; its examples also show milliseconds as text.
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
"""A warehouse's date key, 20200531 or 202005311633. Read as an epoch it would be a day of the seventies."""


def event_time(value: Any) -> dt.datetime | None:
    """Read when an event happened, in any form that MoEngage documents or a warehouse returns.

    :param value: a datetime, a date (midnight UTC), ISO 8601 text with ``T`` or a space, epoch seconds or
        milliseconds as number or text. Without a zone it is UTC.
    :return: the moment in UTC, or None where there is none to read.
    """
    try:
        if isinstance(value, dt.datetime):
            return to_utc(value)
        if isinstance(value, dt.date):
            return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
        if isinstance(value, bool):
            return None
        if isinstance(value, str):
            text = value.strip()
            if not _EPOCH.fullmatch(text):
                return to_utc(dt.datetime.fromisoformat(text))
            value = Decimal(text)
        if isinstance(value, int | float | Decimal):
            seconds = Decimal(str(value))
            if not 0 <= seconds < _EPOCH_BELOW or _DATE_KEY.fullmatch(str(int(seconds))):
                return None
            if seconds >= _EPOCH_MILLISECONDS_FROM:
                seconds /= 1_000
            return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=int(seconds * 1_000_000))
    except (ValueError, ArithmeticError):
        return None
    return None
