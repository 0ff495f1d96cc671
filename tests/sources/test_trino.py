"""Trino: the client's own mapper of values, description and rows, as its server's JSON makes them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_moengage.sources.database import SourceColumn
from airflow_provider_moengage.sources.databases import trino as trino_database

mapper = pytest.importorskip("trino.mapper", reason="make cloud-databases installs it")


def scalar(raw: str, *arguments: int) -> dict[str, Any]:
    return {"rawType": raw, "arguments": [{"kind": "LONG", "value": value} for value in arguments]}


def of(raw: str, *inner: dict[str, Any]) -> dict[str, Any]:
    return {"rawType": raw, "arguments": [{"kind": "TYPE", "value": each} for each in inner]}


def row_of(**fields: dict[str, Any]) -> dict[str, Any]:
    named = [
        {
            "kind": "NAMED_TYPE",
            "value": {
                **({} if name.startswith("_") else {"fieldName": {"name": name}}),
                "typeSignature": signature,
            },
        }
        for name, signature in fields.items()
    ]
    return {"rawType": "row", "arguments": named}


INTEGER, VARCHAR = scalar("integer"), scalar("varchar", 10)


def read(declared: str, signature: dict[str, Any], given: Any) -> Any:
    """Return what is sent of a value in the server's JSON."""
    from trino.dbapi import ColumnDescription

    described = {"name": "c", "type": declared, "typeSignature": signature}
    [[value]] = mapper.RowMapperFactory().create([described], legacy_primitive_types=False).map([[given]])
    column = column_of(ColumnDescription.from_column(described))
    return column.read(value) if column.read else value


def column_of(described: Any) -> SourceColumn:
    class Cursor:
        description = (described,)

    [column] = trino_database.database_of(None).columns(Cursor(), None)
    return column


@pytest.mark.parametrize(
    ("declared", "signature", "given", "right"),
    [
        ("varchar(10)", VARCHAR, "u-1", "u-1"),
        ("bigint", scalar("bigint"), 1234567890123456789, 1234567890123456789),
        ("decimal(10,2)", scalar("decimal", 10, 2), "1.50", Decimal("1.50")),
        ("double", scalar("double"), 1.5, 1.5),
        ("boolean", scalar("boolean"), True, True),
        ("date", scalar("date"), "2026-01-02", dt.date(2026, 1, 2)),
        ("time(3)", scalar("time", 3), "09:30:00.500", dt.time(9, 30, 0, 500_000)),
        (
            "timestamp(3)",
            scalar("timestamp", 3),
            "2026-01-02 03:04:05.500",
            dt.datetime(2026, 1, 2, 3, 4, 5, 500000),
        ),
        (
            "timestamp(3) with time zone",
            scalar("timestamp with time zone", 3),
            "2026-01-02 08:34:05.000 +05:30",
            dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        ),
        ("interval day to second", scalar("interval day to second"), "-1 02:03:04.500", "-1 02:03:04.500000"),
        ("interval year to month", scalar("interval year to month"), "1-2", "1-2"),
        ("json", scalar("json"), '{"a": [1]}', {"a": [1]}),
        ("json", scalar("json"), '"u-77"', "u-77"),
        ("array(integer)", of("array", INTEGER), [1, None], [1, None]),
        ("map(varchar, integer)", of("map", VARCHAR, INTEGER), {"a": 1}, {"a": 1}),
        ("row(a integer, b varchar(10))", row_of(a=INTEGER, b=VARCHAR), [1, "x"], {"a": 1, "b": "x"}),
        ("row(integer, varchar(10))", row_of(_1=INTEGER, _2=VARCHAR), [1, "x"], [1, "x"]),
        (
            "row(count integer, index v)",
            row_of(count=INTEGER, index=VARCHAR),
            [1, "x"],
            {"count": 1, "index": "x"},
        ),
        (
            "array(row(a row(b interval day to second)))",
            of("array", row_of(a=row_of(b=scalar("interval day to second")))),
            [[["0 00:00:01.000"]]],
            [{"a": {"b": "0 00:00:01"}}],
        ),
    ],
)
def test_a_value_arrives_by_its_type(declared: str, signature: dict[str, Any], given: Any, right: Any) -> None:
    assert read(declared, signature, given) == right


@pytest.mark.parametrize(
    "declared",
    [
        "double",
        "real",
        "json",
        "row(a integer)",
        "map(varchar, integer)",
        "array(integer)",
        "timestamp(9)",
        "time(12)",
        "timestamp(3) with time zone",
        "interval day to second",
    ],
)
def test_a_column_that_cannot_be_a_key_is_refused(declared: str) -> None:
    assert column_of(("k", declared, None, None, None, None, None)).key_problem


@pytest.mark.parametrize(
    "declared", ["varchar", "bigint", "decimal(38,2)", "date", "timestamp(6)", "uuid", "time(3)"]
)
def test_other_columns_can_be_keys(declared: str) -> None:
    assert column_of(("k", declared, None, None, None, None, None)).key_problem is None


def test_a_value_that_the_client_cannot_make_is_not_quoted() -> None:
    from trino.exceptions import TrinoDataError

    class Cursor:
        def fetchmany(self, rows: int) -> Any:
            raise TrinoDataError("Could not convert 'secret' into the associated python type")

    with pytest.raises(ValueError, match=r"^a value that the client cannot convert$"):
        trino_database.database_of(None).fetch(Cursor(), 10)


def test_a_query_that_another_one_may_continue_is_lost() -> None:
    from requests import ConnectionError as RequestsConnectionError
    from trino import exceptions

    database = trino_database.database_of(None)
    lost = (exceptions.TrinoConnectionError(), exceptions.Http503Error(), RequestsConnectionError())

    assert all(map(database.is_lost, lost))
    assert not database.is_lost(exceptions.TrinoUserError({"message": "no such column"}))


def test_the_session_is_utc_unless_the_connection_sets_a_zone() -> None:
    from trino.dbapi import connect

    by_default, by_connection = (
        connect(host="127.0.0.1", user="u"),
        connect(host="127.0.0.1", user="u", timezone="Asia/Kolkata"),
    )
    for connection in (by_default, by_connection):
        trino_database.database_of(connection).prepare(connection)

    assert by_default._client_session.timezone == "UTC"
    assert by_connection._client_session.timezone == "Asia/Kolkata"
