"""The users of a query, as members of a segment."""

from __future__ import annotations

from airflow_provider_moengage.bulk.changed.new_columns import NewColumns
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.bulk.members import Members
from airflow_provider_moengage.sources.sql_rows import Query, Rows
from airflow_provider_moengage.sources.sql_stream import database_hook

_ROWS_AT_ONCE = 5_000


def members_of_query(conn_id: str, sql: str, users: CustomerMapping, columns: NewColumns | None) -> Members:
    """Return the members.

    :param conn_id: the database's connection.
    :param users: has the column with their IDs, and no attributes.
    :param columns: gets the columns of the query.
    """
    mappings = None if columns is None else columns.mappings
    return Members(Rows(Query(database_hook(conn_id), sql, None, [users], _ROWS_AT_ONCE, mappings)))
