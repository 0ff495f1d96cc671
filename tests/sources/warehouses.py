"""The databases that the tests run, each with its types: what a value arrives as, and whether it can be a key.

What is expected is written here by hand, and what is documented is made of it: docs/databases.md.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from devtools import mariadb
from devtools.mariadb import mariadb_server
from devtools.postgres import postgres_server

REJECT = object()
"""The value rejects its row."""


@dataclass(frozen=True)
class Type:
    """A type of a database.

    :param name: as a column is declared.
    :param arrives: what the docs say.
    :param values: SQL literals of the type, and what is expected to arrive.
    :param key: ``yes``, or why not: ``refused``.
    """

    name: str
    arrives: str
    values: dict[str, Any]
    key: str = "yes"


REFUSED = "refused"

POSTGRESQL = (
    Type("smallint, integer, bigint", "number", {"1": 1, "-9007199254740993": -9007199254740993}),
    Type(
        "numeric",
        "number",
        {"1.50": 1.5, "0.1": 0.1, "12345678901234567890.12": 1.2345678901234567e19},
    ),
    Type(
        "real, double precision",
        "number",
        {"1.5": 1.5, "'NaN'": REJECT, "'Infinity'": REJECT},
        REFUSED,
    ),
    Type("money", "text", {"'1.50'": "$1.50"}),
    Type("boolean", "boolean", {"true": True, "false": False}),
    Type("text, varchar", "text", {"'çé🦊'": "çé🦊", "'%'": "%", "''": ""}),
    Type("char(3)", "text, filled up with spaces", {"'a'": "a  "}),
    Type("bytea", "text", {"'text'": "text", "'\\xff'": REJECT}),
    Type(
        "date",
        "date",
        {"'2026-01-02'": "2026-01-02", "'infinity'": REJECT, "'20000-01-01'": REJECT, "'0044-03-15 BC'": REJECT},
    ),
    Type(
        "timestamp",
        "datetime, read as UTC",
        {"'2026-01-02 03:04:05.678'": "2026-01-02T03:04:05.678000Z", "'-infinity'": REJECT},
    ),
    Type(
        "timestamptz",
        "datetime in UTC",
        {"'2026-01-02 03:04:05+05:30'": "2026-01-01T21:34:05Z", "'infinity'": REJECT},
    ),
    Type("time, timetz", "text", {"'09:30'": "09:30:00", "'24:00'": "24:00:00"}),
    Type("interval", "text", {"'1 mon 2 days'": "1 mon 2 days"}, REFUSED),
    Type("uuid", "text", {"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}),
    Type(
        "json, jsonb",
        "JSON value",
        {"'{\"k\": [1, null]}'": {"k": [1, None]}},
        REFUSED,
    ),
    Type("an enum", "text", {"'zinc'": "zinc", "'argent'": "argent"}),
    Type(
        "inet, cidr, macaddr",
        "text",
        {"'10.0.0.1'": "10.0.0.1", "'10.0.0.0/8'": "10.0.0.0/8"},
    ),
    Type("int4range, tstzrange and the other ranges", "text", {"'[1,5)'": "[1,5)"}),
    Type("bit, varbit", "text", {"B'010'": "010"}),
    Type("an array", "list", {"'{1,NULL}'": [1, None]}, REFUSED),
    Type(
        "an array of ranges, intervals or times", "list of text", {"ARRAY['[1,5)'::int4range]": ["[1,5)"]}, REFUSED
    ),
    Type(
        "an array of dates or timestamps",
        "list",
        {"'{2026-01-02}'": ["2026-01-02"], "'{infinity}'": REJECT},
        REFUSED,
    ),
    Type("a composite type", "reject: `to_jsonb(...)` makes it an object", {"ROW(1, 'x')": REJECT}, REFUSED),
    Type("point and the other geometric types", "text", {"'(1,2)'": "(1,2)"}, REFUSED),
    Type(
        "an array of boxes",
        "list of text",
        {"ARRAY['(1,2),(0,0)'::box, '(3,4),(0,0)'::box]": ["(1,2),(0,0)", "(3,4),(0,0)"]},
        REFUSED,
    ),
    Type("oid", "number", {"4000000000": 4000000000}),
    Type("regclass and the other names of objects", "text", {"'pg_type'": "pg_type"}, REFUSED),
    Type("oidvector", "text", {"'1 2'": "1 2"}),
    Type("pg_lsn", "text", {"'9/0'": "9/0", "'10/0'": "10/0"}),
    Type("tsvector", "text", {"'a b'": "'a' 'b'"}),
)
_POSTGRESQL_COLUMNS = {
    "smallint, integer, bigint": "bigint", "real, double precision": "double precision", "text, varchar": "text",
    "time, timetz": "time", "json, jsonb": "jsonb", "an enum": "tier", "inet, cidr, macaddr": "inet",
    "int4range, tstzrange and the other ranges": "int4range", "bit, varbit": "bit(3)", "an array": "int[]",
    "an array of ranges, intervals or times": "int4range[]", "an array of dates or timestamps": "date[]",
    "a composite type": "pair", "point and the other geometric types": "point", "an array of boxes": "box[]",
    "regclass and the other names of objects": "regclass",
}  # fmt: skip

MARIADB = (
    Type("BIGINT, INT, SMALLINT, TINYINT", "number", {"1": 1, "-9007199254740993": -9007199254740993}),
    Type(
        "TINYINT(1), BOOLEAN",
        "boolean; number with MySQL Connector",
        {"1": (True, 1)},
    ),
    Type("BIGINT UNSIGNED", "number", {"18446744073709551615": 18446744073709551615}),
    Type(
        "DECIMAL",
        "number",
        {"1.50": 1.5, "12345678901234567890.12": 1.2345678901234567e19},
    ),
    Type("FLOAT, DOUBLE", "number", {"1.5": 1.5}, REFUSED),
    Type("VARCHAR, TEXT", "text", {"'çé🦊'": "çé🦊", "'%'": "%", "''": ""}),
    Type("CHAR(3)", "text, without spaces at its end", {"'a  '": "a"}),
    Type("VARBINARY, BLOB", "text", {"'text'": "text", "x'ff'": REJECT}),
    Type("BINARY(4)", "text, filled up with zero bytes", {"'ab'": "ab\0\0"}),
    Type(
        "DATE",
        "date",
        {"'2026-01-02'": "2026-01-02", "'0000-00-00'": REJECT, "'2026-02-00'": REJECT, "'0000-01-01'": REJECT},
    ),
    Type(
        "DATETIME",
        "datetime, read as UTC",
        {
            "'2026-01-02 03:04:05.678'": "2026-01-02T03:04:05.678000Z",
            "'0000-00-00 00:00:00'": REJECT,
            "'2026-00-05 10:00:00'": REJECT,
        },
    ),
    Type(
        "TIMESTAMP",
        "datetime in UTC",
        {"'2026-01-02 03:04:05'": "2026-01-02T03:04:05Z", "'0000-00-00 00:00:00'": REJECT},
    ),
    Type("TIME", "text", {"'09:30:00'": "09:30:00", "'-838:59:59'": "-838:59:59"}, REFUSED),
    Type("YEAR", "number", {"2026": 2026}),
    Type("BIT(1)", "boolean; number with MySQL Connector", {"1": (True, 1)}, REFUSED),
    Type("BIT(8)", "number", {"5": 5}, REFUSED),
    Type("ENUM", "text", {"'zinc'": "zinc", "'argent'": "argent"}, REFUSED),
    Type("SET", "sorted list of text", {"'b,a'": ["a", "b"], "''": []}, REFUSED),
    Type(
        "JSON",
        'text: `Column(..., type="json")` makes it an object',
        {"'{\"k\": 1}'": '{"k": 1}'},
    ),
    Type(
        "UUID, INET6", "text", {"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}
    ),
    Type(
        "POINT and the other geometries",
        "reject: `ST_AsText(...)` makes it text",
        {"ST_GeomFromText('POINT(1 2)')": REJECT},
        REFUSED,
    ),
)
_MARIADB_COLUMNS = {
    "BIGINT, INT, SMALLINT, TINYINT": "BIGINT", "TINYINT(1), BOOLEAN": "TINYINT(1)", "DECIMAL": "DECIMAL(30, 2)",
    "FLOAT, DOUBLE": "DOUBLE", "VARCHAR, TEXT": "VARCHAR(50) COLLATE utf8mb4_bin",
    "VARBINARY, BLOB": "VARBINARY(20)",
    "DATETIME": "DATETIME(6)", "TIMESTAMP": "TIMESTAMP NULL", "ENUM": "ENUM('zinc', 'argent')",
    "SET": "SET('b', 'a')", "UUID, INET6": "UUID", "POINT and the other geometries": "POINT",
}  # fmt: skip

DUCKDB = (
    Type("BIGINT, INTEGER, HUGEINT, UBIGINT ...", "number", {"1": 1, "-9007199254740993": -9007199254740993}),
    Type("UHUGEINT", "number", {str(2**128 - 1): 2**128 - 1, "1": 1}, REFUSED),
    Type(
        "DECIMAL",
        "number",
        {"1.50": 1.5, "12345678901234567890.12": 1.2345678901234567e19},
    ),
    Type("BIGNUM", "text", {"'123456789012345678901234567890'": "123456789012345678901234567890", "'9'": "9"}),
    Type("FLOAT, DOUBLE", "number", {"1.5": 1.5, "'nan'": REJECT}, REFUSED),
    Type("BOOLEAN", "boolean", {"true": True, "false": False}),
    Type("VARCHAR", "text", {"'çé🦊'": "çé🦊", "'%'": "%", "''": ""}),
    Type("BLOB", "text", {"'text'::BLOB": "text", "'\\xFF'::BLOB": REJECT}),
    Type(
        "DATE",
        "date; infinity arrives as 9999-12-31",
        {"'2026-01-02'": "2026-01-02", "'9999-12-31'": "9999-12-31", "'20000-01-01'": REJECT},
        "yes, without 9999-12-31 and 0001-01-01",
    ),
    Type(
        "TIMESTAMP, TIMESTAMP_S, TIMESTAMP_MS",
        "datetime, read as UTC",
        {
            "'2026-01-02 03:04:05.678'": "2026-01-02T03:04:05.678000Z",
            "'infinity'": REJECT,
            "'20000-01-01'": REJECT,
        },
    ),
    Type(
        "TIMESTAMP_NS",
        "datetime, cut to microseconds",
        {"'2026-01-02 03:04:05.123456789'": "2026-01-02T03:04:05.123456Z"},
        REFUSED,
    ),
    Type(
        "TIMESTAMPTZ",
        "datetime in UTC",
        {"'2026-01-02 03:04:05+05:30'": "2026-01-01T21:34:05Z", "'-infinity'": REJECT},
    ),
    Type("TIME", "text", {"'09:30:00'": "09:30:00", "'24:00:00'": "24:00:00"}),
    Type("TIMETZ", "text", {"'09:30:00+05:30'": "09:30:00+05:30"}, REFUSED),
    Type("INTERVAL", "reject: a cast to VARCHAR makes it text", {"'1 month'": REJECT}, REFUSED),
    Type("UUID", "text", {"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}),
    Type("ENUM", "text", {"'zinc'": "zinc", "'argent'": "argent"}, REFUSED),
    Type("BIT", "text", {"'0101'": "0101"}, REFUSED),
    Type("JSON", "JSON value", {"'{\"k\": [1, null]}'": {"k": [1, None]}}, REFUSED),
    Type("a list, an array", "list", {"[1, NULL]": [1, None]}, REFUSED),
    Type("a list of intervals", "reject", {"[INTERVAL 1 MONTH]": REJECT}, REFUSED),
    Type(
        "STRUCT",
        "object",
        {
            "{'a': 1, 'j': '[1]', 't': NULL}": {"a": 1, "j": [1], "t": None},
            "{'a': 1, 'j': NULL, 't': 'infinity'}": REJECT,
        },
        REFUSED,
    ),
    Type("MAP", "object; reject if a key is not text", {"MAP {'a': 1}": {"a": 1}}, REFUSED),
    Type(
        "UNION, VARIANT",
        "as the value it holds; JSON in it is text",
        {"1": 1, "TIMESTAMP 'infinity'": REJECT, "INTERVAL 1 MONTH": REJECT},
        REFUSED,
    ),
    Type("GEOMETRY", "reject: a cast to VARCHAR makes it text", {"'POINT(0 0)'": REJECT}, REFUSED),
)
_DUCKDB_COLUMNS = {
    "BIGINT, INTEGER, HUGEINT, UBIGINT ...": "BIGINT", "DECIMAL": "DECIMAL(30, 2)", "FLOAT, DOUBLE": "DOUBLE",
    "TIMESTAMP, TIMESTAMP_S, TIMESTAMP_MS": "TIMESTAMP", "ENUM": "ENUM('zinc', 'argent')",
    "a list, an array": "INTEGER[]", "a list of intervals": "INTERVAL[]",
    "STRUCT": "STRUCT(a INTEGER, j JSON, t TIMESTAMP)", "MAP": "MAP(VARCHAR, INTEGER)",
    "UNION, VARIANT": "UNION(n INTEGER, s VARCHAR, t TIMESTAMP, i INTERVAL)",
}  # fmt: skip

SQLITE = (
    Type("INTEGER", "number", {"1": 1, "-9007199254740993": -9007199254740993}),
    Type("REAL", "number", {"1.5": 1.5, "9e999": REJECT}, REFUSED),
    Type(
        "NUMERIC, BOOLEAN, DATETIME and every other name",
        "number or text, as it is stored",
        {"1": 1, "'2026-01-02 03:04:05'": "2026-01-02 03:04:05"},
    ),
    Type("TEXT", "text", {"'çé🦊'": "çé🦊", "'%'": "%", "''": "", "CAST(x'ff' AS TEXT)": REJECT}),
    Type("BLOB", "text", {"CAST('text' AS BLOB)": "text", "x'ff'": REJECT}),
)
_SQLITE_COLUMNS = {"NUMERIC, BOOLEAN, DATETIME and every other name": "NUMERIC"}

TYPES = {"SQLite": SQLITE, "PostgreSQL": POSTGRESQL, "MariaDB": MARIADB, "DuckDB": DUCKDB}


def declared(database: str, kind: Type) -> str:
    """Return how a column of the type is declared."""
    columns = {
        "SQLite": _SQLITE_COLUMNS, "PostgreSQL": _POSTGRESQL_COLUMNS, "MariaDB": _MARIADB_COLUMNS,
        "DuckDB": _DUCKDB_COLUMNS,
    }[database]  # fmt: skip
    return columns.get(kind.name, kind.name)


@dataclass(frozen=True)
class Warehouse:
    """A database and a driver.

    :param connect: a connection of the driver.
    :param hook: what ``conn_id="warehouse"`` gives instead of Airflow's hook; None: Airflow's own, by
        ``airflow_connection``.
    :param placeholder: of a parameter, in the driver's style.
    :param numbers: a table of the numbers from 1 to ``{rows}``, as column ``n``.
    """

    database: str
    driver: str
    connect: Callable[[], Any]
    placeholder: str
    numbers: str
    version: str
    hook: Any = None
    airflow_connection: str = ""

    def run(self, *statements: str) -> None:
        """Run statements and commit."""
        with closing(self.connect()) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    @property
    def types(self) -> tuple[Type, ...]:
        return TYPES[self.database]

    def text_of(self, number: str) -> str:
        """Return an expression of a number as text."""
        return f"CAST({number} AS {'CHAR' if self.database == 'MariaDB' else 'VARCHAR'})"

    def numbers_to(self, rows: int) -> str:
        return self.numbers.format(rows=rows)


NAMES = {
    "SQLite, sqlite3": ("SQLite", "sqlite3"),
    "PostgreSQL, psycopg2": ("PostgreSQL", "psycopg2"),
    "PostgreSQL, psycopg 3": ("PostgreSQL", "psycopg"),
    "MariaDB, mysqlclient": ("MariaDB", "MySQLdb"),
    "MariaDB, MySQL Connector": ("MariaDB", "mysql.connector"),
    "MariaDB, PyMySQL": ("MariaDB", "pymysql"),
    "DuckDB, duckdb": ("DuckDB", "duckdb"),
}


def why_not(name: str) -> str | None:
    """Return why a database does not run here."""
    database, driver = NAMES[name]
    if database == "MariaDB" and not mariadb.IS_INSTALLED:
        return "mariadbd is not installed: make databases"
    top, _, rest = driver.partition(".")
    if find_spec(top) is None or (rest and find_spec(driver) is None):
        return f"{driver} is not installed: make databases"
    providers = {"MariaDB": "mysql", "DuckDB": "duckdb"}
    if database in providers and find_spec(f"airflow.providers.{providers[database]}") is None:
        return f"the Airflow provider of {database} is not installed: make databases"
    return None


_FILES = {"SQLite": "warehouse.sqlite", "DuckDB": "warehouse.duckdb"}


class Servers:
    """Starts each server once, when it is needed."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        self._folder = folder
        self._ports: dict[str, int] = {}
        self._made: dict[str, Warehouse] = {}

    def warehouse(self, name: str) -> Warehouse:
        """Return a database, its server running."""
        if name not in self._made:
            self._made[name] = self._make(*NAMES[name])
        return self._made[name]

    def close(self) -> None:
        """Stop the servers."""
        self._stack.close()

    def where(self, warehouse: Warehouse) -> str:
        """Return the file or the port of a database."""
        if warehouse.database in _FILES:
            return str(self._folder / _FILES[warehouse.database])
        return str(self.port(warehouse.database))

    def port(self, database: str) -> int:
        """Return a server's port."""
        if database not in self._ports:
            if database == "PostgreSQL":
                self._ports[database] = self._stack.enter_context(postgres_server())
                self._prepare_postgresql()
            else:
                zone = "--default-time-zone=+05:30"
                self._ports[database] = self._stack.enter_context(mariadb_server(zone)).port
                self._prepare_mariadb()
        return self._ports[database]

    def _prepare_postgresql(self) -> None:
        import psycopg

        with psycopg.connect(postgresql_url(self._ports["PostgreSQL"])) as connection:
            connection.execute("CREATE TYPE tier AS ENUM ('zinc', 'bronze', 'argent')")
            connection.execute("CREATE TYPE pair AS (a int, b text)")
            connection.execute("CREATE EXTENSION citext")
            connection.execute("CREATE DOMAIN label AS text")
            connection.execute("CREATE DOMAIN moment AS timestamptz")

    def _prepare_mariadb(self) -> None:
        import MySQLdb

        with closing(MySQLdb.connect(host="127.0.0.1", port=self._ports["MariaDB"], user="root")) as connection:
            connection.cursor().execute("CREATE DATABASE warehouse")

    def _make(self, database: str, driver: str) -> Warehouse:
        return {"SQLite": self._sqlite, "DuckDB": self._duckdb, "PostgreSQL": self._postgresql}.get(
            database, self._mariadb
        )(driver)

    def _sqlite(self, driver: str) -> Warehouse:
        path = self._folder / "warehouse.sqlite"
        return Warehouse(
            "SQLite",
            driver,
            connect=lambda: sqlite3.connect(path),
            placeholder="?",
            numbers="WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})"
            " SELECT n FROM c",
            version=sqlite3.sqlite_version,
            airflow_connection=json.dumps({"conn_type": "sqlite", "host": str(path)}),
        )

    def _duckdb(self, driver: str) -> Warehouse:
        import duckdb

        path = self._folder / "warehouse.duckdb"
        return Warehouse(
            "DuckDB",
            driver,
            connect=lambda: duckdb.connect(str(path)),
            placeholder="?",
            numbers="SELECT range AS n FROM range(1, {rows} + 1)",
            version=duckdb.__version__,
            airflow_connection=json.dumps({"conn_type": "duckdb", "host": str(path)}),
        )

    def _postgresql(self, driver: str) -> Warehouse:
        import psycopg
        import psycopg2

        url = postgresql_url(self.port("PostgreSQL"))
        connect = (psycopg2 if driver == "psycopg2" else psycopg).connect
        with closing(psycopg.connect(url)) as connection:
            version = str(connection.execute("SHOW server_version").fetchone()[0])  # type: ignore[index] # one row
        hook = SimpleNamespace(get_conn=lambda: connect(url), get_records=lambda *_: [])
        numbers = "SELECT n FROM generate_series(1, {rows}) n"
        return Warehouse("PostgreSQL", driver, lambda: connect(url), "%s", numbers, version, hook)

    def _mariadb(self, driver: str) -> Warehouse:
        port = self.port("MariaDB")
        with closing(mariadb_connection(driver, port)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT VERSION()")
            [[version]] = cursor.fetchall()
        hook = None
        if driver == "pymysql":  # Airflow's hook has no such client
            hook = SimpleNamespace(get_conn=partial(mariadb_connection, driver, port), get_records=lambda *_: [])
        return Warehouse(
            "MariaDB",
            driver,
            connect=lambda: mariadb_connection(driver, port),
            placeholder="%s",
            numbers="SELECT seq AS n FROM seq_1_to_{rows}",
            version=version.partition("-")[0],
            hook=hook,
            airflow_connection=airflow_connection_to_mariadb(driver, port),
        )


def postgresql_url(port: int) -> str:
    return f"postgresql://postgres@127.0.0.1:{port}/postgres"


def mariadb_connection(driver: str, port: int) -> Any:
    """Return a connection in which zero dates can be written and moments are UTC."""
    options: dict[str, Any] = {"host": "127.0.0.1", "port": port, "user": "root", "database": "warehouse"}
    if driver != "mysql.connector":
        options["charset"] = "utf8mb4"
    connection = import_module(driver).connect(**options)
    connection.cursor().execute("SET sql_mode = '', time_zone = '+00:00'")
    return connection


def airflow_connection_to_mariadb(driver: str, port: int, **extra: Any) -> str:
    client = "mysqlclient" if driver == "MySQLdb" else "mysql-connector-python"
    fields = {"conn_type": "mysql", "host": "127.0.0.1", "port": port, "login": "root", "schema": "warehouse"}
    return json.dumps({**fields, "extra": {"client": client, **extra}})
