"""How a database writes types and names: by SQLAlchemy, which has a dialect for most of them.

SQLAlchemy only writes text here: statements run on the connection of Airflow's hook, with its settings, so a
database needs no SQLAlchemy driver. A database without a dialect gets standard SQL.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.sources.database import Database

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

LONGEST_NAME = 250
"""Characters of a name: as many as Airflow allows for the ID of a Dag, a task and a run."""

_BACKQUOTED = ("BigQuery", "ClickHouse", "Databricks")
"""Databases that quote names with backquotes, and whose dialects are in packages that may be missing."""


class Kind(Enum):
    """What a column holds."""

    NAME = "up to 250 characters"
    TEXT = "text of any length"
    COUNT = "a whole number"
    SECONDS = "a number with three digits after the point"
    FLAG = "a boolean"
    TIME = "a time in UTC, without a zone"


class TableDialect:
    """The types and the names of one database.

    :param hook: the connection's hook, which may know its dialect.
    :param database: what the connection is to.
    """

    def __init__(self, hook: Any, database: Database) -> None:
        self._dialect = _dialect_of(hook, database)
        preparer = self._dialect.identifier_preparer
        if self._dialect.name == "default" and database.name in _BACKQUOTED:
            preparer = type(preparer)(self._dialect, initial_quote="`")
        self._preparer = preparer

    @property
    def has_times(self) -> bool:
        """Whether the database has a type for times; SQLite stores them as text."""
        return bool(self._dialect.name != "sqlite")

    @property
    def takes_many_rows(self) -> bool:
        """Whether one INSERT may have several rows."""
        return bool(self._dialect.name != "oracle")

    def quoted(self, name: str) -> str:
        """Return a name as SQL has it. A table's may have its schema in front."""
        return ".".join(self._preparer.quote(part) for part in name.split("."))

    def type_of(self, kind: Kind) -> str:
        """Return the type of a column."""
        return str(_type_of(kind).compile(dialect=self._dialect))


def _dialect_of(hook: Any, database: Database) -> Dialect:
    from sqlalchemy.engine import make_url
    from sqlalchemy.engine.default import DefaultDialect
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    for name in (_name_in(hook), _NAMES.get(database.name)):
        if name is not None:
            try:
                dialect: Dialect = make_url(f"{name}://").get_dialect()()
            except (NoSuchModuleError, ArgumentError, ImportError):
                continue
            return dialect
    return DefaultDialect()


def _name_in(hook: Any) -> str | None:
    try:
        name = hook.dialect_name
    except Exception:  # noqa: BLE001 (a hook makes it of a URI that may not be valid)
        return None
    return name if isinstance(name, str) and name else None


_NAMES = {
    "MySQL or MariaDB": "mysql",
    "Oracle Database": "oracle",
    "PostgreSQL": "postgresql",
    "SQL Server": "mssql",
    "SQLite": "sqlite",
}
"""SQLAlchemy's own dialects, by our name of the database: hooks before version 1.22 of common-sql name none."""


def _type_of(kind: Kind) -> Any:  # the types' classes differ between versions of SQLAlchemy
    from sqlalchemy import types
    from sqlalchemy.dialects import mssql, mysql

    if kind is Kind.NAME:
        return key_text(LONGEST_NAME)
    if kind is Kind.TEXT:
        text = types.UnicodeText().with_variant(types.VARCHAR(65_535), "redshift")  # whose TEXT has 256
        return _on_mysql(text, mysql.LONGTEXT(collation="utf8mb4_bin"))
    if kind is Kind.TIME:
        time = types.DateTime().with_variant(mssql.DATETIME2, "mssql")
        return _on_mysql(time, mysql.DATETIME(fsp=6))
    return {
        Kind.COUNT: types.BigInteger(),
        Kind.SECONDS: types.Numeric(18, 3),
        Kind.FLAG: types.Boolean(),
    }[kind]


def key_text(length: int) -> Any:
    """Return SQLAlchemy's type of text that identifies a row, with case and accents, as Airflow's IDs do.

    MySQL, MariaDB and SQL Server ignore these by default, and spaces at the end in any case.

    :param length: characters.
    """
    from sqlalchemy import types

    text = _on_mysql(types.Unicode(length), types.Unicode(length, collation="utf8mb4_bin"))
    return text.with_variant(types.Unicode(length, collation="Latin1_General_100_BIN2"), "mssql")


def _on_mysql(given: Any, variant: Any) -> Any:
    return given.with_variant(variant, "mysql").with_variant(variant, "mariadb")
