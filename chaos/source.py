"""What is synced: numbered elements, and the expected outcome of each.

Everything follows from the number of a row, so the checks need no second copy of the source.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

_PADDING = "x" * 160
"""Makes an element about 300 bytes, so that a request holds about 300 of them."""

ROWS_A_USER = 20
_REFUSED_ROWS = 2
_ROWS_INSERTED = 500
_SPREAD = 2_654_435_761
"""Knuth's multiplier: spreads neighbouring rows over the users."""
_STORES = 7
_DAYS = 28


@dataclass(frozen=True)
class Source:
    """Rows that each make one element, or a customer and an event.

    The element at a position belongs to the row ``position // a_row``. One row in 150, and a whole range
    of rows, cannot be sent. The server refuses some users.

    :param rows: number of rows.
    :param a_row: elements that a row makes: 1 or 2.
    """

    rows: int
    a_row: int

    @property
    def elements(self) -> int:
        """How many elements there are."""
        return self.rows * self.a_row

    @cached_property
    def refused_rows(self) -> frozenset[int]:
        """Rows whose users the server refuses."""
        step = self.rows // (_REFUSED_ROWS + 1)
        return frozenset(self._sendable(step * number) for number in range(1, _REFUSED_ROWS + 1))

    def user(self, row: int) -> str | None:
        """Return the row's user. The rows of a user are spread over the source."""
        match self._fault(row):
            case "guest":
                return "guest"
            case "missing":
                return None
        if row in self.refused_rows:
            return f"refused-{row}"
        users = max(self.rows // ROWS_A_USER, 1)
        return f"user-{row * _SPREAD % 2**32 * users >> 32}"

    def time(self, row: int) -> str:
        """Return when the row's event happened."""
        return "someday" if self._fault(row) == "time" else f"2026-01-{1 + row % _DAYS:02} 10:00:00"

    def is_rejected(self, position: int) -> bool:
        """Return whether validation or the server must reject the element."""
        row = position // self.a_row
        if row in self.refused_rows:
            return True
        fault = self._fault(row)
        return fault in ("guest", "missing", "line") or (fault == "time" and self._is_event(position))

    def element(self, position: int) -> Any:
        """Return the element; for a line that is not JSON, its text."""
        row = position // self.a_row
        if self._fault(row) == "line":
            return f"broken {position} {{"
        attributes = {"n": position, "note": _PADDING}
        user = self.user(row)
        if self._is_event(position):
            action = {"action": "Purchase", "current_time": self.time(row), "attributes": attributes}
            return {"type": "event", "customer_id": user, "actions": [action]}
        return {"type": "customer", "customer_id": user, "attributes": attributes}

    def position(self, element: Any) -> int:
        """Return the position of an element in the source."""
        if isinstance(element, str):
            return int(element.split()[1])
        holder = element if element["type"] == "customer" else element["actions"][0]
        number: int = holder["attributes"]["n"]
        return number * self.a_row + (self.a_row == 2 and element["type"] == "event")

    def write_lines(self, path: Path) -> None:
        """Write it as NDJSON."""
        with path.open("w") as file:
            for position in range(self.elements):
                element = self.element(position)
                file.write(f"{element if isinstance(element, str) else json.dumps(element)}\n")

    def write_table(self, connection: Any, seed: int, placeholder: str = "?", key: str = "VARCHAR(20)") -> None:
        """Write its rows into a table of a database, in random order.

        :param placeholder: of a value, for the database's driver.
        :param key: type of the key's text, which sorts by the characters' numbers.
        """
        rows = list(self._keyed_rows(seed))
        random.Random(seed).shuffle(rows)
        cursor = connection.cursor()
        cursor.execute(
            f"CREATE TABLE sales (store INTEGER, receipt {key}, user_id VARCHAR(40), bought VARCHAR(40),"
            " n INTEGER, note VARCHAR(200), PRIMARY KEY (store, receipt))"
        )
        row = f"({', '.join([placeholder] * 6)})"
        for first in range(0, len(rows), _ROWS_INSERTED):
            some = rows[first : first + _ROWS_INSERTED]
            values = [value for each in some for value in each]
            cursor.execute(f"INSERT INTO sales VALUES {', '.join([row] * len(some))}", values)
        connection.commit()

    def _keyed_rows(self, seed: int) -> Iterator[tuple[Any, ...]]:
        generator = random.Random(seed)
        keys = {(generator.randrange(_STORES) - 2, f"{generator.getrandbits(48):x}") for _ in range(self.rows)}
        while len(keys) < self.rows:
            keys.add((0, f"{generator.getrandbits(64):x}"))
        for row, (store, receipt) in enumerate(sorted(keys)):
            yield store, receipt, self.user(row), self.time(row), row, _PADDING

    def _is_event(self, position: int) -> bool:
        return position % 2 == 1

    def _fault(self, row: int) -> str | None:
        """Return why the row, or a part of it, cannot be sent."""
        begin = self.rows * 3 // 5
        if begin <= row < begin + min(1_500, self.rows // 20):
            return "guest"
        if row % 150 != 7:
            return None
        kinds = ("guest", "missing", "time") if self.a_row == 2 else ("guest", "missing", "time", "line")
        kind = kinds[row // 150 % len(kinds)]
        return None if kind == "time" and self.a_row == 1 and row % 2 == 0 else kind

    def _sendable(self, row: int) -> int:
        while self._fault(row) is not None:
            row += 1
        return row
