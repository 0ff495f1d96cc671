"""Writes the rows of a day to a table: all of them in one transaction, instead of those that were there.

A table that is missing is created, with a primary key of day and id: of two tries that replace a day at once,
the later one fails instead of doubling it. A metric that is new becomes a column, before the transaction begins,
because some databases end a transaction when a table changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import date
from functools import partial
from itertools import islice
from typing import Any

from airflow_provider_moengage.arguments import non_empty
from airflow_provider_moengage.campaign_stats.dialect import Dialect
from airflow_provider_moengage.campaign_stats.rows import CAMPAIGN, COLUMNS, DAY, ID, DayRows
from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.sources.sql_stream import DatabaseHook
from airflow_provider_moengage.tables.sql_table import TableError, difference_of, name_of

ROWS_AT_ONCE = 500
"""Rows of one INSERT, as the driver sends them."""

_REQUIRED = (ID, DAY)


def check_table(table: object) -> str:
    """Return the name of a table.

    :raises ValueError: if a part of it is empty.
    """
    name = non_empty("table", table, "the name of a table, like analytics.campaign_stats")
    if not all(part.strip() for part in name.split(".")) or "\0" in name:
        raise ValueError(f"table {name!r}: expected the name of a table, like analytics.campaign_stats")
    return name


class StatsTable:
    """A table of campaign statistics.

    :param hook: of any database.
    :param table: its name, with schema and catalog before it if needed.
    :param before_commit: called before the transaction of a day is committed; an exception of it rolls it back.
    """

    def __init__(self, hook: DatabaseHook, table: str, before_commit: Callable[[], None] = lambda: None) -> None:
        self._hook: Any = hook
        self._table = table
        self._before_commit = before_commit
        self.new_columns: list[str] = []
        """Metrics that have become columns of a table that was there."""

    def replace(self, rows: DayRows) -> None:
        """Replace a day.

        :raises MoEngageError: if the database refuses it; nothing of the day was changed then, unless the database
            has no transactions.
        """
        with self._reported(rows.day), closing(self._hook.get_conn()) as connection:
            session = _Session(self._hook, connection)
            names = self._prepare(session, rows.metrics)
            with session.transaction(self._before_commit):
                self._delete(session, rows, names)
                self._insert(session, rows, names)

    def _prepare(self, session: _Session, metrics: Sequence[str]) -> dict[str, str]:
        """Return the identifiers of all columns, by name; create what is missing."""
        dialect = session.dialect
        wanted = {column.name: dialect.type_of(column) for column in COLUMNS}
        wanted.update(dict.fromkeys(metrics, dialect.type_of_metric()))
        there = self._columns(session)
        if there is None:
            session.change(self._creation(dialect, wanted), unless=lambda: self._columns(session) is not None)
            there = self._columns(session) or []
            missing = [name for name in wanted if name not in _known(there)]
        else:
            missing = [name for name in wanted if name not in _known(there)]
            self.new_columns += missing
        for name in missing:
            column = f"{dialect.new(name)} {wanted[name]}"
            statement = f"ALTER TABLE {dialect.table(self._table)} {dialect.add_column} {column}"
            session.change(statement, unless=partial(self._has, session, name))
        if missing:
            there = self._columns(session) or []
        known = _known(there)
        return {name: dialect.exactly(known[name]) for name in wanted}

    def _creation(self, dialect: Dialect, wanted: dict[str, str]) -> str:
        required = {column.name for column in _REQUIRED}
        columns = [
            f"{dialect.new(name)} {kind}{' NOT NULL' if name in required else ''}" for name, kind in wanted.items()
        ]
        key = ", ".join(dialect.new(column.name) for column in (DAY, ID))
        return f"CREATE TABLE {dialect.table(self._table)} ({', '.join(columns)}, PRIMARY KEY ({key}))"

    def _columns(self, session: _Session) -> list[str] | None:
        """Return the table's columns; None if it cannot be read, which mostly means that it is not there."""
        quoted = session.dialect.table(self._table)
        return session.columns(f"SELECT * FROM {quoted} WHERE 1 = 0")  # noqa: S608 (quoted)

    def _has(self, session: _Session, name: str) -> bool:
        return name in _known(self._columns(session) or [])

    def _delete(self, session: _Session, rows: DayRows, names: dict[str, str]) -> None:
        scope = rows.scope
        conditions: dict[str, Any] = {DAY.name: session.day(rows.day), **scope.values}
        if scope.campaign_ids is None:
            self._delete_those(session, conditions, names)
        for campaign_id in (*(scope.campaign_ids or ()), *sorted(rows.other_campaigns)):
            self._delete_those(session, {**conditions, CAMPAIGN.name: campaign_id}, names)

    def _delete_those(self, session: _Session, conditions: dict[str, Any], names: dict[str, str]) -> None:
        """Delete the rows that have these values, and none that only the database takes for the same."""
        dialect = session.dialect
        texts = {name: value for name, value in conditions.items() if name != DAY.name}
        columns = ", ".join(names[name] for name in (ID.name, *texts))
        where = self._where(dialect, conditions, names)
        own, others, unclear = [], 0, None
        for row_id, *found in session.rows(f"SELECT {columns} {where}", conditions):
            difference = difference_of(texts, found)
            if difference is None:
                own.append(row_id)
            elif difference.is_unclear:
                unclear = difference
            else:
                others += 1
        if unclear is not None:
            raise unclear.error()
        if not others:
            session.run(f"DELETE {where}", conditions)
            return
        for row_id in own:
            of_row = {DAY.name: conditions[DAY.name], ID.name: row_id}
            session.run(f"DELETE {self._where(dialect, of_row, names)}", of_row)

    def _where(self, dialect: Dialect, conditions: dict[str, Any], names: dict[str, str]) -> str:
        tests = [
            f"{names[name]} = {dialect.placeholder(name, number)}"
            for number, name in enumerate(conditions, start=1)
        ]
        return f"FROM {dialect.table(self._table)} WHERE {' AND '.join(tests)}"

    def _insert(self, session: _Session, rows: DayRows, names: dict[str, str]) -> None:
        dialect = session.dialect
        placeholders = [f"c{number}" for number in range(len(names))]
        values = ", ".join(dialect.placeholder(name, number) for number, name in enumerate(placeholders, start=1))
        into = f"{dialect.table(self._table)} ({', '.join(names.values())})"
        statement = f"INSERT INTO {into} VALUES ({values})"  # noqa: S608 (quoted)
        metrics = set(rows.metrics)

        def parameters(row: dict[str, Any]) -> Any:
            row[DAY.name] = session.day(rows.day)
            given = (_value(row.get(name), is_metric=name in metrics) for name in names)
            return dialect.parameters(dict(zip(placeholders, given, strict=True)))

        left = iter(rows)
        while chunk := [parameters(row) for row in islice(left, ROWS_AT_ONCE)]:
            session.run_many(statement, chunk)

    @contextmanager
    def _reported(self, day: date) -> Iterator[None]:
        try:
            yield
        except (MoEngageError, ValueError):
            raise
        except TableError as error:
            raise MoEngageError(f"table {self._table!r}: {error}; nothing of {day} was changed") from None
        except Exception as error:
            kinds = {kind.__module__.partition(".")[0] for kind in type(error).__mro__} - {"builtins"}
            if not kinds or "airflow" in kinds:  # a bug, a missing connection, or a timeout of the task
                raise
            failure = MoEngageError(
                f"table {self._table!r}: {day} could not be written ({name_of(error)}); a retry replaces the"
                " whole day. The database's message is omitted because it may quote values; its log has it"
            )
            raise failure from None


class _Session:
    """A connection, and what its driver needs for a transaction."""

    def __init__(self, hook: Any, connection: Any) -> None:
        self.dialect = Dialect(hook, connection)
        self._connection = connection
        # DuckDB commits each statement unless a transaction was begun, and so do connections set to autocommit.
        self._begins = self.dialect.database.name == "DuckDB"
        get_autocommit = getattr(hook, "get_autocommit", None)
        if callable(get_autocommit) and get_autocommit(connection):
            hook.set_autocommit(connection, False)

    def day(self, day: date) -> date | str:
        """Return a day as the driver takes it."""
        return day if self.dialect.has_dates else day.isoformat()

    def columns(self, query: str) -> list[str] | None:
        """Return the columns of a query; None if it fails."""
        try:
            with self._cursor() as cursor:
                cursor.execute(query.replace("%%", "%"))
                names = [str(described[0]) for described in cursor.description or ()]
                cursor.fetchall()
        except Exception:  # noqa: BLE001 (each driver has its own error for a table that is not there)
            self._rollback()
            return None
        self._rollback()  # which ends the transaction of the query
        return names

    def change(self, statement: str, *, unless: Callable[[], bool]) -> None:
        """Change a table, for good.

        :param unless: whether another task has made the change meanwhile, which is no error.
        """
        try:
            with self._cursor() as cursor:
                cursor.execute(statement.replace("%%", "%"))  # without parameters
            if not self._begins:
                self._connection.commit()
        except Exception:
            self._rollback()
            if not unless():
                raise

    @contextmanager
    def transaction(self, before_commit: Callable[[], None]) -> Iterator[None]:
        """Commit what is done inside, or nothing of it."""
        if self._begins:
            self._connection.begin()
        try:
            yield
            before_commit()
            self._connection.commit()
        except BaseException:
            with suppress(Exception):  # the connection may be lost
                self._connection.rollback()
            raise

    def run(self, statement: str, values: dict[str, Any]) -> None:
        """Run a statement with values."""
        with self._cursor() as cursor:
            cursor.execute(statement, self.dialect.parameters(values))

    def rows(self, query: str, values: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query. All have to be read: some drivers cannot leave any unread."""
        with self._cursor() as cursor:
            cursor.execute(query, self.dialect.parameters(values))
            while given := cursor.fetchmany(ROWS_AT_ONCE):
                for row in given:
                    yield tuple(row.values()) if isinstance(row, Mapping) else tuple(row)

    def run_many(self, statement: str, rows: list[Any]) -> None:
        """Run a statement for each row."""
        with self._cursor() as cursor:
            cursor.executemany(statement, rows)

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        if self._begins:  # each cursor of DuckDB is a connection of its own, with its own transaction
            yield self._connection
            return
        with closing(self._connection.cursor()) as cursor:
            yield cursor

    def _rollback(self) -> None:
        if not self._begins:
            with suppress(Exception):  # a database without transactions
                self._connection.rollback()


def _known(names: Sequence[str]) -> dict[str, str]:
    """Return a table's columns by their name in lower case: some databases keep names in upper case."""
    return {name.lower(): name for name in names}


def _value(value: Any, *, is_metric: bool) -> Any:
    return float(value) if is_metric and value is not None else value
