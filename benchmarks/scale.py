"""Measures how CPU time grows with rows, columns and lanes: nothing may grow faster than linearly.

CPU time of this process, so that other load on the machine counts little. Rows and columns go through the pipeline
to request bodies, over a database that returns rows at almost no cost. Lanes send rows of SQLite to a server that
responds after 20 ms. A figure is the least of its repeats. A series has grown faster than linearly if its largest
costs more than a quarter more per row (columns: per value; lanes: per lane) than its second. A workspace holds 256
custom attributes, so 250 columns are the most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from benchmarks import end_to_end, warehouse
from benchmarks.data import CUSTOMERS, Kind
from benchmarks.data import Row as SqlRow
from benchmarks.loopback import loopback
from benchmarks.pipeline import bodies, source_of_rows
from benchmarks.table import Row

GROUP = "Scale: CPU per row"
ROWS = (100_000, 1_000_000, 5_000_000)
COLUMNS = (5, 20, 100, 250)
LANES = (1, 2, 4, 8, 16, 32)
_VALUES = 2_000_000
"""Values of a measurement of columns: the wider the rows, the fewer."""

_ROWS_OF_LANES = 40_000
_LATENCY = 0.02
_MOST = 1.25


def rows() -> list[Row]:
    """Measure everything."""
    return [*_rows(), *_columns(), *_lanes()]


class _Repeated:
    """Many rows in little memory: the same chunk again and again."""

    def __init__(self, chunk: Sequence[SqlRow], count: int) -> None:
        self._chunk = chunk
        self._count = count

    def __getitem__(self, wanted: slice) -> Sequence[SqlRow]:
        return self._chunk[: max(min(wanted.stop, self._count) - wanted.start, 0)]


def _rows() -> list[Row]:
    chunk = [CUSTOMERS.row(number) for number in range(5_000)]
    costs = {f"{count:,} rows": _packing(CUSTOMERS, chunk, count, repeats=1 + (count < 10**6)) for count in ROWS}
    return _series("customers of 12 columns", costs, costs)


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
