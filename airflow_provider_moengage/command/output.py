"""What the command prints: tables and lines for people, or JSON for programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from airflow_provider_moengage.api.received.scrub import printable

OK, NOT_OK, WRONG_USE = 0, 1, 2
"""Exit status: done; done with rejects, or nothing there; could not be done. The last is also argparse's own."""


class Output:
    """Prints one answer.

    :param options: of the command: ``as_json`` prints JSON only, and ``out`` is where to print.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._as_json = options.as_json
        self._console = Console(file=options.out, soft_wrap=True, highlight=False)

    def answer(self, facts: Mapping[str, Any], lines: Sequence[str | Table]) -> None:
        """Print an answer.

        :param facts: the answer as JSON.
        :param lines: the answer for people. Sentences are printed as they are, without markup.
        """
        if self._as_json:
            self._console.print(Text(json.dumps(facts, default=str)))
            return
        for line in lines:
            self._console.print(line if isinstance(line, Table) else Text(printable(line)))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: Sequence[str] = ()) -> Table:
    """Return a table.

    :param numbers: names of the columns that are aligned to the right.
    """
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(shown(value))) for value in row))
    return made


def shown(value: object) -> str:
    """Return a value as text: whole numbers with separators, nothing for None."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
