"""A small warehouse of the last weeks, for `make airflow`: every table that the example Dags read.

Nothing in it is random. A day always has the same purchases, and none is later than `now`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

DAYS = 30
HOUSEHOLDS = 60
PRODUCTS = 24
ORDERS = 2_000
TO_ERASE = (58, 59, 60)
"""Households that ask for their erasure."""

_TABLES = """
CREATE TABLE households (
    household_id INTEGER PRIMARY KEY, age TEXT, income TEXT, home_ownership TEXT, marital_status TEXT,
    household_size TEXT, kids_count TEXT
);
CREATE TABLE products (product_id INTEGER PRIMARY KEY, department TEXT, brand TEXT, product_type TEXT);
CREATE TABLE purchases (
    household_id INTEGER, store_id INTEGER, basket_id INTEGER, product_id INTEGER, quantity INTEGER,
    sales_value REAL, retail_disc REAL, purchased_at TEXT
);
CREATE TABLE customers (user_id TEXT PRIMARY KEY, email TEXT, tier TEXT);
CREATE TABLE orders (order_id TEXT PRIMARY KEY, user_id TEXT, total REAL, ordered_at TEXT);
CREATE TABLE erasure_requests (user_id TEXT PRIMARY KEY, erased_at TEXT);
"""

_AGES = ("19-24", "25-34", "35-44", "45-54", "55-64", "65+")
_INCOMES = ("Under 15K", "25-34K", "50-74K", "100-124K")
_DEPARTMENTS = ("GROCERY", "PRODUCE", "MEAT", "DRUG GM", "PASTRY", "DELI")
_TYPES = ("MILK", "BANANAS", "BEEF", "SOAP", "BREAD", "CHEESE", "COFFEE", "TEA")
_TIERS = ("bronze", "silver", "gold")


def build(path: Path, now: datetime) -> None:
    """Fill a new database.

    :param path: the file; an existing one is replaced.
    :param now: the end of the data, which begins 30 days earlier.
    """
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as warehouse, warehouse:
        warehouse.executescript(_TABLES)
        _insert(warehouse, "households", (_household(number) for number in range(1, HOUSEHOLDS + 1)))
        _insert(warehouse, "products", (_product(number) for number in range(1, PRODUCTS + 1)))
        _insert(warehouse, "purchases", _purchases(now))
        _insert(warehouse, "customers", (_customer(number) for number in range(1, HOUSEHOLDS + 1)))
        _insert(warehouse, "erasure_requests", ((f"household-{number}", None) for number in TO_ERASE))
        _insert(warehouse, "orders", (_order(number, now) for number in range(1, ORDERS + 1)))


def _insert(warehouse: sqlite3.Connection, table: str, rows: Iterator[tuple[object, ...]]) -> None:
    for row in rows:
        warehouse.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def _household(number: int) -> tuple[object, ...]:
    kids = number % 4
    return (
        number,
        _AGES[number % len(_AGES)],
        _INCOMES[number % len(_INCOMES)],
        "Homeowner" if number % 3 else "Renter",
        "Married" if number % 2 else "Unmarried",
        str(1 + number % 2 + kids),
        str(kids),
    )


def _product(number: int) -> tuple[object, ...]:
    brand = "National" if number % 3 else "Private"
    return number, _DEPARTMENTS[number % len(_DEPARTMENTS)], brand, _TYPES[number % len(_TYPES)]


def _purchases(now: datetime) -> Iterator[tuple[object, ...]]:
    today = now.astimezone(UTC).date()
    for past in range(DAYS, -1, -1):
        yield from _purchases_of(today - timedelta(days=past), now)


def _purchases_of(day: date, now: datetime) -> Iterator[tuple[object, ...]]:
    """The days of a week have different counts, so that a day sent twice or not at all changes the total."""
    count = 40 + 7 * day.weekday()
    midnight = datetime.combine(day, time(), UTC)
    for number in range(count):
        moment = midnight + timedelta(seconds=round((number + 0.5) * 86_400 / count))
        if moment > now:
            return
        key = day.toordinal() * 1_000 + number
        product = 1 + key * 7 % PRODUCTS
        quantity = 1 + key % 3
        yield (
            1 + key * 13 % HOUSEHOLDS,
            300 + key % 5,
            key,
            product,
            quantity,
            round(quantity * (0.49 + product * 0.25), 2),
            round(0.1 * (key % 4), 2),
            moment.isoformat(sep=" ", timespec="seconds"),  # with its offset, so that it compares as text
        )


def _customer(number: int) -> tuple[object, ...]:
    return f"household-{number}", f"household-{number}@example.com", _TIERS[number % len(_TIERS)]


def _order(number: int, now: datetime) -> tuple[object, ...]:
    moment = now.astimezone(UTC).replace(microsecond=0) - timedelta(days=DAYS) * (1 - number / ORDERS)
    return (
        f"o-{number:06}",
        f"household-{1 + number * 11 % HOUSEHOLDS}",
        round(5 + number * 37 % 9_000 / 100, 2),
        moment.isoformat(sep=" ", timespec="seconds"),
    )
