"""Reads a query by key: the rows after one key, up to another, in the order of the keys.

The user's SELECT stays as it is and is read as a table, so that any part of it is one WHERE away. Only the
database compares keys, because the order of values depends on their types and collations. Values of keys are
always bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from airflow_provider_moengage.sources.sql_key import Key, KeyColumns, KeyRange
from airflow_provider_moengage.sources.sql_placeholders import paramstyle_of, placeholder_form
from airflow_provider_moengage.sources.sql_stream import (
    DatabaseHook,
    Parameters,
    RowStream,
    stream_made_query,
    stream_query,
)

_BOUNDS = (("after", ">", ">"), ("starting_at", ">", ">="), ("up_to", "<", "<="))
"""Each bound of a range with its operators: for all values of a key but the last, and for the last."""


def stream_range(
    hook: DatabaseHook,
    sql: str,
    parameters: Parameters,
    key_columns: KeyColumns,
    key_range: KeyRange,
    *,
    fetch_size: int,
) -> AbstractContextManager[RowStream]:
    """Stream the rows of a query that are in a range, in the order of their keys.

    If the range has no lower bound, rows without a key may be among them: see
    :func:`~airflow_provider_moengage.sources.sql_key.check_key`.

    :param hook: any DbApiHook.
    :param sql: one SELECT.
    :param parameters: as the driver takes them.
    :param fetch_size: rows that are held at once.
    :raises ValueError: if the keys of the range cannot be bound next to the parameters.
    """

    def make_query(driver: Any, statement: str) -> tuple[str, Parameters]:
        return ranged_query(statement, key_columns, key_range, parameters, paramstyle_of(driver, hook))

    return stream_made_query(hook, sql, make_query, fetch_size=fetch_size)


def null_key_exists(hook: DatabaseHook, sql: str, parameters: Parameters, key_columns: KeyColumns) -> bool:
    """Return whether any row of the query has a NULL in its key: a range with a bound would miss it."""
    wrap = partial(null_keys_query, key_columns=key_columns)
    with stream_query(hook, sql, parameters, fetch_size=1, wrap=wrap) as result:
        [[rows]] = result.rows
    return bool(rows)


def null_keys_query(sql: str, key_columns: KeyColumns) -> str:
    """Return a query that counts the rows of a query that have a NULL in their key."""
    nulls = " OR ".join(f"{name} IS NULL" for name in key_columns.names)
    return f"SELECT COUNT(*) FROM {as_table(sql)} WHERE {nulls}"  # noqa: S608 (checked names)


def counting_query(sql: str, key_columns: KeyColumns) -> str:
    """Return a query of one row: how many rows a query has, and in how many each key column is not NULL."""
    counts = "".join(f", COUNT({name})" for name in key_columns.names)
    return f"SELECT COUNT(*){counts} FROM {as_table(sql)}"  # noqa: S608 (checked names)


def numbered_keys_query(sql: str, key_columns: KeyColumns, numbers: Sequence[int]) -> str:
    """Return a query of the keys with these row numbers, counted from 1 in the order of the keys."""
    numbered = f"SELECT {key_columns}, ROW_NUMBER() OVER (ORDER BY {key_columns}) AS moengage_number"
    listed = ", ".join(map(str, numbers))
    return (
        f"SELECT {key_columns} FROM ({numbered} FROM {as_table(sql)}) moengage_numbered"  # noqa: S608
        f" WHERE moengage_number IN ({listed}) ORDER BY moengage_number"
    )


def as_table(sql: str) -> str:
    """Return a statement in the form that can follow FROM.

    Without AS, which Oracle does not accept. With line breaks, because the query may end in a comment.
    """
    return f"(\n{sql}\n) moengage_rows"


def ranged_query(
    sql: str, key_columns: KeyColumns, key_range: KeyRange, parameters: Parameters, paramstyle: str
) -> tuple[str, Parameters]:
    """Return the query of the rows in a range, and its parameters: the user's, then the values of the keys.

    :param sql: one SELECT.
    :param parameters: the user's: None, a sequence or a mapping.
    :param paramstyle: the driver's, a name of PEP 249.
    :raises ValueError: if a key does not have one value per column, or cannot be bound next to the parameters.
    """
    table = as_table(sql)
    if key_range == KeyRange():
        return f"SELECT * FROM {table} ORDER BY {key_columns}", parameters  # noqa: S608 (checked names)
    form = placeholder_form(sql, parameters, paramstyle)
    values: dict[str, Any] = {}
    prefix = _unused_prefix(sql)

    def bind(value: Any) -> str:
        name = f"{prefix}{len(values) + 1}"
        values[name] = value
        return form.format(name=name, number=len(parameters or ()) + len(values))

    conditions = []
    for bound, sign, last in _BOUNDS:
        key = getattr(key_range, bound)
        if key is not None:
            if len(key) != len(key_columns.names) or None in key:
                raise ValueError(
                    f"key_range.{bound}: expected a value, not NULL, for each of key_columns ({key_columns})"
                )
            conditions.append(f"({_beyond(key_columns.names, key, sign, last, bind)})")
    if parameters is None and form.startswith("%"):
        table = table.replace("%", "%%")
    where = " AND ".join(conditions)
    query = f"SELECT * FROM {table} WHERE {where} ORDER BY {key_columns}"  # noqa: S608 (checked names)
    if "{name}" in form:
        return query, {**(parameters or {}), **values}
    return query, (*(parameters or ()), *values.values())


def _unused_prefix(sql: str) -> str:
    """Return a prefix for names of placeholders that does not occur in a query."""
    prefix = "moengage_"
    while prefix in sql.lower():
        prefix += "k"
    return prefix


def _beyond(names: Sequence[str], key: Key, sign: str, last: str, bind: Callable[[Any], str]) -> str:
    """Return the condition that a key is beyond another; its first part lets the database use an index."""
    name, value = names[0], key[0]
    if len(names) == 1:
        return f"{name} {last} {bind(value)}"
    return (
        f"{name} {sign}= {bind(value)} AND"
        f" ({name} {sign} {bind(value)} OR ({_beyond(names[1:], key[1:], sign, last, bind)}))"
    )
