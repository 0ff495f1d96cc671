"""A table that another task writes to at the same moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_provider_moengage.tables.dialect import Kind
from airflow_provider_moengage.tables.sql_table import SqlTable, TableColumn, TableLayout, connected

LAYOUT = TableLayout((TableColumn("name", Kind.NAME, is_key=True), TableColumn("number", Kind.COUNT)))


def hook_that(act: Callable[[str], None], path: Path) -> Any:
    """Return a hook whose driver calls a function before each statement."""

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *values: Any) -> Any:
            act(sql)
            return super().execute(sql, *values)

    class Connection(sqlite3.Connection):
        def cursor(self, *_: Any) -> Any:
            return super().cursor(Cursor)

    return SimpleNamespace(get_conn=lambda: sqlite3.connect(path, factory=Connection))


def test_a_row_that_another_task_inserts_meanwhile_is_updated(tmp_path: Path) -> None:
    path = tmp_path / "tables.db"

    def insert(sql: str) -> None:
        if sql.startswith("INSERT"):
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("INSERT INTO numbers VALUES ('a', 1)")

    with connected(hook_that(insert, path)) as connection:
        SqlTable.opened(connection, "numbers", LAYOUT, lambda: None).put({"name": "a", "number": 2})

    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM numbers").fetchall() == [("a", 2)]


def test_a_table_that_another_task_creates_meanwhile_is_used(tmp_path: Path) -> None:
    path = tmp_path / "tables.db"
    created: list[str] = []

    def create(sql: str) -> None:
        if sql.startswith("CREATE") and not created:
            created.append("other")
            with closing(sqlite3.connect(path)) as other:
                other.execute("CREATE TABLE numbers (name TEXT, number INTEGER, more TEXT)")

    with connected(hook_that(create, path)) as connection:
        table = SqlTable.opened(connection, "numbers", LAYOUT, lambda: created.append("own"))
        table.put({"name": "a", "number": 2})

    assert created == ["other"]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM numbers").fetchall() == [("a", 2, None)]
