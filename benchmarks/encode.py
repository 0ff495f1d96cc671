"""Measures elements and rows to request bodies: elements per second, and how full the bodies are.

All methods run one after the other, round after round, on the same elements; a value is the median of the rounds.
Times are CPU times: nothing here waits, and other load on the machine matters less. The elements are frozen, so
that the garbage collector does not scan them. The floors use the batch sizes of the provider.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from benchmarks import rivals
from benchmarks.data import KINDS, Element, Kind
from benchmarks.data import Row as SqlRow
from benchmarks.pipeline import bodies, source_of_elements, source_of_rows
from benchmarks.table import Row, rate_row

GROUP = "Elements to request bodies, one thread"
FILL_GROUP = "How full the request bodies are"
ELEMENTS = 40_000
ROUNDS = 5
ELEMENTS_FOR_FILL = 400_000
"""Enough that the partly filled last bodies do not matter."""
FEW = 800
"""Elements for the method with quadratic running time."""

TARGETS = {
    ("customers", "rows"): 0.62,
    ("events", "rows"): 0.72,
    ("customers", "dicts"): 0.22,
    ("events", "dicts"): 0.20,
}
"""Parts of the floor's speed, with all checks."""
FILL_TARGET = 0.998
"""How full a body is."""

_OURS = {"off": "encode + pack", "warn": "check + encode + pack"}
_FLOORS = {"orjson": rivals.orjson_body, "msgspec": rivals.msgspec_body}
_WAYS: dict[str, Callable[[Sequence[dict[str, object]]], Iterator[bytes]]] = {
    "json.dumps, 100 per batch": rivals.fixed_batches,
    "json.dumps per element": rivals.each_by_json,
    "orjson.dumps per element": rivals.each_by_orjson,
    "analytics client's queue": rivals.analytics_queue,
}

Way = Callable[[], Iterable[bytes]]


def rows() -> list[Row]:
    """Measure everything."""
    found: list[Row] = []
    for kind in KINDS:
        found += _speeds(kind)
    for kind in KINDS:
        found += _fills(kind)
    return found


def _speeds(kind: Kind) -> list[Row]:
    sql_rows = kind.rows(ELEMENTS)
    elements = [kind.element(row) for row in sql_rows]
    cut = list(bodies(source_of_elements(elements), "off"))
    cuts = [_count(body) for body in cut]
    assert sum(cuts) == ELEMENTS
    ways: dict[tuple[str, str], Way] = {}
    for validation in _OURS:
        ways["dicts", validation] = partial(_dict_bodies, elements, validation)
        ways["rows", validation] = partial(_row_bodies, kind, sql_rows, validation)
    for name, encode in _FLOORS.items():
        ways["dicts", name] = partial(rivals.floor, encode, cuts, elements)
        ways["rows", name] = partial(rivals.floor_from_rows, encode, cuts, kind, sql_rows)
    for name, way in _WAYS.items():
        ways["dicts", name] = partial(way, elements)
    gc.collect()
    gc.freeze()
    speeds = measured(ways, ELEMENTS, ROUNDS)
    few: dict[tuple[str, str], Way] = {("dicts", "growing list"): partial(rivals.growing_list, elements[:FEW])}
    speeds |= measured(few, FEW, 1)
    gc.unfreeze()
    size = sum(map(len, cut)) / ELEMENTS
    return _speed_rows(kind, f"{kind.name} of {size:.0f} B", speeds)


def _dict_bodies(elements: Sequence[Element], validation: str) -> Iterator[bytes]:
    return bodies(source_of_elements(elements), validation)


def _row_bodies(kind: Kind, rows: Sequence[SqlRow], validation: str) -> Iterator[bytes]:
    return bodies(source_of_rows(kind, rows), validation)


def _speed_rows(kind: Kind, name: str, speeds: dict[tuple[str, str], float]) -> list[Row]:
    found: list[Row] = []
    for form in ("rows", "dicts"):
        for validation, what in _OURS.items():
            label = f"{name}, {form}: {what}"
            target = None if validation == "off" else TARGETS[kind.name, form]
            for rival in _FLOORS:
                built = "floor: build dicts, " if form == "rows" else "floor: "
                at_least = target if rival == "orjson" else None
                ours, theirs = speeds[form, validation], speeds[form, rival]
                found.append(rate_row(GROUP, label, ours, built + rival, theirs, "el/s", at_least=at_least))
    label = f"{name}, dicts: {_OURS['warn']}"
    return found + [
        rate_row(GROUP, label, speeds["dicts", "warn"], rival, speeds["dicts", rival], "el/s")
        for rival in (*_WAYS, "growing list")
    ]


def measured(ways: dict[tuple[str, str], Way], elements: int, rounds: int) -> dict[tuple[str, str], float]:
    """Return the elements per second of each method, the median of the rounds."""
    took: dict[tuple[str, str], list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.process_time()
            for _ in way():
                pass
            took[name].append(time.process_time() - began)
    return {name: elements / statistics.median(seconds) for name, seconds in took.items()}


def _fills(kind: Kind) -> list[Row]:
    """Measure how full all bodies but the last are, and how many MoEngage would refuse for their size.

    The elements are shuffled: in the order in which they are made their sizes repeat, and with them what stays
    free in a body.
    """
    elements = [kind.element(row) for row in kind.rows(ELEMENTS_FOR_FILL)]
    random.Random(0).shuffle(elements)  # noqa: S311 (the same order in each run)
    ours, ours_over = _fill(bodies(source_of_elements(elements), "off"))
    average = int(rivals.MOST_BYTES / (sum(len(rivals.json_body([e])) for e in elements[:1_000]) / 1_000 - 34))
    ways: dict[str, Iterable[bytes]] = {
        "100 per batch": rivals.fixed_batches(elements[:20_000]),
        f"{average} per batch (by average size)": rivals.fixed_batches(elements[:100_000], average),
        "orjson.dumps per element": rivals.each_by_orjson(elements),
        "analytics client's queue": rivals.analytics_queue(elements[:10_000]),
        "growing list": rivals.growing_list(elements[:FEW]),
    }
    found: list[Row] = []
    for name, way in ways.items():
        theirs, theirs_over = _fill(way)
        found.append(
            Row(
                FILL_GROUP,
                f"{kind.name}: mean fill, requests over 100 kB",
                f"{ours:.2%}, {_none_or(ours_over)}",
                name,
                f"{theirs:.2%}, {_none_or(theirs_over)}",
                f"{ours / theirs:.2f} x",
                "" if found else f"at least {FILL_TARGET:.1%}",
                None if found else ours >= FILL_TARGET and not ours_over,
            )
        )
    return found


def _fill(all_bodies: Iterable[bytes]) -> tuple[float, float]:
    """Return the mean size of all but the last as a fraction of the limit, and the fraction of bodies above it."""
    sizes = [len(body) for body in all_bodies]
    counted = sizes[:-1] or sizes
    return statistics.fmean(counted) / rivals.MOST_BYTES, sum(size > rivals.MOST_BYTES for size in sizes) / len(
        sizes
    )


def _none_or(share: float) -> str:
    return f"{share:.0%}" if share else "none"


def _count(body: bytes) -> int:
    return body.count(b'"customer_id":')
