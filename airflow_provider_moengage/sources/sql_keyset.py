"""Reading a query by key: the rows after one key, up to another, in the order of the keys.

A key is the values of ``key_columns`` in one row. No two rows have the same, and keys are ordered by their first
value, then by the next. The user's SELECT stays as it is and is read as a table, so that any part of it is one
WHERE away. Only the database compares keys, for what comes after what is a matter of its types and collations.

Between runs a key is JSON that gives back what the driver had returned. In a query its values are always bound.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from hashlib import blake2b
from operator import methodcaller
from typing import Any
from uuid import UUID

from airflow_provider_moengage.bulk.mapping import QueryColumns
from airflow_provider_moengage.sources.database import SourceColumn
from airflow_provider_moengage.sources.sql_stream import (
    Parameters,
    RowStream,
    statement,
    stream_made_query,
    stream_query,
)

Key = tuple[Any, ...]

NAME_BYTES = 8
"""Of a digest: two of ten thousand open elements have the same one once in hundreds of billions of kills."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
# Without a %, which would be doubled or not by whether there are parameters.
_QUOTED = re.compile(r'"[^"%]+"|`[^`%]+`|\[[^\[\]%]+\]')


@dataclass(frozen=True, slots=True)
class KeyColumns:
    """The columns of a query that make a row's key.

    :param names: as the query's result has them, the most significant first: a list, or one name. A name that is
        no plain identifier is given in the database's own quotes: ``'"Order Id"'``. The driver has to return
        exactly what they hold, which it does not of a REAL, nor of what is finer than a microsecond: CAST those.
    :raises ValueError: naming ``key_columns``.
    """

    names: Sequence[str]

    def __post_init__(self) -> None:
        names = (self.names,) if isinstance(self.names, str) else self.names
        if not isinstance(names, list | tuple) or not names:
            raise ValueError("key_columns: expected the name of a column, or a list of them that is not empty")
        for name in names:
            if not isinstance(name, str) or not (_PLAIN.fullmatch(name) or _QUOTED.fullmatch(name)):
                raise ValueError(
                    f"key_columns: {name!r} is no plain name of a column of the query's result; give the column"
                    " one in the query (AS order_id), or put it into the database's quotes ('\"Order Id\"')"
                )
        if len({_unquoted(name).lower() for name in names}) < len(names):
            raise ValueError("key_columns: expected names that differ")
        object.__setattr__(self, "names", tuple(names))

    def __str__(self) -> str:
        """Return them as a query lists them."""
        return ", ".join(self.names)

    def indexes(self, columns: Sequence[str]) -> list[int]:
        """Return where the key's values are in a row.

        :param columns: the query's columns, in the row's order.
        :raises ValueError: naming the column that the query does not have.
        """
        index = QueryColumns("key_columns", columns)
        return [index.of(_unquoted(name)) for name in self.names]


@dataclass(frozen=True, slots=True)
class KeyRange:
    """A part of a query's rows; without bounds it is all of them.

    :param after: rows whose key comes after this one.
    :param starting_at: rows from this key on.
    :param up_to: rows up to this key, with it.
    """

    after: Key | None = None
    starting_at: Key | None = None
    up_to: Key | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the range as JSON.

        :raises ValueError: where a value of a key has no JSON form.
        """
        bounds = {"after": self.after, "up_to": self.up_to}
        if self.starting_at is not None:
            bounds["starting_at"] = self.starting_at
        return {bound: None if key is None else key_to_json(key) for bound, key in bounds.items()}

    @classmethod
    def from_dict(cls, given: Any) -> KeyRange:
        """Return the range of its JSON.

        :raises ValueError: naming ``key_range``, where it is none.
        """
        if not isinstance(given, Mapping) or set(given) - {"after", "starting_at", "up_to"}:
            raise ValueError("key_range: expected a mapping of after, starting_at or up_to to a key, or None")
        try:
            return cls(**{bound: None if key is None else key_from_json(key) for bound, key in given.items()})
        except ValueError as error:
            raise ValueError(f"key_range: {error}") from None


def stream_range(
    hook: Any, sql: str, parameters: Parameters, key_columns: KeyColumns, key_range: KeyRange, *, fetch_size: int
) -> AbstractContextManager[RowStream]:
    """Stream the rows of a query that are in a range, in the order of their keys.

    Where the range has no lower bound, rows without a key may be among them: see :func:`check_key`.

    :param hook: any DbApiHook.
    :param sql: one SELECT.
    :param parameters: as the driver takes them.
    :param fetch_size: rows that are held at once.
    :raises ValueError: where the parameters leave no way to bind the range's keys.
    """

    def make_query(driver: Any) -> tuple[str, Parameters]:
        return ranged_query(sql, key_columns, key_range, parameters, paramstyle_of(driver, hook))

    return stream_made_query(hook, make_query, fetch_size=fetch_size)


def null_key_exists(hook: Any, sql: str, parameters: Parameters, key_columns: KeyColumns) -> bool:
    """Say whether a row of the query has a NULL in its key: a range with a bound would miss it."""
    with stream_query(hook, null_keys_query(sql, key_columns), parameters, fetch_size=1) as result:
        [[rows]] = result.rows
    return bool(rows)


def null_keys_query(sql: str, key_columns: KeyColumns) -> str:
    """Return a query that counts the rows of a query that have a NULL in their key."""
    nulls = " OR ".join(f"{name} IS NULL" for name in key_columns.names)
    return f"SELECT COUNT(*) FROM {as_table(sql)} WHERE {nulls}"  # noqa: S608 (checked names)


def as_table(sql: str) -> str:
    """Return a query as what can stand after FROM.

    Oracle takes no AS; the query's last line may be a comment.
    """
    return f"(\n{statement(sql)}\n) moengage_rows"


def ranged_query(
    sql: str, key_columns: KeyColumns, key_range: KeyRange, parameters: Parameters, paramstyle: str
) -> tuple[str, Parameters]:
    """Return the query of the rows in a range, and its parameters: the user's, then the keys' values.

    :param sql: one SELECT.
    :param parameters: the user's: None, a sequence or a mapping.
    :param paramstyle: the driver's, a name of PEP 249.
    :raises ValueError: where a key has not one value a column, or the driver cannot take it beside the parameters.
    """
    values: dict[str, Any] = {}
    conditions: list[str] = []
    table = as_table(sql)
    if key_range != KeyRange():
        form = _placeholder(sql, parameters, paramstyle)
        prefix = "moengage_"
        while prefix in sql.lower():
            prefix += "k"

        def bind(value: Any) -> str:
            name = f"{prefix}{len(values) + 1}"
            values[name] = value
            return form.format(name=name, number=len(parameters or ()) + len(values))

        for bound, sign, last in (("after", ">", ">"), ("starting_at", ">", ">="), ("up_to", "<", "<=")):
            key = getattr(key_range, bound)
            if key is not None:
                if len(key) != len(key_columns.names) or None in key:
                    raise ValueError(
                        f"key_range.{bound}: expected a value, not NULL, for each of key_columns ({key_columns})"
                    )
                conditions.append(f"({_beyond(key_columns.names, key, sign, last, bind)})")
        if parameters is None and form.startswith("%"):
            table = table.replace("%", "%%")
        if "{name}" in form:
            parameters = {**(parameters or {}), **values}
        else:
            parameters = (*(parameters or ()), *values.values())
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT * FROM {table}{where} ORDER BY {key_columns}", parameters  # noqa: S608 (checked names)


def _beyond(names: Sequence[str], key: Key, sign: str, last: str, bind: Callable[[Any], str]) -> str:
    """Return the condition that a key is beyond another; its first part lets the database use an index."""
    name, value = names[0], key[0]
    if len(names) == 1:
        return f"{name} {last} {bind(value)}"
    return (
        f"{name} {sign}= {bind(value)} AND"
        f" ({name} {sign} {bind(value)} OR ({_beyond(names[1:], key[1:], sign, last, bind)}))"
    )


_BY_NAME = {"named": ":{name}", "pyformat": "%({name})s", "format": "%({name})s", "qmark": ":{name}"}
_BY_POSITION = {"qmark": "?", "numeric": ":{number}", "format": "%s", "pyformat": "%s"}
_STYLES = {*_BY_NAME, *_BY_POSITION}


def _placeholder(sql: str, parameters: Parameters, paramstyle: str) -> str:
    """Return the form of our placeholders: of one kind with the user's, for no driver takes two kinds."""
    if parameters is not None and not isinstance(parameters, Mapping | list | tuple):
        raise ValueError("parameters: expected a list or a mapping")
    if not parameters:
        return (_BY_NAME if paramstyle in ("named", "pyformat") else _BY_POSITION)[paramstyle]
    if isinstance(parameters, Mapping):
        if paramstyle == "numeric":
            raise ValueError(
                "parameters: this driver numbers its placeholders (:1, :2); expected a list of values"
            )
        if paramstyle == "qmark" and any(f"${name}" in sql for name in parameters):
            return "${name}"  # DuckDB
        return _BY_NAME[paramstyle]
    if paramstyle != "named":
        return _BY_POSITION[paramstyle]
    # What such a driver takes with a list is its own: Oracle :1 or :name, Databricks ?, Vertica %s.
    for placeholder, form in ((r"(?<![\w:]):\w", ":{number}"), (r"\?", "?"), ("%s", "%s")):
        if re.search(placeholder, sql):
            return form
    raise ValueError("parameters: this driver names its placeholders (:name); expected a mapping of name to value")


def paramstyle_of(driver: Any, hook: Any = None) -> str:
    """Return how a driver marks placeholders, by PEP 249.

    :param driver: its connection, or its module.
    :param hook: whose connection it is, asked where the driver does not say.
    """
    modules = (
        sys.modules.get(".".join(parts[:length]))
        for kind in type(driver).__mro__  # a connection's class may be the user's own
        for parts in [kind.__module__.split(".")]
        for length in range(len(parts), 0, -1)
    )
    for place in (driver, *modules):  # Snowflake's connection has a style of its own
        style = getattr(place, "paramstyle", None)
        if isinstance(style, str) and style in _STYLES:
            return str(style)
    # BigQuery's hook does not say, and takes %(name)s only.
    return "qmark" if getattr(hook, "placeholder", None) == "?" else "pyformat"


def check_key_types(columns: Sequence[SourceColumn], database: str) -> None:
    """Check that the columns of a key order as they compare, and that the driver gives back what they hold.

    :param columns: those of the key.
    :param database: its name, for the message.
    :raises ValueError: naming the column and what can be a key instead.
    """
    for column in columns:
        if column.key_problem is not None:
            cast = column.key_advice.format(name=column.name)
            raise ValueError(
                f"key_columns: column {column.name!r} is of type {column.type_name}, which {column.key_problem} in"
                f" {database}; name another column, or make one of it in the query ({cast} AS {column.name}_key)"
            )


def check_key(key: Key, names: Sequence[str], row: int) -> None:
    """Check that a row has a key.

    :param names: the key's columns, for the message.
    :param row: the row's number, for the message.
    :raises ValueError: where a value is NULL.
    """
    if None in key:
        raise null_key_error(names[key.index(None)], f"row {row}")


def null_key_error(name: str, where: str) -> ValueError:
    """Return the error of a column of the key that is NULL somewhere."""
    return ValueError(
        f"key_columns: column {_unquoted(name)!r} is NULL in {where} of the query; leave such rows out"
        f" (WHERE {name} IS NOT NULL), or choose columns that are never NULL"
    )


def key_to_json(key: Key, names: Sequence[str] = ()) -> list[Any]:
    """Return a key as JSON: texts and whole numbers are themselves, others ``{"date": "2026-01-31"}`` and alike.

    :param names: the key's columns, for the message.
    :raises ValueError: naming the column whose type has no exact JSON form.
    """
    return [
        value if type(value) is str else _to_json(value, repr(_unquoted(names[at])) if names else str(at + 1))
        for at, value in enumerate(key)
    ]


def key_from_json(given: Any) -> Key:
    """Return the key of its JSON, each value of the type that it had.

    :raises ValueError: where it is none.
    """
    if not isinstance(given, list | tuple) or not given:
        raise ValueError("a key is a list of values, one for each of key_columns")
    return tuple(map(_from_json, given))


def digest(key: Key, number: int) -> bytes:
    """Return eight bytes that stand for an element in a checkpoint: the same in each process and each try.

    :param key: of the element's row.
    :param number: which of the row's elements it is.
    """
    return blake2b(json.dumps([number, *key_to_json(key)]).encode(), digest_size=NAME_BYTES).digest()


# The first kind that fits, so a bool is no int, and a datetime no date. All texts, which every JSON keeps exactly.
# No floats: bound again, one may be beside the column's own value (PostgreSQL's real), and its row would be lost.
_KINDS: dict[str, tuple[type | tuple[type, ...], Callable[[Any], str], Callable[[str], Any]]] = {
    "bool": (bool, str, {"True": True, "False": False}.__getitem__),
    "int": (int, int.__repr__, int),
    "decimal": (Decimal, str, Decimal),
    "datetime": (datetime, methodcaller("isoformat"), datetime.fromisoformat),
    "date": (date, methodcaller("isoformat"), date.fromisoformat),
    "time": (time, methodcaller("isoformat"), time.fromisoformat),
    "uuid": (UUID, str, UUID),
    "bytes": ((bytes, bytearray, memoryview), lambda value: bytes(value).hex(), bytes.fromhex),
}
_MOST_PLAIN = 2**63 - 1  # longer numbers are rounded or refused on some ways that JSON takes through Airflow


def _to_json(value: Any, column: str) -> Any:
    if getattr(value, "shape", None) == () and value.dtype.kind in "biufSU":
        value = value.item()  # of numpy's; its datetimes would become numbers
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST_PLAIN:
        return int(value)
    if not isinstance(value, Decimal) or value.is_finite():
        for tag, (kind, write, read) in _KINDS.items():
            if isinstance(value, kind):
                text = write(value)
                with suppress(ValueError):  # pandas' NaT
                    if write(read(text)) == text:  # not so for what is finer than its kind, like its Timestamp
                        return {tag: text}
                break
    raise ValueError(
        f"key_columns: column {column} has a value of type {type(value).__name__} that cannot be kept exactly;"
        " CAST it in the query to text, a whole number, a decimal or a timestamp"
    )


def _from_json(given: Any) -> Any:
    if isinstance(given, str) or (isinstance(given, int) and not isinstance(given, bool)):
        return given
    try:
        [(tag, text)] = given.items()
        return _KINDS[tag][2](str.__str__(text))
    except (AttributeError, TypeError, ValueError, KeyError, ArithmeticError):
        kinds = ", ".join(_KINDS)
        raise ValueError(
            f"a value of a key is a text, a whole number, or a mapping of one of {kinds} to its text"
        ) from None


def _unquoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else name[1:-1]
