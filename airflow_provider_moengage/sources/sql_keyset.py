"""Reads a query by key: the rows after one key, up to another, in the order of the keys.

The user's SELECT is used unchanged as a subquery, so that a WHERE selects any part of it. Only the database
compares keys, because the order of values depends on their types and collations. Key values are always bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from airflow_provider_moengage.bulk.mapping import check_columns
from airflow_provider_moengage.sources.database import SourceColumn, database_of, is_operational
from airflow_provider_moengage.sources.sql_key import (
    Key,
    KeyColumns,
    KeyRange,
    RowNumbers,
    check_key_types,
    check_key_values,
)
from airflow_provider_moengage.sources.sql_placeholders import paramstyle_of, placeholder_form
from airflow_provider_moengage.sources.sql_stream import (
    DatabaseHook,
    LostConnectionError,
    Parameters,
    RowStream,
    stream_made_query,
    stream_query,
)

_BOUNDS = (("after", ">", ">"), ("starting_at", ">", ">="), ("up_to", "<", "<="))
"""Each bound of a range with its operators: for all values of a key but the last, and for the last."""


@contextmanager
def stream_range(
    hook: DatabaseHook,
    sql: str,
    parameters: Parameters,
    key_columns: KeyColumns,
    key_range: KeyRange,
    *,
    fetch_size: int,
) -> Iterator[RowStream]:
    """Stream the rows of a query that are in a range, in the order of their keys.

    If the range has no lower bound, rows without a key may be among them: see
    :func:`~airflow_provider_moengage.sources.sql_key.check_key`.

    :param hook: any DbApiHook.
    :param sql: one SELECT.
    :param parameters: in the form that the driver accepts.
    :param fetch_size: rows to hold in memory at once.
    :raises ValueError: if the keys of the range cannot be bound next to the parameters, or several columns of the
        query have the same name.
    """

    def make_query(driver: Any, statement: str) -> tuple[str, Parameters]:
        style, doubled = paramstyle_of(driver, hook), database_of(driver).doubles_percent
        return ranged_query(statement, key_columns, key_range, parameters, style, doubles_percent=doubled)

    with ExitStack() as stack:
        with _explained(hook, sql, parameters, key_columns):
            result = stack.enter_context(stream_made_query(hook, sql, make_query, fetch_size=fetch_size))
        if result.database.may_be_renamed(result.columns):
            _check_columns(hook, sql, parameters, key_columns)
        if result.database.renames_in_subqueries:
            names = _names(hook, sql, parameters)
            result = replace(result, described=tuple(map(_renamed, result.described, names)))
        yield result


def check_keys(hook: DatabaseHook, sql: str, parameters: Parameters, key_columns: KeyColumns) -> None:
    """Check that a query has the key columns, that they can be keys, and that its columns have distinct names.

    :raises ValueError: naming the column.
    """
    with (
        _explained(hook, sql, parameters, key_columns),
        stream_query(hook, sql, parameters, fetch_size=1, wrap=no_rows_query) as result,
    ):
        check_columns(result.columns)
        if result.database.may_be_renamed(result.columns):
            _check_columns(hook, sql, parameters, key_columns)
        columns = [result.described[index] for index in key_columns.indexes(result.columns)]
        check_key_types(columns, result.database.name)
    check_comparisons(hook, sql, parameters, key_columns, columns)


def check_comparisons(
    hook: DatabaseHook,
    sql: str,
    parameters: Parameters,
    key_columns: KeyColumns,
    columns: Sequence[SourceColumn],
) -> None:
    """Check that the database compares the key columns, if their description leaves that open.

    :param columns: the key's.
    :raises ValueError: if it does not.
    """
    if any(column.may_not_compare for column in columns):
        wrap = partial(compared_keys_query, key_columns=key_columns)
        with (
            _explained(hook, sql, parameters, key_columns),
            stream_query(hook, sql, parameters, fetch_size=1, wrap=wrap),
        ):
            pass


@contextmanager
def _explained(hook: DatabaseHook, sql: str, parameters: Parameters, key_columns: KeyColumns) -> Iterator[None]:
    """Replace a database's error by one that names the key column or the duplicate, if it is about these.

    :raises ValueError: naming the column.
    """
    try:
        yield
    except (ValueError, LostConnectionError):
        raise
    except Exception as error:
        _check_columns(hook, sql, parameters, key_columns)
        if not _NO_ORDER.search(str(error)):
            raise
        _check_key_types(hook, sql, parameters, key_columns)
        raise ValueError(
            f"key_columns ({key_columns}): the database has no sort order for the type of one of these columns;"
            " use another column, or CAST it in the query to text, a whole number, a decimal or a timestamp"
        ) from error


_NO_ORDER = re.compile(
    r"ordering operator|operator does not exist|not orderable|cannot be (?:sorted|ordered)", re.IGNORECASE
)
"""Database errors for sorting by a column whose type has no order, or for comparing it."""


def _check_columns(hook: DatabaseHook, sql: str, parameters: Parameters, key_columns: KeyColumns) -> None:
    """Check that the columns of a query, run unchanged, have distinct names and include the key.

    :raises ValueError: naming the duplicates, or the column that is missing.
    """
    with stream_query(hook, sql, parameters, fetch_size=1) as result:
        check_columns(result.columns)
        key_columns.indexes(result.columns)


def _names(hook: DatabaseHook, sql: str, parameters: Parameters) -> tuple[str, ...]:
    """Return the names of a query's columns outside of a subquery."""
    try:
        with stream_query(hook, sql, parameters, fetch_size=1, wrap="{}\nLIMIT 0".format) as result:
            return result.columns
    except Exception as error:
        if not is_operational(error):
            raise
    with stream_query(hook, sql, parameters, fetch_size=1) as result:  # it has a LIMIT of its own
        return result.columns


def _renamed(column: SourceColumn, name: str) -> SourceColumn:
    return column if column.name == name else replace(column, name=name)


def _check_key_types(hook: DatabaseHook, sql: str, parameters: Parameters, key_columns: KeyColumns) -> None:
    wrap = partial(no_keys_query, key_columns=key_columns)
    with stream_query(hook, sql, parameters, fetch_size=1, wrap=wrap) as result:
        check_key_types(result.described, result.database.name)


_WITNESSES = 3
"""Attempts to replace a key whose row is gone by the key of a neighboring row."""


def check_order(
    hook: DatabaseHook, sql: str, parameters: Parameters, key_columns: KeyColumns, keys: Sequence[Key]
) -> None:
    """Check in the database that the sort order of rows matches comparisons with keys, before relying on these.

    For each key, the rows that compare as less or equal must be the first rows in key order, and their number must
    be the row number of the key. If a key's row is gone, the row before its place is checked instead. The database
    reads and sorts the whole query once for all keys, and once more if rows are gone.

    :raises ValueError: if the sort order differs from the comparison, or several rows have the same key.
    """
    for _ in range(_WITNESSES):
        found = _compare(hook, sql, parameters, key_columns, keys)
        gone = []
        for total, up_to, beyond, equal, number, last in found:
            if equal > 1:
                raise ValueError(
                    f"key_columns ({key_columns}): the database treats the keys of {equal} rows as equal; add"
                    " columns until the key of each row is unique, or compare exactly in the query (for example,"
                    " with a binary collation)"
                )
            if up_to + beyond != total or (up_to and last != up_to) or (equal and number != up_to):
                raise _not_in_order(key_columns)
            if not equal and total:
                gone.append(max(up_to, 1))
        if not gone:
            return
        keys = numbered_keys(hook, sql, parameters, key_columns, sorted(set(gone)))
    raise _not_in_order(key_columns)


def numbered_keys(
    hook: DatabaseHook, sql: str, parameters: Parameters, key_columns: KeyColumns, numbers: Sequence[int]
) -> list[Key]:
    """Return the keys with these row numbers, which can be bound again.

    :param numbers: counted from 1 in key order, ascending.
    :raises ValueError: naming the column and the row of a value that cannot be bound again.
    """
    wrap = partial(numbered_keys_query, key_columns=key_columns, numbers=numbers)
    with (
        _explained(hook, sql, parameters, key_columns),
        stream_query(hook, sql, parameters, fetch_size=len(numbers), wrap=wrap) as result,
    ):
        keys = [tuple(row) for row in result.rows]
    for key, number in zip(keys, numbers, strict=False):  # rows may have been removed since they were counted
        for column, value in zip(result.described, key, strict=True):
            check_key_values(column, [value], number - 1, RowNumbers(key_columns))
    return keys


def _not_in_order(key_columns: KeyColumns) -> ValueError:
    return ValueError(
        f"key_columns ({key_columns}): the database's sort order does not match its comparisons, so rows would be"
        " skipped; sending stopped. Use other columns, or CAST these in the query to text, a whole number, a"
        " decimal or a timestamp"
    )


def _compare(
    hook: DatabaseHook, sql: str, parameters: Parameters, key_columns: KeyColumns, keys: Sequence[Key]
) -> list[list[int]]:
    """Return counts for each key: all rows, rows up to it, beyond it and equal to it; then its row number, and the
    highest row number up to it.
    """

    def make_query(driver: Any, statement: str) -> tuple[str, Parameters]:
        style, doubled = paramstyle_of(driver, hook), database_of(driver).doubles_percent
        return comparing_query(statement, key_columns, keys, parameters, style, doubles_percent=doubled)

    with stream_made_query(hook, sql, make_query, fetch_size=1) as result:
        [row] = result.rows
    counts = [int(value or 0) for value in row]
    return [[counts[0], *counts[at : at + 5]] for at in range(1, len(counts), 5)]


def comparing_query(
    sql: str,
    key_columns: KeyColumns,
    keys: Sequence[Key],
    parameters: Parameters,
    paramstyle: str,
    *,
    doubles_percent: bool = True,
) -> tuple[str, Parameters]:
    """Return the query for :func:`check_order`, which returns one row, and its parameters."""
    binder = _Binder(sql, parameters, paramstyle, doubles_percent=doubles_percent)
    names = key_columns.names
    columns = ["COUNT(*)"]
    for key in keys:
        up_to, equal = partial(_beyond, names, key, "<", "<="), partial(_equal, names, key)
        columns += [
            f"SUM(CASE WHEN {up_to(binder.bind)} THEN 1 ELSE 0 END)",
            f"SUM(CASE WHEN {_beyond(names, key, '>', '>', binder.bind)} THEN 1 ELSE 0 END)",
            f"SUM(CASE WHEN {equal(binder.bind)} THEN 1 ELSE 0 END)",
            f"MAX(CASE WHEN {equal(binder.bind)} THEN moengage_number END)",
            f"MAX(CASE WHEN {up_to(binder.bind)} THEN moengage_number END)",
        ]
    named = [f"{column} AS moengage_c{at}" for at, column in enumerate(columns)]
    text = f"SELECT {', '.join(named)} FROM {_numbered('{table}', key_columns)}"  # noqa: S608 (checked names)
    return binder.finish(text, as_table(sql), before=True)


def _equal(names: Sequence[str], key: Key, bind: Callable[[Any], str]) -> str:
    return " AND ".join(f"{name} = {bind(value)}" for name, value in zip(names, key, strict=True))


def null_key_exists(hook: DatabaseHook, sql: str, parameters: Parameters, key_columns: KeyColumns) -> bool:
    """Return whether any row of the query has a NULL in its key. A bounded range would skip such a row."""
    wrap = partial(null_keys_query, key_columns=key_columns)
    with stream_query(hook, sql, parameters, fetch_size=1, wrap=wrap) as result:
        [[rows]] = result.rows
    return bool(rows)


def count_rows(hook: DatabaseHook, sql: str, parameters: Parameters) -> int:
    """Return how many rows a query returns. The database runs the query for it, and returns the number only."""
    with stream_query(hook, sql, parameters, fetch_size=1, wrap=_count_query) as result:
        [[count]] = result.rows
    return int(count)


def count_rows_quickly(
    hook: DatabaseHook, sql: str, parameters: Parameters, most_seconds: float = 1.0
) -> int | None:
    """Return how many rows a query returns, for information: None if the database does not count them in time, for
    whatever reason, or cannot end a query by itself. Then it is not asked to count.

    :param most_seconds: after that the database ends the query.
    """
    if getattr(hook, "conn_type", None) not in _LIMIT_TIME:
        return None
    try:
        with stream_query(
            hook, sql, parameters, fetch_size=1, wrap=_count_query, most_seconds=most_seconds
        ) as result:
            [[count]] = result.rows
        return int(count)
    except Exception:  # noqa: BLE001 (every driver has its own; if the query is wrong, reading it says so)
        return None


_LIMIT_TIME = (None, "mysql", "postgres", "sqlite")
"""Types of connections whose database may end a query by itself; None: the hook names no type.
For others no connection is opened, which takes seconds at some warehouses."""


def _count_query(sql: str) -> str:
    return f"SELECT COUNT(*) FROM {as_table(sql)}"  # noqa: S608 (the user's own statement)


def null_keys_query(sql: str, key_columns: KeyColumns) -> str:
    """Return a query that counts the rows of a query that have a NULL in their key."""
    nulls = " OR ".join(f"{name} IS NULL" for name in key_columns.names)
    return f"SELECT COUNT(*) FROM {as_table(sql)} WHERE {nulls}"  # noqa: S608 (checked names)


def counting_query(sql: str, key_columns: KeyColumns) -> str:
    """Return a query that counts a query's rows, and for each key column the rows in which it is not NULL."""
    counts = "".join(f", COUNT({name})" for name in key_columns.names)
    return f"SELECT COUNT(*){counts} FROM {as_table(sql)}"  # noqa: S608 (checked names)


def no_keys_query(sql: str, key_columns: KeyColumns) -> str:
    """Return a query that returns the key columns and no rows."""
    return f"SELECT {key_columns} FROM {as_table(sql)} WHERE 1 = 0"  # noqa: S608 (checked names)


def compared_keys_query(sql: str, key_columns: KeyColumns) -> str:
    """Return a query that compares each key column and returns no rows."""
    compared = " AND ".join(f"{name} <= {name}" for name in key_columns.names)
    return f"SELECT 1 FROM {as_table(sql)} WHERE 1 = 0 AND {compared}"  # noqa: S608 (checked names)


def no_rows_query(sql: str) -> str:
    """Return a query that returns a query's columns and no rows."""
    return f"SELECT * FROM {as_table(sql)} WHERE 1 = 0"  # noqa: S608 (the user's own statement)


def numbered_keys_query(sql: str, key_columns: KeyColumns, numbers: Sequence[int]) -> str:
    """Return a query for the keys with these row numbers, counted from 1 in key order."""
    listed = ", ".join(map(str, numbers))
    return (
        f"SELECT {key_columns} FROM {_numbered(as_table(sql), key_columns)}"  # noqa: S608 (checked names)
        f" WHERE moengage_number IN ({listed}) ORDER BY moengage_number"
    )


def _numbered(table: str, key_columns: KeyColumns) -> str:
    """Return a subquery of the keys without NULLs, numbered from 1 in key order."""
    number = f"ROW_NUMBER() OVER (ORDER BY {key_columns}) AS moengage_number"
    has_key = " AND ".join(f"{name} IS NOT NULL" for name in key_columns.names)
    return f"(SELECT {key_columns}, {number} FROM {table} WHERE {has_key}) moengage_numbered"  # noqa: S608


def as_table(sql: str) -> str:
    """Return a statement as a subquery for FROM.

    It has no AS, which Oracle does not accept, and has line breaks, because the query may end in a comment.
    """
    return f"(\n{sql}\n) moengage_rows"


def ranged_query(
    sql: str,
    key_columns: KeyColumns,
    key_range: KeyRange,
    parameters: Parameters,
    paramstyle: str,
    *,
    doubles_percent: bool = True,
) -> tuple[str, Parameters]:
    """Return the query for the rows in a range, and its parameters: the user's, then the key values.

    :param sql: one SELECT.
    :param parameters: the user's: None, a sequence or a mapping.
    :param paramstyle: the driver's, as named in PEP 249.
    :param doubles_percent: a % next to ``%s`` placeholders is written ``%%``.
    :raises ValueError: if a key does not have one value per column, or cannot be bound next to the parameters.
    """
    placeholder_form(
        sql, parameters, paramstyle
    )  # a retry that resumes binds keys: better an error before sending
    if key_range == KeyRange():
        return f"SELECT * FROM {as_table(sql)} ORDER BY {key_columns}", parameters  # noqa: S608 (checked names)
    binder = _Binder(sql, parameters, paramstyle, doubles_percent=doubles_percent)
    conditions = []
    for bound, sign, last in _BOUNDS:
        key = getattr(key_range, bound)
        if key is not None:
            if len(key) != len(key_columns.names) or None in key:
                raise ValueError(
                    f"key_range.{bound}: expected a non-NULL value for each of key_columns ({key_columns})"
                )
            conditions.append(f"({_beyond(key_columns.names, key, sign, last, binder.bind)})")
    where = " AND ".join(conditions)
    text = f"SELECT * FROM {{table}} WHERE {where} ORDER BY {key_columns}"  # noqa: S608 (checked names)
    return binder.finish(text, as_table(sql))


class _Binder:
    """Binds values next to the user's parameters.

    :param sql: the user's statement.
    :param parameters: the user's.
    :param paramstyle: the driver's, as named in PEP 249.
    :param doubles_percent: a % next to ``%s`` placeholders is written ``%%``.
    :raises ValueError: if the driver cannot bind further values next to the parameters.
    """

    def __init__(self, sql: str, parameters: Parameters, paramstyle: str, *, doubles_percent: bool) -> None:
        self._doubles_percent = doubles_percent
        self._form = placeholder_form(sql, parameters, paramstyle)
        self._parameters = parameters
        self._prefix = _unused_prefix(sql)
        self._values: dict[str, Any] = {}

    def bind(self, value: Any) -> str:
        """Add a value and return its placeholder."""
        name = f"{self._prefix}{len(self._values) + 1}"
        self._values[name] = value
        return self._form.format(name=name, number=len(self._parameters or ()) + len(self._values))

    def finish(self, text: str, table: str, *, before: bool = False) -> tuple[str, Parameters]:
        """Return the complete query and all of its parameters.

        :param text: the query, with ``{table}`` for the user's statement.
        :param before: the bound values come before the user's statement.
        """
        parameters, values = self._parameters, self._values
        if parameters is None and self._doubles_percent and self._form.startswith("%"):
            table = table.replace("%", "%%")
        query = text.replace("{table}", table)
        if "{name}" in self._form:
            return query, {**(parameters or {}), **values}
        mine, users = tuple(values.values()), tuple(parameters or ())
        return query, (mine + users if before and "{number}" not in self._form else users + mine)


def _unused_prefix(sql: str) -> str:
    """Return a prefix for placeholder names that does not occur in the query."""
    prefix = "moengage_"
    while prefix in sql.lower():
        prefix += "k"
    return prefix


def _beyond(names: Sequence[str], key: Key, sign: str, last: str, bind: Callable[[Any], str]) -> str:
    """Return the condition that selects keys beyond another; its first part lets the database use an index."""
    name, value = names[0], key[0]
    if len(names) == 1:
        return f"{name} {last} {bind(value)}"
    return (
        f"{name} {sign}= {bind(value)} AND"
        f" ({name} {sign} {bind(value)} OR ({_beyond(names[1:], key[1:], sign, last, bind)}))"
    )
