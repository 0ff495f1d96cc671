"""The pages of an answer, put together: each row once, and an end that is sure to come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Row = TypeVar("Row")


class Pages(Generic[Row]):
    """Rows of one page after the other.

    :param key: tells a row from another; a row that moves to a later page while they are read comes once.
    """

    def __init__(self, key: Callable[[Row], str]) -> None:
        self._key = key
        self._rows: dict[str, Row] = {}
        self.next_page = 1

    @property
    def rows(self) -> list[Row]:
        """All rows so far."""
        return list(self._rows.values())

    def take(self, rows: Sequence[Row], *, has_more: bool) -> bool:
        """Add a page, and say whether to ask for the next: not where a page has brought nothing new."""
        before = len(self._rows)
        for row in rows:
            self._rows[self._key(row)] = row
        self.next_page += 1
        return has_more and len(self._rows) > before
