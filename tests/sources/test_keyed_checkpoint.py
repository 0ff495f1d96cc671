"""The checkpoint of rows with keys, request by request."""

from __future__ import annotations

import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_moengage.bulk.batch import Batch
from airflow_provider_moengage.bulk.elements.encoding import Encoder
from airflow_provider_moengage.bulk.mapping import CustomerMapping
from airflow_provider_moengage.bulk.resume.checkpoint import Checkpoint
from airflow_provider_moengage.bulk.resume.counters import Counters
from airflow_provider_moengage.bulk.resume.rejects import Rejects
from airflow_provider_moengage.bulk.resume.saved_run import SavedRun
from airflow_provider_moengage.bulk.run.packer import Packer
from airflow_provider_moengage.bulk.run.reader import Reader
from airflow_provider_moengage.sources.sql_key import KeyColumns, KeyRange
from airflow_provider_moengage.sources.sql_rows import KeyedRows, Query

ROWS = 40


class InMemory:
    """A store that outlives the tries."""

    def __init__(self) -> None:
        self._state: str | None = None

    def load(self) -> dict[str, Any] | None:
        return None if self._state is None else json.loads(self._state)

    def save(self, state: dict[str, Any]) -> None:
        self._state = json.dumps(state)


class NeverFlushed(Rejects):
    """Rejects on an object store that has too few for an upload."""

    def flush(self, **_: Any) -> list[Any]:
        return []


class Database:
    """A hook of a SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE users (user_id TEXT, number INTEGER)")
            connection.executemany("INSERT INTO users VALUES (?, ?)", [(f"u-{n}", n) for n in range(ROWS)])
        connection.close()

    def get_conn(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path)


class Try:
    """A try that reads all rows into one batch. The test sends parts of it."""

    def __init__(self, database: Database, store: InMemory, rejects: Rejects) -> None:
        query = Query(database, "SELECT * FROM users", None, [CustomerMapping(attributes=["number"])], 100)
        source = KeyedRows(query, KeyColumns(["number"]), KeyRange())
        self.rejects = rejects
        self.checkpoint = Checkpoint(
            source,
            Counters(lambda: 0.0, lambda: 0.0),
            rejects,
            logging.getLogger(__name__),
            SavedRun(store, "the same"),
            at_most_once=True,
        )
        encoder = Encoder()
        reader = Reader("warn", rejects, self.checkpoint, encoder)
        packer = Packer(10**6, 10**6, encoder, reader.refuse)
        for elements in reader.elements(lambda: None):
            assert not list(packer.add(elements))
        self.batch = packer.take()

    def send(self, positions: range, *, is_answered: bool = True) -> None:
        batch = self.only(positions)
        self.checkpoint.announce(batch)
        if is_answered:
            self.checkpoint.accept(batch)

    def only(self, positions: range) -> Batch:
        assert self.batch is not None
        places = [at for at, position in enumerate(self.batch.positions) if position in positions]
        return self.batch.part(slice(places[0], places[-1] + 1))


@pytest.mark.parametrize("rejects", [Rejects, NeverFlushed])
def test_open_rows_before_unknown_ones_are_reread_by_a_third_try(tmp_path: Path, rejects: Any) -> None:
    database, store = Database(tmp_path / "warehouse.db"), InMemory()
    first = Try(database, store, Rejects(None))
    first.send(range(5, 10), is_answered=False)
    first.send(range(30, 40))

    second = Try(database, store, rejects(None))
    assert second.rejects.count == 5
    second.send(range(20, 30))

    third = Try(database, store, Rejects(None))
    assert third.batch is not None
    done = {*range(30, 40), *range(20, 30), *third.batch.positions}
    assert set(range(ROWS)) - done == set(range(5, 10)), "their outcome is unknown, and they are rejects"
