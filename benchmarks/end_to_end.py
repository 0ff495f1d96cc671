"""Measures rows from a database to an HTTP server that responds at once or after 50 ms.

The server is another process. The provider runs the real ``SqlToMoEngageOperator.execute`` with default options;
only the connection raises the limits. The alternatives are typical PythonOperator code: fetch all rows, and post a
hundred at a time, one request after the other or eight at once; and two reverse-ETL tools, set up for batches (see
:mod:`benchmarks.reverse_etl`). SQLite and PostgreSQL hold the same rows.

Where the server responds at once, the processor is the bound, so it is rows per second of this process's CPU time
that count: the medians of three runs, for the tools of one. Other load on the machine does not change them much.
With 50 ms it is rows per second, the provider's from the best of three runs: it is the only one that needs most of
a processor, so other load takes most from it.
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
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from benchmarks import reverse_etl, warehouse
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
_ROWS_ONE_BY_ONE = 15_000
"""What sequential requests send in about 9 s, at 50 ms each."""
_ROWS_EIGHT_AT_ONCE = 60_000
_TOOLS = dict(zip(("drt", "dlt"), reverse_etl.NAMES, strict=True))
_SQL = "SELECT * FROM customers LIMIT {}"
_TYPES = {
    "sqlite": "TEXT TEXT TEXT TEXT REAL TEXT TEXT INTEGER REAL INTEGER TEXT TEXT",
    "postgres": "text text text text numeric(10,2) timestamptz timestamp integer float8 boolean uuid text",
}


class Send(Protocol):
    """Sends rows."""

    def __call__(self, rows: int) -> None:
        """Send this many."""


@dataclass(frozen=True)
class Job:
    """A way to send rows, how many it sends, and how often."""

    send: Send
    rows: int
    runs: int = 1


def rows() -> list[Row]:
    """Measure everything."""
    with sqlite_warehouse() as path:
        found = _of_database("SQLite", reverse_etl.sqlite(path, CUSTOMERS.element))
    with ExitStack() as stack:
        try:
            port = stack.enter_context(_postgres())
        except (ImportError, RuntimeError, OSError, subprocess.SubprocessError) as error:
            return [*found, Row(GROUP, "PostgreSQL", f"skipped: {error}")]
        return found + _of_database("PostgreSQL", reverse_etl.postgres(port, _from_postgres))


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


def send_with_operator(rows: int, mapping: Any = CUSTOMERS.mapping) -> None:
    """Send rows with the operator; each mapping of a list makes an element of each."""
    from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

    operator = SqlToMoEngageOperator(task_id="sync", conn_id="warehouse", sql=_SQL.format(rows), mapping=mapping)
    report = operator.execute(warehouse.CONTEXT)
    assert report["accepted"] == rows * (len(mapping) if isinstance(mapping, list) else 1), report


def _of_database(name: str, database: reverse_etl.Database) -> list[Row]:
    found: list[Row] = []
    fetched = database.fetched
    with loopback() as at_once, loopback(LATENCY) as later:
        for server, latency in ((at_once, 0.0), (later, LATENCY)):
            warehouse.connect_moengage(server.url)

            def loop(rows: int, url: str = server.url) -> None:
                send_hand_written(url, rows, fetched)

            def pool(rows: int, url: str = server.url) -> None:
                send_hand_written(url, rows, fetched, lanes=8)

            def drt(rows: int, url: str = server.url) -> None:
                reverse_etl.send_with_drt(url, database, rows)

            def dlt(rows: int, url: str = server.url) -> None:
                reverse_etl.send_with_dlt(url, database, rows)

            one_by_one = _ROWS_ONE_BY_ONE if latency else _HAND_WRITTEN_ROWS
            eight, runs = (_ROWS_EIGHT_AT_ONCE, 1) if latency else (_HAND_WRITTEN_ROWS, 3)
            jobs = {
                "ours": Job(send_with_operator, ROWS, runs=3),
                "loop": Job(loop, one_by_one, runs),
                "pool": Job(pool, eight, runs),
                "drt": Job(drt, one_by_one),
                "dlt": Job(dlt, one_by_one),
            }
            speeds = _speeds(server, jobs, is_cpu=not latency)
            what = f"{name}, response after {latency * 1000:.0f} ms"
            unit = "rows/s" if latency else "rows/s of CPU"
            rivals = {"loop": "loop", "pool": "pool of 8", **_TOOLS}
            found += [
                rate_row(
                    GROUP,
                    what,
                    speeds["ours"],
                    f"{rival}, 100 per request",
                    speeds[key],
                    unit,
                    at_least=TARGETS[name, latency] if key == "loop" else None,
                )
                for key, rival in rivals.items()
            ]
    return found


def _speeds(server: Loopback, jobs: dict[str, Job], *, is_cpu: bool) -> dict[str, float]:
    """Return the rows per second of each job, or per second of CPU time."""
    for job in jobs.values():
        job.send(USUAL_BATCH)  # so that imports of the first run do not count
    took: dict[str, list[float]] = {name: [] for name in jobs}
    for at in range(max(job.runs for job in jobs.values())):
        for name, job in jobs.items():
            if at >= job.runs:
                continue
            server.counts()
            began, cpu_began = time.perf_counter(), time.process_time()
            job.send(job.rows)
            seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
            took[name].append(cpu_seconds if is_cpu else seconds)
            counts = server.counts()
            assert counts.elements == job.rows, f"{name}: {job.rows} rows sent, {counts.elements} arrived"
            _say(name, job.rows, seconds, cpu_seconds, counts.cpu_seconds)
    of = statistics.median if is_cpu else min
    return {name: jobs[name].rows / of(seconds) for name, seconds in took.items()}


def _say(name: str, rows: int, seconds: float, cpu_seconds: float, server_seconds: float) -> None:
    """Report how busy the processes were. The server is the bottleneck if it is near 100 %."""
    busy, server_busy = cpu_seconds / seconds, server_seconds / seconds
    print(
        f"  {name}: {rows:,} rows in {seconds:.1f} s, {busy:.0%} of a core; the server {server_busy:.0%}",
        file=sys.stderr,
    )


@contextmanager
def sqlite_warehouse(rows: int = ROWS) -> Iterator[str]:
    """Create a SQLite file with customers and make it the connection ``warehouse``; yield its path."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "warehouse.db")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(_create("sqlite"))
            places = ", ".join("?" * len(CUSTOMERS.columns))
            connection.executemany(
                f"INSERT INTO customers VALUES ({places})", map(_as_in_sqlite, map(CUSTOMERS.row, range(rows)))
            )
        warehouse.connect_sqlite(path)
        yield path


@contextmanager
def _postgres() -> Iterator[int]:
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
        yield port


def _create(database: str) -> str:
    columns = zip(CUSTOMERS.columns, _TYPES[database].split(), strict=True)
    return f"CREATE TABLE customers ({', '.join(f'{name} {kind}' for name, kind in columns)})"


def _as_in_sqlite(row: SqlRow) -> Sequence[object]:
    """Return a row of types that SQLite can hold: no Decimals, datetimes or UUIDs. Times are text that MoEngage
    reads as a time.
    """
    user, email, city, tier, spent, last, since, *rest, card, referrer = row
    card = None if card is None else str(card)
    times = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (last, since))
    return (user, email, city, tier, float(spent), *times, *rest, card, referrer)


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
