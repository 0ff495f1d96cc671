"""PostgreSQL's times that Python's calendar does not hold, among others: psycopg 3 alone fails at them.

Whatever the driver reads by itself and whatever this package reads, each row comes once and in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from types import SimpleNamespace
from typing import Any

import psycopg
import psycopg2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.types.datetime import TimestampLoader

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.sql_stream import stream_query
from devtools.postgres import postgres_server


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres_server() as port:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"


DATES = st.sampled_from(["2026-01-02", "0001-01-01", "9999-12-31", "infinity", "-infinity", "0044-03-15 BC", None])
MOMENTS = st.sampled_from(
    [
        *("2026-01-02 03:04:05", "2026-07-02 03:04:05.678", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"),
        *("infinity", "-infinity", "0044-03-15 12:00:00 BC", "20000-01-01 00:00:00", "2026-01-01 24:00:00", None),
    ]
)
ROWS = st.lists(st.tuples(DATES, MOMENTS, MOMENTS, DATES), min_size=1, max_size=25)

FINE = ("2026-07-02", "2026-07-02 03:04:05", "2026-07-02 03:04:05", "2026-07-02")
ENDLESS = ("infinity",) * 4


def quoted(text: str | None) -> str:
    return "NULL" if text is None else f"'{text}'"


def query(rows: list[tuple[str | None, ...]]) -> str:
    values = ", ".join(f"({number}, {', '.join(map(quoted, row))})" for number, row in enumerate(rows))
    return (
        "SELECT n, d::date AS d, t::timestamp AS t, z::timestamptz AS z, ARRAY[a::date, '2026-01-02'] AS a"
        f" FROM (VALUES {values}) r (n, d, t, z, a) ORDER BY n"
    )


def read(get_conn: Any, sql: str, fetch_size: int) -> list[tuple[Any, ...]]:
    with stream_query(SimpleNamespace(get_conn=get_conn), sql, fetch_size=fetch_size) as stream:
        return [tuple(row) for row in stream.rows]


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, fetch_size=st.integers(1, 7), zone=st.sampled_from([None, "Etc/UTC", "Europe/Berlin"]))
@example(rows=[FINE] * 5, fetch_size=2, zone="Europe/Berlin")
@example(rows=[FINE] * 5, fetch_size=2, zone="Etc/UTC")
@example(rows=[FINE] * 5 + [ENDLESS] + [FINE] * 5, fetch_size=2, zone=None)
def test_both_drivers_read_the_same_rows(url: str, rows: Any, fetch_size: int, zone: str | None) -> None:
    options = "" if zone is None else f"-c timezone={zone}"
    sql = query(rows)

    found = read(lambda: psycopg.connect(url, options=options), sql, fetch_size)

    expected = read(lambda: psycopg2.connect(url, options=options), sql, fetch_size)
    assert found == expected
    assert [row[0] for row in found] == list(range(len(rows)))
    assert list(map(str, found)) == list(map(str, expected))  # also the zones


@pytest.mark.parametrize("style", ["ISO, DMY", "SQL, DMY", "German", "Postgres, MDY"])
def test_a_way_to_write_dates_that_is_not_read_is_rejected_and_never_misread(url: str, style: str) -> None:
    sql = query([("2026-01-02", "2026-01-02 03:04:05", None, None), ("infinity", None, None, None)])

    [first, second] = read(lambda: psycopg.connect(url, options=f"-c datestyle={style.replace(' ', '')}"), sql, 10)

    right = (date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5))
    assert all(isinstance(value, Unreadable) or value == right[at] for at, value in enumerate(first[1:3]))
    assert isinstance(second[1], Unreadable)


def test_what_a_connection_makes_of_infinity_itself_does_not_count(url: str) -> None:
    class Endless(TimestampLoader):
        def load(self, data: Any) -> datetime:
            return datetime.max

    def get_conn() -> Any:
        connection = psycopg.connect(url)
        connection.adapters.register_loader("timestamp", Endless)
        return connection

    [row] = read(get_conn, "SELECT timestamp 'infinity' AS t", 10)

    assert isinstance(row[0], Unreadable)


@pytest.mark.parametrize("connect", [psycopg.connect, psycopg2.connect], ids=["psycopg 3", "psycopg 2"])
def test_an_error_of_the_server_ends_the_rows_and_repeats_none(url: str, connect: Any) -> None:
    sql = "SELECT n, timestamp '2026-01-01' AS t, 1 / (n - 7) AS x FROM generate_series(1, 20) n"
    found: list[int] = []

    def read_all() -> None:
        hook: Any = SimpleNamespace(get_conn=lambda: connect(url))
        with stream_query(hook, sql, fetch_size=3) as stream:
            found.extend(row[0] for row in stream.rows)

    with pytest.raises(ValueError, match="has a value that cannot be read"):
        read_all()

    assert found == [1, 2, 3, 4, 5, 6]
