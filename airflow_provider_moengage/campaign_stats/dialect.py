"""How a database writes identifiers, types and placeholders: SQLAlchemy's dialect, which Airflow's hooks name.

Only its texts are used. Statements run on the hook's own connection, with everything that the connection says.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_moengage.campaign_stats.rows import DAY, KEYS, VERSION, Column
from airflow_provider_moengage.exceptions import MoEngageRequestError
from airflow_provider_moengage.sources.database import database_of
from airflow_provider_moengage.sources.sql_placeholders import paramstyle_of
from airflow_provider_moengage.tables.dialect import key_text

_BY_DATABASE = {
    "DuckDB": "postgresql",  # without duckdb-engine; its SQL is PostgreSQL's
    "MySQL or MariaDB": "mysql",
    "Oracle Database": "oracle",
    "PostgreSQL": "postgresql",
    "Redshift": "postgresql",
    "SQL Server": "mssql",
    "SQLite": "sqlite",
}
"""Dialects of databases whose hook gives no engine."""

_BY_NAME = {"named": ":{name}", "pyformat": "%({name})s"}
_BY_POSITION = {"qmark": "?", "numeric": ":{number}", "format": "%s"}

_ADDS_WITHOUT_COLUMN = ("mssql", "oracle")
"""Dialects whose ALTER TABLE has ADD where the others have ADD COLUMN."""


class Dialect:
    """The texts of one connection's database.

    :param hook: a DbApiHook.
    :param connection: its connection.
    """

    def __init__(self, hook: Any, connection: Any) -> None:
        self._dialect = _sqlalchemy_dialect(hook, connection)
        self._paramstyle = paramstyle_of(connection, hook)
        self.database = database_of(connection)

    @property
    def add_column(self) -> str:
        """What adds a column to a table, after its name."""
        return "ADD" if self._dialect.name in _ADDS_WITHOUT_COLUMN else "ADD COLUMN"

    @property
    def has_dates(self) -> bool:
        """Whether dates are values of the driver; SQLite has text."""
        return str(self._dialect.name) != "sqlite"

    def exactly(self, name: str) -> str:
        """Return the identifier of a column that exists, as the database reports its name."""
        return self._escaped(self._dialect.identifier_preparer.quote_identifier(name))

    def new(self, name: str) -> str:
        """Return an identifier, quoted if the database would not take it as it is."""
        return self._escaped(self._dialect.identifier_preparer.quote(name))

    def table(self, name: str) -> str:
        """Return the identifier of a table, whose schema or catalog may come before it, with dots between."""
        return ".".join(self.new(part) for part in name.split("."))

    def type_of(self, column: Column) -> str:
        """Return the type of a column that is not a metric."""
        from sqlalchemy import types

        if column == DAY:
            return self._type(types.Date())
        if column == VERSION:
            return self._type(types.Integer())
        return self._type(key_text(column.length) if column in KEYS else types.String(column.length))

    def type_of_metric(self) -> str:
        """Return the type of a metric: a double, which holds counts up to 2 to the power of 53 exactly."""
        from sqlalchemy import types

        double = getattr(types, "Double", None)
        return self._type(types.Float(53) if double is None else double())  # before SQLAlchemy 2

    def placeholder(self, name: str, number: int) -> str:
        """Return a parameter's placeholder.

        :param number: from 1.
        """
        return {**_BY_NAME, **_BY_POSITION}[self._paramstyle].format(name=name, number=number)

    def parameters(self, values: dict[str, Any]) -> Any:
        """Return values as the driver takes them: by name, or by position."""
        return values if self._paramstyle in _BY_NAME else tuple(values.values())

    def _type(self, kind: Any) -> str:
        return str(kind.compile(dialect=self._dialect))

    def _escaped(self, identifier: str) -> str:
        """Return an identifier for a statement with parameters: some drivers read a % in it.

        SQLAlchemy doubles it already for the drivers that it knows to do so.
        """
        single = identifier.replace("%%", "%")
        is_doubled = self._paramstyle in ("format", "pyformat") and self.database.doubles_percent
        return single.replace("%", "%%") if is_doubled else single


def _sqlalchemy_dialect(hook: Any, connection: Any) -> Any:
    try:
        from sqlalchemy.dialects import registry
        from sqlalchemy.engine.default import DefaultDialect
    except ImportError:
        raise MoEngageRequestError(
            "table: writing to a database needs SQLAlchemy; install"
            " apache-airflow-providers-common-sql[sqlalchemy]"
        ) from None
    try:
        engine = hook.get_sqlalchemy_engine()
        engine.dispose()
        return engine.dialect
    except Exception:  # noqa: BLE001 (a hook without an engine, or without its driver: each fails in its own way)
        name = _BY_DATABASE.get(database_of(connection).name)
        return DefaultDialect() if name is None else registry.load(name)()
