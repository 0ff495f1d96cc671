"""The pages of the file import queries, in the formats that MoEngage documents."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_provider_moengage.emulator.http import Answer, json_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_moengage.emulator.settings import FileData, Settings


def page_answer(
    shown: Sequence[dict[str, Any]], total: int, offset: int, settings: Settings, *, files_in: FileData = "data"
) -> Answer:
    """Return the answer with page ``offset`` of ``total`` items.

    :param files_in: see the setting ``file_data``.
    """
    more: Any = offset * settings.file_page_size < total
    body = {
        "status": "success",
        "total_count": number(total, settings),
        "data": None if files_in != "data" or (settings.file_null_data and not shown) else shown,
        "offset": offset,
        "more_files": str(more).lower() if settings.file_numbers_as_text else more,
    }
    if files_in == "items" and shown:
        body["items"] = {"type": "object", "properties": shown[0]}
    return json_answer(200, body)


def read_offset(fields: dict[str, Any]) -> int | None:
    """Return the requested page number, from 1; ``None`` if it is invalid."""
    offset = fields.get("offset", 1)
    if type(offset) is str and offset.isdecimal():
        offset = int(offset)
    return offset if type(offset) is int and offset >= 1 else None


def number(value: int, settings: Settings) -> int | str:
    """Return a count as a number or a string, as the settings ask for."""
    return str(value) if settings.file_numbers_as_text else value


def moment(epoch: float | None, time_zone: str) -> str | None:
    """Return a time in MoEngage's format: that of a zone, without its offset."""
    if epoch is None:
        return None
    return (
        datetime.fromtimestamp(epoch, ZoneInfo(time_zone)).replace(tzinfo=None).isoformat(timespec="microseconds")
    )
