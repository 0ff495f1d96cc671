"""Encodes elements: writes what SQL drivers and data frames return as the JSON that MoEngage reads.

MoEngage API reference, "Data types": datetimes are ``YYYY-MM-DDTHH:mm:ssZ`` (a fraction is accepted), dates
``YYYY-MM-DD``. msgspec writes most types correctly; :func:`to_plain` converts only those that it would write
differently (bytes as base64, NaN as null) or not at all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from airflow_provider_moengage.arguments import in_utc

_ENCODER = msgspec.json.Encoder(decimal_format="number")  # it gets only Decimals that any reader can hold

ENCODING_VERSION = 1
"""Changes when an element is written in other bytes than before: a sync of changed rows then sends all of them."""

ENCODING_ERRORS = (ValueError, TypeError, OverflowError, RecursionError)
"""What msgspec raises: half a surrogate pair and an int of thousands of digits are ValueErrors."""


_LARGEST_EXPONENT = 307
"""Of ten: a double holds every number up to it."""


class NotEncodableError(ValueError):
    """A value cannot be represented in JSON without loss. The message names its type, never the value."""


class NotFiniteError(NotEncodableError):
    """A number is NaN or infinite, or a time is not a time (pandas' NaT)."""


class NestedTooDeepError(NotEncodableError, RecursionError):
    """An object contains itself, or has more levels than can be sent."""


class NotReadableError(NotEncodableError):
    """A source holds a value that its driver cannot read. The message says what kind it is, never the value."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a value of a source that cannot be read or sent: its element is rejected, the rest is sent.

    :param what: what kind of value it is, and what to do; never the value.
    :param column: the column that holds it, if that is known.
    """

    what: str
    column: str = ""


class Encoder:
    """Writes elements as JSON in UTF-8 and remembers their average size. Not thread-safe.

    :func:`to_plain` must have converted the elements.
    """

    def __init__(self) -> None:
        self._sizes = (1, 1_000)

    def lines(self, elements: Sequence[object]) -> bytes:
        """Return elements as JSON, each followed by a line break. There is none inside, because JSON escapes it.

        :raises ENCODING_ERRORS: if one cannot be encoded.
        """
        data = _ENCODER.encode_lines(elements)
        self._sizes = (max(len(elements), 1), len(data) + 1)
        return data

    def one(self, element: object) -> msgspec.Raw:
        """Return an element as JSON that every method here takes in its place.

        :raises ENCODING_ERRORS: if it cannot be encoded.
        """
        return msgspec.Raw(_ENCODER.encode(element))

    def count_for(self, size: int, *, most: int) -> int:
        """Return how many elements like the last ones take ``size`` bytes: from 1 to ``most``."""
        number, bytes_of_them = self._sizes
        return max(1, min(most, size * number // bytes_of_them))


def to_plain(value: Any) -> Any:
    """Convert a value so that msgspec writes it the way MoEngage reads it; return it unchanged if it already does.

    :param value: anything a SQL driver, numpy or pandas returns, nested to any depth.
    :raises NotFiniteError: for NaN, infinity and NaT.
    :raises NotEncodableError: for what cannot be represented in JSON.
    """
    convert = _CONVERTERS.get(type(value))
    return convert(value) if convert is not None else _convert_other(value)


EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NAIVE_EPOCH = EPOCH.replace(tzinfo=None)
"""``EPOCH + (moment - NAIVE_EPOCH)`` is ``moment.replace(tzinfo=UTC)`` in a tenth of the time."""


def to_utc(moment: dt.datetime) -> dt.datetime:
    """Return a datetime, or a subclass such as pandas' Timestamp, in UTC. Without a time zone it is UTC already.

    The common cases are inlined because this is called for every value of type datetime.

    :raises NotFiniteError: for NaT.
    :raises NotEncodableError: outside the years 1 to 9999.
    """
    if type(moment) is dt.datetime:
        zone = moment.tzinfo
        if zone is dt.UTC:
            return moment
        if zone is None:
            return EPOCH + (moment - NAIVE_EPOCH)
        if type(zone) is ZoneInfo and (epoch := _epoch_in(zone)) is not None:
            return EPOCH + (moment - epoch)  # Python compares the clocks of moments in the same zone
        plain = moment
    else:
        if moment != moment:  # noqa: PLR0124 (only NaT differs from itself)
            raise NotFiniteError("NaT")
        plain = dt.datetime(
            moment.year,
            moment.month,
            moment.day,
            moment.hour,
            moment.minute,
            moment.second,
            moment.microsecond,
            moment.tzinfo,
            fold=moment.fold,
        )
    try:
        return in_utc(plain)
    except OverflowError:
        raise NotEncodableError("a datetime outside the years 1 to 9999 in UTC") from None


@lru_cache(maxsize=64)
def _epoch_in(zone: ZoneInfo) -> dt.datetime | None:
    """Return 1970 by the clocks of a zone that is always UTC, whatever its name; None for any other zone."""
    is_utc = zone.utcoffset(None) == dt.timedelta()  # a zone whose offset ever changes has None
    return dt.datetime(1970, 1, 1, tzinfo=zone) if is_utc else None


def _unchanged(value: Any) -> Any:
    return value


def finite(value: float) -> float:
    """Return a finite number.

    :raises NotFiniteError: for NaN and infinity.
    """
    if value - value != 0:
        raise NotFiniteError("NaN or infinity")
    return value


def exact_decimal(value: Decimal) -> Decimal | int | float:
    """Return a Decimal as it will be encoded: itself if a quick look shows that a double holds it, else converted.

    :raises NotFiniteError: for NaN and infinity.
    """
    text = str(value)
    # A double holds any 15 decimal digits.
    if len(text) <= 15 and not ("E" in text or "N" in text or "I" in text):
        return value
    return _number(value)


def is_rounded(value: Any) -> bool:
    """Return whether a Decimal, or one inside a value, is altered by encoding: a fraction that no double holds."""
    if isinstance(value, Decimal):
        return value.is_finite() and not _is_whole(value) and Decimal(repr(float(value))) != value
    if isinstance(value, Mapping):
        return any(map(is_rounded, value.values()))
    return isinstance(value, list | tuple | set | frozenset) and any(map(is_rounded, value))


def _number(value: Decimal) -> int | float:
    """Return a whole number with all its digits, and a fraction as the nearest double."""
    if not value.is_finite():
        raise NotFiniteError("NaN or infinity")
    if value.adjusted() > _LARGEST_EXPONENT:
        raise NotEncodableError("a number of more than 308 digits")
    return int(value) if _is_whole(value) else float(value)


def _is_whole(value: Decimal) -> bool:
    return value == value.to_integral_value()


def _text(value: bytes | bytearray | memoryview) -> str:
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise NotEncodableError("bytes that are not UTF-8 text") from None


class _Nested:
    """Converts a list or an object. What is nested too deep, or contains itself, ends with an error."""

    __slots__ = ("_depth", "_left")

    def __init__(self) -> None:
        self._depth = 0
        self._left = _MOST_ITEMS

    def array(self, value: Any) -> list[Any]:
        """Return a list with converted items."""
        self._enter()
        plain = [self._item(item) for item in value]
        self._depth -= 1
        return plain

    def object(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        """Return a dict with converted values."""
        self._enter()
        plain: dict[str, Any] = {}
        for name, item in value.items():
            if not isinstance(name, str):
                kind = type(name).__name__
                raise NotEncodableError(f"an object with a key of type {kind} (keys must be strings)")
            text = str.__str__(name)
            if text in plain:
                raise NotEncodableError("an object with two keys that are the same text")
            plain[text] = self._item(item)
        self._depth -= 1
        return plain

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NestedTooDeepError(f"an object that contains itself or has more than {_DEEPEST} levels")

    def _item(self, item: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise NotEncodableError(f"an object of more than {_MOST_ITEMS:,} items")
        kind = type(item)
        if kind is dict or (isinstance(item, Mapping) and not isinstance(item, Enum)):
            return self.object(item)
        if isinstance(item, list | tuple | set | frozenset) and not isinstance(item, Enum):
            return self.array(item)
        return to_plain(item)


_DEEPEST = 100
"""Levels. MoEngage turns objects of more than two into text; JSON parsers accept a few hundred."""

_MOST_ITEMS = 50_000
"""Of a value with all that is inside it. A request has at most 100,000 bytes, and an item takes two of them."""


def _array(value: Any) -> list[Any]:
    return _Nested().array(value)


def _object(value: Mapping[Any, Any]) -> dict[str, Any]:
    return _Nested().object(value)


def safe_time(value: dt.time) -> dt.time:
    """Return a time of day whose zone, if it has one, is a fixed offset: a zone may be any class."""
    if value.tzinfo is None:
        return value
    offset = value.utcoffset()
    return value.replace(tzinfo=None if offset is None else dt.timezone(offset))


def _refuse_unreadable(value: Unreadable) -> Any:
    raise NotReadableError(f"column {value.column!r} holds {value.what}" if value.column else value.what)


def _convert_other(value: Any) -> Any:
    if isinstance(value, Enum):
        return to_plain(value.value)
    if type(value).__name__ == "NAType":  # pandas' missing value, which has no truth value either
        raise NotFiniteError("a missing value (NA)")
    if (dtype := getattr(value, "dtype", None)) is not None:
        return _numpy(value, str(dtype))
    for kind, convert in _SUBCLASSES:
        if isinstance(value, kind):
            return convert(value)
    raise NotEncodableError(f"a value of type {type(value).__module__}.{type(value).__qualname__}")


def _numpy(value: Any, dtype: str) -> Any:
    """Convert a numpy scalar or array; ``item()`` would return a bare integer for nanoseconds."""
    if not hasattr(value, "tolist") or isinstance(value, type):
        return _refuse(value)
    if dtype.startswith(("datetime64", "timedelta64")):
        if value.ndim:
            return _array(value)
        try:
            value = value.astype(f"{dtype.partition('[')[0]}[us]")
        except OverflowError:  # newer versions of numpy raise it, older ones return a wrong time
            raise NotEncodableError("a datetime outside the years 1 to 9999") from None
        if isinstance(value.tolist(), int):
            raise NotEncodableError("a datetime outside the years 1 to 9999")
    plain = value.tolist()
    if plain is None:
        raise NotFiniteError("NaT")
    return to_plain(plain) if type(plain) in _CONVERTERS else _refuse(value)


def _refuse(value: Any) -> Any:
    raise NotEncodableError(f"a value of type {type(value).__module__}.{type(value).__qualname__}")


_CONVERTERS: dict[type, Callable[[Any], Any]] = {
    str: _unchanged,
    int: _unchanged,
    bool: _unchanged,
    type(None): _unchanged,
    float: finite,
    dt.datetime: to_utc,
    dt.date: _unchanged,
    dt.time: safe_time,
    dt.timedelta: _unchanged,
    Decimal: _number,
    UUID: _unchanged,
    bytes: _text,
    bytearray: _text,
    memoryview: _text,
    list: _array,
    tuple: _array,
    set: _array,
    frozenset: _array,
    dict: _object,
    Unreadable: _refuse_unreadable,
}

_SUBCLASSES: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, lambda value: finite(float(value))),
    (dt.datetime, to_utc),
    (dt.date, lambda value: dt.date(value.year, value.month, value.day)),
    (Decimal, _number),
    (UUID, lambda value: UUID(int=value.int)),
    (bytes, _text),
    (Mapping, _object),
    ((list, tuple, set, frozenset), _array),
)
