"""Writes rows to a table of any database, and creates the table if there is none.

A table may have columns that we do not know, and may lack some of ours. Statements name their columns, and values
are always parameters. No error shows the driver's message, because it may quote a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from airflow_provider_moengage.arguments import in_utc
from airflow_provider_moengage.sources.database import Database, database_of
from airflow_provider_moengage.sources.sql_placeholders import paramstyle_of, placeholder_form
from airflow_provider_moengage.sources.sql_stream import DatabaseHook
from airflow_provider_moengage.tables.dialect import Kind, TableDialect

Row = Mapping[str, Any]

_MOST_PARAMETERS = 900
"""Parameters of one statement: SQLite before version 3.32 allows 999, SQL Server 2,100."""

_MOST_CHARACTERS = 500_000
"""Characters of text in one statement, unless one row has more. MySQL accepts 16 MB and more."""

_ROWS_AT_ONCE = 1_000
"""Rows that are fetched together."""

_CODE = re.compile(r"[0-9A-Z_]{5,40}")
"""A SQLSTATE, or the name of an error of SQLite."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column that is written.

    :param is_key: it is never NULL, and is part of what identifies a row.
    """

    name: str
    kind: Kind
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class TableLayout:
    """The columns of a table.

    :param is_unique: no two rows have the same key.
    """

    columns: Sequence[TableColumn]
    is_unique: bool = True

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the key's columns."""
        return tuple(column.name for column in self.columns if column.is_key)


class TableError(Exception):
    """A table cannot be used. The message has no value and no text of the database."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that a database found by a key, and that has another one.

    :param column: in which they differ.
    :param is_unclear: only in spaces at the end: the column may pad its text, or it may be another key.
    """

    column: str
    is_unclear: bool

    def error(self) -> TableError:
        """Return why the table cannot be used, as far as rows of other keys must not be touched."""
        if self.is_unclear:
            return TableError(
                f"its column {self.column} has a text that differs only in spaces at the end, and may be of"
                " another key. If the type adds spaces, as CHAR does, use VARCHAR; if not, leave out such spaces"
            )
        return TableError(
            f"its column {self.column} ignores case or accents, and takes a text of another key for the same; give"
            " it a binary collation"
        )


def difference_of(key: Row, found: Sequence[Any]) -> Difference | None:
    """Return how a row differs from the key that it was found by; None if it has that key.

    Many databases ignore case, accents or spaces at the end when they compare text, so whatever they find is
    compared again. Only text is: drivers return numbers and times of several types.

    :param found: the values of the key's columns, in its order.
    """
    unclear = None
    for (name, wanted), value in zip(key.items(), found, strict=True):
        text = value.decode(errors="replace") if isinstance(value, bytes | bytearray) else value
        if not isinstance(wanted, str) or text == wanted:
            continue
        if str(text).rstrip(" ") != wanted.rstrip(" "):
            return Difference(name, is_unclear=False)
        unclear = Difference(name, is_unclear=True)
    return unclear


def name_of(error: BaseException) -> str:
    """Return the name of a database's error, with its code if it has one; never its message."""
    name = type(error).__name__
    is_database_error = any(kind.__name__ == "DatabaseError" for kind in type(error).__mro__)
    first = error.args[0] if error.args and is_database_error else None
    codes = [getattr(error, field, None) for field in ("sqlstate", "pgcode", "sqlite_errorname")]
    code = next((code for code in codes if isinstance(code, str) and _CODE.fullmatch(code)), None)
    if code is None and type(first) is int:
        code = str(first)
    return name if code is None else f"{name} {code}"


_CONFLICTS = frozenset(("1205", "1213", "40001", "40P01", "SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT"))
"""Codes of a transaction that was rolled back because of another one: MySQL's, SQLSTATE, SQLite's."""


def is_conflict(error: BaseException) -> bool:
    """Return whether a transaction was rolled back because of another one, so that it can be tried again."""
    name, _, code = name_of(error).partition(" ")
    return code in _CONFLICTS or name == "TransactionException"  # DuckDB's


class TableConnection:
    """A connection to a database whose tables are written.

    :param hook: any DbApiHook.
    :param connection: the driver's connection.
    """

    def __init__(self, hook: DatabaseHook, connection: Any) -> None:
        self._connection = connection
        self.database: Database = database_of(connection)
        self.dialect = TableDialect(hook, self.database)
        self._form = placeholder_form("", None, paramstyle_of(connection, hook))

    @contextmanager
    def transaction(self) -> Iterator[Statements]:
        """Yield what runs statements that are committed together, or not at all."""
        with self.database.transaction(self._connection) as cursor:
            yield Statements(cursor, self._form)


@contextmanager
def connected(hook: DatabaseHook) -> Iterator[TableConnection]:
    """Connect to a database, in a session whose time zone is UTC, and close the connection at the end."""
    connection = hook.get_conn()
    opened = TableConnection(hook, connection)
    try:
        if getattr(hook, "supports_autocommit", False):
            hook.set_autocommit(connection, False)  # type: ignore[attr-defined]  # every DbApiHook has it
        opened.database.prepare(connection)
        yield opened
    finally:
        opened.database.close(connection)


class Statements:
    """Runs statements on one cursor, with values as parameters.

    :param form: of a placeholder, with ``{name}`` or ``{number}`` to fill in.
    """

    def __init__(self, cursor: Any, form: str) -> None:
        self._cursor = cursor
        self._form = form

    def run(self, parts: Iterable[str | tuple[Any]]) -> None:
        """Run a statement.

        :param parts: its text, and each value as a tuple of one.
        """
        text: list[str] = []
        values: list[Any] = []
        for part in parts:
            if isinstance(part, str):
                text.append(part)
            else:
                values += part
                text.append(self._form.format(name=f"p{len(values)}", number=len(values)))
        if not values:
            self._cursor.execute("".join(text))
        elif "{name}" in self._form:
            named = {f"p{number}": value for number, value in enumerate(values, 1)}
            self._cursor.execute("".join(text), named)
        else:
            self._cursor.execute("".join(text), tuple(values))

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the rows of the last statement."""
        return list(self.each())

    def each(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the last statement. All have to be read: some drivers cannot leave any unread."""
        while given := self._cursor.fetchmany(_ROWS_AT_ONCE):
            for row in given:
                yield tuple(row.values()) if isinstance(row, Mapping) else tuple(row)

    def columns(self) -> list[str]:
        """Return the names of the columns of the last statement."""
        return [str(column[0]) for column in self._cursor.description or ()]


class SqlTable:
    """A table that exists, with the columns of a layout that it has.

    :param connection: the database.
    :param name: of the table, as SQL has it.
    :param layout: what we write.
    :param found: names of the columns that the table has.
    :raises TableError: if it lacks a column of the key.
    """

    def __init__(self, connection: TableConnection, name: str, layout: TableLayout, found: Sequence[str]) -> None:
        quoted, has_times = connection.dialect.quoted, connection.dialect.has_times
        names = {column.casefold(): column for column in found} | {column: column for column in found}
        self._connection = connection
        self._name = name
        self._key = layout.key
        self._has_times = has_times
        self._columns = {
            column.name: quoted(names[column.name]) for column in layout.columns if column.name in names
        }
        self.missing = [column.name for column in layout.columns if column.name not in self._columns]
        """Columns that the table lacks, so they are not written."""
        lacking = [column for column in self._key if column not in self._columns]
        if lacking:
            raise TableError(f"it lacks {', '.join(lacking)}, which identify a row")

    @classmethod
    def opened(
        cls, connection: TableConnection, name: str, layout: TableLayout, created: Callable[[], None] | None
    ) -> SqlTable:
        """Return a table; create it if there is none.

        :param name: ``table`` or ``schema.table``.
        :param created: called if it was created; None: a table that is not there is an error.
        :raises TableError: if it is not there and cannot be created, or lacks a column of the key.
        """
        quoted = connection.dialect.quoted(name)
        found, error = _columns_of(connection, quoted)
        # Another task may create the table at the same time. Not every database has primary keys.
        for has_key in (True, False) if layout.is_unique else (False,):
            if found is not None or created is None:
                break
            try:
                with connection.transaction() as statements:
                    statements.run([_create(connection.dialect, quoted, layout, has_key=has_key)])
            except Exception as trouble:  # noqa: BLE001 (every driver has its own)
                error = trouble
            else:
                created()
            found, _ = _columns_of(connection, quoted)
        if found is None:
            raise TableError(f"it can be neither read nor created: {'' if error is None else name_of(error)}")
        return cls(connection, quoted, layout, found)

    def put(self, row: Row) -> None:
        """Write a row; if there is one with the same key, replace those of its columns that are given.

        :raises TableError: if the database takes the key of another row for the same.
        """
        key = {column: row[column] for column in self._key}
        if self._update(key, row):
            return
        try:
            with self._connection.transaction() as statements:
                self._insert(statements, list(row), [row])
        except Exception:
            if not self._update(key, row):  # otherwise another try has written it meanwhile
                raise

    def replace(
        self, key: Row, rows: Iterable[Row] = (), columns: Sequence[str] = (), *, keep: bool = False
    ) -> None:
        """Replace all rows that have these values by others, in one transaction.

        :param rows: read once; never more than some hundred are in memory.
        :param columns: what each row has.
        :param keep: keep the rows, and only add to them.
        :raises TableError: if the database takes the values of another row for the same.
        """
        with self._connection.transaction() as statements:
            if not keep and self._count(statements, key):  # in MySQL, a DELETE of no rows would lock others out
                statements.run(["DELETE FROM ", self._name, " WHERE ", *self._conditions(key)])
            for some in _together(rows, self._most_rows(len(columns))):
                self._insert(statements, columns, some)

    def count(self, key: Row) -> int:
        """Return how many rows have these values.

        :raises TableError: if the database takes the values of another row for the same.
        """
        with self._connection.transaction() as statements:
            return self._count(statements, key)

    def select(self, columns: Sequence[str], key: Row, newest: str, most: int) -> list[tuple[Any, ...]]:
        """Return columns of the rows that have these values, also if the database takes others for the same.

        :param newest: the column to sort by, the largest first.
        :param most: how many rows.
        :raises TableError: if the table lacks one of the columns.
        """
        lacking = [column for column in (*columns, *key, newest) if column not in self._columns]
        if lacking:
            raise TableError(f"it lacks {', '.join(lacking)}")
        order = [" ORDER BY ", self._columns[newest], " DESC"]
        with self._connection.transaction() as statements:
            self._find(statements, (*columns, *key), key, order)
            rows, wanted, own = statements.rows(), self._stored(key), []
        for row in rows:
            difference = difference_of(wanted, row[len(columns) :])
            if difference is None:
                own.append(row[: len(columns)])
            elif difference.is_unclear:
                raise difference.error()
        return own[:most]

    def _update(self, key: Row, row: Row) -> bool:
        with self._connection.transaction() as statements:
            if not self._count(statements, key):
                return False
            parts: list[str | tuple[Any]] = []
            for column, value in row.items():
                if column in self._columns and column not in key:
                    parts += [f"{', ' if parts else ''}{self._columns[column]} = ", (self._value(value),)]
            if parts:
                statements.run(["UPDATE ", self._name, " SET ", *parts, " WHERE ", *self._conditions(key)])
        return True

    def _count(self, statements: Statements, key: Row) -> int:
        self._find(statements, tuple(key), key)
        wanted, count, difference = self._stored(key), 0, None
        for row in statements.each():
            count += 1
            difference = difference or difference_of(wanted, row)
        if difference is not None:
            raise difference.error()
        return count

    def _find(self, statements: Statements, columns: Sequence[str], key: Row, order: Sequence[str] = ()) -> None:
        names = ", ".join(self._columns[column] for column in columns)
        statements.run(["SELECT ", names, " FROM ", self._name, " WHERE ", *self._conditions(key), *order])

    def _stored(self, key: Row) -> Row:
        return {column: self._value(value) for column, value in key.items()}

    def _conditions(self, key: Row) -> Iterator[str | tuple[Any]]:
        for number, (column, value) in enumerate(key.items()):
            yield f"{' AND ' if number else ''}{self._columns[column]} = "
            yield (self._value(value),)

    def _insert(self, statements: Statements, columns: Sequence[str], rows: Sequence[Row]) -> None:
        known = [column for column in columns if column in self._columns]
        names = ", ".join(self._columns[column] for column in known)
        parts: list[str | tuple[Any]] = ["INSERT INTO ", self._name, f" ({names}) VALUES "]
        for number, row in enumerate(rows):
            parts.append(", (" if number else "(")
            for at, column in enumerate(known):
                parts += [", " if at else "", (self._value(row[column]),)]
            parts.append(")")
        statements.run(parts)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return _storable(value)
        if not isinstance(value, datetime):
            return value
        time = in_utc(value).replace(tzinfo=None)
        return time if self._has_times else time.isoformat(" ", "microseconds")

    def _most_rows(self, columns: int) -> int:
        return max(_MOST_PARAMETERS // max(columns, 1), 1) if self._connection.dialect.takes_many_rows else 1


def _storable(text: str) -> str:
    """Return a text that every database takes: PostgreSQL refuses NUL, and no driver has a form for half of a
    surrogate pair. They become escapes.
    """
    return text.replace("\0", r"\x00").encode(errors="backslashreplace").decode()


def _columns_of(connection: TableConnection, quoted: str) -> tuple[list[str] | None, Exception | None]:
    """Return the columns of a table; None, and the error, if it cannot be read."""
    try:
        with connection.transaction() as statements:
            statements.run(["SELECT * FROM ", quoted, " WHERE 1 = 0"])
            statements.rows()
            return statements.columns(), None
    except Exception as error:  # noqa: BLE001 (every driver has its own)
        return None, error


def _create(dialect: TableDialect, quoted: str, layout: TableLayout, *, has_key: bool) -> str:
    parts = [
        f"{dialect.quoted(column.name)} {dialect.type_of(column.kind)}{' NOT NULL' if column.is_key else ''}"
        for column in layout.columns
    ]
    if has_key:
        parts.append(f"PRIMARY KEY ({', '.join(map(dialect.quoted, layout.key))})")
    return f"CREATE TABLE {quoted} ({', '.join(parts)})"


def _together(rows: Iterable[Row], most: int) -> Generator[list[Row]]:
    """Yield rows that one statement writes."""
    remaining = iter(rows)
    while some := list(islice(remaining, most)):
        part: list[Row] = []
        size = 0
        for row in some:
            length = sum(len(value) for value in row.values() if isinstance(value, str))
            if part and size + length > _MOST_CHARACTERS:
                yield part
                part, size = [], 0
            part.append(row)
            size += length
        yield part
