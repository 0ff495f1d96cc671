"""A sample of the users of a query, encoded as a sync sends them. Memory grows with the sample only.

A user is drawn by a digest of seed and ID: those with the smallest digests are the sample. The same seed draws the
same users, in whatever order the rows come, and every row of a user who is drawn counts.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from contextlib import closing
from hashlib import blake2b
from typing import Any

import msgspec

from airflow_provider_moengage.arrival.comparison import Expected, Names
from airflow_provider_moengage.bulk.options import DeliveryOptions, Validation
from airflow_provider_moengage.bulk.run.preview import Previewed, encoded
from airflow_provider_moengage.bulk.sources import Source

READ_AT_ONCE = 1_000
"""Rows that are encoded at a time."""


class Sample:
    """The users with the smallest digests.

    :param size: how many.
    :param seed: makes the choice; the same seed chooses the same users.
    :param names: which attributes are compared.
    """

    def __init__(self, size: int, seed: str, names: Names) -> None:
        self._size = size
        self._seed = seed.encode("utf-8", "surrogatepass")
        self._names = names
        self._largest_first: list[tuple[int, str]] = []
        self.users: dict[str, Expected] = {}
        """What MoEngage should have of each, by ID."""
        self.rows = 0
        """Rows that were read."""
        self.rejected = 0
        """Rows that a sync would reject, and not send."""

    def read(self, source: Source, validation: Validation, check: Callable[[], None]) -> None:
        """Draw from all rows of a source.

        :param validation: of the sync.
        :param check: called now and then; it may raise to end it.
        """
        options = DeliveryOptions(validation=validation)
        with closing(encoded(source, options, lambda: READ_AT_ONCE)) as rows:
            for row in rows:
                if self.rows % READ_AT_ONCE == 0:
                    check()
                self.rows += 1
                if row.line is None:
                    self.rejected += 1
                else:
                    self._add(row, msgspec.json.decode(row.line))

    def _add(self, row: Previewed, element: dict[str, Any]) -> None:
        user = element["customer_id"]
        expected = self.users.get(user)
        if expected is None:
            digest = blake2b(
                user.encode(), digest_size=8, key=blake2b(self._seed, digest_size=32).digest()
            ).digest()
            drawn = (-int.from_bytes(digest), user)
            if len(self._largest_first) < self._size:
                heapq.heappush(self._largest_first, drawn)
            elif drawn > self._largest_first[0]:
                _, out = heapq.heapreplace(self._largest_first, drawn)
                del self.users[out]
            else:
                return
            expected = self.users[user] = Expected()
        expected.add(element, row.findings, self._names)
