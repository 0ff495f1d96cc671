"""Measures two ways to make elements of rows: the generated code of the package, and a prototype by columns.

``python -m benchmarks.columns``; docs/decisions/generated-mapping-code.md has the figures. The prototype turns
rows into columns with ``zip(*rows)``, looks at each column's types with C loops, converts what needs it, and makes
all objects with ``map``. It does what the generated code does for customers and for events: the same checks,
and rows with anything unusual take the full check. Both make the same elements, which is asserted.
"""

from __future__ import annotations

import datetime as dt
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from airflow_provider_moengage.bulk.elements import row_codegen, rules
from airflow_provider_moengage.bulk.elements.checks import prepare
from airflow_provider_moengage.bulk.elements.fast_path import (
    CONVERTERS,
    UNCHANGED_TYPES,
    PreparedElements,
    is_valid_event_name,
)
from airflow_provider_moengage.bulk.elements.weight import weight
from airflow_provider_moengage.bulk.mapping import RowRecipe, compile_mappings
from benchmarks.data import KINDS, Kind
from benchmarks.data import Row as SqlRow
from benchmarks.scale import _wide

CHUNK = 500
"""Rows that the reader checks together, about as many as fill a body."""
ROUNDS = 15


class ColumnPreparer:
    """Makes elements of a mapping column by column."""

    def __init__(self, recipe: RowRecipe) -> None:
        self._recipe = recipe
        self._weight = weight(recipe.kind, 1 if recipe.kind == "event" else 0)
        self._classes = row_codegen._classes(recipe)
        self._attributes = sorted({at for _, at in recipe.attributes})
        assert not any(row_codegen._breaks_a_rule(name, recipe.kind == "event") for name, _ in recipe.attributes)

    def __call__(self, rows: Sequence[SqlRow]) -> PreparedElements:
        """Return the checked elements of rows."""
        recipe, workspace = self._recipe, rules.DOCUMENTED
        columns = list(zip(*rows, strict=True))
        odd: set[int] = set()
        user = columns[recipe.customer_id or 0]
        if set(map(type, user)) != {str} or not rules.REFUSED_CUSTOMER_IDS.isdisjoint(
            map(str.casefold, map(str.strip, user))
        ):
            odd.update(at for at, value in enumerate(user) if _is_odd_id(value))
        checked: dict[int, Sequence[Any]] = {at: _checked(columns[at], odd) for at in self._attributes}
        attributes = map(self._classes["Attributes"], *(checked[at] for _, at in recipe.attributes))
        if recipe.kind == "event":
            always: dict[str, Sequence[Any]] = {name: columns[at] for name, at in recipe.always}
            always["current_time"] = _times(always["current_time"], workspace.latest_time(), odd)
            if "action" in always:
                names = set(always["action"])
                if not all(type(name) is str and is_valid_event_name(name) for name in names):
                    odd.update(range(len(rows)))
            actions = map(self._classes["Action"], *always.values(), attributes)
            made = map(self._classes["Event"], user, zip(actions))
        else:
            made = map(self._classes["Customer"], user, attributes)
        result = PreparedElements()
        result.elements, result.users = list(made), list(user)
        result.weights = [self._weight] * len(rows)
        for at in odd:
            prepared = prepare(recipe(rows[at]), rules_apply=True, workspace=workspace)
            result.elements[at], result.users[at] = prepared.element, prepared.user
            result.weights[at] = prepared.weight
            if prepared.findings:
                result.flawed[at] = prepared
        return result


def _is_odd_id(value: Any) -> bool:
    return type(value) is not str or value.strip().casefold() in rules.REFUSED_CUSTOMER_IDS


def _checked(column: Sequence[Any], odd: set[int]) -> Sequence[Any]:
    """Return the values of a column as they are sent; add the indices of those that need the full check."""
    kinds = set(map(type, column))
    if str in kinds:
        texts: Iterable[str] = column if len(kinds) == 1 else (v for v in column if type(v) is str)
        if max(map(len, texts)) > rules.SHORTEST_TIME:
            odd.update(at for at, value in enumerate(column) if type(value) is str and _is_odd_text(value))
    if kinds <= UNCHANGED_TYPES:
        return column
    kinds.discard(type(None))
    [kind] = kinds if len(kinds) == 1 else [object]
    if kind is float and len(kinds) == 1:
        total = sum(value for value in column if value is not None)
        if total - total == 0:
            return column
    convert = CONVERTERS.get(kind)
    try:
        if convert is not None:
            return [None if value is None else convert(value) for value in column]
    except Exception:
        pass
    return [_one(at, value, odd) for at, value in enumerate(column)]


def _one(at: int, value: Any, odd: set[int]) -> Any:
    try:
        return value if type(value) in UNCHANGED_TYPES else CONVERTERS[type(value)](value)
    except Exception:
        odd.add(at)
        return None


def _is_odd_text(value: str) -> bool:
    return len(value) > rules.LONGEST_VALUE or (
        len(value) > rules.SHORTEST_TIME and value[13] == ":" and rules.is_time_as_text(value)
    )


def _times(column: Sequence[Any], latest: dt.datetime, odd: set[int]) -> Sequence[Any]:
    if set(map(type, column)) == {dt.datetime} and all(value.tzinfo is dt.UTC for value in column):
        if max(column) > latest:
            odd.update(at for at, value in enumerate(column) if value > latest)
        return column
    odd.update(range(len(column)))
    return column


def _measure(name: str, kind: Kind, rows: Sequence[SqlRow]) -> None:
    [recipe] = compile_mappings([kind.mapping], kind.columns)
    generated, by_columns = row_codegen.row_preparer([recipe]), ColumnPreparer(recipe)
    ways: dict[str, Callable[[Sequence[SqlRow]], PreparedElements]] = {
        "generated": lambda some: generated(some, True),
        "columns": by_columns,
    }
    assert len({_encoded(way(rows[:CHUNK])) for way in ways.values()}) == 1, name
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for label, way in ways.items():
            began = time.process_time()
            for start in range(0, len(rows), CHUNK):
                way(rows[start : start + CHUNK])
            took[label].append(time.process_time() - began)
    ours, theirs = (statistics.median(seconds) / len(rows) * 1e6 for seconds in took.values())
    print(f"{name:48}{ours:9.2f} µs{theirs:9.2f} µs{theirs / ours:8.2f} x", flush=True)


def _encoded(prepared: PreparedElements) -> bytes:
    return msgspec.json.Encoder(decimal_format="number").encode_lines(prepared.elements)


def main() -> None:
    """Measure and print."""
    print(f"{'CPU per row':48}{'generated':>12}{'columns':>12}{'ratio':>10}")
    for kind in KINDS:
        rows = kind.rows(20_000)
        _measure(f"{kind.name}, {len(kind.columns)} columns", kind, rows)
        number = kind.columns.index("fit" if "fit" in kind.columns else "discount_pct")
        for every in (100, 10):
            some = [
                (*row[:number], float("nan"), *row[number + 1 :]) if at % every == 0 else row
                for at, row in enumerate(rows)
            ]
            _measure(f"{kind.name}, a NaN in each {every}th row", kind, some)
    for columns in (3, 20, 100, 250):
        wide = replace(_wide(columns), name="wide")
        _measure(f"customers, {columns} columns", wide, [wide.row(at) for at in range(200_000 // columns)])


if __name__ == "__main__":
    main()
