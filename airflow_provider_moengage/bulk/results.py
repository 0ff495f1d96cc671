"""The option of a bulk operator that writes what becomes of its runs into tables of a database."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_moengage.arguments import boolean, is_unresolved, non_empty

_PART = r"[\w$](?:[\w$ -]*[\w$-])?"
_TABLE = re.compile(rf"{_PART}(\.{_PART}){{0,3}}")


@dataclass(frozen=True, slots=True)
class ResultsTable:
    """Write one row for each run of a task into a table, and one for each reject into another.

    A run is a Dag run's task, with its map index: all tries of it, and tries after a Clear, write to the same row.
    A table that does not exist is created. What cannot be written is logged, and fails no task. A dry run writes
    nothing.

    :param conn_id: a connection of any DbApiHook. Templated.
    :param runs: the table of runs, ``table`` or ``schema.table``. Templated.
    :param rejects: the table of rejects; None: rejects are not written to a table. A row has the position, the key
        columns of the query, the codes and the messages. The key columns may be personal data. Templated.
    :param with_elements: also write each rejected element, whole, as JSON. This is personal data.
    :raises ValueError: naming the option that is wrong.
    """

    conn_id: str
    runs: str = "moengage_sync_runs"
    rejects: str | None = None
    with_elements: bool = False

    def __post_init__(self) -> None:
        if not is_unresolved(self.conn_id):
            non_empty("results.conn_id", self.conn_id, "a connection of a database")
        _check_table("results.runs", self.runs)
        if self.rejects is not None:
            _check_table("results.rejects", self.rejects)
            if not is_unresolved(self.rejects) and _same(self.rejects, self.runs):
                raise ValueError("results.rejects: is the table of runs; expected another table")
        boolean("results.with_elements", self.with_elements)
        if self.with_elements and self.rejects is None:
            raise ValueError("results.with_elements: requires results.rejects")

    def rendered(self, render: Callable[[Any], Any]) -> ResultsTable:
        """Return the option with its templates rendered.

        :raises ValueError: naming the option that rendered to something else.
        """
        conn_id, runs, rejects = (render(value) for value in (self.conn_id, self.runs, self.rejects))
        with_elements = self.with_elements and rejects is not None
        return replace(self, conn_id=conn_id, runs=runs, rejects=rejects, with_elements=with_elements)


def _check_table(name: str, value: object) -> None:
    if is_unresolved(value):
        return
    if not isinstance(value, str) or not _TABLE.fullmatch(value):
        raise ValueError(f"{name} {value!r}: expected the name of a table, such as 'analytics.moengage_runs'")


def _same(table: str, other: object) -> bool:
    """Return whether two names may be of one table: one of them may leave out the schema."""
    if not isinstance(other, str):
        return False
    pairs = zip(reversed(table.casefold().split(".")), reversed(other.casefold().split(".")), strict=False)
    return all(part == of_other for part, of_other in pairs)
