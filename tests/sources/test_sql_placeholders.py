from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import psycopg
import psycopg2
import pytest

from airflow_provider_moengage.sources.sql_placeholders import paramstyle_of
from devtools.postgres import postgres_server
from tests.sources.test_sql_stream import url


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with postgres_server() as port:
        yield port


def test_the_drivers_paramstyle_is_found_from_its_connection(port: int) -> None:
    class Own(sqlite3.Connection):
        pass

    with (
        sqlite3.connect(":memory:", factory=Own) as of_sqlite,
        psycopg.connect(url(port)) as of_psycopg,
        psycopg2.connect(url(port)) as of_psycopg2,
    ):
        assert paramstyle_of(of_sqlite) == "qmark"
        assert paramstyle_of(of_psycopg) == paramstyle_of(of_psycopg2) == "pyformat"
    of_psycopg2.close()
    assert paramstyle_of(sqlite3) == "qmark"


def test_the_drivers_paramstyle_is_found_above_the_connections_module(monkeypatch: pytest.MonkeyPatch) -> None:
    driver: Any = ModuleType("warehouse.db")
    driver.paramstyle = "numeric"
    monkeypatch.setitem(sys.modules, "warehouse", ModuleType("warehouse"))
    monkeypatch.setitem(sys.modules, "warehouse.db", driver)
    connection: Any = type("Connection", (), {"__module__": "warehouse.db.connection"})()

    assert paramstyle_of(connection) == "numeric"
    connection.paramstyle = "named"
    assert paramstyle_of(connection) == "named"
    connection.paramstyle = "a style of its own"
    assert paramstyle_of(connection) == "numeric"


@pytest.mark.parametrize(("placeholder", "style"), [("?", "qmark"), ("%s", "pyformat"), (None, "pyformat")])
def test_the_hook_is_asked_if_the_driver_does_not_say(placeholder: str | None, style: str) -> None:
    assert paramstyle_of(object(), SimpleNamespace(placeholder=placeholder)) == style
    assert paramstyle_of(object()) == "pyformat"
