"""Converts columns whose type is stated in the mapping: ``Column("plan_json", type="json")``.

A value that cannot be read as the stated type rejects its row. Messages never quote it.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from airflow_provider_moengage.bulk.elements.encoding import Unreadable, to_plain
from airflow_provider_moengage.bulk.elements.event_time import event_time

_WHOLE = re.compile(r"[+-]?\d{1,4000}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})
_FIRST_INEXACT = {"float16": 2**11, "float32": 2**24}
"""Whole numbers below this size survive as numpy's small floats; as other floats, those below 2**53."""


def reader(column: str, type_name: str) -> Callable[[Any], Any]:
    """Return a function that converts a column's non-NULL values to a type.

    :param column: the column's name, for messages.
    :param type_name: one of :data:`TYPES`.
    :return: a function that returns the value, or an
        :class:`~airflow_provider_moengage.bulk.elements.encoding.Unreadable`.
    """
    read = _READERS[type_name]
    unreadable = Unreadable(f"a value that cannot be read as type={type_name!r}", column)

    def read_or_reject(value: Any) -> Any:
        if isinstance(value, Unreadable):
            return value
        try:
            return read(value)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 (any method of a value may raise anything)
            return unreadable

    return read_or_reject


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal | UUID):
        return str(value)
    plain = to_plain(value)
    if isinstance(plain, float) and plain.is_integer():
        return str(_exact(value, plain))
    return plain if isinstance(plain, str) else _json_text(plain)


def _json_text(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return str(msgspec.json.decode(text)) if text.startswith('"') else text


def _integer(value: Any) -> int:
    if isinstance(value, str | bytes | bytearray | memoryview):
        text = str(to_plain(value)).strip()
        if not _WHOLE.fullmatch(text):
            raise ValueError
        return int(text)
    plain = to_plain(value)
    if isinstance(plain, float) and not isinstance(value, Decimal):
        return _exact(value, plain)
    number = int(value)
    if number != value or isinstance(value, complex):
        raise ValueError
    return number


def _exact(value: Any, plain: float) -> int:
    """Return a whole number that was read as a float.

    :raises ValueError: if its last digits may be lost, or it has a fraction.
    """
    if abs(plain) >= _FIRST_INEXACT.get(str(getattr(value, "dtype", "")), 2**53) or not plain.is_integer():
        raise ValueError
    return int(plain)


def _number(value: Any) -> int | float | Decimal:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str | bytes | bytearray | memoryview):
        text = str(to_plain(value)).strip()
        if not _NUMBER.fullmatch(text):
            raise ValueError
        value = Decimal(text)
    if not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        raise ValueError
    return value


def _boolean(value: Any) -> bool:
    if isinstance(value, str | bytes | bytearray | memoryview):
        text = str(to_plain(value)).strip().lower()
        if text not in _TRUE | _FALSE:
            raise ValueError
        return text in _TRUE
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _datetime(value: Any) -> dt.datetime:
    parsed = event_time(to_plain(value))
    if parsed is None:
        raise ValueError
    return parsed


def _date(value: Any) -> dt.date:
    plain = to_plain(value)
    if isinstance(plain, dt.date) and not isinstance(plain, dt.datetime):
        return plain
    if isinstance(plain, str) and len(plain.strip()) == len("2026-01-31"):
        return dt.date.fromisoformat(plain.strip())
    return _datetime(plain).date()


def _json(value: Any) -> Any:
    if isinstance(value, str | bytes | bytearray | memoryview):
        return msgspec.json.decode(bytes(value) if not isinstance(value, str) else value)
    return to_plain(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "datetime": _datetime,
    "date": _date,
    "json": _json,
}

TYPES = tuple(_READERS)
"""Types that a mapping can state."""
