"""The rows of a query as the elements of a run: read once, or by key, so that another try goes on among them."""

from __future__ import annotations

import base64
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_moengage.bulk.mapping import ElementMapping, compile_mappings
from airflow_provider_moengage.bulk.sources import Item, Left
from airflow_provider_moengage.transfers.keyset import (
    NAME_BYTES,
    Key,
    KeyColumns,
    KeyRange,
    check_key,
    digest,
    key_from_json,
    key_to_json,
    null_key_exists,
    stream_range,
)
from airflow_provider_moengage.transfers.sql_stream import stream_query


@dataclass(frozen=True, slots=True)
class Query:
    """A query, and what becomes of its rows."""

    hook: Any
    sql: str
    parameters: Any
    mappings: Sequence[ElementMapping]
    fetch_size: int


def elements_of(query: Query) -> Iterator[object]:
    """Read all rows, in whatever order the database gives them."""
    with stream_query(query.hook, query.sql, query.parameters, fetch_size=query.fetch_size) as result:
        to_elements = compile_mappings(query.mappings, result.columns)
        for row in result.rows:
            yield from to_elements(row)


class KeyedRows:
    """Rows that are read in the order of their keys.

    An element's mark is its row's key, and its name in a bookmark a digest of the key and of the mapping that has
    made it: rows that come or go between two tries do not shift the others. A bookmark has the key of the first
    row that is open and that of the last one that was sent; the rows between are read again, and those that come
    after.
    """

    is_resumable = True
    total = None
    why_not = ""

    def __init__(self, query: Query, key_columns: KeyColumns, key_range: KeyRange) -> None:
        self._query = query
        self._key_columns = key_columns
        self._range = key_range
        self._a_row = len(query.mappings)
        self._first: list[Any] | None = None

    def items(self, bookmark: Mapping[str, Any] | None) -> Generator[Item]:
        """Read the rows that an earlier try has left, and those that come after."""
        if bookmark is None:
            yield from self._later(self._range, 0)
            return
        last, last_key = bookmark["last"], key_from_json(bookmark["last_key"])
        last_row, last_in_row = divmod(last, self._a_row)
        last_name = digest(last_key, 0)
        row = last_row
        if (first := bookmark["first"]) is not None:
            again = KeyRange(starting_at=key_from_json(first[1]), up_to=last_key)
            for number, key, elements in self._rows(again, first[0]):
                row = max(row, number)  # there may be rows that have come since
                is_last = digest(key, 0) == last_name
                for in_row, element in enumerate(elements[: last_in_row + 1] if is_last else elements):
                    yield Item(number * self._a_row + in_row, element, key, is_reread=True)
        if last_in_row + 1 < self._a_row:  # there is more of its row
            for _, key, elements in self._rows(KeyRange(starting_at=last_key, up_to=last_key), row):
                for in_row, element in enumerate(elements[last_in_row + 1 :], last_in_row + 1):
                    yield Item(row * self._a_row + in_row, element, key)
        yield from self._later(KeyRange(after=last_key, up_to=self._range.up_to), row + 1)
        query = self._query
        if null_key_exists(query.hook, query.sql, query.parameters, self._key_columns):
            raise ValueError(f"key_columns ({self._key_columns}): the query has rows where one of them is NULL")

    def left(self, bookmark: Mapping[str, Any]) -> Left:
        """Read a bookmark."""
        self._first = bookmark["first"]
        last = (bookmark["last"], key_from_json(bookmark["last_key"]))
        opened, sent = (set(_unpacked(bookmark[name])) for name in ("open", "sent"))
        return Left(last, opened, sent)

    def name(self, position: int, mark: Any) -> Any:
        """What an element is called."""
        return digest(mark, position % self._a_row)

    def bookmark(self, left: Left) -> dict[str, Any]:
        """Return what is left, JSON-ready."""
        last, last_key = left.last
        if left.first is not None:
            self._first = [left.first[0] // self._a_row, key_to_json(left.first[1])]
        elif not (left.open or left.sent):
            self._first = None
        return {
            "last": last,
            "last_key": key_to_json(last_key),
            "first": self._first,
            "open": _packed(left.open),
            "sent": _packed(left.sent),
        }

    def _later(self, key_range: KeyRange, row_number: int) -> Generator[Item]:
        for number, key, elements in self._rows(key_range, row_number):
            for position, element in enumerate(elements, number * self._a_row):
                yield Item(position, element, key)

    def _rows(self, key_range: KeyRange, row_number: int) -> Generator[tuple[int, Key, Sequence[object]]]:
        """Read rows, each with its number and its key.

        :raises ValueError: where a row has no key, not one of its own, or one that cannot be kept.
        """
        query = self._query
        columns = self._key_columns
        with stream_range(
            query.hook, query.sql, query.parameters, columns, key_range, fetch_size=query.fetch_size
        ) as result:
            to_elements = compile_mappings(query.mappings, result.columns)
            at = columns.indexes(result.columns)
            before: Key | None = None
            for number, row in enumerate(result.rows, row_number):
                key = tuple([row[index] for index in at])
                if None in key:
                    check_key(key, columns.names, number)
                if before is None:
                    key_to_json(key, columns.names)  # a key that cannot be kept is told before anything is sent
                elif key == before:
                    raise ValueError(
                        f"key_columns ({columns}): rows {number - 1} and {number} have the same key; add columns"
                        " until each row has a key of its own"
                    )
                before = key
                yield number, key, to_elements(row)


def _packed(names: Collection[bytes]) -> str:
    return base64.b85encode(b"".join(sorted(names))).decode()


def _unpacked(text: str) -> Iterator[bytes]:
    data = base64.b85decode(text)
    for start in range(0, len(data), NAME_BYTES):
        yield data[start : start + NAME_BYTES]
