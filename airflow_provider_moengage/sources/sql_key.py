"""Keys of rows: their columns, their values, and ranges of them.

A key is the values of ``key_columns`` in one row. No two rows have the same key; keys are ordered by their first
value, then by the next. Between runs a key is stored as JSON, from which exactly the driver's value is restored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from hashlib import blake2b
from operator import methodcaller
from typing import Any
from uuid import UUID

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.bulk.mapping import QueryColumns
from airflow_provider_moengage.sources.database import SourceColumn

Key = tuple[Any, ...]

DIGEST_BYTES = 8
"""Two of ten thousand open elements share a digest once in hundreds of billions of kills."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
# No %: whether it has to be doubled depends on whether there are parameters.
_QUOTED = re.compile(r'"[^"%]+"|`[^`%]+`|\[[^\[\]%]+\]')


@dataclass(frozen=True, slots=True)
class KeyColumns:
    """The columns of a query that make up the key of a row.

    :param names: as in the query's result, the most significant first: a list, or one name. A name that is not
        a plain identifier must include the database's quotes: ``'"Order Id"'``. The driver has to return exactly
        what the columns hold. It does not for a REAL, or for anything finer than a microsecond: CAST those.
    :raises ValueError: naming ``key_columns``.
    """

    names: Sequence[str]

    def __post_init__(self) -> None:
        names = (self.names,) if isinstance(self.names, str) else self.names
        if not isinstance(names, list | tuple) or not names:
            raise ValueError("key_columns: expected the name of a column, or a non-empty list of names")
        for name in names:
            if not isinstance(name, str) or not (_PLAIN.fullmatch(name) or _QUOTED.fullmatch(name)):
                raise ValueError(
                    f"key_columns: {name!r} is not a plain column name; rename the column in the query"
                    " (AS order_id), or include the database's quotes ('\"Order Id\"')"
                )
        if len({unquoted(name).lower() for name in names}) < len(names):
            raise ValueError("key_columns: expected each column only once")
        object.__setattr__(self, "names", tuple(names))

    def __str__(self) -> str:
        """Return the names as a query lists them."""
        return ", ".join(self.names)

    def indexes(self, columns: Sequence[str]) -> list[int]:
        """Return where the values of the key are in a row.

        :param columns: the query's columns, in the row's order.
        :raises ValueError: naming the column that the query does not have.
        """
        index = QueryColumns("key_columns", columns)
        return [index.of(unquoted(name)) for name in self.names]


@dataclass(frozen=True, slots=True)
class KeyRange:
    """A range of a query's rows; without bounds, all of them.

    :param after: rows whose key comes after this one.
    :param starting_at: rows from this key on, including it.
    :param up_to: rows up to this key, including it.
    """

    after: Key | None = None
    starting_at: Key | None = None
    up_to: Key | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the range as JSON.

        :raises ValueError: if a value of a key has no JSON form.
        """
        bounds = {"after": self.after, "up_to": self.up_to}
        if self.starting_at is not None:
            bounds["starting_at"] = self.starting_at
        return {bound: None if key is None else key_to_json(key) for bound, key in bounds.items()}

    @classmethod
    def from_dict(cls, given: Any) -> KeyRange:
        """Return the range from its JSON.

        :raises ValueError: naming ``key_range``, if it is not a range.
        """
        if not isinstance(given, Mapping) or set(given) - {"after", "starting_at", "up_to"}:
            raise ValueError("key_range: expected a mapping of after, starting_at or up_to to a key, or None")
        try:
            return cls(**{bound: None if key is None else key_from_json(key) for bound, key in given.items()})
        except ValueError as error:
            raise ValueError(f"key_range: {error}") from None


@dataclass(frozen=True, slots=True)
class RowNumbers:
    """How messages name rows that are read in the order of their keys: by their number in that order, from 1.

    :param columns: the key's.
    :param is_part: only the rows of a ``key_range`` are read and counted.
    """

    columns: KeyColumns
    is_part: bool = False

    @property
    def order(self) -> str:
        """Return the order, as a query states it."""
        return f"ORDER BY {self.columns}{' within key_range' if self.is_part else ''}"

    def of(self, row: int) -> str:
        """Return what a message calls a row.

        :param row: its index.
        """
        return f"row {row + 1:,} ({self.order})"


_EXACT_TYPES = frozenset({str, int, bool, Decimal, datetime, date, time, UUID, bytes})
"""Types whose values, except NaN, are restored exactly from JSON."""


def check_key_types(columns: Sequence[SourceColumn], database: str) -> None:
    """Check that key columns sort as they compare, and that the driver returns exactly what they hold.

    :param columns: the key's columns.
    :param database: the database's name, for the message.
    :raises ValueError: naming the column, and an expression that can be a key instead.
    """
    for column in columns:
        if column.key_problem is not None:
            cast = column.key_advice.format(name=column.name)
            raise ValueError(
                f"key_columns: column {column.name!r} of type {column.type_name} cannot be a key in {database}"
                f" because it {column.key_problem}; use another column, or convert it in the query"
                f" ({cast} AS {column.name}_key)"
            )


def check_key_values(column: SourceColumn, values: Sequence[Any], first_row: int, numbers: RowNumbers) -> None:
    """Check that values of a key column can be bound again.

    :param values: not NULL.
    :param first_row: index of the first one's row.
    :param numbers: how the message names rows.
    :raises ValueError: naming the column and the row.
    """
    read = column.read
    kinds = set(map(type, values))
    is_finite = Decimal not in kinds or all(value.is_finite() for value in values if type(value) is Decimal)
    if read is None and is_finite and kinds <= _EXACT_TYPES:
        return
    for row, value in enumerate(values, first_row):
        sent = value if read is None else read(value)
        if column.equivocal and value in column.equivocal:
            sent = Unreadable("a value that the driver returns for several different values")
        if type(value) is Decimal and not value.is_finite():
            sent = Unreadable("a number that is not finite")
        if isinstance(sent, Unreadable):
            raise ValueError(
                f"key_columns: column {column.name!r} holds {sent.what} in {numbers.of(row)} of the query, which"
                " cannot be part of a key; exclude such rows, or convert the column in the query"
            )
        if type(value) not in _EXACT_TYPES:
            key_to_json((value,), (column.name,))


def is_same_key(key: Key, other: Key) -> bool:
    """Return whether two keys that are equal in Python are the same.

    When a zone's clocks are set back, an hour occurs twice, and Python compares only what the clocks show.
    """
    return all(
        not isinstance(value, datetime)
        or value.tzinfo is not second.tzinfo
        or value.utcoffset() == second.utcoffset()
        for value, second in zip(key, other, strict=True)
    )


def check_key(key: Key, row: int, numbers: RowNumbers) -> None:
    """Check that no value of a key is NULL.

    :param row: the row's index.
    :param numbers: how the message names rows.
    :raises ValueError: naming the column that is NULL.
    """
    if None in key:
        raise null_key_error(numbers.columns.names[key.index(None)], numbers.of(row))


def null_key_error(name: str, where: str) -> ValueError:
    """Return the error for a key column that is NULL somewhere."""
    return ValueError(
        f"key_columns: column {unquoted(name)!r} is NULL in {where} of the query; exclude such rows"
        f" (WHERE {name} IS NOT NULL), or choose columns that are never NULL"
    )


def key_to_json(key: Key, names: Sequence[str] = ()) -> list[Any]:
    """Return a key as JSON: text and whole numbers as they are, other values like ``{"date": "2026-01-31"}``.

    :param names: the key's columns, for the message.
    :raises ValueError: naming the column whose value has no exact JSON form.
    """
    return [
        value if type(value) is str else _to_json(value, repr(unquoted(names[at])) if names else str(at + 1))
        for at, value in enumerate(key)
    ]


def key_from_json(given: Any) -> Key:
    """Return a key from its JSON, each value with its original type.

    :raises ValueError: if it is not a key.
    """
    if not isinstance(given, list | tuple) or not given:
        raise ValueError("expected a key as a list of values, one for each of key_columns")
    return tuple(map(_from_json, given))


def digest(key: Key, number: int) -> bytes:
    """Return the bytes that identify an element in a checkpoint: the same in each process and each try.

    :param key: of the element's row.
    :param number: index of the element among those of its row.
    """
    return blake2b(json.dumps([number, *key_to_json(key)]).encode(), digest_size=DIGEST_BYTES).digest()


def unquoted(name: str) -> str:
    """Return a column's name without the database's quotes."""
    return name if _PLAIN.fullmatch(name) else name[1:-1]


# The first match applies: a bool is also an int, and a datetime is also a date. All values are stored as text,
# which every JSON library preserves exactly. Floats are missing: a float that is bound again may differ from the
# column's own value (PostgreSQL's REAL), and its row would be lost.
_TYPES: dict[str, tuple[type | tuple[type, ...], Callable[[Any], str], Callable[[str], Any]]] = {
    "bool": (bool, str, {"True": True, "False": False}.__getitem__),
    "int": (int, int.__repr__, int),
    "decimal": (Decimal, str, Decimal),
    "datetime": (datetime, methodcaller("isoformat"), datetime.fromisoformat),
    "date": (date, methodcaller("isoformat"), date.fromisoformat),
    "time": (time, methodcaller("isoformat"), time.fromisoformat),
    "uuid": (UUID, str, UUID),
    "bytes": ((bytes, bytearray, memoryview), lambda value: bytes(value).hex(), bytes.fromhex),
}
_LARGEST_PLAIN = 2**63 - 1  # some of the JSON encoders in Airflow round or refuse larger numbers


def _to_json(value: Any, column: str) -> Any:
    if getattr(value, "shape", None) == () and value.dtype.kind in "biufSU":
        value = value.item()  # a numpy scalar; numpy's datetimes would become numbers
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_PLAIN:
        return int(value)
    if not isinstance(value, Decimal) or value.is_finite():
        for tag, (kind, write, read) in _TYPES.items():
            if isinstance(value, kind):
                text = write(value)
                with suppress(ValueError):  # pandas' NaT
                    if write(read(text)) == text:  # fails for pandas' Timestamp with nanoseconds
                        return {tag: text}
                break
    raise ValueError(
        f"key_columns: column {column} has a value of type {type(value).__name__} that cannot be stored exactly;"
        " CAST it in the query to text, a whole number, a decimal or a timestamp"
    )


def _from_json(given: Any) -> Any:
    if isinstance(given, str) or (isinstance(given, int) and not isinstance(given, bool)):
        return given
    try:
        [(tag, text)] = given.items()
        return _TYPES[tag][2](str.__str__(text))
    except (AttributeError, TypeError, ValueError, KeyError, ArithmeticError):
        tags = ", ".join(_TYPES)
        raise ValueError(
            f"expected each value of a key as text, a whole number, or a mapping of one of {tags} to text"
        ) from None
