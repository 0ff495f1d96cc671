"""Random values and random keys of every database.

Each value arrives as docs/databases.md says; runs that are killed and resumed send every row, or refuse the key.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage
from tests.killable_worker import Worker
from tests.sources.warehouses import REJECT, Warehouse
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


def text_or_reject(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return REJECT


def padded_text_or_reject(data: bytes) -> Any:
    return text_or_reject(data.ljust(8, b"\0"))


def finite(value: float) -> Any:
    return value if math.isfinite(value) else REJECT


def moment_or_reject(value: str | dt.datetime) -> Any:
    return moment(value) if isinstance(value, dt.datetime) else REJECT


def day_or_reject(value: str | dt.date) -> Any:
    return value.isoformat() if isinstance(value, dt.date) else REJECT


def written(value: str | dt.date) -> str:
    """Write a date or a time; text such as ``infinity`` as it is."""
    return quoted(value if isinstance(value, str) else value.isoformat())


def in_utc(value: str | dt.datetime) -> str:
    return quoted(value if isinstance(value, str) else f"{value.isoformat(' ')}+00")


def hours(value: dt.timedelta) -> str:
    """Write a duration as MariaDB writes a TIME."""
    seconds, micros = divmod(abs(value) // dt.timedelta(microseconds=1), 1_000_000)
    fraction = f".{micros:06}" if micros else ""
    sign = "-" if value < dt.timedelta() else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"


def float_literal(value: float) -> str:
    return quoted(repr(value))


def _sqlite_literal(value: float) -> str:
    return repr(value).replace("inf", "9e999")


def _sqlite_reads(value: float) -> bool:
    """Return whether SQLite reads a literal as this number: the last digit may differ far from 1."""
    with closing(sqlite3.connect(":memory:")) as database:
        [(read,)] = database.execute(f"SELECT {_sqlite_literal(value)}")
    return bool(read == value)


FLOATS = st.floats()
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMERICS = st.decimals(-(10**9), 10**9, allow_nan=False, allow_infinity=False, places=4).map(
    lambda value: value.normalize() if value % 7 else value
)
SPACED = st.text(" aA\u00e4\u00c4e\u0301\u00e9bB\u00df", max_size=6)
"""Text that differs in case, accents, normal form and trailing spaces only."""
BINARY = st.binary(max_size=8)
BITS = st.text("01", min_size=5, max_size=5)
INFINITE = st.sampled_from(["infinity", "-infinity"])
TIERS = st.sampled_from(["zinc", "bronze", "argent"])
DURATIONS = st.timedeltas(dt.timedelta(hours=-838), dt.timedelta(hours=838))
NO_DAYS = st.sampled_from(["0000-00-00", "2026-02-00", "2026-00-05", "0000-01-01"])

SHARED = (Kind("BIGINT", INTEGERS), Kind("DECIMAL(30, 2)", DECIMALS, arrives=number))
KINDS: dict[str, tuple[Kind, ...]] = {
    "SQLite": (
        Kind("INTEGER", INTEGERS),
        Kind("TEXT", TEXTS, quoted),
        Kind("REAL", st.floats(allow_nan=False).filter(_sqlite_reads), _sqlite_literal, finite),
        Kind("BLOB", BINARY, lambda data: f"x'{data.hex()}'", text_or_reject),
    ),
    "PostgreSQL": (
        *SHARED,
        Kind("numeric", NUMERICS, arrives=number),
        Kind("text", TEXTS, quoted),
        Kind("label", TEXTS, quoted),
        Kind("char(12)", TEXTS, quoted, lambda text: text.ljust(12)),
        Kind("tier", TIERS, quoted),
        Kind("boolean", st.booleans()),
        Kind("bit(5)", BITS, lambda bits: f"B'{bits}'"),
        Kind("date", DATES | INFINITE, written, day_or_reject),
        Kind("timestamp", MOMENTS | INFINITE, written, moment_or_reject),
        Kind("timestamptz", MOMENTS | INFINITE, in_utc, moment_or_reject),
        Kind("moment", MOMENTS | INFINITE, in_utc, moment_or_reject),
        Kind("time", st.times(), quoted, postgresql_time),
        Kind("uuid", st.uuids(), quoted, str),
        Kind("bytea", BINARY, lambda data: f"'\\x{data.hex()}'", text_or_reject),
        Kind("double precision", FLOATS, float_literal, finite),
        Kind("jsonb", JSONS, json_literal),
        Kind("int[]", LISTS, lambda value: f"ARRAY[{items(value)}]::int[]"),
    ),
    "MariaDB": (
        *SHARED,
        Kind("VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", TEXTS, quoted_with_backslashes),
        Kind(
            "CHAR(12) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            TEXTS,
            quoted_with_backslashes,
            lambda text: text.rstrip(" "),
        ),
        Kind("DATE", DATES | NO_DAYS, written, day_or_reject),
        Kind("DATETIME(6)", MOMENTS | NO_DAYS, written, moment_or_reject),
        Kind("TIMESTAMP(6) NULL", EPOCH_MOMENTS | st.just("0000-00-00"), written, moment_or_reject),
        Kind("TIME(6)", DURATIONS, lambda value: quoted(hours(value)), hours),
        Kind("YEAR", st.integers(1901, 2155)),
        Kind("BIT(8)", st.integers(0, 255)),
        Kind("ENUM('zinc', 'bronze', 'argent')", TIERS, quoted),
        Kind("SET('zinc', 'bronze')", st.lists(st.sampled_from(["bronze", "zinc"]), unique=True).map(sorted),
             lambda names: quoted(",".join(names))),
        Kind("VARBINARY(100)", BINARY, lambda data: f"x'{data.hex()}'", text_or_reject),
        Kind("BINARY(8)", BINARY, lambda data: f"x'{data.hex()}'", padded_text_or_reject),
        Kind("DOUBLE", FINITE, repr),
        Kind("UUID", st.uuids(version=4), quoted, str),
    ),
    "DuckDB": (
        *SHARED,
        Kind("HUGEINT", INTEGERS),
        Kind("VARCHAR", TEXTS, quoted),
        Kind("BOOLEAN", st.booleans()),
        Kind("DATE", DATES, written, dt.date.isoformat),
        Kind("TIMESTAMP", MOMENTS | INFINITE, written, moment_or_reject),
        Kind("TIMESTAMPTZ", MOMENTS | INFINITE, in_utc, moment_or_reject),
        Kind("TIME", st.times(), quoted, dt.time.isoformat),
        Kind("INTERVAL", st.integers(-99, 99), lambda n: f"INTERVAL '{n} days'", lambda _: REJECT),
        Kind("ENUM('zinc', 'bronze', 'argent')", TIERS, quoted),
        Kind("BIT", BITS, quoted),
        Kind("UUID", st.uuids(), quoted, str),
        Kind("BLOB", BINARY, lambda data: f"unhex('{data.hex()}')" if data else "''::BLOB", text_or_reject),
        Kind("DOUBLE", FLOATS, float_literal, finite),
        Kind("JSON", JSONS, json_literal),
        Kind("INTEGER[]", LISTS, lambda value: f"[{items(value)}]::INTEGER[]"),
    ),
}  # fmt: skip

MORE_KEYS = {
    "SQLite": (
        Kind("TEXT COLLATE NOCASE", SPACED, quoted),
        Kind("TEXT COLLATE RTRIM", SPACED, quoted),
        Kind("NUMERIC", st.one_of(INTEGERS, TEXTS), quoted),
    ),
    "PostgreSQL": (
        Kind("char(12)", SPACED, quoted),
        Kind("text", SPACED, quoted),
        Kind("citext", SPACED, quoted),
        Kind("inet", st.ip_addresses(), quoted),
        Kind("int4range", st.integers(0, 99), lambda n: f"int4range({n}, {n + 5})"),
        Kind("interval", st.sampled_from(["1 month", "30 days", "720 hours", "1 day"]), quoted),
        Kind("time", st.sampled_from(["24:00", "00:00", "23:59:59.999999"]), quoted),
    ),
    "MariaDB": (
        *(
            Kind(f"{kind} CHARACTER SET utf8mb4 COLLATE utf8mb4_{collation}", SPACED, quoted)
            for kind in ("VARCHAR(40)", "CHAR(12)")
            for collation in ("bin", "general_ci", "unicode_ci", "unicode_nopad_ci", "nopad_bin")
        ),
        Kind("BINARY(12)", st.binary(max_size=12), lambda data: f"x'{data.hex()}'"),
        Kind("INET6", st.ip_addresses(v=6), quoted),
    ),
    "DuckDB": (
        Kind("VARCHAR COLLATE NOCASE", SPACED, quoted),
        Kind("VARCHAR COLLATE NOACCENT", SPACED, quoted),
        Kind("BIGNUM", st.integers(-(10**40), 10**40), quoted),
        Kind("DATE", st.sampled_from(["infinity", "9999-12-31", "2026-01-02", "-infinity"]), quoted),
        Kind("TIMETZ", st.sampled_from(["10:00:00+00", "11:00:00+01", "12:00:00+02"]), quoted),
        Kind("BIT", st.text("01", min_size=1, max_size=5), quoted),
    ),
}

EXAMPLES = int(os.environ.get("RANDOM_EXAMPLES", "8"))
SOME = settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def sync(sql: str, key_columns: list[str] | None = None) -> SqlToMoEngageOperator:
    mapping = CustomerMapping(attributes=["n"] if key_columns else None)  # a key may hold bytes that are no text
    return SqlToMoEngageOperator(
        task_id="sync",
        conn_id="warehouse",
        sql=sql,
        mapping=mapping,
        key_columns=key_columns,
        max_rejects=0 if key_columns else 1_000,
    )


def test_random_values_arrive_as_the_page_says(connected: MoEngage, warehouse: Warehouse) -> None:
    kinds = KINDS[warehouse.database]
    columns = ", ".join(f"c{at} {kind.declared}" for at, kind in enumerate(kinds))
    warehouse.run(
        "DROP TABLE IF EXISTS random_values", f"CREATE TABLE random_values (user_id VARCHAR(9), {columns})"
    )

    @SOME
    @given(rows=st.lists(st.tuples(*(st.none() | kind.values for kind in kinds)), min_size=1, max_size=5))
    def arrive(rows: list[tuple[Any, ...]]) -> None:
        """Write a row for each value, in which the other columns are NULL."""
        connected.reset()
        inserts, expected = [], {}
        for at, row in enumerate(rows):
            for column, (kind, value) in enumerate(zip(kinds, row, strict=True)):
                literal = "NULL" if value is None else kind.literal(value)
                inserts.append(
                    f"INSERT INTO random_values (user_id, c{column}) VALUES ('{at}-{column}', {literal})"
                )
                expected[f"{at}-{column}"] = (kind.declared, value, None if value is None else kind.arrives(value))
        warehouse.run("DELETE FROM random_values", *inserts)

        report = sync("SELECT * FROM random_values").execute(Task().context)

        arrived = {element["customer_id"]: element["attributes"] for element in connected.arrived}
        assert set(report["rejects"]) <= {"value_not_readable", "value_not_finite", "value_not_encodable"}
        found = {
            user: (
                declared,
                value,
                arrived[user].get(f"c{user.partition('-')[2]}") if user in arrived else REJECT,
            )
            for user, (declared, value, _) in expected.items()
        }
        assert {user: cell for user, cell in found.items() if cell[2] != expected[user][2]} == {}

    arrive()


def test_random_keys_send_every_row_or_are_refused(
    in_small_batches: MoEngage, warehouse: Warehouse, worker: Worker
) -> None:
    kinds = (*KINDS[warehouse.database], *MORE_KEYS[warehouse.database])
    moengage = in_small_batches

    @settings(SOME, max_examples=3 * EXAMPLES)
    @given(data=st.data(), kills=st.lists(st.integers(0, 14), min_size=1, max_size=3))
    def killed(data: st.DataObject, kills: list[int]) -> None:
        kind = data.draw(st.sampled_from(kinds))
        values = data.draw(st.lists(kind.values, min_size=1, max_size=25, unique_by=str))
        inserts = [
            f"({kind.literal(value)}, {number}, 'u-{at}-{number}')"
            for at, value in enumerate(values)
            for number in range(300 // len(values))
        ]
        warehouse.run(
            "DROP TABLE IF EXISTS random_keys",
            f"CREATE TABLE random_keys (k {kind.declared}, n INTEGER, user_id VARCHAR(20))",
            f"INSERT INTO random_keys VALUES {', '.join(inserts)}",
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
            assert len({element["customer_id"] for element in moengage.arrived}) == len(inserts)
            return
        assert problem.startswith("key_columns")
        # What only the rows show is found among them.
        shown = ("the same", "cannot be part of a key", "treats the keys of")
        assert not moengage.arrived or any(words in problem for words in shown), problem

    killed()
