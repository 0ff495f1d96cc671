"""The ``date`` filter of the file import queries.

MoEngage API reference, "Import File Run History" and "Import Details": eight formats, at most 30 days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_provider_moengage.emulator.file_imports.access import BadQueryError

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator.settings import Settings

_DAYS = {"YYYY-MM-DD": "%Y-%m-%d", "YYYY/MM/DD": "%Y/%m/%d", "DD/MM/YYYY": "%d/%m/%Y", "DD-MM-YYYY": "%d-%m-%Y"}
_FORMATS = _DAYS | {f"{name} hh:mm:ss": f"{form} %H:%M:%S" for name, form in _DAYS.items()}
_WIDEST = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time in epoch seconds; the end is not part of it."""

    begin: float
    end: float

    def __contains__(self, moment: float) -> bool:
        return self.begin <= moment < self.end


def read_span(wire: Any, settings: Settings) -> Span | None:
    """Return the span of a filter; ``None``: no limit. The last day, or the last second, is part of it.

    :raises BadQueryError: for an undocumented format, invalid dates, or too many days.
    """
    if wire is None:
        return None
    if settings.file_dates == "refuse":
        raise BadQueryError("iso_date")
    if type(wire) is not dict or wire.get("format") not in _FORMATS:
        raise BadQueryError("date")
    begin, end = (_read(wire.get(name), wire["format"]) for name in ("start_date", "end_date"))
    zone = ZoneInfo(settings.file_time_zone)
    if end < begin:
        raise BadQueryError("date")
    if end - begin > _WIDEST:
        raise BadQueryError("days")
    whole = timedelta(days=1) if wire["format"] in _DAYS else timedelta(seconds=1)
    try:
        return Span(begin.replace(tzinfo=zone).timestamp(), (end + whole).replace(tzinfo=zone).timestamp())
    except (ValueError, OverflowError):  # the first and the last day of the calendar
        raise BadQueryError("date") from None


def _read(text: Any, name: str) -> datetime:
    # strptime also accepts single digits.
    if type(text) is not str or len(text) != len(name):
        raise BadQueryError("date")
    try:
        return datetime.strptime(text, _FORMATS[name])
    except ValueError:
        raise BadQueryError("date") from None
