"""A table of users whose rows are added, changed, changed back and removed."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

_PADDING = "x" * 160
"""Makes an element about 260 bytes, so that a request holds some 300 of them."""

_REFUSED = ("refused-1", "refused-2")
_CHANGED, _BACK, _ADDED, _LEFT = 0.08, 0.01, 0.02, 0.02
_MOST_LEFT = 100
"""Rows that leave at once: each user is deleted by a request of its own, at most 5,000 a minute."""


def table_name(on_removed: str) -> str:
    """Return the table of a configuration."""
    return f"users_{on_removed}"


class Table:
    """The rows of a configuration: a version number for each user.

    A number belongs to one content of one user, so an element's number says whose it is.

    :param path: the SQLite database.
    :param name: of the table, which is created.
    :param refused: how many users the server refuses. Their rows never leave.
    """

    def __init__(self, path: Path, name: str, rows: int, refused: int) -> None:
        self.refused = frozenset(_REFUSED[:refused])
        self.rows: dict[str, int] = {}
        self.owners: list[str] = [""]
        """The user of each version number."""
        self._path = path
        self._name = name
        self._former: list[str] = []
        self.versions: dict[str, list[int]] = {}
        """The version numbers that each user's row has had."""
        with closing(sqlite3.connect(path)) as database:
            database.execute(f"CREATE TABLE {name} (user_id TEXT PRIMARY KEY, n INTEGER, note TEXT)")
        self._write((), [*self.refused, *(f"user-{number:07}" for number in range(0, rows * 2, 2))])

    @property
    def sendable(self) -> dict[str, int]:
        """The rows that the server accepts."""
        return {user: number for user, number in self.rows.items() if user not in self.refused}

    def change(self, generator: random.Random) -> set[str]:
        """Add, change and remove rows; return the users whose rows got a former content back."""
        users = sorted(self.rows.keys() - self.refused)
        some = generator.sample(users, int(len(users) * (_CHANGED + _BACK)))
        backs = {user for user in some[: int(len(users) * _BACK)] if self._before(user) is not None}
        leaving = generator.sample(users, min(int(len(users) * _LEFT), _MOST_LEFT))
        versions = {user: number for user in backs if (number := self._before(user)) is not None}
        returning = [user for user in self._former if generator.random() < 0.5 and user not in self.rows]
        new = [f"user-{generator.randrange(10**7):07}" for _ in range(int(len(users) * _ADDED))]
        changed = [user for user in some if user not in backs]
        self._write(leaving, dict.fromkeys([*changed, *returning, *new]), versions)
        self._former = [user for user in leaving if user not in self.rows]
        return backs & self.rows.keys()

    def _before(self, user: str) -> int | None:
        """Return an earlier version of a user's row."""
        now = self.rows[user]
        return next((number for number in self.versions.get(user, ()) if number != now), None)

    def _write(self, leaving: Iterable[str], users: Iterable[str], back: dict[str, int] | None = None) -> None:
        written = dict(back or {})
        for user in users:
            written[user] = len(self.owners)
            self.owners.append(user)
            self.versions.setdefault(user, []).append(written[user])
        gone = [user for user in leaving if user not in written]
        rows = [(user, number, f"{number} {_PADDING}") for user, number in written.items()]
        with closing(sqlite3.connect(self._path, timeout=60)) as database, database:
            database.executemany(f"DELETE FROM {self._name} WHERE user_id = ?", [(user,) for user in gone])
            database.executemany(f"INSERT OR REPLACE INTO {self._name} VALUES (?, ?, ?)", rows)
        for user in gone:
            del self.rows[user]
        self.rows.update(written)
