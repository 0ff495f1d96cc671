"""Measures reading from each database: peak memory by the number of rows, and CPU per row on PostgreSQL.

Each number of rows is sent by its own process, from a query that generates the rows. A database whose server or
driver is not installed is skipped. CPU is compared with the driver's own named cursor, which holds as many rows.

`python -m benchmarks.databases 100000 5000000` measures other counts.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from benchmarks import warehouse
from benchmarks.loopback import loopback
from benchmarks.table import Row, as_text

GROUP = "Peak memory of a sync from each database"
CPU_GROUP = "CPU of reading from PostgreSQL"
COUNTS = (100_000, 2_000_000)
TARGET = 20.0
"""MB that the largest sync may use more than the smallest."""
CPU_TARGET = 1.05
"""Times the CPU that the driver alone uses."""

_CPU_ROWS, _CPU_ROUNDS = 300_000, 9
_FETCH_SIZE = 1_000

_NUMBERS = {
    "SQLite": "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})"
    " SELECT n FROM c) r",
    "PostgreSQL": "generate_series(1, {rows}) n",
    "MariaDB": "(SELECT seq AS n FROM seq_1_to_{rows}) r",
    "DuckDB": "(SELECT range AS n FROM range(1, {rows} + 1)) r",
}
_NAME = {"SQLite": "'user-' || n", "MariaDB": "concat('user-', n)"}
_DRIVERS = (
    ("SQLite", "sqlite3"),
    ("PostgreSQL", "psycopg2"),
    ("PostgreSQL", "psycopg"),
    ("MariaDB", "MySQLdb"),
    ("MariaDB", "mysql.connector"),
    ("MariaDB", "pymysql"),
    ("DuckDB", "duckdb"),
)
_CPU_SQL = """
SELECT 'user-' || n AS user_id, 'user' || n || '@example.com' AS email, n AS orders, n / 100.0 AS spent,
    timestamp '2026-01-01' + n * interval '1 second' AS seen, date '2026-01-01' + n % 1000 AS joined,
    n % 2 = 0 AS active, CASE WHEN n % 3 = 0 THEN 'gold' END AS tier
FROM generate_series(1, {rows}) n
"""


def rows(counts: tuple[int, ...] = COUNTS) -> list[Row]:
    """Measure everything."""
    from devtools import mariadb
    from devtools.postgres import postgres_server

    found: list[Row] = []
    with ExitStack() as stack:
        url = stack.enter_context(loopback()).url
        ports = {"PostgreSQL": stack.enter_context(postgres_server())}
        if mariadb.IS_INSTALLED:
            ports["MariaDB"] = stack.enter_context(mariadb.mariadb_server()).port
        for database, driver in _DRIVERS:
            top, _, rest = driver.partition(".")
            if find_spec(top) is None or (rest and find_spec(driver) is None):
                found.append(Row(GROUP, f"{database}, {driver}", "skipped: not installed"))
            elif database == "MariaDB" and database not in ports:
                found.append(Row(GROUP, f"{database}, {driver}", "skipped: no server"))
            else:
                found.append(_memory(database, driver, counts, url, ports.get(database, 0)))
        found += [_cpu(driver, ports["PostgreSQL"]) for driver in ("psycopg2", "psycopg")]
    return found


def _memory(database: str, driver: str, counts: tuple[int, ...], url: str, port: int) -> Row:
    peaks = []
    seconds = 0.0
    for count in counts:
        print(f"  {database}, {driver}: {count:,} rows", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.databases", "--send", database, driver, str(count), url, str(port)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2_000:])
        [line] = [line for line in done.stdout.splitlines() if line.startswith("PEAK ")]
        peak, seconds = map(float, line.split()[1:])
        peaks.append(peak)
    more = peaks[-1] - peaks[0]
    return Row(
        GROUP,
        f"{database}, {driver}: {counts[-1]:,} rows ({counts[-1] / seconds:,.0f} rows/s)",
        f"{peaks[-1]:.1f} MB",
        f"{counts[0]:,} rows",
        f"{peaks[0]:.1f} MB",
        target=f"at most {TARGET:.0f} MB more",
        is_met=more <= TARGET,
        value=peaks[-1],
        rival_value=peaks[0],
    )


def _connect(driver: str, port: int) -> Any:
    if driver in ("sqlite3", "duckdb"):
        return import_module(driver).connect(":memory:")
    if driver.startswith("psycopg"):
        return import_module(driver).connect(f"postgresql://postgres@127.0.0.1:{port}/postgres")
    options: dict[str, Any] = {"host": "127.0.0.1", "port": port, "user": "root", "database": "mysql"}
    return import_module(driver).connect(**options)


def _hook(driver: str, port: int) -> Any:
    return SimpleNamespace(get_conn=lambda: _connect(driver, port), get_records=None)


def _send(database: str, driver: str, count: int, url: str, port: int) -> None:
    """Send the rows in this process and report its peak."""
    warehouse.connect_moengage(url)
    from airflow_provider_moengage.bulk.mapping import CustomerMapping
    from airflow_provider_moengage.transfers import sql_to_moengage

    vars(sql_to_moengage)["database_hook"] = lambda _: _hook(driver, port)  # Airflow's hooks have not all drivers
    name = _NAME.get(database, "'user-' || n")
    sql = (
        f"SELECT {name} AS user_id, n AS number, n * 2 AS orders, '{'x' * 100}' AS note"
        f" FROM {_NUMBERS[database].format(rows=count)}"
    )
    began = time.monotonic()
    report = sql_to_moengage.SqlToMoEngageOperator(
        task_id="sync", conn_id="warehouse", sql=sql, mapping=CustomerMapping()
    ).execute(warehouse.CONTEXT)
    assert report["accepted"] == count, report
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kB on Linux
    print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, time.monotonic() - began)


def _cpu(driver: str, port: int) -> Row:
    """Compare this process's CPU time per row. The readers take turns, also at being the first of a round."""
    from airflow_provider_moengage.sources.sql_stream import stream_query

    sql = _CPU_SQL.format(rows=_CPU_ROWS)

    def ours() -> int:
        with stream_query(_hook(driver, port), sql, fetch_size=_FETCH_SIZE) as result:
            return sum(1 for _ in result.read())

    def alone() -> int:
        found = 0
        with closing(_connect(driver, port)) as connection, connection.cursor("alone") as cursor:
            cursor.execute(sql)
            while some := cursor.fetchmany(_FETCH_SIZE):
                found += sum(1 for _ in some)
        return found

    print(f"  CPU of PostgreSQL, {driver}", file=sys.stderr)
    took: dict[Callable[[], int], list[float]] = {ours: [], alone: []}
    for number in range(_CPU_ROUNDS):
        for read in (ours, alone) if number % 2 else (alone, ours):
            began = time.process_time()
            assert read() == _CPU_ROWS
            took[read].append(time.process_time() - began)
    mine, theirs = (statistics.median(seconds) / _CPU_ROWS * 1e6 for seconds in took.values())
    return Row(
        CPU_GROUP,
        f"{driver}, 8 columns",
        f"{mine:.2f} µs per row",
        "the driver's named cursor",
        f"{theirs:.2f} µs per row",
        f"{mine / theirs:.2f} x",
        f"at most {CPU_TARGET:g} x",
        mine / theirs <= CPU_TARGET,
        mine,
        theirs,
    )


def main() -> None:
    """Measure the counts given on the command line, or run as one of the measured processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=list(COUNTS))
    parser.add_argument("--send", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        database, driver, count, url, port = options.send
        _send(database, driver, int(count), url, int(port))
    else:
        print(as_text(rows(tuple(sorted(options.rows)))))


if __name__ == "__main__":
    main()
