"""Splits a query into shards of equal size, which mapped tasks send in parallel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from airflow_provider_moengage.arguments import non_empty, whole
from airflow_provider_moengage.sources.sql_key import KeyColumns, key_to_json, null_key_error
from airflow_provider_moengage.sources.sql_keyset import (
    check_keys,
    check_order,
    counting_query,
    numbered_keys,
)
from airflow_provider_moengage.sources.sql_stream import database_hook, stream_query

MOST_SHARDS = 1_000
"""By default Airflow maps a task over at most 1,024 values; Oracle accepts at most 1,000 in a list."""

_MOST_KEYS_CHECKED = 10
"""Keys at the cuts that are compared with all rows: each of them makes the query longer."""


def plan_shards(
    *,
    conn_id: str,
    sql: str,
    key_columns: str | Sequence[str],
    shards: int,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Split the rows of a query into ranges of equal size. Each row is in exactly one range.

    .. code-block:: python

        query = {"conn_id": "warehouse", "sql": "SELECT order_id, user_id, total FROM orders"}
        ranges = task(plan_shards)(**query, key_columns=["order_id"], shards=4)
        SqlToMoEngageOperator.partial(
            task_id="orders", **query, key_columns=["order_id"], mapping=...
        ).expand(key_range=ranges)

    The first range has no lower bound and the last no upper bound, so rows that are added later are in one too. If
    there are fewer rows than ``shards``, there are fewer ranges; without rows there is one. The database numbers
    the rows by their keys; only the keys at the bounds are read.

    These keys appear in the XCom, in Airflow's UI and in the task's log: choose a key that identifies no person,
    such as an order number. Shards are sent in parallel: a user's events are in order within a shard, not across
    shards.

    :param conn_id: a connection of any DbApiHook.
    :param sql: one SELECT, the same as the operator's.
    :param key_columns: columns of its result that are unique together and never NULL, the same as the operator's.
    :param shards: how many ranges, 1 to 1,000.
    :param parameters: values for the query's placeholders, in the driver's own style.
    :raises ValueError: naming the argument that is wrong, the column that is NULL in some row, or key columns that
        the database sorts in another order than it compares them.
    """
    non_empty("conn_id", conn_id)
    non_empty("sql", sql)
    columns, most = KeyColumns(key_columns), whole("shards", shards, 1, MOST_SHARDS)
    hook = database_hook(conn_id)

    check_keys(hook, sql, parameters, columns)
    counting = partial(counting_query, key_columns=columns)
    with stream_query(hook, sql, parameters, fetch_size=1, wrap=counting) as result:
        [(rows, *keyed)] = result.rows
    for name, count in zip(columns.names, keyed, strict=True):
        if count < rows:
            raise null_key_error(name, f"{rows - count} of {rows} rows")
    cuts = sorted({rows * number // most for number in range(1, most)} - {0})
    keys = numbered_keys(hook, sql, parameters, columns, cuts) if cuts else []
    if any(key == following for key, following in pairwise(keys)):
        raise ValueError(
            f"key_columns: rows of the query have the same {columns}; add a column that distinguishes them"
        )
    if keys:
        some = keys[:: -(-len(keys) // _MOST_KEYS_CHECKED)]
        check_order(hook, sql, parameters, columns, some)
    bounds = [key_to_json(key, columns.names) for key in keys]
    return [{"after": after, "up_to": up_to} for after, up_to in pairwise([None, *bounds, None])]
