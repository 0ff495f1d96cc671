"""Redshift: the driver's own converters, types and cursor class, with rows as the server encodes them."""

from __future__ import annotations

import datetime as dt
import struct
from typing import Any

import pytest

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.database import SourceColumn
from airflow_provider_moengage.sources.databases import redshift as redshift_database
from airflow_provider_moengage.sources.sql_key import KeyColumns, KeyRange
from airflow_provider_moengage.sources.sql_keyset import ranged_query

redshift_connector = pytest.importorskip("redshift_connector", reason="make cloud-databases installs it")


def column_of(type_name: str) -> SourceColumn:
    """Describe a column by the driver's own cursor, from the server's description of rows."""
    from redshift_connector.utils.oids import RedshiftOID

    cursor = redshift_connector.Cursor.__new__(redshift_connector.Cursor)
    cursor.ps = {"row_desc": [{"label": b"c", "type_oid": int(getattr(RedshiftOID, type_name))}]}
    [column] = redshift_database.database_of(None).columns(redshift_database._ServerCursor(cursor), None)
    return column


MICROSECONDS_TO_2026 = 820_638_245_000_000  # from 2000-01-01 to 2026-01-02 03:04:05


@pytest.mark.parametrize(
    ("type_name", "data", "right"),
    [
        ("VARCHAR", b"u-1", "u-1"),
        ("BIGINT", struct.pack("!q", 1234567890123456789), 1234567890123456789),
        ("BOOLEAN", b"\x01", True),
        ("SUPER", b'{"a": [1]}', {"a": [1]}),
        ("SUPER", b'"u-77"', "u-77"),
        ("TIMESTAMP", struct.pack("!q", MICROSECONDS_TO_2026), dt.datetime(2026, 1, 2, 3, 4, 5)),
        ("TIMESTAMPTZ", struct.pack("!q", MICROSECONDS_TO_2026), dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
        ("TIMESTAMPTZ", struct.pack("!q", 2**63 - 1), None),
        ("DATE", struct.pack("!i", 10_000_000), None),
        ("INTERVAL", struct.pack("!qhh", 3_000_000, 1, 0), "1 00:00:03"),
        ("INTERVALY2M", struct.pack("!i", 14), "1-2"),
        ("INTERVALD2S", struct.pack("!q", -500_000), "-0 00:00:00.500000"),
    ],
)
def test_a_value_arrives_by_its_type(type_name: str, data: bytes, right: Any) -> None:
    from redshift_connector.utils.oids import RedshiftOID
    from redshift_connector.utils.type_utils import redshift_types

    value = redshift_types[getattr(RedshiftOID, type_name)][1](data, 0, len(data))
    column = column_of(type_name)
    sent = column.read(value) if column.read else value

    assert isinstance(sent, Unreadable) if right is None else sent == right


@pytest.mark.parametrize("type_name", ["REAL", "FLOAT", "SUPER", "INTERVAL", "GEOMETRY", "INTEGER_ARRAY"])
def test_a_column_that_cannot_be_a_key_is_refused(type_name: str) -> None:
    assert column_of(type_name).key_problem


@pytest.mark.parametrize("type_name", ["VARCHAR", "BIGINT", "NUMERIC", "DATE", "TIMESTAMP", "TIMESTAMPTZ"])
def test_other_columns_can_be_keys(type_name: str) -> None:
    assert column_of(type_name).key_problem is None


def test_a_percent_in_a_string_reaches_the_server_as_it_is() -> None:
    from redshift_connector.core import convert_paramstyle

    sql = "SELECT a FROM t WHERE b LIKE '100%'"
    doubled = redshift_database.database_of(None).doubles_percent
    query, _ = ranged_query(sql, KeyColumns("a"), KeyRange(after=(1,)), None, "format", doubles_percent=doubled)

    assert sql in convert_paramstyle("format", query)[0]


def test_rows_are_fetched_through_a_cursor_of_the_server() -> None:
    class Cursor:
        description = (("c", 25),)

        def __init__(self) -> None:
            self.executed: list[Any] = []

        def execute(self, *statement: Any) -> None:
            self.executed.append(statement)

        def fetchall(self) -> Any:
            return (("a",),)

        def close(self) -> None: ...

    class Connection:
        autocommit = True

        def __init__(self) -> None:
            self.made = Cursor()

        def cursor(self) -> Any:
            return self.made

    connection, database = Connection(), redshift_database.database_of(None)
    database.prepare(connection)
    with database.cursor(connection, 500) as cursor:
        cursor.execute("SELECT c FROM t WHERE a > %s", (1,))
        assert database.fetch(cursor, 500) == (("a",),)

    assert not connection.autocommit
    assert connection.made.executed == [
        ("SET timezone TO 'UTC'",),
        ("DECLARE moengage CURSOR FOR SELECT c FROM t WHERE a > %s", (1,)),
        ("FETCH FORWARD 500 FROM moengage",),
    ]
