"""Reads a file as MoEngage's user guide describes, independently of the code that writes it."""

from __future__ import annotations

import csv
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

NAME = re.compile(r"(?P<prefix>[A-Za-z0-9_ ]+)_(?P<date>\d{8}_\d{4})\.(?P<extension>csv|json)")


def read_folder(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of all files in a folder, in the order of their names; nothing else may be in it."""
    return [row for file in sorted(folder.iterdir()) for row in read_file(file)]


def read_file(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file by column; a broken rule is an AssertionError."""
    name = NAME.fullmatch(path.name)
    assert name is not None, path.name
    assert len(name["prefix"]) <= 100
    datetime.strptime(name["date"], "%Y%m%d_%H%M")
    data = path.read_bytes()
    assert len(data) < 200_000_000
    text = data.decode("utf-8")
    assert not text.startswith("\ufeff")
    assert text.endswith("\n")
    lines = text.removesuffix("\n").split("\n")
    assert all(line.strip() for line in lines), "a blank row"
    assert not set(text) & set("\r\0"), "line ends are \\n alone"
    rows = _csv_rows(lines) if name["extension"] == "csv" else _json_rows(lines)
    assert 5 <= len(rows) <= 500_000
    return rows


def _csv_rows(lines: list[str]) -> list[dict[str, Any]]:
    header, *table = [next(csv.reader([line], strict=True)) for line in lines]  # each line is a row by itself
    assert len(set(header)) == len(header) <= 100
    assert all(column.strip() for column in header)
    for cells in table:
        assert len(cells) == len(header)
        assert any(cells)
        assert all(len(cell.encode()) < 128_000 for cell in cells)
        assert all("|" not in cell or re.fullmatch(r"\[.*\]", cell) for cell in cells)
    return [dict(zip(header, cells, strict=True)) for cells in table]


def _json_rows(lines: list[str]) -> list[dict[str, Any]]:
    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    def no_number(text: str) -> None:
        raise AssertionError(text)

    rows: list[dict[str, Any]] = [
        json.loads(line, object_pairs_hook=no_duplicates, parse_constant=no_number) for line in lines
    ]
    for row in rows:
        assert len(row) <= 100
        assert None not in row.values()
        assert not any(isinstance(cell, str) and "|" in cell for cell in row.values())
        assert all(len(json.dumps(cell, ensure_ascii=False).encode()) < 128_002 for cell in row.values())
    return rows
