"""MoEngage's rules for imported files and their rows.

MoEngage user guide, "Imports", preparing the files. Files are read line by line to save memory.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from airflow_provider_moengage.emulator.http import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_moengage.emulator.file_imports.definitions import FileImport

SIZE_LIMIT = 200_000_000
"""A file must have fewer bytes: 200 MB, in the stricter reading."""

CELL_LIMIT = 131_072
"""A cell must have fewer bytes: 128 KB."""

LEAST_ROWS = 5

_LINE_LIMIT = 32 * 1_024 * 1_024
_CELLS_ARE_SMALL = CELL_LIMIT // 4
"""A row with fewer characters has no cell over the limit: a character has at most 4 bytes."""


class RuleBroken(Exception):  # noqa: N818 - a finding, not an error
    """The whole file fails; the message is its ``status_msg``."""


@dataclass(slots=True)
class Rows:
    """The data rows of a file.

    :param first_failure: the first failed row, and why.
    """

    total: int = 0
    failed: int = 0
    first_failure: str = ""

    def count(self, failure: str | None) -> None:
        """Count a row; ``failure`` is the reason if it failed."""
        self.total += 1
        if failure is not None:
            self.failed += 1
            self.first_failure = self.first_failure or f"row {self.total}: {failure}"


def check_file(path: Path, size: int, file_import: FileImport) -> Rows:
    """Check a file as a run of the import does.

    :param size: bytes of the file.
    :raises RuleBroken: if the whole file fails.
    :raises OSError: if it cannot be read.
    """
    if size >= SIZE_LIMIT:
        raise RuleBroken(f"The file has {size:,} bytes; the limit is 200 MB")
    is_csv = path.suffix == ".csv"
    if file_import.import_type == "AUX_DATA" and not is_csv:
        raise RuleBroken("Auxiliary data must be CSV")
    required = {
        "USERS": [file_import.id_column],
        "EVENTS": [file_import.id_column, file_import.time_column],
        "AUX_DATA": [],
    }[file_import.import_type]
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            rows = _check_csv(file, required) if is_csv else _check_json(file, required)
    except UnicodeDecodeError:
        raise RuleBroken("The file is not UTF-8") from None
    if rows.total < LEAST_ROWS:
        raise RuleBroken(f"The file has {rows.total} data rows; the minimum is {LEAST_ROWS}")
    return rows


class _Lines:
    """The lines of a file; ``raw`` has those read since it was last cleared."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.raw: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(_LINE_LIMIT)
        if not line:
            raise StopIteration
        if len(line) == _LINE_LIMIT and line[-1] != "\n":
            raise RuleBroken("A line is longer than any row can be")
        self.raw.append(line)
        return line


def _check_csv(file: TextIO, required: list[str]) -> Rows:
    rows = Rows()
    table = _csv_rows(file)
    header = next(table, ([], ""))[0]
    _check_header(header, required)
    places = [(name, header.index(name)) for name in required]
    for cells, raw in table:
        if not cells:
            raise RuleBroken(f"Row {rows.total + 1} is blank")
        if len(raw) >= _CELLS_ARE_SMALL:
            _check_sizes((cell.encode() for cell in cells), rows)
        rows.count(_csv_failure(cells, raw, len(header), places))
    return rows


def _csv_rows(file: TextIO) -> Iterator[tuple[list[str], str]]:
    """Yield the cells and the text of each row."""
    lines = _Lines(file)
    try:
        for cells in csv.reader(lines, strict=True):
            raw = "".join(lines.raw)
            if raw.endswith(("\r\n", "\r")):
                raise RuleBroken("Lines must end with \\n")
            lines.raw.clear()
            yield cells, raw
    except csv.Error as error:
        if "\r" in lines.raw[-1]:
            raise RuleBroken("Lines must end with \\n") from None
        raise RuleBroken(f"The file is not valid CSV: {error}") from None


def _check_header(header: list[str], required: list[str]) -> None:
    if not any(header):
        raise RuleBroken("The file has no header row")
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise RuleBroken(f"The column {repeated[0]} is repeated")
    missing = [name for name in required if name not in header]
    if missing:
        raise RuleBroken(f"The column {missing[0]} is missing")


def _csv_failure(cells: list[str], raw: str, width: int, places: list[tuple[str, int]]) -> str | None:
    if len(cells) != width:
        return f"it has {len(cells)} cells, the header {width}"
    for name, place in places:
        if not cells[place].strip():
            return f"{name} is empty"
    return "a cell contains |" if "|" in raw else None


def _check_json(file: TextIO, required: list[str]) -> Rows:
    rows = Rows()
    for line in _Lines(file):
        try:
            fields = read_json(line)
        except msgspec.DecodeError:
            fields = None
        if type(fields) is not dict:
            raise RuleBroken(f"Line {rows.total + 1} is not one JSON object")
        if len(line) >= _CELLS_ARE_SMALL:
            _check_sizes(map(_json_cell, fields.values()), rows)
        rows.count(_json_failure(fields, required))
    return rows


def _json_cell(value: Any) -> bytes:
    return value.encode() if type(value) is str else msgspec.json.encode(value)


def _json_failure(fields: dict[str, Any], required: list[str]) -> str | None:
    for name in required:
        value = fields.get(name)
        if value is None or (type(value) is str and not value.strip()):
            return f"{name} is empty"
    contains_bar = any(type(value) is str and "|" in value for value in fields.values())
    return "a cell contains |" if contains_bar else None


def _check_sizes(cells: Iterator[bytes], rows: Rows) -> None:
    if any(len(cell) >= CELL_LIMIT for cell in cells):
        raise RuleBroken(f"A cell of row {rows.total + 1} has 128 KB or more")
