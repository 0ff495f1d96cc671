"""Measures rows per second from a database to an HTTP server that responds at once or after 50 ms.

The server is another process. The provider runs the real ``SqlToMoEngageOperator.execute`` with default options;
only the connection raises the limits. The alternatives are typical PythonOperator code: fetch all rows, and post a
hundred at a time, one request after the other or eight at once. SQLite and PostgreSQL hold the same rows. Speeds
without latency are medians of three.
"""

from __future__ import annotations

import csv
import io
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Protocol

from benchmarks import warehouse
from benchmarks.data import CUSTOMERS, Element
from benchmarks.data import Row as SqlRow
from benchmarks.loopback import Loopback, loopback
from benchmarks.rivals import USUAL_BATCH, post
from benchmarks.table import Row, rate_row

GROUP = "Rows from a database to HTTP"
ROWS = 150_000
LATENCY = 0.05
"""Seconds to a response, in addition to none."""
TARGETS = {
    ("SQLite", 0.0): 4.0,
    ("PostgreSQL", 0.0): 2.5,
    ("SQLite", LATENCY): 45.0,
    ("PostgreSQL", LATENCY): 30.0,
}
"""Times the loop's speed, by latency."""

_HAND_WRITTEN_ROWS = 40_000
_ROWS_ONE_BY_ONE = 25_000
"""What sequential requests send in about 15 s, at 50 ms each."""
_ROWS_EIGHT_AT_ONCE = 80_000
_SQL = "SELECT * FROM customers LIMIT {}"
_TYPES = {
    "sqlite": "TEXT TEXT TEXT TEXT REAL TEXT TEXT INTEGER REAL INTEGER TEXT TEXT",
    "postgres": "text text text text numeric(10,2) timestamptz timestamp integer float8 boolean uuid text",
}


class Send(Protocol):
    """Sends rows."""

    def __call__(self, rows: int) -> None:
        """Send this many."""


def rows() -> list[Row]:
    """Measure everything."""
    with sqlite_warehouse():
        found = _of_database("SQLite", CUSTOMERS.element)
    with ExitStack() as stack:
        try:
            stack.enter_context(_postgres())
        except (ImportError, RuntimeError, OSError, subprocess.SubprocessError) as error:
            return [*found, Row(GROUP, "PostgreSQL", f"skipped: {error}")]
        return found + _of_database("PostgreSQL", _from_postgres)


def send_hand_written(url: str, rows: int, fetched: Callable[[SqlRow], Element], lanes: int = 1) -> None:
    """Send rows as a hand-written PythonOperator does.

    :param fetched: builds an element from a row.
    :param lanes: concurrent requests.
    """
    from airflow.providers.common.compat.sdk import BaseHook

    table = BaseHook.get_hook("warehouse").get_records(_SQL.format(rows))

    def send(start: int) -> None:
        post(url, [fetched(row) for row in table[start : start + USUAL_BATCH]])

    starts = range(0, len(table), USUAL_BATCH)
    if lanes == 1:
        for start in starts:
            send(start)
        return
    with ThreadPoolExecutor(lanes) as pool:
        list(pool.map(send, starts))


def send_with_operator(rows: int) -> None:
    """Send rows with the operator."""
    from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

    operator = SqlToMoEngageOperator(
        task_id="sync", conn_id="warehouse", sql=_SQL.format(rows), mapping=CUSTOMERS.mapping
    )
    report = operator.execute(warehouse.CONTEXT)
    assert report["accepted"] == rows, report


def _of_database(name: str, fetched: Callable[[SqlRow], Element]) -> list[Row]:
    found: list[Row] = []
    with loopback() as at_once, loopback(LATENCY) as later:
        for server, latency in ((at_once, 0.0), (later, LATENCY)):
            warehouse.connect_moengage(server.url)

            def loop(rows: int, url: str = server.url) -> None:
                send_hand_written(url, rows, fetched)

            def pool(rows: int, url: str = server.url) -> None:
                send_hand_written(url, rows, fetched, lanes=8)

            jobs: dict[str, tuple[Send, int]] = {
                "ours": (send_with_operator, ROWS),
                "loop": (loop, _ROWS_ONE_BY_ONE if latency else _HAND_WRITTEN_ROWS),
                "pool": (pool, _ROWS_EIGHT_AT_ONCE if latency else _HAND_WRITTEN_ROWS),
            }
            speeds = _speeds(server, jobs, rounds=1 if latency else 3)
            what = f"{name}, response after {latency * 1000:.0f} ms"
            target = TARGETS[name, latency]
            ours = speeds["ours"]
            found += [
                rate_row(GROUP, what, ours, "loop, 100 per request", speeds["loop"], "rows/s", at_least=target),
                rate_row(GROUP, what, ours, "pool of 8, 100 per request", speeds["pool"], "rows/s"),
            ]
    return found


def _speeds(server: Loopback, jobs: dict[str, tuple[Send, int]], rounds: int) -> dict[str, float]:
    for send, _ in jobs.values():
        send(USUAL_BATCH)  # so that imports of the first run do not count
    took: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, (send, rows) in jobs.items():
            server.counts()
            began = time.perf_counter()
            send(rows)
            took[name].append(time.perf_counter() - began)
            counts = server.counts()
            assert counts.elements == rows, f"{name}: {rows} rows sent, {counts.elements} arrived"
            _say(name, rows, took[name][-1], counts.cpu_seconds)
    return {name: jobs[name][1] / statistics.median(seconds) for name, seconds in took.items()}


def _say(name: str, rows: int, seconds: float, server_seconds: float) -> None:
    """Report how busy the server was: near 100 % it would be the bottleneck."""
    busy = server_seconds / seconds
    print(f"  {name}: {rows:,} rows in {seconds:.1f} s; the server used {busy:.0%} of a core", file=sys.stderr)


@contextmanager
def sqlite_warehouse(rows: int = ROWS) -> Iterator[None]:
    """Create a SQLite file with customers and make it the connection ``warehouse``."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "warehouse.db")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(_create("sqlite"))
            places = ", ".join("?" * len(CUSTOMERS.columns))
            connection.executemany(
                f"INSERT INTO customers VALUES ({places})", map(_as_in_sqlite, map(CUSTOMERS.row, range(rows)))
            )
        warehouse.connect_sqlite(path)
        yield


@contextmanager
def _postgres() -> Iterator[None]:
    import psycopg2

    from devtools.postgres import postgres_server

    with postgres_server() as port:
        with closing(psycopg2.connect(host="127.0.0.1", port=port, user="postgres")) as connection, connection:
            cursor = connection.cursor()
            cursor.execute(_create("postgres"))
            all_rows = map(CUSTOMERS.row, range(ROWS))
            while chunk := list(islice(all_rows, 10_000)):
                text = io.StringIO()
                csv.writer(text).writerows(chunk)
                text.seek(0)
                cursor.copy_expert("COPY customers FROM STDIN WITH (FORMAT csv)", text)
        warehouse.connect_postgres(port)
        yield


def _create(database: str) -> str:
    columns = zip(CUSTOMERS.columns, _TYPES[database].split(), strict=True)
    return f"CREATE TABLE customers ({', '.join(f'{name} {kind}' for name, kind in columns)})"


def _as_in_sqlite(row: SqlRow) -> Sequence[object]:
    """Return a row of types that SQLite can hold: no Decimals, datetimes or UUIDs."""
    user, email, city, tier, spent, last, since, *rest, card, referrer = row
    card = None if card is None else str(card)
    return (user, email, city, tier, float(spent), last.isoformat(), since.isoformat(), *rest, card, referrer)


def _from_postgres(row: SqlRow) -> Element:
    """Build an element that the standard library can encode."""
    element = CUSTOMERS.element(row)
    attributes = element["attributes"]
    attributes["spent"] = float(attributes["spent"])
    attributes["last"] = attributes["last"].isoformat()
    attributes["since"] = attributes["since"].isoformat()
    if "card" in attributes:
        attributes["card"] = str(attributes["card"])
    return element
