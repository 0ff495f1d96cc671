"""The rows of a query as the elements of a run: read once, or by key, so that another try can resume."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from airflow_provider_moengage.bulk.elements.fast_path import Preparer
from airflow_provider_moengage.bulk.elements.row_codegen import row_preparer
from airflow_provider_moengage.bulk.mapping import ElementMapping, Row, RowRecipe, Typed, compile_mappings
from airflow_provider_moengage.bulk.sources import Chunk, Remaining, Stream
from airflow_provider_moengage.sources.database import SourceColumn
from airflow_provider_moengage.sources.sql_key import (
    DIGEST_BYTES,
    Key,
    KeyColumns,
    KeyRange,
    RowNumbers,
    check_key,
    check_key_types,
    check_key_values,
    digest,
    is_same_key,
    key_from_json,
    key_to_json,
)
from airflow_provider_moengage.sources.sql_keyset import (
    check_comparisons,
    check_order,
    null_key_exists,
    stream_range,
)
from airflow_provider_moengage.sources.sql_stream import DatabaseHook, LostConnectionError, stream_query


@dataclass(frozen=True, slots=True)
class Query:
    """A query, and the mappings of its rows."""

    hook: DatabaseHook
    sql: str
    parameters: Any
    mappings: Sequence[ElementMapping]
    fetch_size: int
    mappings_for: Callable[[Sequence[ElementMapping], Sequence[str]], Sequence[ElementMapping]] | None = None
    """Returns the mappings to use for a query with these columns; None: the given ones."""

    def recipes(self, columns: Sequence[str], typed: Typed) -> list[RowRecipe]:
        """Return how rows with these columns become elements.

        :param typed: receives the columns to read as a type.
        :raises ValueError: naming the columns that are wrong.
        """
        mappings = self.mappings if self.mappings_for is None else self.mappings_for(self.mappings, columns)
        return compile_mappings(mappings, columns, typed)


class Rows(Stream):
    """Rows in the order in which the database returns them. Reading again may return other rows."""

    def __init__(self, query: Query) -> None:
        super().__init__((), "without key_columns the rows that were sent cannot be identified")
        self._query = query
        self.row_count: int | None = None
        """The number of rows, if somebody has counted them."""

    @property
    def total(self) -> int | None:
        """The number of elements, if known."""
        return None if self.row_count is None else self.row_count * len(self._query.mappings)

    def chunks(
        self,
        bookmark: Mapping[str, Any] | None,  # noqa: ARG002 (it has none)
        size: Callable[[], int],
    ) -> Generator[Chunk]:
        """Read all rows; the bookmark is ignored."""
        try:
            yield from self._chunks(size)
        except LostConnectionError as error:
            error.args = (f"{error}, or set key_columns, so that reading resumes after the last row",)
            raise

    def _chunks(self, size: Callable[[], int]) -> Generator[Chunk]:
        query = self._query
        with stream_query(query.hook, query.sql, query.parameters, fetch_size=query.fetch_size) as result:
            typed: Typed = {}
            recipes = query.recipes(result.columns, typed)
            preparer = row_preparer(recipes)
            read = result.reader(typed)
            first = 0
            while given := list(islice(result.rows, _rows_of(size(), recipes))):
                rows = given if read is None else read(given)
                until = first + len(rows) * len(recipes)
                yield Chunk(range(first, until), rows, preparer)
                first = until


def _rows_of(elements: int, recipes: Sequence[RowRecipe]) -> int:
    return max(elements // len(recipes), 1)


@dataclass(frozen=True, slots=True)
class _KeyedChunk:
    """Some rows with their keys."""

    first: int
    """Number of the first row."""
    rows: Sequence[Row]
    keys: Sequence[Key]
    preparer: Preparer
    recipes: Sequence[RowRecipe]

    def __iter__(self) -> Iterator[tuple[int, Key, list[object]]]:
        """Yield the number, the key and the elements of each row."""
        for number, (key, row) in enumerate(zip(self.keys, self.rows, strict=True), self.first):
            yield number, key, [recipe(row) for recipe in self.recipes]


class KeyedRows:
    """Rows that are read in the order of their keys.

    An element's key is its row's key, and its token in a bookmark is a digest of the key and of the mapping that
    made it: rows that are added or removed between two tries do not shift the others. A bookmark has the key of
    the first open row and of the last row that was sent. The rows between them are read again, then those that
    follow.
    """

    is_resumable = True
    why_not = ""

    def __init__(self, query: Query, key_columns: KeyColumns, key_range: KeyRange) -> None:
        self._query = query
        self._key_columns = key_columns
        self._range = key_range
        self._per_row = len(query.mappings)
        self._first: list[Any] | None = None
        self.was_interrupted = False
        self.row_count: int | None = None
        """The number of rows, if somebody has counted them."""

    @property
    def total(self) -> int | None:
        """The number of elements, if known."""
        return None if self.row_count is None else self.row_count * self._per_row

    def chunks(self, bookmark: Mapping[str, Any] | None, size: Callable[[], int]) -> Generator[Chunk]:
        """Read the rows that an earlier try left open, and those that follow."""
        if bookmark is None:
            if self._range.up_to is not None and self._range.after is None and self._range.starting_at is None:
                self._check_nulls()  # the first of several ranges, none of which holds a NULL
            yield from self._later(self._range, 0, size)
            return
        last, last_key = bookmark["last"], key_from_json(bookmark["last_key"])
        first = bookmark["first"]
        self._check_order([last_key] if first is None else [key_from_json(first[1]), last_key])
        last_row, last_in_row = divmod(last, self._per_row)
        row = last_row
        if first is not None:
            again = KeyRange(starting_at=key_from_json(first[1]), up_to=last_key)
            last_digest = digest(last_key, 0)
            for rows in self._rows(again, first[0], size):
                row = max(row, rows.first + len(rows.rows) - 1)  # rows may have been added since
                yield self._again(rows, last_digest, last_in_row)
        if last_in_row + 1 < self._per_row:  # its row has more elements
            for rows in self._rows(KeyRange(starting_at=last_key, up_to=last_key), row, size):
                for _, key, elements in rows:
                    rest = range(last_in_row + 1, self._per_row)
                    positions = range(row * self._per_row + rest.start, (row + 1) * self._per_row)
                    yield Chunk(positions, elements[rest.start :], keys=[key] * len(rest))
        yield from self._later(KeyRange(after=last_key, up_to=self._range.up_to), row + 1, size)
        self._check_nulls()

    def _check_nulls(self) -> None:
        query = self._query
        if null_key_exists(query.hook, query.sql, query.parameters, self._key_columns):
            raise ValueError(
                f"key_columns ({self._key_columns}): some rows of the query have a NULL in one of these columns"
            )

    def _check_order(self, keys: Sequence[Key]) -> None:
        query = self._query
        check_order(query.hook, query.sql, query.parameters, self._key_columns, keys)

    def remaining(self, bookmark: Mapping[str, Any]) -> Remaining:
        """Read a bookmark."""
        self._first = bookmark["first"]
        last = (bookmark["last"], key_from_json(bookmark["last_key"]))
        opened, in_flight = (set(_unpacked(bookmark[name])) for name in ("open", "sent"))
        return Remaining(last, opened, in_flight)

    def token(self, position: int, key: Any) -> Any:
        """Return what identifies an element in a bookmark."""
        return digest(key, position % self._per_row)

    def bookmark(self, remaining: Remaining) -> dict[str, Any]:
        """Return what remains, JSON-ready."""
        last, last_key = remaining.last
        if remaining.first is not None:
            self._first = [remaining.first[0] // self._per_row, key_to_json(remaining.first[1])]
        elif not (remaining.open or remaining.in_flight):
            self._first = None
        return {
            "last": last,
            "last_key": key_to_json(last_key),
            "first": self._first,
            "open": _packed(remaining.open),
            "sent": _packed(remaining.in_flight),
        }

    def _again(self, rows: _KeyedChunk, last_digest: bytes, last_in_row: int) -> Chunk:
        """Return the elements of rows that an earlier try has read; of the last row, only those that it sent."""
        positions: list[int] = []
        given: list[object] = []
        chunk_keys: list[Key] = []
        for number, key, elements in rows:
            some = elements[: last_in_row + 1] if digest(key, 0) == last_digest else elements
            positions += range(number * self._per_row, number * self._per_row + len(some))
            given += some
            chunk_keys += [key] * len(some)
        return Chunk(positions, given, keys=chunk_keys, is_reread=True)

    def _later(self, key_range: KeyRange, row_number: int, size: Callable[[], int]) -> Generator[Chunk]:
        per_row = self._per_row
        for rows in self._rows(key_range, row_number, size):
            positions = range(rows.first * per_row, (rows.first + len(rows.rows)) * per_row)
            keys = rows.keys if per_row == 1 else [key for key in rows.keys for _ in range(per_row)]
            yield Chunk(positions, rows.rows, rows.preparer, keys)

    def _rows(self, key_range: KeyRange, number: int, size: Callable[[], int]) -> Generator[_KeyedChunk]:
        """Read rows with their keys. If the connection is lost, another one continues after the last key.

        :param number: of the first row.
        :raises ValueError: if a row has no key, the same key as another row, or one that cannot be stored.
        """
        last: Key | None = None
        numbers = RowNumbers(self._key_columns, is_part=self._range != KeyRange())
        while True:
            has_read = False
            reading = _Reading(self._query, self._key_columns, last, numbers)
            try:
                for chunk in reading.chunks(key_range, number, size):
                    yield chunk
                    has_read = True
                    number += len(chunk.rows)
                    last = chunk.keys[-1]
                return
            except LostConnectionError:
                if not has_read or last is None:
                    raise
            self.was_interrupted = True
            self._check_order([last])
            key_range = KeyRange(after=last, up_to=key_range.up_to)


class _Reading:
    """One query of rows with their keys.

    :param before: key of the row before the first one, if it is known.
    :param numbers: how messages name rows.
    """

    def __init__(self, query: Query, key_columns: KeyColumns, before: Key | None, numbers: RowNumbers) -> None:
        self._query = query
        self._key_columns = key_columns
        self._numbers = numbers
        self._before: Key = before or ()
        self._is_first = before is None

    def chunks(self, key_range: KeyRange, number: int, size: Callable[[], int]) -> Generator[_KeyedChunk]:
        """Read the rows of a range.

        :param number: of the first one.
        :raises LostConnectionError: if the database ended the connection.
        """
        query = self._query
        with stream_range(
            query.hook, query.sql, query.parameters, self._key_columns, key_range, fetch_size=query.fetch_size
        ) as result:
            typed: Typed = {}
            recipes = query.recipes(result.columns, typed)
            preparer = row_preparer(recipes)
            at = self._key_columns.indexes(result.columns)
            columns = [result.described[index] for index in at]
            check_key_types(columns, result.database.name)
            check_comparisons(query.hook, query.sql, query.parameters, self._key_columns, columns)
            read = result.reader(typed)
            while rows := list(islice(result.rows, _rows_of(size(), recipes))):
                values = [[row[index] for row in rows] for index in at]
                keys: list[Key] = list(zip(*values, strict=True))
                self._check(keys, values, columns, number)
                yield _KeyedChunk(number, rows if read is None else read(rows), keys, preparer, recipes)
                number += len(rows)
                self._before = keys[-1]

    def _check(
        self, keys: Sequence[Key], values: Sequence[Sequence[Any]], columns: Sequence[SourceColumn], number: int
    ) -> None:
        """Check that each row has a key of its own, which a later try can find again."""
        names = self._key_columns.names
        if None in chain.from_iterable(values):
            for row, key in enumerate(keys, number):
                check_key(key, row, self._numbers)
        for column, some in zip(columns, values, strict=True):
            check_key_values(column, some, number, self._numbers)
        if self._is_first:  # report a key that cannot be stored before anything is sent
            key_to_json(keys[0], names)
            self._is_first = False
        for row, (key, before) in enumerate(zip(keys, [self._before, *keys], strict=False), number):
            if key == before and is_same_key(key, before):
                raise ValueError(
                    f"key_columns ({self._key_columns}): rows {row:,} and {row + 1:,}"
                    f" ({self._numbers.order}) have the same key; add columns until the key of each row is unique."
                    f" GROUP BY {self._key_columns} HAVING COUNT(*) > 1 finds such rows"
                )


def _packed(tokens: Collection[bytes]) -> str:
    return base64.b85encode(b"".join(sorted(tokens))).decode()


def _unpacked(text: str) -> Iterator[bytes]:
    data = base64.b85decode(text)
    for start in range(0, len(data), DIGEST_BYTES):
        yield data[start : start + DIGEST_BYTES]
