"""Measures how CPU time grows with columns and lanes, and what the start of a task costs.

Rows and users are in :mod:`benchmarks.memory`, with the time to the first request. Nothing may grow faster than
linearly. All is CPU time, so that other load on the machine counts little. Columns go through the pipeline to
request bodies, over a database that returns rows at almost no cost. Lanes send rows of SQLite to a server that
responds after 20 ms. A figure is the least of its repeats. A series has grown faster than linearly if its largest
costs more than a quarter more per row (columns: per value; lanes: per lane) than its second.

A workspace holds 256 custom attributes, and a mapping of more is refused when the Dag is parsed: at most 250
columns are measured.

The start of a task is what its process does beyond importing Airflow's Task SDK: importing the operator, the hooks
and the drivers, connecting, and sending one row.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from benchmarks import end_to_end, warehouse
from benchmarks.data import CUSTOMERS, Kind
from benchmarks.data import Row as SqlRow
from benchmarks.loopback import loopback
from benchmarks.pipeline import bodies, source_of_rows
from benchmarks.table import Row, times

GROUP = "Scale: CPU per row"
START_GROUP = "Scale: start of a task, CPU time beyond Airflow's"
COLUMNS = (5, 20, 100, 250)
TOO_MANY_COLUMNS = 300
LANES = (1, 2, 4, 8, 16, 32)
_VALUES = 2_000_000
"""Values of a measurement of columns: the wider the rows, the fewer."""

_ROWS_OF_LANES = 40_000
_LATENCY = 0.02
_MOST = 1.25


def rows() -> list[Row]:
    """Measure everything."""
    return [*_columns(), _too_many_columns(), *_lanes(), *_starts()]


class _Repeated:
    """Many rows in little memory: the same chunk again and again."""

    def __init__(self, chunk: Sequence[SqlRow], count: int) -> None:
        self._chunk = chunk
        self._count = count

    def __getitem__(self, wanted: slice) -> Sequence[SqlRow]:
        return self._chunk[: max(min(wanted.stop, self._count) - wanted.start, 0)]


def _columns() -> list[Row]:
    costs: dict[str, float] = {}
    per_value: dict[str, float] = {}
    for columns in COLUMNS:
        kind = _wide(columns)
        chunk = [kind.row(number) for number in range(5_000)]
        name = f"{columns} columns"
        costs[name] = _packing(kind, chunk, _VALUES // columns, repeats=2)
        per_value[name] = costs[name] / columns
    return _series("customers", costs, per_value)


def _too_many_columns() -> Row:
    try:
        _wide(TOO_MANY_COLUMNS)
    except ValueError:
        says = "refused: at most 256 attributes"
    else:
        says = "accepted"
    return Row(
        GROUP,
        f"customers: {TOO_MANY_COLUMNS} columns",
        says,
        target="refused when the Dag is parsed",
        is_met=says != "accepted",
    )


def _lanes() -> list[Row]:
    from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator

    def send(lanes: int) -> None:
        operator = SqlToMoEngageOperator(
            task_id="sync",
            conn_id="warehouse",
            sql="SELECT * FROM customers",
            mapping=CUSTOMERS.mapping,
            concurrency=lanes,
        )
        report = operator.execute(warehouse.CONTEXT)
        assert report["accepted"] == _ROWS_OF_LANES, report

    with end_to_end.sqlite_warehouse(_ROWS_OF_LANES), loopback(_LATENCY) as server:
        warehouse.connect_moengage(server.url)
        send(1)  # so that imports of the first run do not count
        costs = {
            f"{lanes} lanes": _cpu(lambda lanes=lanes: send(lanes), 2) / _ROWS_OF_LANES  # type: ignore[misc]
            for lanes in LANES
        }
    # A lane costs a thread and a connection, so a run may cost as much more as it has more lanes.
    return _series("SQLite to HTTP", costs, {name: cost / int(name.split()[0]) for name, cost in costs.items()})


_START = """
import sys, time
from benchmarks import warehouse
from airflow.sdk import DAG, Asset, BaseHook, BaseOperator
warehouse.connect_moengage(sys.argv[2])
warehouse.connect_sqlite(sys.argv[3])
began = time.process_time()
from benchmarks import end_to_end
if sys.argv[1] == "provider":
    end_to_end.send_with_operator(1)
else:
    end_to_end.send_hand_written(sys.argv[2], 1, end_to_end.CUSTOMERS.element)
print("CPU", time.process_time() - began)
"""


def _starts() -> list[Row]:
    with end_to_end.sqlite_warehouse(1) as path, loopback() as server:
        took = {
            who: min(_start(who, server.url, path) for _ in range(3)) for who in ("provider", "PythonOperator")
        }
    ours, theirs = took.values()
    return [
        Row(
            START_GROUP,
            "one row, from SQLite",
            f"{ours:.2f} s",
            "PythonOperator, requests.post",
            f"{theirs:.2f} s",
            times(ours / theirs),
        )
    ]


def _start(who: str, url: str, path: str) -> float:
    command = [sys.executable, "-c", _START, who, url, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("CPU ")]
    return float(line.removeprefix("CPU "))


def _series(what: str, costs: dict[str, float], grows: dict[str, float]) -> list[Row]:
    """Return the rows of a series.

    :param grows: what must not grow, by the same names.
    """
    names = list(costs)
    base = grows[names[1]]
    return [
        Row(
            GROUP,
            f"{what}: {name}",
            f"{costs[name] * 1e6:.2f} µs",
            names[1],
            f"{costs[names[1]] * 1e6:.2f} µs",
            f"{costs[name] / costs[names[1]]:.2f} x",
            "not faster than linearly" if name == names[-1] else "",
            grows[name] <= _MOST * base if name == names[-1] else None,
        )
        for name in names
    ]


def _wide(columns: int) -> Kind:
    names = tuple(f"c{number}" for number in range(1, columns))

    def row(number: int) -> SqlRow:
        values = (number, number / 8, f"text {number}", number % 2 == 0)
        return (f"user-{number}", *(values[at % 4] for at in range(1, columns)))

    mapping = CustomerMapping(attributes={name: name for name in names})
    return Kind("wide customers", ("user_id", *names), mapping, row, CUSTOMERS.element)


def _packing(kind: Kind, chunk: Sequence[SqlRow], count: int, repeats: int) -> float:
    """Return CPU seconds per row, to request bodies with all checks."""

    def pack() -> None:
        repeated = cast("Any", _Repeated(chunk, count))
        for _ in bodies(source_of_rows(kind, repeated), "strict"):
            pass

    return _cpu(pack, repeats) / count


def _cpu(run: Callable[[], None], repeats: int) -> float:
    took = []
    for _ in range(repeats):
        began = time.process_time()
        run()
        took.append(time.process_time() - began)
    return min(took)
