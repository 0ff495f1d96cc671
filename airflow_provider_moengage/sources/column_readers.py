"""Column readers that several databases share: they convert a driver's values to those that are sent."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.database import Reader

_NOT_JSON = Unreadable("text that is not JSON")


def read_json(value: Any) -> Any:
    """Decode JSON text. Other values are returned unchanged, because the driver has decoded them."""
    if not isinstance(value, str | bytes | bytearray):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NOT_JSON


def read_duration(value: Any) -> Any:
    """Return a duration as SQL writes it: ``1 02:03:04``, ``-0 00:00:00.500000``."""
    if not isinstance(value, dt.timedelta):
        return value
    sign, positive = ("-", -value) if value.days < 0 else ("", value)
    minutes, seconds = divmod(positive.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{positive.microseconds:06}" if positive.microseconds else ""
    return f"{sign}{positive.days} {hours:02}:{minutes:02}:{seconds:02}{fraction}"


def year_month_text(years: int, months: int) -> str:
    """Return an interval of years and months as SQL writes it: ``1-2``, ``-1-2``."""
    total = years * 12 + months
    years, months = divmod(abs(total), 12)
    return f"{'-' if total < 0 else ''}{years}-{months}"


def reject(what: str, column: str) -> Reader:
    """Return a reader that rejects every value, for a column that MoEngage cannot store.

    :param what: what the column holds, and the SQL expression to use instead.
    :param column: the column's name.
    """
    unreadable = Unreadable(what, column)
    return lambda _: unreadable


def read_time(value: Any) -> Any:
    """Return a duration as MySQL and ClickHouse write a TIME: ``-838:59:59.000000`` to ``838:59:59.000000``."""
    if not isinstance(value, dt.timedelta):
        return value
    sign, positive = ("-", -value) if value.days < 0 else ("", value)
    minutes, seconds = divmod(positive.days * 86_400 + positive.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{positive.microseconds:06}" if positive.microseconds else ""
    return f"{sign}{hours:02}:{minutes:02}:{seconds:02}{fraction}"
