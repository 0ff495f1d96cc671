"""Turns the rows of a query into lines of the files that MoEngage's imports read: CSV or NDJSON.

MoEngage user guide, "Set Up a File Import": File Structure, Array Support (CSV), Limits, Manifest Files.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal, get_args
from uuid import UUID

import msgspec

from airflow_provider_moengage.bulk.elements.checks import (
    attribute_values,
    check_customer_id,
    event_attribute_name,
    identifier,
    user_attribute_name,
)
from airflow_provider_moengage.bulk.elements.event_time import event_time
from airflow_provider_moengage.bulk.elements.findings import Finding
from airflow_provider_moengage.bulk.elements.rules import Code
from airflow_provider_moengage.bulk.mapping import Attributes, QueryColumns, Typed, check_columns

ImportType = Literal["USERS", "EVENTS"]
FileFormat = Literal["csv", "json"]
IMPORT_TYPES: tuple[ImportType, ...] = get_args(ImportType)
FILE_FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)

MOST_COLUMNS = 100
"""User guide, "Limits": columns for users, and columns per event."""

LARGEST_CELL = 128_000
"""A cell has fewer bytes than this: "128 KB", read as the smaller of its meanings."""

_NOT_ENCODABLE = (ValueError, TypeError, OverflowError, RecursionError)
"""What msgspec raises: half a surrogate pair and an int of thousands of digits are ValueErrors."""

_SECONDS, _FRACTION, _DAY = _FORMATS = ("YYYY-MM-DDThh:mm:ssTZD", "YYYY-MM-DDThh:mm:ss.sTZD", "YYYY-MM-DD")

_KINDS: dict[type, str] = {
    str: "string",
    UUID: "string",
    dt.time: "string",
    dt.timedelta: "string",
    int: "double",
    float: "double",
    bool: "bool",
    dt.date: _DAY,
    list: "array",
    dict: "object",
}


class ImportRows:
    """Turns the rows of one query into lines of files, and records the types of the columns' values.

    A line has the id, the time of an event, and the attributes under MoEngage's names.

    :param columns: the query's columns, in the row's order.
    :param import_type: ``USERS`` or ``EVENTS``.
    :param id_column: column with the user's id.
    :param time_column: column with the time of an event; None for users.
    :param attributes: as in :class:`~airflow_provider_moengage.bulk.mapping.CustomerMapping`.
    :param file_format: ``csv`` or ``json``.
    :raises ValueError: naming the column that the query does not have, or that a file cannot contain.
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        import_type: str,
        id_column: str,
        time_column: str | None,
        attributes: Attributes,
        file_format: str,
    ) -> None:
        check_columns(columns)
        self.typed: Typed = {}
        """Columns that are to be read as a type; their values follow the query's own in a row."""
        query = QueryColumns("sql", columns, self.typed)
        self._id_name, self._id_at = id_column, query.of(id_column)
        self._time_name, self._time_at = time_column, None if time_column is None else query.of(time_column)
        self._attributes = query.of_attributes(attributes)
        self.names = [id_column, *([] if time_column is None else [time_column])]
        self.names += [name for name, _ in self._attributes]
        self.name_warnings = self._check_names(import_type)
        self._is_csv = file_format == "csv"
        self._not_in_text = _NOT_IN_CSV if self._is_csv else _NOT_IN_JSON
        self._csv_line = csv.writer(_Returned(), lineterminator="\n").writerow
        self._kinds: dict[str, set[str]] = {name: set() for name in self.names}

    @property
    def header(self) -> bytes:
        """The first bytes of a file."""
        return self._as_csv(self.names) if self._is_csv else b""

    @property
    def mixed(self) -> dict[str, list[str]]:
        """The columns that had values of several types, where MoEngage expects one."""
        return {name: sorted(kinds) for name, kinds in self._kinds.items() if len(kinds) > 1}

    def encode(self, row: Sequence[Any]) -> tuple[bytes, list[Finding]]:
        """Return the line of a row, empty if it cannot be written, and what is wrong with it.

        :param row: its values, those of :attr:`typed` columns last.
        """
        findings: list[Finding] = []
        cells = self._cells(row, findings)
        self._check_cells(cells, findings)
        if _is_wrong(findings):
            return b"", findings
        try:
            line = self._as_csv([_csv_cell(cell) for cell in cells.values()]) if self._is_csv else _as_json(cells)
        except _NOT_ENCODABLE:
            _find_not_encodable(cells, findings)
            if not _is_wrong(findings):
                raise
            return b"", findings
        if len(line) >= LARGEST_CELL:
            _find_too_large(cells, findings)
            if _is_wrong(findings):
                return b"", findings
        for name, cell in cells.items():
            if cell is not None:
                self._kinds[name].add(_KINDS.get(type(cell)) or _datetime_kind(cell))
        return line, findings

    def mapping(self, *, id_attribute: str | None) -> dict[str, Any]:
        """Return what MoEngage calls a manifest or mapping file, with the types of the columns' values so far.

        The event's time is not in it because MoEngage maps it only in the dashboard. Neither is the type of a
        column that was empty, mixed, an array or an object.

        :param id_attribute: the attribute that is the user's id; None omits the id.
        """
        attributes = {name: name for name, _ in self._attributes}
        if id_attribute is not None:
            attributes = {self._id_name: id_attribute} | attributes
        return {
            "mapping": [
                {"column": column, "moe_attr": name, **_type(self._kinds[column]), "is_skipped": False}
                for column, name in attributes.items()
            ]
        }

    def _cells(self, row: Sequence[Any], findings: list[Finding]) -> dict[str, Any]:
        customer_id = identifier(self._id_name, row[self._id_at], findings)
        check_customer_id(customer_id, findings, identified_otherwise=False, name=self._id_name)
        cells = {self._id_name: customer_id}
        if self._time_at is not None and self._time_name is not None:
            cells[self._time_name] = moment = event_time(row[self._time_at])
            if moment is None:
                message = f"{self._time_name}: expected a time, ISO 8601 (2020-05-31T16:33:35Z) or epoch seconds"
                findings.append(Finding(Code.EVENT_TIME_INVALID, message))
        attributes = {name: row[at] for name, at in self._attributes}
        cells.update(attribute_values(attributes, findings, rules_apply=True))
        return cells

    def _check_cells(self, cells: dict[str, Any], findings: list[Finding]) -> None:
        for name, cell in cells.items():
            kind = type(cell)
            if kind is str:
                if found := self._not_in_text.search(cell):
                    what = "a |, which MoEngage accepts only in arrays" if found[0] == "|" else _NO_LINE_BREAK
                    findings.append(Finding(Code.VALUE_NOT_ENCODABLE, f"{name}: contains {what}"))
            elif self._is_csv and (kind is dict or (kind is list and not all(map(self._is_simple, cell)))):
                findings.append(Finding(Code.VALUE_NOT_ENCODABLE, f"{name}: {_NO_OBJECT}"))

    def _is_simple(self, item: Any) -> bool:
        if type(item) is str:
            return self._not_in_text.search(item) is None
        return item is not None and type(item) not in (list, dict)

    def _as_csv(self, cells: Sequence[str]) -> bytes:
        line: str = self._csv_line(cells)
        return line.encode()

    def _check_names(self, import_type: str) -> list[Finding]:
        """Check the header and return the warnings."""
        if len(self.names) > MOST_COLUMNS:
            raise ValueError(
                f"attributes: the file would have {len(self.names)} columns, but MoEngage accepts at most"
                f" {MOST_COLUMNS}; select fewer"
            )
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise ValueError(
                f"attributes: the file would have several columns named {', '.join(twice)}; id_column and"
                " time_column are already included"
            )
        broken = [name for name in self.names if _NOT_IN_CSV.search(name)]
        if broken:
            raise ValueError(f"attributes: column name {broken[0]!r} contains a line break or |; rename it (AS)")
        check = user_attribute_name if import_type == "USERS" else event_attribute_name
        findings = [finding for name, _ in self._attributes for finding in check(name)]
        for finding in findings:
            if not finding.is_warning:
                raise ValueError(f"attributes: {finding.message}; leave the column out, or rename it (AS)")
        return findings


class _Returned:
    """Makes csv.writer return the line instead of writing it."""

    def write(self, text: str) -> str:
        return text


# A quoted line break is valid CSV, but MoEngage documents only "\n" at the end of a row. A reader that takes each
# line for a row would find a broken row, or a blank one, which fails the file.
_NOT_IN_CSV = re.compile("[|\r\n\0]")
_NOT_IN_JSON = re.compile("[|]")
_NO_LINE_BREAK = (
    "a line break or NUL, which MoEngage may treat as the end of a row; remove it in the query, or use"
    " file_format='json'"
)
_NO_OBJECT = (
    "a CSV file accepts only simple arrays (numbers, or text without |); use file_format='json', or choose"
    " other columns"
)


def _is_wrong(findings: list[Finding]) -> bool:
    return not all(finding.is_warning for finding in findings)


def _as_json(cells: dict[str, Any]) -> bytes:
    return msgspec.json.encode({name: cell for name, cell in cells.items() if cell is not None}) + b"\n"


def _csv_cell(cell: Any) -> str:
    """Return a cell of a CSV: as in JSON, without the quotes; an array is ``[1|2|3]``."""
    if type(cell) is str:
        return cell
    if cell is None:
        return ""
    if type(cell) is list:
        return f"[{'|'.join(map(_csv_cell, cell))}]"
    if type(cell) is float:
        return format(Decimal(repr(cell)), "f")  # an exponent may be read as text
    return msgspec.json.encode(cell).decode().strip('"')


def _find_not_encodable(cells: dict[str, Any], findings: list[Finding]) -> None:
    for name, cell in cells.items():
        try:
            msgspec.json.encode(cell)
        except _NOT_ENCODABLE as error:
            message = f"{name}: cannot be written ({type(error).__name__})"
            findings.append(Finding(Code.VALUE_NOT_ENCODABLE, message))


def _find_too_large(cells: dict[str, Any], findings: list[Finding]) -> None:
    for name, cell in cells.items():
        size = len(cell.encode() if type(cell) is str else msgspec.json.encode(cell))
        if size >= LARGEST_CELL:
            message = f"{name}: {size:,} bytes; MoEngage accepts cells of less than {LARGEST_CELL:,}"
            findings.append(Finding(Code.ELEMENT_TOO_LARGE, message))


def _datetime_kind(moment: dt.datetime) -> str:
    return _FRACTION if moment.microsecond else _SECONDS


def _type(kinds: set[str]) -> dict[str, str]:
    if kinds == {_SECONDS, _FRACTION}:
        kinds = {_FRACTION}
    if len(kinds) != 1 or kinds & {"array", "object"}:
        return {}
    [kind] = kinds
    return {"type": "datetime", "datetime_format": kind} if kind in _FORMATS else {"type": kind}
