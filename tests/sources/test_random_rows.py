"""Random values and random keys of every database.

Each value arrives as docs/databases.md says; runs that are killed and resumed send every row, or refuse the key.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage
from tests.killable_worker import Worker
from tests.sources.warehouses import Warehouse
from tests.task import Task


@dataclass(frozen=True)
class Kind:
    """Random values of a type.

    :param declared: the column's type.
    :param values: Python values.
    :param literal: a value in SQL.
    :param arrives: what is expected to arrive.
    """

    declared: str
    values: st.SearchStrategy[Any]
    literal: Callable[[Any], str] = str
    arrives: Callable[[Any], Any] = lambda value: value


def quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def quoted_with_backslashes(value: object) -> str:
    return quoted(str(value).replace("\\", "\\\\"))


def number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def moment(value: dt.datetime) -> str:
    return value.isoformat() + "Z"


def postgresql_time(value: dt.time) -> str:
    """Write a time as the database does, without zeros at the end of its fraction."""
    text = value.isoformat()
    return text.rstrip("0") if "." in text else text


def items(value: list[int | None]) -> str:
    return ", ".join("NULL" if item is None else str(item) for item in value)


INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1)
DECIMALS = st.decimals(-(10**20), 10**20, places=2)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
DATES = st.dates(dt.date(1, 1, 2), dt.date(9999, 12, 30))
MOMENTS = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))
LISTS = st.lists(st.none() | st.integers(-9, 9), max_size=3)
EPOCH_MOMENTS = st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2037, 12, 31))
BINARY_FRACTIONS = st.integers(-(2**40), 2**40).map(lambda n: n / 8)
JSONS = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**53), 2**53), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=5,
)


def json_literal(value: Any) -> str:
    return quoted(json.dumps(value))


SHARED = (Kind("BIGINT", INTEGERS), Kind("DECIMAL(30, 2)", DECIMALS, arrives=number))
KINDS: dict[str, tuple[Kind, ...]] = {
    "SQLite": (
        Kind("INTEGER", INTEGERS),
        Kind("TEXT", TEXTS, quoted),
        Kind("REAL", BINARY_FRACTIONS),
        Kind("BLOB", TEXTS, lambda text: f"x'{text.encode().hex()}'"),
    ),
    "PostgreSQL": (
        *SHARED,
        Kind("text", TEXTS, quoted),
        Kind("boolean", st.booleans()),
        Kind("date", DATES, lambda day: quoted(day.isoformat()), dt.date.isoformat),
        Kind("timestamp", MOMENTS, lambda at: quoted(at.isoformat()), moment),
        Kind("timestamptz", MOMENTS, lambda at: quoted(f"{at.isoformat()}+00"), moment),
        Kind("time", st.times(), quoted, postgresql_time),
        Kind("uuid", st.uuids(), quoted, str),
        Kind("bytea", TEXTS, lambda text: f"'\\x{text.encode().hex()}'"),
        Kind("double precision", BINARY_FRACTIONS),
        Kind("jsonb", JSONS, json_literal),
        Kind("int[]", LISTS, lambda value: f"ARRAY[{items(value)}]::int[]"),
    ),
    "MariaDB": (
        *SHARED,
        Kind("VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", TEXTS, quoted_with_backslashes),
        Kind("DATE", DATES, lambda day: quoted(day.isoformat()), dt.date.isoformat),
        Kind("DATETIME(6)", MOMENTS, lambda at: quoted(at.isoformat(" ")), moment),
        Kind("TIMESTAMP(6) NULL", EPOCH_MOMENTS, lambda at: quoted(at.isoformat(" ")), moment),
        Kind("VARBINARY(100)", TEXTS, lambda text: f"x'{text.encode().hex()}'"),
        Kind("DOUBLE", BINARY_FRACTIONS),
        Kind("UUID", st.uuids(version=4), quoted, str),
    ),
    "DuckDB": (
        *SHARED,
        Kind("HUGEINT", INTEGERS),
        Kind("VARCHAR", TEXTS, quoted),
        Kind("BOOLEAN", st.booleans()),
        Kind("DATE", DATES, lambda day: quoted(day.isoformat()), dt.date.isoformat),
        Kind("TIMESTAMP", MOMENTS, lambda at: quoted(at.isoformat(" ")), moment),
        Kind("TIMESTAMPTZ", MOMENTS, lambda at: quoted(f"{at.isoformat(' ')}+00"), moment),
        Kind("TIME", st.times(), quoted, dt.time.isoformat),
        Kind("UUID", st.uuids(), quoted, str),
        Kind("BLOB", TEXTS, lambda text: "''::BLOB" if not text else f"unhex('{text.encode().hex()}')"),
        Kind("DOUBLE", BINARY_FRACTIONS),
        Kind("JSON", JSONS, json_literal),
        Kind("INTEGER[]", LISTS, lambda value: f"[{items(value)}]::INTEGER[]"),
    ),
}  # fmt: skip

MORE_KEYS = {
    "SQLite": (Kind("TEXT COLLATE NOCASE", TEXTS, quoted), Kind("NUMERIC", st.one_of(INTEGERS, TEXTS), quoted)),
    "PostgreSQL": (
        Kind("tier", st.sampled_from(["zinc", "bronze", "argent"]), quoted),
        Kind("char(12)", TEXTS, quoted),
        Kind("inet", st.ip_addresses(), quoted),
        Kind("timestamptz", st.just("infinity") | MOMENTS, quoted),
        Kind("int4range", st.integers(0, 99), lambda n: f"int4range({n}, {n + 5})"),
    ),
    "MariaDB": (
        Kind("VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", TEXTS, quoted_with_backslashes),
        Kind("ENUM('zinc', 'bronze', 'argent')", st.sampled_from(["zinc", "bronze", "argent"]), quoted),
        Kind("SET('zinc', 'bronze')", st.sampled_from(["zinc", "zinc,bronze", "bronze"]), quoted),
        Kind("YEAR", st.integers(1901, 2155)),
        Kind("BINARY(12)", st.binary(max_size=12), lambda data: f"x'{data.hex()}'"),
        Kind("TIME(6)", st.times(), quoted),
        Kind("INET6", st.ip_addresses(v=6), quoted),
    ),
    "DuckDB": (
        Kind("ENUM('zinc', 'bronze', 'argent')", st.sampled_from(["zinc", "bronze", "argent"]), quoted),
        Kind("BIGNUM", st.integers(-(10**40), 10**40), quoted),
        Kind("DATE", st.sampled_from(["infinity", "9999-12-31", "2026-01-02", "-infinity"]), quoted),
        Kind("BIT", st.text("01", min_size=1, max_size=5), quoted),
    ),
}

SOME = settings(
    max_examples=8,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def sync(sql: str, key_columns: list[str] | None = None) -> SqlToMoEngageOperator:
    mapping = CustomerMapping(attributes=["n"] if key_columns else None)  # a key may hold bytes that are no text
    return SqlToMoEngageOperator(
        task_id="sync", conn_id="warehouse", sql=sql, mapping=mapping, key_columns=key_columns
    )


def test_random_values_arrive_as_the_page_says(connected: MoEngage, warehouse: Warehouse) -> None:
    kinds = KINDS[warehouse.database]
    columns = ", ".join(f"c{at} {kind.declared}" for at, kind in enumerate(kinds))
    warehouse.run(
        "DROP TABLE IF EXISTS random_values", f"CREATE TABLE random_values (user_id VARCHAR(9), {columns})"
    )

    @SOME
    @given(rows=st.lists(st.tuples(*(kind.values for kind in kinds)), min_size=1, max_size=5))
    def arrive(rows: list[tuple[Any, ...]]) -> None:
        connected.reset()
        written = [
            f"('u-{at}', {', '.join(kind.literal(value) for kind, value in zip(kinds, row, strict=True))})"
            for at, row in enumerate(rows)
        ]
        warehouse.run("DELETE FROM random_values", f"INSERT INTO random_values VALUES {', '.join(written)}")

        sync("SELECT * FROM random_values").execute(Task().context)

        arrived = {element["customer_id"]: element["attributes"] for element in connected.arrived}
        cells = [
            (kind.declared, value, arrived[f"u-{at}"].get(f"c{column}"))
            for at, row in enumerate(rows)
            for column, (kind, value) in enumerate(zip(kinds, row, strict=True))
        ]
        expected = [kind.arrives(value) for row in rows for kind, value in zip(kinds, row, strict=True)]
        assert [cell for cell, other in zip(cells, expected, strict=True) if cell[2] != other] == []

    arrive()


def test_random_keys_send_every_row_or_are_refused(
    in_small_batches: MoEngage, warehouse: Warehouse, worker: Worker
) -> None:
    kinds = (*KINDS[warehouse.database], *MORE_KEYS[warehouse.database])
    moengage = in_small_batches

    @settings(SOME, max_examples=20)
    @given(data=st.data(), kills=st.lists(st.integers(0, 14), min_size=1, max_size=3))
    def killed(data: st.DataObject, kills: list[int]) -> None:
        kind = data.draw(st.sampled_from(kinds))
        values = data.draw(st.lists(kind.values, min_size=1, max_size=25, unique_by=str))
        written = [
            f"({kind.literal(value)}, {number}, 'u-{at}-{number}')"
            for at, value in enumerate(values)
            for number in range(300 // len(values))
        ]
        warehouse.run(
            "DROP TABLE IF EXISTS random_keys",
            f"CREATE TABLE random_keys (k {kind.declared}, n INTEGER, user_id VARCHAR(20))",
            f"INSERT INTO random_keys VALUES {', '.join(written)}",
        )
        moengage.reset()
        task = Task()
        operator = sync("SELECT * FROM random_keys", ["k", "n"])
        try:
            for after in kills:
                worker.is_killed(lambda: operator.execute(task.context), after=after)
                task.retry()
            operator.execute(task.context)
        except ValueError as error:
            problem = str(error)
        else:
            assert len({element["customer_id"] for element in moengage.arrived}) == len(written)
            return
        assert problem.startswith("key_columns")
        # What only the rows show is found among them.
        assert not moengage.arrived or "the same" in problem or "cannot be part of a key" in problem, problem

    killed()
