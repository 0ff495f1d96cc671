"""The same promises on every database that runs here. docs/databases.md lists them, and is checked here."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.transfers.shards import plan_shards
from airflow_provider_moengage.transfers.sql_to_moengage import SqlToMoEngageOperator
from tests.delivering import MoEngage
from tests.killable_worker import Worker
from tests.sources.warehouses import NAMES, REFUSED, REJECT, TYPES, Servers, Type, Warehouse, declared
from tests.task import Task

PAGE = Path(__file__).parents[2] / "docs" / "databases.md"
TYPES_PAGE = PAGE.parent / "reference" / "database-types.md"
MEGABYTE = 1_000_000


def sync(sql: str, key_columns: list[str] | None = None, **options: Any) -> SqlToMoEngageOperator:
    return SqlToMoEngageOperator(
        task_id="sync", conn_id="warehouse", sql=sql, mapping=CustomerMapping(), key_columns=key_columns, **options
    )


def ids(moengage: MoEngage) -> Counter[str]:
    return Counter(element["customer_id"] for element in moengage.arrived)


def make_rows(warehouse: Warehouse, rows: int, table: str = "numbered", *, name: str = "'user'") -> None:
    warehouse.run(
        f"DROP TABLE IF EXISTS {table}",
        f"CREATE TABLE {table} (user_id VARCHAR(20), k INTEGER, name VARCHAR(200))",
        f"INSERT INTO {table} SELECT {warehouse.text_of('n + 1000')}, n, {name}"
        f" FROM ({warehouse.numbers_to(rows)}) numbers",
    )


def users(first: int, last: int) -> set[str]:
    """Return the ids of the rows with these numbers."""
    return {str(1_000 + n) for n in range(first, last + 1)}


def test_rows_arrive(connected: MoEngage, warehouse: Warehouse) -> None:
    make_rows(warehouse, 2_500)

    report = sync("SELECT * FROM numbered; -- all").execute(Task().context)

    assert (report["accepted"], report["rejected"]) == (2_500, 0)
    assert set(ids(connected)) == users(1, 2_500)


def test_a_killed_run_resumes(in_small_batches: MoEngage, warehouse: Warehouse, worker: Worker) -> None:
    make_rows(warehouse, 2_500)
    task = Task()
    operator = sync("SELECT * FROM numbered /* all */ ;", ["k"])
    assert worker.is_killed(lambda: operator.execute(task.context), after=30)
    task.retry()

    report = operator.execute(task.context)

    arrived = ids(in_small_batches)
    assert report["resumed"]
    assert set(arrived) == users(1, 2_500)
    assert arrived.total() < 2_500 + 4 * 200


def test_a_window_is_bound_as_parameters(connected: MoEngage, warehouse: Warehouse) -> None:
    make_rows(warehouse, 100)
    sql = f"SELECT * FROM numbered WHERE k >= {warehouse.placeholder} AND k < {warehouse.placeholder}"
    for key_columns in (None, ["k"]):
        connected.reset()
        sync(sql, key_columns, parameters=[10, 20]).execute(Task().context)
        assert set(ids(connected)) == users(10, 19)


def test_shards_send_each_row_once(connected: MoEngage, warehouse: Warehouse) -> None:
    make_rows(warehouse, 1_000)
    sql = "SELECT * FROM numbered"
    ranges = plan_shards(conn_id="warehouse", sql=sql, key_columns=["k"], shards=3)

    assert len(ranges) == 3
    for key_range in ranges:
        sync(sql, ["k"], key_range=json.loads(json.dumps(key_range))).execute(Task().context)
    arrived = ids(connected)
    assert (len(arrived), arrived.total()) == (1_000, 1_000)


def test_a_null_that_appears_after_shards_were_planned_is_found(connected: MoEngage, warehouse: Warehouse) -> None:
    make_rows(warehouse, 100)
    sql = "SELECT * FROM numbered"
    first, *_ = plan_shards(conn_id="warehouse", sql=sql, key_columns=["k"], shards=3)
    warehouse.run("UPDATE numbered SET k = NULL WHERE k = 50")

    with pytest.raises(ValueError, match=r"key_columns.*NULL"):
        sync(sql, ["k"], key_range=first).execute(Task().context)
    with pytest.raises(ValueError, match=r"key_columns: column 'k' is NULL in 1 of 100 rows"):
        plan_shards(conn_id="warehouse", sql=sql, key_columns=["k"], shards=3)

    assert not connected.arrived


UNREADABLE = {
    "SQLite": ("TEXT", "CAST(x'ff' AS TEXT)"),
    "PostgreSQL": ("timestamptz", "'infinity'"),
    "MariaDB": ("DATE", "'0000-00-00'"),
    "DuckDB": ("TIMESTAMP", "'infinity'"),
}
"""A type of each database, and a value that cannot be sent."""


@pytest.mark.parametrize("key_columns", [None, ["k"]], ids=["no keys", "keys"])
def test_one_unreadable_value_rejects_its_row_and_no_other(
    connected: MoEngage, warehouse: Warehouse, key_columns: list[str] | None
) -> None:
    make_rows(warehouse, 10_000)
    column, value = UNREADABLE[warehouse.database]
    warehouse.run(
        f"ALTER TABLE numbered ADD COLUMN seen {column}", f"UPDATE numbered SET seen = {value} WHERE k = 7000"
    )

    report = sync("SELECT * FROM numbered", key_columns, max_rejects=1).execute(Task().context)

    assert report["rejects"] == {"value_not_readable": 1}
    assert set(ids(connected)) == users(1, 10_000) - {"8000"}


def test_an_average_is_a_number_in_every_row(connected: MoEngage, warehouse: Warehouse) -> None:
    make_rows(warehouse, 6)
    sql = "SELECT MIN(user_id) AS user_id, AVG(k) AS average FROM numbered WHERE k < {}"

    found = []
    for below in (2, 4, 5, 7):
        connected.reset()
        sync(sql.format(below)).execute(Task().context)
        found.append(connected.arrived[0]["attributes"]["average"])

    assert found == pytest.approx([1, 2, 2.5, 3.5])


def expected_of(warehouse: Warehouse, value: Any) -> Any:
    return value[warehouse.driver == "mysql.connector"] if isinstance(value, tuple) else value


def test_every_type_arrives_as_the_page_says(connected: MoEngage, warehouse: Warehouse, tmp_path: Path) -> None:
    """One row for each value, in which only the column of its type is not NULL."""
    columns = [f"c{at} {declared(warehouse.database, kind)}" for at, kind in enumerate(warehouse.types)]
    inserts, expected = [], {}
    for at, kind in enumerate(warehouse.types):
        for number, (literal, value) in enumerate(kind.values.items()):
            user = f"{at}-{number}"
            inserts.append(f"INSERT INTO every_type (user_id, c{at}) VALUES ('{user}', {literal})")
            expected[user] = (kind.name, literal, expected_of(warehouse, value))
    warehouse.run(
        "DROP TABLE IF EXISTS every_type",
        f"CREATE TABLE every_type (user_id VARCHAR(20), {', '.join(columns)})",
        *inserts,
    )
    rejects = tmp_path / "rejects.ndjson"

    sync("SELECT * FROM every_type", rejects_path=str(rejects), max_rejects=1_000).execute(Task().context)

    arrived = {element["customer_id"]: element["attributes"] for element in connected.arrived}
    rejected = {json.loads(line)["element"]["customer_id"] for line in rejects.read_text().splitlines()}
    found = {
        user: (name, literal, REJECT if user in rejected else arrived[user].get(f"c{user.partition('-')[0]}"))
        for user, (name, literal, _) in expected.items()
    }
    assert found == expected


def keys_of(kind: Type) -> list[str]:
    return [literal for literal, value in kind.values.items() if value is not REJECT and value is not None]


KEY_ROWS = 120


def make_keyed(warehouse: Warehouse, column: str, literals: list[str]) -> int:
    """Make a table with each of these values as the first column of the key; return how many rows it has."""
    inserts = [
        f"INSERT INTO keyed SELECT {literal}, n, concat_ws('-', {at}, n) FROM ({warehouse.numbers_to(KEY_ROWS)}) r"
        for at, literal in enumerate(literals)
    ]
    if warehouse.database == "SQLite":
        inserts = [insert.replace("concat_ws('-', ", "printf('%d-%d', ") for insert in inserts]
    warehouse.run(
        "DROP TABLE IF EXISTS keyed", f"CREATE TABLE keyed (k {column}, n INTEGER, user_id VARCHAR(40))", *inserts
    )
    return KEY_ROWS * len(literals)


def sends_every_row_or_refuses(
    moengage: MoEngage, worker: Worker, rows: int, kills: list[int], sql: str = "SELECT * FROM keyed"
) -> str | None:
    """Make a run that is killed, and return why its key was refused, before anything was sent."""
    moengage.reset()
    task = Task()
    operator = sync(sql, ["k", "n"])
    try:
        for after in kills:
            worker.is_killed(lambda: operator.execute(task.context), after=after)
            task.retry()
        operator.execute(task.context)
    except ValueError as error:
        problem = str(error)
    else:
        assert len(ids(moengage)) == rows
        return None
    assert problem.startswith("key_columns")
    assert not moengage.arrived
    return problem


def test_every_key_type_sends_every_row_or_is_refused_by_name(
    in_small_batches: MoEngage, warehouse: Warehouse, worker: Worker
) -> None:
    found = {}
    for kind in warehouse.types:
        values = keys_of(kind)
        if values and not kind.key.startswith("yes,"):
            rows = make_keyed(warehouse, declared(warehouse.database, kind), values)
            problem = sends_every_row_or_refuses(in_small_batches, worker, rows, [5])
            assert problem is None or problem.startswith("key_columns: column")
            found[kind.name] = REFUSED if problem else "yes"

    assert found == {kind.name: kind.key for kind in warehouse.types if kind.name in found}


MEMORY = """
import json, resource, sys
from pathlib import Path
from tests.sources.warehouses import NAMES, Servers, mariadb_connection, postgresql_url
from airflow_provider_moengage.sources.sql_stream import stream_query
from types import SimpleNamespace
driver, where = sys.argv[1:]
def connect():
    if driver == "sqlite3":
        import sqlite3
        return sqlite3.connect(where)
    if driver == "duckdb":
        import duckdb
        return duckdb.connect(where, config={"memory_limit": "100MB", "threads": 1})
    if driver.startswith("psycopg"):
        return __import__(driver).connect(postgresql_url(int(where)))
    return mariadb_connection(driver, int(where))
def peak(rows):
    hook = SimpleNamespace(get_conn=connect)
    sql = f"SELECT user_id, k, name FROM many WHERE k <= {rows}"
    with stream_query(hook, sql, fetch_size=1_000) as result:
        assert sum(1 for _ in result.rows) == rows
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([peak(100_000), peak(1_000_000)]))
"""


def test_memory_does_not_grow_with_the_result(warehouse: Warehouse, servers: Servers, tmp_path: Path) -> None:
    make_rows(warehouse, 1_000_000, "many", name=f"'{'x' * 100}'")
    where = servers.where(warehouse)

    done = subprocess.run(
        [sys.executable, "-c", MEMORY, warehouse.driver, where], capture_output=True, text=True, check=False
    )

    warehouse.run("DROP TABLE many")
    assert done.returncode == 0, done.stderr
    few, many = json.loads(done.stdout.splitlines()[-1])
    assert many - few < 20 * MEGABYTE


RUN: dict[str, Any] = {
    "sync": test_rows_arrive,
    "memory": test_memory_does_not_grow_with_the_result,
    "resume": test_a_killed_run_resumes,
    "window": test_a_window_is_bound_as_parameters,
    "shards": test_shards_send_each_row_once,
    "types": test_every_type_arrives_as_the_page_says,
    "keys": test_every_key_type_sends_every_row_or_is_refused_by_name,
}
"""What the page says of every database, each with the test that runs on all of them."""


def tables(versions: dict[str, str]) -> str:
    """Return the tables of the page."""
    lines = ["| database | driver | version |", "|---|---|---|"]
    for name, (database, _) in NAMES.items():
        driver = name.partition(", ")[2]
        lines.append(f"| {database} | {driver} | {versions.get(name, '')} |")
    return "\n".join(lines)


def types() -> str:
    """Return a section for each database: what its types become."""
    lines = []
    for database, kinds in TYPES.items():
        lines += ["", f"## {database}", "", "| type | arrives as | as a key |", "|---|---|---|"]
        same: dict[tuple[str, str], list[str]] = {}
        for kind in kinds:
            same.setdefault((kind.arrives, kind.key), []).append(kind.name)
        lines += [f"| {', '.join(names)} | {arrives} | {key} |" for (arrives, key), names in same.items()]
    return "\n".join(lines[1:])


def shown(page: Path, name: str, written: str) -> str:
    """Return what the page has between its marks. With UPDATE_DATABASES_PAGE=1, write it first."""
    begin, end = f"<!-- {name}: begin -->\n", f"\n<!-- {name}: end -->"
    before, _, rest = page.read_text().partition(begin)
    found, _, after = rest.partition(end)
    if os.environ.get("UPDATE_DATABASES_PAGE"):
        found = written
        page.write_text(before + begin + found + end + after)
    return found


def test_the_pages_show_what_ran(servers: Servers) -> None:
    """To write the tables, every database has to run here."""
    updating = os.environ.get("UPDATE_DATABASES_PAGE")
    ran = tables({name: servers.warehouse(name).version for name in NAMES} if updating else {})
    found = shown(PAGE, "databases", ran)

    version = re.compile(r"(?<= \| )\d+(\.\d+)+(?= \|$)", re.MULTILINE)
    assert version.sub("", found) == tables({})
    assert len(version.findall(found)) == len(NAMES)
    assert shown(TYPES_PAGE, "tables", types()) == types()
    assert all("warehouse" in inspect.signature(test).parameters for test in RUN.values())
