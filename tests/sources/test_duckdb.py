"""Values of DuckDB whose type is not their column's: they are read by what they are."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage.bulk.elements.encoding import Unreadable
from airflow_provider_moengage.sources.sql_stream import stream_query

duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed: make databases")


def read(expression: str) -> Any:
    hook: Any = SimpleNamespace(get_conn=duckdb.connect)
    with stream_query(hook, f"SELECT {expression} AS v", fetch_size=10) as result:
        [[value]] = result.read()
    return value


REJECT = "reject"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("union_value(t := TIMESTAMP 'infinity')", REJECT),
        ("union_value(t := TIMESTAMPTZ '-infinity')", REJECT),
        ("union_value(t := TIMESTAMP '2026-01-02')", dt.datetime(2026, 1, 2)),
        ("union_value(i := INTERVAL 1 MONTH)", REJECT),
        ("union_value(s := 'text')", "text"),
        ("union_value(l := [TIMESTAMP 'infinity'])", [REJECT]),
        ("union_value(o := {'t': TIMESTAMP 'infinity', 'n': 1})", {"t": REJECT, "n": 1}),
        ("[union_value(t := TIMESTAMP 'infinity')]", [REJECT]),
        ("(TIMESTAMP 'infinity')::VARIANT", REJECT),
        ("(INTERVAL 1 MONTH)::VARIANT", REJECT),
        ("[1, 2]::VARIANT", [1, 2]),
    ],
)
def test_a_value_of_a_union_or_a_variant_is_read_by_its_own_type(expression: str, expected: Any) -> None:
    def shown(value: Any) -> Any:
        if isinstance(value, Unreadable):
            return REJECT
        if isinstance(value, dict):
            return {name: shown(item) for name, item in value.items()}
        return [shown(item) for item in value] if isinstance(value, list) else value

    assert shown(read(expression)) == expected
